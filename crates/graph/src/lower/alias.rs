//! In-place operators: what else changes when a tensor does.
//!
//! ONNX values never change. An in-place operator therefore gives its tensor's name a new value, and so it has to for
//! every other name that looks at the same memory: the tensor that a view was taken of, and other views of it. Mostly
//! none of those is read again, and nothing is to be done. Where one is, the archive's strides and offsets say which
//! elements a view has, and the new ones are scattered into the base and gathered from it.

use std::collections::HashMap;

use hearth_formats::pt2::{Argument, Graph, Node};

use super::Step;
use super::builder::int;
use super::call::Call;
use super::expr::Expr;
use super::ops::index::{cut, with_part};
use super::value::{Meta, Tensor, Value};

/// Larger bases are not written through: the indices would take more room than the model.
const MAX_ELEMENTS: i64 = 1 << 22;

/// Operators whose result looks at the memory of their first tensor.
const VIEWS: &[&str] = &[
    "alias",
    "as_strided",
    "chunk",
    "detach",
    "diagonal",
    "expand",
    "expand_as",
    "movedim",
    "narrow",
    "numpy_T",
    "permute",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "swapaxes",
    "t",
    "transpose",
    "unbind",
    "unfold",
    "unsqueeze",
    "view",
    "view_as",
];

/// Operators whose result looks at the memory of their first tensor, or is a copy of it.
const MAYBE_VIEWS: &[&str] = &[
    "contiguous",
    "dropout",
    "flatten",
    "reshape",
    "reshape_as",
    "to",
    "type_as",
    "unflatten",
    "feature_dropout",
    "alpha_dropout",
];

/// Which names look at the same memory.
pub(super) struct Aliases {
    /// The name that a view was first taken of.
    base: HashMap<String, String>,
    /// All names that look at a base's memory, the base among them.
    members: HashMap<String, Vec<String>>,
    /// The last node that reads a name; `usize::MAX` where it is an output.
    last_use: HashMap<String, usize>,
}

impl Aliases {
    pub(super) fn new(graph: &Graph) -> Aliases {
        let mut last_use = HashMap::new();
        for (i, node) in graph.nodes.iter().enumerate() {
            for input in &node.inputs {
                for name in tensors(&input.arg) {
                    last_use.insert(name.to_owned(), i);
                }
            }
        }
        for output in &graph.outputs {
            for name in tensors(output) {
                last_use.insert(name.to_owned(), usize::MAX);
            }
        }
        Aliases {
            base: HashMap::new(),
            members: HashMap::new(),
            last_use,
        }
    }

    /// Learns of a node's results, where they are views.
    pub(super) fn link(&mut self, call: &mut Call<'_>) {
        let name = operator(call.node);
        let maybe = MAYBE_VIEWS.contains(&name);
        if !maybe && !VIEWS.contains(&name) {
            return;
        }
        let Some(of) = first_tensor(call.node).map(str::to_owned) else {
            return;
        };
        for result in &call.results {
            // Another type is another memory.
            let types = (call.scope.meta(&of), call.scope.meta(result));
            if maybe && matches!(&types, (Ok(a), Ok(b)) if a.dtype != b.dtype) {
                continue;
            }
            self.join(&of, result);
        }
    }

    fn join(&mut self, of: &str, name: &str) {
        let base = self.base.get(of).cloned().unwrap_or_else(|| of.to_owned());
        self.base.insert(name.to_owned(), base.clone());
        let members = self
            .members
            .entry(base.clone())
            .or_insert_with(|| vec![base]);
        members.push(name.to_owned());
    }

    /// The first result of an in-place node is the new value of its first tensor.
    pub(super) fn mutated(&mut self, call: &mut Call<'_>, at: usize) -> Step {
        let name = first_tensor(call.node)
            .ok_or("an in-place operator without a tensor")?
            .to_owned();
        let result = call.results[0].clone();
        let new = call.scope.tensor(&result)?;
        let old = call.scope.tensor(&name)?;
        // The tensor keeps its own type and size, whatever it was given.
        let new = call.b.cast(&new, old.dtype)?;
        let new = call.expand(&new, &old.dims)?;
        call.scope.set(name.clone(), Value::Tensor(new.clone()));
        call.scope.set(result.clone(), Value::Tensor(new.clone()));
        self.join(&name, &result);

        let base = self.base[&result].clone();
        let read_later: Vec<String> = self.members[&base]
            .iter()
            .filter(|other| **other != name && **other != result)
            .filter(|other| self.last_use.get(*other).is_some_and(|&last| last > at))
            .cloned()
            .collect();
        // The base may be read through views that are yet to be taken.
        if read_later.is_empty() {
            return Ok(());
        }
        let part = call.scope.meta(&name)?;
        let whole = call.scope.meta(&base)?;
        let old_base = call.scope.tensor(&base)?;
        if old_base.dims != whole.dims {
            return Err(format!(
                "{base}, which it changes in place, has another shape than the archive says"
            ));
        }
        let new_base = if base == name {
            new
        } else {
            write_through(call, &old_base, &whole, &new, &part)?
        };
        for other in read_later.iter().filter(|other| **other != base) {
            let meta = call.scope.meta(other)?;
            let is_same = meta.layout == part.layout && meta.layout.is_some();
            let value = if is_same && meta.dims == part.dims {
                call.scope.tensor(&name)?
            } else {
                read_through(call, &new_base, &whole, &meta)?
            };
            call.scope.set(other.clone(), Value::Tensor(value));
        }
        call.scope.set(base, Value::Tensor(new_base));
        Ok(())
    }
}

/// The base with new elements where a view of it has them.
fn write_through(
    call: &mut Call<'_>,
    base: &Tensor,
    whole: &Meta,
    new: &Tensor,
    part: &Meta,
) -> Step<Tensor> {
    // A view of all elements in order is the base in another shape, however large.
    if is_whole(whole, part) {
        return call.reshape(new, &whole.dims);
    }
    if let Some(regions) = regions(whole, part) {
        let dims: Vec<Expr> = regions.iter().map(|r| r.len.clone()).collect();
        let placed = call.reshape(new, &dims)?;
        let cuts: Vec<&Region> = regions.iter().filter(|r| r.cuts(whole)).collect();
        let name = replace(call, base, &cuts, &placed)?;
        return Ok(Tensor {
            name,
            splat: None,
            ..base.clone()
        });
    }
    let indices = indices(whole, part)?;
    let indices = call.b.ints(&indices)?;
    let base_flat = flatten(call, base)?;
    let new_flat = flatten(call, new)?;
    let scattered = call.b.tensor(
        "ScatterElements",
        &[&base_flat, &indices, &new_flat],
        vec![int("axis", 0)],
        base.dtype,
        vec![Expr::Int(-1)],
    );
    call.reshape(&scattered, &whole.dims)
}

/// The elements that a view has of its base.
fn read_through(call: &mut Call<'_>, base: &Tensor, whole: &Meta, part: &Meta) -> Step<Tensor> {
    if is_whole(whole, part) {
        return call.reshape(base, &part.dims);
    }
    if let Some(regions) = regions(whole, part) {
        let mut out = base.clone();
        for region in regions.iter().filter(|r| r.cuts(whole)) {
            out = region.of(call, &out)?;
        }
        return call.reshape(&out, &part.dims);
    }
    let indices = indices(whole, part)?;
    let indices = call.b.ints(&indices)?;
    let flat = flatten(call, base)?;
    let gathered = call.b.tensor(
        "Gather",
        &[&flat, &indices],
        vec![int("axis", 0)],
        base.dtype,
        vec![Expr::Int(-1)],
    );
    call.reshape(&gathered, &part.dims)
}

fn flatten(call: &mut Call<'_>, tensor: &Tensor) -> Step<String> {
    let all = call.b.ints(&[-1])?;
    Ok(call.emit("Reshape", &[&tensor.name, &all], vec![]))
}

/// What a view has of one axis of its base: a range.
struct Region {
    axis: usize,
    start: i64,
    len: Expr,
}

impl Region {
    /// Whether it is less than the whole axis.
    fn cuts(&self, whole: &Meta) -> bool {
        self.start != 0 || self.len != whole.dims[self.axis]
    }

    fn ends(&self) -> (Expr, Expr) {
        let start = Expr::Int(self.start);
        (start.clone(), Expr::sum([start, self.len.clone()]))
    }

    /// The range of a tensor.
    fn of(&self, call: &mut Call<'_>, tensor: &Tensor) -> Step<Tensor> {
        let (start, end) = self.ends();
        let mut dims = tensor.dims.clone();
        dims[self.axis] = self.len.clone();
        Ok(Tensor {
            name: cut(call, tensor, self.axis, &start, &end, 1)?,
            dims,
            ..tensor.clone()
        })
    }
}

/// The tensor with another part in the regions; its name.
fn replace(
    call: &mut Call<'_>,
    tensor: &Tensor,
    regions: &[&Region],
    part: &Tensor,
) -> Step<String> {
    let [region, rest @ ..] = regions else {
        return Ok(part.name.clone());
    };
    let inner = if rest.is_empty() {
        part.name.clone()
    } else {
        let slab = region.of(call, tensor)?;
        replace(call, &slab, rest, part)?
    };
    let (start, end) = region.ends();
    with_part(call, tensor, region.axis, &start, &end, &inner)
}

/// A view as a range of each axis of its base, if it is one: slices without steps, and selections.
fn regions(whole: &Meta, part: &Meta) -> Option<Vec<Region>> {
    let ((base_strides, base_offset), (strides, offset)) =
        (whole.layout.as_ref()?, part.layout.as_ref()?);
    if !is_contiguous(whole) {
        return None;
    }
    let mut rest = offset.checked_sub(*base_offset).filter(|&n| n >= 0)?;
    let mut own = strides.iter().zip(&part.dims).peekable();
    let mut regions = Vec::new();
    for (axis, (dim, &stride)) in whole.dims.iter().zip(base_strides).enumerate() {
        if stride < 1 {
            return None;
        }
        let start = rest / stride;
        rest %= stride;
        // The axis is the view's too, or it was selected from.
        let len = match own.peek() {
            Some(&(&s, len)) if s == stride => {
                let inside = match (len, dim) {
                    (Expr::Int(len), Expr::Int(dim)) => start.checked_add(*len)? <= *dim,
                    (Expr::Int(_), _) => true,
                    _ => start == 0 && len == dim,
                };
                if !inside {
                    return None;
                }
                own.next();
                len.clone()
            }
            _ => Expr::Int(1),
        };
        regions.push(Region { axis, start, len });
    }
    (rest == 0 && own.next().is_none()).then_some(regions)
}

/// Whether a view has all elements of its base, in order. Both are then contiguous.
fn is_whole(whole: &Meta, part: &Meta) -> bool {
    let numel = |meta: &Meta| Expr::product(meta.dims.iter().cloned());
    let (Some((_, a)), Some((_, b))) = (&whole.layout, &part.layout) else {
        return false;
    };
    a == b && numel(whole) == numel(part) && is_contiguous(whole) && is_contiguous(part)
}

fn is_contiguous(meta: &Meta) -> bool {
    let Some((strides, _)) = &meta.layout else {
        return false;
    };
    let mut expected = Expr::Int(1);
    for (dim, stride) in meta.dims.iter().zip(strides).rev() {
        if *dim != Expr::Int(1) && expected != Expr::Int(*stride) {
            return false;
        }
        expected = Expr::product([expected, dim.clone()]);
    }
    true
}

/// Where the elements of a view lie in its base, flattened.
fn indices(whole: &Meta, part: &Meta) -> Step<Vec<i64>> {
    const WHY: &str =
        "it changes a view in place whose base is read again, and one of them is of dynamic size";
    let fixed = |meta: &Meta| {
        meta.dims
            .iter()
            .map(Expr::int)
            .collect::<Option<Vec<i64>>>()
    };
    let (Some(base_dims), Some(dims)) = (fixed(whole), fixed(part)) else {
        return Err(WHY.into());
    };
    let (Some((_, base_offset)), Some((strides, offset))) = (&whole.layout, &part.layout) else {
        return Err(WHY.into());
    };
    let count = |dims: &[i64]| {
        let mut sizes = dims.iter();
        sizes.try_fold(1i64, |n, &d| n.checked_mul(d).filter(|_| d >= 0))
    };
    let (Some(total), Some(count)) = (count(&base_dims), count(&dims)) else {
        return Err("a size is negative, or all together overflow".into());
    };
    if !is_contiguous(whole) || total > MAX_ELEMENTS || count > MAX_ELEMENTS {
        return Err("it changes a view in place whose base is read again and is not laid out densely, or is large".into());
    }
    let mut out = Vec::with_capacity(count as usize);
    let mut index = vec![0i64; dims.len()];
    for _ in 0..count {
        let first = offset.checked_sub(*base_offset);
        let at = index.iter().zip(strides).fold(first, |at, (i, stride)| {
            at?.checked_add(i.checked_mul(*stride)?)
        });
        let Some(at) = at.filter(|at| (0..total).contains(at)) else {
            return Err("a view reaches outside of its base".into());
        };
        out.push(at);
        for d in (0..index.len()).rev() {
            index[d] += 1;
            if index[d] < dims[d] {
                break;
            }
            index[d] = 0;
        }
    }
    Ok(out)
}

/// The operator's name between namespace and overload.
fn operator(node: &Node) -> &str {
    node.target
        .strip_prefix("torch.ops.aten.")
        .and_then(|rest| rest.split('.').next())
        .unwrap_or("")
}

fn first_tensor(node: &Node) -> Option<&str> {
    node.inputs.iter().find_map(|input| match &input.arg {
        Argument::Tensor(name) => Some(name.as_str()),
        _ => None,
    })
}

fn tensors(arg: &Argument) -> Vec<&str> {
    match arg {
        Argument::Tensor(name) => vec![name],
        Argument::Tensors(list) => list.iter().map(String::as_str).collect(),
        Argument::OptionalTensors(list) => list.iter().flatten().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}
