//! Parts of tensors: by numbers, ranges and indices; and tensors with something around them.

use hearth_formats::torch::ScalarType;

use super::{Infer, one};
use crate::lower::expr::Expr;
use crate::lower::value::{Meta, axis_of};
use crate::script::dims::broadcast;
use crate::script::facts::{RANKS, Step};
use crate::script::value::Value;

pub(super) fn results(c: &mut Infer<'_>, name: &str) -> Step<Option<Vec<Meta>>> {
    match name {
        "select" => {
            let axis = c.int_or("dim", 0)?;
            let least = usize::try_from(axis).unwrap_or(0);
            let ranks: Vec<usize> = RANKS.into_iter().filter(|&rank| rank > least).collect();
            let x = c.tensor_of("self", &ranks)?;
            let axis = axis_of(axis, x.dims.len())?;
            let dim = x.dims.get(axis).ok_or("a scalar")?;
            let mut index = c.size("index")?.int();
            if let (Some(at), Some(n)) = (index, dim.int()) {
                if at >= n || at < -n {
                    return Err(format!("the index {at} of {n}").into());
                }
                index = Some(if at < 0 { at + n } else { at });
            }
            let index = index.filter(|&at| at >= 0);
            let part = selected(&x, axis, index.unwrap_or(0));
            Ok(Some(vec![Meta {
                layout: index.and(part.layout),
                ..part
            }]))
        }
        "slice" => slice(c),
        "narrow" => {
            let x = c.tensor("self")?;
            let axis = c.axis("dim", 0, x.dims.len())?;
            let (start, length) = (c.size("start")?, c.size("length")?);
            let mut part = x;
            let dim = part.dims.get_mut(axis).ok_or("a scalar")?;
            *dim = length;
            part.layout = moved(part.layout, axis, &start, 1);
            Ok(Some(vec![part]))
        }
        "slice_scatter" | "select_scatter" | "scatter" => {
            let x = c.tensor("self")?;
            one(x.dtype, x.dims)
        }
        "index_select" => {
            let mut x = c.tensor("self")?;
            let index = c.indices("index", &[1])?;
            let axis = c.axis("dim", 0, x.dims.len())?;
            let dim = x.dims.get_mut(axis).ok_or("a scalar")?;
            *dim = Expr::product(index.dims);
            one(x.dtype, x.dims)
        }
        "embedding" => {
            let weight = c.tensor("weight")?;
            let [_, size] = weight.dims.as_slice() else {
                return Err("its weight is no matrix".into());
            };
            let size = size.clone();
            let mut dims = c.indices("indices", &[2, 1, 3])?.dims;
            dims.push(size);
            one(weight.dtype, dims)
        }
        "gather" | "take_along_dim" => {
            let x = c.tensor("self")?;
            let index = c.indices(if name == "gather" { "index" } else { "indices" }, &RANKS)?;
            one(x.dtype, index.dims)
        }
        "index" => indexed(c),
        "constant_pad_nd" | "pad" | "reflection_pad1d" | "reflection_pad2d"
        | "replication_pad1d" | "replication_pad2d" => {
            let around = c.sizes(if name.contains("_pad") && name != "constant_pad_nd" {
                "padding"
            } else {
                "pad"
            })?;
            let axes = around.len() / 2;
            let mut x = c.tensor_of("self", &[4, 3, 2])?;
            let rank = x.dims.len();
            if axes > rank {
                return Err("more axes are padded than there are".into());
            }
            for (i, pair) in around.chunks_exact(2).enumerate() {
                let dim = &mut x.dims[rank - 1 - i];
                *dim = Expr::sum([dim.clone(), pair[0].clone(), pair[1].clone()]);
            }
            one(x.dtype, x.dims)
        }
        "one_hot" => {
            let mut dims = c.indices("self", &[1, 2])?.dims;
            let classes = c.int_or("num_classes", -1)?;
            if classes < 1 {
                return Err("a number of classes that depends on the numbers in a tensor".into());
            }
            dims.push(Expr::Int(classes));
            one(ScalarType::Long, dims)
        }
        _ => Ok(None),
    }
}

/// A tensor without one of its axes, at an index of that.
pub(super) fn selected(x: &Meta, axis: usize, index: i64) -> Meta {
    let mut part = x.clone();
    part.layout = moved(part.layout, axis, &Expr::Int(index), 1).map(|(mut strides, offset)| {
        strides.remove(axis);
        (strides, offset)
    });
    part.dims.remove(axis);
    part
}

/// The layout of every `step`-th element from `start` on.
pub(super) fn moved(
    layout: Option<(Vec<i64>, i64)>,
    axis: usize,
    start: &Expr,
    step: i64,
) -> Option<(Vec<i64>, i64)> {
    let (mut strides, offset) = layout?;
    let stride = strides.get_mut(axis)?;
    let offset = offset.checked_add(start.int()?.checked_mul(*stride)?)?;
    *stride = stride.checked_mul(step)?;
    Some((strides, offset))
}

fn slice(c: &mut Infer<'_>) -> Step<Option<Vec<Meta>>> {
    let axis = c.int_or("dim", 0)?;
    let least = usize::try_from(axis).unwrap_or(0);
    let ranks: Vec<usize> = RANKS.into_iter().filter(|&rank| rank > least).collect();
    let mut x = c.tensor_of("self", &ranks)?;
    let axis = axis_of(axis, x.dims.len())?;
    let dim = x.dims.get(axis).ok_or("a scalar")?.clone();
    let step = c.int_or("step", 1)?;
    if step < 1 {
        return Err(format!("a step of {step}").into());
    }
    let bound = |c: &Infer<'_>, name: &str, default: Expr| -> Step<Expr> {
        if !c.has(name) {
            return Ok(default);
        }
        Ok(match (c.size(name)?, dim.int()) {
            (Expr::Int(i64::MAX), _) => dim.clone(),
            (Expr::Int(at), Some(n)) if at < 0 => Expr::Int((at.saturating_add(n)).max(0)),
            (Expr::Int(at), Some(n)) => Expr::Int(at.min(n)),
            (Expr::Int(at), None) if at < 0 => Expr::sum([dim.clone(), Expr::Int(at)]),
            // What goes to a size that is not known is taken to fit.
            (at, _) => at,
        })
    };
    let (start, end) = (
        bound(c, "start", Expr::Int(0))?,
        bound(c, "end", dim.clone())?,
    );
    let minus = Expr::product([Expr::Int(-1), start.clone()]);
    let room = Expr::sum([end, minus]);
    let size = match &room {
        Expr::Int(n) => Expr::Int(n.max(&0).saturating_add(step - 1) / step),
        _ if step == 1 => room,
        _ => Expr::quotient(Expr::sum([room, Expr::Int(step - 1)]), Expr::Int(step)),
    };
    if size != dim || step != 1 {
        x.layout = moved(x.layout, axis, &start, step);
    }
    x.dims[axis] = size;
    Ok(Some(vec![x]))
}

/// Some axes by tensors of indices, which are broadcast together.
fn indexed(c: &mut Infer<'_>) -> Step<Option<Vec<Meta>>> {
    let indices = c
        .bound
        .get("indices")
        .and_then(Value::items)
        .ok_or("it has no indices")?;
    let count = indices.len();
    let ranks: Vec<usize> = RANKS.into_iter().filter(|&rank| rank >= count).collect();
    let x = c.tensor_of("self", &ranks)?;
    if count > x.dims.len() {
        return Err("more indices than dimensions".into());
    }
    let (mut at, mut metas) = (Vec::new(), Vec::new());
    for (axis, index) in indices.iter().enumerate() {
        if matches!(index, Value::None) {
            continue;
        }
        let meta = c.meta(index, &[1, 2])?;
        if meta.dtype == ScalarType::Bool || meta.dtype == ScalarType::Byte {
            return Err("a mask as an index gives as many elements as are true in it".into());
        }
        at.push(axis);
        metas.push(meta);
    }
    let shapes: Vec<&[Expr]> = metas.iter().map(|meta| meta.dims.as_slice()).collect();
    let together = broadcast(c.facts, &shapes)?;
    let adjacent = at.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let first = if adjacent {
        at.first().copied().unwrap_or(0)
    } else {
        0
    };
    let rest: Vec<Expr> = x
        .dims
        .iter()
        .enumerate()
        .filter(|(axis, _)| !at.contains(axis))
        .map(|(_, dim)| dim.clone())
        .collect();
    let mut dims = rest;
    let first = first.min(dims.len());
    dims.splice(first..first, together);
    one(x.dtype, dims)
}
