//! Tensors as JSON: nested arrays of numbers, or their bytes in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Number, Value};

use super::elements::Element;
use super::media::{Media, image_bytes};
use super::{HostTensor, fill_defaults};
use crate::onnx::{DataType, Dim, ValueInfo};

/// The names of texts and images in an object, where the network has no inputs of these names.
const MEDIA_NAMES: [&str; 3] = ["text", "text_pair", "image"];

/// Most samples of a request. Each takes more memory than its numbers, so the length of a request would not bound them.
const MOST_SAMPLES: usize = 4096;

/// The inputs of a request, each with one tensor for each input of the network, without the dimension that counts them.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// The inputs.
    pub samples: Vec<Vec<HostTensor>>,
    /// Whether they were sent as a batch.
    pub is_batch: bool,
}

/// What a network takes for one sample, by which JSON is read.
#[derive(Debug, Clone)]
pub struct SampleFormat {
    inputs: Vec<ValueInfo>,
    /// The numbers that inputs are made of where they are left out.
    defaults: Vec<Option<f64>>,
}

impl SampleFormat {
    /// The format of a network with these inputs. Where `is_batched`, their first dimension counts samples.
    pub fn new(inputs: &[ValueInfo], is_batched: bool) -> SampleFormat {
        let skip = usize::from(is_batched);
        let sample = |input: &ValueInfo| ValueInfo {
            dims: input.dims.get(skip..).unwrap_or_default().to_vec(),
            ..input.clone()
        };
        SampleFormat {
            inputs: inputs.iter().map(sample).collect(),
            defaults: vec![None; inputs.len()],
        }
    }

    /// The same, with inputs that may be left out: [`super::Network::defaults`].
    pub fn with_defaults(mut self, defaults: &[Option<f64>]) -> SampleFormat {
        for (own, default) in self.defaults.iter_mut().zip(defaults) {
            *own = *default;
        }
        self
    }

    /// The one input that has to be given, where there is one: what has no name is that.
    fn required(&self) -> Option<&ValueInfo> {
        let each = self.inputs.iter().zip(&self.defaults);
        let mut required = each.filter(|(_, default)| default.is_none());
        match (required.next(), required.next()) {
            (Some((input, _)), None) => Some(input),
            _ => None,
        }
    }

    /// A sample of which only the tensor of [`Self::required`] is given.
    fn complete(&self, path: &str, tensor: HostTensor) -> Result<Vec<HostTensor>, String> {
        let mut tensor = Some(tensor);
        let given = self.defaults.iter().map(|default| match default {
            None => tensor.take(),
            Some(_) => None,
        });
        self.fill(|name| format!("{path}.{name}"), given.collect())
    }

    /// All tensors of a sample, those that were left out filled in; `place` tells the path of one that has to be given.
    fn fill(
        &self,
        place: impl Fn(&str) -> String,
        given: Vec<Option<HostTensor>>,
    ) -> Result<Vec<HostTensor>, String> {
        fill_defaults(&self.inputs, &self.defaults, given).map_err(|at| {
            let input = &self.inputs[at];
            let (path, expected) = (place(&input.name), expected(input));
            format!("{path} is missing: expected {expected}")
        })
    }

    /// Reads a sample, or a batch of them: one array more than a sample has, or an array of objects, texts or images.
    ///
    /// # Errors
    /// A sentence: what was expected, what came, and at which place below `path`.
    pub fn read(
        &self,
        path: &str,
        value: &Value,
        media: &mut dyn Media,
    ) -> Result<Samples, String> {
        let is_batch = match (value, self.required()) {
            (Value::Array(items), _) if items.first().is_some_and(is_named) => true,
            (Value::Array(items), _)
                if items
                    .first()
                    .is_some_and(|item| is_text(item) || is_pair(item)) =>
            {
                true
            }
            (Value::Array(_), Some(input)) => depth(value) > input.dims.len(),
            _ => false,
        };
        if is_batch {
            return self.read_batch(path, value, media);
        }
        if let (Value::Object(members), true) = (value, is_named(value)) {
            return self.read_named_batch(path, members, media);
        }
        Ok(Samples {
            samples: vec![self.read_sample(path, value, media)?],
            is_batch: false,
        })
    }

    /// Reads an array whose every element is a sample.
    ///
    /// # Errors
    /// As of [`SampleFormat::read`].
    pub fn read_batch(
        &self,
        path: &str,
        value: &Value,
        media: &mut dyn Media,
    ) -> Result<Samples, String> {
        let Value::Array(items) = value else {
            return Err(format!(
                "{path}: expected an array of inputs, got {}",
                word(value)
            ));
        };
        check_count(path, items.len())?;
        let samples = items.iter().enumerate();
        let samples =
            samples.map(|(i, item)| self.read_sample(&format!("{path}[{i}]"), item, media));
        Ok(Samples {
            samples: samples.collect::<Result<_, _>>()?,
            is_batch: true,
        })
    }

    /// Reads an object of tensors, texts or images by name, each for one sample or, all alike, for several.
    fn read_named_batch(
        &self,
        path: &str,
        members: &Map<String, Value>,
        media: &mut dyn Media,
    ) -> Result<Samples, String> {
        let count = members.iter().find_map(|(name, value)| {
            let items = value.as_array()?;
            let input = self.inputs.iter().find(|input| input.name == *name);
            let is_deeper = match input {
                Some(input) => {
                    depth(value) > input.dims.len() || items.first().is_some_and(is_text)
                }
                None => MEDIA_NAMES.contains(&name.as_str()),
            };
            is_deeper.then_some(items.len())
        });
        let Some(count) = count else {
            let members = members.iter().map(|(name, value)| (name.as_str(), value));
            let place = |name: &str| format!("{path}.{name}");
            return Ok(Samples {
                samples: vec![self.read_members(path, place, members.collect(), media)?],
                is_batch: false,
            });
        };
        check_count(path, count)?;
        self.check_names(path, members.keys().map(String::as_str), media)?;
        let mut columns = Vec::with_capacity(members.len());
        for (name, value) in members {
            match value {
                Value::Array(items) if items.len() == count => columns.push((name.as_str(), items)),
                other => {
                    return Err(format!(
                        "{path}.{name}: expected an array of {count} like the other inputs, got {}",
                        word(other)
                    ));
                }
            }
        }
        let samples = (0..count).map(|i| {
            let members = columns.iter().map(|(name, items)| (*name, &items[i]));
            let place = |name: &str| format!("{path}.{name}[{i}]");
            self.read_members(path, place, members.collect(), media)
        });
        Ok(Samples {
            samples: samples.collect::<Result<_, _>>()?,
            is_batch: true,
        })
    }

    /// Reads bytes: an image or a text, where the network takes such, or else a sample's elements, little-endian, for a network
    /// with one input. At most one of its dimensions may be of any size; the number of bytes tells that.
    ///
    /// # Errors
    /// A sentence: what was expected, and what came.
    pub fn read_bytes(
        &self,
        path: &str,
        bytes: Bytes,
        media: &mut dyn Media,
    ) -> Result<Samples, String> {
        if let Some(sample) = self.read_file(path, &bytes, media)? {
            return Ok(Samples {
                samples: vec![sample],
                is_batch: false,
            });
        }
        let Some(input) = self.required() else {
            return Err(format!(
                "{path}: expected an object with {}, got bytes that are no JSON",
                self.names()
            ));
        };
        let got = bytes.len();
        let misfit = || {
            format!(
                "{path}: expected {}, or the bytes of its elements; got {got} bytes that are no JSON",
                expected(input)
            )
        };
        let fixed = |dim: &Dim| match dim {
            Dim::Fixed(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        let known = input.dims.iter().filter_map(fixed);
        let known = { known }.try_fold(input.dtype.bytes(), |n, d| n.checked_mul(d));
        let any = input.dims.iter().filter(|dim| fixed(dim).is_none()).count();
        let size = known.and_then(|known| got.checked_div(known));
        let size = size.filter(|_| any <= 1).ok_or_else(misfit)?;
        let shape: Vec<usize> = input
            .dims
            .iter()
            .map(|d| fixed(d).unwrap_or(size))
            .collect();
        if shape.contains(&0) {
            return Err(misfit());
        }
        let tensor = HostTensor::new(input.dtype, shape, bytes).map_err(|_| misfit())?;
        Ok(Samples {
            samples: vec![self.complete(path, tensor)?],
            is_batch: false,
        })
    }

    /// The sample that a file is: an image, or a text; `None` where it is neither, or the network takes no such.
    fn read_file(
        &self,
        path: &str,
        bytes: &[u8],
        media: &mut dyn Media,
    ) -> Result<Option<Vec<HostTensor>>, String> {
        let told = |problem: String| format!("{path}: {problem}");
        let mut tensors: Vec<Option<HostTensor>> = vec![None; self.inputs.len()];
        let is_print = |c: char| !c.is_control() || c.is_ascii_whitespace();
        let text = std::str::from_utf8(bytes).ok();
        let text = text.filter(|text| text.chars().all(is_print));
        match (media.image_input(), text) {
            (Some(at), _) if media.is_image(bytes) => {
                let tensor = media.image(bytes).map_err(told)?;
                tensors[at] = Some(check(path, &self.inputs[at], tensor)?);
            }
            (None, Some(text)) if !media.text_inputs().is_empty() => {
                let made = media.text(text, None).map_err(told)?;
                let inputs = media.text_inputs().to_vec();
                for (at, tensor) in inputs.into_iter().zip(made) {
                    tensors[at] = Some(check(path, &self.inputs[at], tensor)?);
                }
            }
            _ => return Ok(None),
        }
        self.fill(|name| format!("{path}.{name}"), tensors)
            .map(Some)
    }

    fn read_sample(
        &self,
        path: &str,
        value: &Value,
        media: &mut dyn Media,
    ) -> Result<Vec<HostTensor>, String> {
        match (value, self.required()) {
            (Value::Object(members), _) if is_named(value) => {
                let members = members.iter().map(|(name, value)| (name.as_str(), value));
                let place = |name: &str| format!("{path}.{name}");
                self.read_members(path, place, members.collect(), media)
            }
            (Value::String(_), _) => self.read_text(path, value, media),
            (Value::Array(items), _) if is_pair(value) && !media.text_inputs().is_empty() => {
                let members = ["text", "text_pair"].into_iter().zip(items);
                let place = |_: &str| path.to_owned();
                self.read_members(path, place, members.collect(), media)
            }
            (_, Some(input)) => self.complete(path, read_tensor(path, input, value)?),
            _ => Err(format!(
                "{path}: expected an object with {}, got {}",
                self.names(),
                word(value)
            )),
        }
    }

    /// Reads a text that stands for a sample: a text for the network, or an image.
    fn read_text(
        &self,
        path: &str,
        value: &Value,
        media: &mut dyn Media,
    ) -> Result<Vec<HostTensor>, String> {
        let name = match (media.text_inputs().is_empty(), media.image_input()) {
            (false, None) => "text",
            (true, Some(_)) => "image",
            (false, Some(_)) => {
                return Err(format!(
                    "{path}: expected an object with \"text\" and \"image\", got a string"
                ));
            }
            (true, None) => {
                let takes = match self.inputs.as_slice() {
                    [input] => expected(input),
                    _ => format!("an object with {}", self.names()),
                };
                return Err(format!(
                    "{path}: expected {takes}, got a string; {}",
                    media.refusal()
                ));
            }
        };
        let place = |_: &str| path.to_owned();
        self.read_members(path, place, vec![(name, value)], media)
    }

    /// Reads the tensors, texts and images of one sample by name; `place` tells the path of each.
    fn read_members(
        &self,
        path: &str,
        place: impl Fn(&str) -> String,
        members: Vec<(&str, &Value)>,
        media: &mut dyn Media,
    ) -> Result<Vec<HostTensor>, String> {
        self.check_names(path, members.iter().map(|(name, _)| *name), media)?;
        let mut tensors: Vec<Option<HostTensor>> = vec![None; self.inputs.len()];
        let mut texts = [None, None];
        for (name, value) in members {
            let path = place(name);
            let input = self.inputs.iter().position(|input| input.name == name);
            let at = match (input, name) {
                (Some(at), _) => at,
                (None, "text" | "text_pair") => {
                    let text = value
                        .as_str()
                        .ok_or_else(|| format!("{path}: expected a text, got {}", word(value)))?;
                    texts[usize::from(name == "text_pair")] = Some((path, text));
                    continue;
                }
                (None, _) => match media.image_input() {
                    Some(at) => at,
                    None => return Err(format!("{path}: {}", media.refusal())),
                },
            };
            let tensor = match value {
                Value::String(text) if media.image_input() == Some(at) => {
                    let tensor = image_bytes(text).and_then(|file| media.image(&file));
                    let tensor = tensor.map_err(|problem| format!("{path}: {problem}"))?;
                    check(&path, &self.inputs[at], tensor)?
                }
                _ => read_tensor(&path, &self.inputs[at], value)?,
            };
            put(&mut tensors[at], &path, tensor)?;
        }
        match texts {
            [None, None] => {}
            [None, Some((path, _))] => {
                return Err(format!(
                    "{path}: a second text without a first, which is \"text\""
                ));
            }
            [Some((path, first)), second] => {
                let made = media.text(first, second.map(|(_, text)| text));
                let made = made.map_err(|problem| format!("{path}: {problem}"))?;
                let inputs = media.text_inputs().to_vec();
                for (at, tensor) in inputs.into_iter().zip(made) {
                    let tensor = check(&path, &self.inputs[at], tensor)?;
                    put(&mut tensors[at], &path, tensor)?;
                }
            }
        }
        let missing = |name: &str| match path == place(name) {
            true => format!("{path}.{name}"),
            false => place(name),
        };
        self.fill(missing, tensors)
    }

    /// Refuses members that are no inputs.
    fn check_names<'a>(
        &self,
        path: &str,
        mut names: impl Iterator<Item = &'a str>,
        media: &dyn Media,
    ) -> Result<(), String> {
        let is_known = |name: &&str| self.inputs.iter().any(|input| input.name == **name);
        let is_text =
            |name: &&str| matches!(*name, "text" | "text_pair") && !media.text_inputs().is_empty();
        let is_image = |name: &&str| *name == "image" && media.image_input().is_some();
        match names.find(|name| !is_known(name) && !is_text(name) && !is_image(name)) {
            None => Ok(()),
            Some(name) if MEDIA_NAMES.contains(&name) => Err(format!(
                "{path}: {name:?} is no input of this network, which takes {}; {}",
                self.names(),
                media.refusal()
            )),
            Some(name) => Err(format!(
                "{path}: {name:?} is no input of this network, which takes {}",
                self.names()
            )),
        }
    }

    fn names(&self) -> String {
        let each: Vec<String> = self.inputs.iter().map(ValueInfo::to_string).collect();
        each.join("; ")
    }
}

fn check_count(path: &str, count: usize) -> Result<(), String> {
    match count <= MOST_SAMPLES {
        true => Ok(()),
        false => Err(format!(
            "{path}: expected at most {MOST_SAMPLES} inputs, got {count}"
        )),
    }
}

/// Whether a value is an object of tensors by name, and not one tensor with its bytes.
fn is_named(value: &Value) -> bool {
    matches!(value, Value::Object(members) if !(members.contains_key("data") && members.contains_key("shape")))
}

fn is_text(value: &Value) -> bool {
    value.is_string()
}

/// Whether a value is two texts.
fn is_pair(value: &Value) -> bool {
    matches!(
        value.as_array().map(Vec::as_slice),
        Some([Value::String(_), Value::String(_)])
    )
}

/// Puts a tensor at its place, unless there is one.
fn put(place: &mut Option<HostTensor>, path: &str, tensor: HostTensor) -> Result<(), String> {
    match place.replace(tensor) {
        None => Ok(()),
        Some(_) => Err(format!(
            "{path}: what it is for the network is there already"
        )),
    }
}

/// Refuses a tensor that was made of something else and is not what the input takes.
fn check(path: &str, input: &ValueInfo, tensor: HostTensor) -> Result<HostTensor, String> {
    match tensor.dtype() == input.dtype && fits(input, tensor.shape()) {
        true => Ok(tensor),
        false => Err(format!(
            "{path}: the network takes {} as {:?}, it would be {} of shape {:?}",
            expected(input),
            input.name,
            tensor.dtype().name(),
            tensor.shape()
        )),
    }
}

/// How deep arrays lie within each other, judged by the first of each; bytes have the depth of their shape.
fn depth(value: &Value) -> usize {
    let mut value = value;
    let mut depth = 0;
    loop {
        match value {
            Value::Array(items) => {
                depth += 1;
                match items.first() {
                    Some(first) => value = first,
                    None => return depth,
                }
            }
            Value::Object(members) => {
                let shape = members.get("shape").and_then(Value::as_array);
                return depth + shape.map_or(0, Vec::len);
            }
            _ => return depth,
        }
    }
}

/// Reads a tensor: nested arrays, or `{"dtype", "shape", "data"}` with the bytes in base64, little-endian.
fn read_tensor(path: &str, input: &ValueInfo, value: &Value) -> Result<HostTensor, String> {
    let tensor = match value {
        Value::Object(members) => read_bytes(path, input, members)?,
        _ => {
            let mut shape = Vec::new();
            let mut first = value;
            while let Value::Array(items) = first {
                shape.push(items.len());
                match items.first() {
                    Some(item) => first = item,
                    None => break,
                }
            }
            if !fits(input, &shape) {
                return Err(format!(
                    "{path}: expected {}, got {}",
                    expected(input),
                    got(value, &shape)
                ));
            }
            // Grows as numbers come: only the first array of each depth has been counted.
            let mut bytes = Vec::new();
            read_numbers(path, input, value, &shape, &mut bytes)?;
            HostTensor::new(input.dtype, shape, bytes).map_err(|e| format!("{path}: {e}"))?
        }
    };
    if tensor.shape().contains(&0) {
        return Err(format!(
            "{path}: expected {}, got an empty array",
            expected(input)
        ));
    }
    Ok(tensor)
}

fn read_bytes(
    path: &str,
    input: &ValueInfo,
    members: &Map<String, Value>,
) -> Result<HostTensor, String> {
    let form = || {
        format!(
            "{path}: expected {}, as arrays or as {{\"dtype\", \"shape\", \"data\"}}",
            expected(input)
        )
    };
    let shape = members
        .get("shape")
        .and_then(Value::as_array)
        .ok_or_else(form)?;
    let shape = shape
        .iter()
        .map(|n| n.as_u64().and_then(|n| usize::try_from(n).ok()));
    let shape: Vec<usize> = shape.collect::<Option<_>>().ok_or_else(form)?;
    let data = members
        .get("data")
        .and_then(Value::as_str)
        .ok_or_else(form)?;
    let dtype = members
        .get("dtype")
        .and_then(Value::as_str)
        .ok_or_else(form)?;
    if dtype != input.dtype.name() || !fits(input, &shape) {
        return Err(format!(
            "{path}: expected {}, got {dtype} of shape {shape:?}",
            expected(input)
        ));
    }
    if let Some(member) = members
        .keys()
        .find(|key| !["dtype", "shape", "data"].contains(&key.as_str()))
    {
        return Err(format!("{path}.{member}: no member of a tensor"));
    }
    let bytes = STANDARD
        .decode(data)
        .map_err(|e| format!("{path}.data: {e}"))?;
    HostTensor::new(input.dtype, shape, bytes).map_err(|e| format!("{path}: {e}"))
}

/// Appends the numbers of nested arrays, each of the size that the first had.
fn read_numbers(
    path: &str,
    input: &ValueInfo,
    value: &Value,
    shape: &[usize],
    bytes: &mut Vec<u8>,
) -> Result<(), String> {
    match (value, shape) {
        (Value::Array(items), [size, rest @ ..]) if items.len() == *size => {
            for (i, item) in items.iter().enumerate() {
                read_numbers(path, input, item, rest, bytes)
                    .map_err(|problem| problem.replacen(path, &format!("{path}[{i}]"), 1))?;
            }
            Ok(())
        }
        (_, []) if !value.is_array() => write(value, input.dtype, bytes).ok_or_else(|| {
            format!(
                "{path}: expected {}, got {}",
                element(input.dtype),
                word(value)
            )
        }),
        (_, []) => Err(format!(
            "{path}: expected {}, got an array",
            element(input.dtype)
        )),
        (_, [size, ..]) => Err(format!(
            "{path}: expected an array of {size} like the first, got {}",
            word(value)
        )),
    }
}

/// Appends a number's bytes; `None` where the type does not hold it.
fn write(value: &Value, dtype: DataType, bytes: &mut Vec<u8>) -> Option<()> {
    Element::of(value)?.write(dtype, bytes)
}

impl HostTensor {
    /// The tensor as nested arrays of numbers, or a single one. What JSON has no number for (infinite, none) is null.
    pub fn to_json(&self) -> Value {
        let mut values = self.elements_json().into_iter();
        nest(self.shape(), &mut values)
    }

    fn elements_json(&self) -> Vec<Value> {
        let float = |x: f64| Number::from_f64(x).map_or(Value::Null, Value::Number);
        macro_rules! integers {
            ($t:ty) => {{
                let (numbers, _) = self.bytes().as_chunks();
                numbers
                    .iter()
                    .map(|b| Value::from(<$t>::from_le_bytes(*b)))
                    .collect()
            }};
        }
        match self.dtype() {
            DataType::Int8 => integers!(i8),
            DataType::Int16 => integers!(i16),
            DataType::Int32 => integers!(i32),
            DataType::Int64 => integers!(i64),
            DataType::Uint8 => integers!(u8),
            DataType::Uint16 => integers!(u16),
            DataType::Uint32 => integers!(u32),
            DataType::Uint64 => integers!(u64),
            DataType::Bool => self.bytes().iter().map(|&b| Value::Bool(b != 0)).collect(),
            // The shortest decimal that is this f32, not the many digits that it has as an f64.
            DataType::Float => {
                let (numbers, _) = self.bytes().as_chunks();
                let shortest = |x: f32| x.to_string().parse().map_or(Value::Null, float);
                numbers
                    .iter()
                    .map(|b| shortest(f32::from_le_bytes(*b)))
                    .collect()
            }
            _ => self.to_f64().into_iter().map(float).collect(),
        }
    }
}

fn nest(shape: &[usize], values: &mut impl Iterator<Item = Value>) -> Value {
    match shape {
        [] => values.next().unwrap_or(Value::Null),
        [size, rest @ ..] => (0..*size).map(|_| nest(rest, values)).collect(),
    }
}

/// Whether a sample's shape is one that an input takes.
fn fits(input: &ValueInfo, shape: &[usize]) -> bool {
    let fits = |(dim, &size): (&Dim, &usize)| match dim {
        Dim::Fixed(n) => usize::try_from(*n) == Ok(size),
        _ => true,
    };
    input.dims.len() == shape.len() && input.dims.iter().zip(shape).all(fits)
}

/// What a sample is, for messages: `an array of shape [3, 224, 224] of float32`.
fn expected(input: &ValueInfo) -> String {
    if input.dims.is_empty() {
        return format!("a single {}", element(input.dtype).trim_start_matches("a "));
    }
    let dims = input.dims.iter().map(|dim| match dim {
        Dim::Fixed(n) => n.to_string(),
        _ => "any".to_owned(),
    });
    let dims: Vec<String> = dims.collect();
    format!(
        "an array of shape [{}] of {}",
        dims.join(", "),
        input.dtype.name()
    )
}

fn element(dtype: DataType) -> String {
    match dtype {
        DataType::Bool => "a boolean, true or false".to_owned(),
        _ => format!("a number of type {}", dtype.name()),
    }
}

fn got(value: &Value, shape: &[usize]) -> String {
    match value {
        Value::Array(_) => format!("one of shape {shape:?}"),
        other => word(other),
    }
}

/// A value in a few words.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(_) => "a string".into(),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".into(),
    }
}

#[cfg(test)]
mod tests;
