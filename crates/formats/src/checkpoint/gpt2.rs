//! GPT-2: `GPT2LMHeadModel`.
//!
//! transformers: `models/gpt2/modeling_gpt2.py`; llama.cpp: `GPT2Model` of `convert_hf_to_gguf.py`. Its linear layers
//! are `Conv1D`, stored `[in, out]`, and so transposed; q, k and v stay one matrix, `attn_qkv`.

use serde_json::json;

use super::decoder::layer_part;
use super::hugging_face::{Architecture, Rename, Reorder};
use crate::Result;
use crate::config::Config;
use crate::gguf::Metadata;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "gpt2",
    classes: &["GPT2LMHeadModel", "GPT2Model"],
    metadata,
    rename,
    computed: |_| Ok(Vec::new()),
};

fn metadata(config: &Config, m: &mut Metadata) -> Result<()> {
    // gelu_pytorch_tanh is the same function under another name.
    config.only(
        "activation_function",
        &[json!("gelu_new"), json!("gelu_pytorch_tanh")],
    )?;
    config.only("scale_attn_weights", &[json!(true)])?;
    config.only("scale_attn_by_inverse_layer_idx", &[json!(false)])?;
    config.only("add_cross_attention", &[json!(false)])?;
    let hidden = config.require_size("n_embd")?;
    let heads = config.require_size("n_head")?;
    if !hidden.is_multiple_of(heads) {
        return Err(config.wrong(
            "n_head",
            format!("n_embd {hidden} does not divide into {heads} heads"),
        ));
    }
    m.insert("gpt2.block_count", config.require_size("n_layer")?);
    m.insert("gpt2.context_length", config.require_size("n_positions")?);
    m.insert("gpt2.embedding_length", hidden);
    m.insert(
        "gpt2.feed_forward_length",
        config.size_or("n_inner", hidden.saturating_mul(4))?,
    );
    m.insert("gpt2.vocab_size", config.require_size("vocab_size")?);
    m.insert("gpt2.attention.head_count", heads);
    m.insert(
        "gpt2.attention.layer_norm_epsilon",
        config.f64("layer_norm_epsilon")?.unwrap_or(1e-5) as f32,
    );
    Ok(())
}

fn rename(config: &Config, name: &str) -> Result<Rename> {
    let bare = name.strip_prefix("transformer.").unwrap_or(name);
    let to = |name: &str| Ok(Rename::To(name.to_owned(), Reorder::Keep));
    match bare {
        "wte.weight" => return to("token_embd.weight"),
        "wpe.weight" => return to("position_embd.weight"),
        "ln_f.weight" => return to("output_norm.weight"),
        "ln_f.bias" => return to("output_norm.bias"),
        // GPT-2 ties its embeddings unless told otherwise.
        "lm_head.weight" if config.bool("tie_word_embeddings")? != Some(false) => {
            return Ok(Rename::Skip);
        }
        "lm_head.weight" => return to("output.weight"),
        _ => {}
    }
    let Some((n, part)) = layer_part(bare, "h", config.require_size("n_layer")?) else {
        return Ok(Rename::Unknown);
    };
    // The causal mask, stored as a buffer by older versions.
    if matches!(part, "attn.bias" | "attn.masked_bias") {
        return Ok(Rename::Skip);
    }
    let Some((module, kind)) = part.rsplit_once('.') else {
        return Ok(Rename::Unknown);
    };
    let (module, linear) = match module {
        "ln_1" => ("attn_norm", false),
        "attn.c_attn" => ("attn_qkv", true),
        "attn.c_proj" => ("attn_output", true),
        "ln_2" => ("ffn_norm", false),
        "mlp.c_fc" => ("ffn_up", true),
        "mlp.c_proj" => ("ffn_down", true),
        _ => return Ok(Rename::Unknown),
    };
    let reorder = match kind {
        "weight" if linear => Reorder::Transpose,
        "weight" | "bias" => Reorder::Keep,
        _ => return Ok(Rename::Unknown),
    };
    Ok(Rename::To(format!("blk.{n}.{module}.{kind}"), reorder))
}
