//! The text engine.

#![forbid(unsafe_code)]

mod cache;
pub mod embedder;
pub mod engine;
mod error;
mod load;
mod model;
mod models;
pub mod sampling;
pub mod template;
pub mod tokenizer;

pub use cache::KvCache;
pub use error::{Error, Result};
pub use load::{Kind, LoadOptions, kind_of, load_encoder, load_text};
pub use model::{Batch, EmbeddingInfo, EncoderModel, ModelInfo, Pooling, TextModel};
pub use models::{Scratch, TextEncoder};
