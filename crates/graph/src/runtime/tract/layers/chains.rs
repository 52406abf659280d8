//! Which of tract's nodes are products of two computed values, and which are attention.

use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};
use tract_onnx::tract_hir::internal::*;

use super::pairs::{Axis, Factors, Step, Then};
use super::recognise::{constant, next, numbers, only_successor};

/// Products as they are found in a model.
pub(super) struct Chain {
    pub inputs: TVec<OutletId>,
    pub output: OutletId,
    pub first: Factors,
    pub then: Option<Then>,
    /// The nodes that it stands for.
    pub nodes: Vec<usize>,
}

/// The products that begin with a node, and what follows up to the last products where they are factors. `is_free` tells
/// which nodes are part of nothing else.
pub(super) fn chain(
    model: &TypedModel,
    node: &TypedNode,
    is_free: impl Fn(usize) -> bool,
) -> TractResult<Option<Chain>> {
    let Some(mut pair) = Pair::of(model, node)? else {
        return Ok(None);
    };
    let Some((first, is_swapped)) = pair.factors(None) else {
        return Ok(None);
    };
    if let Some(chain) = attention(model, node, pair.clone(), &is_free)? {
        return Ok(Some(chain));
    }
    if is_swapped {
        pair.inputs.reverse();
    }
    Ok(Some(Chain {
        inputs: pair.inputs.into_iter().collect(),
        output: node.id.into(),
        first,
        then: None,
        nodes: vec![node.id],
    }))
}

/// A sum of products of two computed values.
#[derive(Clone)]
struct Pair {
    inputs: [OutletId; 2],
    /// Of the two inputs and of what comes out.
    axes: Vec<[Option<usize>; 3]>,
}

impl Pair {
    fn of(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Pair>> {
        let (Some(einsum), &[a, b]) = (node.op_as::<EinSum>(), node.inputs.as_slice()) else {
            return Ok(None);
        };
        let is_f32 = |dtype: DatumType| dtype == f32::datum_type();
        let [a_fact, b_fact] = [model.outlet_fact(a)?, model.outlet_fact(b)?];
        let is_plain = einsum.q_params.is_none()
            && is_f32(einsum.operating_dt)
            && [a_fact, b_fact, model.outlet_fact(node.id.into())?]
                .iter()
                .all(|fact| is_f32(fact.datum_type) && fact.is_plain());
        if !is_plain || a_fact.konst.is_some() || b_fact.konst.is_some() {
            return Ok(None);
        }
        let mut axes = Vec::new();
        for axis in einsum.axes.iter_all_axes() {
            let places = [&axis.inputs[0], &axis.inputs[1], &axis.outputs[0]];
            if places.iter().any(|places| places.len() > 1) {
                return Ok(None);
            }
            axes.push(places.map(|places| places.first().copied()));
        }
        let mut pair = Pair {
            inputs: [a, b],
            axes,
        };
        for at in 0..2 {
            pair.look_behind_moves(model, at)?;
        }
        Ok(Some(pair))
    }

    /// Takes an input from where its dimensions were not moved yet.
    fn look_behind_moves(&mut self, model: &TypedModel, at: usize) -> TractResult<()> {
        while let node = model.node(self.inputs[at].node)
            && let Some(AxisOp::Move(from, to)) = node.op_as()
            // What ends in a move has only the moved.
            && !model.node(node.inputs[0].node).op_is::<EinSum>()
        {
            let rank = model.outlet_fact(self.inputs[at])?.rank();
            let order = moved(rank, *from, *to);
            for axis in &mut self.axes {
                axis[at] = axis[at].map(|place| order[place]);
            }
            self.inputs[at] = node.inputs[0];
        }
        Ok(())
    }

    /// The products as rows with columns, with the input `left` as the left factor where it has to be, or else with either;
    /// and whether that is the second.
    fn factors(&self, left: Option<usize>) -> Option<(Factors, bool)> {
        // What is beside its neighbours in what comes out has to be the right factor's alone.
        let with = |left: usize| {
            let (mut each, mut terms, mut free) = (vec![], vec![], vec![]);
            for axis in &self.axes {
                let axis = Axis {
                    left: axis[left],
                    right: axis[1 - left],
                    out: axis[2],
                };
                match (axis.left, axis.right, axis.out) {
                    (Some(_), Some(_), None) => terms.push(axis),
                    (Some(_), None, Some(_)) | (None, Some(_), Some(_)) => free.push(axis),
                    (Some(_), Some(_), Some(_)) => each.push(axis),
                    _ => return None,
                }
            }
            let [terms] = <[Axis; 1]>::try_from(terms).ok()?;
            free.sort_by_key(|axis| axis.out);
            let columns = free.pop().filter(|axis| axis.left.is_none())?;
            if each.iter().any(|axis| axis.out > columns.out) {
                return None;
            }
            let rows = free.iter().rposition(|axis| axis.left.is_some());
            let rows = rows.map(|at| free.remove(at));
            each.extend(free);
            Some(Factors {
                each,
                rows,
                columns,
                terms,
            })
        };
        let found = match left {
            Some(left) => (with(left)?, left == 1),
            None => match with(0) {
                Some(factors) => (factors, false),
                None => (with(1)?, true),
            },
        };
        Some(found)
    }
}

/// Which dimension is at each place once one was moved.
fn moved(rank: usize, from: usize, to: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).collect();
    let axis = order.remove(from);
    order.insert(to, axis);
    order
}

/// Products that become factors, which either have the queries as left factors.
fn attention(
    model: &TypedModel,
    node: &TypedNode,
    mut pair: Pair,
    is_free: &impl Fn(usize) -> bool,
) -> TractResult<Option<Chain>> {
    let mut steps = Vec::new();
    let mut scale = 1.0;
    for input in 0..2 {
        while let before = model.node(pair.inputs[input].node)
            && is_free(before.id)
            && let Some((x, by)) = scaled(model, before)?
        {
            scale *= by;
            pair.inputs[input] = x;
            pair.look_behind_moves(model, input)?;
        }
    }
    if scale != 1.0 {
        steps.push(Step::Scale(scale));
    }
    // Whichever is the left factor: the third input is the last right one.
    let mut inputs: TVec<OutletId> = pair
        .inputs
        .iter()
        .copied()
        .chain([node.id.into()])
        .collect();
    let mut nodes = vec![node.id];
    let mut output = OutletId::from(node.id);
    let second = loop {
        let after = only_successor(model, output)?.filter(|after| is_free(after.id));
        let Some(after) = after else {
            return Ok(None);
        };
        if let Some(second) = Pair::of(model, after)? {
            break (after, second);
        }
        let Some(next) = next(model, output)? else {
            return Ok(None);
        };
        let Some(step) = self::step(model, next, output, &mut inputs)? else {
            return Ok(None);
        };
        steps.push(step);
        nodes.push(next.id);
        output = next.id.into();
    };
    let (last, second) = second;
    let scores = second.inputs.iter().position(|input| *input == output);
    let Some(scores) = scores.filter(|at| second.inputs[1 - *at] != output) else {
        return Ok(None);
    };
    let Some((mut factors, _)) = second.factors(Some(scores)) else {
        return Ok(None);
    };
    // The second's terms are the first's columns, and its rows the first's.
    let first = [0, 1].into_iter().find_map(|left| {
        let (first, is_swapped) = pair.factors(Some(left))?;
        let is_rest = |axis: &Axis| factors.each.iter().any(|each| each.left == axis.out);
        let fits = first.columns.out == factors.terms.left
            && first.rows.as_ref().and_then(|rows| rows.out)
                == factors.rows.as_ref().and_then(|rows| rows.left)
            && first.each.iter().all(is_rest)
            && first.each.len() == factors.each.len();
        fits.then_some((first, is_swapped))
    });
    let Some((first, is_swapped)) = first else {
        return Ok(None);
    };
    // In one order.
    let place = |axis: &Axis| first.each.iter().position(|each| each.out == axis.left);
    factors.each.sort_by_key(place);
    if is_swapped {
        inputs.swap(0, 1);
    }
    inputs[2] = second.inputs[1 - scores];
    nodes.push(last.id);
    let mut chain = Chain {
        inputs,
        output: last.id.into(),
        first,
        then: Some(Then { steps, factors }),
        nodes,
    };
    chain.take_moves(model, is_free)?;
    Ok(Some(chain))
}

/// What a node does to products of a shape, where it keeps that. What else it looks at is added to the inputs.
fn step(
    model: &TypedModel,
    node: &TypedNode,
    products: OutletId,
    inputs: &mut TVec<OutletId>,
) -> TractResult<Option<Step>> {
    let rank = model.outlet_fact(products)?.rank();
    if let Some(softmax) = node.op_as::<Softmax>() {
        let is_plain = softmax.kind == SoftmaxKind::Softmax
            && softmax.quant_output_dt.is_none()
            && softmax.axes.as_slice() == [rank - 1];
        return Ok(is_plain.then_some(Step::Softmax));
    }
    if let Some((x, scale)) = scaled(model, node)? {
        return Ok((x == products).then_some(Step::Scale(scale)));
    }
    if node.op_is::<Iff>() {
        let &[kept, x, otherwise] = node.inputs.as_slice() else {
            return Ok(None);
        };
        let fact = model.outlet_fact(kept)?;
        let (true, Some(otherwise)) = (
            x == products && fact.datum_type == bool::datum_type() && fact.rank() == rank,
            one_number(model, otherwise)?,
        ) else {
            return Ok(None);
        };
        inputs.push(kept);
        return Ok(Some(Step::Keep(inputs.len() - 1, otherwise)));
    }
    let is_sum = node
        .op_as::<TypedBinOp>()
        .is_some_and(|op| op.0.is::<math::Add>());
    let others: Vec<&OutletId> = node.inputs.iter().filter(|x| **x != products).collect();
    match others.as_slice() {
        [other] if is_sum && node.inputs.len() == 2 => {
            let fact = model.outlet_fact(**other)?;
            if fact.datum_type != f32::datum_type() || fact.rank() != rank || !fact.is_plain() {
                return Ok(None);
            }
            inputs.push(**other);
            Ok(Some(Step::Add(inputs.len() - 1)))
        }
        _ => Ok(None),
    }
}

/// The one number that a constant consists of.
fn one_number(model: &TypedModel, outlet: OutletId) -> TractResult<Option<f32>> {
    let Some(value) = constant(model, outlet)? else {
        return Ok(None);
    };
    Ok(match numbers(value)?.as_slice() {
        [first, rest @ ..] if rest.iter().all(|x| x == first) => Some(*first),
        _ => None,
    })
}

/// What a node multiplies with one number, and the number.
fn scaled(model: &TypedModel, node: &TypedNode) -> TractResult<Option<(OutletId, f32)>> {
    let (Some(op), &[a, b]) = (node.op_as::<TypedBinOp>(), node.inputs.as_slice()) else {
        return Ok(None);
    };
    if !op.0.is::<math::Mul>() {
        return Ok(None);
    }
    for (x, scale) in [(a, b), (b, a)] {
        let (before, after) = (model.outlet_fact(x)?, model.outlet_fact(node.id.into())?);
        if before.shape == after.shape
            && before.datum_type == f32::datum_type()
            && let Some(scale) = one_number(model, scale)?
        {
            return Ok(Some((x, scale)));
        }
    }
    Ok(None)
}

impl Chain {
    /// Takes the moves of dimensions that follow, as long as columns stay side by side.
    fn take_moves(
        &mut self,
        model: &TypedModel,
        is_free: &impl Fn(usize) -> bool,
    ) -> TractResult<()> {
        let Some(then) = &mut self.then else {
            return Ok(());
        };
        let factors = &mut then.factors;
        while let Some(node) = only_successor(model, self.output)?
            && is_free(node.id)
            && let Some(AxisOp::Move(from, to)) = node.op_as()
        {
            let rank = model.outlet_fact(self.output)?.rank();
            if [*from, *to].contains(&(rank - 1)) || factors.columns.out != Some(rank - 1) {
                break;
            }
            let order = moved(rank, *from, *to);
            let rows = factors.rows.iter_mut();
            for axis in factors.each.iter_mut().chain(rows) {
                axis.out = axis
                    .out
                    .and_then(|out| order.iter().position(|at| *at == out));
            }
            self.output = node.id.into();
            self.nodes.push(node.id);
        }
        Ok(())
    }
}
