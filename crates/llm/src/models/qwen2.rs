//! Qwen2 and Qwen2.5: Llama's decoder with biases on queries, keys and values, and halves of a head that rotate
//! together.
//!
//! Paper: Yang et al. 2024, <https://arxiv.org/abs/2407.10671>. Upstream:
//! <https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/qwen2/modeling_qwen2.py>.
//!
//! Left out: sliding windows (`use_sliding_window`) and dual-chunk attention.

use hearth_kernels::RopeStyle;

use super::decoder::{Decoder, Variant};
use super::weights::Reader;
use crate::error::Result;

/// Reads a Qwen2 checkpoint.
pub(crate) fn load(reader: Reader) -> Result<Decoder> {
    Decoder::read(
        reader,
        &Variant {
            rope_style: RopeStyle::Half,
            qkv_bias: true,
            qk_norm: false,
        },
    )
}
