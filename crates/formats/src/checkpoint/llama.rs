//! Llama 2 and 3: `LlamaForCausalLM`.
//!
//! transformers: `models/llama/modeling_llama.py`; llama.cpp: `LlamaModel` of `convert_hf_to_gguf.py`. Rows of q and k
//! are reordered to the interleaved rotation that GGUF's llama has.

use super::decoder;
use super::hugging_face::{Architecture, Rename, Reorder};
use crate::Result;
use crate::config::Config;
use crate::gguf::Metadata;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "llama",
    classes: &["LlamaForCausalLM", "LlamaModel"],
    metadata,
    rename,
    computed: decoder::rope_factors,
};

fn metadata(config: &Config, m: &mut Metadata) -> Result<()> {
    decoder::metadata(config, "llama", m)
}

fn rename(config: &Config, name: &str) -> Result<Rename> {
    // Norms of q and k are not llama's.
    if name.contains("_norm.") && name.contains("self_attn") {
        return Ok(Rename::Unknown);
    }
    decoder::rename(config, name, |heads| Reorder::Interleave { heads })
}
