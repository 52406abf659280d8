//! Which models are there, which are loaded, and how to reach their engines.
//!
//! A [`Runtime`] knows models by name through the catalog. A model is loaded when it is first asked for,
//! once however many ask, and stays. [`TextService`] and [`EmbeddingService`] are what a loaded model
//! is to its callers: text in, tokens, events or vectors out. Requests and events are the engine's own.
//!
//! Failures are sorted into the few kinds of [`Error`] that a client can be told of. Nothing here knows
//! of HTTP.

#![forbid(unsafe_code)]

mod embedding;
mod error;
mod length;
mod preparation;
mod runtime;
mod single_flight;
mod text;

pub use hearth_llm::ModelInfo;
pub use hearth_llm::engine::{
    EngineConfig, EngineStats, Event, FinishReason, GenerateRequest, Generation, Shutdown, Timings,
    TokenLogprobs, Usage,
};
pub use hearth_llm::sampling::{SamplingParams, derive_seed};

pub use embedding::EmbeddingService;
pub use error::Error;
pub use hearth_llm::pages::{PageStats, PageStore, PageStoreError};
pub use runtime::{EngineFigures, LoadedModel, ModelEntry, ModelKind, Runtime, RuntimeConfig};
pub use text::{ChatPrompt, TextService};
