//! Operators that tract lacks and that are no functions of others, or that it is slow at, computed here.
//!
//! Each is a file with the operator as ONNX's documents define it. Most are rare in networks: what counts is that they are
//! right, so numbers are computed in double precision, but for attention and norms.

mod affine_grid;
mod attention;
mod bit_cast;
mod center_crop_pad;
mod col2im;
mod compress;
mod cumulative;
mod det;
mod layer_normalization;
mod max_unpool;
mod reverse_sequence;
mod roi_align;
mod tensor_scatter;
mod unique;

use std::fmt::Debug;
use std::sync::Arc;

use hearth_kernels::Pool;
use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// Reads an operator's settings from a node.
type Read = fn(&ParsingContext, &NodeProto) -> TractResult<Arc<dyn Operator>>;

const OPERATORS: [(&str, Read); 15] = [
    ("AffineGrid", affine_grid::read),
    ("Attention", attention::read),
    ("BitCast", bit_cast::read),
    ("CenterCropPad", center_crop_pad::read),
    ("Col2Im", col2im::read),
    ("Compress", compress::read),
    ("CumProd", cumulative::read),
    ("CumSum", cumulative::read),
    ("Det", det::read),
    ("LayerNormalization", layer_normalization::read),
    ("MaxUnpool", max_unpool::read),
    ("ReverseSequence", reverse_sequence::read),
    ("RoiAlign", roi_align::read),
    ("TensorScatter", tensor_scatter::read),
    ("Unique", unique::read),
];

/// Adds the operators to those that tract knows.
pub(super) fn register(known: &mut OnnxOpRegister) {
    for (name, _) in OPERATORS {
        known.insert(name, ours);
    }
}

/// An operator with its settings.
trait Operator: Debug + Send + Sync {
    /// What it gives for such inputs.
    ///
    /// # Errors
    /// It takes no such inputs, or has to know more of them.
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>>;

    /// What it gives for these inputs.
    ///
    /// # Errors
    /// The inputs don't fit together.
    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>>;

    /// The same, on the threads of a pool.
    ///
    /// # Errors
    /// As [`Operator::eval`].
    fn eval_on(&self, _: &Pool, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        self.eval(inputs)
    }

    /// Whether the first output is of the first input's type and shape.
    fn keeps_shape(&self) -> bool {
        false
    }

    /// Whether all outputs have a dimension of the first input, of so many, as it is, and each place along it depends on the
    /// same of that input alone, and on other inputs whole.
    fn carries(&self, _dim: usize, _rank: usize) -> bool {
        false
    }
}

/// An operator as a node of tract's.
#[derive(Clone)]
pub(super) struct Ours {
    name: String,
    operator: Arc<dyn Operator>,
    /// Whose threads it runs on; that of the caller without one.
    pool: Option<Arc<Pool>>,
    /// Which of what it gives the node has names for.
    wanted: TVec<bool>,
}

fn ours(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (_, read) = OPERATORS
        .iter()
        .find(|(name, _)| *name == node.op_type)
        .context("no operator of this name")?;
    let ours = Ours {
        name: node.op_type.clone(),
        operator: read(context, node)?,
        pool: None,
        wanted: node.output.iter().map(|name| !name.is_empty()).collect(),
    };
    Ok((expand(ours), vec![]))
}

impl Debug for Ours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.operator)
    }
}

impl Ours {
    /// The same, on the threads of a pool.
    pub(super) fn on(&self, pool: &Arc<Pool>) -> Ours {
        Ours {
            pool: Some(Arc::clone(pool)),
            ..self.clone()
        }
    }

    /// As of its operator.
    pub(super) fn carries(&self, dim: usize, rank: usize) -> bool {
        self.operator.carries(dim, rank)
    }
}

impl PartialEq for Ours {
    fn eq(&self, other: &Ours) -> bool {
        Arc::ptr_eq(&self.operator, &other.operator)
    }
}

impl Eq for Ours {}

impl Op for Ours {
    fn name(&self) -> StaticName {
        self.name.clone().into()
    }

    op_as_typed_op!();
}

impl EvalOp for Ours {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let outputs = match &self.pool {
            Some(pool) => self.operator.eval_on(pool, &inputs),
            None => self.operator.eval(&inputs),
        }?;
        Ok(outputs.into_iter().map(Tensor::into_tvalue).collect())
    }
}

impl TypedOp for Ours {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.operator.facts(inputs)
    }

    as_op!();
}

impl Expansion for Ours {
    fn name(&self) -> StaticName {
        self.name.clone().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.wanted.iter().filter(|wanted| **wanted).count())
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let mut outlets = model.wire_node(prefix, self.clone(), inputs)?;
        let mut wanted = self.wanted.iter();
        outlets.retain(|_| wanted.next() == Some(&true));
        Ok(outlets)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        if self.operator.keeps_shape()
            && let (Some(input), Some(output)) = (inputs.first(), outputs.first())
        {
            solver.equals(&input.datum_type, &output.datum_type)?;
            solver.equals(&input.shape, &output.shape)?;
        }
        Ok(())
    }
}

/// The elements as numbers.
fn numbers(tensor: &Tensor) -> TractResult<Vec<f64>> {
    let cast = tensor.cast_to::<f64>()?;
    Ok(cast.try_as_plain_ram()?.as_slice::<f64>()?.to_vec())
}

/// The elements as integers.
fn integers(tensor: &Tensor) -> TractResult<Vec<i64>> {
    let cast = tensor.cast_to::<i64>()?;
    Ok(cast.try_as_plain_ram()?.as_slice::<i64>()?.to_vec())
}

/// A tensor of numbers, as elements of a type.
fn tensor(dtype: DatumType, shape: &[usize], values: &[f64]) -> TractResult<Tensor> {
    let tensor = Tensor::from_shape(shape, values)?;
    Ok(tensor.cast_to_dt(dtype)?.into_owned())
}

/// The integers that an input is known to be when the network is planned.
fn known(inputs: &[&TypedFact], at: usize) -> TractResult<Vec<i64>> {
    let fact = inputs.get(at).context("an input is missing")?;
    let value = fact.konst.as_ref().context("an input has to be known")?;
    integers(value)
}

/// An input.
fn input<T>(inputs: &[T], at: usize) -> TractResult<&T> {
    inputs.get(at).context("an input is missing")
}

/// A dimension's number, counted from the end where negative.
fn axis(axis: i64, rank: usize) -> TractResult<usize> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    let found = usize::try_from(from_start).ok().filter(|a| *a < rank);
    found.with_context(|| format!("no axis {axis} in {rank} dimensions"))
}

/// A size, from a number that a model gives.
fn size(n: i64) -> TractResult<usize> {
    usize::try_from(n)
        .ok()
        .filter(|n| *n <= 1 << 29)
        .with_context(|| format!("{n} is no size"))
}

/// The elements of a shape that is to be made.
fn volume(shape: &[usize]) -> TractResult<usize> {
    let volume = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let volume = volume.filter(|n| *n <= 1 << 29);
    volume.with_context(|| format!("a tensor of {shape:?} is too large"))
}

/// A shape's parts before, at and after a dimension, as numbers of elements.
fn parts(shape: &[usize], at: usize) -> (usize, usize, usize) {
    let count = |dims: &[usize]| dims.iter().product();
    (count(&shape[..at]), shape[at], count(&shape[at + 1..]))
}
