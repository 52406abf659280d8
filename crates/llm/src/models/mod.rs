//! The architectures, one file each, and what they share.
//!
//! All are written against GGUF's conventions for keys, tensor names and layouts; a Hugging Face folder is translated
//! to them by [`hearth_formats::Checkpoint`]. What an implementation does not cover is refused at load, so that no
//! forward pass has to think of it.

pub(crate) mod bert;
mod decoder;
pub(crate) mod gpt2;
pub(crate) mod llama;
mod mlp;
mod pooling;
pub(crate) mod qwen2;
pub(crate) mod qwen3;
mod rope;
mod scratch;
mod weights;

pub use pooling::TextEncoder;
pub(crate) use pooling::read_embedding;
pub use scratch::Scratch;
pub(crate) use weights::Reader;

/// The architectures' names, for messages.
pub(crate) const SUPPORTED: &str = "bert, gpt2, llama, qwen2, qwen3";
