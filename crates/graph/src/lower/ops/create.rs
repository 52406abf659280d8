//! Tensors from nothing: constants, ranges, shapes filled with a number.

use hearth_formats::torch::ScalarType;

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{int, one_element};
use crate::lower::call::Call;
use crate::lower::expr::Expr;
use crate::lower::value::{Scalar, Tensor};

pub(super) const OPS: &[Op] = &[
    op(
        "aten::full(SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None) -> Tensor",
        "ConstantOfShape",
        |c| fill(c, "fill_value"),
    ),
    op(
        "aten::full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None) -> Tensor",
        "ConstantOfShape",
        |c| fill(c, "fill_value"),
    ),
    op(
        "aten::new_full(Tensor self, SymInt[] size, Scalar fill_value) -> Tensor",
        "ConstantOfShape",
        |c| fill(c, "fill_value"),
    ),
    op(
        "aten::fill.Scalar(Tensor self, Scalar value) -> Tensor",
        "ConstantOfShape",
        |c| fill(c, "value"),
    ),
    op(
        "aten::fill.Tensor(Tensor self, Tensor value) -> Tensor",
        "Expand",
        |c| {
            let (dtype, dims) = (c.out_dtype()?, c.out_dims()?);
            let value = c.operand("value", dtype)?;
            let whole = c.expand(&value, &dims)?;
            c.set_tensor(0, whole)
        },
    ),
    op(
        "aten::zero(Tensor self) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 0.0),
    ),
    op(
        "aten::zeros(SymInt[] size, *, ScalarType? dtype=None) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 0.0),
    ),
    op(
        "aten::zeros_like(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 0.0),
    ),
    op(
        "aten::new_zeros(Tensor self, SymInt[] size) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 0.0),
    ),
    op(
        "aten::ones(SymInt[] size, *, ScalarType? dtype=None) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 1.0),
    ),
    op(
        "aten::ones_like(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 1.0),
    ),
    op(
        "aten::new_ones(Tensor self, SymInt[] size) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 1.0),
    ),
    // What an empty tensor holds is anybody's guess; zero is one.
    op(
        "aten::empty.memory_format(SymInt[] size) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 0.0),
    ),
    op(
        "aten::empty_like(Tensor self) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 0.0),
    ),
    op(
        "aten::new_empty(Tensor self, SymInt[] size) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 0.0),
    ),
    op(
        "aten::empty_permuted(SymInt[] size, int[] physical_layout) -> Tensor",
        "ConstantOfShape",
        |c| filled(c, 0.0),
    ),
    op(
        "aten::scalar_tensor(Scalar s, *, ScalarType? dtype=None) -> Tensor",
        "a constant",
        |c| {
            let dtype = c.out_dtype()?;
            let scalar = c.scalar("s")?;
            let tensor = c.scalar_tensor(&scalar, dtype)?;
            c.set_tensor(0, tensor)
        },
    ),
    op(
        "aten::arange(Scalar end, *, ScalarType? dtype=None) -> Tensor",
        "Range",
        arange,
    ),
    op(
        "aten::arange.start(Scalar start, Scalar end, *, ScalarType? dtype=None) -> Tensor",
        "Range",
        arange,
    ),
    op(
        "aten::arange.start_step(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None) -> Tensor",
        "Range",
        arange,
    ),
    op(
        "aten::linspace(Scalar start, Scalar end, int steps, *, ScalarType? dtype=None) -> Tensor",
        "a constant",
        |c| {
            let (start, end) = (c.float_or("start", 0.0)?, c.float_or("end", 0.0)?);
            let steps = c.int("steps")?;
            if !(0..=MAX_CONSTANT).contains(&steps) {
                return Err(format!("{steps} steps"));
            }
            let dtype = c.out_dtype()?;
            let step = if steps > 1 {
                (end - start) / (steps - 1) as f64
            } else {
                0.0
            };
            // Counted from both ends, as PyTorch does, so that the last is the end exactly.
            let at = |i: i64| {
                if i < steps / 2 {
                    start + step * i as f64
                } else {
                    end - step * (steps - 1 - i) as f64
                }
            };
            let values: Vec<f64> = (0..steps).map(at).collect();
            let name = c.b.floats(
                dtype,
                &[steps],
                if steps == 1 { vec![start] } else { values },
            )?;
            c.done(name)
        },
    ),
    op("aten::eye(SymInt n) -> Tensor", "EyeLike", eye),
    op("aten::eye.m(SymInt n, SymInt m) -> Tensor", "EyeLike", eye),
    op(
        "aten::tril(Tensor self, int diagonal=0) -> Tensor",
        "Trilu",
        |c| triangle(c, 0),
    ),
    op(
        "aten::triu(Tensor self, int diagonal=0) -> Tensor",
        "Trilu",
        |c| triangle(c, 1),
    ),
    op(
        "aten::one_hot(Tensor self, int num_classes=-1) -> Tensor",
        "OneHot",
        |c| {
            let x = c.operand("self", ScalarType::Long)?;
            let classes = c.int("num_classes")?;
            if classes < 0 {
                return Err("a number of classes that depends on data".into());
            }
            let depth = c.b.long(classes)?;
            let values = c.b.ints(&[0, 1])?;
            c.finish("OneHot", &[&x.name, &depth, &values], vec![int("axis", -1)])
        },
    ),
];

/// Longer constants are not made.
const MAX_CONSTANT: i64 = 1 << 22;

/// A tensor of the result's shape, all of one number.
pub(super) fn filled(c: &mut Call<'_>, value: f64) -> Step {
    let (dtype, dims) = (c.out_dtype()?, c.out_dims()?);
    let tensor = constant_of(c, &dims, dtype, value)?;
    c.set_tensor(0, tensor)
}

fn fill(c: &mut Call<'_>, name: &str) -> Step {
    let scalar = c.scalar(name)?;
    if let Some(value) = scalar.number() {
        return filled(c, value);
    }
    let (dtype, dims) = (c.out_dtype()?, c.out_dims()?);
    let value = c.scalar_tensor(&scalar, dtype)?;
    let whole = c.expand(&value, &dims)?;
    c.set_tensor(0, whole)
}

/// A tensor of these dimensions, all of one number.
pub(super) fn constant_of(
    c: &mut Call<'_>,
    dims: &[Expr],
    dtype: ScalarType,
    value: f64,
) -> Step<Tensor> {
    let name = if dims.is_empty() {
        c.b.number(dtype, value)?
    } else {
        let shape = c.sizes.vector(c.b, dims)?;
        let value = one_element("value", dtype, value)?;
        c.emit("ConstantOfShape", &[&shape], vec![value])
    };
    Ok(Tensor {
        name,
        dtype,
        dims: dims.to_vec(),
        splat: Some(value),
    })
}

/// The whole numbers from 0 up to a size.
pub(super) fn count_to(c: &mut Call<'_>, size: &Expr) -> Step<Tensor> {
    let (zero, one) = (c.b.long(0)?, c.b.long(1)?);
    let end = c.sizes.scalar(c.b, size)?;
    Ok(c.b.tensor(
        "Range",
        &[&zero, &end, &one],
        vec![],
        ScalarType::Long,
        vec![size.clone()],
    ))
}

fn arange(c: &mut Call<'_>) -> Step {
    let dtype = c.out_dtype()?;
    let start = c.scalar_opt("start")?.unwrap_or(Scalar::Int(Expr::Int(0)));
    let step = c.scalar_opt("step")?.unwrap_or(Scalar::Int(Expr::Int(1)));
    let end = c.scalar("end")?;
    let dims = c.out_dims()?;
    // Where all is known it is a constant.
    if let (Some(start), Some(step), Some([Expr::Int(count)])) =
        (start.number(), step.number(), dims.get(..1))
        && (0..=MAX_CONSTANT).contains(count)
    {
        let values = (0..*count).map(|i| start + step * i as f64);
        let name = c.b.floats(dtype, &[*count], values)?;
        return c.done(name);
    }
    let whole = |s: &Scalar| matches!(s, Scalar::Int(_));
    let work = if whole(&start) && whole(&step) && whole(&end) {
        ScalarType::Long
    } else {
        ScalarType::Float
    };
    let start = c.scalar_tensor(&start, work)?;
    let end = c.scalar_tensor(&end, work)?;
    let step = c.scalar_tensor(&step, work)?;
    let range = c.b.tensor(
        "Range",
        &[&start.name, &end.name, &step.name],
        vec![],
        work,
        dims,
    );
    c.set_tensor(0, range)
}

fn eye(c: &mut Call<'_>) -> Step {
    let (dtype, dims) = (c.out_dtype()?, c.out_dims()?);
    let zeros = constant_of(c, &dims, dtype, 0.0)?;
    c.finish("EyeLike", &[&zeros.name], vec![])
}

fn triangle(c: &mut Call<'_>, upper: i64) -> Step {
    let x = c.tensor("self")?;
    let diagonal = c.int_or("diagonal", 0)?;
    let diagonal = c.b.long(diagonal)?;
    if x.dtype != ScalarType::Bool {
        return c.finish("Trilu", &[&x.name, &diagonal], vec![int("upper", upper)]);
    }
    // Not all runtimes cut triangles of booleans.
    let numbers = c.b.cast(&x, ScalarType::Float)?;
    let cut = c.emit(
        "Trilu",
        &[&numbers.name, &diagonal],
        vec![int("upper", upper)],
    );
    let back = c.b.cast(
        &Tensor {
            name: cut,
            ..numbers
        },
        ScalarType::Bool,
    )?;
    c.set_tensor(0, back)
}
