//! Layers: products, convolutions, pooling, normalization, attention, recurrent networks, other sizes of images.

use hearth_formats::torch::ScalarType;

use super::{Infer, fresh, one};
use crate::lower::expr::Expr;
use crate::lower::value::Meta;
use crate::script::dims::broadcast;
use crate::script::facts::Step;
use crate::script::value::Value;

pub(super) fn results(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    match name {
        "linear" => linear(c),
        "addmm" | "mm" | "matmul" | "bmm" | "baddbmm" | "mv" | "dot" | "outer" => product(c, name),
        "einsum" => einsum(c),
        "conv1d" | "conv2d" | "conv3d" | "convolution" | "conv_transpose1d"
        | "conv_transpose2d" | "conv_transpose3d" => convolution(c, name),
        "batch_norm"
        | "instance_norm"
        | "native_batch_norm"
        | "_native_batch_norm_legit_no_training" => {
            let x = by_channels(c)?;
            normalized(x, name, name.contains("native"))
        }
        "group_norm" | "native_group_norm" => {
            let x = by_channels(c)?;
            normalized(x, name, name.starts_with("native"))
        }
        "layer_norm" | "rms_norm" | "native_layer_norm" | "_fused_rms_norm" => {
            let sizes = c.sizes("normalized_shape")?;
            let dtype = match c.bound.get("weight") {
                Some(Value::Tensor(weight)) => weight.meta.as_ref().map(|meta| meta.dtype),
                _ => None,
            };
            let n = sizes.len();
            let dtype = dtype.unwrap_or(ScalarType::Float);
            let mut x = c.typed("input", dtype, &[n + 1, n + 2])?;
            let lead = x
                .dims
                .len()
                .checked_sub(n)
                .ok_or("fewer dimensions than it normalizes")?;
            for (dim, size) in x.dims[lead..].iter_mut().zip(&sizes) {
                *dim = c.facts.equal(dim, size)?;
            }
            normalized(
                x,
                name,
                name.starts_with("native") || name.starts_with("_fused"),
            )
        }
        "_weight_norm" => {
            let v = c.tensor("v")?;
            one(v.dtype, v.dims)
        }
        "max_pool1d"
        | "max_pool2d"
        | "max_pool3d"
        | "avg_pool1d"
        | "avg_pool2d"
        | "avg_pool3d"
        | "max_pool2d_with_indices"
        | "max_pool3d_with_indices" => pool(c, name),
        "adaptive_avg_pool1d"
        | "adaptive_avg_pool2d"
        | "_adaptive_avg_pool2d"
        | "adaptive_avg_pool3d"
        | "adaptive_max_pool1d"
        | "adaptive_max_pool2d" => {
            let axes = axes_of(name);
            let mut x = c.tensor_of("self", &[axes + 2])?;
            let sizes = c.sizes("output_size")?;
            let lead = x.dims.len().checked_sub(axes).ok_or("too few dimensions")?;
            for (i, dim) in x.dims[lead..].iter_mut().enumerate() {
                if let Some(size) = sizes.get(if sizes.len() == 1 { 0 } else { i }) {
                    *dim = size.clone();
                }
            }
            let pooled = fresh(x.dtype, x.dims.clone());
            Ok(Some(match name.contains("max") {
                true => vec![pooled, fresh(ScalarType::Long, x.dims)],
                false => vec![pooled],
            }))
        }
        "scaled_dot_product_attention" | "_scaled_dot_product_flash_attention_for_cpu" => {
            attention(c, name)
        }
        "lstm" | "gru" | "rnn_tanh" => recurrent(c, name),
        "upsample_nearest1d"
        | "upsample_nearest2d"
        | "upsample_linear1d"
        | "upsample_bilinear2d"
        | "upsample_bicubic2d" => resized(c, name),
        "grid_sampler" | "grid_sampler_2d" => {
            let (x, grid) = (c.tensor_of("input", &[4])?, c.tensor_of("grid", &[4])?);
            let ([n, channels, ..], [_, h, w, _]) = (x.dims.as_slice(), grid.dims.as_slice())
            else {
                return Err("four dimensions were expected".into());
            };
            one(
                x.dtype,
                vec![n.clone(), channels.clone(), h.clone(), w.clone()],
            )
        }
        _ => Ok(None),
    }
}

/// How many axes an operator works along, by the figure in its name.
fn axes_of(name: &str) -> usize {
    if name.contains("1d") {
        1
    } else if name.contains("3d") {
        3
    } else {
        2
    }
}

fn linear(c: &mut Infer<'_>) -> Step<Option<Vec<Meta>>> {
    let weight = c.tensor("weight")?;
    let (gives, takes) = match weight.dims.as_slice() {
        [gives, takes] => (Some(gives.clone()), takes.clone()),
        [takes] => (None, takes.clone()),
        _ => return Err("its weight is no matrix".into()),
    };
    let mut x = c.typed("input", weight.dtype, &[2, 3, 4])?;
    let last = x.dims.pop().ok_or("its input is a scalar")?;
    c.facts.equal(&last, &takes)?;
    x.dims.extend(gives);
    one(x.dtype, x.dims)
}

/// Products of matrices, of stacks of them, and of vectors.
fn product(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    let (a, b) = match name {
        "addmm" => ("mat1", "mat2"),
        "baddbmm" => ("batch1", "batch2"),
        "mm" | "bmm" => ("self", "mat2"),
        "mv" => ("self", "vec"),
        "dot" => ("self", "tensor"),
        "outer" => ("self", "vec2"),
        _ => ("self", "other"),
    };
    let ranks: &[usize] = match name {
        "addmm" | "mm" => &[2],
        "baddbmm" | "bmm" => &[3],
        "mv" | "dot" | "outer" => &[1],
        _ => &[2, 3, 4],
    };
    let known = |c: &Infer<'_>, name: &str| match c.bound.get(name) {
        Some(Value::Tensor(tensor)) => tensor.meta.as_ref().map(|meta| meta.dtype),
        _ => None,
    };
    let dtype = known(c, a).or(known(c, b)).unwrap_or(ScalarType::Float);
    let (x, y) = (c.typed(a, dtype, ranks)?, c.typed(b, dtype, ranks)?);
    if name == "outer" {
        let dims = [x.dims, y.dims].concat();
        return one(x.dtype, dims);
    }
    let (mut left, mut right) = (x.dims, y.dims);
    let last = left.pop().ok_or("a product of a scalar")?;
    let column = if right.len() > 1 { right.pop() } else { None };
    let inner = right.pop().ok_or("a product with a scalar")?;
    c.facts.equal(&last, &inner)?;
    let row = left.pop();
    let mut dims = broadcast(c.facts, &[&left, &right])?;
    dims.extend(row);
    dims.extend(column);
    one(x.dtype, dims)
}

fn einsum(c: &mut Infer<'_>) -> Step<Option<Vec<Meta>>> {
    let Some(Value::Str(equation)) = c.bound.get("equation") else {
        return Err("its equation is no string".into());
    };
    let equation: String = equation.chars().filter(|c| *c != ' ').collect();
    let (from, to) = equation
        .split_once("->")
        .ok_or("an equation without an arrow")?;
    let tensors = c.tensors("tensors")?;
    let mut sizes: Vec<(char, Expr)> = Vec::new();
    let parts: Vec<&str> = from.split(',').collect();
    if parts.len() != tensors.len() {
        return Err("another number of tensors than its equation has".into());
    }
    for (letters, tensor) in parts.iter().zip(&tensors) {
        if letters.chars().count() != tensor.dims.len() {
            return Err(format!("{letters} for {} dimensions", tensor.dims.len()).into());
        }
        for (letter, dim) in letters.chars().zip(&tensor.dims) {
            match sizes.iter_mut().find(|(known, _)| *known == letter) {
                Some((_, Expr::Int(1))) | None => sizes.push((letter, dim.clone())),
                Some(_) if *dim == Expr::Int(1) => {}
                Some((_, size)) => *size = c.facts.equal(size, dim)?,
            }
        }
    }
    let dims = to.chars().map(|letter| {
        let found = sizes.iter().rev().find(|(known, _)| *known == letter);
        found.map(|(_, size)| size.clone())
    });
    let dims = dims
        .collect::<Option<Vec<Expr>>>()
        .ok_or("an axis that no tensor has")?;
    let dtype = tensors.first().ok_or("no tensors")?.dtype;
    one(dtype, dims)
}

/// `(size + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down or up.
fn window(
    size: &Expr,
    kernel: i64,
    stride: i64,
    around: i64,
    dilation: i64,
    up: bool,
) -> Step<Expr> {
    let reach = dilation
        .checked_mul(kernel - 1)
        .and_then(|reach| around.checked_sub(reach)?.checked_sub(1))
        .ok_or("a kernel too large")?;
    if stride < 1 {
        return Err(format!("a stride of {stride}").into());
    }
    let more = if up { stride - 1 } else { 0 };
    let room = Expr::sum([size.clone(), Expr::Int(reach), Expr::Int(more)]);
    Ok(Expr::sum([
        Expr::quotient(room, Expr::Int(stride)),
        Expr::Int(1),
    ]))
}

fn convolution(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    let weight = c.tensor("weight")?;
    let rank = weight.dims.len();
    if rank < 3 {
        return Err("its weight has fewer than three dimensions".into());
    }
    let axes = rank - 2;
    let groups = c.int_or("groups", 1)?;
    let is_transposed = name.starts_with("conv_transpose") || c.bool_or("transposed", false);
    let mut x = c.typed("input", weight.dtype, &[rank])?;
    let is_batch = x.dims.len() == rank;
    if !is_batch && x.dims.len() != rank - 1 {
        return Err(format!("{} dimensions, {rank} were expected", x.dims.len()).into());
    }
    let channels = usize::from(is_batch);
    let (takes, gives) = if is_transposed {
        let gives = Expr::product([weight.dims[1].clone(), Expr::Int(groups)]);
        (weight.dims[0].clone(), gives)
    } else {
        let takes = Expr::product([weight.dims[1].clone(), Expr::Int(groups)]);
        (takes, weight.dims[0].clone())
    };
    c.facts.equal(&x.dims[channels], &takes)?;
    x.dims[channels] = gives;
    let strides = c.ints_for("stride", axes, 1)?;
    let dilations = c.ints_for("dilation", axes, 1)?;
    let same = match c.bound.get("padding") {
        Some(Value::Str(text)) => Some(&**text == "same"),
        _ => None,
    };
    let paddings = match same {
        Some(_) => vec![0; axes],
        None => c.ints_for("padding", axes, 0)?,
    };
    let outputs = c.ints_for("output_padding", axes, 0)?;
    for axis in 0..axes {
        let kernel = weight.dims[axis + 2]
            .int()
            .ok_or("a kernel of unknown size")?;
        let dim = &mut x.dims[channels + 1 + axis];
        let around = paddings[axis].checked_mul(2).ok_or("a padding too large")?;
        *dim = if is_transposed {
            let spread = Expr::product([
                Expr::sum([dim.clone(), Expr::Int(-1)]),
                Expr::Int(strides[axis]),
            ]);
            let reach = dilations[axis]
                .checked_mul(kernel - 1)
                .and_then(|reach| {
                    reach
                        .checked_add(outputs[axis])?
                        .checked_sub(around)?
                        .checked_add(1)
                })
                .ok_or("a kernel too large")?;
            Expr::sum([spread, Expr::Int(reach)])
        } else if same == Some(true) {
            dim.clone()
        } else {
            window(dim, kernel, strides[axis], around, dilations[axis], false)?
        };
    }
    one(x.dtype, x.dims)
}

/// The input of a normalization by channels, which are its second dimension.
fn by_channels(c: &mut Infer<'_>) -> Step<Meta> {
    let known = ["weight", "running_mean"]
        .into_iter()
        .find_map(|name| match c.bound.get(name) {
            Some(Value::Tensor(tensor)) => tensor.meta.clone(),
            _ => None,
        });
    let dtype = known.as_ref().map_or(ScalarType::Float, |meta| meta.dtype);
    let mut x = c.typed("input", dtype, &[4, 2, 3, 5])?;
    if let (Some(known), Some(dim)) = (&known, x.dims.get(1).cloned())
        && let [channels] = known.dims.as_slice()
    {
        x.dims[1] = c.facts.equal(&dim, channels)?;
    }
    Ok(x)
}

/// A normalized tensor and, of the operators that give them, the statistics.
fn normalized(x: Meta, name: &str, gives_statistics: bool) -> Step<Option<Vec<Meta>>> {
    let rows: Vec<Expr> = x.dims.first().into_iter().cloned().collect();
    let mut all = vec![fresh(x.dtype, x.dims)];
    if gives_statistics {
        let count = if name == "_fused_rms_norm" { 1 } else { 2 };
        all.extend((0..count).map(|_| fresh(ScalarType::Float, rows.clone())));
    }
    Ok(Some(all))
}

fn pool(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    let axes = axes_of(name);
    let mut x = c.tensor_of("self", &[axes + 2])?;
    let kernels = c.ints_for("kernel_size", axes, 1)?;
    let strides = c.ints("stride")?;
    let strides = if strides.is_empty() {
        kernels.clone()
    } else {
        c.ints_for("stride", axes, 1)?
    };
    let paddings = c.ints_for("padding", axes, 0)?;
    let dilations = c.ints_for("dilation", axes, 1)?;
    let up = c.bool_or("ceil_mode", false);
    let lead = x.dims.len().checked_sub(axes).ok_or("too few dimensions")?;
    for axis in 0..axes {
        let dim = &mut x.dims[lead + axis];
        let around = paddings[axis].checked_mul(2).ok_or("a padding too large")?;
        let (kernel, stride) = (kernels[axis], strides[axis]);
        let mut size = window(dim, kernel, stride, around, dilations[axis], up)?;
        // The last window begins inside of the input or the padding before it.
        if up
            && let (Some(out), Some(size_in)) = (size.int(), dim.int())
            && (out - 1).saturating_mul(stride) >= size_in.saturating_add(paddings[axis])
        {
            size = Expr::Int(out - 1);
        }
        *dim = size;
    }
    let pooled = fresh(x.dtype, x.dims.clone());
    Ok(Some(match name.ends_with("indices") {
        true => vec![pooled, fresh(ScalarType::Long, x.dims)],
        false => vec![pooled],
    }))
}

/// `(B, H, L, D)`, `(B, K, S, D)` and `(B, K, S, E)` to `(B, H, L, E)`.
fn attention(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    let query = c.tensor_of("query", &[4, 3])?;
    let (key, value) = (c.tensor_of("key", &[4, 3])?, c.tensor_of("value", &[4, 3])?);
    let rank = query.dims.len();
    if rank < 2 || key.dims.len() != rank || value.dims.len() != rank {
        return Err("its tensors have other numbers of dimensions".into());
    }
    let (head, keys) = (&query.dims[rank - 1], &key.dims[rank - 2]);
    c.facts.equal(head, &key.dims[rank - 1])?;
    c.facts.equal(keys, &value.dims[rank - 2])?;
    if c.has("attn_mask") {
        let mask = c.tensor_of("attn_mask", &[4, 2, 3])?;
        let scores = [&query.dims[..rank - 1], std::slice::from_ref(keys)].concat();
        broadcast(c.facts, &[&scores, &mask.dims])?;
    }
    let mut dims = query.dims.clone();
    dims[rank - 1] = value.dims[rank - 1].clone();
    let mixed = fresh(query.dtype, dims);
    Ok(Some(if name.starts_with('_') {
        vec![
            mixed,
            fresh(ScalarType::Float, query.dims[..rank - 1].to_vec()),
        ]
    } else {
        vec![mixed]
    }))
}

/// `(B, L, I)`, or `(L, B, I)`, to `(B, L, H)`, and the last states, `(layers, B, H)`.
fn recurrent(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    let weights = c.tensors("params")?;
    let first = weights.first().ok_or("it has no weights")?;
    let gates = match name {
        "lstm" => 4,
        "gru" => 3,
        _ => 1,
    };
    let [rows, takes] = first.dims.as_slice() else {
        return Err("its weights are no matrices".into());
    };
    let hidden = Expr::quotient(rows.clone(), Expr::Int(gates));
    let takes = takes.clone();
    let directions = if c.bool_or("bidirectional", false) {
        2
    } else {
        1
    };
    let layers = c.int_or("num_layers", 1)?;
    let states = layers.checked_mul(directions).ok_or("too many layers")?;
    let mut x = c.typed("input", first.dtype, &[3])?;
    let [a, b, last] = x.dims.as_slice() else {
        return Err("it takes batches of sequences: three dimensions".into());
    };
    c.facts.equal(last, &takes)?;
    let batch = if c.bool_or("batch_first", false) {
        a
    } else {
        b
    }
    .clone();
    // What a state is projected to is smaller than the state.
    let per_layer = if c.bool_or("has_biases", true) { 4 } else { 2 };
    if weights.len() as i64 != states.saturating_mul(per_layer) {
        return Err("a network with projections".into());
    }
    let state = vec![Expr::Int(states), batch, hidden.clone()];
    let given = match c.bound.get("hx") {
        Some(value @ Value::Tensor(_)) => vec![value.clone()],
        Some(list) => list.items().unwrap_or_default(),
        None => Vec::new(),
    };
    for value in &given {
        let meta = c.meta(value, &[3])?;
        if meta.dims.len() != 3 {
            return Err("its state has other than three dimensions".into());
        }
        for (dim, want) in meta.dims.iter().zip(&state) {
            c.facts.equal(dim, want)?;
        }
    }
    let wide = Expr::product([hidden, Expr::Int(directions)]);
    *x.dims.last_mut().ok_or("no dimensions")? = wide;
    let mut all = vec![fresh(x.dtype, x.dims)];
    let count = if name == "lstm" { 2 } else { 1 };
    all.extend((0..count).map(|_| fresh(x.dtype, state.clone())));
    Ok(Some(all))
}

fn resized(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    let axes = axes_of(name);
    let tensor = if c.has("input") { "input" } else { "self" };
    let mut x = c.tensor_of(tensor, &[axes + 2])?;
    let lead = x.dims.len().checked_sub(axes).ok_or("too few dimensions")?;
    let sizes = c.sizes("output_size")?;
    let factors: Vec<f64> = match c.bound.get("scale_factors").and_then(Value::items) {
        Some(items) => items
            .iter()
            .filter_map(|item| item.scalar()?.number())
            .collect(),
        None => Vec::new(),
    };
    for (i, dim) in x.dims[lead..].iter_mut().enumerate() {
        *dim = match (sizes.get(i), factors.get(i), &*dim) {
            (Some(size), _, _) => size.clone(),
            (None, Some(&by), Expr::Int(n)) => Expr::Int((*n as f64 * by).floor() as i64),
            (None, Some(&by), dim) if by >= 1.0 && by.fract() == 0.0 && by < 1e6 => {
                Expr::product([dim.clone(), Expr::Int(by as i64)])
            }
            _ => return Err("a size that is a part of one that is not known".into()),
        };
    }
    one(x.dtype, x.dims)
}
