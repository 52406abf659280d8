//! How a network is run: by one plan for inputs of all shapes, by one for each shape, or by one for values too.
//!
//! A plan with symbols for sizes serves all shapes and is made once. Some operators can't be planned so, though, or find
//! out when they run that they need to know a size; then the network is planned again for each shape that comes, and the
//! last few plans are kept. So it is from the start where convolutions see images of one size and only their number varies:
//! then sizes are numbers all through. Where each sample is computed from itself alone, one plan for one sample does for any
//! number of them. Where shapes inside depend on what an input says, as the shape that another is to be brought to,
//! the small inputs are part of the plan with their values.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use hearth_kernels::Pool;
use tract_onnx::prelude::{
    InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, TDim, TValue, TVec, Tensor,
    TypedModel, TypedSimplePlan,
};
use tract_onnx::tract_hir::internal::IntoArcTensor;
use tract_onnx::tract_hir::ops::konst::Const;

use super::{datum_type, guarded, layers, samples};
use crate::Result;
use crate::onnx::{Dim, ValueInfo};
use crate::runtime::check::Signature;
use crate::runtime::is_batched;

/// Plans that are kept at least, and at most.
const KEPT: (usize, usize) = (2, 8);

/// The memory that plans may have for the weights, which each has in a layout of its own.
const KEPT_BYTES: u64 = 512 << 20;

/// Most elements of an input that becomes part of a plan.
const SMALL: usize = 64;

/// What a plan is for.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    /// The shape of each input.
    shapes: Vec<Vec<usize>>,
    /// The values of those that are part of the plan.
    values: Vec<Option<Arc<Tensor>>>,
}

type Plan = Arc<TypedSimplePlan>;

/// What has to be known before a plan is made.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Known {
    Nothing,
    Shapes,
    Values,
}

/// What is to be known of a network before it is planned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    pub has_convolutions: bool,
    pub weight_bytes: usize,
}

pub(super) struct Plans {
    model: InferenceModel,
    inputs: Vec<ValueInfo>,
    pool: Arc<Pool>,
    /// Of intermediate values, of all plans.
    memory: Arc<layers::Memory>,
    /// Whether a batch is computed sample by sample.
    is_apart: bool,
    /// For all shapes, where there is one.
    general: Option<Plan>,
    /// The least [`Known`] that was not seen to fail where more did not.
    known: AtomicU8,
    /// Bytes of the weights as they were read.
    weight_bytes: u64,
    /// How many plans are kept.
    kept: usize,
    /// By what they are for, the last used last.
    special: Mutex<VecDeque<(Key, Plan)>>,
    /// Held while one is made: others of the same shape wait for it, and memory holds one that is in the making.
    making: Mutex<()>,
    /// That it runs without our layers is told once, not for each shape.
    fallback: Once,
}

/// How many plans are kept of a network whose weights take so many bytes.
pub(in crate::runtime) fn plans_kept(weight_bytes: u64) -> usize {
    let most = KEPT_BYTES / weight_bytes.max(1);
    usize::try_from(most)
        .unwrap_or(KEPT.1)
        .clamp(KEPT.0, KEPT.1)
}

/// Bytes of the constants of a planned network.
fn constant_bytes(plan: &Plan) -> u64 {
    let nodes = plan.model().nodes().iter();
    let constants = nodes.filter(|node| node.op_is::<Const>());
    let facts = constants.flat_map(|node| &node.outputs);
    let sizes = facts.map(|output| output.fact.mem_size().as_i64().unwrap_or(0));
    sizes.map(i64::unsigned_abs).sum()
}

impl Plans {
    /// Plans the network.
    ///
    /// # Errors
    /// It can be planned neither for all shapes nor for small ones, and no input is small enough to be part of a plan.
    pub(super) fn new(
        model: InferenceModel,
        signature: &Signature,
        facts: Facts,
        pool: &Arc<Pool>,
    ) -> Result<Plans> {
        let inputs = signature.inputs.as_slice();
        let mut plans = Plans {
            model,
            inputs: inputs.to_vec(),
            pool: Arc::clone(pool),
            memory: Arc::default(),
            is_apart: false,
            general: None,
            known: AtomicU8::new(Known::Nothing as u8),
            weight_bytes: facts.weight_bytes as u64,
            kept: plans_kept(facts.weight_bytes as u64),
            special: Mutex::default(),
            making: Mutex::default(),
            fallback: Once::new(),
        };
        let typed = guarded(|| plans.model.clone().into_typed()?.into_decluttered());
        if facts.has_convolutions
            && is_only_count_open(inputs)
            && is_batched(inputs, &signature.outputs)
            && let Ok(typed) = &typed
            && plans.is_by_sample(typed)?
        {
            let row = |input: &ValueInfo| {
                [&[1], &input.dims.iter().map(small).collect::<Vec<_>>()[1..]].concat()
            };
            let one = Key {
                shapes: inputs.iter().map(row).collect(),
                values: vec![None; inputs.len()],
            };
            if plans.special(one).is_ok() {
                plans.is_apart = true;
                plans.known = AtomicU8::new(Known::Shapes as u8);
                return Ok(plans);
            }
        }
        let general = typed.and_then(|typed| plans.planned(&typed));
        match general {
            Ok(_) if facts.has_convolutions && is_only_count_open(inputs) => {
                plans.known = AtomicU8::new(Known::Shapes as u8);
            }
            Ok(plan) => plans.general = Some(plan),
            Err(error) => {
                // What fails for small sizes too is not the fault of the symbols.
                let small = inputs.iter().map(|input| input.dims.iter().map(small));
                let small = Key {
                    shapes: small.map(Iterator::collect).collect(),
                    values: vec![None; inputs.len()],
                };
                let may_tell = |input: &ValueInfo| input.dims.len() <= 1;
                let is_planned = plans.special(small).is_ok();
                if !is_planned && !inputs.iter().any(may_tell) {
                    return Err(error);
                }
            }
        }
        Ok(plans)
    }

    /// Whether a batch is to be run sample by sample.
    pub(super) fn take_samples_apart(&self) -> bool {
        self.is_apart
    }

    /// Whether each sample is computed from itself alone, by the symbol that counts them.
    fn is_by_sample(&self, model: &TypedModel) -> Result<bool> {
        let Some(Dim::Symbol(name)) = self.inputs.first().and_then(|input| input.dims.first())
        else {
            return Ok(false);
        };
        let Some(count) = model.symbols.get(name) else {
            return Ok(false);
        };
        let mixing = guarded(|| samples::what_mixes(model, &count))?;
        if let Some(what) = &mixing {
            tracing::debug!(what, "a batch is computed as one");
        }
        Ok(mixing.is_none())
    }

    /// A plan of a model that is free of what only its author needed.
    fn planned(&self, model: &TypedModel) -> Result<Plan> {
        let run = |mut model: TypedModel| {
            model.optimize()?;
            model.into_runnable()
        };
        let layered =
            guarded(|| layers::with_layers(model, &self.pool, &self.memory).and_then(run));
        layered.or_else(|error| {
            let plan = guarded(|| run(model.clone()))?;
            self.fallback.call_once(|| {
                tracing::warn!(%error, "a network runs by tract's own operators, which are slower");
            });
            Ok(plan)
        })
    }

    /// Runs the network.
    ///
    /// # Errors
    /// What tract says of it, by the plan for these very shapes.
    pub(super) fn run(&self, inputs: TVec<TValue>) -> Result<TVec<TValue>> {
        let known = self.seen();
        if known <= Known::Nothing as u8
            && let Some(plan) = &self.general
            && let Ok(outputs) = guarded(|| plan.run(inputs.clone()))
        {
            return Ok(outputs);
        }
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|input| input.shape().to_vec()).collect();
        let mut wrong = None;
        if known <= Known::Shapes as u8 {
            let values = vec![None; inputs.len()];
            match self.run_special(
                Key {
                    shapes: shapes.clone(),
                    values,
                },
                inputs.clone(),
            ) {
                Ok(outputs) => {
                    self.known.fetch_max(Known::Shapes as u8, Ordering::Relaxed);
                    return Ok(outputs);
                }
                Err(error) => wrong = Some(error),
            }
        }
        let is_small = |input: &TValue| input.rank() <= 1 && input.len() <= SMALL;
        let value = |input: &TValue| is_small(input).then(|| input.clone().into_arc_tensor());
        let values: Vec<Option<Arc<Tensor>>> = inputs.iter().map(value).collect();
        if let Some(error) = wrong.take_if(|_| values.iter().all(Option::is_none)) {
            return Err(error);
        }
        let outputs = self.run_special(Key { shapes, values }, inputs);
        match (outputs, wrong) {
            (Ok(outputs), _) => {
                self.known.fetch_max(Known::Values as u8, Ordering::Relaxed);
                Ok(outputs)
            }
            (Err(_), Some(error)) | (Err(error), None) => Err(error),
        }
    }

    fn run_special(&self, key: Key, mut inputs: TVec<TValue>) -> Result<TVec<TValue>> {
        let mut is_given = key.values.iter().map(Option::is_none);
        inputs.retain(|_| is_given.next().unwrap_or(true));
        let plan = self.special(key)?;
        guarded(|| plan.run(inputs))
    }

    /// A plan that is kept, from now on the last used.
    fn kept_plan(&self, key: &Key) -> Option<Plan> {
        let mut kept = self.special.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == key)?;
        let found = kept.remove(at)?;
        let plan = Arc::clone(&found.1);
        kept.push_back(found);
        Some(plan)
    }

    /// How many plans are kept, where it is the number of inputs alone that they are made for.
    pub(super) fn kept_by_count(&self) -> Option<usize> {
        let is_by_shape = self.general.is_none() || self.seen() == Known::Shapes as u8;
        let is_by_value = self.seen() == Known::Values as u8;
        let is_by_count = is_by_shape && !is_by_value && !self.is_apart;
        (is_by_count && is_only_count_open(&self.inputs)).then_some(self.kept)
    }

    /// Makes the plan for inputs of these shapes.
    ///
    /// # Errors
    /// What tract says.
    pub(super) fn make_for(&self, shapes: &[Vec<usize>]) -> Result<()> {
        let key = Key {
            shapes: shapes.to_vec(),
            values: vec![None; shapes.len()],
        };
        self.special(key).map(drop)
    }

    /// Bytes of the weights as they were read, and in the layouts of the plans, once there are so many of those.
    pub(super) fn weight_bytes(&self, plans: usize) -> u64 {
        // What lies within operators and graphs within them is not among the constants, but there.
        let bytes = |plan| constant_bytes(plan).max(self.weight_bytes);
        let general = self.general.as_ref().map(bytes);
        let special = {
            let kept = self.special.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().map(|(_, plan)| bytes(plan)).max()
        };
        let each = special.or(general).unwrap_or(self.weight_bytes);
        let special = match &self.general {
            _ if self.is_apart => 1,
            Some(_) if self.seen() == Known::Nothing as u8 => 0,
            _ => plans.clamp(1, self.kept) as u64,
        };
        let plans = each.saturating_mul(special);
        self.weight_bytes
            .saturating_add(general.unwrap_or(0))
            .saturating_add(plans)
    }

    fn seen(&self) -> u8 {
        self.known.load(Ordering::Relaxed)
    }

    /// The plan for inputs of these shapes and values.
    fn special(&self, key: Key) -> Result<Plan> {
        let dtypes = self.inputs.iter().map(|input| datum_type(input.dtype));
        let dtypes = dtypes.collect::<Result<Vec<_>>>()?;
        if let Some(plan) = self.kept_plan(&key) {
            return Ok(plan);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = self.kept_plan(&key) {
            return Ok(plan);
        }
        let plan = guarded(|| {
            let mut model = self.model.clone();
            let mut sizes = HashMap::new();
            for (input, shape) in self.inputs.iter().zip(&key.shapes) {
                for (dim, &size) in input.dims.iter().zip(shape) {
                    if let Dim::Symbol(name) = dim
                        && let Some(symbol) = model.symbols.get(name)
                    {
                        sizes.insert(symbol, TDim::from(size as i64));
                    }
                }
            }
            model.set_symbols(&sizes)?;
            let outlets = model.input_outlets()?.to_vec();
            let mut given = Vec::new();
            let each = dtypes.iter().zip(&key.shapes).zip(&key.values);
            for (&outlet, ((dtype, shape), value)) in outlets.iter().zip(each) {
                match value {
                    Some(value) => {
                        let fact = InferenceFact::try_from(value)?;
                        model.set_outlet_fact(outlet, fact)?;
                        model.node_mut(outlet.node).op = Box::new(Const::new(value.clone())?);
                    }
                    None => {
                        let shape = shape.iter().copied();
                        let fact = InferenceFact::dt_shape(*dtype, shape);
                        model.set_outlet_fact(outlet, fact)?;
                        given.push(outlet);
                    }
                }
            }
            model.set_input_outlets(&given)?;
            Ok(model)
        })
        .and_then(|model| {
            let typed = guarded(|| model.clone().into_typed()?.into_decluttered());
            // A rule that fails on the network is no reason not to run it without the rules.
            typed
                .and_then(|typed| self.planned(&typed))
                .or_else(|error| guarded(|| model.into_typed()?.into_runnable()).map_err(|_| error))
        })?;
        let mut kept = self.special.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.kept {
            kept.pop_front();
        }
        kept.push_back((key, Arc::clone(&plan)));
        Ok(plan)
    }
}

/// Whether how many samples there are is all that is not known of the inputs' shapes.
fn is_only_count_open(inputs: &[ValueInfo]) -> bool {
    let is_fixed = |dim: &Dim| matches!(dim, Dim::Fixed(_));
    let mut counts = inputs.iter().filter_map(|input| input.dims.first());
    let mut rest = inputs.iter().flat_map(|input| input.dims.iter().skip(1));
    !counts.all(is_fixed) && rest.all(is_fixed)
}

/// A size that a dimension may have.
fn small(dim: &Dim) -> usize {
    match dim {
        Dim::Fixed(n) => usize::try_from(*n).unwrap_or(0),
        _ => 2,
    }
}
