//! What the runtime is told at its start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_kernels::Precision;
use hearth_llm::embedder::EmbedderConfig;
use hearth_llm::engine::{DEFAULT_PRIORITY, EngineConfig};
use hearth_llm::pages::PageStore;

use crate::engine::Quantize;
use crate::keep_alive::KeepAlive;
use crate::strategy::Strategy;

/// Settings of the runtime.
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
    /// Bytes that all loaded models together may take; 90 % of what is free at the start unless told otherwise.
    pub memory: Option<u64>,
    /// How long a request waits for a model that is being loaded, unless it says so itself; 5 minutes unless told
    /// otherwise.
    pub load_wait: Duration,
    /// Most instances that a model may be scaled to by hand; 16 unless told otherwise.
    pub max_instances: usize,
    /// Further names of models: each alias with the model that it stands for. A model of that name hides the alias.
    pub aliases: BTreeMap<String, String>,
    /// Settings of models that have none of their own.
    pub defaults: ModelSettings,
    /// Settings of single models, by name.
    pub models: BTreeMap<String, ModelSettings>,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            threads: None,
            precision: Precision::Int8,
            engine: EngineConfig::default(),
            pages: None,
            embedder: EmbedderConfig::default(),
            memory: None,
            load_wait: Duration::from_secs(300),
            max_instances: 16,
            aliases: BTreeMap::new(),
            defaults: ModelSettings::default(),
            models: BTreeMap::new(),
        }
    }
}

impl RuntimeConfig {
    /// The settings of a model.
    pub fn settings(&self, model: &str) -> &ModelSettings {
        self.models.get(model).unwrap_or(&self.defaults)
    }
}

/// Settings of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSettings {
    /// How long it stays once nobody uses it; 5 minutes unless told otherwise.
    pub keep_alive: KeepAlive,
    /// It is loaded at the start, and neither evicted nor unloaded when idle.
    pub pinned: bool,
    /// Instances that are started when it is loaded; 1 unless told otherwise.
    pub min_instances: usize,
    /// Instances that it may grow to by itself; 1 unless told otherwise.
    pub max_instances: usize,
    /// How long requests have to have been waiting for an instance, without a break, before another is started. Further
    /// instances end when they have been idle for a minute. `None`, unless told otherwise, starts none.
    pub scale_up_after: Option<Duration>,
    /// Which instance takes a request.
    pub strategy: Strategy,
    /// Requests that an instance works on at a time; as many as its engine runs sequences unless told otherwise.
    pub concurrency: Option<usize>,
    /// Requests that may wait for an instance; 256 unless told otherwise.
    pub queue_limit: usize,
    /// Priority of requests that name none, 0 to 10; 5 unless told otherwise.
    pub priority: u8,
    /// How small the weights are made when they are loaded; as they are stored unless told otherwise.
    pub quantize: Quantize,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            keep_alive: KeepAlive::For(Duration::from_secs(300)),
            pinned: false,
            min_instances: 1,
            max_instances: 1,
            scale_up_after: None,
            strategy: Strategy::default(),
            concurrency: None,
            queue_limit: 256,
            priority: DEFAULT_PRIORITY,
            quantize: Quantize::No,
        }
    }
}
