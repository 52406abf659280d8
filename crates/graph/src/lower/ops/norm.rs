//! Normalizations.

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{float, int};
use crate::lower::call::Call;
use crate::lower::expr::Expr;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float eps, bool cudnn_enabled) -> Tensor",
        "BatchNormalization; or InstanceNormalization",
        batch_norm,
    ),
    op(
        "aten::_native_batch_norm_legit_no_training(Tensor input, Tensor? weight, Tensor? bias, Tensor running_mean, Tensor running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
        "BatchNormalization",
        batch_norm,
    ),
    op(
        "aten::native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
        "BatchNormalization; or InstanceNormalization",
        batch_norm,
    ),
    op(
        "aten::layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool cudnn_enable=True) -> Tensor",
        "LayerNormalization",
        layer_norm,
    ),
    op(
        "aten::native_layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor, Tensor)",
        "LayerNormalization",
        layer_norm,
    ),
    op(
        "aten::rms_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
        "Mul, ReduceMean, Add, Sqrt, Div",
        rms_norm,
    ),
    op(
        "aten::_fused_rms_norm(Tensor input, int[] normalized_shape, Tensor? weight, float? eps) -> (Tensor, Tensor)",
        "Mul, ReduceMean, Add, Sqrt, Div",
        rms_norm,
    ),
    op(
        "aten::_weight_norm(Tensor v, Tensor g, int dim=0) -> Tensor",
        "ReduceL2, Div, Mul",
        |c| {
            let (v, g) = (c.tensor("v")?, c.tensor("g")?);
            let dim = v.axis(c.int_or("dim", 0)?)? as i64;
            let axes: Vec<i64> = (0..v.rank() as i64).filter(|&d| d != dim).collect();
            let axes = c.b.ints(&axes)?;
            let length = c.emit("ReduceL2", &[&v.name, &axes], vec![int("keepdims", 1)]);
            let scale = c.emit("Div", &[&g.name, &length], vec![]);
            c.finish("Mul", &[&v.name, &scale], vec![])
        },
    ),
    op(
        "aten::group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool cudnn_enabled=True) -> Tensor",
        "Reshape, InstanceNormalization, Mul, Add",
        |c| {
            let groups = c.int("num_groups")?;
            group_norm(c, groups)
        },
    ),
    op(
        "aten::native_group_norm(Tensor input, Tensor? weight, Tensor? bias, SymInt N, SymInt C, SymInt HxW, int group, float eps) -> (Tensor, Tensor, Tensor)",
        "Reshape, InstanceNormalization, Mul, Add",
        |c| {
            let groups = c.int("group")?;
            group_norm(c, groups)
        },
    ),
    op(
        "aten::instance_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool use_input_stats, float momentum, float eps, bool cudnn_enabled) -> Tensor",
        "InstanceNormalization",
        |c| {
            if !c.bool_or("use_input_stats", true)? {
                return batch_norm(c);
            }
            let x = c.tensor("input")?;
            let channels = x.fixed(1)?;
            let (scale, bias) = (
                affine(c, "weight", &x, channels, 1.0)?,
                affine(c, "bias", &x, channels, 0.0)?,
            );
            let eps = c.float_or("eps", 1e-5)?;
            c.finish(
                "InstanceNormalization",
                &[&x.name, &scale, &bias],
                vec![float("epsilon", eps)],
            )
        },
    ),
];

/// A vector of the call, or one of `value` where there is none.
fn affine(c: &mut Call<'_>, name: &str, like: &Tensor, len: i64, value: f64) -> Step<String> {
    match c.tensor_opt(name)? {
        Some(tensor) => Ok(c.b.cast(&tensor, like.dtype)?.name),
        None => {
            let count = usize::try_from(len).map_err(|_| format!("{len} channels"))?;
            c.b.floats(like.dtype, &[len], std::iter::repeat_n(value, count))
        }
    }
}

fn batch_norm(c: &mut Call<'_>) -> Step {
    let x = c.tensor("input")?;
    let channels = x.fixed(1)?;
    let scale = affine(c, "weight", &x, channels, 1.0)?;
    let bias = affine(c, "bias", &x, channels, 0.0)?;
    let eps = c.float_or("eps", 1e-5)?;
    if c.bool_or("training", false)? {
        // A batch of one by itself: how weights are standardized, say.
        if x.dims[0] == Expr::Int(1) && x.rank() > 2 {
            let attributes = vec![float("epsilon", eps)];
            return c.finish(
                "InstanceNormalization",
                &[&x.name, &scale, &bias],
                attributes,
            );
        }
        return Err("it normalizes by the batch's own statistics, as in training; export the model after model.eval()".into());
    }
    if !c.has("running_mean") || !c.has("running_var") {
        return Err(
            "it has no running statistics, so that a request's answer would depend on its batch"
                .into(),
        );
    }
    let mean = affine(c, "running_mean", &x, channels, 0.0)?;
    let var = affine(c, "running_var", &x, channels, 1.0)?;
    c.finish(
        "BatchNormalization",
        &[&x.name, &scale, &bias, &mean, &var],
        vec![float("epsilon", eps)],
    )
}

fn layer_norm(c: &mut Call<'_>) -> Step {
    let x = c.tensor("input")?;
    let shape = c.ints("normalized_shape")?;
    let len: i64 = shape.iter().product();
    let eps = c.float_or("eps", 1e-5)?;
    let scale = match c.tensor_opt("weight")? {
        Some(weight) => weight.name,
        None => {
            let count = usize::try_from(len).map_err(|_| format!("{len} elements"))?;
            c.b.floats(x.dtype, &shape, std::iter::repeat_n(1.0, count))?
        }
    };
    let bias = c.tensor_opt("bias")?;
    let mut inputs = vec![x.name.as_str(), scale.as_str()];
    if let Some(bias) = &bias {
        inputs.push(&bias.name);
    }
    let attributes = vec![int("axis", -(shape.len() as i64)), float("epsilon", eps)];
    c.finish("LayerNormalization", &inputs, attributes)
}

/// `x / sqrt(mean(x²) + eps) * weight`. Source: <https://arxiv.org/abs/1910.07467>.
fn rms_norm(c: &mut Call<'_>) -> Step {
    let x = c.tensor("input")?;
    let axes: Vec<i64> = (1..=c.ints("normalized_shape")?.len() as i64)
        .map(|i| -i)
        .collect();
    let axes = c.b.ints(&axes)?;
    // Without one, the smallest number that changes 1.
    let eps = c.float_or("eps", f64::from(f32::EPSILON))?;
    let eps = c.b.number(x.dtype, eps)?;
    let square = c.emit("Mul", &[&x.name, &x.name], vec![]);
    let mean = c.emit("ReduceMean", &[&square, &axes], vec![int("keepdims", 1)]);
    let sum = c.emit("Add", &[&mean, &eps], vec![]);
    let root = c.emit("Sqrt", &[&sum], vec![]);
    let y = c.emit("Div", &[&x.name, &root], vec![]);
    match c.tensor_opt("weight")? {
        Some(weight) => c.finish("Mul", &[&y, &weight.name], vec![]),
        None => c.done(y),
    }
}

/// Each group of channels is normalized as one channel is, then each channel scaled.
/// Source: <https://arxiv.org/abs/1803.08494>.
fn group_norm(c: &mut Call<'_>, groups: i64) -> Step {
    let x = c.tensor("input")?;
    let channels = x.fixed(1)?;
    let eps = c.float_or("eps", 1e-5)?;
    let (one, zero) = {
        let count = usize::try_from(groups).map_err(|_| format!("{groups} groups"))?;
        (
            c.b.floats(x.dtype, &[groups], std::iter::repeat_n(1.0, count))?,
            c.b.floats(x.dtype, &[groups], std::iter::repeat_n(0.0, count))?,
        )
    };
    let rest = Expr::quotient(
        Expr::product(x.dims[1..].iter().cloned()),
        Expr::Int(groups),
    );
    let grouped = c.reshape(&x, &[x.dims[0].clone(), Expr::Int(groups), rest])?;
    let name = c.emit(
        "InstanceNormalization",
        &[&grouped.name, &one, &zero],
        vec![float("epsilon", eps)],
    );
    let mut y = c.reshape(&Tensor { name, ..grouped }, &x.dims)?;
    let mut along = vec![Expr::Int(channels)];
    along.extend(std::iter::repeat_n(Expr::Int(1), x.rank() - 2));
    for (name, op) in [("weight", "Mul"), ("bias", "Add")] {
        if let Some(each) = c.tensor_opt(name)? {
            let each = c.reshape(&each, &along)?;
            y.name = c.emit(op, &[&y.name, &each.name], vec![]);
        }
    }
    c.set_tensor(0, y)
}
