//! How a network is run: by one plan for inputs of all shapes, or by one for each shape.
//!
//! A plan with symbols for sizes serves all shapes and is made once. Some operators can't be planned so, though, or find
//! out when they run that they need to know a size; then the network is planned again for each shape that comes, and the
//! last few plans are kept.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::{
    InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, TDim, TValue, TVec,
    TypedSimplePlan,
};

use super::{datum_type, guarded};
use crate::Result;
use crate::onnx::{Dim, ValueInfo};

/// Plans that are kept. Each may have the weights in a layout of its own.
const KEPT: usize = 8;

/// The shape of each input.
type Shapes = Vec<Vec<usize>>;

type Plan = Arc<TypedSimplePlan>;

pub(super) struct Plans {
    model: InferenceModel,
    inputs: Vec<ValueInfo>,
    /// For all shapes, where there is one.
    general: Option<Plan>,
    /// It was seen to fail where a plan for the shape did not.
    is_general_unfit: AtomicBool,
    /// By shape, the last used last.
    special: Mutex<VecDeque<(Shapes, Plan)>>,
}

impl Plans {
    /// Plans the network.
    ///
    /// # Errors
    /// It can be planned neither for all shapes nor for small ones.
    pub(super) fn new(model: InferenceModel, inputs: &[ValueInfo]) -> Result<Plans> {
        let general = guarded(|| model.clone().into_optimized()?.into_runnable());
        let mut plans = Plans {
            model,
            inputs: inputs.to_vec(),
            general: None,
            is_general_unfit: AtomicBool::new(false),
            special: Mutex::default(),
        };
        match general {
            Ok(plan) => plans.general = Some(plan),
            Err(error) => {
                // What fails for small sizes too is not the fault of the symbols.
                let small = inputs.iter().map(|input| input.dims.iter().map(small));
                let small: Shapes = small.map(Iterator::collect).collect();
                plans.special(small).map_err(|_| error)?;
            }
        }
        Ok(plans)
    }

    /// Runs the network.
    ///
    /// # Errors
    /// What tract says of it, by the plan for these very shapes.
    pub(super) fn run(&self, inputs: TVec<TValue>) -> Result<TVec<TValue>> {
        let general = self.general.as_ref();
        let general = general.filter(|_| !self.is_general_unfit.load(Ordering::Relaxed));
        if let Some(plan) = general
            && let Ok(outputs) = guarded(|| plan.run(inputs.clone()))
        {
            return Ok(outputs);
        }
        let shapes = inputs.iter().map(|input| input.shape().to_vec()).collect();
        let plan = self.special(shapes)?;
        let outputs = guarded(|| plan.run(inputs))?;
        self.is_general_unfit.store(true, Ordering::Relaxed);
        Ok(outputs)
    }

    /// The plan for inputs of these shapes.
    fn special(&self, shapes: Shapes) -> Result<Plan> {
        let dtypes = self.inputs.iter().map(|input| datum_type(input.dtype));
        let dtypes = dtypes.collect::<Result<Vec<_>>>()?;
        // Held while it is made: others of the same shape wait for it, and memory holds one that is in the making.
        let mut kept = self.special.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(known, _)| *known == shapes);
        let plan = match found.and_then(|at| kept.remove(at)) {
            Some((_, plan)) => plan,
            None => guarded(|| {
                let mut model = self.model.clone();
                let mut sizes = HashMap::new();
                for (input, shape) in self.inputs.iter().zip(&shapes) {
                    for (dim, &size) in input.dims.iter().zip(shape) {
                        if let Dim::Symbol(name) = dim
                            && let Some(symbol) = model.symbols.get(name)
                        {
                            sizes.insert(symbol, TDim::from(size as i64));
                        }
                    }
                }
                model.set_symbols(&sizes)?;
                for (i, (dtype, shape)) in dtypes.iter().zip(&shapes).enumerate() {
                    let shape = shape.iter().copied();
                    model.set_input_fact(i, InferenceFact::dt_shape(*dtype, shape))?;
                }
                model.into_optimized()?.into_runnable()
            })?,
        };
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((shapes, Arc::clone(&plan)));
        Ok(plan)
    }
}

/// A size that a dimension may have.
fn small(dim: &Dim) -> usize {
    match dim {
        Dim::Fixed(n) => usize::try_from(*n).unwrap_or(0),
        _ => 2,
    }
}
