//! Qwen3 and Qwen3-Embedding: no biases, but an RMSNorm over each head of queries and keys, and heads whose width does
//! not follow from the model's.
//!
//! Papers: Yang et al. 2025, <https://arxiv.org/abs/2505.09388>; embeddings: Zhang et al. 2025,
//! <https://arxiv.org/abs/2506.05176>. Upstream:
//! <https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/qwen3/modeling_qwen3.py>.
//!
//! Left out: the mixtures of experts (`qwen3moe`) and sliding windows.

use hearth_kernels::RopeStyle;

use super::decoder::{Decoder, Variant};
use super::weights::Reader;
use crate::error::Result;

/// Reads a Qwen3 checkpoint.
pub(crate) fn load(reader: Reader) -> Result<Decoder> {
    Decoder::read(
        reader,
        &Variant {
            rope_style: RopeStyle::Half,
            qkv_bias: false,
            qk_norm: true,
        },
    )
}
