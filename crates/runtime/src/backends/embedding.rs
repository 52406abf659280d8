//! Embedding models.

use std::sync::Arc;

use hearth_hub::{Entry, Kind};
use hearth_llm::embedder::{Embedder, EmbedderConfig};
use hearth_llm::tokenizer::Tokenizer;
use hearth_llm::{EncoderModel, LoadObserver, ModelInfo, load_encoder_observed};

use super::{Opened, Shared, cannot_start, need, refused, tokenizer};
use crate::engine::{Backend, Engine, Job, ModelKind, Need, Weights};
use crate::preparation::Preparation;
use crate::{EmbeddingService, Error};

pub(super) struct EmbeddingBackend(pub Shared);

impl Backend for EmbeddingBackend {
    fn kind(&self) -> ModelKind {
        ModelKind::Embedding
    }

    fn takes(&self, entry: &Entry) -> bool {
        entry.kind == Kind::Embedding
    }

    fn concurrency(&self) -> usize {
        self.0.config.embedder.queue_limit
    }

    fn predict(&self, job: &Job) -> Result<Need, Error> {
        let opened = self.0.open_known(job)?;
        Ok(need::of_embedding(&opened, &self.0.config.embedder))
    }

    fn load(
        &self,
        job: &Job,
        need: Need,
        observer: &dyn LoadObserver,
    ) -> Result<Box<dyn Weights>, Error> {
        let Opened {
            checkpoint,
            options,
        } = self.0.open(job)?;
        let tokenizer = tokenizer(job, &checkpoint)?;
        let pool = Arc::clone(&self.0.pool);
        let model = load_encoder_observed(&checkpoint, pool, options, observer);
        Ok(Box::new(EmbeddingWeights {
            name: job.entry.name.clone(),
            model: model.map_err(|error| refused(job, error))?,
            tokenizer,
            config: self.0.config.embedder.clone(),
            need,
            budget: job.budget,
            preparation: self.0.preparation.clone(),
        }))
    }
}

struct EmbeddingWeights {
    name: String,
    model: Arc<dyn EncoderModel>,
    tokenizer: Arc<Tokenizer>,
    config: EmbedderConfig,
    need: Need,
    budget: u64,
    preparation: Preparation,
}

impl Weights for EmbeddingWeights {
    fn memory_bytes(&self) -> u64 {
        self.model.info().memory_bytes
    }

    fn info(&self) -> Option<&ModelInfo> {
        Some(self.model.info())
    }

    fn start(&self) -> Result<Arc<dyn Engine>, Error> {
        let embedder = Embedder::start(Arc::clone(&self.model), self.config.clone())
            .map_err(|error| cannot_start(&self.name, self.need, self.budget, error))?;
        Ok(Arc::new(EmbeddingService::new(
            self.name.clone(),
            self.model.info().clone(),
            Arc::clone(&self.tokenizer),
            embedder,
            self.need.instance(),
            self.preparation.clone(),
        )))
    }
}
