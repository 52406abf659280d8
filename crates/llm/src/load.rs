//! From a checkpoint to a model that runs.

use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_kernels::{Pool, Precision};

use crate::error::{Error, Result};
use crate::model::{EncoderModel, TextModel};
use crate::models::{self, Reader, TextEncoder};

/// How a model is put into memory.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// How quantized weights are multiplied; plain ones are always multiplied in single precision. The default is
    /// [`Precision::Int8`].
    pub precision: Precision,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            precision: Precision::Int8,
        }
    }
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It continues text: [`load_text`].
    Text,
    /// It turns text into vectors: [`load_encoder`].
    Embedding,
}

/// What the checkpoint's model is for: embeddings, where it is an encoder or says how its hidden states are pooled.
///
/// # Errors
/// Where the architecture is not supported or the pooling makes no sense.
pub fn kind_of(checkpoint: &Checkpoint) -> Result<Kind> {
    match checkpoint.architecture() {
        "bert" => Ok(Kind::Embedding),
        "gpt2" | "llama" | "qwen2" | "qwen3" => {
            Ok(if models::read_embedding(checkpoint)?.is_some() {
                Kind::Embedding
            } else {
                Kind::Text
            })
        }
        other => Err(unsupported(other)),
    }
}

/// Loads a decoder.
///
/// # Errors
/// Where the architecture is no decoder that is supported, or the checkpoint is not what its metadata says; the error
/// names the key or tensor.
pub fn load_text(
    checkpoint: &Checkpoint,
    pool: Arc<Pool>,
    options: LoadOptions,
) -> Result<Arc<dyn TextModel>> {
    let reader = Reader::new(checkpoint, pool, options);
    Ok(match checkpoint.architecture() {
        "gpt2" => Arc::new(models::gpt2::load(reader)?),
        "llama" => Arc::new(models::llama::load(reader)?),
        "qwen2" => Arc::new(models::qwen2::load(reader)?),
        "qwen3" => Arc::new(models::qwen3::load(reader)?),
        other => return Err(unsupported(other)),
    })
}

/// Loads a model for embeddings: an encoder, or a decoder whose checkpoint says how to pool.
///
/// # Errors
/// As [`load_text`]; also where a decoder's checkpoint names no pooling.
pub fn load_encoder(
    checkpoint: &Checkpoint,
    pool: Arc<Pool>,
    options: LoadOptions,
) -> Result<Arc<dyn EncoderModel>> {
    if checkpoint.architecture() == "bert" {
        return Ok(Arc::new(models::bert::load(Reader::new(
            checkpoint, pool, options,
        ))?));
    }
    Ok(Arc::new(TextEncoder::new(load_text(
        checkpoint, pool, options,
    )?)?))
}

fn unsupported(architecture: &str) -> Error {
    Error::Architecture {
        architecture: architecture.to_owned(),
        supported: models::SUPPORTED,
    }
}
