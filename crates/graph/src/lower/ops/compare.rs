//! Comparisons, logic, and choices by them.

use hearth_formats::torch::ScalarType;

use super::activation::unary;
use super::{Op, op};
use crate::lower::Step;
use crate::lower::call::Call;
use crate::lower::value::{Scalar, Tensor, promoted};

pub(super) const OPS: &[Op] = &[
    op(
        "aten::eq.Tensor(Tensor self, Tensor other) -> Tensor",
        "Equal",
        |c| compare(c, "Equal"),
    ),
    op(
        "aten::eq.Scalar(Tensor self, Scalar other) -> Tensor",
        "Equal",
        |c| compare(c, "Equal"),
    ),
    op(
        "aten::ne.Tensor(Tensor self, Tensor other) -> Tensor",
        "Equal, Not",
        |c| compare(c, "Not"),
    ),
    op(
        "aten::ne.Scalar(Tensor self, Scalar other) -> Tensor",
        "Equal, Not",
        |c| compare(c, "Not"),
    ),
    op(
        "aten::lt.Tensor(Tensor self, Tensor other) -> Tensor",
        "Less",
        |c| compare(c, "Less"),
    ),
    op(
        "aten::lt.Scalar(Tensor self, Scalar other) -> Tensor",
        "Less",
        |c| compare(c, "Less"),
    ),
    op(
        "aten::le.Tensor(Tensor self, Tensor other) -> Tensor",
        "LessOrEqual",
        |c| compare(c, "LessOrEqual"),
    ),
    op(
        "aten::le.Scalar(Tensor self, Scalar other) -> Tensor",
        "LessOrEqual",
        |c| compare(c, "LessOrEqual"),
    ),
    op(
        "aten::gt.Tensor(Tensor self, Tensor other) -> Tensor",
        "Greater",
        |c| compare(c, "Greater"),
    ),
    op(
        "aten::gt.Scalar(Tensor self, Scalar other) -> Tensor",
        "Greater",
        |c| compare(c, "Greater"),
    ),
    op(
        "aten::ge.Tensor(Tensor self, Tensor other) -> Tensor",
        "GreaterOrEqual",
        |c| compare(c, "GreaterOrEqual"),
    ),
    op(
        "aten::ge.Scalar(Tensor self, Scalar other) -> Tensor",
        "GreaterOrEqual",
        |c| compare(c, "GreaterOrEqual"),
    ),
    op(
        "aten::logical_and(Tensor self, Tensor other) -> Tensor",
        "And",
        |c| logical(c, "And"),
    ),
    op(
        "aten::logical_or(Tensor self, Tensor other) -> Tensor",
        "Or",
        |c| logical(c, "Or"),
    ),
    op(
        "aten::logical_xor(Tensor self, Tensor other) -> Tensor",
        "Xor",
        |c| logical(c, "Xor"),
    ),
    op("aten::logical_not(Tensor self) -> Tensor", "Not", |c| {
        let x = c.operand("self", ScalarType::Bool)?;
        c.finish("Not", &[&x.name], vec![])
    }),
    op(
        "aten::bitwise_and.Tensor(Tensor self, Tensor other) -> Tensor",
        "And or BitwiseAnd",
        |c| bitwise(c, "And", "BitwiseAnd"),
    ),
    op(
        "aten::bitwise_and.Scalar(Tensor self, Scalar other) -> Tensor",
        "And or BitwiseAnd",
        |c| bitwise(c, "And", "BitwiseAnd"),
    ),
    op(
        "aten::bitwise_or.Tensor(Tensor self, Tensor other) -> Tensor",
        "Or or BitwiseOr",
        |c| bitwise(c, "Or", "BitwiseOr"),
    ),
    op(
        "aten::bitwise_or.Scalar(Tensor self, Scalar other) -> Tensor",
        "Or or BitwiseOr",
        |c| bitwise(c, "Or", "BitwiseOr"),
    ),
    op(
        "aten::bitwise_xor.Tensor(Tensor self, Tensor other) -> Tensor",
        "Xor or BitwiseXor",
        |c| bitwise(c, "Xor", "BitwiseXor"),
    ),
    op(
        "aten::__and__.Tensor(Tensor self, Tensor other) -> Tensor",
        "And or BitwiseAnd",
        |c| bitwise(c, "And", "BitwiseAnd"),
    ),
    op(
        "aten::__and__.Scalar(Tensor self, Scalar other) -> Tensor",
        "And or BitwiseAnd",
        |c| bitwise(c, "And", "BitwiseAnd"),
    ),
    op(
        "aten::__or__.Tensor(Tensor self, Tensor other) -> Tensor",
        "Or or BitwiseOr",
        |c| bitwise(c, "Or", "BitwiseOr"),
    ),
    op(
        "aten::__xor__.Tensor(Tensor self, Tensor other) -> Tensor",
        "Xor or BitwiseXor",
        |c| bitwise(c, "Xor", "BitwiseXor"),
    ),
    op(
        "aten::bitwise_not(Tensor self) -> Tensor",
        "Not or BitwiseNot",
        |c| {
            let x = c.tensor("self")?;
            let op = if x.dtype == ScalarType::Bool {
                "Not"
            } else {
                "BitwiseNot"
            };
            c.finish(op, &[&x.name], vec![])
        },
    ),
    op("aten::isnan(Tensor self) -> Tensor", "IsNaN", |c| {
        unary(c, "IsNaN")
    }),
    op("aten::isinf(Tensor self) -> Tensor", "IsInf", |c| {
        unary(c, "IsInf")
    }),
    op(
        "aten::where.self(Tensor condition, Tensor self, Tensor other) -> Tensor",
        "Where",
        choose,
    ),
    op(
        "aten::where.ScalarSelf(Tensor condition, Scalar self, Tensor other) -> Tensor",
        "Where",
        choose,
    ),
    op(
        "aten::where.ScalarOther(Tensor condition, Tensor self, Scalar other) -> Tensor",
        "Where",
        choose,
    ),
    op(
        "aten::where.Scalar(Tensor condition, Scalar self, Scalar other) -> Tensor",
        "Where",
        choose,
    ),
    op(
        "aten::masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor",
        "Where",
        masked_fill,
    ),
    op(
        "aten::masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor",
        "Where",
        masked_fill,
    ),
];

/// The type in which the two operands compare.
fn common(c: &mut Call<'_>) -> Step<ScalarType> {
    let mut tensors = Vec::new();
    let mut numbers = Vec::new();
    for name in ["self", "other"] {
        match c.tensor(name) {
            Ok(t) => tensors.push((t.dtype, t.rank())),
            Err(_) => numbers.push(c.scalar(name)?),
        }
    }
    Ok(promoted(
        &tensors,
        &numbers.iter().collect::<Vec<&Scalar>>(),
    ))
}

fn compare(c: &mut Call<'_>, op: &'static str) -> Step {
    let mut dtype = common(c)?;
    // Booleans have no order in ONNX, and some runtimes do not compare the smallest integers.
    if matches!(
        dtype,
        ScalarType::Bool | ScalarType::Byte | ScalarType::Char | ScalarType::Short
    ) {
        dtype = ScalarType::Int;
    }
    let (a, b) = (c.operand("self", dtype)?, c.operand("other", dtype)?);
    if op == "Not" {
        let same = c.emit("Equal", &[&a.name, &b.name], vec![]);
        return c.finish("Not", &[&same], vec![]);
    }
    c.finish(op, &[&a.name, &b.name], vec![])
}

fn logical(c: &mut Call<'_>, op: &'static str) -> Step {
    let (a, b) = (
        c.operand("self", ScalarType::Bool)?,
        c.operand("other", ScalarType::Bool)?,
    );
    c.finish(op, &[&a.name, &b.name], vec![])
}

fn bitwise(c: &mut Call<'_>, of_bools: &'static str, of_ints: &'static str) -> Step {
    let dtype = c.out_dtype()?;
    let (a, b) = (c.operand("self", dtype)?, c.operand("other", dtype)?);
    let op = if dtype == ScalarType::Bool {
        of_bools
    } else {
        of_ints
    };
    c.finish(op, &[&a.name, &b.name], vec![])
}

fn choose(c: &mut Call<'_>) -> Step {
    let dtype = c.out_dtype()?;
    let condition = c.operand("condition", ScalarType::Bool)?;
    let (yes, no) = (c.operand("self", dtype)?, c.operand("other", dtype)?);
    where_(c, &condition, &yes, &no)
}

fn masked_fill(c: &mut Call<'_>) -> Step {
    let dtype = c.out_dtype()?;
    let x = c.operand("self", dtype)?;
    let mask = c.operand("mask", ScalarType::Bool)?;
    let value = c.operand("value", dtype)?;
    where_(c, &mask, &value, &x)
}

/// A choice; among booleans by logic, which all runtimes have.
fn where_(c: &mut Call<'_>, condition: &Tensor, yes: &Tensor, no: &Tensor) -> Step {
    if yes.dtype != ScalarType::Bool {
        return c.finish("Where", &[&condition.name, &yes.name, &no.name], vec![]);
    }
    let not = c.emit("Not", &[&condition.name], vec![]);
    let a = c.emit("And", &[&condition.name, &yes.name], vec![]);
    let b = c.emit("And", &[&not, &no.name], vec![]);
    c.finish("Or", &[&a, &b], vec![])
}
