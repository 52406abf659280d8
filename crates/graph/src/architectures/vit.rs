//! ViT: "An Image is Worth 16x16 Words", <https://arxiv.org/abs/2010.11929>, and DeiT, which has one token more to distill
//! into: <https://arxiv.org/abs/2012.12877>. transformers: `models/{vit,deit}/modeling_*.py` of 5.24, weights under the
//! names that their files have.

use serde_json::{Value, json};

use super::attention::{Heads, Projections, attend};
use super::builder::{Conv, Net, Rows};
use super::{Architecture, image, labels};
use crate::Result;
use crate::lower::builder::{int, ints};
use hearth_formats::Config;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    classes: &[
        "ViTForImageClassification",
        "DeiTForImageClassification",
        "DeiTForImageClassificationWithTeacher",
    ],
    build,
};

struct Settings {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    image_size: [u32; 2],
    patch_size: usize,
    num_channels: usize,
    qkv_bias: bool,
    labels: usize,
}

impl Settings {
    fn read(config: &Config) -> Result<Settings> {
        let settings = Settings {
            hidden_size: config.size_or("hidden_size", 768)? as usize,
            num_hidden_layers: config.size_or("num_hidden_layers", 12)? as usize,
            num_attention_heads: config.size_or("num_attention_heads", 12)? as usize,
            intermediate_size: config.size_or("intermediate_size", 3072)? as usize,
            hidden_act: config.string("hidden_act")?.unwrap_or("gelu").to_owned(),
            layer_norm_eps: config.f64("layer_norm_eps")?.unwrap_or(1e-12),
            image_size: match config.get("image_size") {
                Some(Value::Array(_)) => match config.sizes("image_size")?.as_deref() {
                    Some(&[height, width]) => [height, width],
                    _ => return Err(config.wrong("image_size", "not height and width").into()),
                },
                _ => [config.size_or("image_size", 224)?; 2],
            },
            patch_size: config.size_or("patch_size", 16)? as usize,
            num_channels: config.size_or("num_channels", 3)? as usize,
            qkv_bias: config.bool("qkv_bias")?.unwrap_or(true),
            labels: labels(config)?,
        };
        if !settings
            .hidden_size
            .is_multiple_of(settings.num_attention_heads)
        {
            let (hidden, heads) = (settings.hidden_size, settings.num_attention_heads);
            let problem = format!("a hidden size of {hidden} does not divide into {heads} heads");
            return Err(config.wrong("num_attention_heads", problem).into());
        }
        config.only(
            "head_dim",
            &[json!(settings.hidden_size / settings.num_attention_heads)],
        )?;
        Ok(settings)
    }

    fn patches(&self) -> usize {
        let along = self.image_size.map(|side| side as usize / self.patch_size);
        along[0].saturating_mul(along[1])
    }
}

fn build(net: &mut Net<'_>) -> Result<()> {
    let class = net.checkpoint().class();
    let s = Settings::read(net.config())?;
    let (root, tokens): (_, &[&str]) = match class {
        "ViTForImageClassification" => ("vit", &["cls_token"]),
        _ => ("deit", &["cls_token", "distillation_token"]),
    };
    // Of pre-training; classifiers have no use for them.
    net.leave_out(&["vit.pooler.", "deit.pooler.", "embeddings.mask_token"]);
    let pixels = image::input(net, s.num_channels, Some(s.image_size));
    let mut x = embeddings(net, &s, &format!("{root}.embeddings"), tokens, &pixels)?;
    for n in 0..s.num_hidden_layers {
        x = layer(net, &s, &format!("{root}.encoder.layer.{n}"), &x)?;
    }
    let x = net.layer_norm(
        &format!("{root}.layernorm"),
        &x,
        s.hidden_size,
        s.layer_norm_eps,
    )?;
    let sizes = (s.hidden_size, s.labels);
    let mut logits_of = |layer: &str, token: i64| -> Result<String> {
        let token = net.long(token)?;
        let state = net.node(layer, "Gather", &[&x, &token], vec![int("axis", 1)]);
        net.linear(layer, &state, sizes, Rows::Single)
    };
    if class != "DeiTForImageClassificationWithTeacher" {
        let logits = logits_of("classifier", 0)?;
        image::logits(net, &logits, s.labels);
        return Ok(());
    }
    let own = logits_of("cls_classifier", 0)?;
    let distilled = logits_of("distillation_classifier", 1)?;
    let half = net.number(0.5)?;
    let sum = net.node("mean", "Add", &[&own, &distilled], vec![]);
    let mean = net.node("mean", "Mul", &[&sum, &half], vec![]);
    image::logits(net, &mean, s.labels);
    image::scores(net, "cls_logits", &own, s.labels);
    image::scores(net, "distillation_logits", &distilled, s.labels);
    Ok(())
}

/// A vector for each of the tokens and each patch, with its position: `(B, C, H, W)` → `(B, tokens + patches, hidden)`.
fn embeddings(
    net: &mut Net<'_>,
    s: &Settings,
    layer: &str,
    tokens: &[&str],
    pixels: &str,
) -> Result<String> {
    let hidden = s.hidden_size;
    let conv = Conv {
        channels: s.num_channels,
        filters: hidden,
        kernel: s.patch_size,
        stride: s.patch_size,
        padding: 0,
        groups: 1,
        bias: true,
    };
    let projection = format!("{layer}.patch_embeddings.projection");
    let y = net.conv(&projection, pixels, conv)?;
    // (B, hidden, rows, columns) -> (B, patches, hidden)
    let flat = net.ints(&[0, hidden as i64, s.patches() as i64])?;
    let y = net.node(&projection, "Reshape", &[&y, &flat], vec![]);
    let y = net.node(
        &projection,
        "Transpose",
        &[&y],
        vec![ints("perm", [0, 2, 1])],
    );
    // As many of each token as there are images.
    let batch = net.node(
        layer,
        "Shape",
        &[pixels],
        vec![int("start", 0), int("end", 1)],
    );
    let rest = net.ints(&[1, hidden as i64])?;
    let shape = net.node(layer, "Concat", &[&batch, &rest], vec![int("axis", 0)]);
    let mut parts = Vec::new();
    for token in tokens {
        let token = net.weight(&format!("{layer}.{token}"), &[1, 1, hidden])?;
        parts.push(net.node(layer, "Expand", &[&token, &shape], vec![]));
    }
    parts.push(y);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let all = net.node(layer, "Concat", &parts, vec![int("axis", 1)]);
    let positions = [1, s.patches() + tokens.len(), hidden];
    let positions = net.weight(&format!("{layer}.position_embeddings"), &positions)?;
    Ok(net.node(layer, "Add", &[&all, &positions], vec![]))
}

/// One layer, each half behind its norm, with what goes around it: `(B, L, hidden)` → `(B, L, hidden)`.
fn layer(net: &mut Net<'_>, s: &Settings, layer: &str, x: &str) -> Result<String> {
    let at = |part: &str| format!("{layer}.{part}");
    let (hidden, inner, eps) = (s.hidden_size, s.intermediate_size, s.layer_norm_eps);
    let names = Projections {
        query: at("attention.attention.query"),
        key: at("attention.attention.key"),
        value: at("attention.attention.value"),
        output: at("attention.output.dense"),
        bias: s.qkv_bias,
    };
    let heads = Heads {
        hidden,
        heads: s.num_attention_heads,
    };
    let y = net.layer_norm(&at("layernorm_before"), x, hidden, eps)?;
    let y = attend(net, &names, &y, heads, None)?;
    let x = net.node(layer, "Add", &[&y, x], vec![]);
    let y = net.layer_norm(&at("layernorm_after"), &x, hidden, eps)?;
    let up = at("intermediate.dense");
    let y = net.linear(&up, &y, (hidden, inner), Rows::Many)?;
    let y = net.activation(&up, &y, "hidden_act", &s.hidden_act)?;
    let y = net.linear(&at("output.dense"), &y, (inner, hidden), Rows::Many)?;
    Ok(net.node(layer, "Add", &[&y, &x], vec![]))
}
