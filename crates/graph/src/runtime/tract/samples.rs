//! Whether a network computes each sample from that sample alone.
//!
//! The dimension that counts samples is followed from the inputs through all operators. Each has to carry it over as it is,
//! and nothing else may depend on how many there are: then a batch can be computed sample by sample.

use std::collections::HashMap;

use tract_onnx::prelude::{Symbol, TDim};
use tract_onnx::tract_core::ops::array::{Gather, MultiBroadcastTo, Pad, Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, MaxPool, SumPool};
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, RmsNorm, Softmax};
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::internal::*;

use super::operators::Ours;

/// What keeps the rows of outputs from depending on the same row of the inputs only, where `samples` is how many rows there are.
pub(super) fn what_mixes(model: &TypedModel, samples: &Symbol) -> TractResult<Option<String>> {
    // The dimension that counts samples, of each value that has one.
    let mut along: HashMap<OutletId, usize> = HashMap::new();
    for id in model.eval_order()? {
        let node = model.node(id);
        let counted = |slot: usize, input: &OutletId| along.get(input).map(|axis| (slot, *axis));
        let inputs = node.inputs.iter().enumerate();
        let counted: Vec<(usize, usize)> = inputs
            .filter_map(|(slot, input)| counted(slot, input))
            .collect();
        for slot in 0..node.outputs.len() {
            let outlet = OutletId::new(id, slot);
            let fact = model.outlet_fact(outlet)?;
            let mixes = || Ok(Some(format!("{} ({})", node.name, node.op.name())));
            let Ok(count) = count_of(fact, samples) else {
                return mixes();
            };
            if counted.is_empty() {
                let is_same_for_all =
                    node.op_is::<TypedSource>() || node.op_is::<MultiBroadcastTo>();
                match count {
                    Some(axis) if is_same_for_all => {
                        along.insert(outlet, axis);
                    }
                    Some(_) => return mixes(),
                    None => {}
                }
            } else if count.is_some() && carried(model, node, &counted, slot)? == count {
                along.extend(count.map(|axis| (outlet, axis)));
            } else {
                return mixes();
            }
        }
    }
    let first = |outlet: &OutletId| along.get(outlet) == Some(&0);
    let (inputs, outputs) = (model.input_outlets()?, model.output_outlets()?);
    let mut ends = inputs.iter().chain(outputs);
    let other = ends.find(|outlet| !first(outlet));
    Ok(other.map(|outlet| {
        format!(
            "{}, whose rows are not samples",
            model.node(outlet.node).name
        )
    }))
}

/// The dimension of a value whose size is the number of samples.
///
/// # Errors
/// The number is part of something else that is known of the value.
fn count_of(fact: &TypedFact, samples: &Symbol) -> Result<Option<usize>, ()> {
    let mentions = |dim: &TDim| dim.symbols().contains(samples);
    let known = fact.konst.iter().chain(&fact.uniform);
    for value in known.filter(|value| value.datum_type() == TDim::datum_type()) {
        let plain = value.try_as_plain_ram().map_err(|_| ())?;
        if plain
            .as_slice::<TDim>()
            .map_err(|_| ())?
            .iter()
            .any(mentions)
        {
            return Err(());
        }
    }
    let mut dims = fact
        .shape
        .iter()
        .enumerate()
        .filter(|(_, dim)| mentions(dim));
    match (dims.next(), dims.next()) {
        (None, _) => Ok(None),
        (Some((axis, TDim::Sym(_))), None) => Ok(Some(axis)),
        _ => Err(()),
    }
}

/// Where an operator puts the samples that its inputs have along these dimensions; `None` where it may mix them.
fn carried(
    model: &TypedModel,
    node: &TypedNode,
    counted: &[(usize, usize)],
    output: usize,
) -> TractResult<Option<usize>> {
    let op = &node.op;
    if let [(0, axis)] = counted {
        let rank = model.outlet_fact(node.inputs[0])?.rank();
        let ours = op.downcast_ref::<Ours>();
        if carries_as_it_is(&**op, *axis) || ours.is_some_and(|ours| ours.carries(*axis, rank)) {
            return Ok(Some(*axis));
        }
    }
    let is_mapped = op.is::<AxisOp>()
        || op.is::<Cast>()
        || op.is::<Conv>()
        || op.is::<EinSum>()
        || op.is::<ElementWiseOp>()
        || op.is::<Gather>()
        || op.is::<Iff>()
        || op.is::<MultiBroadcastTo>()
        || op.is::<Reduce>()
        || op.is::<TypedBinOp>();
    let joins_along = op.downcast_ref::<TypedConcat>().map(|concat| concat.axis);
    if let Some(joined) = joins_along {
        let all = counted.len() == node.inputs.len();
        let same = counted.iter().all(|(_, axis)| *axis == counted[0].1);
        return Ok(Some(counted[0].1).filter(|axis| all && same && *axis != joined));
    }
    if !is_mapped {
        return Ok(None);
    }
    let mapping = model.node_axes_mapping(node.id)?;
    let mut found = None;
    for &(slot, axis) in counted {
        let mapped = &mapping.axis((InOut::In(slot), axis))?.outputs[output];
        match (mapped.as_slice(), found) {
            ([to], None) => found = Some(*to),
            ([to], Some(before)) if *to == before => {}
            _ => return Ok(None),
        }
    }
    Ok(found)
}

/// Whether an operator of one input leaves a dimension as it is, without looking along it.
fn carries_as_it_is(op: &dyn TypedOp, axis: usize) -> bool {
    let images = |format: &DataFormat| format.has_n() && axis == 0;
    if let Some(op) = op.downcast_ref::<MaxPool>() {
        images(&op.pool_spec.data_format)
    } else if let Some(op) = op.downcast_ref::<SumPool>() {
        images(&op.pool_spec.data_format)
    } else if let Some(op) = op.downcast_ref::<Softmax>() {
        !op.axes.contains(&axis)
    } else if let Some(op) = op.downcast_ref::<RmsNorm>() {
        op.axis != axis
    } else if let Some(op) = op.downcast_ref::<Slice>() {
        op.axis != axis
    } else if let Some(op) = op.downcast_ref::<Pad>() {
        op.pads.get(axis) == Some(&(0, 0))
    } else if let Some(op) = op.downcast_ref::<Downsample>() {
        op.axis != axis
    } else {
        false
    }
}
