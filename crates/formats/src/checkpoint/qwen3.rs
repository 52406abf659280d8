//! Qwen 3: `Qwen3ForCausalLM`, with norms of q and k per head; its embedding models share it.
//!
//! transformers: `models/qwen3/modeling_qwen3.py`; llama.cpp: `Qwen3Model` of `convert_hf_to_gguf.py`. q and k keep
//! their rows: GGUF's qwen3 rotates halves, as transformers does.

use super::decoder;
use super::hugging_face::{Architecture, Rename, Reorder};
use crate::Result;
use crate::config::Config;
use crate::gguf::Metadata;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3",
    classes: &["Qwen3ForCausalLM", "Qwen3Model"],
    metadata,
    rename,
    computed: decoder::rope_factors,
};

fn metadata(config: &Config, m: &mut Metadata) -> Result<()> {
    decoder::refuse_sliding_window(config)?;
    decoder::metadata(config, "qwen3", m)
}

fn rename(config: &Config, name: &str) -> Result<Rename> {
    decoder::rename(config, name, |_| Reorder::Keep)
}
