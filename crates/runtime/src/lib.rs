//! Which models are there, which are loaded, and how to reach their engines.
//!
//! A [`Runtime`] knows models by name through the catalog. A request asks for one and waits, in a bounded queue by
//! priority, until the model is loaded and one of its instances has a place; what it gets is a [`Lease`], by which the
//! model stays until the request's last byte. [`TextService`], [`EmbeddingService`] and [`NetworkService`] are what a
//! loaded model is to its callers: text or tensors in, tokens, events, vectors or tensors out. Requests and events are the engine's own.
//!
//! One memory budget covers all models. What a model needs is told from its headers before it is read; models that
//! nobody uses go, the least recently used first, and only when their memory is really free is another read. A model
//! that has been idle for long enough goes by itself. Everything is counted, and told to whoever listens.
//!
//! Failures are sorted into the few kinds of [`Error`] that a client can be told of. Nothing here knows of HTTP.

#![forbid(unsafe_code)]

mod backends;
mod budget;
mod clock;
mod config;
mod embedding;
mod engine;
mod error;
mod events;
mod figures;
mod heads;
mod histogram;
mod house;
mod keep_alive;
mod lease;
mod length;
mod machine;
mod manager;
mod meter;
mod network;
mod preparation;
pub mod processor;
mod progress;
mod queue;
mod runtime;
mod series;
mod strategy;
#[cfg(test)]
mod tests;
mod text;

pub use hearth_graph::onnx::{DataType, Dim, ValueInfo};
pub use hearth_graph::runtime::{Elements, FlatJson, HostTensor, image_bytes};
pub use hearth_hub::catalog::{Activation, Fault, Sound, split_version};
pub use hearth_llm::ModelInfo;
pub use hearth_llm::engine::{
    EngineConfig, EngineStats, FinishReason, GenerateRequest, MAX_PRIORITY, Shutdown, Timings,
    TokenLogprobs, Usage,
};
pub use hearth_llm::pages::{PageStats, PageStore, PageStoreError};
pub use hearth_llm::sampling::{SamplingParams, derive_seed};

pub use backends::network_model;
pub use config::{ModelSettings, RuntimeConfig};
pub use embedding::EmbeddingService;
pub use engine::{ModelKind, Quantize};
pub use error::Error;
pub use events::{Change, EventStream, ModelEvent, ModelState, Reason};
pub use figures::{EmbedderFigures, EngineFigures, Figures, NetworkFigures, RunFigures};
pub use histogram::Histogram;
pub use keep_alive::{KeepAlive, KeepAliveError};
pub use lease::{Event, Generation, Lease};
pub use manager::{Ask, InstanceStatus, LoadRequest, LoadedModel, ModelStatus, RuntimeStats};
pub use meter::ModelMetrics;
pub use network::{
    ClassForm, ClassOptions, InferRequest, Inputs, MOST_ROWS, NetworkService, NetworkUses,
    PredictRequest, Prediction, is_image, largest,
};
pub use progress::{LoadProgress, LoadState, Loading};
pub use runtime::{ModelEntry, ModelFormat, ModelVersion, Runtime};
pub use series::{LONGEST_WINDOW, Sample, Series};
pub use strategy::{Strategy, StrategyError};
pub use text::{ChatPrompt, TextService};
