//! Llama 1 to 3.x, and models of other names with its architecture (Mistral without a window, SmolLM, TinyLlama).
//!
//! Papers: Touvron et al. 2023, <https://arxiv.org/abs/2302.13971> and <https://arxiv.org/abs/2307.09288>; Llama team
//! 2024, <https://arxiv.org/abs/2407.21783>. Upstream:
//! <https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/llama/modeling_llama.py>.
//!
//! Covered: grouped queries, tied embeddings, biases where a checkpoint has them, linear, Llama 3 and YaRN scaling.
//! In GGUF the rows of queries and keys are permuted so that neighbouring values rotate together.

use hearth_kernels::RopeStyle;

use super::decoder::{Decoder, Variant};
use super::weights::Reader;
use crate::error::Result;

/// Reads a Llama checkpoint.
pub(crate) fn load(reader: Reader) -> Result<Decoder> {
    Decoder::read(
        reader,
        &Variant {
            rope_style: RopeStyle::Interleaved,
            qkv_bias: false,
            qk_norm: false,
        },
    )
}
