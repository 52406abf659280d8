//! Convolutions and products by our own kernels, with constant matrices and of two computed values, as attention is made of.
//!
//! The kernels take values whose channels are their last dimension, and tract's graphs mostly have them elsewhere. So the
//! graph is written anew: a value exists as tract had it, or with its channels last, or as both where both are needed.
//! Operators between layers that tract can move the channels of, such as poolings, work on what is there, so that between
//! layers nothing is rearranged. What follows a layer element by element becomes part of it.

mod chains;
mod layer;
mod memory;
mod pairs;
mod recognise;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use hearth_kernels::{Convolution, Depthwise, Filters, Pool};
use tract_onnx::tract_core::ops::array::{Pad, Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{MaxPool, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce};
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::internal::*;

use super::operators::Ours;
use chains::Chain;
use layer::{Layer, Weights};
pub(super) use memory::Memory;
use pairs::Pairs;
use recognise::Found;

/// What stands for some nodes.
enum Stands {
    Layer(Found),
    Pairs(Chain),
}

/// The model with layers where they can stand for its nodes, and operators of ours on all threads.
pub(super) fn with_layers(
    model: &TypedModel,
    pool: &Arc<Pool>,
    memory: &Arc<Memory>,
) -> TractResult<TypedModel> {
    let mut layers: HashMap<usize, Stands> = HashMap::new();
    let mut taken: HashSet<usize> = HashSet::new();
    for id in model.eval_order()? {
        let node = model.node(id);
        if taken.contains(&id) {
            continue;
        }
        if let Some(mut found) = recognise::layer(model, node)? {
            found.extend(model, |node| !taken.contains(&node))?;
            taken.extend(&found.nodes);
            // It takes the place of the last node, when all that it needs is there.
            layers.insert(found.output.node, Stands::Layer(found));
        } else if let Some(chain) = chains::chain(model, node, |node| !taken.contains(&node))? {
            taken.extend(&chain.nodes);
            layers.insert(chain.output.node, Stands::Pairs(chain));
        }
    }
    let mut writer = Writer {
        old: model,
        new: TypedModel {
            symbols: model.symbols.clone(),
            properties: model.properties.clone(),
            ..TypedModel::default()
        },
        values: HashMap::new(),
        pool,
        memory,
    };
    for id in model.eval_order()? {
        match layers.remove(&id) {
            Some(Stands::Layer(found)) => writer.layer(found)?,
            Some(Stands::Pairs(chain)) => writer.pairs(chain)?,
            None if taken.contains(&id) => {}
            None => writer.node(model.node(id))?,
        }
    }
    writer.finish()
}

/// A value in the new model.
#[derive(Default)]
struct Value {
    /// As the old model has it.
    plain: Option<OutletId>,
    /// With one of its dimensions moved behind all others.
    moved: Vec<(usize, OutletId)>,
}

struct Writer<'a> {
    old: &'a TypedModel,
    new: TypedModel,
    values: HashMap<OutletId, Value>,
    pool: &'a Arc<Pool>,
    memory: &'a Arc<Memory>,
}

impl Writer<'_> {
    fn last_axis(&self, outlet: OutletId) -> TractResult<usize> {
        let rank = self.old.outlet_fact(outlet)?.rank();
        rank.checked_sub(1).context("a number has no dimensions")
    }

    fn value(&mut self, outlet: OutletId) -> &mut Value {
        self.values.entry(outlet).or_default()
    }

    fn name(&self, outlet: OutletId, what: &str) -> String {
        format!("{}.{}.{what}", self.old.node(outlet.node).name, outlet.slot)
    }

    /// A value as the old model has it.
    fn plain(&mut self, outlet: OutletId) -> TractResult<OutletId> {
        let value = self.value(outlet);
        if let Some(plain) = value.plain {
            return Ok(plain);
        }
        let (axis, moved) = *value.moved.first().context("a value that is not there")?;
        let back = AxisOp::Move(self.last_axis(outlet)?, axis);
        let plain = self
            .new
            .wire_node(self.name(outlet, "plain"), back, &[moved])?[0];
        self.value(outlet).plain = Some(plain);
        Ok(plain)
    }

    /// A value with one of its dimensions behind all others.
    fn moved(&mut self, outlet: OutletId, axis: usize) -> TractResult<OutletId> {
        let last = self.last_axis(outlet)?;
        if axis == last {
            return self.plain(outlet);
        }
        let there = self.value(outlet).moved.iter().find(|(of, _)| *of == axis);
        if let Some((_, moved)) = there {
            return Ok(*moved);
        }
        let plain = self.plain(outlet)?;
        let name = self.name(outlet, &format!("last.{axis}"));
        let moved = self
            .new
            .wire_node(name, AxisOp::Move(axis, last), &[plain])?[0];
        self.value(outlet).moved.push((axis, moved));
        Ok(moved)
    }

    /// Notes where a value is.
    fn is_at(&mut self, outlet: OutletId, axis: usize, at: OutletId) -> TractResult<()> {
        if axis == self.last_axis(outlet)? {
            self.value(outlet).plain = Some(at);
        } else {
            self.value(outlet).moved.push((axis, at));
        }
        Ok(())
    }

    fn layer(&mut self, found: Found) -> TractResult<()> {
        let mut inputs = tvec!(self.moved(found.input, found.input_axis)?);
        if let Some(add) = found.add {
            inputs.push(self.moved(add, found.output_axis)?);
        }
        let &[channels, positions, of_group] = found.weights.shape() else {
            bail!("weights of {:?}", found.weights.shape());
        };
        let weights = found.weights.try_as_plain_ram()?;
        let (weights, bias) = (weights.as_slice::<f32>()?, Some(found.bias.as_slice()));
        let weights = if found.groups == channels && of_group == 1 {
            Weights::Depthwise(Depthwise::new(channels, positions, weights, bias)?)
        } else {
            let filters = Filters {
                groups: found.groups,
                outputs: channels / found.groups,
                positions,
                inputs: of_group,
            };
            Weights::Convolution(Convolution::new(filters, weights, bias)?)
        };
        let layer = Layer {
            weights: Arc::new(weights),
            outputs: channels,
            window: found.window,
            rows: found.rows,
            activation: found.activation,
            pool: Arc::clone(self.pool),
            memory: Arc::clone(self.memory),
        };
        let name = &self.old.node(found.output.node).name;
        let output = self.new.wire_node(name, layer, &inputs)?[0];
        self.is_at(found.output, found.output_axis, output)
    }

    fn pairs(&mut self, chain: Chain) -> TractResult<()> {
        let inputs = chain.inputs.iter().map(|input| self.plain(*input));
        let inputs = inputs.collect::<TractResult<TVec<_>>>()?;
        let pairs = Pairs {
            first: chain.first,
            then: chain.then,
            pool: Arc::clone(self.pool),
            memory: Arc::clone(self.memory),
        };
        let name = &self.old.node(chain.output.node).name;
        let output = self.new.wire_node(name, pairs, &inputs)?[0];
        self.value(chain.output).plain = Some(output);
        Ok(())
    }

    fn node(&mut self, node: &TypedNode) -> TractResult<()> {
        if let Some(source) = node.op_as::<TypedSource>() {
            let outlet = self.new.add_source(&*node.name, source.fact.clone())?;
            self.value(node.id.into()).plain = Some(outlet);
            return Ok(());
        }
        if self.is_only_moved(node)? || self.between_layers(node)? {
            return Ok(());
        }
        let inputs = node.inputs.iter().map(|input| self.plain(*input));
        let inputs = inputs.collect::<TractResult<TVec<_>>>()?;
        let op = match node.op_as::<Ours>() {
            Some(ours) => Box::new(ours.on(self.pool)),
            None => node.op.clone(),
        };
        let outputs = self.new.wire_node(&*node.name, op, &inputs)?;
        for (slot, output) in outputs.into_iter().enumerate() {
            self.value(OutletId::new(node.id, slot)).plain = Some(output);
        }
        Ok(())
    }

    /// Where a node moves a dimension to where it is already: gives what is there.
    fn is_only_moved(&mut self, node: &TypedNode) -> TractResult<bool> {
        let (Some(AxisOp::Move(from, to)), &[input]) = (node.op_as(), node.inputs.as_slice())
        else {
            return Ok(false);
        };
        let (from, to) = (*from, *to);
        let last = self.last_axis(input)?;
        let value = self.value(input);
        if to == last {
            let there = value.moved.iter().find(|(axis, _)| *axis == from);
            if let Some((_, moved)) = there.copied() {
                self.value(node.id.into()).plain = Some(moved);
                return Ok(true);
            }
        } else if from == last
            && let Some(plain) = value.plain
        {
            self.value(node.id.into()).moved.push((to, plain));
            return Ok(true);
        }
        Ok(false)
    }

    /// Writes a node that works as well on values whose channels are last, where an input is there like that only.
    fn between_layers(&mut self, node: &TypedNode) -> TractResult<bool> {
        let op = &node.op;
        let may_move = op.is::<Cast>()
            || op.is::<Downsample>()
            || op.is::<ElementWiseOp>()
            || op.is::<MaxPool>()
            || op.is::<Pad>()
            || op.is::<Reduce>()
            || op.is::<Slice>()
            || op.is::<SumPool>()
            || op.is::<TypedBinOp>()
            || op.is::<TypedConcat>();
        let moved = node.inputs.iter().enumerate().find_map(|(slot, input)| {
            let value = self.values.get(input)?;
            let first = value.moved.first().filter(|_| value.plain.is_none())?;
            Some((slot, first.0))
        });
        let Some((slot, axis)) = moved.filter(|_| may_move) else {
            return Ok(false);
        };
        let change = AxisOp::Move(axis, self.last_axis(node.inputs[slot])?);
        let consequence = match channels_last(node, &change) {
            Some(op) => Some(AxisChangeConsequence::new(
                self.old,
                node,
                Some(op),
                &change,
            )),
            None => op.change_axes(self.old, node, InOut::In(slot), &change)?,
        };
        let Some(AxisChangeConsequence {
            substitute_op,
            wire_changes,
        }) = consequence
        else {
            return Ok(false);
        };
        // The dimension that is last of each input and output, where it is another than before.
        let mut axes: HashMap<InOut, usize> = HashMap::new();
        for (wire, change) in wire_changes {
            let outlet = match wire {
                InOut::In(slot) => node.inputs[slot],
                InOut::Out(slot) => OutletId::new(node.id, slot),
            };
            match change {
                AxisOp::Move(from, to) if to == self.last_axis(outlet)? => {
                    axes.insert(wire, from);
                }
                _ => return Ok(false),
            }
        }
        let mut inputs = tvec!();
        for (slot, input) in node.inputs.iter().enumerate() {
            inputs.push(match axes.get(&InOut::In(slot)) {
                Some(axis) => self.moved(*input, *axis)?,
                None => self.plain(*input)?,
            });
        }
        let op = substitute_op.unwrap_or_else(|| node.op.clone());
        let outputs = self.new.wire_node(&*node.name, op, &inputs)?;
        for (slot, output) in outputs.into_iter().enumerate() {
            let outlet = OutletId::new(node.id, slot);
            match axes.get(&InOut::Out(slot)) {
                Some(axis) => self.is_at(outlet, *axis, output)?,
                None => self.value(outlet).plain = Some(output),
            }
        }
        Ok(true)
    }

    fn finish(mut self) -> TractResult<TypedModel> {
        let old = self.old;
        let inputs = old.input_outlets()?.iter().map(|input| self.plain(*input));
        let inputs = inputs.collect::<TractResult<Vec<_>>>()?;
        let outputs = old
            .output_outlets()?
            .iter()
            .map(|output| self.plain(*output));
        let outputs = outputs.collect::<TractResult<Vec<_>>>()?;
        self.new.set_input_outlets(&inputs)?;
        self.new.select_output_outlets(&outputs)?;
        Ok(self.new)
    }
}

/// An operator of one input and one output, for an input changed so; of those that tract itself can't change.
fn channels_last(node: &TypedNode, change: &AxisOp) -> Option<Box<dyn TypedOp>> {
    let AxisOp::Move(axis, _) = *change else {
        return None;
    };
    let spec = |spec: &PoolSpec| {
        let data_format = match (spec.data_format, axis) {
            (DataFormat::NCHW, 1) => DataFormat::NHWC,
            (DataFormat::CHW, 0) => DataFormat::HWC,
            _ => return None,
        };
        Some(PoolSpec {
            data_format,
            ..spec.clone()
        })
    };
    if let Some(op) = node
        .op_as::<MaxPool>()
        .filter(|op| op.with_index_outputs.is_none())
    {
        let pool_spec = spec(&op.pool_spec)?;
        Some(Box::new(MaxPool {
            pool_spec,
            ..op.clone()
        }))
    } else if let Some(op) = node.op_as::<SumPool>() {
        let pool_spec = spec(&op.pool_spec)?;
        Some(Box::new(SumPool {
            pool_spec,
            ..op.clone()
        }))
    } else {
        let op = node.op_as::<Downsample>()?;
        let axis = change.transform_axis(op.axis)?;
        Some(Box::new(Downsample { axis, ..op.clone() }))
    }
}
