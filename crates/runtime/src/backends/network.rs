//! Exported networks.

use std::ffi::OsStr;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hearth_formats::pt2::Pt2Archive;
use hearth_formats::torch::ScalarType;
use hearth_formats::torchscript::DeclaredInput;
use hearth_graph::architectures;
use hearth_graph::lower::lower;
use hearth_graph::runtime::{
    Engine as GraphEngine, Engines, count_parameters, find, predicted_bytes, summarize,
};
use hearth_graph::script;
use hearth_hub::catalog::{
    Fault, NetworkConfig, NetworkEngine, NetworkFile, NetworkMeaning, Sound,
};
use hearth_hub::{Entry, Kind};
use hearth_kernels::Bytes;
use hearth_llm::{LoadObserver, ModelInfo};

use super::{Shared, failed};
use crate::engine::{Backend, Engine, Job, ModelKind, Need, Weights};
use crate::network::{Preparers, numbers};
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

    /// The engine that a network runs on.
    fn engine(&self, config: &NetworkConfig) -> GraphEngine {
        match config.engine {
            None => self.engines().preferred(),
            Some(NetworkEngine::Tract) => GraphEngine::Tract,
            Some(NetworkEngine::OnnxRuntime) => GraphEngine::OnnxRuntime,
        }
    }
}

/// How the network is run.
fn config(job: &Job) -> Result<NetworkConfig, Error> {
    let config = job.entry.network_config();
    config.map_err(|problem| Error::Internal {
        message: format!("model '{}' could not be loaded: {problem}", job.entry.name),
    })
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
        let config = config(job)?;
        let file = job.entry.bytes;
        let numbers = numbers(config.max_batch_size, usize::MAX).len();
        // The model as a whole, from which instances are made, and in each the engine's copies of the weights. How many of those
        // there are is known when it is loaded, and counted then.
        Ok(Need {
            read: file,
            weights: file,
            cache: 0,
            scratch: predicted_bytes(self.engine(&config), file, numbers),
        })
    }

    fn load(
        &self,
        job: &Job,
        need: Need,
        observer: &dyn LoadObserver,
    ) -> Result<Box<dyn Weights>, Error> {
        let config = config(job)?;
        let meaning = job.entry.network_meaning(&config);
        let meaning = meaning.map_err(|problem| Error::Internal {
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
        let (engines, engine) = (self.engines().clone(), self.engine(&config));
        Ok(Box::new(NetworkWeights {
            job: job.clone(),
            model,
            config,
            meaning,
            preparers: OnceLock::new(),
            engines,
            engine,
            preparation: self.shared.preparation.clone(),
        }))
    }

    fn verify(&self, entry: &Entry) -> Result<Sound, Fault> {
        let hashed_files = entry.verify_hashes()?;
        let config = entry.network_config().map_err(Fault::Network)?;
        entry.network_meaning(&config).map_err(Fault::Network)?;
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
/// inputs may be declared; a checkpoint's graph is built.
///
/// # Errors
/// It has no lowering, its tensors are not those of its architecture, or it is larger than such a file can be; inputs are declared of a file that says itself what they are.
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
        NetworkFile::Checkpoint(checkpoint) => {
            Ok(architectures::build(&checkpoint)?.to_bytes()?.into())
        }
    }
}

/// The number of a network's weights, as the heads of its tensors tell; `None` where they do not.
pub(crate) fn parameters(entry: &Entry) -> Option<u64> {
    let file = entry.place.as_ref().map(|place| place.file.as_path());
    let ending = file.and_then(Path::extension).and_then(OsStr::to_str);
    if let (Some(file), Some("onnx")) = (file, ending) {
        let file = File::open(file).ok()?;
        return count_parameters(&mut BufReader::new(file)).ok();
    }
    if let (Some(file), Some("pt2")) = (file, ending) {
        // It is mapped for as long as its heads are read, not read itself.
        return Some(program_parameters(&Pt2Archive::open(file).ok()?));
    }
    match entry.open_network().ok()? {
        NetworkFile::Pt2(archive) => Some(program_parameters(&archive)),
        NetworkFile::Checkpoint(checkpoint) => Some(checkpoint.parameters()),
        file => {
            let config = entry.network_config().ok()?;
            let model = network_model(file, &config.inputs).ok()?;
            Some(summarize(&model).ok()?.parameters)
        }
    }
}

/// Elements of a program's parameters, buffers and constants; 64-bit integers are counters and indices, and not counted.
fn program_parameters(archive: &Pt2Archive) -> u64 {
    let specs = archive.program().graph_module.signature.input_specs.iter();
    let tensors = specs.filter_map(|spec| archive.tensor(spec).ok().flatten());
    let weights = tensors.filter(|tensor| tensor.dtype() != ScalarType::Long);
    let elements = weights.map(|tensor| {
        let sizes = tensor.sizes().iter().map(|&size| size as u64);
        sizes.fold(1, u64::saturating_mul)
    });
    elements.fold(0, u64::saturating_add)
}

struct NetworkWeights {
    job: Job,
    model: Bytes,
    config: NetworkConfig,
    meaning: NetworkMeaning,
    /// Made by the first instance.
    preparers: OnceLock<Arc<Preparers>>,
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
            network.map_err(|error| refused(&self.job, error))?.into(),
            &self.config,
            (&self.meaning, &self.preparers),
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
