//! Which of tract's nodes are a convolution or a product with a constant matrix, and which after them become part of it.

use hearth_kernels::Activation;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, PoolSpec};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::gelu_exact::GeluExact;
use tract_onnx::tract_core::ops::nn::silu::Silu;
use tract_onnx::tract_core::ops::nn::{DataFormat, HardSwish};
use tract_onnx::tract_hir::internal::*;

/// How the rows of a product lie in its input and in its output, apart from the channels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Rows {
    /// How many dimensions before the last are channels too.
    pub more_channels: usize,
    /// Dimensions of one that the output does not have.
    pub removed: TVec<usize>,
    /// Dimensions of one that only the output has.
    pub added: TVec<usize>,
}

/// A layer as it is found in a model.
pub(super) struct Found {
    /// Its input, and which of that's dimensions is the channels.
    pub input: OutletId,
    pub input_axis: usize,
    /// What it gives, and which of that's dimensions is the channels.
    pub output: OutletId,
    pub output_axis: usize,
    pub groups: usize,
    /// `[outputs, positions, inputs]`, outputs of all groups.
    pub weights: Tensor,
    pub bias: Vec<f32>,
    pub window: Option<PoolSpec>,
    pub rows: Rows,
    /// What is added to its output.
    pub add: Option<OutletId>,
    pub activation: Activation,
    /// The nodes that it stands for.
    pub nodes: Vec<usize>,
}

/// The layer that begins with a node.
pub(super) fn layer(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Found>> {
    if let Some(conv) = node.op_as::<Conv>() {
        convolution(model, node, conv)
    } else if let Some(einsum) = node.op_as::<EinSum>() {
        product(model, node, einsum)
    } else {
        Ok(None)
    }
}

/// The value of a constant of single precision.
pub(super) fn constant(model: &TypedModel, outlet: OutletId) -> TractResult<Option<&Arc<Tensor>>> {
    let value = model.outlet_fact(outlet)?.konst.as_ref();
    Ok(value.filter(|value| value.datum_type() == f32::datum_type() && value.is_plain_ram()))
}

pub(super) fn numbers(tensor: &Tensor) -> TractResult<Vec<f32>> {
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

fn convolution(model: &TypedModel, node: &TypedNode, conv: &Conv) -> TractResult<Option<Found>> {
    let &[input, kernel, bias] = node.inputs.as_slice() else {
        return Ok(None);
    };
    let fact = model.outlet_fact(input)?;
    let is_plain = conv.q_params.is_none()
        && fact.datum_type == f32::datum_type()
        && matches!(conv.pool_spec.rank(), 1 | 2);
    let (Some(kernel), Some(bias)) = (constant(model, kernel)?, constant(model, bias)?) else {
        return Ok(None);
    };
    if !is_plain {
        return Ok(None);
    }
    // (group, output, input, position) -> (group, output, position, input)
    let weights = conv.kernel_fmt.kernel_as_group_o_i_hw(kernel, conv.group)?;
    let weights = weights.permute_axes(&[0, 1, 3, 2])?;
    let &[groups, outputs, positions, inputs] = weights.shape() else {
        return Ok(None);
    };
    let spec = &conv.pool_spec;
    let channels = groups * outputs;
    if groups * inputs != spec.input_channels
        || channels != spec.output_channels
        || positions != spec.kernel_shape.iter().product::<usize>()
    {
        return Ok(None);
    }
    let bias = match numbers(bias)?.as_slice() {
        [one] => vec![*one; channels],
        bias => bias.to_vec(),
    };
    let axis = spec.data_format.shape(fact.shape.to_tvec())?.c_axis();
    let data_format = match spec.data_format.has_n() {
        true => DataFormat::NHWC,
        false => DataFormat::HWC,
    };
    Ok(Some(Found {
        input,
        input_axis: axis,
        output: node.id.into(),
        output_axis: axis,
        groups,
        weights: weights.into_shape(&[channels, positions, inputs])?,
        bias,
        window: Some(PoolSpec {
            data_format,
            ..spec.clone()
        }),
        rows: Rows::default(),
        add: None,
        activation: Activation::None,
        nodes: vec![node.id],
    }))
}

/// A sum of products with a constant over one dimension.
fn product(model: &TypedModel, node: &TypedNode, einsum: &EinSum) -> TractResult<Option<Found>> {
    let &[a, b] = node.inputs.as_slice() else {
        return Ok(None);
    };
    if einsum.q_params.is_some() || einsum.operating_dt != f32::datum_type() {
        return Ok(None);
    }
    let (input, weights, x, w) = match (constant(model, a)?, constant(model, b)?) {
        (None, Some(weights)) => (a, weights, 0, 1),
        (Some(weights), None) => (b, weights, 1, 0),
        _ => return Ok(None),
    };
    if model.outlet_fact(input)?.datum_type != f32::datum_type() {
        return Ok(None);
    }
    let fact = model.outlet_fact(input)?;
    let rank = fact.rank();
    // The dimensions that are summed over, those of the outputs, and the input's others with their places in the output.
    // Dimensions of one may come and go.
    let (mut summed, mut outputs, mut others) = (vec![], vec![], vec![]);
    let (mut removed, mut rest, mut added) = (vec![], vec![], vec![]);
    for axis in einsum.axes.iter_all_axes() {
        let parts = [&axis.inputs[x], &axis.inputs[w], &axis.outputs[0]];
        match parts.map(|places| places.as_slice()) {
            [&[x], &[w], &[]] if fact.shape[x] == weights.shape()[w].to_dim() => {
                summed.push((x, w));
            }
            [&[x], &[], &[]] if fact.shape[x].is_one() => removed.push(x),
            [&[], &[w], &[]] if weights.shape()[w] == 1 => rest.push(w),
            [&[], &[w], &[y]] => outputs.push((w, y)),
            [&[], &[], &[y]] => added.push(y),
            [&[x], &[], &[y]] => others.push((x, y)),
            _ => return Ok(None),
        }
    }
    // The outputs' dimension is the one that is not of one, if any is.
    outputs.sort_by_key(|(w, _)| weights.shape()[*w] != 1);
    let Some((of_outputs, output_axis)) = outputs.pop() else {
        return Ok(None);
    };
    for (w, y) in outputs {
        if weights.shape()[w] != 1 {
            return Ok(None);
        }
        rest.push(w);
        added.push(y);
    }
    others.sort_unstable();
    summed.sort_unstable();
    let Some((&(input_axis, _), more)) = summed.split_last() else {
        return Ok(None);
    };
    // Several dimensions are one where they are the last, one after the other.
    let are_last = summed
        .iter()
        .rev()
        .zip((0..rank).rev())
        .all(|((x, _), last)| *x == last);
    if !others.is_sorted_by_key(|(_, y)| *y) || !(more.is_empty() || are_last) {
        return Ok(None);
    }
    let order: Vec<usize> = [of_outputs]
        .into_iter()
        .chain(summed.iter().map(|(_, w)| *w))
        .chain(rest)
        .collect();
    let weights = (**weights).clone().permute_axes(&order)?;
    let channels = weights.shape()[0];
    let inputs = weights.shape()[1..].iter().product();
    // As the dimensions are once the channels are last.
    let moved = |axis: usize, channels: usize| axis - usize::from(axis > channels);
    let mut removed: TVec<usize> = removed.iter().map(|x| moved(*x, input_axis)).collect();
    let mut added: TVec<usize> = added.iter().map(|y| moved(*y, output_axis)).collect();
    removed.sort_unstable();
    added.sort_unstable();
    let rows = Rows {
        more_channels: more.len(),
        removed,
        added,
    };
    Ok(Some(Found {
        input,
        input_axis,
        output: node.id.into(),
        output_axis,
        groups: 1,
        weights: weights.into_shape(&[channels, 1, inputs])?,
        bias: vec![0.0; channels],
        window: None,
        rows,
        add: None,
        activation: Activation::None,
        nodes: vec![node.id],
    }))
}

/// The one node that uses a value, where it gives one of the same shape and type.
pub(super) fn next(model: &TypedModel, outlet: OutletId) -> TractResult<Option<&TypedNode>> {
    let Some(next) = only_successor(model, outlet)? else {
        return Ok(None);
    };
    let (before, after) = (model.outlet_fact(outlet)?, next.outputs.first());
    let keeps = after.is_some_and(|after| {
        after.fact.shape == before.shape && after.fact.datum_type == before.datum_type
    });
    Ok(Some(next).filter(|next| keeps && next.outputs.len() == 1))
}

/// The one node that uses a value, where the model does not give the value itself.
pub(super) fn only_successor(
    model: &TypedModel,
    outlet: OutletId,
) -> TractResult<Option<&TypedNode>> {
    let of_all = model.output_outlets()?.contains(&outlet);
    let successors = model.node(outlet.node).outputs[outlet.slot]
        .successors
        .as_slice();
    Ok(match successors {
        [one] if !of_all => Some(model.node(one.node)),
        _ => None,
    })
}

impl Found {
    /// Takes the nodes that follow into the layer, as far as they can be part of it and are of no other layer.
    pub(super) fn extend(
        &mut self,
        model: &TypedModel,
        is_free: impl Fn(usize) -> bool,
    ) -> TractResult<()> {
        while let Some(next) = next(model, self.output)?.filter(|next| is_free(next.id)) {
            let is_part = match next.op_as::<TypedBinOp>() {
                Some(op) => self.take_binary(model, next, op)?,
                None => self.take_function(next),
            };
            if !is_part {
                break;
            }
            self.output = next.id.into();
            self.nodes.push(next.id);
        }
        Ok(())
    }

    fn take_binary(
        &mut self,
        model: &TypedModel,
        node: &TypedNode,
        op: &TypedBinOp,
    ) -> TractResult<bool> {
        let &[a, b] = node.inputs.as_slice() else {
            return Ok(false);
        };
        let (other, is_first) = if a == self.output {
            (b, true)
        } else {
            (a, false)
        };
        if other == self.output {
            return Ok(false);
        }
        let kind = &op.0;
        let Some(value) = constant(model, other)? else {
            let is_alike = {
                let (ours, theirs) = (model.outlet_fact(self.output)?, model.outlet_fact(other)?);
                ours.shape == theirs.shape && theirs.datum_type == f32::datum_type()
            };
            let takes = is_alike
                && kind.is::<math::Add>()
                && self.add.is_none()
                && self.activation == Activation::None;
            if takes {
                self.add = Some(other);
            }
            return Ok(takes);
        };
        if let [bound] = numbers(value)?.as_slice()
            && (kind.is::<math::Max>() || kind.is::<math::Min>())
        {
            return Ok(self.clamp(kind.is::<math::Max>(), *bound));
        }
        if self.activation != Activation::None || self.add.is_some() {
            return Ok(false);
        }
        let Some(values) = self.of_channels(value)? else {
            return Ok(false);
        };
        let bias = self.bias.iter_mut().zip(&values);
        if kind.is::<math::Add>() {
            bias.for_each(|(bias, x)| *bias += x);
        } else if kind.is::<math::Sub>() && is_first {
            bias.for_each(|(bias, x)| *bias -= x);
        } else if kind.is::<math::Mul>() {
            bias.for_each(|(bias, x)| *bias *= x);
            let len = self.weights.len() / values.len();
            let mut weights = self.weights.try_as_plain_ram_mut()?;
            let weights = weights.as_slice_mut::<f32>()?;
            for (weights, x) in weights.chunks_exact_mut(len.max(1)).zip(&values) {
                weights.iter_mut().for_each(|weight| *weight *= x);
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Another bound of the activation.
    fn clamp(&mut self, is_lower: bool, bound: f32) -> bool {
        let (low, high) = match self.activation {
            Activation::None => (f32::NEG_INFINITY, f32::INFINITY),
            Activation::Clamp(low, high) => (low, high),
            _ => return false,
        };
        let (low, high) = match is_lower {
            true => (low.max(bound), high),
            false => (low, high.min(bound)),
        };
        let is_sound = low <= high;
        if is_sound {
            self.activation = Activation::Clamp(low, high);
        }
        is_sound
    }

    /// A constant's number for each channel, where it has such.
    fn of_channels(&self, value: &Tensor) -> TractResult<Option<Vec<f32>>> {
        let channels = self.bias.len();
        let rank = value.rank();
        let is_one = |(axis, size): (usize, &usize)| *size == 1 || axis == self.output_axis;
        let fits = value.shape().iter().enumerate().all(is_one);
        let values = numbers(value)?;
        Ok(match values.len() {
            1 => Some(vec![values[0]; channels]),
            n if n == channels && fits && rank > self.output_axis => Some(values),
            _ => None,
        })
    }

    fn take_function(&mut self, node: &TypedNode) -> bool {
        if self.activation != Activation::None {
            return false;
        }
        let function = node.op_as::<ElementWiseOp>().map(|op| &*op.0);
        self.activation = match function {
            Some(op) if op.is::<GeluExact>() => Activation::Gelu,
            Some(op) if op.is::<Silu>() => Activation::Silu,
            Some(op) if op.is::<HardSwish>() => Activation::HardSwish,
            _ => return false,
        };
        true
    }
}
