//! Tensors of texts and images, for networks that take such.
//!
//! A text fills the inputs that Hugging Face's models have for it, an image the one input that has the form of one. What
//! is not known about a network is said when somebody sends it a text or an image.

use bytes::Bytes;
use hearth_graph::onnx::{DataType, Dim, ValueInfo};
use hearth_graph::runtime::{HostTensor, Media, join};
use hearth_hub::catalog::NetworkMeaning;
use hearth_llm::tokenizer::Tokenizer;
use hearth_vision::{Channels, ImageConfig, ImageProcessor, MOST_PIXELS, Target};

use super::labels::Token;

/// Whether bytes are an image file of a format that is read, by their beginning.
pub fn is_image(file: &[u8]) -> bool {
    hearth_vision::format(file).is_some()
}

/// Most pixels of all images of a request. Each image takes time by its pixels, however few its bytes are.
const MOST_PIXELS_TOGETHER: usize = 8 * MOST_PIXELS;
/// Most pixels that all images of a request have once they are resized: each channel of one takes four bytes then.
const MOST_MADE_TOGETHER: usize = 2 * MOST_PIXELS;
/// Most tokens of all texts of a request, with those that fill up shorter ones.
const MOST_TOKENS_TOGETHER: usize = 4 << 20;
/// Most rows of a column of texts or images.
pub const MOST_ROWS: usize = 4096;

/// What a request may still have.
#[derive(Debug)]
struct Left {
    pixels: usize,
    made: usize,
    tokens: usize,
}

impl Left {
    /// All that a request may have.
    const ALL: Left = Left {
        pixels: MOST_PIXELS_TOGETHER,
        made: MOST_MADE_TOGETHER,
        tokens: MOST_TOKENS_TOGETHER,
    };

    fn take_pixels(&mut self, count: usize) -> Result<(), String> {
        self.pixels = self.pixels.checked_sub(count).ok_or_else(|| {
            format!("the images of a request have at most {MOST_PIXELS_TOGETHER} pixels together")
        })?;
        Ok(())
    }

    fn take_made(&mut self, count: usize) -> Result<(), String> {
        self.made = self.made.checked_sub(count).ok_or_else(|| {
            format!(
                "the images of a request have at most {MOST_MADE_TOGETHER} pixels together once they are resized"
            )
        })?;
        Ok(())
    }

    fn take_tokens(&mut self, count: usize) -> Result<(), String> {
        self.tokens = self.tokens.checked_sub(count).ok_or_else(|| {
            format!("the texts of a request have at most {MOST_TOKENS_TOGETHER} tokens together")
        })?;
        Ok(())
    }
}

/// The tokens for words that a vocabulary does not have.
const UNKNOWN: [&str; 3] = ["[UNK]", "<unk>", "<UNK>"];

/// What makes tensors of texts and images for a network.
#[derive(Debug)]
pub struct Preparers {
    text: Result<TextInputs, String>,
    image: Result<ImageInput, String>,
}

impl Preparers {
    /// What the files beside a network, with these inputs, allow. Where `is_batched`, their first dimension counts samples.
    pub fn new(meaning: &NetworkMeaning, inputs: &[ValueInfo], is_batched: bool) -> Preparers {
        Preparers {
            text: TextInputs::new(meaning, inputs, is_batched),
            image: ImageInput::new(meaning.image.as_ref(), inputs, is_batched),
        }
    }

    /// The inputs that a text fills.
    pub fn text(&self) -> Option<&TextInputs> {
        self.text.as_ref().ok()
    }

    /// The place of the input that an image fills.
    pub fn image(&self) -> Option<usize> {
        self.image.as_ref().ok().map(|image| image.at)
    }

    /// Inputs of a network with the sizes that images have.
    pub fn narrowed(&self, inputs: &[ValueInfo]) -> Vec<ValueInfo> {
        let mut inputs = inputs.to_vec();
        if let Ok(image) = &self.image
            && let Some(input) = inputs.get_mut(image.at)
            && let Some((height, width)) = image.processor.size()
        {
            let count = input.dims.len();
            let behind = usize::from(image.has_channels && image.target.channels_last);
            let sides = count.checked_sub(behind + 2);
            let sides = sides.and_then(|first| input.dims.get_mut(first..first + 2));
            for (dim, size) in sides.into_iter().flatten().zip([height, width]) {
                *dim = Dim::Fixed(size as i64);
            }
        }
        inputs
    }

    /// Whether it takes neither.
    pub fn is_empty(&self) -> bool {
        self.text.is_err() && self.image.is_err()
    }

    /// What is there and can't be used, and why.
    pub fn unused(&self, meaning: &NetworkMeaning) -> Vec<&str> {
        let image = self
            .image
            .as_ref()
            .err()
            .filter(|_| meaning.image.is_some());
        let text = self
            .text
            .as_ref()
            .err()
            .filter(|_| meaning.tokenizer.is_some());
        image.into_iter().chain(text).map(String::as_str).collect()
    }

    /// The tensors for a network with these inputs of columns of texts and images by name, each with as many rows.
    ///
    /// # Errors
    /// A sentence: what is wrong with which.
    pub fn columns(
        &self,
        inputs: &[ValueInfo],
        files: &[(String, Vec<Bytes>)],
        truncation: bool,
    ) -> Result<Vec<(String, HostTensor)>, String> {
        let mut media = self.for_request(truncation);
        let name = |at: usize| {
            inputs
                .get(at)
                .map_or_else(String::new, |input| input.name.clone())
        };
        let is_text = |name: &str| matches!(name, "text" | "text_pair");
        if let Some((column, _)) = { files.iter() }.find(|(_, rows)| rows.len() > MOST_ROWS) {
            return Err(format!(
                "input {column:?} has more than {MOST_ROWS} rows, the most of texts or images"
            ));
        }
        let mut tensors = Vec::new();
        for (column, rows) in { files.iter() }.filter(|(column, _)| !is_text(column)) {
            let Some(at) = self
                .image()
                .filter(|at| column == "image" || *column == name(*at))
            else {
                return Err(format!(
                    "input {column:?} takes no texts or images; {}",
                    media.refusal()
                ));
            };
            let rows = rows.iter().enumerate().map(|(row, file)| {
                let tensor = media.image(file);
                tensor.map_err(|problem| format!("input {column:?}, image {row}: {problem}"))
            });
            let rows: Vec<HostTensor> = rows.collect::<Result<_, _>>()?;
            let has_lead = self.image.as_ref().is_ok_and(|image| image.has_lead);
            let rows: Vec<HostTensor> = match has_lead {
                true => rows,
                false => rows.into_iter().map(HostTensor::into_row).collect(),
            };
            let whole = join(&rows.iter().collect::<Vec<_>>());
            let whole = whole.ok_or_else(|| {
                format!("input {column:?}: the images come to tensors of several shapes")
            })?;
            tensors.push((name(at), whole));
        }
        let column = |wanted: &str| files.iter().find(|(name, _)| name == wanted);
        let (first, second) = match (column("text"), column("text_pair")) {
            (None, None) => return Ok(tensors),
            (None, Some(_)) => {
                return Err(
                    "input \"text_pair\": a second text without a first, which is \"text\"".into(),
                );
            }
            (Some((_, first)), second) => (first, second.map(|(_, rows)| rows)),
        };
        if second.is_some_and(|second| second.len() != first.len()) {
            return Err("inputs \"text\" and \"text_pair\" have different numbers of rows".into());
        }
        let Ok(text) = &self.text else {
            return Err(format!("input \"text\": {}", media.refusal()));
        };
        let read = |file: &Bytes| {
            let text = std::str::from_utf8(file).map(str::to_owned);
            text.map_err(|_| "input \"text\": a text that is no UTF-8".to_owned())
        };
        let rows = first.iter().enumerate().map(|(row, file)| {
            let second = second.map(|second| read(&second[row])).transpose()?;
            let made = media.text(&read(file)?, second.as_deref());
            made.map_err(|problem| format!("input \"text\", text {row}: {problem}"))
        });
        let rows: Vec<Vec<HostTensor>> = rows.collect::<Result<_, _>>()?;
        let lengths = rows.iter().map(|row| TextInputs::length(row));
        let longest = lengths.max().unwrap_or(0);
        let whole = longest.saturating_mul(rows.len());
        { Left::ALL }.take_tokens(whole)?;
        for (place, at) in text.places.iter().enumerate() {
            let column: Option<Vec<&HostTensor>> = rows.iter().map(|row| row.get(place)).collect();
            let whole = column.and_then(|column| text.join(place, &column));
            let whole = whole.ok_or("input \"text\": texts of different lengths, and nothing says how they are filled up")?;
            tensors.push((name(*at), whole));
        }
        Ok(tensors)
    }

    /// For one request; texts that are too long are cut where `truncation` says so.
    pub fn for_request(&self, truncation: bool) -> Preparing<'_> {
        Preparing {
            preparers: self,
            truncation,
            left: Left::ALL,
        }
    }
}

/// What an input that a text fills has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The tokens.
    Ids,
    /// 1 for each token, 0 behind them.
    Mask,
    /// Which of two texts a token is of.
    Types,
}

/// The inputs that a text fills.
#[derive(Debug)]
pub struct TextInputs {
    tokenizer: Tokenizer,
    /// Their places.
    places: Vec<usize>,
    roles: Vec<(Role, DataType)>,
    /// The length that the network takes, where it takes one only.
    fixed: Option<usize>,
    /// Most tokens.
    longest: Option<usize>,
    pad: Option<u32>,
    /// The network counts no samples, but its inputs have a dimension for that.
    has_lead: bool,
}

/// The role of an input, by the name that all of Hugging Face's models have for it.
pub fn role(input: &ValueInfo) -> Option<Role> {
    let is_integer = matches!(input.dtype, DataType::Int64 | DataType::Int32);
    match input.name.as_str() {
        _ if !is_integer => None,
        "input_ids" => Some(Role::Ids),
        "attention_mask" => Some(Role::Mask),
        "token_type_ids" => Some(Role::Types),
        _ => None,
    }
}

impl TextInputs {
    fn new(
        meaning: &NetworkMeaning,
        inputs: &[ValueInfo],
        is_batched: bool,
    ) -> Result<TextInputs, String> {
        let roles = inputs.iter().enumerate();
        let roles = roles.filter_map(|(at, input)| Some((at, role(input)?, input)));
        let roles: Vec<(usize, Role, &ValueInfo)> = roles.collect();
        if !roles.iter().any(|(_, role, _)| *role == Role::Ids) {
            return Err("it takes no texts, having no input \"input_ids\"".into());
        }
        let Some(folder) = &meaning.tokenizer else {
            return Err("it takes no texts, having no tokenizer.json beside it".into());
        };
        let tokenizer = Tokenizer::from_folder(folder)
            .map_err(|error| format!("it takes no texts: {error}"))?;
        let mut fixed = None;
        for (_, _, input) in &roles {
            let dims = input.dims.as_slice();
            let length = match (is_batched, dims) {
                (true, [_, length]) | (false, [length]) => length,
                (false, [lead, length]) if takes_one(lead) => length,
                _ => {
                    return Err(format!(
                        "it takes no texts: input {input} is no row of tokens"
                    ));
                }
            };
            if let Dim::Fixed(size) = length {
                let size = usize::try_from(*size).unwrap_or(0);
                if fixed.is_some_and(|fixed| fixed != size) {
                    return Err("it takes no texts: its inputs have several lengths".into());
                }
                fixed = Some(size);
            }
        }
        let limits = [fixed, tokenizer.max_length(), meaning.max_positions];
        Ok(TextInputs {
            places: roles.iter().map(|(at, ..)| *at).collect(),
            has_lead: !is_batched && roles.iter().any(|(_, _, input)| input.dims.len() == 2),
            roles: { roles.iter() }
                .map(|(_, role, input)| (*role, input.dtype))
                .collect(),
            fixed,
            longest: limits.into_iter().flatten().min(),
            pad: tokenizer.pad_id().or(meaning.pad_token),
            tokenizer,
        })
    }

    /// The token that shorter texts are filled up with.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// Most tokens of a text.
    pub fn longest(&self) -> Option<usize> {
        self.longest
    }

    /// The number of tokens of what was made of a text.
    fn length(made: &[HostTensor]) -> usize {
        let shape = made.first().map(HostTensor::shape);
        shape.and_then(<[usize]>::last).copied().unwrap_or(0)
    }

    /// The tokens of a text that the tensors of a sample are, for all inputs of the network: without those that stand around
    /// it or fill it up.
    pub fn tokens(&self, sample: &[HostTensor]) -> Vec<Token> {
        let column = |wanted: Role| {
            let mut roles = self.places.iter().zip(&self.roles);
            let (at, _) = roles.find(|(_, (role, _))| *role == wanted)?;
            sample.get(*at).map(HostTensor::to_f64)
        };
        let ids = column(Role::Ids).unwrap_or_default();
        let mask = column(Role::Mask);
        let counts = |at: usize| {
            let mask = mask.as_ref().and_then(|mask| mask.get(at));
            mask.is_none_or(|bit| *bit != 0.0)
        };
        let ids = ids.into_iter().enumerate().filter(|(at, _)| counts(*at));
        let tokens = ids.filter_map(|(at, id)| {
            let id = id as u32;
            let text = self.tokenizer.token_text(id);
            // What the vocabulary has no word for is text all the same.
            let is_text = !self.tokenizer.is_special(id) || UNKNOWN.contains(&text.as_str());
            is_text.then_some(Token { at, text })
        });
        tokens.collect()
    }

    /// Rows of one input, filled up to the length of the longest.
    fn join(&self, place: usize, rows: &[&HostTensor]) -> Option<HostTensor> {
        let (role, dtype) = self.roles.get(place)?;
        let length = |row: &&HostTensor| row.shape().last().copied();
        let longest = rows.iter().filter_map(length).max()?;
        let is_even = rows.iter().all(|row| length(row) == Some(longest));
        let has_mask = self.roles.iter().any(|(role, _)| *role == Role::Mask);
        let fill = match (is_even, self.pad) {
            (true, _) => 0,
            (false, Some(pad)) if has_mask => pad,
            (false, _) => return None,
        };
        let fill = element(*dtype, if *role == Role::Ids { fill } else { 0 });
        let rows = rows.iter().map(|row| {
            let row = row.lengthened(row.shape().len().checked_sub(1)?, longest, &fill)?;
            Some(if self.has_lead { row } else { row.into_row() })
        });
        let rows: Vec<HostTensor> = rows.collect::<Option<_>>()?;
        join(&rows.iter().collect::<Vec<_>>())
    }

    fn prepare(
        &self,
        first: &str,
        second: Option<&str>,
        truncation: bool,
    ) -> Result<Vec<HostTensor>, String> {
        let longest = self.longest.filter(|_| truncation);
        let framed = self.tokenizer.encode_framed(first, second, longest);
        let framed = framed.map_err(|error| error.to_string())?;
        let count = framed.ids.len();
        if let Some(longest) = self.longest.filter(|longest| count > *longest) {
            return Err(format!(
                "the text has {count} tokens, the network takes {longest} at most"
            ));
        }
        let length = self.fixed.unwrap_or(count);
        let has_mask = self.roles.iter().any(|(role, _)| *role == Role::Mask);
        let pad = match (length == count, self.pad) {
            (true, _) => 0,
            (false, Some(pad)) if has_mask => pad,
            (false, _) => {
                return Err(format!(
                    "the text has {count} tokens, the network takes {length}, and nothing says how it is filled up"
                ));
            }
        };
        let tensors = self.roles.iter().map(|(role, dtype)| {
            let (own, fill): (Vec<u32>, u32) = match role {
                Role::Ids => (framed.ids.clone(), pad),
                Role::Mask => (vec![1; count], 0),
                Role::Types => (framed.type_ids.clone(), 0),
            };
            let numbers = own.into_iter().chain(std::iter::repeat(fill)).take(length);
            let bytes: Vec<u8> = numbers.flat_map(|n| element(*dtype, n)).collect();
            let tensor = HostTensor::new(*dtype, vec![length], bytes)?;
            Ok(if self.has_lead {
                tensor.into_row()
            } else {
                tensor
            })
        });
        tensors.collect()
    }
}

/// The bytes of a number as an element of one of the types that [`role`] allows.
pub fn element(dtype: DataType, number: u32) -> Vec<u8> {
    match dtype {
        DataType::Int32 => (number as i32).to_le_bytes().to_vec(),
        _ => i64::from(number).to_le_bytes().to_vec(),
    }
}

/// The input that an image fills.
#[derive(Debug)]
pub struct ImageInput {
    at: usize,
    dtype: DataType,
    target: Target,
    processor: ImageProcessor,
    /// The network counts no samples, but the input has a dimension for that.
    has_lead: bool,
    /// The input has a dimension of channels.
    has_channels: bool,
}

/// Whether a dimension may be 1.
fn takes_one(dim: &Dim) -> bool {
    matches!(dim, Dim::Fixed(1) | Dim::Symbol(_) | Dim::Unknown)
}

impl ImageInput {
    fn new(
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
        let means = config.and_then(|config| config.image_mean.as_ref());
        let form = Form::of(dims, means.map(Vec::len), config.is_some());
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

    fn prepare(&self, file: &[u8], left: &mut Left) -> Result<HostTensor, String> {
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

/// What makes tensors for one request.
#[derive(Debug)]
pub struct Preparing<'a> {
    preparers: &'a Preparers,
    truncation: bool,
    left: Left,
}

impl Media for Preparing<'_> {
    fn image_input(&self) -> Option<usize> {
        self.preparers.image()
    }

    fn text_inputs(&self) -> &[usize] {
        self.preparers.text().map_or(&[], |text| &text.places)
    }

    fn refusal(&self) -> String {
        let reasons = [
            self.preparers.text.as_ref().err(),
            self.preparers.image.as_ref().err(),
        ];
        let reasons: Vec<&str> = reasons.into_iter().flatten().map(String::as_str).collect();
        reasons.join("; ")
    }

    fn is_image(&self, file: &[u8]) -> bool {
        is_image(file)
    }

    fn image(&mut self, file: &[u8]) -> Result<HostTensor, String> {
        match &self.preparers.image {
            Ok(image) => image.prepare(file, &mut self.left),
            Err(reason) => Err(reason.clone()),
        }
    }

    fn text(&mut self, first: &str, second: Option<&str>) -> Result<Vec<HostTensor>, String> {
        match &self.preparers.text {
            Ok(text) => {
                let made = text.prepare(first, second, self.truncation)?;
                self.left.take_tokens(TextInputs::length(&made))?;
                Ok(made)
            }
            Err(reason) => Err(reason.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_bounds_of_its_own() {
        let mut left = Left::ALL;
        // As many of the largest images as eight, unless they are enlarged to that.
        for _ in 0..8 {
            assert_eq!(left.take_pixels(MOST_PIXELS), Ok(()));
        }
        assert!(
            left.take_pixels(1)
                .unwrap_err()
                .contains("268435456 pixels")
        );
        for _ in 0..2 {
            assert_eq!(left.take_made(MOST_PIXELS), Ok(()));
        }
        assert!(left.take_made(1).unwrap_err().contains("67108864 pixels"));
        assert_eq!(left.take_tokens(MOST_ROWS * 1024), Ok(()));
        assert!(left.take_tokens(1).unwrap_err().contains("4194304 tokens"));
    }

    #[test]
    fn dimensions_of_any_size_get_that_of_images() {
        let any = || Dim::Symbol("n".into());
        let input = |dims: &[Dim]| {
            vec![ValueInfo {
                name: "pixel_values".into(),
                dtype: DataType::Float,
                dims: dims.to_vec(),
            }]
        };
        let narrowed = |dims: &[Dim], config: &str| {
            let meaning = NetworkMeaning {
                image: serde_json::from_str(config).expect("settings"),
                ..NetworkMeaning::default()
            };
            let inputs = input(dims);
            Preparers::new(&meaning, &inputs, true).narrowed(&inputs)[0]
                .dims
                .clone()
        };
        let first = [any(), Dim::Fixed(3), any(), any()];
        let size = r#"{"size": {"height": 8, "width": 6}}"#;
        let expected = [any(), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(6)];
        assert_eq!(narrowed(&first, size), expected);
        let last = [any(), any(), any(), Dim::Fixed(3)];
        let expected = [any(), Dim::Fixed(8), Dim::Fixed(6), Dim::Fixed(3)];
        assert_eq!(narrowed(&last, size), expected);
        // The other edge follows the image's.
        assert_eq!(narrowed(&first, r#"{"size": {"shortest_edge": 8}}"#), first);
    }
}
