//! An exported network that is loaded.

mod batcher;
mod warm_up;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hearth_graph::onnx::ValueInfo;
use hearth_graph::runtime::{Engine as GraphEngine, Network, SampleFormat, Samples, is_batched};
use hearth_hub::catalog::NetworkConfig;
use hearth_llm::engine::{DEFAULT_PRIORITY, Shutdown};
use serde_json::{Map, Value};

use std::sync::Arc;

use crate::Error;
use crate::engine::Engine;
use crate::figures::Figures;
use crate::preparation::Preparation;
use batcher::{Batcher, Batching, Ran, Sample};

/// Numbers for requests, so that a batch knows whether it is of several.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// What is to be predicted.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// One input of the network, or several: arrays of numbers, objects of tensors by name.
    pub inputs: Value,
    /// Each element of `inputs` is one input; else its shape tells.
    pub each: bool,
    /// Whether inputs may run together, with each other and those of other requests.
    pub batching: bool,
    /// 0 to 10, higher is run first.
    pub priority: u8,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl PredictRequest {
    /// A request with nothing said about how it is run.
    pub fn new(inputs: Value) -> Self {
        Self {
            inputs,
            each: false,
            batching: true,
            priority: DEFAULT_PRIORITY,
            deadline: None,
        }
    }
}

/// What a network gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// For each input, or the one, what the network gives: a number or nested arrays, by name where it has several outputs.
    pub result: Value,
    /// Inputs that were sent.
    pub input_count: usize,
    /// Whether they were sent as a batch.
    pub is_batch: bool,
    /// Most inputs that ran as one, those of other requests included.
    pub batch_size: usize,
    /// Whether some ran together with other requests' inputs.
    pub shared: bool,
}

/// An exported network at work.
pub struct NetworkService {
    name: String,
    engine: GraphEngine,
    outputs: Vec<ValueInfo>,
    format: SampleFormat,
    is_batched: bool,
    batcher: Batcher,
    /// Bytes that the engine's copy of the weights is expected to take.
    memory_bytes: u64,
    preparation: Preparation,
}

impl NetworkService {
    /// Starts a network that an engine has prepared, after a first run.
    pub(crate) fn start(
        name: String,
        network: Box<dyn Network>,
        config: &NetworkConfig,
        memory_bytes: u64,
        preparation: Preparation,
    ) -> Result<Self, Error> {
        if let Err(problem) = warm_up::warm_up(&*network) {
            tracing::info!(model = name, problem, "not warmed up");
        }
        let is_batched = is_batched(network.inputs(), network.outputs());
        let batching = Batching {
            is_batched,
            most: config.max_batch_size,
            delay: config.max_delay,
        };
        let cannot_start = |error: std::io::Error| Error::Internal {
            message: format!("network '{name}' cannot be started: {error}"),
        };
        Ok(Self {
            engine: network.engine(),
            outputs: network.outputs().to_vec(),
            format: SampleFormat::new(network.inputs(), is_batched),
            is_batched,
            batcher: Batcher::start(network, batching).map_err(cannot_start)?,
            memory_bytes,
            preparation,
            name,
        })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The engine that runs it: `tract` or `onnxruntime`.
    pub fn runtime(&self) -> String {
        self.engine.to_string()
    }

    /// Whether inputs can run together: the network's first dimension counts them.
    pub fn is_batched(&self) -> bool {
        self.is_batched
    }

    /// Runs the network. Callers have it from their lease, which counts it.
    pub(crate) async fn predict(
        self: &Arc<Self>,
        request: PredictRequest,
    ) -> Result<Prediction, Error> {
        let PredictRequest {
            inputs,
            each,
            batching,
            priority,
            deadline,
        } = request;
        let service = Arc::clone(self);
        let read = move || {
            match each {
                true => service.format.read_batch("inputs", &inputs),
                false => service.format.read("inputs", &inputs),
            }
            .map_err(|problem| Error::invalid("inputs", problem))
        };
        let Samples { samples, is_batch } = self.preparation.run(read).await?;
        let input_count = samples.len();
        let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let samples = samples.into_iter().map(|inputs| Sample {
            inputs,
            alone: !batching,
            priority,
            deadline,
            request: number,
        });
        let mut ran = Vec::with_capacity(input_count);
        for answer in self.batcher.submit(samples.collect())? {
            let broken = || Error::Internal {
                message: format!("network '{}' has ended unexpectedly", self.name),
            };
            ran.push(answer.await.map_err(|_| broken())??);
        }
        let batch_size = ran.iter().map(|ran| ran.batch).max().unwrap_or(0);
        let shared = ran.iter().any(|ran| ran.shared);
        let service = Arc::clone(self);
        let write = move || {
            let mut results: Vec<Value> = ran.iter().map(|ran| service.write(ran)).collect();
            Ok(match (is_batch, results.pop()) {
                (false, Some(result)) => result,
                (_, last) => results.into_iter().chain(last).collect(),
            })
        };
        Ok(Prediction {
            result: self.preparation.run(write).await?,
            input_count,
            is_batch,
            batch_size,
            shared,
        })
    }

    /// The outputs of a sample: as it is where there is one, else by name.
    fn write(&self, ran: &Ran) -> Value {
        match ran.outputs.as_slice() {
            [output] => output.to_json(),
            outputs => {
                let members = self.outputs.iter().zip(outputs);
                let members = members.map(|(info, output)| (info.name.clone(), output.to_json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

impl Engine for NetworkService {
    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    fn health(&self) -> Result<(), Error> {
        match self.batcher.is_running() {
            true => Ok(()),
            false => Err(Error::Internal {
                message: format!("the thread of network '{}' has ended", self.name),
            }),
        }
    }

    fn figures(&self) -> Option<Figures> {
        None
    }

    fn shutdown(&self, how: Shutdown) {
        self.batcher.shutdown(how);
    }

    fn network(self: Arc<Self>) -> Option<Arc<NetworkService>> {
        Some(self)
    }
}
