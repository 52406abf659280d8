//! The engine's settings and sizes.

use std::time::Duration;

use hearth_kernels::KvDType;

use super::EngineError;
use crate::model::TextModel;

/// Settings of an [`Engine`](super::Engine).
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// Tokens in a block of the KV cache. Default 16.
    pub block_size: usize,
    /// Bytes that the KV cache may take. It takes less where `max_sequences` sequences of the
    /// model's context length need less. Default 1 GiB.
    pub cache_bytes: u64,
    /// Type of the cached keys and values. Default f16.
    pub kv_dtype: KvDType,
    /// Tokens of one step, prompts' slices and running sequences' next tokens together; at least
    /// `max_sequences`. Default 512.
    pub max_batch_tokens: usize,
    /// How long a step may take while sequences decode: prompts that come in are cut so that the others' next tokens
    /// wait no longer than about this. Default 100 ms.
    pub step_time: Duration,
    /// When tokens that the text itself suggests are tried ahead. Default [`Speculation::WherePays`].
    pub speculation: Speculation,
    /// Sequences that run at a time. Default 64.
    pub max_sequences: usize,
    /// Requests that may wait, beyond those that run. Default 256.
    pub queue_limit: usize,
    /// How long a request has to wait until it is served before a fresh one of the next higher
    /// priority. Order by priority alone would starve the low ones. Default 30 s.
    pub priority_step: Duration,
}

/// When an engine tries tokens ahead that the text itself suggests. It changes no answer, only when it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speculation {
    /// Never.
    Off,
    /// Where what a step costs and how often guesses were right say that it is faster so.
    WherePays,
    /// Wherever there is a guess and room for it.
    Always,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            block_size: 16,
            cache_bytes: 1 << 30,
            kv_dtype: KvDType::F16,
            max_batch_tokens: 512,
            step_time: Duration::from_millis(100),
            speculation: Speculation::WherePays,
            max_sequences: 64,
            queue_limit: 256,
            priority_step: Duration::from_secs(30),
        }
    }
}

impl EngineConfig {
    /// Blocks of the KV cache for `model`: what `cache_bytes` pays for, and at most what
    /// `max_sequences` full contexts need.
    ///
    /// # Errors
    /// [`EngineError::Start`] where a setting is 0 or the budget does not pay for one block.
    pub fn cache_blocks(&self, model: &dyn TextModel) -> Result<usize, EngineError> {
        let refuse = |message: String| Err(EngineError::Start { message });
        for (name, value) in [
            ("block_size", self.block_size),
            ("max_batch_tokens", self.max_batch_tokens),
            ("max_sequences", self.max_sequences),
        ] {
            if value == 0 {
                return refuse(format!("{name} is 0"));
            }
        }
        if self.max_batch_tokens < self.max_sequences {
            return refuse(format!(
                "max_batch_tokens is {}, fewer than the {} sequences that each need a token a step",
                self.max_batch_tokens, self.max_sequences
            ));
        }
        let block_bytes = (model.kv_bytes_per_token(self.kv_dtype).max(1) as u64)
            .saturating_mul(self.block_size as u64);
        let affordable = usize::try_from(self.cache_bytes / block_bytes).unwrap_or(usize::MAX);
        if affordable == 0 {
            return refuse(format!(
                "a KV cache of {} bytes does not hold one block of {} tokens, {block_bytes} bytes",
                self.cache_bytes, self.block_size
            ));
        }
        let context = model.info().context_length.div_ceil(self.block_size);
        // Slots are numbered in u32.
        let addressable = u32::MAX as usize / self.block_size;
        Ok(affordable
            .min(context.saturating_mul(self.max_sequences))
            .min(addressable)
            .max(1))
    }
}
