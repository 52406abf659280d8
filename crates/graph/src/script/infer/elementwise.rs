//! Operators of one element at a time, of one tensor or of several that are broadcast.

use hearth_formats::torch::ScalarType;

use super::{Infer, one};
use crate::lower::expr::Expr;
use crate::lower::value::{Meta, Scalar, promoted};
use crate::script::dims::broadcast;
use crate::script::facts::{RANKS, Step};
use crate::script::value::Value;

pub(super) fn results(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    match name {
        // The type stays.
        "relu" | "relu6" | "abs" | "neg" | "sign" | "floor" | "ceil" | "round" | "trunc"
        | "square" | "hardtanh" | "silu" | "gelu" | "mish" | "hardswish" | "hardsigmoid"
        | "leaky_relu" | "elu" | "celu" | "selu" | "softplus" | "softsign" | "log_sigmoid"
        | "prelu" | "bitwise_not" | "fill" | "zero" | "copy" | "tril" | "triu" | "flip"
        | "roll" => {
            let x = c.tensor("self")?;
            one(x.dtype, x.dims)
        }
        "clone" | "lift_fresh_copy" | "detach_copy" => {
            let x = c.tensor("self")?;
            one(x.dtype, x.dims)
        }
        // The tensor itself.
        "contiguous" | "detach" | "alias" | "lift_fresh" => Ok(Some(vec![c.tensor("self")?])),
        "to" => {
            let x = c.tensor("self")?;
            let dtype = c.dtype()?.unwrap_or(x.dtype);
            one(dtype, x.dims)
        }
        "type_as" => {
            let (x, other) = (c.tensor("self")?, c.tensor("other")?);
            one(other.dtype, x.dims)
        }
        // Integers become floating-point numbers.
        "sigmoid" | "tanh" | "exp" | "log" | "sqrt" | "erf" | "reciprocal" | "sin" | "cos"
        | "tan" | "asin" | "acos" | "atan" | "sinh" | "cosh" | "rsqrt" | "log1p" | "expm1"
        | "log2" | "log10" | "exp2" => {
            let x = c.tensor("self")?;
            one(floating(x.dtype), x.dims)
        }
        "softmax" | "log_softmax" | "_safe_softmax" => {
            let x = c.tensor("self")?;
            c.axis("dim", -1, x.dims.len())?;
            let dtype = c.dtype()?.unwrap_or(floating(x.dtype));
            one(dtype, x.dims)
        }
        "_softmax" | "_log_softmax" => {
            let x = c.tensor("self")?;
            one(x.dtype, x.dims)
        }
        "isnan" | "isinf" | "logical_not" => {
            let x = c.tensor("self")?;
            one(ScalarType::Bool, x.dims)
        }
        "glu" => {
            let mut x = c.tensor("self")?;
            let axis = c.axis("dim", -1, x.dims.len())?;
            let dim = x.dims.get_mut(axis).ok_or("a scalar")?;
            *dim = Expr::quotient(dim.clone(), Expr::Int(2));
            one(x.dtype, x.dims)
        }
        "add" | "sub" | "rsub" | "mul" | "remainder" | "fmod" | "floor_divide" | "maximum"
        | "minimum" | "bitwise_and" | "bitwise_or" | "bitwise_xor" | "__and__" | "__or__"
        | "__xor__" => {
            let (dtype, dims) = several(c, &["self", "other"])?;
            one(dtype, dims)
        }
        // Of one tensor they are reductions.
        "max" | "min" if c.bound.schema.target.ends_with(".other") => {
            let (dtype, dims) = several(c, &["self", "other"])?;
            one(dtype, dims)
        }
        "div" => {
            let (dtype, dims) = several(c, &["self", "other"])?;
            let dtype = if c.has("rounding_mode") {
                dtype
            } else {
                floating(dtype)
            };
            one(dtype, dims)
        }
        "pow" => {
            let (dtype, dims) = several(c, &["self", "exponent"])?;
            one(dtype, dims)
        }
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "logical_and" | "logical_or" | "logical_xor" => {
            let (_, dims) = several(c, &["self", "other"])?;
            one(ScalarType::Bool, dims)
        }
        "addcmul" | "addcdiv" => {
            let (dtype, dims) = several(c, &["self", "tensor1", "tensor2"])?;
            one(dtype, dims)
        }
        "lerp" => {
            let (dtype, dims) = several(c, &["self", "end", "weight"])?;
            one(dtype, dims)
        }
        "where" => {
            let (dtype, dims) = several(c, &["self", "other"])?;
            let condition = c.tensor("condition")?;
            let dims = broadcast(c.facts, &[&condition.dims, &dims])?;
            one(dtype, dims)
        }
        "masked_fill" => {
            let (x, mask) = (c.tensor("self")?, c.tensor("mask")?);
            let dims = broadcast(c.facts, &[&x.dims, &mask.dims])?;
            one(x.dtype, dims)
        }
        "clamp" | "clamp_min" | "clamp_max" => {
            let (dtype, dims) = several(c, &["self", "min", "max"])?;
            one(dtype, dims)
        }
        _ => Ok(None),
    }
}

/// A type as that of a division: integers become floating-point numbers.
pub(super) fn floating(dtype: ScalarType) -> ScalarType {
    if dtype.is_float() {
        dtype
    } else {
        ScalarType::Float
    }
}

/// The type and shape of tensors and numbers together.
fn several(c: &mut Infer<'_>, names: &[&str]) -> Step<(ScalarType, Vec<Expr>)> {
    // An input of which nothing is known has most likely as many dimensions as the other tensor.
    let ranks = names.iter().filter_map(|name| match c.bound.get(name) {
        Some(Value::Tensor(tensor)) => Some(tensor.meta.as_ref()?.dims.len()),
        _ => None,
    });
    let mut likely: Vec<usize> = ranks.max().filter(|&rank| rank > 0).into_iter().collect();
    likely.extend(
        RANKS
            .into_iter()
            .filter(|rank| !likely.contains(rank))
            .collect::<Vec<_>>(),
    );
    let (mut tensors, mut numbers): (Vec<Meta>, Vec<Scalar>) = (Vec::new(), Vec::new());
    for name in names {
        match c.bound.get(name) {
            None => {}
            Some(Value::Tensor(_)) => tensors.push(c.tensor_of(name, &likely)?),
            Some(_) => numbers.extend(c.scalar(name)),
        }
    }
    if tensors.is_empty() && numbers.is_empty() {
        return Err("it has no arguments".into());
    }
    let types: Vec<(ScalarType, usize)> = tensors
        .iter()
        .map(|meta| (meta.dtype, meta.dims.len()))
        .collect();
    let dtype = promoted(&types, &numbers.iter().collect::<Vec<_>>());
    let shapes: Vec<&[Expr]> = tensors.iter().map(|meta| meta.dims.as_slice()).collect();
    Ok((dtype, broadcast(c.facts, &shapes)?))
}
