//! What timm makes of an image before a network sees it.
//!
//! `transforms_imagenet_eval` of timm 1.0 (<https://github.com/huggingface/pytorch-image-models/blob/v1.0.22/timm/data/transforms_factory.py>)
//! with what `pretrained_cfg` of a checkpoint's `config.json` says, on images of PIL: the shorter edge is resized to the input's
//! divided by `crop_pct`, and the middle is cut out. `border`, which pads, is left out.

use serde::Deserialize;

use crate::family::{IMAGENET_MEAN, IMAGENET_STD};
use crate::processor::{Resize, check_edges};
use crate::{Edges, ImageConfig, Resample, Target};

/// The share of an edge that is kept unless told otherwise.
const CROP_PCT: f64 = 0.875;
/// The edge of an input unless told otherwise.
const EDGE: usize = 224;

/// `pretrained_cfg` of a timm checkpoint, as far as it is about images.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TimmConfig {
    /// Channels, height and width.
    pub input_size: Option<[usize; 3]>,
    /// The same for larger images, which the network takes too.
    pub test_input_size: Option<[usize; 3]>,
    /// The filter's name; `bicubic` unless told otherwise.
    pub interpolation: Option<Resample>,
    /// How much of the resized image is kept.
    pub crop_pct: Option<f64>,
    /// The same for larger images.
    pub test_crop_pct: Option<f64>,
    /// `center`, unless told otherwise, or `squash`.
    pub crop_mode: Option<String>,
    /// The mean of each channel.
    pub mean: Option<Vec<f64>>,
    /// The standard deviation of each channel.
    pub std: Option<Vec<f64>>,
}

impl TimmConfig {
    /// How an image gets the size of `target`, and the height and width of the middle that is cut out. A network of one fixed size
    /// says its own, and any other takes `input_size`.
    pub(crate) fn sizes(&self, target: Target) -> Result<(Resize, (usize, usize)), String> {
        let edges = |size: Option<[usize; 3]>| size.map(|[_, height, width]| (height, width));
        let own = edges(self.input_size).unwrap_or((EDGE, EDGE));
        let (height, width) = (
            target.height.unwrap_or(own.0),
            target.width.unwrap_or(own.1),
        );
        check_edges("input_size", height, width)?;
        let is_larger =
            (height, width) != own && edges(self.test_input_size) == Some((height, width));
        let larger = self.test_crop_pct.filter(|pct| is_larger && *pct != 0.0);
        let pct = larger
            .or(self.crop_pct)
            .filter(|pct| *pct != 0.0)
            .unwrap_or(CROP_PCT);
        if !(0.05..=1.0).contains(&pct) {
            return Err("pretrained_cfg.crop_pct is a share, from 0.05 to 1".into());
        }
        let scaled = |edge: usize| (edge as f64 / pct).floor() as usize;
        let (to_height, to_width) = (scaled(height), scaled(width));
        let resize = match self.crop_mode.as_deref().unwrap_or("center") {
            "squash" => Resize::Both {
                height: to_height,
                width: to_width,
            },
            "center" | "" if to_height == to_width => Resize::Shortest {
                edge: to_height,
                longest: None,
            },
            "center" | "" => Resize::Cover {
                height: to_height,
                width: to_width,
            },
            other => {
                return Err(format!(
                    "pretrained_cfg.crop_mode {other:?} is not supported; there are center and squash"
                ));
            }
        };
        Ok((resize, (height, width)))
    }

    /// The rest as settings under the names that transformers has.
    pub(crate) fn settings(&self) -> ImageConfig {
        let (height, width) = (EDGE, EDGE);
        let each = |said: &Option<Vec<f64>>, default: [f64; 3]| {
            let said = said.clone().filter(|numbers| !numbers.is_empty());
            Some(said.unwrap_or_else(|| default.to_vec()))
        };
        ImageConfig {
            size: Some(Edges::Both { height, width }),
            resample: Some(
                self.interpolation
                    .unwrap_or(Resample(crate::Filter::Bicubic)),
            ),
            do_normalize: Some(true),
            image_mean: each(&self.mean, IMAGENET_MEAN),
            image_std: each(&self.std, IMAGENET_STD),
            ..ImageConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channels, ImageProcessor};

    fn target(edge: Option<usize>) -> Target {
        Target {
            channels: Channels::Rgb,
            channels_last: false,
            height: edge,
            width: edge,
        }
    }

    #[test]
    fn a_network_of_the_larger_size_crops_as_for_that() {
        let timm: TimmConfig = serde_json::from_str(
            r#"{"input_size": [3, 224, 224], "test_input_size": [3, 288, 288], "crop_pct": 0.95, "test_crop_pct": 1.0, "first_conv": "stem"}"#,
        )
        .unwrap();
        let edge = |edge: Option<usize>| match timm.sizes(target(edge)).unwrap() {
            (Resize::Shortest { edge, .. }, crop) => (edge, crop),
            other => panic!("{other:?}"),
        };
        assert_eq!(edge(None), (235, (224, 224)));
        assert_eq!(edge(Some(224)), (235, (224, 224)));
        assert_eq!(edge(Some(288)), (288, (288, 288)));
        assert_eq!(edge(Some(256)), (269, (256, 256)));
    }

    #[test]
    fn what_is_not_done_is_refused() {
        for (text, words) in [
            (r#"{"crop_mode": "border"}"#, "crop_mode \"border\""),
            (r#"{"crop_pct": 1.5}"#, "crop_pct is a share"),
            (r#"{"input_size": [3, 0, 0]}"#, "input_size is 0x0"),
            (r#"{"mean": [0.5, 0.5]}"#, "image_mean has 2 numbers"),
        ] {
            let config = ImageConfig {
                pretrained_cfg: Some(serde_json::from_str(text).unwrap()),
                ..ImageConfig::default()
            };
            let error = ImageProcessor::new(&config, target(None)).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
