//! Other shapes of the same elements, joining and splitting. Views keep strides, by which what is changed in them in place
//! is found in the tensor that they look at.

use std::slice::from_ref;

use hearth_formats::torch::ScalarType;

use super::index::{moved, selected};
use super::{Infer, fresh, one};
use crate::lower::expr::Expr;
use crate::lower::value::{Meta, axis_of};
use crate::script::dims::{bounded, broadcast, dense, reduced};
use crate::script::facts::{RANKS, Step};
use crate::script::value::Value;

/// More parts than anything is split into.
const MAX_PARTS: i64 = 4096;

pub(super) fn results(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    match name {
        "view" | "_unsafe_view" | "reshape" => {
            let x = c.tensor("self")?;
            let sizes = c.sizes(if name == "reshape" { "shape" } else { "size" })?;
            let dims = reshaped(c, &x.dims, sizes)?;
            Ok(Some(vec![viewed(&x, dims)]))
        }
        "view_as" | "reshape_as" => {
            let (x, other) = (c.tensor("self")?, c.tensor("other")?);
            Ok(Some(vec![viewed(&x, other.dims)]))
        }
        "flatten" => {
            let start = c.int_or("start_dim", 0)?;
            let likely: &[usize] = if start > 0 { &[4, 3, 2] } else { &RANKS };
            let x = c.tensor_of("self", likely)?;
            let rank = x.dims.len();
            let (start, end) = (axis_of(start, rank)?, c.axis("end_dim", -1, rank)?);
            if start > end {
                return Err("it ends before it starts".into());
            }
            let mut dims = x.dims.clone();
            if rank == 0 {
                dims = vec![Expr::Int(1)];
            } else {
                let joined = Expr::product(dims[start..=end].iter().cloned());
                dims.splice(start..=end, [joined]);
            }
            Ok(Some(vec![viewed(&x, dims)]))
        }
        "unflatten" => {
            let x = c.tensor("self")?;
            let axis = c.axis("dim", 0, x.dims.len())?;
            let sizes = c.sizes("sizes")?;
            let dim = x.dims.get(axis).ok_or("a scalar")?.clone();
            let part = reshaped(c, &[dim], sizes)?;
            let mut dims = x.dims.clone();
            dims.splice(axis..=axis, part);
            Ok(Some(vec![viewed(&x, dims)]))
        }
        "squeeze" => squeeze(c),
        "unsqueeze" => {
            let axis = c.int_or("dim", 0)?;
            let least = usize::try_from(axis).unwrap_or(0);
            let ranks: Vec<usize> = RANKS.into_iter().filter(|&rank| rank >= least).collect();
            let mut x = c.tensor_of("self", &ranks)?;
            let at = axis_of(axis, x.dims.len() + 1)?;
            if let Some((strides, _)) = &mut x.layout {
                let step = match (strides.get(at), x.dims.get(at)) {
                    (Some(stride), Some(Expr::Int(n))) => stride.checked_mul(*n),
                    (None, None) => Some(1),
                    _ => None,
                };
                match step {
                    Some(step) => strides.insert(at, step),
                    None => x.layout = None,
                }
            }
            x.dims.insert(at, Expr::Int(1));
            Ok(Some(vec![x]))
        }
        "permute" | "transpose" | "swapaxes" | "swapdims" | "t" | "numpy_T" | "mT" | "movedim" => {
            permuted(c, name)
        }
        "expand" | "broadcast_to" => {
            let x = c.tensor("self")?;
            let sizes = c.sizes("size")?;
            expanded(c, &x, sizes)
        }
        "expand_as" => {
            let (x, other) = (c.tensor("self")?, c.tensor("other")?);
            expanded(c, &x, other.dims)
        }
        "repeat" | "tile" => {
            let x = c.tensor("self")?;
            let repeats = c.sizes(if name == "repeat" { "repeats" } else { "dims" })?;
            let rank = x.dims.len().max(repeats.len());
            if name == "repeat" && repeats.len() < x.dims.len() {
                return Err("fewer repeats than dimensions".into());
            }
            let from_back = |list: &[Expr], i: usize| {
                let lead = rank - list.len();
                i.checked_sub(lead)
                    .map_or(Expr::Int(1), |at| list[at].clone())
            };
            let dims = (0..rank)
                .map(|i| Expr::product([from_back(&x.dims, i), from_back(&repeats, i)]))
                .collect();
            one(x.dtype, dims)
        }
        "repeat_interleave" => {
            let x = c.tensor("self")?;
            let repeats = c.size("repeats")?;
            let mut dims = x.dims;
            let axis = if c.has("dim") {
                c.axis("dim", 0, dims.len())?
            } else {
                dims = vec![Expr::product(dims)];
                0
            };
            let dim = dims.get_mut(axis).ok_or("a scalar")?;
            *dim = Expr::product([dim.clone(), repeats]);
            one(x.dtype, dims)
        }
        "pixel_shuffle" | "pixel_unshuffle" => {
            let x = c.tensor_of("self", &[4])?;
            let is_up = name == "pixel_shuffle";
            let by = c.int_or(
                if is_up {
                    "upscale_factor"
                } else {
                    "downscale_factor"
                },
                1,
            )?;
            let by = if (1..1 << 16).contains(&by) {
                by
            } else {
                return Err("such a factor".into());
            };
            let [n, channels, h, w] = x.dims.as_slice() else {
                return Err("four dimensions were expected".into());
            };
            let times = |dim: &Expr, by: i64| Expr::product([dim.clone(), Expr::Int(by)]);
            let over = |dim: &Expr, by: i64| Expr::quotient(dim.clone(), Expr::Int(by));
            let dims = if is_up {
                vec![
                    n.clone(),
                    over(channels, by * by),
                    times(h, by),
                    times(w, by),
                ]
            } else {
                vec![
                    n.clone(),
                    times(channels, by * by),
                    over(h, by),
                    over(w, by),
                ]
            };
            one(x.dtype, dims)
        }
        "cat" | "concat" => {
            let tensors = c.tensors("tensors")?;
            let is_empty = |meta: &Meta| meta.dims == [Expr::Int(0)];
            let kept: Vec<&Meta> = tensors.iter().filter(|meta| !is_empty(meta)).collect();
            let first = *kept
                .first()
                .or(tensors.first().as_ref())
                .ok_or("nothing to join")?;
            let axis = c.axis("dim", 0, first.dims.len())?;
            let mut dims = first.dims.clone();
            let mut along = Vec::new();
            for meta in &kept {
                if meta.dims.len() != dims.len() {
                    return Err("tensors of other numbers of dimensions are joined".into());
                }
                for (i, (dim, other)) in dims.iter_mut().zip(&meta.dims).enumerate() {
                    if i != axis {
                        *dim = c.facts.equal(dim, other)?;
                    }
                }
                along.extend(meta.dims.get(axis).cloned());
            }
            if let Some(dim) = dims.get_mut(axis) {
                *dim = bounded(Expr::sum(along))?;
            }
            one(joint(&tensors), dims)
        }
        "stack" => {
            let tensors = c.tensors("tensors")?;
            let mut dims = tensors.first().ok_or("nothing to stack")?.dims.clone();
            for meta in &tensors {
                if meta.dims.len() != dims.len() {
                    return Err("tensors of other numbers of dimensions are stacked".into());
                }
                for (dim, other) in dims.iter_mut().zip(&meta.dims) {
                    *dim = c.facts.equal(dim, other)?;
                }
            }
            let axis = c.axis("dim", 0, dims.len() + 1)?;
            dims.insert(axis, Expr::Int(tensors.len() as i64));
            one(joint(&tensors), dims)
        }
        "split" | "split_with_sizes" | "unsafe_split" | "chunk" | "unsafe_chunk" => split(c, name),
        "unbind" => {
            let x = c.tensor("self")?;
            let axis = c.axis("dim", 0, x.dims.len())?;
            let dim = x.dims.get(axis).ok_or("a scalar")?;
            let count = dim.int().ok_or("it gives as many tensors as a size says")?;
            if count > MAX_PARTS {
                return Err(format!("more than {MAX_PARTS} parts").into());
            }
            Ok(Some((0..count).map(|at| selected(&x, axis, at)).collect()))
        }
        "meshgrid" => {
            let tensors = c.tensors("tensors")?;
            let mut dims: Vec<Expr> = tensors
                .iter()
                .map(|meta| Expr::product(meta.dims.iter().cloned()))
                .collect();
            let is_xy =
                matches!(c.bound.get("indexing"), Some(Value::Str(text)) if &**text == "xy");
            if is_xy && dims.len() >= 2 {
                dims.swap(0, 1);
            }
            Ok(Some(
                tensors
                    .iter()
                    .map(|meta| fresh(meta.dtype, dims.clone()))
                    .collect(),
            ))
        }
        _ => Ok(None),
    }
}

/// The type that tensors are joined in.
fn joint(tensors: &[Meta]) -> ScalarType {
    let types: Vec<(ScalarType, usize)> = tensors
        .iter()
        .map(|meta| (meta.dtype, meta.dims.len()))
        .collect();
    crate::lower::value::promoted(&types, &[])
}

/// Sizes of which one may be -1, for as many elements as `from` has.
fn reshaped(c: &mut Infer<'_>, from: &[Expr], mut to: Vec<Expr>) -> Step<Vec<Expr>> {
    let open: Vec<usize> = (0..to.len()).filter(|&i| to[i] == Expr::Int(-1)).collect();
    match open.as_slice() {
        [] => {
            let (have, want) = reduced(from, &to);
            if have != want {
                c.facts.equal(&have, &want)?;
            }
        }
        [at] => {
            to[*at] = Expr::Int(1);
            let (over, under) = reduced(from, &to);
            let is_filled = match (&over, &under) {
                (Expr::Int(_), Expr::Int(n)) => *n == 1,
                (_, under) => *under != Expr::Int(0),
            };
            if !is_filled {
                return Err("its elements don't fill the shape".into());
            }
            to[*at] = bounded(Expr::quotient(over, under))?;
        }
        _ => return Err("several sizes of -1".into()),
    }
    if to.iter().any(|dim| dim.int().is_some_and(|n| n < 0)) {
        return Err("a negative size".into());
    }
    Ok(to)
}

/// A tensor in another shape, which looks at the same elements where they lie densely.
fn viewed(x: &Meta, dims: Vec<Expr>) -> Meta {
    let whole = dense(&x.dims);
    let layout = match (&x.layout, whole) {
        (Some((strides, offset)), Some((dense_strides, _))) if *strides == dense_strides => {
            dense(&dims).map(|(strides, _)| (strides, *offset))
        }
        _ if dims == x.dims => x.layout.clone(),
        _ => None,
    };
    Meta {
        dtype: x.dtype,
        dims,
        layout,
    }
}

fn squeeze(c: &mut Infer<'_>) -> Step<Option<Vec<Meta>>> {
    let x = c.tensor("self")?;
    let rank = x.dims.len();
    let axes: Vec<usize> = if c.has("dim") {
        c.axes("dim", rank)?
    } else {
        (0..rank).collect()
    };
    let goes = |i: usize| axes.contains(&i) && x.dims[i] == Expr::Int(1);
    let dims = (0..rank)
        .filter(|&i| !goes(i))
        .map(|i| x.dims[i].clone())
        .collect();
    let layout = x.layout.as_ref().map(|(strides, offset)| {
        let kept = (0..rank).filter(|&i| !goes(i)).map(|i| strides[i]);
        (kept.collect(), *offset)
    });
    Ok(Some(vec![Meta {
        dtype: x.dtype,
        dims,
        layout,
    }]))
}

fn permuted(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    let pair = match name {
        "transpose" | "swapdims" => Some(("dim0", "dim1")),
        "swapaxes" => Some(("axis0", "axis1")),
        _ => None,
    };
    let listed = if name == "permute" {
        c.ints("dims")?
    } else {
        Vec::new()
    };
    let ranks: Vec<usize> = match (name, pair) {
        ("permute", _) => vec![listed.len()],
        ("t", _) => vec![2],
        (_, Some((a, b))) => {
            let most = c.int_or(a, 0)?.max(c.int_or(b, 1)?);
            let most = usize::try_from(most).unwrap_or(1);
            [3, 2, 4, 5]
                .into_iter()
                .filter(|&rank| rank > most)
                .collect()
        }
        _ => RANKS.to_vec(),
    };
    let x = c.tensor_of("self", &ranks)?;
    let rank = x.dims.len();
    let mut order: Vec<usize> = (0..rank).collect();
    match (name, pair) {
        (_, Some((a, b))) => {
            let (a, b) = (c.axis(a, 0, rank)?, c.axis(b, 1, rank)?);
            if rank > 0 {
                order.swap(a, b);
            }
        }
        ("permute", _) => {
            order = c.axes("dims", rank)?;
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if sorted != (0..rank).collect::<Vec<_>>() {
                return Err("its axes are no permutation".into());
            }
        }
        ("movedim", _) => {
            let (from, to) = (c.axes("source", rank)?, c.axes("destination", rank)?);
            if from.len() != to.len() {
                return Err("as many sources as destinations were expected".into());
            }
            let mut rest = (0..rank).filter(|axis| !from.contains(axis));
            order = (0..rank)
                .map(|place| match to.iter().position(|&t| t == place) {
                    Some(i) => Ok(from[i]),
                    None => rest.next().ok_or("an axis moves twice".to_owned()),
                })
                .collect::<Result<_, String>>()?;
        }
        ("mT", _) => {
            if rank < 2 {
                return Err("fewer than two dimensions".into());
            }
            order.swap(rank - 2, rank - 1);
        }
        _ => order.reverse(),
    }
    let dims = order.iter().map(|&axis| x.dims[axis].clone()).collect();
    let layout = x
        .layout
        .map(|(strides, offset)| (order.iter().map(|&axis| strides[axis]).collect(), offset));
    Ok(Some(vec![Meta {
        dtype: x.dtype,
        dims,
        layout,
    }]))
}

/// To larger sizes, of which -1 keeps what is there.
fn expanded(c: &mut Infer<'_>, x: &Meta, sizes: Vec<Expr>) -> Step<Option<Vec<Meta>>> {
    let lead = sizes
        .len()
        .checked_sub(x.dims.len())
        .ok_or("fewer sizes than dimensions")?;
    let mut dims = sizes;
    for (i, dim) in dims.iter_mut().enumerate() {
        let have = i.checked_sub(lead).map(|at| &x.dims[at]);
        *dim = match (have, &*dim) {
            (Some(have), Expr::Int(-1)) => have.clone(),
            (None, Expr::Int(-1)) => return Err("a new dimension of size -1".into()),
            (Some(Expr::Int(1)) | None, size) => size.clone(),
            // What is said to grow to a size that is another's has that size.
            (Some(have), size) => broadcast(c.facts, &[from_ref(have), from_ref(size)])?.remove(0),
        };
    }
    Ok(Some(vec![Meta {
        dtype: x.dtype,
        layout: if dims == x.dims {
            x.layout.clone()
        } else {
            None
        },
        dims,
    }]))
}

fn split(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    let x = c.tensor("self")?;
    let axis = c.axis("dim", 0, x.dims.len())?;
    let dim = x.dims.get(axis).ok_or("a scalar")?.clone();
    let of = |name: &str| c.bound.get(name).is_some();
    let sizes: Vec<Expr> = if of("split_sizes") || c.bound.schema.target.ends_with(".sizes") {
        let sizes = c.sizes(if of("split_sizes") {
            "split_sizes"
        } else {
            "split_size"
        })?;
        c.facts.equal(&dim, &Expr::sum(sizes.iter().cloned()))?;
        sizes
    } else {
        let n = match dim.int() {
            Some(n) => n,
            // Equal parts of what is not known can still be counted.
            None if name.ends_with("chunk") => {
                let count = c.int_or("chunks", 1)?;
                if !(1..=MAX_PARTS).contains(&count) {
                    return Err(format!("{count} parts").into());
                }
                let part = Expr::quotient(dim.clone(), Expr::Int(count));
                return Ok(Some(parts(&x, axis, &vec![part; count as usize])));
            }
            None => return Err(format!("it is split along {dim}, which is not known").into()),
        };
        let each = if name.ends_with("chunk") {
            let count = c.int_or("chunks", 1)?;
            if !(1..=MAX_PARTS).contains(&count) {
                return Err(format!("{count} parts").into());
            }
            n.saturating_add(count - 1) / count
        } else {
            c.int_or("split_size", 1)?
        };
        if each < 1 || n / each > MAX_PARTS {
            return Err(format!("{n} in parts of {each}").into());
        }
        (0..n)
            .step_by(each as usize)
            .map(|start| Expr::Int(each.min(n - start)))
            .collect()
    };
    if sizes.len() as i64 > MAX_PARTS {
        return Err(format!("more than {MAX_PARTS} parts").into());
    }
    Ok(Some(parts(&x, axis, &sizes)))
}

fn parts(x: &Meta, axis: usize, sizes: &[Expr]) -> Vec<Meta> {
    let mut start = Expr::Int(0);
    sizes
        .iter()
        .map(|size| {
            let mut part = x.clone();
            part.layout = moved(part.layout, axis, &start, 1);
            part.dims[axis] = size.clone();
            start = Expr::sum([start.clone(), size.clone()]);
            part
        })
        .collect()
}
