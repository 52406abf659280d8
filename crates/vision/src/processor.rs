//! From an image to the numbers that a network takes.

use crate::decode::{MOST_PIXELS, MOST_SIDE};
use crate::family::{Enlarging, Family};
use crate::{Channels, Edges, Filter, Image, ImageConfig, ImageError, Resample, resize};

/// Longest edge that settings may ask for.
const MOST_EDGE: usize = 4096;

/// What a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// What a pixel has.
    pub channels: Channels,
    /// Whether the channels of a pixel lie beside each other; else each channel is an image of its own.
    pub channels_last: bool,
    /// The height, where it is fixed.
    pub height: Option<usize>,
    /// The width, where it is fixed.
    pub width: Option<usize>,
}

/// Numbers of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Row by row from the top; the channels as [`Target::channels_last`] says.
    pub values: Vec<f32>,
}

/// How an image gets its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resize {
    Not,
    Both {
        height: usize,
        width: usize,
    },
    Shortest {
        edge: usize,
        longest: Option<usize>,
    },
    /// As small as it can be and cover this.
    Cover {
        height: usize,
        width: usize,
    },
}

/// Makes images what a network takes.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    target: Target,
    resize: Resize,
    filter: Filter,
    /// Height and width.
    crop: Option<(usize, usize)>,
    /// Whether the middle begins where torchvision has it, which rounds halves to even numbers; else it rounds down.
    crops_evenly: bool,
    factor: Option<f64>,
    /// Whether 1 is taken from values after that.
    offset: bool,
    /// Mean and standard deviation of each channel.
    normal: Option<Vec<(f32, f32)>>,
    /// What values are divided by after that, for each channel.
    again: Option<Vec<f32>>,
    flip: bool,
    light_on_dark: bool,
}

impl ImageProcessor {
    /// The processor that settings describe, for a network that takes `target`.
    ///
    /// Where they name a class of transformers, that says what they leave out. Else images are resized to the size that is
    /// set, or the network's; the middle is cut out where its size is set; values are multiplied by 1/255, and normalized
    /// where mean and standard deviation are set.
    ///
    /// # Errors
    /// A sentence: settings that there is no like of, that do not fit together or not the network, or leave something open.
    pub fn new(config: &ImageConfig, target: Target) -> Result<ImageProcessor, String> {
        if let Some(timm) = &config.pretrained_cfg {
            let (resize, crop) = timm.sizes(target)?;
            let rest = ImageProcessor::new(
                &timm.settings(),
                Target {
                    height: None,
                    width: None,
                    ..target
                },
            )?;
            return Ok(ImageProcessor {
                target,
                resize,
                crop: Some(crop),
                crops_evenly: true,
                ..rest
            });
        }
        let class = config.image_processor_type.as_deref();
        let class = class.or(config.feature_extractor_type.as_deref());
        let family = match class {
            None => None,
            Some(class) => {
                let family = Family::of(class);
                Some(family.ok_or_else(|| format!("the image processor {class} is not known"))?)
            }
        };
        let is_efficient_net = family.is_some_and(|family| family.is_efficient_net);
        if let Some(name) = config.refused(is_efficient_net) {
            return Err(format!("{name} is not supported"));
        }
        let (resize, cut) = sizes(config, family, target)?;
        let crops = config.do_center_crop.unwrap_or_else(|| match family {
            Some(family) => family.crop,
            None => config.crop_size.is_some(),
        });
        let crop = match (crops, config.crop_size, family) {
            (false, ..) => cut,
            (true, Some(Edges::Number(edge)), _) => Some((edge, edge)),
            (true, Some(Edges::Both { height, width }), _) => Some((height, width)),
            (true, Some(Edges::Shortest { .. }), _) => {
                return Err("crop_size has height and width".into());
            }
            (true, None, Some(family)) => Some((family.crop_size, family.crop_size)),
            (true, None, None) => return Err("crop_size is missing".into()),
        };
        if let Some((height, width)) = crop {
            check_edges("crop_size", height, width)?;
        }
        let factor = config.rescale_factor.unwrap_or(1.0 / 255.0);
        if !factor.is_finite() {
            return Err("rescale_factor is no number".into());
        }
        let processor = ImageProcessor {
            target,
            resize,
            filter: match (config.resample, family) {
                (Some(Resample(filter)), _) => filter,
                (None, Some(family)) => family.filter,
                (None, None) => Filter::Bilinear,
            },
            crop,
            crops_evenly: false,
            factor: config.do_rescale.unwrap_or(true).then_some(factor),
            offset: config.rescale_offset.unwrap_or(false),
            normal: match normalizes(config, family) {
                true => Some(normal(config, family, target.channels)?),
                false => None,
            },
            again: match config.include_top.unwrap_or(is_efficient_net) {
                true => {
                    let each = normal(config, family, target.channels)?.into_iter();
                    Some(each.map(|(_, std)| std).collect())
                }
                false => None,
            },
            flip: config
                .do_flip_channel_order
                .unwrap_or(family.is_some_and(|family| family.flip)),
            light_on_dark: config.light_on_dark.unwrap_or(false),
        };
        processor.check_target()?;
        Ok(processor)
    }

    /// A processor for a network that takes the values of pixels as they are, and images of its own size only.
    pub fn as_they_are(target: Target) -> ImageProcessor {
        ImageProcessor {
            target,
            resize: Resize::Not,
            filter: Filter::Bilinear,
            crop: None,
            crops_evenly: false,
            factor: None,
            offset: false,
            normal: None,
            again: None,
            flip: false,
            light_on_dark: false,
        }
    }

    /// Height and width that all images get; `None` where that depends on them.
    pub fn size(&self) -> Option<(usize, usize)> {
        match (self.crop, self.resize) {
            (Some(size), _) => Some(size),
            (None, Resize::Both { height, width }) => Some((height, width)),
            (None, _) => self.target.height.zip(self.target.width),
        }
    }

    /// Refuses settings by which images would never have the network's size.
    fn check_target(&self) -> Result<(), String> {
        // Otherwise it is told image by image.
        let Some(size) = self.size() else {
            return Ok(());
        };
        let fits = |takes: Option<usize>, gets: usize| takes.is_none_or(|takes| takes == gets);
        match fits(self.target.height, size.0) && fits(self.target.width, size.1) {
            true => Ok(()),
            false => Err(format!(
                "images become {}x{} (height x width), the network takes {}",
                size.0,
                size.1,
                [self.target.height, self.target.width]
                    .map(|side| side.map_or_else(|| "any".to_owned(), |side| side.to_string()))
                    .join("x")
            )),
        }
    }

    /// What the network takes of an image.
    ///
    /// # Errors
    /// The image would grow beyond all bounds, or does not get the network's size.
    pub fn run(&self, image: Image) -> Result<Pixels, ImageError> {
        let mut image = image.into_channels(self.target.channels);
        if self.light_on_dark && image.has_light_border() {
            image = image.inverted();
        }
        let (width, height) = (image.width(), image.height());
        let (to_height, to_width) = self.resized(height, width);
        if (to_height, to_width) != (height, width) {
            let area = |width: usize, height: usize| width.saturating_mul(height);
            // Rows are resized before columns.
            let fits = area(to_width, to_height) <= MOST_PIXELS
                && area(to_width, height) <= 4 * MOST_PIXELS
                && to_width.max(to_height) <= 4 * MOST_SIDE;
            let resized = match fits {
                true => resize(image, to_width, to_height, self.filter),
                false => None,
            };
            image = resized.ok_or(ImageError::Stretched {
                width,
                height,
                to_width,
                to_height,
            })?;
        }
        if let Some((height, width)) = self.crop {
            image = image.center_crop(width, height, self.crops_evenly);
        }
        let takes_height = self.target.height.unwrap_or(image.height());
        let takes_width = self.target.width.unwrap_or(image.width());
        if (image.height(), image.width()) != (takes_height, takes_width) {
            return Err(ImageError::Size {
                width,
                height,
                takes_width,
                takes_height,
            });
        }
        Ok(self.numbers(&image))
    }

    /// Height and width that an image is resized to.
    fn resized(&self, height: usize, width: usize) -> (usize, usize) {
        match self.resize {
            Resize::Not => (height, width),
            Resize::Both { height, width } => (height, width),
            Resize::Cover {
                height: to_height,
                width: to_width,
            } => {
                let (height, width) = (height as f64, width as f64);
                let ratio = (height / to_height as f64).min(width / to_width as f64);
                let size = |edge: f64| (edge / ratio).round_ties_even() as usize;
                (size(height), size(width))
            }
            Resize::Shortest { edge, longest } => {
                let (short, long) = (height.min(width), height.max(width));
                let mut to = (edge, edge.saturating_mul(long) / short);
                if let Some(longest) = longest.filter(|longest| to.1 > *longest) {
                    to = ((longest.saturating_mul(to.0) / to.1).max(1), longest);
                }
                match width <= height {
                    true => (to.1, to.0),
                    false => to,
                }
            }
        }
    }

    fn numbers(&self, image: &Image) -> Pixels {
        let count = image.channels().count();
        // A value is one of 256, in each channel.
        let tables: Vec<[f32; 256]> = (0..count).map(|channel| self.table(channel)).collect();
        let from = |channel: usize| match self.flip {
            true => count - 1 - channel,
            false => channel,
        };
        let pixels = image.pixels().chunks_exact(count);
        let value =
            |pixel: &[u8], channel: usize| tables[channel][usize::from(pixel[from(channel)])];
        let values = match self.target.channels_last {
            true => pixels
                .flat_map(|pixel| (0..count).map(move |channel| (pixel, channel)))
                .map(|(pixel, channel)| value(pixel, channel))
                .collect(),
            false => {
                let plane = |channel| pixels.clone().map(move |pixel| (pixel, channel));
                let planes = (0..count).flat_map(plane);
                planes
                    .map(|(pixel, channel)| value(pixel, channel))
                    .collect()
            }
        };
        Pixels {
            height: image.height(),
            width: image.width(),
            values,
        }
    }

    /// What each value of a channel becomes.
    fn table(&self, channel: usize) -> [f32; 256] {
        let normal = self.normal.as_ref().and_then(|each| each.get(channel));
        let again = self.again.as_ref().and_then(|each| each.get(channel));
        std::array::from_fn(|value| {
            let value = match self.factor {
                Some(factor) => (value as f64 * factor) as f32,
                None => value as f32,
            };
            let value = match self.factor {
                Some(_) if self.offset => value - 1.0,
                _ => value,
            };
            let value = match normal {
                Some((mean, std)) => (value - mean) / std,
                None => value,
            };
            again.map_or(value, |std| value / std)
        })
    }
}

/// How images are resized, and the middle that the class itself cuts out.
fn sizes(
    config: &ImageConfig,
    family: Option<&Family>,
    target: Target,
) -> Result<(Resize, Option<(usize, usize)>), String> {
    if config.do_resize == Some(false) {
        return Ok((Resize::Not, None));
    }
    let size = match (config.size, family) {
        (Some(size), _) => size,
        (None, Some(family)) => family.size,
        (None, None) => match (target.height, target.width) {
            (Some(height), Some(width)) => Edges::Both { height, width },
            _ if config.do_resize.is_none() && config.crop_size.is_some() => {
                return Ok((Resize::Not, None));
            }
            _ => {
                return Err("size is missing, and the network takes images of any size".into());
            }
        },
    };
    let size = match size {
        Edges::Number(edge) if family.is_none_or(|family| family.is_square) => Edges::Both {
            height: edge,
            width: edge,
        },
        Edges::Number(edge) => Edges::Shortest {
            edge,
            longest: None,
        },
        other => other,
    };
    let crop_pct = config
        .crop_pct
        .or(family.and_then(|family| family.crop_pct));
    let enlarging = family.map_or(Enlarging::Not, |family| family.enlarging);
    if crop_pct.is_some_and(|pct| !(0.05..=1.0).contains(&pct)) {
        return Err("crop_pct is a share, from 0.05 to 1".into());
    }
    let divided = |edge: usize| (edge as f64 / crop_pct.unwrap_or(1.0)) as usize;
    let shortest = |edge: usize| Resize::Shortest {
        edge,
        longest: None,
    };
    let (resize, cut) = match (size, enlarging) {
        (Edges::Shortest { edge, .. }, Enlarging::ConvNext) => match edge < 384 {
            true => (shortest(divided(edge)), Some((edge, edge))),
            false => (
                Resize::Both {
                    height: edge,
                    width: edge,
                },
                None,
            ),
        },
        (_, Enlarging::ConvNext) => return Err("size has shortest_edge for this processor".into()),
        (Edges::Shortest { edge, .. }, Enlarging::PoolFormer) => (shortest(divided(edge)), None),
        (Edges::Both { height, width }, Enlarging::PoolFormer) if height == width => {
            (shortest(divided(height)), None)
        }
        (Edges::Shortest { edge, .. }, Enlarging::Levit) => {
            (shortest((256.0 / 224.0 * edge as f64) as usize), None)
        }
        (Edges::Shortest { edge, longest }, Enlarging::Not) => {
            (Resize::Shortest { edge, longest }, None)
        }
        (Edges::Both { height, width }, _) => (Resize::Both { height, width }, None),
        (Edges::Number(_), _) => return Err("size is not known".into()),
    };
    match resize {
        Resize::Both { height, width } => check_edges("size", height, width)?,
        Resize::Shortest { edge, longest } => check_edges("size", edge, longest.unwrap_or(edge))?,
        Resize::Not | Resize::Cover { .. } => {}
    }
    Ok((resize, cut))
}

pub(crate) fn check_edges(name: &str, height: usize, width: usize) -> Result<(), String> {
    let edges = 1..=MOST_EDGE;
    match edges.contains(&height) && edges.contains(&width) {
        true => Ok(()),
        false => Err(format!(
            "{name} is {height}x{width}; edges go from 1 to {MOST_EDGE}"
        )),
    }
}

fn normalizes(config: &ImageConfig, family: Option<&Family>) -> bool {
    config.do_normalize.unwrap_or_else(|| match family {
        Some(family) => family.normalize,
        None => config.image_mean.is_some() || config.image_std.is_some(),
    })
}

/// Mean and standard deviation of each channel.
fn normal(
    config: &ImageConfig,
    family: Option<&Family>,
    channels: Channels,
) -> Result<Vec<(f32, f32)>, String> {
    let each = |name: &str, set: &Option<Vec<f64>>, own: Option<[f64; 3]>| {
        let own = || {
            own.map(Vec::from)
                .ok_or_else(|| format!("{name} is missing"))
        };
        let values = set.clone().map_or_else(own, Ok)?;
        let count = channels.count();
        if values.len() != count && values.len() != 1 {
            return Err(format!(
                "{name} has {} numbers; the network takes {count} for a pixel",
                values.len()
            ));
        }
        let values = values.iter().cycle().take(count);
        Ok(values.map(|value| *value as f32).collect::<Vec<f32>>())
    };
    let mean = each(
        "image_mean",
        &config.image_mean,
        family.map(|family| family.mean),
    )?;
    let std = each(
        "image_std",
        &config.image_std,
        family.map(|family| family.std),
    )?;
    if !mean.iter().chain(&std).all(|value| value.is_finite()) || std.contains(&0.0) {
        return Err("image_mean and image_std are numbers, and image_std is not 0".into());
    }
    Ok(mean.into_iter().zip(std).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RGB: Target = Target {
        channels: Channels::Rgb,
        channels_last: false,
        height: None,
        width: None,
    };

    fn processor(json: &str, target: Target) -> Result<ImageProcessor, String> {
        let config = serde_json::from_str(json).map_err(|error| error.to_string())?;
        ImageProcessor::new(&config, target)
    }

    #[test]
    fn sizes_are_those_of_the_classes() {
        let resnet = r#"{"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875}"#;
        let resnet = processor(resnet, RGB).unwrap();
        assert_eq!(resnet.resized(300, 500), (256, 426));
        assert_eq!(resnet.crop, Some((224, 224)));
        let vit = processor(
            r#"{"image_processor_type": "ViTImageProcessorFast", "size": 384}"#,
            RGB,
        )
        .unwrap();
        assert_eq!((vit.resized(300, 500), vit.crop), ((384, 384), None));
        let clip = processor(
            r#"{"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 200}"#,
            RGB,
        )
        .unwrap();
        assert_eq!(
            (clip.resized(500, 300), clip.crop),
            ((373, 224), Some((200, 200)))
        );
        let detr = processor(
            r#"{"size": {"shortest_edge": 800, "longest_edge": 1000}}"#,
            RGB,
        )
        .unwrap();
        assert_eq!(detr.resized(400, 800), (500, 1000));
        let fixed = Target {
            height: Some(8),
            width: Some(9),
            ..RGB
        };
        assert_eq!(processor("{}", fixed).unwrap().resized(1, 1), (8, 9));
    }

    #[test]
    fn what_cannot_be_known_is_named() {
        let fixed = Target {
            height: Some(224),
            width: Some(224),
            ..RGB
        };
        let gray = Target {
            channels: Channels::Gray,
            ..RGB
        };
        for (json, target, words) in [
            ("{}", RGB, "size is missing"),
            (
                r#"{"size": 256}"#,
                fixed,
                "images become 256x256 (height x width), the network takes 224x224",
            ),
            (r#"{"size": 0}"#, RGB, "edges go from 1"),
            (r#"{"size": 100000}"#, RGB, "edges go from 1"),
            (
                r#"{"size": 8, "crop_size": {"shortest_edge": 8}}"#,
                RGB,
                "crop_size has height and width",
            ),
            (
                r#"{"size": 8, "do_center_crop": true}"#,
                RGB,
                "crop_size is missing",
            ),
            (
                r#"{"size": {"height": 8}}"#,
                RGB,
                "height and width, or shortest_edge",
            ),
            (
                r#"{"size": 8, "image_mean": [0.5, 0.5]}"#,
                RGB,
                "image_mean has 2 numbers",
            ),
            (
                r#"{"size": 8, "image_mean": [0.5]}"#,
                RGB,
                "image_std is missing",
            ),
            (
                r#"{"size": 8, "image_mean": [0], "image_std": [0]}"#,
                RGB,
                "image_std is not 0",
            ),
            (
                r#"{"image_processor_type": "ViTImageProcessor"}"#,
                gray,
                "image_mean has 3 numbers",
            ),
            (
                r#"{"image_processor_type": "SamImageProcessor"}"#,
                RGB,
                "SamImageProcessor is not known",
            ),
            (r#"{"size": 8, "do_pad": true}"#, RGB, "do_pad"),
            (r#"{"size": 8, "resample": 9}"#, RGB, "resample is 0 to 5"),
        ] {
            let error = processor(json, target).expect_err(json);
            assert!(error.contains(words), "{json}: {error}");
        }
    }

    #[test]
    fn images_that_would_grow_beyond_bounds_are_refused() {
        let processor =
            processor(r#"{"size": {"shortest_edge": 224}, "crop_size": 224}"#, RGB).unwrap();
        let line = Image::new(16_000, 1, Channels::Gray, vec![0; 16_000]).unwrap();
        let error = processor.run(line).unwrap_err();
        assert!(
            matches!(
                error,
                ImageError::Stretched {
                    to_width: 3_584_000,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn numbers_lie_as_the_network_takes_them() {
        let image = Image::new(2, 1, Channels::Rgb, vec![0, 1, 2, 3, 4, 5]).unwrap();
        let run = |json: &str, target: Target| processor(json, target).unwrap().run(image.clone());
        let raw = r#"{"do_resize": false, "do_rescale": false"#;
        let first = run(&format!("{raw}}}"), RGB).unwrap();
        assert_eq!(first.values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let last = Target {
            channels_last: true,
            ..RGB
        };
        let flipped = run(&format!("{raw}, \"do_flip_channel_order\": true}}"), last).unwrap();
        assert_eq!(flipped.values, [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
        let fixed = Target {
            height: Some(2),
            ..RGB
        };
        let error = ImageProcessor::as_they_are(fixed).run(image).unwrap_err();
        assert!(error.to_string().contains("takes 2x2"), "{error}");
    }
}
