//! The narrow waist: what a model of any kind is to the runtime.
//!
//! A [`Backend`] makes [`Weights`] of a model's files, and those start any number of [`Engine`]s, which share them. The
//! runtime counts, loads, dispatches and unloads by these three alone. What an engine does for requests is a service of
//! its own kind, which [`Engine`] hands out by a method for each kind: a new kind is a file in [`crate::backends`], a
//! line in its list, and such a method.

use std::sync::Arc;

use hearth_hub::Entry;
use hearth_hub::catalog::{Fault, Sound};
use hearth_llm::engine::Shutdown;
use hearth_llm::{LoadObserver, ModelInfo};
use serde::Serialize;

use crate::figures::Figures;
use crate::{EmbeddingService, Error, NetworkService, TextService};

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelKind {
    /// Generating text.
    Text,
    /// Turning text into vectors.
    Embedding,
    /// Running an exported network: tensors in, tensors out.
    Network,
}

impl ModelKind {
    /// What a model of this kind does, for messages.
    pub(crate) fn does(self) -> &'static str {
        match self {
            Self::Text => "generates text",
            Self::Embedding => "makes embeddings",
            Self::Network => "is an exported network",
        }
    }

    /// What a model of another kind does not.
    pub(crate) fn does_not(self) -> &'static str {
        match self {
            Self::Text => "generates no text",
            Self::Embedding => "makes no embeddings",
            Self::Network => "is no exported network",
        }
    }
}

/// How a model's weights are put into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantize {
    /// As they are stored.
    No,
    /// With at most this many bits each, 8 or 4; what is stored smaller stays so.
    Bits(u8),
}

impl Quantize {
    /// For the text engine's loader.
    pub(crate) fn target(self) -> Result<Option<hearth_llm::Quantize>, Error> {
        match self {
            Self::No => Ok(None),
            Self::Bits(8) => Ok(Some(hearth_llm::Quantize::Eight)),
            Self::Bits(4) => Ok(Some(hearth_llm::Quantize::Four)),
            Self::Bits(other) => Err(Error::invalid(
                "bits",
                format!("bits: expected 8 or 4, got {other}"),
            )),
        }
    }
}

/// A model to load, and how.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub entry: Entry,
    pub quantize: Quantize,
    /// Bytes that the model and one instance may take at most.
    pub budget: u64,
}

/// Bytes that a model will take, told from its headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Bytes of weights that are read.
    pub read: u64,
    /// Bytes of weights in memory, which instances share.
    pub weights: u64,
    /// Bytes of each instance's cache.
    pub cache: u64,
    /// Bytes of each instance's other buffers.
    pub scratch: u64,
}

impl Need {
    /// Bytes of one instance, besides the weights.
    pub fn instance(&self) -> u64 {
        self.cache.saturating_add(self.scratch)
    }

    /// Bytes of the weights and `instances` instances.
    pub fn total(&self, instances: usize) -> u64 {
        let instances = self.instance().saturating_mul(instances as u64);
        self.weights.saturating_add(instances)
    }
}

/// Loads models of one kind. All methods block.
pub(crate) trait Backend: Send + Sync {
    /// The kind.
    fn kind(&self) -> ModelKind;

    /// Whether the model is one of this kind, as far as its headers tell.
    fn takes(&self, entry: &Entry) -> bool;

    /// Requests that an instance works on at a time where settings name no number.
    fn concurrency(&self) -> usize;

    /// What the model will take in memory.
    ///
    /// # Errors
    /// Where its headers cannot be read or make no sense.
    fn predict(&self, job: &Job) -> Result<Need, Error>;

    /// Reads the weights. `observer` is told of the bytes, and may end it.
    ///
    /// # Errors
    /// Why the model cannot be loaded; [`Error::Cancelled`].
    fn load(
        &self,
        job: &Job,
        need: Need,
        observer: &dyn LoadObserver,
    ) -> Result<Box<dyn Weights>, Error>;

    /// Reads the model's files to the end, as those of a checkpoint unless told otherwise.
    ///
    /// # Errors
    /// What is wrong with them.
    fn verify(&self, entry: &Entry) -> Result<Sound, Fault> {
        entry.verify()
    }
}

/// A model's weights in memory. Dropping them frees it, once all engines have been shut down.
pub(crate) trait Weights: Send + Sync {
    /// Bytes that they take.
    fn memory_bytes(&self) -> u64;

    /// What the model says about itself, where it is one of the text engine's.
    fn info(&self) -> Option<&ModelInfo>;

    /// Starts another engine over them, with caches of its own. Blocks.
    ///
    /// # Errors
    /// Where memory or a thread is refused.
    fn start(&self) -> Result<Arc<dyn Engine>, Error>;
}

/// A model at work.
pub(crate) trait Engine: Send + Sync {
    /// Bytes that it takes besides the weights.
    fn memory_bytes(&self) -> u64;

    /// Whether it takes requests.
    ///
    /// # Errors
    /// Why not.
    fn health(&self) -> Result<(), Error>;

    /// What it is doing and has done.
    fn figures(&self) -> Option<Figures>;

    /// Takes no more requests and ends as told; blocks until it has ended and holds no weights or caches any more.
    fn shutdown(&self, how: Shutdown);

    /// As a text model, if it is one.
    fn text(self: Arc<Self>) -> Option<Arc<TextService>> {
        None
    }

    /// As an embedding model, if it is one.
    fn embedding(self: Arc<Self>) -> Option<Arc<EmbeddingService>> {
        None
    }

    /// As an exported network, if it is one.
    fn network(self: Arc<Self>) -> Option<Arc<NetworkService>> {
        None
    }
}
