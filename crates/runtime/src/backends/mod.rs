//! The kinds of models that can be loaded.

mod embedding;
mod need;
mod network;
mod text;

use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_kernels::{KernelError, Pool};
use hearth_llm::LoadOptions;
use hearth_llm::engine::EngineError;
use hearth_llm::tokenizer::Tokenizer;

use crate::config::RuntimeConfig;
use crate::engine::{Backend, Job, Need};
use crate::preparation::Preparation;
use crate::{Error, machine};

pub use network::network_model;
pub(crate) use network::parameters as network_parameters;

/// What the backends of the text engine share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The threads that all models compute on.
    pub pool: Arc<Pool>,
    pub config: Arc<RuntimeConfig>,
    pub preparation: Preparation,
}

/// All kinds there are, in the order in which they are asked whether a model is theirs. The first is also asked to load
/// what is nobody's, and says what is wrong with it.
pub(crate) fn all(shared: &Shared) -> Vec<Arc<dyn Backend>> {
    vec![
        Arc::new(text::TextBackend(shared.clone())),
        Arc::new(embedding::EmbeddingBackend(shared.clone())),
        Arc::new(network::NetworkBackend::new(shared.clone())),
    ]
}

/// What loading a model of the text engine begins with.
struct Opened {
    checkpoint: Checkpoint,
    options: LoadOptions,
}

fn tokenizer(job: &Job, checkpoint: &Checkpoint) -> Result<Arc<Tokenizer>, Error> {
    let tokenizer = Tokenizer::open(checkpoint).map_err(|error| failed(job, &error))?;
    Ok(Arc::new(tokenizer))
}

impl Shared {
    /// Opens a model's files.
    fn open(&self, job: &Job) -> Result<Opened, Error> {
        let options = LoadOptions {
            precision: self.config.precision,
            quantize: job.quantize.target()?,
        };
        let checkpoint = job.entry.open().map_err(|error| failed(job, &error))?;
        Ok(Opened {
            checkpoint,
            options,
        })
    }

    /// The same, where the engine knows models of its like: what is not supported is told before memory is sought for it.
    fn open_known(&self, job: &Job) -> Result<Opened, Error> {
        let opened = self.open(job)?;
        hearth_llm::kind_of(&opened.checkpoint).map_err(|error| refused(job, error))?;
        Ok(opened)
    }
}

/// A model's files are not what they should be.
fn failed(job: &Job, error: &dyn std::error::Error) -> Error {
    Error::Internal {
        message: format!("model '{}' could not be loaded: {error}", job.entry.name),
    }
}

/// An engine refuses to start; what it needs for that is memory and threads.
fn cannot_start(name: &str, need: Need, budget: u64, error: EngineError) -> Error {
    match error {
        EngineError::Start { message } => Error::InsufficientMemory {
            message: format!("model '{name}' cannot be started: {message}"),
            needed: need.instance(),
            budget,
            holders: Vec::new(),
        },
        other => other.into(),
    }
}

/// The text engine's loader refuses a model.
fn refused(job: &Job, error: hearth_llm::Error) -> Error {
    let name = &job.entry.name;
    match error {
        hearth_llm::Error::Architecture { .. } | hearth_llm::Error::Unsupported { .. } => {
            Error::Unsupported {
                param: Some("model".into()),
                message: format!("model '{name}' is not supported: {error}"),
            }
        }
        hearth_llm::Error::Kernel(KernelError::OutOfMemory { bytes, .. }) => {
            Error::InsufficientMemory {
                message: format!(
                    "the system refuses {} for model '{name}': {error}",
                    machine::size(bytes as u64)
                ),
                needed: bytes as u64,
                budget: job.budget,
                holders: Vec::new(),
            }
        }
        hearth_llm::Error::Cancelled => Error::Cancelled,
        other => failed(job, &other),
    }
}
