//! Copies, casts, and what does nothing when a model is not trained.

use super::{Op, op};
use crate::lower::Step;
use crate::lower::call::Call;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor",
        "Cast where types differ",
        same,
    ),
    op(
        "aten::contiguous(Tensor self, *, MemoryFormat memory_format) -> Tensor",
        "Cast where types differ",
        same,
    ),
    op(
        "aten::detach(Tensor self) -> Tensor",
        "Cast where types differ",
        same,
    ),
    op(
        "aten::detach_copy(Tensor self) -> Tensor",
        "Cast where types differ",
        same,
    ),
    op(
        "aten::alias(Tensor self) -> Tensor",
        "Cast where types differ",
        same,
    ),
    op(
        "aten::lift_fresh_copy(Tensor self) -> Tensor",
        "Cast where types differ",
        same,
    ),
    op(
        "aten::lift_fresh(Tensor self) -> Tensor",
        "Cast where types differ",
        same,
    ),
    op(
        "aten::to.dtype(Tensor self, ScalarType dtype, bool copy=False) -> Tensor",
        "Cast",
        same,
    ),
    op(
        "aten::to.device(Tensor self, Device device, ScalarType dtype) -> Tensor",
        "Cast",
        same,
    ),
    op(
        "aten::to.dtype_layout(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        "Cast",
        same,
    ),
    op(
        "aten::to.other(Tensor self, Tensor other) -> Tensor",
        "Cast",
        same,
    ),
    op(
        "aten::type_as(Tensor self, Tensor other) -> Tensor",
        "Cast",
        same,
    ),
    op(
        "aten::_to_copy(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        "Cast",
        same,
    ),
    op(
        "aten::dropout(Tensor input, float p, bool train) -> Tensor",
        "nothing",
        dropout,
    ),
    op(
        "aten::feature_dropout(Tensor input, float p, bool train) -> Tensor",
        "nothing",
        dropout,
    ),
    op(
        "aten::alpha_dropout(Tensor input, float p, bool train) -> Tensor",
        "nothing",
        dropout,
    ),
    op(
        "aten::native_dropout(Tensor input, float p, bool? train) -> (Tensor, Tensor)",
        "nothing",
        dropout,
    ),
    op(
        "aten::copy(Tensor self, Tensor src) -> Tensor",
        "Cast, Expand",
        |c| {
            let dims = c.out_dims()?;
            let source = c.operand("src", c.out_dtype()?)?;
            let whole = c.expand(&source, &dims)?;
            c.set_tensor(0, whole)
        },
    ),
];

/// The same elements, in the type of the result.
fn same(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    c.set_tensor(0, x)
}

fn dropout(c: &mut Call<'_>) -> Step {
    // The native one says nothing where it is to follow the mode of training, which is off.
    if c.bool_or("train", false)? && c.float_or("p", 0.0)? > 0.0 {
        return Err(
            "it drops elements at random, as in training; export the model after model.eval()"
                .into(),
        );
    }
    // The in-place one has another name for it.
    let x = c.tensor(if c.has("input") { "input" } else { "self" })?;
    c.set_tensor(0, x)
}
