//! The text engine: from a checkpoint to text and vectors.
//!
//! [`load_text`] and [`load_encoder`] make a model of a [`hearth_formats::Checkpoint`]; to all above, a model is one of
//! two narrow traits, [`TextModel`] and [`EncoderModel`]. [`tokenizer`] and [`template`] turn text and messages into
//! tokens and back, [`engine`] batches requests on a model over the paged [`KvCache`], [`sampling`] picks tokens,
//! [`pages`] keeps computed prefixes on disk, and [`embedder`] batches inputs on an encoder.
//!
//! One law holds throughout: what is computed for a request depends bit for bit on that request alone, not on what
//! shares its batch, on how its prompt is cut, or on the number of threads.

#![forbid(unsafe_code)]

mod cache;
pub mod embedder;
pub mod engine;
mod error;
mod load;
mod model;
mod models;
pub mod pages;
mod perplexity;
pub mod sampling;
pub mod template;
pub mod tokenizer;

pub use cache::KvCache;
pub use error::{Error, Result};
pub use load::{
    Kind, LoadObserver, LoadOptions, Quantize, kind_of, load_encoder, load_encoder_observed,
    load_text, load_text_observed,
};
pub use model::{Batch, EmbeddingInfo, EncoderModel, ModelInfo, Pooling, TextModel};
pub use models::{Scratch, TextEncoder};
pub use perplexity::{Perplexity, perplexity};
