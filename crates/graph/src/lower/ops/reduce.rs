//! Sums, means, extremes over axes; running sums; norms.

use hearth_formats::torch::ScalarType;

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::int;
use crate::lower::call::Call;
use crate::lower::expr::Expr;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::sum(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        "ReduceSum",
        |c| reduce(c, "ReduceSum"),
    ),
    op(
        "aten::sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "ReduceSum",
        |c| reduce(c, "ReduceSum"),
    ),
    op(
        "aten::mean(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        "ReduceMean",
        |c| reduce(c, "ReduceMean"),
    ),
    op(
        "aten::mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "ReduceMean",
        |c| reduce(c, "ReduceMean"),
    ),
    op(
        "aten::prod(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        "ReduceProd",
        |c| reduce(c, "ReduceProd"),
    ),
    op(
        "aten::prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "ReduceProd",
        |c| reduce(c, "ReduceProd"),
    ),
    op(
        "aten::amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
        "ReduceMax",
        |c| reduce(c, "ReduceMax"),
    ),
    op(
        "aten::amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
        "ReduceMin",
        |c| reduce(c, "ReduceMin"),
    ),
    op("aten::max(Tensor self) -> Tensor", "ReduceMax", |c| {
        reduce(c, "ReduceMax")
    }),
    op("aten::min(Tensor self) -> Tensor", "ReduceMin", |c| {
        reduce(c, "ReduceMin")
    }),
    op(
        "aten::max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor, Tensor)",
        "ReduceMax, ArgMax",
        |c| extreme(c, "ReduceMax", "ArgMax"),
    ),
    op(
        "aten::min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor, Tensor)",
        "ReduceMin, ArgMin",
        |c| extreme(c, "ReduceMin", "ArgMin"),
    ),
    op(
        "aten::argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
        "ArgMax",
        |c| arg(c, "ArgMax"),
    ),
    op(
        "aten::argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
        "ArgMin",
        |c| arg(c, "ArgMin"),
    ),
    op("aten::any(Tensor self) -> Tensor", "Cast, ReduceMax", |c| {
        logical(c, "ReduceMax")
    }),
    op(
        "aten::any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
        "Cast, ReduceMax",
        |c| logical(c, "ReduceMax"),
    ),
    op(
        "aten::any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
        "Cast, ReduceMax",
        |c| logical(c, "ReduceMax"),
    ),
    op("aten::all(Tensor self) -> Tensor", "Cast, ReduceMin", |c| {
        logical(c, "ReduceMin")
    }),
    op(
        "aten::all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
        "Cast, ReduceMin",
        |c| logical(c, "ReduceMin"),
    ),
    op(
        "aten::var.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
        "ReduceMean, Sub, Mul, ReduceSum, Div",
        |c| variance(c, false, 0),
    ),
    op(
        "aten::var.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor",
        "ReduceMean, Sub, Mul, ReduceSum, Div",
        |c| variance(c, false, 0),
    ),
    op(
        "aten::std.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
        "ReduceMean, Sub, Mul, ReduceSum, Div, Sqrt",
        |c| variance(c, true, 0),
    ),
    op(
        "aten::std.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor",
        "ReduceMean, Sub, Mul, ReduceSum, Div, Sqrt",
        |c| variance(c, true, 0),
    ),
    op(
        "aten::var_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> (Tensor, Tensor)",
        "ReduceMean, Sub, Mul, ReduceSum, Div",
        |c| {
            variance(c, false, 0)?;
            let x = c.operand("self", c.meta(1)?.dtype)?;
            let (axes, keep) = (axes(c, &x)?, keepdims(c)?);
            let mean = c.emit("ReduceMean", &[&x.name, &axes], vec![keep]);
            c.set(1, mean)
        },
    ),
    op(
        "aten::linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "ReduceL1, ReduceL2; or Abs, ReduceMax",
        |c| norm(c, "ord"),
    ),
    op(
        "aten::norm.ScalarOpt_dim(Tensor self, Scalar? p, int[1] dim, bool keepdim=False) -> Tensor",
        "ReduceL1, ReduceL2; or Abs, ReduceMax",
        |c| norm(c, "p"),
    ),
    op(
        "aten::norm.Scalar(Tensor self, Scalar p=2) -> Tensor",
        "ReduceL1, ReduceL2; or Abs, ReduceMax",
        |c| norm(c, "p"),
    ),
    op(
        "aten::logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
        "ReduceLogSumExp",
        |c| reduce(c, "ReduceLogSumExp"),
    ),
    op(
        "aten::cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
        "CumSum",
        |c| {
            let dtype = c.out_dtype()?;
            let x = c.operand("self", dtype)?;
            let axis = x.axis(c.int("dim")?)? as i64;
            let axis = c.b.long(axis)?;
            c.finish("CumSum", &[&x.name, &axis], vec![])
        },
    ),
];

/// The axes of the call as a constant; all where it names none.
fn axes(c: &mut Call<'_>, x: &Tensor) -> Step<String> {
    if x.rank() == 0 {
        return c.b.ints(&[]);
    }
    let mut list = c
        .ints("dim")?
        .iter()
        .map(|&d| Ok(x.axis(d)? as i64))
        .collect::<Step<Vec<i64>>>()?;
    if list.is_empty() {
        list = (0..x.rank() as i64).collect();
    }
    c.b.ints(&list)
}

fn keepdims(c: &Call<'_>) -> Step<crate::onnx::Attribute> {
    Ok(int("keepdims", i64::from(c.bool_or("keepdim", false)?)))
}

fn reduce(c: &mut Call<'_>, op: &'static str) -> Step {
    let dtype = c.out_dtype()?;
    // Runtimes do not reduce booleans.
    let work = if dtype == ScalarType::Bool {
        ScalarType::Int
    } else {
        dtype
    };
    let x = c.operand("self", work)?;
    if x.rank() == 0 {
        return c.set_tensor(0, x);
    }
    let (axes, keep) = (axes(c, &x)?, keepdims(c)?);
    let name = c.emit(op, &[&x.name, &axes], vec![keep]);
    let dims = c.out_dims()?;
    c.set_tensor(
        0,
        Tensor {
            name,
            dtype: work,
            dims,
            splat: None,
        },
    )
}

fn logical(c: &mut Call<'_>, op: &'static str) -> Step {
    let x = c.operand("self", ScalarType::Bool)?;
    let x = c.b.cast(&x, ScalarType::Int)?;
    let (axes, keep) = (axes(c, &x)?, keepdims(c)?);
    let name = c.emit(op, &[&x.name, &axes], vec![keep]);
    let dims = c.out_dims()?;
    c.set_tensor(
        0,
        Tensor {
            name,
            dtype: ScalarType::Int,
            dims,
            splat: None,
        },
    )
}

fn extreme(c: &mut Call<'_>, values: &'static str, places: &'static str) -> Step {
    let x = c.tensor("self")?;
    let axis = x.axis(c.int("dim")?)? as i64;
    let keep = keepdims(c)?;
    let axes = c.b.ints(&[axis])?;
    let value = c.emit(values, &[&x.name, &axes], vec![keep.clone()]);
    c.set(0, value)?;
    if c.results.len() > 1 {
        let place = c.emit(places, &[&x.name], vec![int("axis", axis), keep]);
        c.set(1, place)?;
    }
    Ok(())
}

fn arg(c: &mut Call<'_>, op: &'static str) -> Step {
    let mut x = c.tensor("self")?;
    if x.dtype == ScalarType::Bool {
        x = c.b.cast(&x, ScalarType::Int)?;
    }
    let mut axis = 0;
    if c.has("dim") {
        axis = x.axis(c.int("dim")?)? as i64;
    } else {
        // Over all elements, in order; the place has no dimensions.
        let all = x.numel();
        x = c.reshape(&x, &[all])?;
    }
    let keep = if c.has("dim") {
        keepdims(c)?
    } else {
        int("keepdims", 0)
    };
    c.finish(op, &[&x.name], vec![int("axis", axis), keep])
}

/// The mean square of the distance from the mean, with the divisor less the correction.
fn variance(c: &mut Call<'_>, root: bool, result: usize) -> Step {
    let dtype = c.meta(result)?.dtype;
    let x = c.operand("self", dtype)?;
    let default = if c.bool_or("unbiased", true)? {
        1.0
    } else {
        0.0
    };
    let correction = c.float_or("correction", default)?;
    let names = c.ints("dim")?;
    let over: Vec<usize> = if names.is_empty() {
        (0..x.rank()).collect()
    } else {
        names.iter().map(|&d| x.axis(d)).collect::<Step<_>>()?
    };
    let (axes, keep) = (axes(c, &x)?, keepdims(c)?);
    let mean = c.emit("ReduceMean", &[&x.name, &axes], vec![int("keepdims", 1)]);
    let away = c.emit("Sub", &[&x.name, &mean], vec![]);
    let square = c.emit("Mul", &[&away, &away], vec![]);
    let mut out = if correction == 0.0 {
        c.emit("ReduceMean", &[&square, &axes], vec![keep])
    } else {
        let sum = c.emit("ReduceSum", &[&square, &axes], vec![keep]);
        let count = Expr::product(over.iter().map(|&d| x.dims[d].clone()));
        let divisor = match count.int() {
            Some(n) => c.b.number(dtype, (n as f64 - correction).max(0.0))?,
            None => {
                let count = c.sizes.scalar(c.b, &count)?;
                let count = Tensor {
                    name: count,
                    dtype: ScalarType::Long,
                    dims: vec![],
                    splat: None,
                };
                let count = c.b.cast(&count, dtype)?;
                let less = c.b.number(dtype, correction)?;
                c.emit("Sub", &[&count.name, &less], vec![])
            }
        };
        c.emit("Div", &[&sum, &divisor], vec![])
    };
    if root {
        out = c.emit("Sqrt", &[&out], vec![]);
    }
    c.set(result, out)
}

fn norm(c: &mut Call<'_>, order: &str) -> Step {
    let dtype = c.out_dtype()?;
    let x = c.operand("self", dtype)?;
    let order = c.float_or(order, 2.0)?;
    let (axes, keep) = (axes(c, &x)?, keepdims(c)?);
    if order == 1.0 {
        return c.finish("ReduceL1", &[&x.name, &axes], vec![keep]);
    }
    if order == 2.0 {
        return c.finish("ReduceL2", &[&x.name, &axes], vec![keep]);
    }
    if order == f64::INFINITY {
        let size = c.emit("Abs", &[&x.name], vec![]);
        return c.finish("ReduceMax", &[&size, &axes], vec![keep]);
    }
    Err(format!("the norm of order {order}"))
}
