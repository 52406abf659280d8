//! What networks for images have in common: the input and its size, and a classifier's output.

use hearth_formats::Config;
use serde_json::Value;

use super::builder::{Net, any, fixed};
use crate::Result;
use crate::onnx::DataType;

/// The input of transformers' models for images.
const PIXELS: &str = "pixel_values";

/// Adds the input, `(B, channels, H, W)`; its height and width are of any size where `size` is none.
pub(super) fn input(net: &mut Net<'_>, channels: usize, size: Option<[u32; 2]>) -> String {
    let side = |name: &str, size: Option<u32>| match size {
        Some(size) => fixed(size as usize),
        None => any(name),
    };
    let dims = vec![
        any("batch"),
        fixed(channels),
        side("height", size.map(|size| size[0])),
        side("width", size.map(|size| size[1])),
    ];
    net.input(PIXELS, DataType::Float, dims)
}

/// Adds the output of a classifier: one number for each label.
pub(super) fn logits(net: &mut Net<'_>, from: &str, labels: usize) {
    scores(net, "logits", from, labels);
}

/// Adds an output of one number for each label.
pub(super) fn scores(net: &mut Net<'_>, name: &str, from: &str, labels: usize) {
    net.output(name, from, vec![any("batch"), fixed(labels)]);
}

/// The height and width that `preprocessor_config.json` brings images to, where it is there and says so.
pub(super) fn preprocessed_size(net: &Net<'_>) -> Result<Option<[u32; 2]>> {
    let folder = net.checkpoint().folder();
    let Some(path) = folder.map(|folder| folder.join("preprocessor_config.json")) else {
        return Ok(None);
    };
    if !path.is_file() {
        return Ok(None);
    }
    Ok(size_after(&Config::open(&path)?)?)
}

fn size_after(config: &Config) -> hearth_formats::Result<Option<[u32; 2]>> {
    if config.bool("do_center_crop")? == Some(true) && config.get("crop_size").is_some() {
        return sides(config, "crop_size");
    }
    if config.bool("do_resize")? == Some(false) || config.get("size").is_none() {
        return Ok(None);
    }
    // The processor of ConvNeXt and ResNet crops to a square of the shortest edge.
    if config.get("crop_pct").is_some()
        && let Ok(Some(size)) = config.object("size")
    {
        return Ok(size.u32("shortest_edge")?.map(|side| [side; 2]));
    }
    sides(config, "size")
}

/// `224` or `{"height": 224, "width": 224}`.
fn sides(config: &Config, key: &str) -> hearth_formats::Result<Option<[u32; 2]>> {
    if config.get(key).is_some_and(Value::is_number) {
        return Ok(config.u32(key)?.map(|side| [side; 2]));
    }
    let Some(size) = config.object(key)? else {
        return Ok(None);
    };
    Ok(size
        .u32("height")?
        .zip(size.u32("width")?)
        .map(<[u32; 2]>::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_are_of_the_size_that_the_processor_makes() {
        let size = |config: Value| size_after(&Config::new("c".into(), config).unwrap()).unwrap();
        assert_eq!(
            size(json!({"size": 224, "crop_pct": 0.875})),
            Some([224; 2])
        );
        let shortest = json!({"shortest_edge": 224});
        assert_eq!(
            size(json!({"size": shortest, "crop_pct": 0.875})),
            Some([224; 2])
        );
        assert_eq!(size(json!({"size": shortest})), None);
        let both = json!({"height": 4, "width": 6});
        assert_eq!(size(json!({"size": both})), Some([4, 6]));
        assert_eq!(size(json!({"size": both, "do_resize": false})), None);
        let crop = json!({"size": shortest, "do_center_crop": true, "crop_size": both});
        assert_eq!(size(crop), Some([4, 6]));
        assert_eq!(size(json!({})), None);
    }
}
