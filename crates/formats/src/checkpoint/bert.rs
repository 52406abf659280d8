//! BERT as an encoder: `BertModel`, alone or in a sentence-transformers folder.
//!
//! transformers: `models/bert/modeling_bert.py`; llama.cpp: `BertModel` of `convert_hf_to_gguf.py`. The pooler and the
//! heads of pre-training take no part in embeddings and are left out.

use serde_json::json;

use super::decoder::layer_part;
use super::hugging_face::{Architecture, Rename, Reorder};
use crate::Result;
use crate::config::Config;
use crate::gguf::Metadata;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "bert",
    classes: &["BertModel", "BertForMaskedLM", "BertForPreTraining"],
    metadata,
    rename,
    computed: |_| Ok(Vec::new()),
};

fn metadata(config: &Config, m: &mut Metadata) -> Result<()> {
    config.only("hidden_act", &[json!("gelu")])?;
    config.only("position_embedding_type", &[json!("absolute")])?;
    config.only("is_decoder", &[json!(false)])?;
    let hidden = config.require_size("hidden_size")?;
    let heads = config.require_size("num_attention_heads")?;
    if !hidden.is_multiple_of(heads) {
        return Err(config.wrong(
            "num_attention_heads",
            format!("hidden_size {hidden} does not divide into {heads} heads"),
        ));
    }
    m.insert(
        "bert.block_count",
        config.require_size("num_hidden_layers")?,
    );
    m.insert(
        "bert.context_length",
        config.require_size("max_position_embeddings")?,
    );
    m.insert("bert.embedding_length", hidden);
    m.insert(
        "bert.feed_forward_length",
        config.require_size("intermediate_size")?,
    );
    m.insert("bert.vocab_size", config.require_size("vocab_size")?);
    m.insert("bert.attention.head_count", heads);
    m.insert(
        "bert.attention.layer_norm_epsilon",
        config.f64("layer_norm_eps")?.unwrap_or(1e-12) as f32,
    );
    m.insert("bert.attention.causal", false);
    m.insert(
        "tokenizer.ggml.token_type_count",
        config.size_or("type_vocab_size", 2)?,
    );
    Ok(())
}

fn rename(config: &Config, name: &str) -> Result<Rename> {
    let bare = name.strip_prefix("bert.").unwrap_or(name);
    let to = |name: &str| Ok(Rename::To(name.to_owned(), Reorder::Keep));
    match bare {
        "embeddings.word_embeddings.weight" => return to("token_embd.weight"),
        "embeddings.position_embeddings.weight" => return to("position_embd.weight"),
        "embeddings.token_type_embeddings.weight" => return to("token_types.weight"),
        // Older checkpoints call a norm's parameters gamma and beta.
        "embeddings.LayerNorm.weight" | "embeddings.LayerNorm.gamma" => {
            return to("token_embd_norm.weight");
        }
        "embeddings.LayerNorm.bias" | "embeddings.LayerNorm.beta" => {
            return to("token_embd_norm.bias");
        }
        "embeddings.position_ids" | "embeddings.token_type_ids" => return Ok(Rename::Skip),
        _ if bare.starts_with("pooler.") || bare.starts_with("cls.") => return Ok(Rename::Skip),
        _ => {}
    }
    let layers = config.require_size("num_hidden_layers")?;
    let Some((n, part)) = layer_part(bare, "encoder.layer", layers) else {
        return Ok(Rename::Unknown);
    };
    let Some((module, kind)) = part.rsplit_once('.') else {
        return Ok(Rename::Unknown);
    };
    let module = match module {
        "attention.self.query" => "attn_q",
        "attention.self.key" => "attn_k",
        "attention.self.value" => "attn_v",
        "attention.output.dense" => "attn_output",
        "attention.output.LayerNorm" => "attn_output_norm",
        "intermediate.dense" => "ffn_up",
        "output.dense" => "ffn_down",
        "output.LayerNorm" => "layer_output_norm",
        _ => return Ok(Rename::Unknown),
    };
    let kind = match kind {
        "weight" | "gamma" => "weight",
        "bias" | "beta" => "bias",
        _ => return Ok(Rename::Unknown),
    };
    to(&format!("blk.{n}.{module}.{kind}"))
}
