//! Exported networks.

use std::sync::{Arc, OnceLock};

use hearth_formats::torchscript::DeclaredInput;
use hearth_graph::lower::lower;
use hearth_graph::runtime::{Engine as GraphEngine, Engines, find, summarize};
use hearth_graph::script;
use hearth_hub::catalog::{Fault, NetworkConfig, NetworkEngine, NetworkFile, Sound};
use hearth_hub::{Entry, Kind};
use hearth_kernels::Bytes;
use hearth_llm::{LoadObserver, ModelInfo};

use super::{Shared, failed};
use crate::engine::{Backend, Engine, Job, ModelKind, Need, Weights};
use crate::preparation::Preparation;
use crate::{Error, NetworkService};

/// Requests that an instance takes at a time: those that wait within it can be batched.
const CONCURRENCY: usize = 256;

pub(super) struct NetworkBackend {
    shared: Shared,
    /// Looked for when the first network is loaded.
    engines: OnceLock<Engines>,
}

impl NetworkBackend {
    pub fn new(shared: Shared) -> Self {
        Self {
            shared,
            engines: OnceLock::new(),
        }
    }

    fn engines(&self) -> &Engines {
        self.engines.get_or_init(|| {
            let threads = self.shared.pool.threads();
            let (engines, refused) = Engines::with_libraries(find::candidates(), threads);
            for (candidate, problem) in refused {
                tracing::debug!(path = %candidate.path.display(), problem, "no ONNX Runtime");
            }
            tracing::info!("exported networks run on {}", engines.preferred());
            engines
        })
    }
}

impl Backend for NetworkBackend {
    fn kind(&self) -> ModelKind {
        ModelKind::Network
    }

    fn takes(&self, entry: &Entry) -> bool {
        entry.is_network()
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn predict(&self, job: &Job) -> Result<Need, Error> {
        if let Kind::Unknown(problem) = &job.entry.kind {
            return Err(Error::Internal {
                message: format!("model '{}' could not be loaded: {problem}", job.entry.name),
            });
        }
        // The model as a whole, from which instances are made, and in each the engine's copy of the weights.
        Ok(Need {
            read: job.entry.bytes,
            weights: job.entry.bytes,
            cache: 0,
            scratch: job.entry.bytes,
        })
    }

    fn load(
        &self,
        job: &Job,
        need: Need,
        observer: &dyn LoadObserver,
    ) -> Result<Box<dyn Weights>, Error> {
        let config = job
            .entry
            .network_config()
            .map_err(|problem| Error::Internal {
                message: format!("model '{}' could not be loaded: {problem}", job.entry.name),
            })?;
        let file = job
            .entry
            .open_network()
            .map_err(|error| failed(job, &error))?;
        let model = network_model(file, &config.inputs).map_err(|error| refused(job, error))?;
        if !observer.loaded(need.read) {
            return Err(Error::Cancelled);
        }
        let engines = self.engines().clone();
        let engine = match config.engine {
            None => engines.preferred(),
            Some(NetworkEngine::Tract) => GraphEngine::Tract,
            Some(NetworkEngine::OnnxRuntime) => GraphEngine::OnnxRuntime,
        };
        Ok(Box::new(NetworkWeights {
            job: job.clone(),
            model,
            config,
            engines,
            engine,
            preparation: self.shared.preparation.clone(),
        }))
    }

    fn verify(&self, entry: &Entry) -> Result<Sound, Fault> {
        let hashed_files = entry.verify_hashes()?;
        let config = entry.network_config().map_err(Fault::Network)?;
        let model = network_model(entry.open_network()?, &config.inputs);
        let summary = model.and_then(|model| summarize(&model));
        let summary = summary.map_err(|error| Fault::Network(error.to_string()))?;
        Ok(Sound {
            tensors: summary.tensors,
            bytes: summary.tensor_bytes,
            hashed_files,
        })
    }
}

/// The network as an ONNX file, in memory; a program of torch.export is lowered, and so is a TorchScript module, whose
/// inputs may be declared.
///
/// # Errors
/// It has no lowering, or is larger than such a file can be; inputs are declared of a file that says itself what they are.
pub fn network_model(file: NetworkFile, declared: &[DeclaredInput]) -> hearth_graph::Result<Bytes> {
    if let (false, Some(input)) = (matches!(file, NetworkFile::Script(_)), declared.first()) {
        return Err(hearth_graph::Error::Input {
            name: input.name.clone(),
            problem: "inputs are declared for TorchScript alone; this file says what they are"
                .into(),
        });
    }
    match file {
        NetworkFile::Onnx(bytes) => Ok(bytes),
        NetworkFile::Pt2(archive) => Ok(lower(&archive)?.to_bytes()?.into()),
        NetworkFile::Script(archive) => Ok(script::lower(&archive, declared)?.to_bytes()?.into()),
    }
}

struct NetworkWeights {
    job: Job,
    model: Bytes,
    config: NetworkConfig,
    engines: Engines,
    engine: GraphEngine,
    preparation: Preparation,
}

impl Weights for NetworkWeights {
    fn memory_bytes(&self) -> u64 {
        self.model.len() as u64
    }

    fn info(&self) -> Option<&ModelInfo> {
        None
    }

    fn start(&self) -> Result<Arc<dyn Engine>, Error> {
        let network = self.engines.load(&self.model, self.engine);
        Ok(Arc::new(NetworkService::start(
            (self.job.entry.name.clone(), self.job.entry.version()),
            network.map_err(|error| refused(&self.job, error))?,
            &self.config,
            self.model.len() as u64,
            self.preparation.clone(),
        )?))
    }
}

/// The lowering or an engine refuses a network.
fn refused(job: &Job, error: hearth_graph::Error) -> Error {
    match error {
        hearth_graph::Error::UnsupportedOperators { .. } | hearth_graph::Error::Node { .. } => {
            Error::Unsupported {
                param: Some("model".into()),
                message: format!("model '{}' is not supported: {error}", job.entry.name),
            }
        }
        other => failed(job, &other),
    }
}
