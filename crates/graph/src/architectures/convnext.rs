//! ConvNeXt: "A ConvNet for the 2020s", <https://arxiv.org/abs/2201.03545>. transformers:
//! `models/convnext/modeling_convnext.py` of 5.24.

use serde_json::json;

use super::builder::{Conv, Net, Rows};
use super::{Architecture, image, labels};
use crate::Result;
use crate::lower::builder::ints;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    classes: &["ConvNextForImageClassification"],
    build,
};

/// Of all norms but the last.
const EPS: f64 = 1e-6;

fn build(net: &mut Net<'_>) -> Result<()> {
    let config = net.config();
    let channels = config.size_or("num_channels", 3)? as usize;
    let patch = config.size_or("patch_size", 4)? as usize;
    let activation = config.string("hidden_act")?.unwrap_or("gelu");
    let eps = config.f64("layer_norm_eps")?.unwrap_or(1e-12);
    let sizes = config
        .sizes("hidden_sizes")?
        .unwrap_or(vec![96, 192, 384, 768]);
    let depths = config.sizes("depths")?.unwrap_or(vec![3, 3, 9, 3]);
    config.only("num_stages", &[json!(sizes.len())])?;
    if sizes.len() != depths.len() || sizes.is_empty() {
        let problem = format!(
            "{} stages, but hidden_sizes has {}",
            depths.len(),
            sizes.len()
        );
        return Err(config.wrong("depths", problem).into());
    }
    let is_scaled = config.f64("layer_scale_init_value")?.unwrap_or(1e-6) > 0.0;
    let labels = labels(config)?;
    let size = image::preprocessed_size(net)?;
    let pixels = image::input(net, channels, size);
    let mut width = sizes[0] as usize;
    let stem = downsampling(channels, width, patch);
    let x = net.conv("convnext.embeddings.patch_embeddings", &pixels, stem)?;
    let mut x = norm_of_channels(net, "convnext.embeddings.layernorm", &x, width)?;
    for (stage, (&size, &depth)) in sizes.iter().zip(&depths).enumerate() {
        let at = format!("convnext.encoder.stages.{stage}");
        if stage > 0 {
            let size = size as usize;
            x = norm_of_channels(net, &format!("{at}.downsampling_layer.0"), &x, width)?;
            let conv = downsampling(width, size, 2);
            x = net.conv(&format!("{at}.downsampling_layer.1"), &x, conv)?;
            width = size;
        }
        for n in 0..depth {
            x = block(
                net,
                &format!("{at}.layers.{n}"),
                &x,
                width,
                activation,
                is_scaled,
            )?;
        }
    }
    let x = net.mean_of_pixels("convnext.pooler", &x)?;
    let x = net.layer_norm("convnext.layernorm", &x, width, eps)?;
    let logits = net.linear("classifier", &x, (width, labels), Rows::Single)?;
    image::logits(net, &logits, labels);
    Ok(())
}

/// A convolution over squares that lie beside each other.
fn downsampling(channels: usize, filters: usize, side: usize) -> Conv {
    Conv {
        channels,
        filters,
        kernel: side,
        stride: side,
        padding: 0,
        groups: 1,
        bias: true,
    }
}

/// A norm over the channels of each pixel: `(B, C, H, W)` → `(B, C, H, W)`.
fn norm_of_channels(net: &mut Net<'_>, layer: &str, x: &str, channels: usize) -> Result<String> {
    let x = net.node(layer, "Transpose", &[x], vec![ints("perm", [0, 2, 3, 1])]);
    let x = net.layer_norm(layer, &x, channels, EPS)?;
    Ok(net.node(layer, "Transpose", &[&x], vec![ints("perm", [0, 3, 1, 2])]))
}

/// A depthwise convolution and two layers over channels, with what goes around them.
fn block(
    net: &mut Net<'_>,
    layer: &str,
    x: &str,
    width: usize,
    activation: &str,
    is_scaled: bool,
) -> Result<String> {
    let at = |part: &str| format!("{layer}.{part}");
    let depthwise = Conv {
        channels: width,
        filters: width,
        kernel: 7,
        stride: 1,
        padding: 3,
        groups: width,
        bias: true,
    };
    let y = net.conv(&at("dwconv"), x, depthwise)?;
    let y = net.node(
        &at("dwconv"),
        "Transpose",
        &[&y],
        vec![ints("perm", [0, 2, 3, 1])],
    );
    let y = net.layer_norm(&at("layernorm"), &y, width, EPS)?;
    let y = net.linear(&at("pwconv1"), &y, (width, 4 * width), Rows::Many)?;
    let y = net.activation(&at("pwconv1"), &y, "hidden_act", activation)?;
    let mut y = net.linear(&at("pwconv2"), &y, (4 * width, width), Rows::Many)?;
    if is_scaled {
        let scale = net.weight(&at("layer_scale_parameter"), &[width])?;
        y = net.node(layer, "Mul", &[&y, &scale], vec![]);
    }
    let y = net.node(layer, "Transpose", &[&y], vec![ints("perm", [0, 3, 1, 2])]);
    Ok(net.node(layer, "Add", &[x, &y], vec![]))
}
