//! Tensors from nothing.

use hearth_formats::torch::ScalarType;

use super::{Infer, fresh, one};
use crate::lower::expr::Expr;
use crate::lower::value::{Meta, Scalar};
use crate::script::facts::Step;

pub(super) fn results(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    match name {
        "zeros" | "ones" | "empty" => {
            let dtype = c.dtype()?.unwrap_or(ScalarType::Float);
            let dims = c.sizes("size")?;
            one(dtype, dims)
        }
        "full" => {
            let dtype = c.dtype()?.unwrap_or(match c.scalar("fill_value") {
                Some(Scalar::Int(_)) => ScalarType::Long,
                Some(Scalar::Bool(_)) => ScalarType::Bool,
                _ => ScalarType::Float,
            });
            let dims = c.sizes("size")?;
            one(dtype, dims)
        }
        "new_zeros" | "new_ones" | "new_empty" | "new_full" => {
            let like = c.tensor("self")?;
            let dtype = c.dtype()?.unwrap_or(like.dtype);
            let dims = c.sizes("size")?;
            one(dtype, dims)
        }
        "zeros_like" | "ones_like" | "empty_like" | "full_like" => {
            let like = c.tensor("self")?;
            let dtype = c.dtype()?.unwrap_or(like.dtype);
            one(dtype, like.dims)
        }
        "scalar_tensor" => {
            let dtype = c.dtype()?.unwrap_or(ScalarType::Float);
            Ok(Some(vec![fresh(dtype, Vec::new())]))
        }
        "arange" => arange(c),
        "linspace" => {
            let dtype = c.dtype()?.unwrap_or(ScalarType::Float);
            let steps = c.size("steps")?;
            one(dtype, vec![steps])
        }
        "eye" => {
            let n = c.size("n")?;
            let m = if c.has("m") { c.size("m")? } else { n.clone() };
            let dtype = c.dtype()?.unwrap_or(ScalarType::Float);
            one(dtype, vec![n, m])
        }
        _ => Ok(None),
    }
}

/// From `start` to `end`, which it does not reach, by `step`.
fn arange(c: &mut Infer<'_>) -> Step<Option<Vec<Meta>>> {
    let of = |c: &Infer<'_>, name: &str, default: i64| {
        c.scalar(name).unwrap_or(Scalar::Int(Expr::Int(default)))
    };
    if !c.has("end") {
        return Err("it has no end".into());
    }
    let (start, end, step) = (of(c, "start", 0), of(c, "end", 0), of(c, "step", 1));
    let is_whole = |n: &Scalar| !matches!(n, Scalar::Float(_));
    let all_whole = is_whole(&start) && is_whole(&end) && is_whole(&step);
    let dtype = c.dtype()?.unwrap_or(if all_whole {
        ScalarType::Long
    } else {
        ScalarType::Float
    });
    let size = match (&start, &end, &step) {
        (Scalar::Int(start), Scalar::Int(end), Scalar::Int(Expr::Int(step))) if *step > 0 => {
            let minus = Expr::product([Expr::Int(-1), start.clone()]);
            let room = Expr::sum([end.clone(), minus, Expr::Int(step - 1)]);
            match Expr::quotient(room, Expr::Int(*step)) {
                Expr::Int(n) => Expr::Int(n.max(0)),
                other => other,
            }
        }
        _ => match (start.number(), end.number(), step.number()) {
            (Some(start), Some(end), Some(step)) if step != 0.0 => {
                Expr::Int((((end - start) / step).ceil() as i64).max(0))
            }
            _ => return Err("a range that depends on sizes in such a way".into()),
        },
    };
    one(dtype, vec![size])
}
