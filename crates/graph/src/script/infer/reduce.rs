//! Reductions along axes, and what is ordered or summed up along one.

use hearth_formats::torch::ScalarType;

use super::elementwise::floating;
use super::{Infer, fresh, one};
use crate::lower::expr::Expr;
use crate::lower::value::Meta;
use crate::script::facts::Step;
use crate::script::value::Value;

pub(super) fn results(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    match name {
        "sum" | "prod" => {
            let x = c.tensor("self")?;
            let whole = if x.dtype.is_float() {
                x.dtype
            } else {
                ScalarType::Long
            };
            let dtype = c.dtype()?.unwrap_or(whole);
            let dims = reduced(c, x.dims)?;
            one(dtype, dims)
        }
        "mean" | "var" | "std" | "linalg_vector_norm" | "norm" | "logsumexp" => {
            let x = c.tensor("self")?;
            let dtype = c.dtype()?.unwrap_or(floating(x.dtype));
            let dims = reduced(c, x.dims)?;
            one(dtype, dims)
        }
        "var_mean" => {
            let x = c.tensor("self")?;
            let dims = reduced(c, x.dims)?;
            let meta = fresh(x.dtype, dims);
            Ok(Some(vec![meta.clone(), meta]))
        }
        "amax" | "amin" => {
            let x = c.tensor("self")?;
            let dims = reduced(c, x.dims)?;
            one(x.dtype, dims)
        }
        "max" | "min" => {
            let x = c.tensor("self")?;
            let is_along = c.has("dim");
            let dims = reduced(c, x.dims)?;
            let most = fresh(x.dtype, dims.clone());
            Ok(Some(match is_along {
                true => vec![most, fresh(ScalarType::Long, dims)],
                false => vec![most],
            }))
        }
        "argmax" | "argmin" => {
            let x = c.tensor("self")?;
            let dims = reduced(c, x.dims)?;
            one(ScalarType::Long, dims)
        }
        "any" | "all" => {
            let x = c.tensor("self")?;
            let dims = reduced(c, x.dims)?;
            one(ScalarType::Bool, dims)
        }
        "cumsum" => {
            let x = c.tensor("self")?;
            let whole = if x.dtype.is_float() {
                x.dtype
            } else {
                ScalarType::Long
            };
            let dtype = c.dtype()?.unwrap_or(whole);
            one(dtype, x.dims)
        }
        "topk" => {
            let mut x = c.tensor("self")?;
            let axis = c.axis("dim", -1, x.dims.len())?;
            let k = c.size("k")?;
            *x.dims.get_mut(axis).ok_or("a scalar")? = k;
            let most = fresh(x.dtype, x.dims.clone());
            Ok(Some(vec![most, fresh(ScalarType::Long, x.dims)]))
        }
        "sort" => {
            let x = c.tensor("self")?;
            let sorted = fresh(x.dtype, x.dims.clone());
            Ok(Some(vec![sorted, fresh(ScalarType::Long, x.dims)]))
        }
        _ => Ok(None),
    }
}

/// Dimensions without the axes of `dim`, or with 1 in their place.
fn reduced(c: &Infer<'_>, dims: Vec<Expr>) -> Step<Vec<Expr>> {
    let keeps = c.bool_or("keepdim", false);
    let axes = match c.bound.get("dim") {
        None => (0..dims.len()).collect(),
        Some(Value::Int(_) | Value::List(_) | Value::Tuple(..)) => c.axes("dim", dims.len())?,
        Some(other) => return Err(format!("its axes are {}", other.kind()).into()),
    };
    let dims = dims.into_iter().enumerate();
    Ok(dims
        .filter_map(|(axis, dim)| match (axes.contains(&axis), keeps) {
            (false, _) => Some(dim),
            (true, true) => Some(Expr::Int(1)),
            (true, false) => None,
        })
        .collect())
}
