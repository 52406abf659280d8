//! Sums, products, quotients, powers of two operands.

use hearth_formats::torch::ScalarType;

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::int;
use crate::lower::call::Call;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        "Add",
        |c| scaled(c, "Add"),
    ),
    op(
        "aten::add.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        "Add",
        |c| scaled(c, "Add"),
    ),
    op(
        "aten::sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        "Sub",
        |c| scaled(c, "Sub"),
    ),
    op(
        "aten::sub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        "Sub",
        |c| scaled(c, "Sub"),
    ),
    op(
        "aten::rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        "Sub",
        reversed,
    ),
    op(
        "aten::rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        "Sub",
        reversed,
    ),
    op(
        "aten::mul.Tensor(Tensor self, Tensor other) -> Tensor",
        "Mul",
        |c| binary(c, "Mul"),
    ),
    op(
        "aten::mul.Scalar(Tensor self, Scalar other) -> Tensor",
        "Mul",
        |c| binary(c, "Mul"),
    ),
    op(
        "aten::div.Tensor(Tensor self, Tensor other) -> Tensor",
        "Div",
        |c| binary(c, "Div"),
    ),
    op(
        "aten::div.Scalar(Tensor self, Scalar other) -> Tensor",
        "Div",
        |c| binary(c, "Div"),
    ),
    op(
        "aten::div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
        "Div, Floor or Sign, Abs, Floor, Mul",
        divided,
    ),
    op(
        "aten::div.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor",
        "Div, Floor or Sign, Abs, Floor, Mul",
        divided,
    ),
    op(
        "aten::floor_divide(Tensor self, Tensor other) -> Tensor",
        "Div, Floor",
        rounded_down,
    ),
    op(
        "aten::floor_divide.Scalar(Tensor self, Scalar other) -> Tensor",
        "Div, Floor",
        rounded_down,
    ),
    op(
        "aten::remainder.Tensor(Tensor self, Tensor other) -> Tensor",
        "Mod; or Div, Floor, Mul, Sub",
        remainder,
    ),
    op(
        "aten::remainder.Scalar(Tensor self, Scalar other) -> Tensor",
        "Mod; or Div, Floor, Mul, Sub",
        remainder,
    ),
    op(
        "aten::fmod.Tensor(Tensor self, Tensor other) -> Tensor",
        "Mod",
        fmod,
    ),
    op(
        "aten::fmod.Scalar(Tensor self, Scalar other) -> Tensor",
        "Mod",
        fmod,
    ),
    op(
        "aten::pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor",
        "Mul, Sqrt or Pow",
        power,
    ),
    op(
        "aten::pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
        "Pow",
        power,
    ),
    op(
        "aten::pow.Scalar(Scalar self, Tensor exponent) -> Tensor",
        "Pow",
        power,
    ),
    op(
        "aten::maximum(Tensor self, Tensor other) -> Tensor",
        "Max",
        |c| binary(c, "Max"),
    ),
    op(
        "aten::minimum(Tensor self, Tensor other) -> Tensor",
        "Min",
        |c| binary(c, "Min"),
    ),
    op(
        "aten::max.other(Tensor self, Tensor other) -> Tensor",
        "Max",
        |c| binary(c, "Max"),
    ),
    op(
        "aten::min.other(Tensor self, Tensor other) -> Tensor",
        "Min",
        |c| binary(c, "Min"),
    ),
    op(
        "aten::addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
        "Mul, Add",
        |c| add_combined(c, "Mul"),
    ),
    op(
        "aten::addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
        "Div, Add",
        |c| add_combined(c, "Div"),
    ),
    op(
        "aten::lerp.Scalar(Tensor self, Tensor end, Scalar weight) -> Tensor",
        "Sub, Mul, Add",
        lerp,
    ),
    op(
        "aten::lerp.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor",
        "Sub, Mul, Add",
        lerp,
    ),
];

/// The two operands in the type of the result.
fn operands(c: &mut Call<'_>) -> Step<(Tensor, Tensor)> {
    let dtype = c.out_dtype()?;
    Ok((c.operand("self", dtype)?, c.operand("other", dtype)?))
}

fn binary(c: &mut Call<'_>, op: &'static str) -> Step {
    let dtype = c.out_dtype()?;
    // ONNX has no arithmetic of booleans: the product is their conjunction.
    let (work, op) = match (dtype, op) {
        (ScalarType::Bool, "Mul") => (dtype, "And"),
        _ => (dtype, op),
    };
    let (a, b) = (c.operand("self", work)?, c.operand("other", work)?);
    c.finish(op, &[&a.name, &b.name], vec![])
}

/// `self ± alpha * other`.
fn scaled(c: &mut Call<'_>, op: &'static str) -> Step {
    let dtype = c.out_dtype()?;
    let (a, mut b) = operands(c)?;
    if dtype == ScalarType::Bool {
        return c.finish("Or", &[&a.name, &b.name], vec![]);
    }
    let alpha = c.float_or("alpha", 1.0)?;
    if alpha != 1.0 {
        let alpha = c.b.number(dtype, alpha)?;
        b.name = c.emit("Mul", &[&b.name, &alpha], vec![]);
    }
    c.finish(op, &[&a.name, &b.name], vec![])
}

fn reversed(c: &mut Call<'_>) -> Step {
    let (mut a, b) = operands(c)?;
    let alpha = c.float_or("alpha", 1.0)?;
    if alpha != 1.0 {
        let alpha = c.b.number(a.dtype, alpha)?;
        a.name = c.emit("Mul", &[&a.name, &alpha], vec![]);
    }
    c.finish("Sub", &[&b.name, &a.name], vec![])
}

fn divided(c: &mut Call<'_>) -> Step {
    match c.str_or("rounding_mode", "")?.as_str() {
        "" => binary(c, "Div"),
        "floor" => rounded_down(c),
        "trunc" => {
            let (a, b) = operands(c)?;
            let q = c.emit("Div", &[&a.name, &b.name], vec![]);
            if !a.dtype.is_float() {
                return c.done(q);
            }
            let (sign, size) = (c.emit("Sign", &[&q], vec![]), c.emit("Abs", &[&q], vec![]));
            let down = c.emit("Floor", &[&size], vec![]);
            c.finish("Mul", &[&sign, &down], vec![])
        }
        other => Err(format!("the rounding mode {other:?}")),
    }
}

/// The quotient rounded down. `Div` of integers rounds to zero, so that it is one too large where there is a remainder
/// and the signs differ; `Mod` has the divisor's sign, so that what it leaves divides without one.
fn rounded_down(c: &mut Call<'_>) -> Step {
    let (a, b) = operands(c)?;
    if a.dtype.is_float() {
        let q = c.emit("Div", &[&a.name, &b.name], vec![]);
        return c.finish("Floor", &[&q], vec![]);
    }
    let left = c.emit("Mod", &[&a.name, &b.name], vec![]);
    let exact = c.emit("Sub", &[&a.name, &left], vec![]);
    c.finish("Div", &[&exact, &b.name], vec![])
}

fn remainder(c: &mut Call<'_>) -> Step {
    let (a, b) = operands(c)?;
    if !a.dtype.is_float() {
        return c.finish("Mod", &[&a.name, &b.name], vec![]);
    }
    let q = c.emit("Div", &[&a.name, &b.name], vec![]);
    let down = c.emit("Floor", &[&q], vec![]);
    let whole = c.emit("Mul", &[&down, &b.name], vec![]);
    c.finish("Sub", &[&a.name, &whole], vec![])
}

fn fmod(c: &mut Call<'_>) -> Step {
    let (a, b) = operands(c)?;
    c.finish("Mod", &[&a.name, &b.name], vec![int("fmod", 1)])
}

fn power(c: &mut Call<'_>) -> Step {
    let dtype = c.out_dtype()?;
    let base = c.operand("self", dtype)?;
    if let Ok(exponent) = c.scalar("exponent") {
        match exponent.number() {
            Some(1.0) => return c.set_tensor(0, base),
            Some(2.0) => return c.finish("Mul", &[&base.name, &base.name], vec![]),
            Some(3.0) => {
                let square = c.emit("Mul", &[&base.name, &base.name], vec![]);
                return c.finish("Mul", &[&square, &base.name], vec![]);
            }
            Some(0.5) => return c.finish("Sqrt", &[&base.name], vec![]),
            _ => {}
        }
    }
    let exponent = c.operand("exponent", dtype)?;
    c.finish("Pow", &[&base.name, &exponent.name], vec![])
}

/// `self + value * (tensor1 op tensor2)`.
fn add_combined(c: &mut Call<'_>, op: &'static str) -> Step {
    let dtype = c.out_dtype()?;
    let base = c.operand("self", dtype)?;
    let (a, b) = (c.operand("tensor1", dtype)?, c.operand("tensor2", dtype)?);
    let mut inner = c.emit(op, &[&a.name, &b.name], vec![]);
    let value = c.float_or("value", 1.0)?;
    if value != 1.0 {
        let value = c.b.number(dtype, value)?;
        inner = c.emit("Mul", &[&inner, &value], vec![]);
    }
    c.finish("Add", &[&base.name, &inner], vec![])
}

fn lerp(c: &mut Call<'_>) -> Step {
    let dtype = c.out_dtype()?;
    let (start, end) = (c.operand("self", dtype)?, c.operand("end", dtype)?);
    let weight = c.operand("weight", dtype)?;
    let way = c.emit("Sub", &[&end.name, &start.name], vec![]);
    let part = c.emit("Mul", &[&way, &weight.name], vec![]);
    c.finish("Add", &[&start.name, &part], vec![])
}
