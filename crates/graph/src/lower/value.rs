//! The values of a program while it is lowered.

use hearth_formats::pt2::{SymInt, TensorMeta};
use hearth_formats::torch::ScalarType;

use super::Step;
use super::expr::Expr;
use crate::onnx::DataType;

/// A tensor: its name in the ONNX graph, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    /// The name in the ONNX graph.
    pub(crate) name: String,
    /// The type of the elements.
    pub(crate) dtype: ScalarType,
    /// The dimensions.
    pub(crate) dims: Vec<Expr>,
    /// The value of all elements, where they are known to be the same.
    pub(crate) splat: Option<f64>,
}

impl Tensor {
    /// The number of dimensions.
    pub(crate) fn rank(&self) -> usize {
        self.dims.len()
    }

    /// An axis counted from the front; negative ones count from the back.
    pub(crate) fn axis(&self, axis: i64) -> Step<usize> {
        if self.dims.is_empty() {
            return Err(format!("axis {axis} of a scalar"));
        }
        axis_of(axis, self.rank())
    }

    /// A dimension as a number.
    pub(crate) fn fixed(&self, axis: usize) -> Step<i64> {
        match self.dims.get(axis) {
            Some(Expr::Int(n)) => Ok(*n),
            Some(other) => Err(format!("dimension {axis} is dynamic ({other})")),
            None => Err(format!("there is no dimension {axis}")),
        }
    }

    /// The number of elements.
    pub(crate) fn numel(&self) -> Expr {
        Expr::product(self.dims.iter().cloned())
    }
}

/// An axis counted from the front. A scalar has one axis, as PyTorch has it.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Step<usize> {
    let count = rank.max(1) as i64;
    let from_front = if axis < 0 { axis + count } else { axis };
    if (0..count).contains(&from_front) {
        return Ok(from_front as usize);
    }
    Err(format!("axis {axis} of {rank} dimensions"))
}

/// A value of the program.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// An integer.
    Int(Expr),
}

/// What the archive says of a tensor.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    /// The type of the elements.
    pub(crate) dtype: ScalarType,
    /// The dimensions.
    pub(crate) dims: Vec<Expr>,
    /// The strides and the offset in the storage, in elements.
    pub(crate) layout: Option<(Vec<i64>, i64)>,
}

impl Meta {
    pub(crate) fn new(meta: &TensorMeta) -> Step<Meta> {
        let number = |n: &SymInt| match n {
            SymInt::Int(n) => Some(*n),
            SymInt::Expr(_) => None,
        };
        let strides: Option<Vec<i64>> = meta.strides.iter().map(number).collect();
        Ok(Meta {
            dtype: meta.dtype,
            dims: meta.sizes.iter().map(expr_of).collect::<Step<_>>()?,
            layout: strides.zip(number(&meta.storage_offset)),
        })
    }
}

/// An integer of the archive as an expression.
pub(crate) fn expr_of(n: &SymInt) -> Step<Expr> {
    match n {
        SymInt::Int(n) => Ok(Expr::Int(*n)),
        SymInt::Expr(text) => Expr::parse(text),
    }
}

/// A number that is no tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    /// A floating-point number.
    Float(f64),
    /// An integer, which may depend on sizes.
    Int(Expr),
    /// A boolean.
    Bool(bool),
}

impl Scalar {
    /// The number, where it does not depend on sizes.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Scalar::Float(x) => Some(*x),
            Scalar::Int(n) => n.int().map(|n| n as f64),
            Scalar::Bool(b) => Some(f64::from(u8::from(*b))),
        }
    }
}

/// The ONNX element type for one of PyTorch.
pub(crate) fn data_type(dtype: ScalarType) -> Step<DataType> {
    Ok(match dtype {
        ScalarType::Byte => DataType::Uint8,
        ScalarType::Char => DataType::Int8,
        ScalarType::Short => DataType::Int16,
        ScalarType::Int => DataType::Int32,
        ScalarType::Long => DataType::Int64,
        ScalarType::Half => DataType::Float16,
        ScalarType::BFloat16 => DataType::Bfloat16,
        ScalarType::Float => DataType::Float,
        ScalarType::Double => DataType::Double,
        ScalarType::Bool => DataType::Bool,
        ScalarType::UInt16 => DataType::Uint16,
        ScalarType::UInt32 => DataType::Uint32,
        ScalarType::UInt64 => DataType::Uint64,
        other => return Err(format!("elements of type {other:?} have no lowering")),
    })
}

/// A number as one element of a type, little-endian.
pub(crate) fn element(dtype: ScalarType, value: f64) -> Step<Vec<u8>> {
    use ScalarType::*;
    Ok(match dtype {
        Byte => vec![value as u8],
        Bool => vec![u8::from(value != 0.0)],
        Char => vec![value as i8 as u8],
        Short => (value as i16).to_le_bytes().to_vec(),
        UInt16 => (value as u16).to_le_bytes().to_vec(),
        Int => (value as i32).to_le_bytes().to_vec(),
        UInt32 => (value as u32).to_le_bytes().to_vec(),
        Long => (value as i64).to_le_bytes().to_vec(),
        UInt64 => (value as u64).to_le_bytes().to_vec(),
        Half => half::f16::from_f64(value).to_le_bytes().to_vec(),
        BFloat16 => half::bf16::from_f64(value).to_le_bytes().to_vec(),
        Float => (value as f32).to_le_bytes().to_vec(),
        Double => value.to_le_bytes().to_vec(),
        other => return Err(format!("elements of type {other:?} have no lowering")),
    })
}

/// The type that an operation on values of several types is computed in.
///
/// Tensors with dimensions outrank scalar tensors, which outrank numbers, as long as they are of the same kind; kinds
/// rank floating point over integer over boolean. Source: `torch.result_type`.
pub(crate) fn promoted(tensors: &[(ScalarType, usize)], numbers: &[&Scalar]) -> ScalarType {
    let of = |with_dims: bool| {
        tensors
            .iter()
            .filter(|(_, rank)| (*rank > 0) == with_dims)
            .map(|(dtype, _)| *dtype)
            .reduce(wider)
    };
    let number = numbers
        .iter()
        .map(|n| match n {
            Scalar::Float(_) => ScalarType::Float,
            Scalar::Int(_) => ScalarType::Long,
            Scalar::Bool(_) => ScalarType::Bool,
        })
        .reduce(wider);
    [of(true), of(false), number]
        .into_iter()
        .flatten()
        .reduce(|high, low| if kind(low) > kind(high) { low } else { high })
        .unwrap_or(ScalarType::Float)
}

fn kind(dtype: ScalarType) -> u8 {
    match dtype {
        ScalarType::Bool => 0,
        d if d.is_float() => 2,
        _ => 1,
    }
}

fn wider(a: ScalarType, b: ScalarType) -> ScalarType {
    use ScalarType::*;
    if a == b {
        return a;
    }
    if kind(a) != kind(b) {
        return if kind(a) > kind(b) { a } else { b };
    }
    match (a, b) {
        (Half, BFloat16) | (BFloat16, Half) => Float,
        // An unsigned byte needs more than a signed one to hold it.
        (Byte, Char) | (Char, Byte) => Short,
        _ if a.bytes() >= b.bytes() => a,
        _ => b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScalarType::*;

    #[test]
    fn types_are_promoted_as_pytorch_does() {
        let int = Scalar::Int(Expr::Int(1));
        let float = Scalar::Float(1.0);
        assert_eq!(promoted(&[(Half, 2)], &[&float]), Half);
        assert_eq!(promoted(&[(Long, 2)], &[&float]), Float);
        assert_eq!(promoted(&[(Int, 2)], &[&int]), Int);
        assert_eq!(promoted(&[(Bool, 2)], &[&int]), Long);
        assert_eq!(promoted(&[(Int, 2), (Long, 0)], &[]), Int);
        assert_eq!(promoted(&[(Int, 2), (Long, 1)], &[]), Long);
        assert_eq!(promoted(&[(Long, 2), (Half, 0)], &[]), Half);
        assert_eq!(promoted(&[(Half, 1), (BFloat16, 1)], &[]), Float);
        assert_eq!(promoted(&[(Byte, 1), (Char, 1)], &[]), Short);
    }

    #[test]
    fn axes_count_from_both_ends() {
        assert_eq!(axis_of(-1, 3), Ok(2));
        assert_eq!(axis_of(2, 3), Ok(2));
        assert_eq!(axis_of(-1, 0), Ok(0));
        assert!(axis_of(3, 3).is_err());
        assert!(axis_of(-4, 3).is_err());
    }
}
