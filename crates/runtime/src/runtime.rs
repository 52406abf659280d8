//! The models by name: listed, loaded when first asked for, kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_hub::catalog::{self, Catalog, CatalogError, Entry};
use hearth_kernels::{KernelError, Pool, Precision};
use hearth_llm::embedder::{Embedder, EmbedderConfig};
use hearth_llm::engine::{Engine, EngineConfig, EngineStats, Shutdown};
use hearth_llm::pages::{ModelIdentity, PageStore};
use hearth_llm::template::ChatTemplate;
use hearth_llm::tokenizer::Tokenizer;
use hearth_llm::{Kind, LoadOptions, kind_of, load_encoder, load_text};
use serde::Serialize;

use crate::Error;
use crate::embedding::EmbeddingService;
use crate::preparation::Preparation;
use crate::single_flight::SingleFlight;
use crate::text::TextService;

/// Settings of the runtime, the same for every model.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Threads that models compute on; the machine's cores unless told otherwise.
    pub threads: Option<usize>,
    /// How quantized weights are multiplied.
    pub precision: Precision,
    /// Settings of text models' engines.
    pub engine: EngineConfig,
    /// Where text models keep computed prefixes when their engines end; without it they are lost.
    pub pages: Option<Arc<PageStore>>,
    /// Settings of embedding models' engines.
    pub embedder: EmbedderConfig,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            threads: None,
            precision: Precision::Int8,
            engine: EngineConfig::default(),
            pages: None,
            embedder: EmbedderConfig::default(),
        }
    }
}

/// A model that the catalog knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name by which requests ask for it.
    pub name: String,
    /// Unix time in seconds at which its file was last changed; 0 if that is not known.
    pub created: u64,
    /// `hearth` for built-in models, `local` for files of this machine.
    pub owned_by: String,
}

/// What a loaded model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Generating text.
    Text,
    /// Turning text into vectors.
    Embedding,
}

/// A loaded model's state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadedModel {
    /// The model's name.
    #[serde(skip)]
    pub name: String,
    /// What it is for.
    pub kind: ModelKind,
    /// Whether its engine takes requests.
    pub running: bool,
    /// The engine's counters, for text models.
    #[serde(flatten)]
    pub figures: Option<EngineFigures>,
}

/// Counters of a text model's engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EngineFigures {
    /// Sequences that run now.
    pub running_sequences: usize,
    /// Requests that wait.
    pub waiting_requests: usize,
    /// Blocks of the KV cache that sequences hold.
    pub cache_blocks_used: usize,
    /// Blocks that no sequence holds, kept for prompts to come.
    pub cache_blocks_cached: usize,
    /// All blocks of the KV cache.
    pub cache_blocks_total: usize,
    /// Times that a request looked for the beginning of its prompt in the cache.
    pub prefix_lookups: u64,
    /// Times that it found a part of it.
    pub prefix_hits: u64,
    /// Tokens that were found so and not computed.
    pub prefix_hit_tokens: u64,
    /// Cached blocks given up for new contents.
    pub cache_evictions: u64,
    /// Blocks that came from disk.
    pub cache_blocks_read: u64,
    /// Prompt tokens taken in since the model was loaded.
    pub tokens_in: u64,
    /// Tokens generated since.
    pub tokens_out: u64,
    /// Tokens that were tried ahead because the text suggested them.
    pub tokens_drafted: u64,
    /// Those of them that became part of an answer.
    pub tokens_accepted: u64,
    /// Requests whose clients went away.
    pub cancelled: u64,
    /// Sequences that had to give their blocks up for a while.
    pub preemptions: u64,
}

impl From<&Entry> for ModelEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            name: entry.name.clone(),
            created: entry.created,
            owned_by: entry.owned_by().to_owned(),
        }
    }
}

impl From<EngineStats> for EngineFigures {
    fn from(stats: EngineStats) -> Self {
        Self {
            running_sequences: stats.running,
            waiting_requests: stats.waiting,
            cache_blocks_used: stats.blocks_used,
            cache_blocks_cached: stats.blocks_cached,
            cache_blocks_total: stats.blocks_total,
            prefix_lookups: stats.prefix_lookups,
            prefix_hits: stats.prefix_hits,
            prefix_hit_tokens: stats.prefix_hit_tokens,
            cache_evictions: stats.evictions,
            cache_blocks_read: stats.blocks_read,
            tokens_in: stats.tokens_in,
            tokens_out: stats.tokens_out,
            tokens_drafted: stats.drafted,
            tokens_accepted: stats.accepted,
            cancelled: stats.cancelled,
            preemptions: stats.preemptions,
        }
    }
}

/// A model at work.
#[derive(Clone)]
enum Service {
    Text(Arc<TextService>),
    Embedding(Arc<EmbeddingService>),
}

/// The models of this process.
pub struct Runtime {
    catalog: Catalog,
    loader: Loader,
    services: Arc<SingleFlight<Service>>,
    closed: Arc<AtomicBool>,
}

impl Runtime {
    /// A runtime for the models of `catalog`, none of which is loaded yet.
    pub fn new(catalog: Catalog, config: RuntimeConfig) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.threads.unwrap_or(cores).max(1);
        let loader = Loader {
            pool: Arc::new(Pool::new(threads)),
            config: Arc::new(config),
            preparation: Preparation::new(cores),
        };
        let (services, closed) = (SingleFlight::new(), Arc::new(AtomicBool::new(false)));
        Arc::new(Self {
            catalog,
            loader,
            services,
            closed,
        })
    }

    /// Every model there is, of every kind, loaded or not.
    ///
    /// # Errors
    /// [`Error::Internal`] if the folder of models cannot be read.
    pub async fn models(&self) -> Result<Vec<ModelEntry>, Error> {
        let entries = self.look(Catalog::entries).await?;
        Ok(entries.iter().map(ModelEntry::from).collect())
    }

    /// The model called `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`], which lists the names there are.
    pub async fn model(&self, name: &str) -> Result<ModelEntry, Error> {
        Ok((&self.find(name).await?).into())
    }

    /// The text model called `name`, loaded if it is not yet.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InvalidInput`] if it is a model of another kind; why it cannot be
    /// loaded; [`Error::ShuttingDown`].
    pub async fn text(&self, name: &str) -> Result<Arc<TextService>, Error> {
        let wrong = || {
            let message = format!("model '{name}' makes embeddings; it generates no text");
            Error::invalid("model", message)
        };
        match self.service(name, ModelKind::Text, wrong).await? {
            Service::Text(service) => Ok(service),
            Service::Embedding(_) => Err(wrong()),
        }
    }

    /// The embedding model called `name`, loaded if it is not yet.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub async fn embedding(&self, name: &str) -> Result<Arc<EmbeddingService>, Error> {
        let wrong = || {
            let message = format!("model '{name}' generates text; it makes no embeddings");
            Error::invalid("model", message)
        };
        match self.service(name, ModelKind::Embedding, wrong).await? {
            Service::Embedding(service) => Ok(service),
            Service::Text(_) => Err(wrong()),
        }
    }

    /// The models that are loaded, in the order of their names.
    pub fn loaded(&self) -> Vec<LoadedModel> {
        let ready = self.services.ready().into_iter();
        let loaded = ready.map(|(name, service)| match service {
            Service::Text(service) => LoadedModel {
                name,
                kind: ModelKind::Text,
                running: service.engine().health().is_ok(),
                figures: Some(service.stats().into()),
            },
            Service::Embedding(service) => LoadedModel {
                name,
                kind: ModelKind::Embedding,
                running: service.embedder().health().is_ok(),
                figures: None,
            },
        });
        loaded.collect()
    }

    /// Loads no more models and ends all engines as told; answers when they have ended.
    pub async fn shutdown(&self, how: Shutdown) {
        self.closed.store(true, Ordering::Release);
        let ending = self.services.ready().into_iter().map(|(name, service)| {
            let ended = tokio::task::spawn_blocking(move || match service {
                Service::Text(service) => service.engine().shutdown(how),
                Service::Embedding(service) => service.embedder().shutdown(how),
            });
            (name, ended)
        });
        // All are begun before the first is waited for.
        for (name, ended) in ending.collect::<Vec<_>>() {
            if let Err(error) = ended.await {
                tracing::error!(model = name, %error, "an engine could not be ended");
            }
        }
    }

    /// The model called `name`. One that is not loaded is loaded only if it is of the kind `wanted`, as
    /// far as its headers tell; `wrong` says that it is not.
    async fn service(
        &self,
        name: &str,
        wanted: ModelKind,
        wrong: impl Fn() -> Error,
    ) -> Result<Service, Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        if let Some(service) = self.services.peek(name) {
            return Ok(service);
        }
        let entry = self.find(name).await?;
        match (&entry.kind, wanted) {
            (catalog::Kind::Text, ModelKind::Embedding)
            | (catalog::Kind::Embedding, ModelKind::Text) => return Err(wrong()),
            _ => {}
        }
        let loader = self.loader.clone();
        self.services.get(name, move || loader.load(&entry)).await
    }

    async fn find(&self, name: &str) -> Result<Entry, Error> {
        let model = name.to_owned();
        let found = self.look(move |catalog| catalog.find(&model)).await?;
        match found {
            Some(entry) => Ok(entry),
            None => {
                let available = self
                    .models()
                    .await?
                    .into_iter()
                    .map(|entry| entry.name)
                    .collect();
                Err(Error::NotFound {
                    model: name.to_owned(),
                    available,
                })
            }
        }
    }

    /// Asks the catalog, which looks at folders and files, on a blocking thread.
    async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, Error> {
        let catalog = self.catalog.clone();
        let answer = tokio::task::spawn_blocking(move || question(&catalog)).await;
        match answer {
            Ok(answer) => answer.map_err(|error| Error::Internal {
                message: format!("the models: {error}"),
            }),
            Err(error) if error.is_panic() => Err(Error::Internal {
                message: "looking for the models panicked".into(),
            }),
            Err(_) => Err(Error::ShuttingDown),
        }
    }
}

/// What it takes to load a model.
#[derive(Clone)]
struct Loader {
    pool: Arc<Pool>,
    config: Arc<RuntimeConfig>,
    preparation: Preparation,
}

impl Loader {
    /// Reads the model's files and starts its engine. Takes as long as that takes.
    fn load(&self, entry: &Entry) -> Result<Service, Error> {
        let began = std::time::Instant::now();
        let name = entry.name.clone();
        let service = self.build(entry)?;
        tracing::info!(
            model = name,
            seconds = began.elapsed().as_secs_f64(),
            "loaded"
        );
        Ok(service)
    }

    fn build(&self, entry: &Entry) -> Result<Service, Error> {
        let name = entry.name.clone();
        let failed = |error: &dyn std::error::Error| Error::Internal {
            message: format!("model '{name}' could not be loaded: {error}"),
        };
        let refused = |error: hearth_llm::Error| match error {
            hearth_llm::Error::Architecture { .. } | hearth_llm::Error::Unsupported { .. } => {
                let message = format!("model '{name}' is not supported: {error}");
                Error::Unsupported {
                    param: Some("model".into()),
                    message,
                }
            }
            hearth_llm::Error::Kernel(
                KernelError::OutOfMemory { .. } | KernelError::TooLarge { .. },
            ) => {
                let message = format!("model '{name}' does not fit in memory: {error}");
                Error::InsufficientMemory { message }
            }
            other => failed(&other),
        };
        let checkpoint = entry.open().map_err(|error| failed(&error))?;
        let kind = kind_of(&checkpoint).map_err(refused)?;
        let tokenizer = Tokenizer::open(&checkpoint).map_err(|error| failed(&error))?;
        let tokenizer = Arc::new(tokenizer);
        let options = LoadOptions {
            precision: self.config.precision,
            ..LoadOptions::default()
        };
        let pool = Arc::clone(&self.pool);
        let preparation = self.preparation.clone();
        match kind {
            Kind::Text => {
                let model = load_text(&checkpoint, pool, options).map_err(refused)?;
                let template = ChatTemplate::open(&checkpoint, &tokenizer);
                let template = template.map_err(|error| failed(&error))?;
                let info = model.info().clone();
                let config = self.config.engine.clone();
                let pages = self.config.pages.as_ref().and_then(|store| {
                    let identity = ModelIdentity::of(&checkpoint, &options);
                    let identity = identity.inspect_err(|error| {
                        tracing::warn!(model = name, %error, "its prefixes are not kept on disk");
                    });
                    Some(store.of_model(identity.ok()?))
                });
                let tokens = Arc::clone(&tokenizer);
                let engine = match pages {
                    Some(pages) => Engine::start_with_pages(model, tokens, config, pages)?,
                    None => Engine::start(model, tokens, config)?,
                };
                let service =
                    TextService::new(name, info, tokenizer, template, engine, preparation)?;
                Ok(Service::Text(Arc::new(service)))
            }
            Kind::Embedding => {
                let model = load_encoder(&checkpoint, pool, options).map_err(refused)?;
                let info = model.info().clone();
                let embedder = Embedder::start(model, self.config.embedder.clone())?;
                let service = EmbeddingService::new(name, info, tokenizer, embedder, preparation);
                Ok(Service::Embedding(Arc::new(service)))
            }
        }
    }
}
