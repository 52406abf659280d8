//! Qwen 2: `Qwen2ForCausalLM`, which Qwen 2.5 shares.
//!
//! transformers: `models/qwen2/modeling_qwen2.py`; llama.cpp: `Qwen2Model` of `convert_hf_to_gguf.py`. q and k keep
//! their rows: GGUF's qwen2 rotates halves, as transformers does.

use super::decoder;
use super::hugging_face::{Architecture, Rename, Reorder};
use crate::Result;
use crate::config::Config;
use crate::gguf::Metadata;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "qwen2",
    classes: &["Qwen2ForCausalLM", "Qwen2Model"],
    metadata,
    rename,
    computed: decoder::rope_factors,
};

fn metadata(config: &Config, m: &mut Metadata) -> Result<()> {
    decoder::refuse_sliding_window(config)?;
    decoder::metadata(config, "qwen2", m)
}

fn rename(config: &Config, name: &str) -> Result<Rename> {
    decoder::rename(config, name, |_| Reorder::Keep)
}
