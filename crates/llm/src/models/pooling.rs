//! From hidden states to one vector a sequence, for encoders and for decoders that are made for embeddings.
//!
//! The pooling is that of sentence-transformers' `1_Pooling/config.json`; GGUF keeps it as `pooling_type`, one of 1
//! (mean), 2 (`[CLS]`), 3 (last). Our own key `hearth.embedding.normalize` says whether a normalizing module follows;
//! without it vectors are normalized, as all public models of the supported families are meant to be used.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use hearth_formats::Checkpoint;
use hearth_formats::checkpoint::NORMALIZE_KEY;
use hearth_kernels::{AttentionSpan, KvDType, Pool};

use super::Scratch;
use super::weights::invalid;
use crate::cache::KvCache;
use crate::error::{Error, Result};
use crate::model::{Batch, EmbeddingInfo, EncoderModel, ModelInfo, Pooling, TextModel};

/// How the checkpoint pools its hidden states; `None` where it does not say, or says that it does not.
pub(crate) fn read_embedding(checkpoint: &Checkpoint) -> Result<Option<EmbeddingInfo>> {
    let metadata = checkpoint.metadata();
    let key = format!("{}.pooling_type", checkpoint.architecture());
    let pooling = match metadata.get_u32(&key)? {
        None | Some(0) => return Ok(None),
        Some(1) => Pooling::Mean,
        Some(2) => Pooling::Cls,
        Some(3) => Pooling::Last,
        Some(other) => return Err(invalid(key, other, "1 (mean), 2 (CLS) or 3 (last)")),
    };
    let normalize = metadata.get_bool(NORMALIZE_KEY)?.unwrap_or(true);
    Ok(Some(EmbeddingInfo { pooling, normalize }))
}

/// Pools each span of `hidden`, `[T, width] -> [spans, width]`.
pub(super) fn pool_sequences(
    hidden: &[f32],
    width: usize,
    spans: &[Range<usize>],
    how: EmbeddingInfo,
) -> Vec<f32> {
    let mut pooled = vec![0.0; spans.len() * width];
    for (span, out) in spans.iter().zip(pooled.chunks_exact_mut(width)) {
        let rows = &hidden[span.start * width..span.end * width]; // [L, width]
        match how.pooling {
            Pooling::Cls => out.copy_from_slice(&rows[..width]),
            Pooling::Last => out.copy_from_slice(&rows[rows.len() - width..]),
            Pooling::Mean => {
                for row in rows.chunks_exact(width) {
                    out.iter_mut().zip(row).for_each(|(o, x)| *o += x);
                }
                out.iter_mut().for_each(|o| *o /= span.len() as f32);
            }
        }
        if how.normalize {
            // The floor is that of torch.nn.functional.normalize.
            let norm = out.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            out.iter_mut().for_each(|o| *o /= norm);
        }
    }
    pooled
}

/// Tokens in a block of a [`TextEncoder`]'s cache.
const BLOCK_SIZE: u32 = 32;

/// A decoder as an encoder: each sequence goes through in one pass and is pooled, usually at its last token.
pub struct TextEncoder {
    model: Arc<dyn TextModel>,
    how: EmbeddingInfo,
    /// Keys and values of the pass that runs, kept for the next.
    cache: Mutex<Option<KvCache>>,
}

impl TextEncoder {
    /// Wraps a decoder.
    ///
    /// # Errors
    /// Where the model's checkpoint names no pooling.
    pub fn new(model: Arc<dyn TextModel>) -> Result<TextEncoder> {
        let info = model.info();
        let how = info.embedding.ok_or_else(|| Error::MissingKey {
            key: format!("{}.pooling_type", info.architecture),
        })?;
        Ok(TextEncoder {
            model,
            how,
            cache: Mutex::new(None),
        })
    }
}

impl EncoderModel for TextEncoder {
    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn pool(&self) -> &Arc<Pool> {
        self.model.pool()
    }

    fn encode(&self, sequences: &[&[u32]], scratch: &mut Scratch) -> Result<Vec<f32>> {
        let info = self.model.info();
        // Every sequence has blocks of its own, one behind the other.
        let mut tokens = Vec::new();
        let mut positions = Vec::new();
        let mut slots = Vec::new();
        let mut first_blocks = vec![0];
        for sequence in sequences {
            assert!(!sequence.is_empty(), "a sequence without tokens");
            let first_block = first_blocks[first_blocks.len() - 1];
            tokens.extend_from_slice(sequence);
            positions.extend(0..sequence.len() as u32);
            slots.extend((0..sequence.len() as u32).map(|i| first_block * BLOCK_SIZE + i));
            first_blocks.push(first_block + (sequence.len() as u32).div_ceil(BLOCK_SIZE));
        }
        let blocks = first_blocks[sequences.len()];
        let block_table: Vec<u32> = (0..blocks).collect();
        let mut row = 0;
        let spans: Vec<AttentionSpan> = sequences
            .iter()
            .zip(first_blocks.windows(2))
            .map(|(sequence, blocks)| {
                let rows = row..row + sequence.len();
                row = rows.end;
                let block_table = &block_table[blocks[0] as usize..blocks[1] as usize];
                AttentionSpan {
                    rows,
                    first_position: 0,
                    block_table,
                }
            })
            .collect();

        // Pooling the last token needs only that one; what it needs is what is asked for, one span a sequence.
        let (outputs, pooled): (Vec<u32>, Vec<Range<usize>>) = match self.how.pooling {
            Pooling::Last => (
                spans.iter().map(|s| s.rows.end as u32 - 1).collect(),
                (0..spans.len()).map(|i| i..i + 1).collect(),
            ),
            Pooling::Mean | Pooling::Cls => (
                (0..tokens.len() as u32).collect(),
                spans.iter().map(|s| s.rows.clone()).collect(),
            ),
        };
        let batch = Batch {
            tokens: &tokens,
            positions: &positions,
            slots: &slots,
            spans: &spans,
            outputs: &outputs,
        };

        // A poisoned lock means that a pass panicked: every pass writes all that it reads, so the cache is as good as new.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = match &mut *cache {
            Some(cache) if cache.blocks() >= blocks as usize => cache,
            slot => {
                *slot = None;
                let (block_size, heads) = (BLOCK_SIZE as usize, info.num_kv_heads);
                slot.insert(KvCache::for_one_pass(
                    blocks as usize,
                    block_size,
                    heads,
                    info.head_dim,
                    KvDType::F32,
                )?)
            }
        };
        let mut hidden = Vec::new();
        self.model.forward(&batch, cache, scratch, &mut hidden);
        Ok(pool_sequences(&hidden, info.hidden_size, &pooled, self.how))
    }
}
