//! What the llama-like decoders (llama, qwen2, qwen3) have in common in `config.json`, tensor names and RoPE scaling.
//!
//! Names and keys after llama.cpp's `convert_hf_to_gguf.py` and `gguf-py/gguf/tensor_mapping.py`.

use serde_json::json;

use super::hugging_face::{ComputedTensor, Rename, Reorder};
use crate::Result;
use crate::config::Config;
use crate::gguf::Metadata;

/// The tensor of RoPE frequency divisors, `[head_dim / 2]`.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The sizes of attention heads.
pub(super) struct Heads {
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) head_dim: u32,
}

impl Heads {
    pub(super) fn of(config: &Config) -> Result<Heads> {
        let heads = config.require_size("num_attention_heads")?;
        let hidden = config.require_size("hidden_size")?;
        let head_dim = match config.u32("head_dim")? {
            Some(d) => d,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                return Err(config.wrong(
                    "num_attention_heads",
                    format!("hidden_size {hidden} does not divide into {heads} heads"),
                ));
            }
        };
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(config.wrong("head_dim", format!("{head_dim} is not even and positive")));
        }
        let kv_heads = config.size_or("num_key_value_heads", heads)?;
        if !heads.is_multiple_of(kv_heads) {
            return Err(config.wrong(
                "num_key_value_heads",
                format!("{heads} heads do not divide among {kv_heads}"),
            ));
        }
        Ok(Heads {
            heads,
            kv_heads,
            head_dim,
        })
    }
}

/// Adds the keys that all llama-like decoders have.
pub(super) fn metadata(config: &Config, arch: &str, m: &mut Metadata) -> Result<()> {
    let heads = Heads::of(config)?;
    let key = |k: &str| format!("{arch}.{k}");
    config.only("hidden_act", &[json!("silu")])?;
    config.only("partial_rotary_factor", &[json!(1), json!(1.0)])?;
    m.insert(
        key("block_count"),
        config.require_size("num_hidden_layers")?,
    );
    m.insert(
        key("context_length"),
        config.require_size("max_position_embeddings")?,
    );
    m.insert(key("embedding_length"), config.require_size("hidden_size")?);
    m.insert(
        key("feed_forward_length"),
        config.require_size("intermediate_size")?,
    );
    m.insert(key("vocab_size"), config.require_size("vocab_size")?);
    m.insert(key("attention.head_count"), heads.heads);
    m.insert(key("attention.head_count_kv"), heads.kv_heads);
    m.insert(key("attention.key_length"), heads.head_dim);
    m.insert(key("attention.value_length"), heads.head_dim);
    m.insert(
        key("attention.layer_norm_rms_epsilon"),
        config.f64("rms_norm_eps")?.unwrap_or(1e-6) as f32,
    );
    m.insert(key("rope.dimension_count"), heads.head_dim);
    let rope = Rope::of(config)?;
    m.insert(key("rope.freq_base"), rope.theta as f32);
    match rope.scaling {
        Scaling::None | Scaling::Llama3 { .. } => {}
        Scaling::Linear { factor } => {
            m.insert(key("rope.scaling.type"), "linear");
            m.insert(key("rope.scaling.factor"), factor as f32);
        }
        Scaling::Yarn(yarn) => {
            m.insert(key("rope.scaling.type"), "yarn");
            m.insert(key("rope.scaling.factor"), yarn.factor as f32);
            m.insert(
                key("rope.scaling.original_context_length"),
                yarn.original_context,
            );
            if let Some(v) = yarn.beta_fast {
                m.insert(key("rope.scaling.yarn_beta_fast"), v as f32);
            }
            if let Some(v) = yarn.beta_slow {
                m.insert(key("rope.scaling.yarn_beta_slow"), v as f32);
            }
            if let Some(v) = yarn.attention_factor {
                // GGUF's factor multiplies the formula that transformers' replaces.
                let formula = 0.1 * yarn.factor.ln() + 1.0;
                m.insert(key("rope.scaling.attn_factor"), (v / formula) as f32);
            }
        }
    }
    Ok(())
}

/// Refuses attention windows, which are off in the models that are supported.
pub(super) fn refuse_sliding_window(config: &Config) -> Result<()> {
    config.only("use_sliding_window", &[json!(false)])?;
    match config.get("layer_types").and_then(|v| v.as_array()) {
        Some(types) if types.iter().any(|t| t != "full_attention") => {
            Err(config.unsupported("layer_types other than full_attention"))
        }
        _ => Ok(()),
    }
}

/// Rotary embeddings as `config.json` says them, in either of its two forms: `rope_theta` and `rope_scaling`, or since
/// transformers 5 `rope_parameters` for both.
struct Rope {
    theta: f64,
    scaling: Scaling,
}

enum Scaling {
    None,
    Linear {
        factor: f64,
    },
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: f64,
    },
    Yarn(Yarn),
}

/// YaRN (Peng et al. 2023) as transformers configures it.
struct Yarn {
    factor: f64,
    original_context: u32,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    attention_factor: Option<f64>,
}

impl Rope {
    fn of(config: &Config) -> Result<Rope> {
        let parameters = config.object("rope_parameters")?;
        let scaling = match &parameters {
            Some(p) => Some(p.clone()),
            None => config.object("rope_scaling")?,
        };
        let theta = match parameters
            .as_ref()
            .map(|p| p.f64("rope_theta"))
            .transpose()?
        {
            Some(Some(theta)) => theta,
            _ => config.f64("rope_theta")?.unwrap_or(10_000.0),
        };
        if !(theta.is_finite() && theta > 0.0) {
            return Err(config.wrong("rope_theta", format!("{theta} is not positive")));
        }
        let scaling = match &scaling {
            Some(s) => Scaling::of(s, config)?,
            None => Scaling::None,
        };
        Ok(Rope { theta, scaling })
    }
}

impl Scaling {
    /// Reads the object `config` inside `model`.
    fn of(config: &Config, model: &Config) -> Result<Scaling> {
        let positive = |key: &str, default: Option<f64>| match config.f64(key)?.or(default) {
            Some(v) if v.is_finite() && v > 0.0 => Ok(v),
            Some(v) => Err(config.wrong(key, format!("{v} is not positive"))),
            None => Err(config.wrong(key, "missing; a positive number is needed")),
        };
        config.only("partial_rotary_factor", &[json!(1), json!(1.0)])?;
        let kind = match config.string("rope_type")? {
            Some(kind) => kind,
            None => config.string("type")?.unwrap_or("default"),
        };
        match kind {
            "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear {
                factor: positive("factor", None)?,
            }),
            "llama3" => {
                let scaling = Scaling::Llama3 {
                    factor: positive("factor", Some(8.0))?,
                    low_freq_factor: positive("low_freq_factor", Some(1.0))?,
                    high_freq_factor: positive("high_freq_factor", Some(4.0))?,
                    original_context: positive("original_max_position_embeddings", Some(8192.0))?,
                };
                if let Scaling::Llama3 {
                    low_freq_factor,
                    high_freq_factor,
                    ..
                } = scaling
                    && low_freq_factor >= high_freq_factor
                {
                    return Err(config.wrong("high_freq_factor", "not above low_freq_factor"));
                }
                Ok(scaling)
            }
            "yarn" => {
                config.only("mscale", &[])?;
                config.only("mscale_all_dim", &[])?;
                config.only("truncate", &[json!(true)])?;
                let optional = |key: &str| match config.get(key) {
                    Some(_) => positive(key, None).map(Some),
                    None => Ok(None),
                };
                let original_context = match config.u32("original_max_position_embeddings")? {
                    Some(v) => v,
                    None => model.require_size("max_position_embeddings")?,
                };
                Ok(Scaling::Yarn(Yarn {
                    factor: positive("factor", None)?,
                    original_context,
                    beta_fast: optional("beta_fast")?,
                    beta_slow: optional("beta_slow")?,
                    attention_factor: optional("attention_factor")?,
                }))
            }
            other => Err(config.unsupported(format!(
                "RoPE scaling {other}; supported: default, linear, llama3, yarn"
            ))),
        }
    }
}

/// The divisors of RoPE frequencies where the config asks for llama 3.1's scaling: low frequencies are divided by
/// `factor`, high ones kept, those between blended.
pub(super) fn rope_factors(config: &Config) -> Result<Vec<ComputedTensor>> {
    let Rope {
        theta,
        scaling:
            Scaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_context,
            },
    } = Rope::of(config)?
    else {
        return Ok(Vec::new());
    };
    let head_dim = Heads::of(config)?.head_dim;
    let factors = (0..head_dim / 2).map(|i| {
        let frequency = theta.powf(-2.0 * f64::from(i) / f64::from(head_dim));
        let wavelength = 2.0 * std::f64::consts::PI / frequency;
        if wavelength < original_context / high_freq_factor {
            1.0
        } else if wavelength > original_context / low_freq_factor {
            factor as f32
        } else {
            let smooth = (original_context / wavelength - low_freq_factor)
                / (high_freq_factor - low_freq_factor);
            (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
        }
    });
    Ok(vec![(ROPE_FACTORS.to_owned(), factors.collect())])
}

/// Splits `prefix.N.rest` into the number of the layer and the rest; `None` where it is no such name or the layer is
/// not one of the model's.
pub(super) fn layer_part<'a>(name: &'a str, prefix: &str, layers: u32) -> Option<(u32, &'a str)> {
    let (number, rest) = name
        .strip_prefix(prefix)?
        .strip_prefix('.')?
        .split_once('.')?;
    let number = number.parse().ok().filter(|n| *n < layers)?;
    Some((number, rest))
}

/// Names a tensor of a llama-like decoder. `rotated` says how rows of q and k for so many heads are reordered.
pub(super) fn rename(config: &Config, name: &str, rotated: fn(u32) -> Reorder) -> Result<Rename> {
    // The language model has the prefix `model.`, the bare one (embedding models) none.
    let bare = name.strip_prefix("model.").unwrap_or(name);
    let to = |name: &str| Ok(Rename::To(name.to_owned(), Reorder::Keep));
    match bare {
        "embed_tokens.weight" => return to("token_embd.weight"),
        "norm.weight" => return to("output_norm.weight"),
        "lm_head.weight" if config.bool("tie_word_embeddings")? == Some(true) => {
            return Ok(Rename::Skip);
        }
        "lm_head.weight" => return to("output.weight"),
        _ => {}
    }
    let layers = config.require_size("num_hidden_layers")?;
    let Some((n, part)) = layer_part(bare, "layers", layers) else {
        return Ok(Rename::Unknown);
    };
    if part == "self_attn.rotary_emb.inv_freq" {
        return Ok(Rename::Skip);
    }
    let Some((module, kind)) = part.rsplit_once('.') else {
        return Ok(Rename::Unknown);
    };
    if !matches!(kind, "weight" | "bias") {
        return Ok(Rename::Unknown);
    }
    let heads = Heads::of(config)?;
    let (module, reorder) = match module {
        "input_layernorm" => ("attn_norm", Reorder::Keep),
        "self_attn.q_proj" => ("attn_q", rotated(heads.heads)),
        "self_attn.k_proj" => ("attn_k", rotated(heads.kv_heads)),
        "self_attn.v_proj" => ("attn_v", Reorder::Keep),
        "self_attn.o_proj" => ("attn_output", Reorder::Keep),
        "self_attn.q_norm" => ("attn_q_norm", Reorder::Keep),
        "self_attn.k_norm" => ("attn_k_norm", Reorder::Keep),
        "post_attention_layernorm" => ("ffn_norm", Reorder::Keep),
        "mlp.gate_proj" => ("ffn_gate", Reorder::Keep),
        "mlp.up_proj" => ("ffn_up", Reorder::Keep),
        "mlp.down_proj" => ("ffn_down", Reorder::Keep),
        _ => return Ok(Rename::Unknown),
    };
    Ok(Rename::To(format!("blk.{n}.{module}.{kind}"), reorder))
}
