//! The request of an inference: a JSON object, and after it the bytes of those tensors that it does not hold itself.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use hearth_runtime::{Elements, HostTensor, MOST_ROWS, ValueInfo, image_bytes};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::datatype;
use crate::extract::{Refusal, check_values};
use crate::problem::{Kind, Problem};

/// The header that says how long the JSON object is, where bytes of tensors come after it.
pub const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Tensors to run a network on.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = kserve::InferRequest)]
pub struct InferRequest {
    /// The client's own name for the request, which the answer repeats.
    pub id: Option<String>,
    /// How to run it.
    #[serde(default, deserialize_with = "given")]
    pub parameters: Parameters,
    /// A tensor for each input of the network.
    pub inputs: Vec<InputTensor>,
    /// The outputs that are wanted; all of them where this is left out or empty.
    #[serde(default, deserialize_with = "given")]
    pub outputs: Vec<RequestedOutput>,
}

/// How to run a request. Parameters that are not known are ignored.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = kserve::InferParameters)]
#[serde(default)]
pub struct Parameters {
    /// Whether outputs that say nothing about it come as bytes after the JSON object.
    #[serde(deserialize_with = "given")]
    #[schema(default = false)]
    pub binary_data_output: bool,
    /// 1 is run first, then 2 and so on; 0, or nothing, is last.
    #[serde(deserialize_with = "given")]
    #[schema(default = 0)]
    pub priority: u64,
    /// Microseconds after which the answer is 503; 0, or nothing, for no limit.
    #[serde(deserialize_with = "given")]
    #[schema(default = 0)]
    pub timeout: u64,
    /// Whether texts that are too long are cut; else they are refused.
    #[serde(deserialize_with = "given")]
    #[schema(default = false)]
    pub truncation: bool,
    /// Refused: networks here remember nothing from one request to the next.
    #[schema(value_type = Option<Value>, read_only)]
    sequence_id: Option<Value>,
}

/// A tensor for an input.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = kserve::InputTensor)]
pub struct InputTensor {
    /// The input's name. In place of tensors, networks that take texts take `text` (and `text_pair`), and those that take images
    /// `image` or the name of the input that it fills, both of the type `BYTES`.
    #[schema(example = "x")]
    pub name: String,
    /// The dimensions. The first counts inputs, where the network's is of any size.
    pub shape: Vec<u64>,
    /// The type of the elements, as of the network's description.
    #[schema(example = "FP32")]
    pub datatype: String,
    /// Where the elements are.
    #[serde(default, deserialize_with = "given")]
    pub parameters: InputParameters,
    /// The elements in row-major order: one array, or arrays of the shape; texts, or images in base64, of the type `BYTES`. Left out
    /// where they come as bytes.
    #[schema(value_type = Option<Vec<Value>>)]
    pub data: Option<Elements>,
}

/// Where the elements of a tensor are.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = kserve::InputParameters)]
#[serde(default)]
pub struct InputParameters {
    /// How many bytes of those after the JSON object are its elements, little-endian; of the type `BYTES` each has its length in
    /// four bytes before it. Tensors have theirs in the order in which
    /// they stand in `inputs`.
    pub binary_data_size: Option<usize>,
    /// Refused: memory is not shared with clients.
    #[schema(value_type = Option<Value>, read_only)]
    shared_memory_region: Option<Value>,
}

/// An output that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = kserve::RequestedOutput)]
pub struct RequestedOutput {
    /// The output's name.
    pub name: String,
    /// How it is wanted.
    #[serde(default, deserialize_with = "given")]
    pub parameters: OutputParameters,
}

/// How an output is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = kserve::OutputParameters)]
#[serde(default)]
pub struct OutputParameters {
    /// Whether it comes as bytes after the JSON object; what the request's parameters say if left out.
    pub binary_data: Option<bool>,
    /// The number of largest elements to give, as texts `VALUE:INDEX` (`VALUE:INDEX:CLASS` where the classes are known), in place of the tensor; 0, or nothing, for the tensor.
    #[serde(deserialize_with = "given")]
    #[schema(default = 0)]
    pub classification: usize,
    /// Refused: memory is not shared with clients.
    #[schema(value_type = Option<Value>, read_only)]
    shared_memory_region: Option<Value>,
}

/// A field whose null is the same as its absence.
fn given<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Parts a body into the JSON object and the bytes after it.
///
/// # Errors
/// The header does not say where the object ends.
pub fn part(headers: &HeaderMap, body: &Bytes) -> Result<(Bytes, Bytes), Problem> {
    let Some(length) = headers.get(HEAD_LENGTH) else {
        return Ok((body.clone(), Bytes::new()));
    };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    match length.filter(|&length: &usize| length <= body.len()) {
        Some(length) => Ok((body.slice(..length), body.slice(length..))),
        None => Err(Problem::new(
            Kind::Invalid,
            format!(
                "{HEAD_LENGTH}: expected a number of bytes up to {}, the length of the body",
                body.len()
            ),
        )),
    }
}

impl InferRequest {
    /// Reads the JSON object.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(head: &[u8]) -> Result<Self, Problem> {
        check_values(head)?;
        let request: Self = serde_json::from_slice(head)
            .map_err(|error| Problem::from(Refusal::Malformed(error.to_string())))?;
        let refused = |field: String, why: &str| {
            let problem = Problem::new(Kind::Unsupported, format!("{field}: {why}"));
            Err(problem.at(field))
        };
        if request.parameters.sequence_id.is_some() {
            let why = "networks here remember nothing from one request to the next";
            return refused("parameters.sequence_id".to_owned(), why);
        }
        let inputs = request.inputs.iter().map(|input| {
            let region = &input.parameters.shared_memory_region;
            ("inputs", &input.name, region)
        });
        let outputs = request.outputs.iter().map(|output| {
            let region = &output.parameters.shared_memory_region;
            ("outputs", &output.name, region)
        });
        let mut tensors = inputs.chain(outputs);
        if let Some((list, name, _)) = tensors.find(|(_, _, region)| region.is_some()) {
            let field = format!("{list}.{name}.parameters.shared_memory_region");
            return refused(field, "memory is not shared with clients");
        }
        Ok(request)
    }

    /// When to give up on a request that came in at `entered`.
    pub fn deadline(&self, entered: Instant) -> Option<Instant> {
        match self.parameters.timeout {
            0 => None,
            micros => entered.checked_add(Duration::from_micros(micros)),
        }
    }

    /// The priority in the runtime's terms: 0 to 10, higher is run first.
    pub fn priority(&self) -> u8 {
        let level = match self.parameters.priority {
            0 => 0,
            first => 11u64.saturating_sub(first).max(1),
        };
        u8::try_from(level).unwrap_or(0)
    }
}

/// What a network is run on.
#[derive(Debug, Default, PartialEq)]
pub struct Given {
    /// Tensors by name.
    pub tensors: Vec<(String, HostTensor)>,
    /// Texts and image files by name.
    pub files: Vec<(String, Vec<Bytes>)>,
}

/// The inputs for a network that takes `takes`, with those bytes of `binary` that are theirs, which are shared.
///
/// # Errors
/// A tensor's type is not the network's, or its elements are not there, or too many.
pub fn inputs(
    inputs: Vec<InputTensor>,
    mut binary: Bytes,
    takes: &[ValueInfo],
) -> Result<Given, Problem> {
    let mut given = Given::default();
    for mut input in inputs {
        let name = std::mem::take(&mut input.name);
        let wrong = |what: String| {
            let message = format!("input {name:?}: {what}");
            Problem::new(Kind::Invalid, message).at("inputs")
        };
        if input.datatype == datatype::BYTES {
            let files = files(&name, input, &mut binary).map_err(wrong)?;
            given.files.push((name, files));
            continue;
        }
        let Some(info) = takes.iter().find(|info| info.name == name) else {
            let known: Vec<&str> = takes.iter().map(|info| info.name.as_str()).collect();
            return Err(wrong(format!(
                "the network has no such input; it has {}",
                known.join(", ")
            )));
        };
        let datatype = datatype::name(info.dtype);
        if datatype != input.datatype {
            return Err(wrong(format!(
                "the network takes {datatype}, got {:?}",
                input.datatype
            )));
        }
        let tensor = shape(&input).and_then(|shape| match elements(input, &mut binary)? {
            Sent::Json(elements) => elements.to_tensor(info.dtype, shape),
            Sent::Bytes(bytes) => HostTensor::new(info.dtype, shape, bytes),
        });
        given.tensors.push((name.clone(), tensor.map_err(wrong)?));
    }
    match binary.len() {
        0 => Ok(given),
        left => Err(Problem::new(
            Kind::Invalid,
            format!("the last {left} bytes of the body are no tensor's"),
        )),
    }
}

/// Elements of a tensor, as they came.
enum Sent {
    Json(Elements),
    Bytes(Bytes),
}

fn elements(input: InputTensor, binary: &mut Bytes) -> Result<Sent, String> {
    match (input.data, input.parameters.binary_data_size) {
        (Some(_), Some(_)) => Err("data and binary_data_size are both there".to_owned()),
        (None, None) => Err("neither data nor binary_data_size is there".to_owned()),
        (Some(elements), None) => Ok(Sent::Json(elements)),
        (None, Some(size)) if size > binary.len() => Err(format!(
            "binary_data_size is {size}, {} bytes are left in the body",
            binary.len()
        )),
        (None, Some(size)) => Ok(Sent::Bytes(binary.split_to(size))),
    }
}

fn shape(input: &InputTensor) -> Result<Vec<usize>, String> {
    let shape = input.shape.iter().map(|&size| usize::try_from(size).ok());
    shape
        .collect::<Option<_>>()
        .ok_or_else(|| format!("the shape {:?} is too large", input.shape))
}

fn check_rows(count: usize) -> Result<(), String> {
    match count <= MOST_ROWS {
        true => Ok(()),
        false => Err(format!(
            "more than {MOST_ROWS} elements, the most of the type BYTES"
        )),
    }
}

/// Whether an input of the type `BYTES` is of texts, by its name; others are of images.
pub fn is_text(name: &str) -> bool {
    matches!(name, "text" | "text_pair")
}

/// The texts or image files of an input of the type `BYTES`. As JSON, images are in base64.
fn files(name: &str, input: InputTensor, binary: &mut Bytes) -> Result<Vec<Bytes>, String> {
    let shape = shape(&input)?;
    let files: Vec<Bytes> = match elements(input, binary)? {
        Sent::Json(elements) => {
            let texts = elements
                .into_texts()
                .ok_or("numbers, where BYTES was expected")?;
            check_rows(texts.len())?;
            let is_text = is_text(name);
            let files = texts.into_iter().map(|text| match is_text {
                true => Ok(text.into()),
                false => image_bytes(&text).map(Bytes::from),
            });
            files.collect::<Result<_, String>>()?
        }
        Sent::Bytes(mut bytes) => {
            let mut files = Vec::new();
            while !bytes.is_empty() {
                let length = { bytes.first_chunk() }.map(|length| u32::from_le_bytes(*length));
                let length = length.and_then(|length| usize::try_from(length).ok());
                let end = length.and_then(|length| length.checked_add(4));
                let end = end.filter(|end| *end <= bytes.len());
                let end = end.ok_or("its bytes are not elements with their lengths before them")?;
                files.push(bytes.split_to(end).split_off(4));
                check_rows(files.len())?;
            }
            files
        }
    };
    let takes = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match takes == Some(files.len()) && !files.is_empty() {
        true => Ok(files),
        false => Err(format!(
            "{} elements are not those of the shape {shape:?}",
            files.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_runtime::{DataType, Dim};
    use serde_json::json;

    fn takes() -> Vec<ValueInfo> {
        let info = |name: &str, dtype| ValueInfo {
            name: name.into(),
            dtype,
            dims: vec![Dim::Unknown, Dim::Fixed(2)],
        };
        vec![info("x", DataType::Float), info("mask", DataType::Bool)]
    }

    fn read(head: Value, binary: &'static [u8]) -> Result<Vec<(String, HostTensor)>, String> {
        let request = InferRequest::read(head.to_string().as_bytes());
        let request = request.map_err(|problem| problem.message)?;
        let given = inputs(request.inputs, Bytes::from_static(binary), &takes());
        given.map(|given| given.tensors).map_err(|p| p.message)
    }

    #[test]
    fn elements_and_bytes_are_the_same_tensors() {
        let x = json!({"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]});
        let mask =
            json!({"name": "mask", "shape": [1, 2], "datatype": "BOOL", "data": [[true, false]]});
        let given = read(json!({"inputs": [x, mask]}), b"").expect("good");
        let x = json!({"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}});
        let mask = json!({"name": "mask", "shape": [1, 2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}});
        let binary = b"\x01\x00\x00\x00\x80\x3f\x00\x00\x20\x40";
        let head = json!({"inputs": [mask, x], "outputs": null, "parameters": null});
        let sent = read(head, binary).expect("good");
        assert_eq!(sent, [given[1].clone(), given[0].clone()]);
    }

    #[test]
    fn texts_and_images_come_as_bytes() {
        let read = |inputs: Value, binary: &'static [u8]| {
            let request = InferRequest::read(json!({"inputs": inputs}).to_string().as_bytes());
            let request = request.map_err(|problem| problem.message)?;
            let given = super::inputs(request.inputs, Bytes::from_static(binary), &takes());
            given
                .map(|given| given.files)
                .map_err(|problem| problem.message)
        };
        let tensor = |name: &str, shape: Value, data: Value| json!({"name": name, "shape": shape, "datatype": "BYTES", "data": data});
        let files = |name: &str, files: &[&'static [u8]]| {
            let files = files.iter().map(|file| Bytes::from_static(file)).collect();
            (name.to_owned(), files)
        };
        let json = json!([
            tensor("text", json!([2, 1]), json!(["a", "bc"])),
            tensor("image", json!([1]), json!(["UFFS"]))
        ]);
        let expected = vec![files("text", &[b"a", b"bc"]), files("image", &[b"PQR"])];
        assert_eq!(read(json, b""), Ok(expected));
        let bytes = json!([{"name": "text", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}}]);
        assert_eq!(
            read(bytes.clone(), b"\x01\0\0\0a\x02\0\0\0bc"),
            Ok(vec![files("text", &[b"a", b"bc"])])
        );
        let many = vec!["a"; MOST_ROWS + 1];
        let empty: &'static [u8] = vec![0; 4 * (MOST_ROWS + 1)].leak();
        let sent = json!({"binary_data_size": empty.len()});
        for (inputs, binary, words) in [
            (
                json!([tensor("text", json!([MOST_ROWS + 1]), json!(many))]),
                &b""[..],
                "more than 4096 elements",
            ),
            (
                json!([{"name": "text", "shape": [MOST_ROWS + 1], "datatype": "BYTES", "parameters": sent}]),
                empty,
                "more than 4096 elements",
            ),
            (
                bytes.clone(),
                b"\x01\0\0\0a\x03\0\0\0bc",
                "lengths before them",
            ),
            (
                bytes,
                b"\x07\0\0\0aaaaaaa",
                "1 elements are not those of the shape [2]",
            ),
            (
                json!([tensor("text", json!([1]), json!([1]))]),
                b"",
                "numbers, where BYTES",
            ),
            (
                json!([tensor("image", json!([1]), json!(["!"]))]),
                b"",
                "base64",
            ),
            (
                json!([tensor("x", json!([0]), json!([]))]),
                b"",
                "0 elements",
            ),
        ] {
            let error = read(inputs, binary).expect_err("wrong");
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let tensor = |change: Value| {
            let mut tensor = json!({"name": "x", "shape": [1, 2], "datatype": "FP32"});
            let (Value::Object(members), Value::Object(change)) = (&mut tensor, change) else {
                panic!("not objects")
            };
            members.extend(change);
            json!({"inputs": [tensor]})
        };
        let size = |size: u64| json!({"parameters": {"binary_data_size": size}});
        for (head, binary, words) in [
            (json!({}), &b""[..], "missing field `inputs`"),
            (json!([]), b"", "invalid"),
            (json!({"inputs": 1}), b"", "expected a sequence"),
            (tensor(json!({})), b"", "neither data nor binary_data_size"),
            (
                tensor(json!({"name": "y", "data": []})),
                b"",
                "no such input; it has x, mask",
            ),
            (
                tensor(json!({"datatype": "FP64", "data": []})),
                b"",
                "takes FP32, got \"FP64\"",
            ),
            (
                tensor(json!({"datatype": "BYTES", "data": []})),
                b"",
                "0 elements are not those of the shape",
            ),
            (
                tensor(json!({"shape": [-1, 2], "data": []})),
                b"",
                "invalid value: integer `-1`",
            ),
            (
                tensor(json!({"shape": [1.5], "data": []})),
                b"",
                "invalid type: floating point",
            ),
            (
                tensor(json!({"shape": [u64::MAX, u64::MAX], "data": [1]})),
                b"",
                "1 elements",
            ),
            (tensor(json!({"data": [1, 2, 3]})), b"", "3 elements"),
            (
                tensor(json!({"data": ["a", "b"]})),
                b"",
                "texts, where float32 was expected",
            ),
            (
                tensor(size(8)),
                b"1234567",
                "binary_data_size is 8, 7 bytes are left",
            ),
            (tensor(size(7)), b"1234567", "takes 8 bytes, 7 were given"),
            (tensor(size(8)), b"123456789", "the last 1 bytes"),
            (
                tensor(size(u64::MAX)),
                b"",
                "binary_data_size is 18446744073709551615",
            ),
            (
                tensor(json!({"data": [1, 2], "parameters": {"binary_data_size": 8}})),
                b"12345678",
                "both there",
            ),
            (
                tensor(json!({"parameters": {"shared_memory_region": "a"}})),
                b"",
                "inputs.x.parameters.shared_memory_region",
            ),
            (
                json!({"inputs": [], "parameters": {"sequence_id": 1}}),
                b"",
                "parameters.sequence_id",
            ),
            (
                json!({"inputs": [], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "a"}}]}),
                b"",
                "outputs.y.parameters.shared_memory_region",
            ),
        ] {
            let error = read(head.clone(), binary).expect_err(&head.to_string());
            assert!(error.contains(words), "{head}: {error}");
        }
    }

    #[test]
    fn bodies_are_parted_where_the_header_says() {
        let body = Bytes::from_static(b"{}1234");
        let headers =
            |value: &str| HeaderMap::from_iter([(HEAD_LENGTH, value.parse().expect("a header"))]);
        assert_eq!(
            part(&HeaderMap::new(), &body).expect("all"),
            (body.clone(), Bytes::new())
        );
        let (head, rest) = part(&headers("2"), &body).expect("good");
        assert_eq!((&head[..], &rest[..]), (&b"{}"[..], &b"1234"[..]));
        for value in ["7", "-1", "x", "", "99999999999999999999"] {
            assert!(part(&headers(value), &body).is_err(), "{value}");
        }
    }

    #[test]
    fn the_first_priority_is_the_highest() {
        let priority = |level: u64| {
            let head = json!({"inputs": [], "parameters": {"priority": level}});
            let request = InferRequest::read(head.to_string().as_bytes());
            request.expect("good").priority()
        };
        let levels = [0, 1, 2, 10, 11, u64::MAX].map(priority);
        assert_eq!(levels, [0, 10, 9, 1, 1, 1]);
        let head = json!({"inputs": [], "parameters": {"timeout": u64::MAX}});
        let request = InferRequest::read(head.to_string().as_bytes()).expect("good");
        // No clock reaches so far; it must not be a panic.
        let _ = request.deadline(Instant::now());
    }
}
