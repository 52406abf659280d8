//! Text models.

use std::sync::Arc;

use hearth_hub::{Entry, Kind};
use hearth_llm::engine::{Engine as TextEngine, EngineConfig};
use hearth_llm::pages::{ModelIdentity, ModelPages};
use hearth_llm::template::ChatTemplate;
use hearth_llm::tokenizer::Tokenizer;
use hearth_llm::{LoadObserver, ModelInfo, TextModel, load_text_observed};

use super::{Opened, Shared, cannot_start, failed, need, refused, tokenizer};
use crate::engine::{Backend, Engine, Job, ModelKind, Need, Weights};
use crate::preparation::Preparation;
use crate::text::Chat;
use crate::{Error, TextService};

pub(super) struct TextBackend(pub Shared);

impl Backend for TextBackend {
    fn kind(&self) -> ModelKind {
        ModelKind::Text
    }

    fn takes(&self, entry: &Entry) -> bool {
        entry.kind == Kind::Text
    }

    fn concurrency(&self) -> usize {
        self.0.config.engine.max_sequences
    }

    fn predict(&self, job: &Job) -> Result<Need, Error> {
        let opened = self.0.open_known(job)?;
        Ok(need::of_text(&opened, &self.0.config.engine, job.budget))
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
        let template = ChatTemplate::open(&checkpoint, &tokenizer);
        let template = template.map_err(|error| failed(job, &error))?;
        let chat = Chat::new(template, &tokenizer)?;
        let pages = self.0.config.pages.as_ref().and_then(|store| {
            let identity = ModelIdentity::of(&checkpoint, &options);
            let identity = identity.inspect_err(|error| {
                tracing::warn!(model = job.entry.name, %error, "its prefixes are not kept on disk");
            });
            Some(store.of_model(identity.ok()?))
        });
        let pool = Arc::clone(&self.0.pool);
        let model = load_text_observed(&checkpoint, pool, options, observer);
        Ok(Box::new(TextWeights {
            name: job.entry.name.clone(),
            model: model.map_err(|error| refused(job, error))?,
            tokenizer,
            chat: Arc::new(chat),
            pages,
            config: EngineConfig {
                cache_bytes: need.cache.max(1),
                ..self.0.config.engine.clone()
            },
            need,
            budget: job.budget,
            preparation: self.0.preparation.clone(),
        }))
    }
}

struct TextWeights {
    name: String,
    model: Arc<dyn TextModel>,
    tokenizer: Arc<Tokenizer>,
    chat: Arc<Chat>,
    pages: Option<ModelPages>,
    config: EngineConfig,
    need: Need,
    budget: u64,
    preparation: Preparation,
}

impl Weights for TextWeights {
    fn memory_bytes(&self) -> u64 {
        self.model.info().memory_bytes
    }

    fn info(&self) -> Option<&ModelInfo> {
        Some(self.model.info())
    }

    fn start(&self) -> Result<Arc<dyn Engine>, Error> {
        let tokenizer = Arc::clone(&self.tokenizer);
        let (model, tokens) = (Arc::clone(&self.model), Arc::clone(&tokenizer));
        let config = self.config.clone();
        let engine = match self.pages.clone() {
            Some(pages) => TextEngine::start_with_pages(model, tokens, config, pages),
            None => TextEngine::start(model, tokens, config),
        };
        let engine =
            engine.map_err(|error| cannot_start(&self.name, self.need, self.budget, error))?;
        Ok(Arc::new(TextService::new(
            self.name.clone(),
            self.model.info().clone(),
            tokenizer,
            Arc::clone(&self.chat),
            engine,
            self.need.scratch,
            self.preparation.clone(),
        )))
    }
}
