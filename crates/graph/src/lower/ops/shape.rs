//! Other shapes of the same elements: views, permutations, repetition, joining and splitting.

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{int, string};
use crate::lower::call::Call;
use crate::lower::expr::Expr;
use crate::lower::value::{Tensor, axis_of};

pub(super) const OPS: &[Op] = &[
    op(
        "aten::view(Tensor self, SymInt[] size) -> Tensor",
        "Reshape",
        reshape,
    ),
    op(
        "aten::_unsafe_view(Tensor self, SymInt[] size) -> Tensor",
        "Reshape",
        reshape,
    ),
    op(
        "aten::view_as(Tensor self, Tensor other) -> Tensor",
        "Reshape",
        reshape,
    ),
    op(
        "aten::reshape(Tensor self, SymInt[] shape) -> Tensor",
        "Reshape",
        reshape,
    ),
    op(
        "aten::reshape_as(Tensor self, Tensor other) -> Tensor",
        "Reshape",
        reshape,
    ),
    op(
        "aten::flatten.using_ints(Tensor self, int start_dim=0, int end_dim=-1) -> Tensor",
        "Reshape",
        reshape,
    ),
    op(
        "aten::unflatten.int(Tensor self, int dim, SymInt[] sizes) -> Tensor",
        "Reshape",
        reshape,
    ),
    op("aten::squeeze(Tensor self) -> Tensor", "Reshape", reshape),
    op(
        "aten::squeeze.dim(Tensor self, int dim) -> Tensor",
        "Reshape",
        reshape,
    ),
    op(
        "aten::squeeze.dims(Tensor self, int[] dim) -> Tensor",
        "Reshape",
        reshape,
    ),
    op(
        "aten::pixel_unshuffle(Tensor self, int downscale_factor) -> Tensor",
        "SpaceToDepth",
        |c| {
            // ONNX orders the channels of a block by place first, PyTorch by channel first.
            let x = c.tensor("self")?;
            let by = c.int("downscale_factor")?;
            let [n, channels, h, w] = x.dims.as_slice() else {
                return Err(format!("{} dimensions", x.rank()));
            };
            let over = |d: &Expr| Expr::quotient(d.clone(), Expr::Int(by));
            let (n, channels, h, w) = (n.clone(), channels.clone(), over(h), over(w));
            let split = [n, channels, h, Expr::Int(by), w, Expr::Int(by)];
            let blocks = c.reshape(&x, &split)?;
            let moved = c.transpose(&blocks, &[0, 1, 3, 5, 2, 4]);
            let dims = c.out_dims()?;
            let out = c.reshape(&moved, &dims)?;
            c.set_tensor(0, out)
        },
    ),
    op(
        "aten::pixel_shuffle(Tensor self, int upscale_factor) -> Tensor",
        "DepthToSpace",
        |c| {
            let x = c.tensor("self")?;
            let by = c.int("upscale_factor")?;
            c.finish(
                "DepthToSpace",
                &[&x.name],
                vec![int("blocksize", by), string("mode", "CRD")],
            )
        },
    ),
    op(
        "aten::unsqueeze(Tensor self, int dim) -> Tensor",
        "Unsqueeze",
        |c| {
            let x = c.tensor("self")?;
            let axis = axis_of(c.int("dim")?, x.rank() + 1)? as i64;
            let axes = c.b.ints(&[axis])?;
            let name = c.emit("Unsqueeze", &[&x.name, &axes], vec![]);
            let out = Tensor {
                name,
                dims: c.out_dims()?,
                ..x
            };
            c.set_tensor(0, out)
        },
    ),
    op(
        "aten::permute(Tensor self, int[] dims) -> Tensor",
        "Transpose",
        |c| {
            let x = c.tensor("self")?;
            let perm = c
                .ints("dims")?
                .iter()
                .map(|&d| x.axis(d))
                .collect::<Step<Vec<usize>>>()?;
            permute(c, &x, &perm)
        },
    ),
    op(
        "aten::transpose.int(Tensor self, int dim0, int dim1) -> Tensor",
        "Transpose",
        |c| swap(c, "dim0", "dim1"),
    ),
    op(
        "aten::swapaxes(Tensor self, int axis0, int axis1) -> Tensor",
        "Transpose",
        |c| swap(c, "axis0", "axis1"),
    ),
    op(
        "aten::swapdims(Tensor self, int dim0, int dim1) -> Tensor",
        "Transpose",
        |c| swap(c, "dim0", "dim1"),
    ),
    op("aten::t(Tensor self) -> Tensor", "Transpose", reversed),
    op(
        "aten::numpy_T(Tensor self) -> Tensor",
        "Transpose",
        reversed,
    ),
    op("aten::mT(Tensor self) -> Tensor", "Transpose", |c| {
        let x = c.tensor("self")?;
        let mut perm: Vec<usize> = (0..x.rank()).collect();
        if perm.len() < 2 {
            return Err("fewer than two dimensions".into());
        }
        perm.swap(x.rank() - 2, x.rank() - 1);
        permute(c, &x, &perm)
    }),
    op(
        "aten::movedim.int(Tensor self, int source, int destination) -> Tensor",
        "Transpose",
        movedim,
    ),
    op(
        "aten::movedim.intlist(Tensor self, int[] source, int[] destination) -> Tensor",
        "Transpose",
        movedim,
    ),
    op(
        "aten::expand(Tensor self, SymInt[] size, *, bool implicit=False) -> Tensor",
        "Expand",
        expand,
    ),
    op(
        "aten::expand_as(Tensor self, Tensor other) -> Tensor",
        "Expand",
        expand,
    ),
    op(
        "aten::broadcast_to(Tensor self, SymInt[] size) -> Tensor",
        "Expand",
        expand,
    ),
    op(
        "aten::repeat(Tensor self, SymInt[] repeats) -> Tensor",
        "Tile",
        |c| tile(c, "repeats"),
    ),
    op(
        "aten::tile(Tensor self, SymInt[] dims) -> Tensor",
        "Tile",
        |c| tile(c, "dims"),
    ),
    op(
        "aten::repeat_interleave.self_int(Tensor self, SymInt repeats, int? dim=None) -> Tensor",
        "Unsqueeze, Expand, Reshape",
        |c| {
            let mut x = c.tensor("self")?;
            let repeats = c.size("repeats")?;
            let axis = if c.has("dim") {
                x.axis(c.int("dim")?)?
            } else {
                let all = x.numel();
                x = c.reshape(&x, &[all])?;
                0
            };
            let out = repeat_each(c, &x, axis, &repeats)?;
            c.set_tensor(0, out)
        },
    ),
    op(
        "aten::cat(Tensor[] tensors, int dim=0) -> Tensor",
        "Concat",
        concat,
    ),
    op(
        "aten::concat(Tensor[] tensors, int dim=0) -> Tensor",
        "Concat",
        concat,
    ),
    op(
        "aten::stack(Tensor[] tensors, int dim=0) -> Tensor",
        "Unsqueeze, Concat",
        |c| {
            let tensors = in_type(c)?;
            let rank = tensors.first().ok_or("nothing to stack")?.rank() + 1;
            let axis = axis_of(c.int_or("dim", 0)?, rank)? as i64;
            let axes = c.b.ints(&[axis])?;
            let names: Vec<String> = tensors
                .iter()
                .map(|t| c.emit("Unsqueeze", &[&t.name, &axes], vec![]))
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            c.finish("Concat", &names, vec![int("axis", axis)])
        },
    ),
    op(
        "aten::split.Tensor(Tensor self, SymInt split_size, int dim=0) -> Tensor[]",
        "Split",
        split,
    ),
    op(
        "aten::split_with_sizes(Tensor self, SymInt[] split_sizes, int dim=0) -> Tensor[]",
        "Split",
        split,
    ),
    op(
        "aten::split.sizes(Tensor self, SymInt[] split_size, int dim=0) -> Tensor[]",
        "Split",
        split,
    ),
    op(
        "aten::chunk(Tensor self, int chunks, int dim=0) -> Tensor[]",
        "Split",
        split,
    ),
    op(
        "aten::unsafe_chunk(Tensor self, int chunks, int dim=0) -> Tensor[]",
        "Split",
        split,
    ),
    op(
        "aten::unsafe_split.Tensor(Tensor self, SymInt split_size, int dim=0) -> Tensor[]",
        "Split",
        split,
    ),
    op(
        "aten::unbind.int(Tensor self, int dim=0) -> Tensor[]",
        "Gather",
        |c| {
            let x = c.tensor("self")?;
            let axis = x.axis(c.int_or("dim", 0)?)? as i64;
            for i in 0..c.results.len() {
                let index = c.b.long(i as i64)?;
                let name = c.emit("Gather", &[&x.name, &index], vec![int("axis", axis)]);
                c.set(i, name)?;
            }
            Ok(())
        },
    ),
    op(
        "aten::meshgrid(Tensor[] tensors) -> Tensor[]",
        "Reshape, Expand",
        meshgrid,
    ),
    op(
        "aten::meshgrid.indexing(Tensor[] tensors, *, str indexing) -> Tensor[]",
        "Reshape, Expand",
        meshgrid,
    ),
];

/// The first tensor in the shape that the archive says the result has.
fn reshape(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    let dims = c.out_dims()?;
    let out = c.reshape(&x, &dims)?;
    c.set_tensor(0, out)
}

fn permute(c: &mut Call<'_>, x: &Tensor, perm: &[usize]) -> Step {
    let out = c.transpose(x, perm);
    c.set_tensor(0, out)
}

fn swap(c: &mut Call<'_>, a: &str, b: &str) -> Step {
    let x = c.tensor("self")?;
    let (a, b) = (x.axis(c.int(a)?)?, x.axis(c.int(b)?)?);
    let mut perm: Vec<usize> = (0..x.rank()).collect();
    if a != b {
        perm.swap(a, b);
    }
    permute(c, &x, &perm)
}

fn reversed(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    let perm: Vec<usize> = (0..x.rank()).rev().collect();
    permute(c, &x, &perm)
}

fn movedim(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    let axes = |c: &Call<'_>, name: &str| {
        c.ints(name)?
            .iter()
            .map(|&d| x.axis(d))
            .collect::<Step<Vec<usize>>>()
    };
    let (from, to) = (axes(c, "source")?, axes(c, "destination")?);
    if from.len() != to.len() {
        return Err("as many sources as destinations were expected".into());
    }
    let mut rest = (0..x.rank()).filter(|d| !from.contains(d));
    let perm = (0..x.rank())
        .map(|place| match to.iter().position(|&t| t == place) {
            Some(i) => Ok(from[i]),
            None => rest.next().ok_or("an axis moves twice".to_owned()),
        })
        .collect::<Step<Vec<usize>>>()?;
    permute(c, &x, &perm)
}

fn expand(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    let dims = c.out_dims()?;
    let out = c.expand(&x, &dims)?;
    c.set_tensor(0, out)
}

fn tile(c: &mut Call<'_>, name: &str) -> Step {
    let mut x = c.tensor("self")?;
    let mut repeats = c.sizes(name)?;
    // More repeats than dimensions repeat the whole, fewer the last dimensions.
    if repeats.len() > x.rank() {
        let mut dims = vec![Expr::Int(1); repeats.len() - x.rank()];
        dims.extend(x.dims.iter().cloned());
        x = c.reshape(&x, &dims)?;
    }
    while repeats.len() < x.rank() {
        repeats.insert(0, Expr::Int(1));
    }
    let repeats = c.sizes.vector(c.b, &repeats)?;
    c.finish("Tile", &[&x.name, &repeats], vec![])
}

/// Each slice along an axis several times in a row.
pub(super) fn repeat_each(
    c: &mut Call<'_>,
    x: &Tensor,
    axis: usize,
    repeats: &Expr,
) -> Step<Tensor> {
    let mut with_one = x.dims.clone();
    with_one.insert(axis + 1, Expr::Int(1));
    let mut wide = x.dims.clone();
    wide.insert(axis + 1, repeats.clone());
    let mut dims = x.dims.clone();
    dims[axis] = Expr::product([dims[axis].clone(), repeats.clone()]);
    let apart = c.reshape(x, &with_one)?;
    let repeated = c.expand(&apart, &wide)?;
    c.reshape(&repeated, &dims)
}

/// The tensors of the argument, in the type of the result.
fn in_type(c: &mut Call<'_>) -> Step<Vec<Tensor>> {
    let dtype = c.out_dtype()?;
    let tensors = c.tensors("tensors")?;
    tensors.iter().map(|t| c.b.cast(t, dtype)).collect()
}

fn concat(c: &mut Call<'_>) -> Step {
    let rank = c.out_dims()?.len();
    let axis = axis_of(c.int_or("dim", 0)?, rank)? as i64;
    // PyTorch lets an empty vector stand among tensors of any shape.
    let tensors: Vec<Tensor> = in_type(c)?
        .into_iter()
        .filter(|t| t.dims != [Expr::Int(0)] || rank == 1)
        .collect();
    if let [only] = tensors.as_slice() {
        return c.set_tensor(0, only.clone());
    }
    let names: Vec<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
    c.finish("Concat", &names, vec![int("axis", axis)])
}

/// Parts along an axis, of the sizes that the archive says they have.
fn split(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    let axis = x.axis(c.int_or("dim", 0)?)?;
    let count = c.results.len();
    if count == 1 {
        return c.set_tensor(0, x);
    }
    let sizes = (0..count)
        .map(|i| {
            let dims = c.meta(i)?.dims;
            dims.get(axis)
                .cloned()
                .ok_or_else(|| "a part without the axis".to_owned())
        })
        .collect::<Step<Vec<Expr>>>()?;
    let sizes = c.sizes.vector(c.b, &sizes)?;
    let parts = c.b.emit_many(
        "Split",
        &[&x.name, &sizes],
        vec![int("axis", axis as i64)],
        count,
    );
    for (i, part) in parts.into_iter().enumerate() {
        c.set(i, part)?;
    }
    Ok(())
}

fn meshgrid(c: &mut Call<'_>) -> Step {
    let tensors = c.tensors("tensors")?;
    let swapped = c.str_or("indexing", "ij")? == "xy" && tensors.len() >= 2;
    for (i, tensor) in tensors.iter().enumerate() {
        let dims = c.meta(i)?.dims;
        let axis = match i {
            0 | 1 if swapped => 1 - i,
            _ => i,
        };
        let mut along = vec![Expr::Int(1); dims.len()];
        *along.get_mut(axis).ok_or("more tensors than dimensions")? = tensor.numel();
        let placed = c.reshape(tensor, &along)?;
        let whole = c.expand(&placed, &dims)?;
        c.set_tensor(i, whole)?;
    }
    Ok(())
}
