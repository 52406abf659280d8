//! Pooling.

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{int, ints};
use crate::lower::call::Call;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::max_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, int[1] dilation=1, bool ceil_mode=False) -> Tensor",
        "MaxPool",
        |c| pool(c, 1, true),
    ),
    op(
        "aten::max_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, int[2] dilation=1, bool ceil_mode=False) -> Tensor",
        "MaxPool",
        |c| pool(c, 2, true),
    ),
    op(
        "aten::max_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, int[3] dilation=1, bool ceil_mode=False) -> Tensor",
        "MaxPool",
        |c| pool(c, 3, true),
    ),
    op(
        "aten::max_pool2d_with_indices(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, int[2] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)",
        "MaxPool",
        |c| pool(c, 2, true),
    ),
    op(
        "aten::max_pool3d_with_indices(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, int[3] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)",
        "MaxPool",
        |c| pool(c, 3, true),
    ),
    op(
        "aten::avg_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, bool ceil_mode=False, bool count_include_pad=True) -> Tensor",
        "AveragePool",
        |c| pool(c, 1, false),
    ),
    op(
        "aten::avg_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
        "AveragePool",
        |c| pool(c, 2, false),
    ),
    op(
        "aten::avg_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
        "AveragePool",
        |c| pool(c, 3, false),
    ),
    op(
        "aten::adaptive_avg_pool1d(Tensor self, int[1] output_size) -> Tensor",
        "ReduceMean; or AveragePool; or MatMul",
        |c| adaptive(c, 1, false),
    ),
    op(
        "aten::adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor",
        "ReduceMean; or AveragePool; or MatMul",
        |c| adaptive(c, 2, false),
    ),
    op(
        "aten::_adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor",
        "ReduceMean; or AveragePool; or MatMul",
        |c| adaptive(c, 2, false),
    ),
    op(
        "aten::adaptive_avg_pool3d(Tensor self, SymInt[3] output_size) -> Tensor",
        "ReduceMean; or AveragePool; or MatMul",
        |c| adaptive(c, 3, false),
    ),
    op(
        "aten::adaptive_max_pool1d(Tensor self, int[1] output_size) -> (Tensor, Tensor)",
        "ReduceMax; or MaxPool",
        |c| adaptive(c, 1, true),
    ),
    op(
        "aten::adaptive_max_pool2d(Tensor self, int[2] output_size) -> (Tensor, Tensor)",
        "ReduceMax; or MaxPool",
        |c| adaptive(c, 2, true),
    ),
];

/// The input with a batch, and whether it had one.
fn batched(c: &mut Call<'_>, spatial: usize) -> Step<(Tensor, bool)> {
    let x = c.tensor("self")?;
    if x.rank() == spatial + 2 {
        return Ok((x, true));
    }
    if x.rank() != spatial + 1 {
        return Err(format!("an input of {} dimensions", x.rank()));
    }
    let axes = c.b.ints(&[0])?;
    let mut dims = x.dims.clone();
    dims.insert(0, crate::lower::expr::Expr::Int(1));
    let name = c.emit("Unsqueeze", &[&x.name, &axes], vec![]);
    Ok((Tensor { name, dims, ..x }, false))
}

fn finish(c: &mut Call<'_>, name: String, had_batch: bool) -> Step {
    if had_batch {
        return c.done(name);
    }
    let axes = c.b.ints(&[0])?;
    c.finish("Squeeze", &[&name, &axes], vec![])
}

fn pool(c: &mut Call<'_>, spatial: usize, max: bool) -> Step {
    let (x, had_batch) = batched(c, spatial)?;
    let kernel = c.ints_for("kernel_size", spatial, &[])?;
    if kernel.len() != spatial {
        return Err("no kernel_size".into());
    }
    let strides = c.ints_for("stride", spatial, &kernel)?;
    let pads = c.ints_for("padding", spatial, &vec![0; spatial])?;
    let dilations = c.ints_for("dilation", spatial, &vec![1; spatial])?;
    if strides.iter().chain(&kernel).any(|&n| n < 1) {
        return Err(format!("a kernel of {kernel:?} in strides of {strides:?}"));
    }
    let ceil = c.bool_or("ceil_mode", false)?;
    let include_pad = c.bool_or("count_include_pad", true)?;
    if c.has("divisor_override") {
        return Err("a divisor of one's own".into());
    }
    let mut ends = pads.clone();
    let mut ceil_mode = 0;
    if ceil {
        let known: Option<Vec<i64>> = x.dims[2..].iter().map(|d| d.int()).collect();
        match known {
            // A window more at the end is padding more at the end. PyTorch starts none in the padding itself.
            Some(sizes) => {
                for (i, &size) in sizes.iter().enumerate() {
                    let room = size + 2 * pads[i] - dilations[i] * (kernel[i] - 1) - 1;
                    let mut windows = (room + strides[i] - 1).div_euclid(strides[i]) + 1;
                    if (windows - 1) * strides[i] >= size + pads[i] {
                        windows -= 1;
                    }
                    let more = (windows - 1) * strides[i] - room;
                    ends[i] += more.max(0);
                }
            }
            None => ceil_mode = 1,
        }
    }
    if !max && include_pad && (ends != pads || ceil_mode == 1) {
        return Err(
            "windows that count padding and reach past it (ceil_mode with count_include_pad)"
                .into(),
        );
    }
    let mut attributes = vec![
        ints("kernel_shape", kernel),
        ints("strides", strides),
        ints("pads", [pads, ends].concat()),
    ];
    if ceil_mode == 1 {
        attributes.push(int("ceil_mode", 1));
    }
    let op = if max {
        if dilations.iter().any(|&d| d != 1) {
            attributes.push(ints("dilations", dilations));
        }
        "MaxPool"
    } else {
        attributes.push(int("count_include_pad", i64::from(include_pad)));
        "AveragePool"
    };
    let name = c.emit(op, &[&x.name], attributes);
    finish(c, name, had_batch)
}

/// Pooling to a given size: the window of output `i` reaches from `i * in / out`, rounded down, to `(i + 1) * in / out`,
/// rounded up. Source: `aten/src/ATen/native/AdaptivePooling.h`.
fn adaptive(c: &mut Call<'_>, spatial: usize, max: bool) -> Step {
    let (x, had_batch) = batched(c, spatial)?;
    let first = x.rank() - spatial;
    let wanted = c.meta(0)?.dims;
    let wanted = wanted
        .len()
        .checked_sub(spatial)
        .map(|first| &wanted[first..])
        .ok_or("fewer dimensions in the result than are pooled")?;
    if wanted == &x.dims[first..] {
        return finish(c, x.name, had_batch);
    }
    let ones = wanted.iter().all(|d| d.int() == Some(1));
    if ones {
        let axes: Vec<i64> = (0..spatial as i64).map(|i| i - spatial as i64).collect();
        let axes = c.b.ints(&axes)?;
        let op = if max { "ReduceMax" } else { "ReduceMean" };
        let name = c.emit(op, &[&x.name, &axes], vec![int("keepdims", 1)]);
        return finish(c, name, had_batch);
    }
    let sizes: Vec<i64> = (first..x.rank()).map(|d| x.fixed(d)).collect::<Step<_>>()?;
    let wanted: Vec<i64> = wanted
        .iter()
        .map(|d| {
            d.int()
                .filter(|&n| n > 0)
                .ok_or("a dynamic output_size".to_owned())
        })
        .collect::<Step<_>>()?;
    if sizes.iter().zip(&wanted).all(|(size, out)| size % out == 0) {
        let kernel: Vec<i64> = sizes
            .iter()
            .zip(&wanted)
            .map(|(size, out)| size / out)
            .collect();
        let attributes = vec![
            ints("kernel_shape", kernel.clone()),
            ints("strides", kernel),
        ];
        let name = c.emit(
            if max { "MaxPool" } else { "AveragePool" },
            &[&x.name],
            attributes,
        );
        return finish(c, name, had_batch);
    }
    if max {
        return Err(format!("windows of unequal sizes: {sizes:?} to {wanted:?}"));
    }
    // Each axis in turn is a product with a matrix of averages.
    let mut x = x;
    for (i, (&size, &out)) in sizes.iter().zip(&wanted).enumerate() {
        if size == out {
            continue;
        }
        let count = size.checked_mul(out).filter(|n| (0..=1 << 24).contains(n));
        let count = count.ok_or_else(|| format!("windows of {size} to {out}"))?;
        let mut weights = vec![0.0; count as usize];
        for o in 0..out {
            let (start, end) = (o * size / out, ((o + 1) * size + out - 1) / out);
            for s in start..end {
                weights[(s * out + o) as usize] = 1.0 / (end - start) as f64;
            }
        }
        let matrix = c.b.floats(x.dtype, &[size, out], weights)?;
        let last = x.rank() - 1;
        let mut perm: Vec<usize> = (0..x.rank()).collect();
        perm.swap(first + i, last);
        let turned = c.transpose(&x, &perm);
        let mut dims = turned.dims.clone();
        dims[last] = crate::lower::expr::Expr::Int(out);
        let averaged =
            c.b.tensor("MatMul", &[&turned.name, &matrix], vec![], x.dtype, dims);
        x = c.transpose(&averaged, &perm);
    }
    finish(c, x.name, had_batch)
}
