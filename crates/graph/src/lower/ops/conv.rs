//! Convolutions.

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{int, ints};
use crate::lower::call::Call;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::conv1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, SymInt[1] padding=0, SymInt[1] dilation=1, SymInt groups=1) -> Tensor",
        "Conv",
        |c| conv(c, false),
    ),
    op(
        "aten::conv2d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, SymInt[2] padding=0, SymInt[2] dilation=1, SymInt groups=1) -> Tensor",
        "Conv",
        |c| conv(c, false),
    ),
    op(
        "aten::conv3d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[3] stride=1, SymInt[3] padding=0, SymInt[3] dilation=1, SymInt groups=1) -> Tensor",
        "Conv",
        |c| conv(c, false),
    ),
    op(
        "aten::conv1d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, str padding='valid', SymInt[1] dilation=1, SymInt groups=1) -> Tensor",
        "Conv",
        |c| conv(c, false),
    ),
    op(
        "aten::conv2d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, str padding='valid', SymInt[2] dilation=1, SymInt groups=1) -> Tensor",
        "Conv",
        |c| conv(c, false),
    ),
    op(
        "aten::conv3d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[3] stride=1, str padding='valid', SymInt[3] dilation=1, SymInt groups=1) -> Tensor",
        "Conv",
        |c| conv(c, false),
    ),
    op(
        "aten::convolution(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups) -> Tensor",
        "Conv or ConvTranspose",
        |c| {
            let transposed = c.bool_or("transposed", false)?;
            conv(c, transposed)
        },
    ),
    op(
        "aten::conv_transpose1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, SymInt[1] padding=0, SymInt[1] output_padding=0, SymInt groups=1, SymInt[1] dilation=1) -> Tensor",
        "ConvTranspose",
        |c| conv(c, true),
    ),
    op(
        "aten::conv_transpose2d.input(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, SymInt[2] padding=0, SymInt[2] output_padding=0, SymInt groups=1, SymInt[2] dilation=1) -> Tensor",
        "ConvTranspose",
        |c| conv(c, true),
    ),
    op(
        "aten::conv_transpose3d.input(Tensor input, Tensor weight, Tensor? bias=None, SymInt[3] stride=1, SymInt[3] padding=0, SymInt[3] output_padding=0, SymInt groups=1, SymInt[3] dilation=1) -> Tensor",
        "ConvTranspose",
        |c| conv(c, true),
    ),
];

fn conv(c: &mut Call<'_>, transposed: bool) -> Step {
    let (mut x, w) = (c.tensor("input")?, c.tensor("weight")?);
    let bias = c.tensor_opt("bias")?;
    let spatial = w
        .rank()
        .checked_sub(2)
        .filter(|&n| n > 0)
        .ok_or("a weight of fewer than three dimensions")?;
    let kernel: Vec<i64> = (2..w.rank()).map(|d| w.fixed(d)).collect::<Step<_>>()?;
    // An example without a batch is a batch of one.
    let batched = x.rank() == spatial + 2;
    if !batched {
        if x.rank() != spatial + 1 {
            return Err(format!(
                "an input of {} dimensions for {spatial} of the kernel",
                x.rank()
            ));
        }
        let axes = c.b.ints(&[0])?;
        x = Tensor {
            name: c.emit("Unsqueeze", &[&x.name, &axes], vec![]),
            ..x
        };
    }
    let ones = vec![1; spatial];
    let dilations = c.ints_for("dilation", spatial, &ones)?;
    let mut attributes = vec![
        ints("kernel_shape", kernel.clone()),
        ints("strides", c.ints_for("stride", spatial, &ones)?),
        ints("dilations", dilations.clone()),
        int("group", c.int_or("groups", 1)?),
    ];
    match c.str_or("padding", "") {
        Ok(mode) if !mode.is_empty() => match mode.as_str() {
            // As much as a kernel reaches; where that is odd, the end gets the odd one.
            "same" => {
                let reach = |i: usize| dilations[i].saturating_mul(kernel[i] - 1);
                let starts = (0..spatial).map(|i| reach(i) / 2);
                let ends = (0..spatial).map(|i| reach(i) - reach(i) / 2);
                attributes.push(ints("pads", starts.chain(ends).collect::<Vec<i64>>()));
            }
            "valid" => {}
            other => return Err(format!("the padding {other:?}")),
        },
        _ => {
            let pads = c.ints_for("padding", spatial, &vec![0; spatial])?;
            attributes.push(ints("pads", [pads.clone(), pads].concat()));
        }
    }
    if transposed {
        let more = c.ints_for("output_padding", spatial, &vec![0; spatial])?;
        attributes.push(ints("output_padding", more));
    }
    let mut inputs = vec![x.name.as_str(), w.name.as_str()];
    if let Some(bias) = &bias {
        inputs.push(&bias.name);
    }
    let op = if transposed { "ConvTranspose" } else { "Conv" };
    if batched {
        return c.finish(op, &inputs, attributes);
    }
    let y = c.emit(op, &inputs, attributes);
    let axes = c.b.ints(&[0])?;
    c.finish("Squeeze", &[&y, &axes], vec![])
}
