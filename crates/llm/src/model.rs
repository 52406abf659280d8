//! What a model is to the rest of the engine: two narrow traits, and the types that cross them.

use std::sync::Arc;

use hearth_kernels::{AttentionSpan, KvDType, Pool};

use crate::cache::KvCache;
use crate::error::Result;
use crate::models::Scratch;

/// What a loaded model says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// The architecture's GGUF name, for example `llama`.
    pub architecture: String,
    /// The name that the checkpoint gives itself.
    pub name: Option<String>,
    /// The most tokens that a sequence can have, prompt and completion together; for embeddings, the most that the
    /// checkpoint says to read.
    pub context_length: usize,
    /// Number of tokens that have an embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_layers: usize,
    /// Number of query heads.
    pub num_heads: usize,
    /// Number of key and value heads.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of all weights as stored in the checkpoint.
    pub weight_bytes: u64,
    /// Bytes that the weights take in memory, pages of a mapped file that they are read from among them.
    pub memory_bytes: u64,
    /// The type that most weight bytes are stored in, for example `Q4_K`.
    pub quantization: String,
    /// How sequence vectors are made, for models that are made for embeddings.
    pub embedding: Option<EmbeddingInfo>,
}

/// How a model's hidden states become one vector per sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddingInfo {
    /// Which hidden states count.
    pub pooling: Pooling,
    /// True where vectors are scaled to length 1.
    pub normalize: bool,
}

/// Which of a sequence's hidden states make its vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all tokens.
    Mean,
    /// The first token's, `[CLS]` in BERT's vocabulary.
    Cls,
    /// The last token's.
    Last,
}

/// One step's work: rows of tokens of any number of sequences, each sequence's rows together and in order.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Token of each row, `[T]`.
    pub tokens: &'a [u32],
    /// Position of each row in its sequence, `[T]`.
    pub positions: &'a [u32],
    /// Where in the cache each row's keys and values go, `[T]`: `block * block_size + offset`.
    pub slots: &'a [u32],
    /// The sequences: which rows, from which position, over which blocks.
    pub spans: &'a [AttentionSpan<'a>],
    /// The rows whose final hidden state is wanted, in the order of the answer.
    pub outputs: &'a [u32],
}

impl Batch<'_> {
    /// Holds the batch against the model.
    ///
    /// # Panics
    /// Where the batch is inconsistent.
    pub(crate) fn check(&self, info: &ModelInfo) {
        let rows = self.tokens.len();
        assert!(
            self.positions.len() == rows && self.slots.len() == rows,
            "{rows} tokens, {} positions, {} slots",
            self.positions.len(),
            self.slots.len()
        );
        if let Some(position) = self
            .positions
            .iter()
            .find(|p| **p as usize >= info.context_length)
        {
            panic!(
                "position {position} in a context of {}",
                info.context_length
            );
        }
        if let Some(row) = self.outputs.iter().find(|row| **row as usize >= rows) {
            panic!("output row {row} of {rows}");
        }
    }
}

/// A decoder: tokens in, hidden states and logits out.
///
/// A row's numbers depend bit for bit on its sequence's tokens alone: not on the other sequences of a batch, on how a
/// prompt is cut into steps, or on the number of threads.
pub trait TextModel: Send + Sync {
    /// What the model says about itself.
    fn info(&self) -> &ModelInfo;

    /// The threads that the model computes on.
    fn pool(&self) -> &Arc<Pool>;

    /// Computes a batch: writes its keys and values into `cache` and overwrites `hidden`, `[outputs, hidden_size]`, with
    /// the requested rows after the final norm.
    ///
    /// Allocates nothing once `scratch` and `hidden` have seen a batch of this size.
    ///
    /// # Panics
    /// Where the batch is inconsistent: slices of different lengths, a token that is not below
    /// [`ModelInfo::vocab_size`], a position that is not below [`ModelInfo::context_length`], a slot outside of the
    /// cache. Whoever builds batches checks what comes from outside.
    fn forward(
        &self,
        batch: &Batch,
        cache: &mut KvCache,
        scratch: &mut Scratch,
        hidden: &mut Vec<f32>,
    );

    /// Overwrites `logits`, `[n, vocab_size]`, with the scores of the next token after each row of `hidden`,
    /// `[n, hidden_size]`.
    fn logits(&self, hidden: &[f32], scratch: &mut Scratch, logits: &mut Vec<f32>);

    /// Allocates a cache of `blocks` blocks of `block_size` tokens.
    ///
    /// # Errors
    /// Where memory does not suffice or a size is zero.
    fn new_cache(&self, blocks: usize, block_size: usize, dtype: KvDType) -> Result<KvCache> {
        let info = self.info();
        KvCache::new(
            info.num_layers,
            blocks,
            block_size,
            info.num_kv_heads,
            info.head_dim,
            dtype,
        )
    }

    /// The bytes of keys and values that one token takes in a cache. Where a head or a block is no multiple of 16 values,
    /// the cache pads it and takes more.
    fn kv_bytes_per_token(&self, dtype: KvDType) -> usize {
        let info = self.info();
        2 * info.num_layers * info.num_kv_heads * dtype.bytes_for(info.head_dim)
    }
}

/// An encoder: whole sequences in, one vector each out.
pub trait EncoderModel: Send + Sync {
    /// What the model says about itself; `embedding` is always there.
    fn info(&self) -> &ModelInfo;

    /// The threads that the model computes on.
    fn pool(&self) -> &Arc<Pool>;

    /// Computes the pooled vectors of `sequences`, `[sequences, hidden_size]`, each bit for bit as it would be alone.
    ///
    /// # Errors
    /// Where memory does not suffice.
    ///
    /// # Panics
    /// Where a sequence is empty or longer than [`ModelInfo::context_length`], or a token is not below
    /// [`ModelInfo::vocab_size`].
    fn encode(&self, sequences: &[&[u32]], scratch: &mut Scratch) -> Result<Vec<f32>>;
}
