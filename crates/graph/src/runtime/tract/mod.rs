//! Networks run by tract.

mod functions;
mod layers;
mod operators;
mod plans;
mod samples;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use hearth_kernels::Pool;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};
use tract_onnx::prelude::multithread::{Executor, multithread_tract_scope};
use tract_onnx::prelude::{DatumType, Framework, IntoTValue, TValue, TVec, Tensor, TractResult};

use super::check::Signature;
use super::{Engine, HostTensor, Network, check_inputs, join};
use crate::onnx::{DataType, ValueInfo};
use crate::{Error, Result};
pub(super) use plans::plans_kept;
use plans::{Facts, Plans};

/// The threads that networks run on, started when the first needs them.
#[derive(Default)]
pub(super) struct Threads(OnceLock<Workers>);

#[derive(Clone)]
struct Workers {
    /// For our own operators, and for samples side by side.
    pool: Arc<Pool>,
    /// For tract's products.
    executor: Executor,
}

impl Threads {
    fn workers(&self, count: usize) -> Result<Workers> {
        if let Some(workers) = self.0.get() {
            return Ok(workers.clone());
        }
        let executor = guarded(|| {
            Ok(match count {
                0 | 1 => Executor::SingleThread,
                count => Executor::multithread_with_name(count, "tract"),
            })
        })?;
        let pool = || Arc::new(Pool::new(count.max(1)));
        let made = || Workers {
            pool: pool(),
            executor,
        };
        Ok(self.0.get_or_init(made).clone())
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Threads").finish_non_exhaustive()
    }
}

/// Reads an ONNX file.
pub(super) fn read(mut model: &[u8]) -> Result<ModelProto> {
    let read = guarded(|| tract_onnx::onnx().proto_model_for_read(&mut model));
    read.map_err(|error| Error::Onnx {
        problem: match error {
            Error::Runtime { problem, .. } => problem,
            other => other.to_string(),
        },
    })
}

/// A network run by tract: on the thread that calls, what takes long on the others too.
pub(super) struct TractNetwork {
    plans: Plans,
    signature: Signature,
    workers: Workers,
}

fn error(problem: impl ToString) -> Error {
    Error::Runtime {
        runtime: "tract",
        problem: problem.to_string(),
    }
}

/// Runs tract's code, whose panics on models that it does not expect become errors.
fn guarded<T>(run: impl FnOnce() -> TractResult<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(problem)) => Err(error(format!("{problem:#}"))),
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(error(format!("it gave up on the model: {said}")))
        }
    }
}

fn facts(graph: &GraphProto) -> Facts {
    let bytes = |weight: &TensorProto| weight.raw_data.len() + 4 * weight.float_data.len();
    Facts {
        has_convolutions: graph.node.iter().any(|node| node.op_type == "Conv"),
        weight_bytes: graph.initializer.iter().map(bytes).sum(),
    }
}

/// Refuses a graph with operators that there are none of.
fn check_known(graph: &GraphProto, onnx: &tract_onnx::Onnx) -> Result<()> {
    for node in &graph.node {
        if !onnx.op_register.0.contains_key(&node.op_type) {
            let (operator, name) = (&node.op_type, &node.name);
            return Err(error(format!("no operator {operator} (node {name:?})")));
        }
        for attribute in &node.attribute {
            for inner in attribute.g.iter().chain(&attribute.graphs) {
                check_known(inner, onnx)?;
            }
        }
    }
    Ok(())
}

/// Numbers the nodes' names: tract makes names of its own by adding to them, such as `a.1` to `a`, that others may have.
fn number_names(graph: &mut GraphProto) {
    for (i, node) in graph.node.iter_mut().enumerate() {
        if node.name.is_empty() {
            node.name = node.output.first().cloned().unwrap_or_default();
        }
        node.name = format!("{} ({i})", node.name);
    }
}

impl TractNetwork {
    /// Prepares a model to run on `count` threads.
    pub(super) fn load(
        mut model: ModelProto,
        signature: Signature,
        threads: &Threads,
        count: usize,
    ) -> Result<TractNetwork> {
        functions::write_out(&mut model);
        let mut onnx = tract_onnx::onnx();
        operators::register(&mut onnx.op_register);
        if let Some(graph) = &mut model.graph {
            check_known(graph, &onnx)?;
            number_names(graph);
        }
        let facts = model.graph.as_ref().map(facts).unwrap_or_default();
        let model = guarded(|| onnx.model_for_proto_model(&model))?;
        let workers = threads.workers(count)?;
        Ok(TractNetwork {
            plans: Plans::new(model, &signature, facts, &workers.pool)?,
            signature,
            workers,
        })
    }

    fn run_together(&self, inputs: &[HostTensor], executor: Executor) -> Result<Vec<HostTensor>> {
        let inputs = inputs
            .iter()
            .map(to_tract)
            .collect::<Result<TVec<TValue>>>()?;
        let outputs = multithread_tract_scope(executor, || self.plans.run(inputs))?;
        outputs.iter().map(|value| from_tract(value)).collect()
    }

    /// Runs sample by sample, as many at once as there are threads, each on one of them; those that would leave most threads
    /// without work run one after the other on all.
    fn run_apart(&self, inputs: &[HostTensor], samples: usize) -> Result<Vec<HostTensor>> {
        let Workers { pool, executor } = &self.workers;
        let bug = |what: &str| error(format!("{what}; this is a bug"));
        let run = |sample: usize, executor: Executor| {
            let row = |input: &HostTensor| input.slice_rows(sample..sample + 1);
            let inputs = inputs.iter().map(row).collect::<Option<Vec<_>>>();
            let inputs = inputs.ok_or_else(|| bug("a sample is missing"))?;
            self.run_together(&inputs, executor)
        };
        let over = samples % pool.threads();
        let at_once = samples - if 2 * over < pool.threads() { over } else { 0 };
        let done: Vec<OnceLock<Result<Vec<HostTensor>>>> =
            (0..at_once).map(|_| OnceLock::new()).collect();
        pool.run(at_once, |sample| {
            done[sample].get_or_init(|| run(sample, Executor::SingleThread));
        });
        let done = done.into_iter().map(|done| {
            let done = done.into_inner();
            done.unwrap_or_else(|| Err(bug("a sample did not run")))
        });
        let rest = (at_once..samples).map(|sample| run(sample, executor.clone()));
        let done = done.chain(rest).collect::<Result<Vec<_>>>()?;
        let outputs = (0..self.signature.outputs.len()).map(|output| {
            let rows = done.iter().map(|sample| sample.get(output));
            let rows = rows.collect::<Option<Vec<_>>>();
            rows.and_then(|rows| join(&rows))
                .ok_or_else(|| bug("samples differ in shape"))
        });
        outputs.collect()
    }
}

impl Network for TractNetwork {
    fn inputs(&self) -> &[ValueInfo] {
        &self.signature.inputs
    }

    fn outputs(&self) -> &[ValueInfo] {
        &self.signature.outputs
    }

    fn are_scores(&self, output: usize) -> bool {
        self.signature
            .are_scores
            .get(output)
            .copied()
            .unwrap_or(false)
    }

    fn defaults(&self) -> &[Option<f64>] {
        &self.signature.defaults
    }

    fn run(&self, inputs: &[HostTensor]) -> Result<Vec<HostTensor>> {
        check_inputs(self.inputs(), inputs)?;
        match inputs.first().and_then(HostTensor::rows) {
            Some(samples @ 2..) if self.plans.take_samples_apart() => {
                self.run_apart(inputs, samples)
            }
            _ => self.run_together(inputs, self.workers.executor.clone()),
        }
    }

    fn engine(&self) -> Engine {
        Engine::Tract
    }

    fn plans_kept(&self) -> Option<usize> {
        self.plans.kept_by_count()
    }

    fn plan(&self, shapes: &[Vec<usize>]) -> Result<()> {
        let executor = self.workers.executor.clone();
        multithread_tract_scope(executor, || self.plans.make_for(shapes))
    }

    fn weight_bytes(&self, plans: usize) -> Option<u64> {
        Some(self.plans.weight_bytes(plans))
    }
}

/// Each of tract's element types that networks take or give.
const TYPES: [(DataType, DatumType); 12] = [
    (DataType::Float, DatumType::F32),
    (DataType::Double, DatumType::F64),
    (DataType::Float16, DatumType::F16),
    (DataType::Int8, DatumType::I8),
    (DataType::Int16, DatumType::I16),
    (DataType::Int32, DatumType::I32),
    (DataType::Int64, DatumType::I64),
    (DataType::Uint8, DatumType::U8),
    (DataType::Uint16, DatumType::U16),
    (DataType::Uint32, DatumType::U32),
    (DataType::Uint64, DatumType::U64),
    (DataType::Bool, DatumType::Bool),
];

/// tract's name of an element type.
fn datum_type(dtype: DataType) -> Result<DatumType> {
    let found = TYPES.iter().find(|(ours, _)| *ours == dtype);
    found
        .map(|(_, theirs)| *theirs)
        .ok_or_else(|| unsupported(dtype))
}

fn to_tract(tensor: &HostTensor) -> Result<TValue> {
    let dtype = datum_type(tensor.dtype())?;
    guarded(|| {
        let mut out = Tensor::zero_dt(dtype, tensor.shape())?;
        out.as_bytes_mut().copy_from_slice(tensor.bytes());
        Ok(out.into_tvalue())
    })
}

fn from_tract(value: &Tensor) -> Result<HostTensor> {
    // Sizes are expressions inside of tract; as results they are numbers.
    let cast = guarded(|| {
        let to = match value.datum_type() {
            DatumType::TDim => DatumType::I64,
            other => other,
        };
        value.cast_to_dt(to).map(std::borrow::Cow::into_owned)
    })?;
    let dtype = TYPES
        .iter()
        .find(|(_, theirs)| *theirs == cast.datum_type())
        .map(|(ours, _)| *ours)
        .ok_or_else(|| unsupported(cast.datum_type()))?;
    HostTensor::new(dtype, cast.shape().to_vec(), cast.as_bytes().to_vec()).map_err(error)
}

fn unsupported(dtype: impl std::fmt::Debug) -> Error {
    error(format!("elements of type {dtype:?} are unsupported"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hearth_formats::pt2::Pt2Archive;

    use super::*;
    use crate::runtime::check::check;

    fn network(name: &str) -> TractNetwork {
        let path = format!("tests/fixtures/{name}.pt2");
        let archive = Pt2Archive::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        let model = crate::lower::lower(&archive.unwrap()).unwrap();
        let model = read(&model.to_bytes().unwrap()).unwrap();
        let signature = check(&model).unwrap();
        TractNetwork::load(model, signature, &Threads::default(), 2).unwrap()
    }

    #[test]
    fn networks_of_images_take_samples_apart() {
        for name in ["resnet", "vit", "convnext"] {
            assert!(network(name).plans.take_samples_apart(), "{name}");
        }
        // Without convolutions one plan serves batches of all sizes.
        assert!(!network("mlp").plans.take_samples_apart());
    }
}
