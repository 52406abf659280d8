//! From a checkpoint to a model that runs.

use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_kernels::{DType, Pool, Precision};

use crate::error::{Error, Result};
use crate::model::{EncoderModel, TextModel};
use crate::models::{self, Reader, TextEncoder};

/// How a model is put into memory.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// How quantized weights are multiplied; plain ones are always multiplied in single precision. The default is
    /// [`Precision::Int8`].
    pub precision: Precision,
    /// Weight matrices that take more bits than this are quantized while they are read. The default is none.
    pub quantize: Option<Quantize>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            precision: Precision::Int8,
            quantize: None,
        }
    }
}

/// How small weight matrices are made while they are read. Embeddings, norms and biases stay as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantize {
    /// To 8 bits, as Q8_0.
    Eight,
    /// To 4 bits, as Q4_K, or Q4_0 where rows are not made of its blocks; the projection onto the vocabulary, which
    /// suffers most, to 8 bits.
    Four,
}

impl Quantize {
    /// The type for a matrix of `cols` inputs that is stored as `dtype`; `None` where it stays as it is, being no larger
    /// already or not made of whole blocks.
    pub fn target(self, dtype: DType, cols: usize, is_head: bool) -> Option<DType> {
        let wanted = match self {
            Quantize::Four if is_head => DType::Q8_0,
            Quantize::Four if cols.is_multiple_of(DType::Q4_K.block_len()) => DType::Q4_K,
            Quantize::Four => DType::Q4_0,
            Quantize::Eight => DType::Q8_0,
        };
        let smaller =
            wanted.block_bytes() * dtype.block_len() < dtype.block_bytes() * wanted.block_len();
        (smaller && cols.is_multiple_of(wanted.block_len())).then_some(wanted)
    }
}

/// Whoever follows a load.
pub trait LoadObserver: Sync {
    /// `bytes` of the checkpoint's tensors have been put into memory. Answers whether to go on; else the load ends with
    /// [`Error::Cancelled`].
    fn loaded(&self, bytes: u64) -> bool;
}

/// Nobody follows.
struct Unobserved;

impl LoadObserver for Unobserved {
    fn loaded(&self, _bytes: u64) -> bool {
        true
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
    load_text_observed(checkpoint, pool, options, &Unobserved)
}

/// As [`load_text`], telling `observer` after each tensor.
///
/// # Errors
/// As [`load_text`]; [`Error::Cancelled`] where the observer wants it.
pub fn load_text_observed(
    checkpoint: &Checkpoint,
    pool: Arc<Pool>,
    options: LoadOptions,
    observer: &dyn LoadObserver,
) -> Result<Arc<dyn TextModel>> {
    let reader = Reader::new(checkpoint, pool, options, observer);
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
    load_encoder_observed(checkpoint, pool, options, &Unobserved)
}

/// As [`load_encoder`], telling `observer` after each tensor.
///
/// # Errors
/// As [`load_encoder`]; [`Error::Cancelled`] where the observer wants it.
pub fn load_encoder_observed(
    checkpoint: &Checkpoint,
    pool: Arc<Pool>,
    options: LoadOptions,
    observer: &dyn LoadObserver,
) -> Result<Arc<dyn EncoderModel>> {
    if checkpoint.architecture() == "bert" {
        let reader = Reader::new(checkpoint, pool, options, observer);
        return Ok(Arc::new(models::bert::load(reader)?));
    }
    let model = load_text_observed(checkpoint, pool, options, observer)?;
    Ok(Arc::new(TextEncoder::new(model)?))
}

fn unsupported(architecture: &str) -> Error {
    Error::Architecture {
        architecture: architecture.to_owned(),
        supported: models::SUPPORTED,
    }
}
