//! The settings of an image processor, under the names that `preprocessor_config.json` has for them.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::{Filter, TimmConfig};

/// How images are made what a network takes. What is left out is as the processor that is named has it, or as
/// [`crate::ImageProcessor::new`] says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// The processor's class in transformers, such as `ViTImageProcessor`.
    pub image_processor_type: Option<String>,
    /// The same in older files.
    pub feature_extractor_type: Option<String>,
    /// Whether images are resized.
    pub do_resize: Option<bool>,
    /// The size that they get.
    pub size: Option<Edges>,
    /// How much of the resized image is kept, for some processors.
    pub crop_pct: Option<f64>,
    /// The filter that they are resized with.
    pub resample: Option<Resample>,
    /// Whether the middle is cut out.
    pub do_center_crop: Option<bool>,
    /// The size of the middle.
    pub crop_size: Option<Edges>,
    /// Whether values are multiplied by a factor.
    pub do_rescale: Option<bool>,
    /// The factor; 1/255 unless told otherwise.
    pub rescale_factor: Option<f64>,
    /// Whether the mean is taken from values, which then are divided by the standard deviation.
    pub do_normalize: Option<bool>,
    /// The mean of each channel.
    pub image_mean: Option<Vec<f64>>,
    /// The standard deviation of each channel.
    pub image_std: Option<Vec<f64>>,
    /// Whether blue comes first.
    pub do_flip_channel_order: Option<bool>,
    /// Whether images with a light border are made negatives, so that all are light on dark. This has no counterpart in
    /// transformers.
    pub light_on_dark: Option<bool>,
    /// Refused where it is true.
    pub do_pad: Option<bool>,
    /// Whether 1 is taken from rescaled values; for `EfficientNetImageProcessor` alone, others are refused.
    pub rescale_offset: Option<bool>,
    /// Whether values are divided by the standard deviation once more; for `EfficientNetImageProcessor` alone, others are refused.
    pub include_top: Option<bool>,
    /// Refused where it is true.
    pub keep_aspect_ratio: Option<bool>,
    /// Refused where it is true.
    pub do_thumbnail: Option<bool>,
    /// Refused where it is true.
    pub do_align_long_axis: Option<bool>,
    /// What timm says, in place of all others.
    pub pretrained_cfg: Option<TimmConfig>,
}

impl ImageConfig {
    /// The names of settings that mean something where a person writes them.
    pub const NAMES: [&str; 13] = [
        "do_resize",
        "size",
        "crop_pct",
        "resample",
        "do_center_crop",
        "crop_size",
        "do_rescale",
        "rescale_factor",
        "do_normalize",
        "image_mean",
        "image_std",
        "do_flip_channel_order",
        "light_on_dark",
    ];

    /// How many channels images have, as far as it says so.
    pub fn channels(&self) -> Option<usize> {
        match &self.pretrained_cfg {
            Some(timm) => timm.input_size.map(|[channels, ..]| channels),
            None => self.image_mean.as_ref().map(Vec::len),
        }
    }

    /// The first setting whose like there is none of here, or not for a processor that `is_efficient_net` or not.
    pub(crate) fn refused(&self, is_efficient_net: bool) -> Option<&'static str> {
        let of_one = |value: Option<bool>| value.filter(|_| !is_efficient_net);
        let settings = [
            ("do_pad", self.do_pad),
            ("rescale_offset", of_one(self.rescale_offset)),
            ("include_top", of_one(self.include_top)),
            ("keep_aspect_ratio", self.keep_aspect_ratio),
            ("do_thumbnail", self.do_thumbnail),
            ("do_align_long_axis", self.do_align_long_axis),
        ];
        let mut on = settings
            .into_iter()
            .filter(|(_, value)| *value == Some(true));
        on.next().map(|(name, _)| name)
    }
}

/// A size: a number for one edge or both, as the processor has it, or edges by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edges {
    /// One number.
    Number(usize),
    /// Both.
    Both {
        /// The height.
        height: usize,
        /// The width.
        width: usize,
    },
    /// That of the shorter edge; the other follows.
    Shortest {
        /// The shorter edge.
        edge: usize,
        /// Longest that the other may become; the shorter one gives way.
        longest: Option<usize>,
    },
}

impl<'de> Deserialize<'de> for Edges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Edges, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(usize),
            List([usize; 2]),
            Named {
                height: Option<usize>,
                width: Option<usize>,
                shortest_edge: Option<usize>,
                longest_edge: Option<usize>,
            },
        }
        let written = Written::deserialize(deserializer).map_err(|_| {
            D::Error::custom(
                "a size is a number, [height, width], or height and width or shortest_edge by name",
            )
        })?;
        match written {
            Written::Number(edge) => Ok(Edges::Number(edge)),
            Written::List([height, width]) => Ok(Edges::Both { height, width }),
            Written::Named {
                shortest_edge: Some(edge),
                longest_edge: longest,
                ..
            } => Ok(Edges::Shortest { edge, longest }),
            Written::Named {
                height: Some(height),
                width: Some(width),
                ..
            } => Ok(Edges::Both { height, width }),
            Written::Named { .. } => Err(D::Error::custom(
                "a size has height and width, or shortest_edge",
            )),
        }
    }
}

/// A filter, by its number in PIL or its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resample(pub Filter);

impl<'de> Deserialize<'de> for Resample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Resample, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u8),
            Name(String),
        }
        let filter = match Written::deserialize(deserializer) {
            Ok(Written::Number(number)) => match number {
                0 => Some(Filter::Nearest),
                1 => Some(Filter::Lanczos),
                2 => Some(Filter::Bilinear),
                3 => Some(Filter::Bicubic),
                4 => Some(Filter::Box),
                5 => Some(Filter::Hamming),
                _ => None,
            },
            Ok(Written::Name(name)) => match name.as_str() {
                "nearest" => Some(Filter::Nearest),
                "lanczos" => Some(Filter::Lanczos),
                "bilinear" => Some(Filter::Bilinear),
                "bicubic" => Some(Filter::Bicubic),
                "box" => Some(Filter::Box),
                "hamming" => Some(Filter::Hamming),
                _ => None,
            },
            Err(_) => None,
        };
        filter.map(Resample).ok_or_else(|| {
            D::Error::custom(
                "resample is 0 to 5, or nearest, lanczos, bilinear, bicubic, box or hamming",
            )
        })
    }
}
