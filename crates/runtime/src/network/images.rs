//! Tensors of images: the one input that has the form of one.

use hearth_graph::onnx::{DataType, Dim, ValueInfo};
use hearth_graph::runtime::HostTensor;
use hearth_vision::{Channels, ImageConfig, ImageProcessor, Target};

use super::bounds::Left;
use super::texts::{role, takes_one};

/// The input that an image fills.
#[derive(Debug)]
pub struct ImageInput {
    /// Its place.
    pub at: usize,
    dtype: DataType,
    target: Target,
    processor: ImageProcessor,
    /// The network counts no samples, but the input has a dimension for that.
    pub has_lead: bool,
    /// The input has a dimension of channels.
    has_channels: bool,
}

impl ImageInput {
    /// That of `inputs`, of which the first dimension counts samples where `is_batched`.
    ///
    /// # Errors
    /// Why it takes no images.
    pub fn new(
        config: Option<&ImageConfig>,
        inputs: &[ValueInfo],
        is_batched: bool,
    ) -> Result<ImageInput, String> {
        let named = inputs.iter().position(|input| input.name == "pixel_values");
        let candidates = inputs.iter().enumerate();
        let candidates = candidates.filter(|(_, input)| role(input).is_none());
        let candidates: Vec<usize> = candidates.map(|(at, _)| at).collect();
        let at = match (named, candidates.as_slice()) {
            (Some(at), _) => at,
            (None, [only]) => *only,
            _ => return Err("it takes no images, having no input \"pixel_values\"".into()),
        };
        let input = &inputs[at];
        let dims = input
            .dims
            .get(usize::from(is_batched)..)
            .unwrap_or_default();
        let (dims, has_lead) = match dims {
            [lead, rest @ ..] if !is_batched && rest.len() == 3 && takes_one(lead) => (rest, true),
            dims => (dims, false),
        };
        let channels = config.and_then(ImageConfig::channels);
        let form = Form::of(dims, channels, config.is_some());
        let form = form.ok_or_else(|| format!("it takes no images: input {input} is none"))?;
        let target = form.target;
        let processor = match config {
            Some(config) => ImageProcessor::new(config, target)
                .map_err(|problem| format!("it takes no images: {problem}"))?,
            None if input.dtype == DataType::Uint8 => ImageProcessor::as_they_are(target),
            None => {
                return Err(
                    "it takes no images: how pixels become its numbers is not known; preprocessor_config.json \
                     beside it or [image] in its config.toml says so"
                        .into(),
                );
            }
        };
        Ok(ImageInput {
            at,
            dtype: input.dtype,
            target,
            processor,
            has_lead,
            has_channels: form.has_channels,
        })
    }

    /// Gives the input the size that all images get, where that is known.
    pub fn narrow(&self, input: &mut ValueInfo) {
        let Some((height, width)) = self.processor.size() else {
            return;
        };
        let behind = usize::from(self.has_channels && self.target.channels_last);
        let sides = input.dims.len().checked_sub(behind + 2);
        let sides = sides.and_then(|first| input.dims.get_mut(first..first + 2));
        for (dim, size) in sides.into_iter().flatten().zip([height, width]) {
            *dim = Dim::Fixed(size as i64);
        }
    }

    /// The tensor of an image file.
    ///
    /// # Errors
    /// A sentence: what is wrong with it.
    pub fn prepare(&self, file: &[u8], left: &mut Left) -> Result<HostTensor, String> {
        let image = hearth_vision::decode(file).map_err(|error| error.to_string())?;
        left.take_pixels(image.width() * image.height())?;
        let made = self
            .processor
            .run(image)
            .map_err(|error| error.to_string())?;
        left.take_made(made.width * made.height)?;
        let count = self.target.channels.count();
        let mut shape = match (self.has_channels, self.target.channels_last) {
            (false, _) => vec![made.height, made.width],
            (true, false) => vec![count, made.height, made.width],
            (true, true) => vec![made.height, made.width, count],
        };
        if self.has_lead {
            shape.insert(0, 1);
        }
        HostTensor::from_numbers(self.dtype, shape, &made.values)
    }
}

/// The form of images that the dimensions of a sample are.
struct Form {
    target: Target,
    has_channels: bool,
}

impl Form {
    /// `means` is the number of channels that settings speak of. A matrix is an image only where there are settings.
    fn of(dims: &[Dim], means: Option<usize>, has_settings: bool) -> Option<Form> {
        let size = |dim: &Dim| match dim {
            Dim::Fixed(size) => Some(usize::try_from(*size).unwrap_or(0)),
            _ => None,
        };
        let channels = |dim: &Dim| match size(dim) {
            Some(1) => Some(Channels::Gray),
            Some(3) => Some(Channels::Rgb),
            _ => None,
        };
        let target = |channels: Channels, channels_last: bool, height: &Dim, width: &Dim| Target {
            channels,
            channels_last,
            height: size(height),
            width: size(width),
        };
        let (target, has_channels) = match dims {
            [height, width] if has_settings => {
                (target(Channels::Gray, false, height, width), false)
            }
            [first, height, width] if channels(first).is_some() => {
                (target(channels(first)?, false, height, width), true)
            }
            [height, width, last] if channels(last).is_some() => {
                (target(channels(last)?, true, height, width), true)
            }
            [first, height, width] if size(first).is_none() && has_settings => {
                let channels = match means {
                    Some(1) => Channels::Gray,
                    _ => Channels::Rgb,
                };
                (target(channels, false, height, width), true)
            }
            _ => return None,
        };
        Some(Form {
            target,
            has_channels,
        })
    }
}
