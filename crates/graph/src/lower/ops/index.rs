//! Parts of a tensor: slices, selections, gathers, shifts, paddings.

use hearth_formats::torch::ScalarType;

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{int, string};
use crate::lower::call::Call;
use crate::lower::expr::Expr;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::select.int(Tensor self, int dim, SymInt index) -> Tensor",
        "Gather",
        |c| {
            let x = c.tensor("self")?;
            let axis = x.axis(c.int("dim")?)? as i64;
            let index = c.size("index")?;
            let index = c.sizes.scalar(c.b, &index)?;
            c.finish("Gather", &[&x.name, &index], vec![int("axis", axis)])
        },
    ),
    op(
        "aten::slice.Tensor(Tensor self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor",
        "Slice",
        slice,
    ),
    op(
        "aten::narrow(Tensor self, int dim, SymInt start, SymInt length) -> Tensor",
        "Slice",
        |c| {
            let x = c.tensor("self")?;
            let axis = x.axis(c.int("dim")?)?;
            let (start, length) = (c.size("start")?, c.size("length")?);
            let end = Expr::sum([start.clone(), length]);
            let name = cut(c, &x, axis, &start, &end, 1)?;
            c.done(name)
        },
    ),
    op(
        "aten::slice_scatter(Tensor self, Tensor src, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor",
        "Slice, Concat",
        slice_scatter,
    ),
    op(
        "aten::select_scatter(Tensor self, Tensor src, int dim, SymInt index) -> Tensor",
        "Unsqueeze, Slice, Concat",
        |c| {
            let x = c.tensor("self")?;
            let axis = x.axis(c.int("dim")?)?;
            let index = from_front(&c.size("index")?, &x.dims[axis]);
            let axes = c.b.ints(&[axis as i64])?;
            let src = c.operand("src", x.dtype)?;
            let part = c.emit("Unsqueeze", &[&src.name, &axes], vec![]);
            let end = Expr::sum([index.clone(), Expr::Int(1)]);
            replace(c, &x, axis, &index, &end, &part)
        },
    ),
    op(
        "aten::index_select(Tensor self, int dim, Tensor index) -> Tensor",
        "Gather",
        |c| {
            let (x, index) = (c.tensor("self")?, c.tensor("index")?);
            let axis = x.axis(c.int("dim")?)? as i64;
            c.finish("Gather", &[&x.name, &index.name], vec![int("axis", axis)])
        },
    ),
    op(
        "aten::embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1) -> Tensor",
        "Gather",
        |c| {
            let (weight, indices) = (c.tensor("weight")?, c.tensor("indices")?);
            c.finish(
                "Gather",
                &[&weight.name, &indices.name],
                vec![int("axis", 0)],
            )
        },
    ),
    op(
        "aten::gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor",
        "GatherElements",
        |c| {
            let (x, index) = (c.tensor("self")?, c.tensor("index")?);
            let axis = x.axis(c.int("dim")?)? as i64;
            c.finish(
                "GatherElements",
                &[&x.name, &index.name],
                vec![int("axis", axis)],
            )
        },
    ),
    op(
        "aten::take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor",
        "GatherElements",
        |c| {
            let (x, index) = (c.tensor("self")?, c.tensor("indices")?);
            let axis = x.axis(c.int("dim")?)? as i64;
            c.finish(
                "GatherElements",
                &[&x.name, &index.name],
                vec![int("axis", axis)],
            )
        },
    ),
    op(
        "aten::index.Tensor(Tensor self, Tensor?[] indices) -> Tensor",
        "Gather; or Expand, Concat, GatherND",
        index,
    ),
    op(
        "aten::scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
        "ScatterElements",
        |c| {
            let (x, index) = (c.tensor("self")?, c.tensor("index")?);
            let src = c.operand("src", x.dtype)?;
            let axis = x.axis(c.int("dim")?)? as i64;
            c.finish(
                "ScatterElements",
                &[&x.name, &index.name, &src.name],
                vec![int("axis", axis)],
            )
        },
    ),
    op(
        "aten::scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
        "Expand, ScatterElements",
        |c| {
            let (x, index) = (c.tensor("self")?, c.tensor("index")?);
            let value = c.operand("value", x.dtype)?;
            let src = c.expand(&value, &index.dims)?;
            let axis = x.axis(c.int("dim")?)? as i64;
            c.finish(
                "ScatterElements",
                &[&x.name, &index.name, &src.name],
                vec![int("axis", axis)],
            )
        },
    ),
    op(
        "aten::flip(Tensor self, int[] dims) -> Tensor",
        "Slice",
        |c| {
            let x = c.tensor("self")?;
            let axes = c
                .ints("dims")?
                .iter()
                .map(|&d| Ok(x.axis(d)? as i64))
                .collect::<Step<Vec<i64>>>()?;
            let n = axes.len();
            let (starts, ends) = (c.b.ints(&vec![-1; n])?, c.b.ints(&vec![i64::MIN + 1; n])?);
            let (axes, steps) = (c.b.ints(&axes)?, c.b.ints(&vec![-1; n])?);
            c.finish("Slice", &[&x.name, &starts, &ends, &axes, &steps], vec![])
        },
    ),
    op(
        "aten::roll(Tensor self, SymInt[] shifts, int[] dims=[]) -> Tensor",
        "Slice, Concat",
        roll,
    ),
    op(
        "aten::constant_pad_nd(Tensor self, SymInt[] pad, Scalar value=0) -> Tensor",
        "Pad",
        |c| pad(c, "constant"),
    ),
    op(
        "aten::pad(Tensor self, SymInt[] pad, str mode='constant', float? value=None) -> Tensor",
        "Pad",
        |c| {
            let mode = c.str_or("mode", "constant")?;
            match mode.as_str() {
                "constant" => pad(c, "constant"),
                "reflect" => pad(c, "reflect"),
                "replicate" => pad(c, "edge"),
                other => Err(format!("the mode {other:?}")),
            }
        },
    ),
    op(
        "aten::reflection_pad1d(Tensor self, SymInt[] padding) -> Tensor",
        "Pad",
        |c| pad(c, "reflect"),
    ),
    op(
        "aten::reflection_pad2d(Tensor self, SymInt[] padding) -> Tensor",
        "Pad",
        |c| pad(c, "reflect"),
    ),
    op(
        "aten::replication_pad1d(Tensor self, SymInt[] padding) -> Tensor",
        "Pad",
        |c| pad(c, "edge"),
    ),
    op(
        "aten::replication_pad2d(Tensor self, SymInt[] padding) -> Tensor",
        "Pad",
        |c| pad(c, "edge"),
    ),
    op(
        "aten::topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor, Tensor)",
        "TopK",
        |c| {
            let x = c.tensor("self")?;
            let axis = x.axis(c.int_or("dim", -1)?)? as i64;
            let k = c.size("k")?;
            let k = c.sizes.one(c.b, &k)?;
            let (largest, sorted) = (c.bool_or("largest", true)?, c.bool_or("sorted", true)?);
            top(c, &x, &k, axis, largest, sorted)
        },
    ),
    op(
        "aten::sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor, Tensor)",
        "TopK",
        |c| {
            let x = c.tensor("self")?;
            let axis = x.axis(c.int_or("dim", -1)?)?;
            let descending = c.bool_or("descending", false)?;
            let k = x.dims[axis].clone();
            let k = c.sizes.one(c.b, &k)?;
            top(c, &x, &k, axis as i64, descending, true)
        },
    ),
];

fn top(c: &mut Call<'_>, x: &Tensor, k: &str, axis: i64, largest: bool, sorted: bool) -> Step {
    let attributes = vec![
        int("axis", axis),
        int("largest", i64::from(largest)),
        int("sorted", i64::from(sorted)),
    ];
    let both = c.b.emit_many("TopK", &[&x.name, k], attributes, 2);
    c.set(0, both[0].clone())?;
    if c.results.len() > 1 {
        c.set(1, both[1].clone())?;
    }
    Ok(())
}

/// The elements from `start` up to `end` along an axis; the tensor's name.
pub(in crate::lower) fn cut(
    c: &mut Call<'_>,
    x: &Tensor,
    axis: usize,
    start: &Expr,
    end: &Expr,
    step: i64,
) -> Step<String> {
    let start = c.sizes.one(c.b, start)?;
    let end = c.sizes.one(c.b, end)?;
    let axes = c.b.ints(&[axis as i64])?;
    if step == 1 {
        return Ok(c.emit("Slice", &[&x.name, &start, &end, &axes], vec![]));
    }
    let step = c.b.ints(&[step])?;
    Ok(c.emit("Slice", &[&x.name, &start, &end, &axes, &step], vec![]))
}

/// Start and end of a slice; an end at or past the dimension is one that every runtime takes for the end.
fn bounds(c: &Call<'_>, dim: &Expr) -> Step<(Expr, Expr)> {
    let start = c.size_or("start", 0)?;
    let end = c.size_or("end", i64::MAX)?;
    let past = match (&end, dim) {
        (Expr::Int(end), Expr::Int(dim)) => end >= dim,
        (Expr::Int(end), _) => *end >= i64::from(i32::MAX),
        (end, dim) => end == dim,
    };
    Ok((start, if past { Expr::Int(i64::MAX) } else { end }))
}

fn slice(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    let axis = x.axis(c.int_or("dim", 0)?)?;
    let step = c.int_or("step", 1)?;
    let (start, end) = bounds(c, &x.dims[axis])?;
    if start == Expr::Int(0) && end == Expr::Int(i64::MAX) && step == 1 {
        return c.set_tensor(0, x);
    }
    let name = cut(c, &x, axis, &start, &end, step)?;
    let splat = x.splat;
    c.done(name)?;
    if splat.is_some() {
        let mut out = c.scope.tensor(&c.results[0])?;
        out.splat = splat;
        c.set_tensor(0, out)?;
    }
    Ok(())
}

/// An index counted from the front.
fn from_front(index: &Expr, dim: &Expr) -> Expr {
    match index {
        Expr::Int(n) if *n < 0 => Expr::sum([dim.clone(), Expr::Int(*n)]),
        other => other.clone(),
    }
}

fn slice_scatter(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    let axis = x.axis(c.int_or("dim", 0)?)?;
    if c.int_or("step", 1)? != 1 {
        return Err("a step other than 1".into());
    }
    let src = c.operand("src", x.dtype)?;
    let dim = x.dims[axis].clone();
    let (start, _) = bounds(c, &dim)?;
    let start = from_front(&start, &dim);
    let size = src.dims.get(axis).ok_or("a source of fewer dimensions")?;
    let end = Expr::sum([start.clone(), size.clone()]);
    replace(c, &x, axis, &start, &end, &src.name)
}

fn replace(
    c: &mut Call<'_>,
    x: &Tensor,
    axis: usize,
    start: &Expr,
    end: &Expr,
    part: &str,
) -> Step {
    let name = with_part(c, x, axis, start, end, part)?;
    c.done(name)
}

/// The tensor with another part from `start` up to `end` along an axis; its name.
pub(in crate::lower) fn with_part(
    c: &mut Call<'_>,
    x: &Tensor,
    axis: usize,
    start: &Expr,
    end: &Expr,
    part: &str,
) -> Step<String> {
    let mut parts = Vec::new();
    if *start != Expr::Int(0) {
        parts.push(cut(c, x, axis, &Expr::Int(0), start, 1)?);
    }
    parts.push(part.to_owned());
    if *end != x.dims[axis] {
        parts.push(cut(c, x, axis, end, &Expr::Int(i64::MAX), 1)?);
    }
    if let [only] = parts.as_slice() {
        return Ok(only.clone());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(c.emit("Concat", &parts, vec![int("axis", axis as i64)]))
}

fn roll(c: &mut Call<'_>) -> Step {
    let mut x = c.tensor("self")?;
    let shifts = c.ints("shifts")?;
    let dims = c.ints("dims")?;
    let whole = x.dims.clone();
    let axes = if dims.is_empty() {
        x = c.reshape(&x, &[x.numel()])?;
        vec![0]
    } else {
        dims.iter()
            .map(|&d| x.axis(d))
            .collect::<Step<Vec<usize>>>()?
    };
    if axes.len() != shifts.len() {
        return Err("as many shifts as axes were expected".into());
    }
    for (&axis, &shift) in axes.iter().zip(&shifts) {
        // Where the axis is known, the shift is less than it; else it has to be.
        let shift = match x.dims[axis].int() {
            Some(n) if n > 0 => shift.rem_euclid(n),
            _ => shift,
        };
        if shift == 0 {
            continue;
        }
        let at = Expr::Int(-shift);
        let back = cut(c, &x, axis, &at, &Expr::Int(i64::MAX), 1)?;
        let front = cut(c, &x, axis, &Expr::Int(0), &at, 1)?;
        x.name = c.emit("Concat", &[&back, &front], vec![int("axis", axis as i64)]);
    }
    let out = c.reshape(&x, &whole)?;
    c.set_tensor(0, out)
}

fn pad(c: &mut Call<'_>, mode: &str) -> Step {
    let x = c.tensor("self")?;
    let name = if c.has("pad") { "pad" } else { "padding" };
    let pads = c.sizes(name)?;
    // Pairs from the last dimension back; ONNX wants all starts, then all ends.
    let pairs = pads.len() / 2;
    if pads.len() % 2 != 0 || pairs > x.rank() {
        return Err(format!(
            "{} paddings of {} dimensions",
            pads.len(),
            x.rank()
        ));
    }
    if pads.iter().all(|p| *p == Expr::Int(0)) {
        return c.set_tensor(0, x);
    }
    let rank = x.rank();
    let mut all = vec![Expr::Int(0); 2 * rank];
    for (i, pair) in pads.chunks_exact(2).enumerate() {
        let axis = rank - 1 - i;
        all[axis] = pair[0].clone();
        all[rank + axis] = pair[1].clone();
    }
    let pads = c.sizes.vector(c.b, &all)?;
    let attributes = vec![string("mode", mode)];
    if mode != "constant" {
        return c.finish("Pad", &[&x.name, &pads], attributes);
    }
    let value = c.float_or("value", 0.0)?;
    let value = c.b.number(x.dtype, value)?;
    c.finish("Pad", &[&x.name, &pads, &value], attributes)
}

/// Indexing by tensors. One index is a gather along its axis. Several are broadcast together and address elements of the
/// axes they stand at, whose place the broadcast shape takes: that of the first where they stand side by side, else the
/// front. Source: <https://numpy.org/doc/stable/user/basics.indexing.html#combining-advanced-and-basic-indexing>.
fn index(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    let indices: Vec<(usize, Tensor)> = c
        .tensors_opt("indices")?
        .into_iter()
        .enumerate()
        .filter_map(|(axis, index)| Some((axis, index?)))
        .collect();
    if indices
        .iter()
        .any(|(_, t)| matches!(t.dtype, ScalarType::Bool | ScalarType::Byte))
    {
        return Err("a mask as an index: the size of the result depends on data".into());
    }
    if let [(axis, index)] = indices.as_slice() {
        return c.finish(
            "Gather",
            &[&x.name, &index.name],
            vec![int("axis", *axis as i64)],
        );
    }
    let axes: Vec<usize> = indices.iter().map(|(axis, _)| *axis).collect();
    if axes.iter().any(|&axis| axis >= x.rank()) {
        return Err(format!("indices of more than {} dimensions", x.rank()));
    }
    let first = *axes.first().ok_or("no index")?;
    let adjacent = axes.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let rank = indices.iter().map(|(_, t)| t.rank()).max().unwrap_or(0);
    let out = c.out_dims()?;
    let place = if adjacent { first } else { 0 };
    let together: Vec<Expr> = out
        .get(place..place + rank)
        .ok_or("fewer dimensions in the result than in the indices")?
        .to_vec();
    let mut wide = Vec::new();
    let last = c.b.ints(&[rank as i64])?;
    for (_, index) in &indices {
        let index = c.b.cast(index, ScalarType::Long)?;
        let index = c.expand(&index, &together)?;
        wide.push(c.emit("Unsqueeze", &[&index.name, &last], vec![]));
    }
    let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
    let addresses = c.emit("Concat", &wide, vec![int("axis", rank as i64)]);
    // The indexed axes to the front, as addresses count them.
    let rest: Vec<usize> = (0..x.rank()).filter(|d| !axes.contains(d)).collect();
    let order: Vec<usize> = axes.iter().chain(&rest).copied().collect();
    let fronted = c.transpose(&x, &order);
    let mut dims = together.clone();
    dims.extend(rest.iter().map(|&d| x.dims[d].clone()));
    let found = c.b.tensor(
        "GatherND",
        &[&fronted.name, &addresses],
        vec![],
        x.dtype,
        dims,
    );
    // The result has the broadcast dimensions first; back to their place.
    let back: Vec<usize> = (rank..rank + place)
        .chain(0..rank)
        .chain(rank + place..found.rank())
        .collect();
    let out = c.transpose(&found, &back);
    c.set_tensor(0, out)
}
