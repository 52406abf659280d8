//! An embedding model that is loaded: its tokenizer and its embedder.

use std::sync::Arc;
use std::time::Instant;

use hearth_llm::ModelInfo;
use hearth_llm::embedder::Embedder;
use hearth_llm::engine::{EngineError, Shutdown};
use hearth_llm::tokenizer::Tokenizer;

use crate::Error;
use crate::engine::Engine;
use crate::figures::Figures;
use crate::length;
use crate::preparation::Preparation;

/// An embedding model at work.
pub struct EmbeddingService {
    name: String,
    info: ModelInfo,
    tokenizer: Arc<Tokenizer>,
    embedder: Embedder,
    /// Bytes that the embedder's buffers are expected to take.
    scratch: u64,
    preparation: Preparation,
}

impl EmbeddingService {
    /// Puts the parts of a loaded model together.
    pub(crate) fn new(
        name: String,
        info: ModelInfo,
        tokenizer: Arc<Tokenizer>,
        embedder: Embedder,
        scratch: u64,
        preparation: Preparation,
    ) -> Self {
        Self {
            name,
            info,
            tokenizer,
            embedder,
            scratch,
            preparation,
        }
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The size of the model's vectors.
    pub fn dimensions(&self) -> usize {
        self.info.hidden_size
    }

    /// Encodes a text as the model's reference does, with the special tokens that it adds.
    ///
    /// # Errors
    /// [`Error::ContextLength`] for a text that is far too long; one that is a little too long is refused
    /// when it is embedded.
    pub async fn tokenize(self: &Arc<Self>, text: String) -> Result<Vec<u32>, Error> {
        let service = Arc::clone(self);
        let work = move || {
            let texts = std::iter::once(text.as_str());
            length::check(&service.tokenizer, texts, service.embedder.context_length())?;
            Ok(service.tokenizer.encode_prompt(&text)?)
        };
        self.preparation.run(work).await
    }

    /// A vector for each of `inputs`, in their order. Callers have it from their lease, which counts it.
    pub(crate) async fn embed(
        &self,
        inputs: Vec<Vec<u32>>,
        deadline: Option<Instant>,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let vectors = self.embedder.embed(inputs, deadline).await;
        vectors.map_err(|error| match error {
            EngineError::InvalidParameter { message, .. } => {
                Error::invalid("input", format!("input: {message}"))
            }
            other => other.into(),
        })
    }
}

impl Engine for EmbeddingService {
    fn memory_bytes(&self) -> u64 {
        self.scratch
    }

    fn health(&self) -> Result<(), Error> {
        Ok(self.embedder.health()?)
    }

    fn figures(&self) -> Option<Figures> {
        Some(self.embedder.stats().into())
    }

    fn shutdown(&self, how: Shutdown) {
        self.embedder.shutdown(how);
    }

    fn embedding(self: Arc<Self>) -> Option<Arc<EmbeddingService>> {
        Some(self)
    }
}
