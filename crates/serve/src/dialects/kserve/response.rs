//! The answer to an inference: a JSON object, and after it the bytes of those tensors that were wanted so.

use hearth_runtime::{FlatJson, HostTensor, ValueInfo};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::classify::classify;
use super::datatype;
use super::request::{OutputParameters, Parameters, RequestedOutput};
use crate::problem::{Kind, Problem};

/// What a network gave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::InferResponse)]
pub struct InferResponse {
    /// The network.
    #[schema(example = "example")]
    model_name: String,
    /// Its version.
    #[schema(example = "1")]
    model_version: String,
    /// The client's own name for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The outputs, in the order in which they were asked for.
    outputs: Vec<OutputTensor>,
}

/// An output.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::OutputTensor)]
pub struct OutputTensor {
    /// Its name.
    name: String,
    /// The type of its elements; `BYTES` for the texts of a classification.
    #[schema(example = "FP32")]
    datatype: &'static str,
    /// Its dimensions.
    shape: Vec<u64>,
    /// Where the elements are; left out where they are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    /// The elements in row-major order, as one array; infinite numbers and NaN are null. Left out where they come as bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Value>>)]
    data: Option<Elements>,
}

/// Where the elements of an output are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::BinarySize)]
pub struct BinarySize {
    /// How many bytes of those after the JSON object are its elements, little-endian. Outputs have theirs in their order.
    binary_data_size: usize,
}

/// Elements within the JSON object.
#[derive(Debug)]
enum Elements {
    Numbers(HostTensor),
    Texts(Vec<String>),
}

impl Serialize for Elements {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Numbers(tensor) => FlatJson(tensor).serialize(serializer),
            Self::Texts(texts) => texts.serialize(serializer),
        }
    }
}

/// Which outputs are wanted, and how.
#[derive(Debug)]
pub struct Wanted {
    /// The place of each in the network's outputs.
    outputs: Vec<(usize, OutputParameters)>,
    binary: bool,
}

impl Wanted {
    /// What a request wants of a network that gives `gives`.
    ///
    /// # Errors
    /// An output that the network does not have, or that is there twice.
    pub fn of(
        requested: Vec<RequestedOutput>,
        parameters: &Parameters,
        gives: &[ValueInfo],
    ) -> Result<Self, Problem> {
        let wrong = |message: String| Err(Problem::new(Kind::Invalid, message).at("outputs"));
        let mut outputs: Vec<(usize, OutputParameters)> = Vec::new();
        for output in requested {
            let name = output.name;
            let Some(at) = gives.iter().position(|info| info.name == name) else {
                let known: Vec<&str> = gives.iter().map(|info| info.name.as_str()).collect();
                return wrong(format!(
                    "output {name:?}: the network has no such output; it has {}",
                    known.join(", ")
                ));
            };
            if outputs.iter().any(|(other, _)| *other == at) {
                return wrong(format!("output {name:?} is there twice"));
            }
            outputs.push((at, output.parameters));
        }
        if outputs.is_empty() {
            let all = (0..gives.len()).map(|at| (at, OutputParameters::default()));
            outputs = all.collect();
        }
        Ok(Self {
            outputs,
            binary: parameters.binary_data_output,
        })
    }
}

/// An answer's body.
#[derive(Debug)]
pub struct Written {
    /// The JSON object, and the bytes after it.
    pub body: Vec<u8>,
    /// The length of the object, where bytes come after it.
    pub head: Option<usize>,
}

/// Writes the answer of the network `model_name`, which gave `tensors`, one for each of `gives`; `classes` tells those of an
/// output's elements.
///
/// # Errors
/// A tensor is missing, which is a bug.
pub fn write(
    (model_name, model_version): (String, String),
    id: Option<String>,
    wanted: &Wanted,
    (gives, tensors): (&[ValueInfo], &[HostTensor]),
    has_rows: bool,
    classes: impl Fn(usize) -> Option<Vec<String>>,
) -> Result<Written, Problem> {
    let bug = |what: &str| Problem::new(Kind::Internal, format!("{what}; this is a bug"));
    let mut outputs = Vec::with_capacity(wanted.outputs.len());
    let mut pieces = Vec::new();
    for (at, how) in &wanted.outputs {
        let (Some(info), Some(tensor)) = (gives.get(*at), tensors.get(*at)) else {
            return Err(bug("an output is missing"));
        };
        let (datatype, shape, elements) = match how.classification {
            0 => {
                let shape = tensor.shape().iter().map(|&size| size as u64).collect();
                let numbers = Elements::Numbers(tensor.clone());
                (datatype::name(tensor.dtype()), shape, numbers)
            }
            count => {
                let (shape, texts) = classify(tensor, count, has_rows, classes(*at).as_deref());
                (datatype::BYTES, shape, Elements::Texts(texts))
            }
        };
        let mut output = OutputTensor {
            name: info.name.clone(),
            datatype,
            shape,
            parameters: None,
            data: None,
        };
        match how.binary_data.unwrap_or(wanted.binary) {
            false => output.data = Some(elements),
            true => {
                let bytes = match elements {
                    Elements::Numbers(tensor) => tensor.shared_bytes(),
                    Elements::Texts(texts) => texts_as_bytes(&texts).into(),
                };
                output.parameters = Some(BinarySize {
                    binary_data_size: bytes.len(),
                });
                pieces.push(bytes);
            }
        }
        outputs.push(output);
    }
    let response = InferResponse {
        model_name,
        model_version,
        id,
        outputs,
    };
    let mut body = serde_json::to_vec(&response).map_err(|error| bug(&error.to_string()))?;
    let head = (!pieces.is_empty()).then_some(body.len());
    body.reserve_exact(pieces.iter().map(|bytes| bytes.len()).sum());
    for bytes in pieces {
        body.extend_from_slice(&bytes);
    }
    Ok(Written { body, head })
}

/// Texts as the protocol has them in bytes: each after its length, in four bytes, little-endian.
fn texts_as_bytes(texts: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_runtime::{DataType, Dim};
    use serde_json::{Value, json};

    fn gives() -> Vec<ValueInfo> {
        let info = |name: &str, dtype| ValueInfo {
            name: name.into(),
            dtype,
            dims: vec![Dim::Unknown, Dim::Fixed(2)],
        };
        vec![info("a", DataType::Float), info("b", DataType::Int64)]
    }

    fn answer(request: Value) -> Result<(Value, Vec<u8>), String> {
        #[derive(serde::Deserialize)]
        struct Request {
            #[serde(default)]
            parameters: Parameters,
            #[serde(default)]
            outputs: Vec<RequestedOutput>,
        }
        let request: Request = serde_json::from_value(request).map_err(|e| e.to_string())?;
        let wanted = Wanted::of(request.outputs, &request.parameters, &gives());
        let wanted = wanted.map_err(|problem| problem.message)?;
        let tensors = [
            HostTensor::from_f32(vec![1, 2], &[0.5, 2.0]).expect("a tensor"),
            HostTensor::from_i64(vec![1, 2], &[3, -4]).expect("a tensor"),
        ];
        let written = write(
            ("m".into(), "1".into()),
            Some("7".into()),
            &wanted,
            (&gives(), &tensors),
            true,
            |_| None,
        );
        let Written { body, head } = written.map_err(|problem| problem.message)?;
        let (head, rest) = body.split_at(head.unwrap_or(body.len()));
        Ok((serde_json::from_slice(head).expect("JSON"), rest.to_vec()))
    }

    #[test]
    fn outputs_come_as_they_are_wanted() {
        let a = json!({"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 2.0]});
        let b = json!({"name": "b", "datatype": "INT64", "shape": [1, 2], "data": [3, -4]});
        let all = json!({"model_name": "m", "model_version": "1", "id": "7", "outputs": [a, b]});
        assert_eq!(answer(json!({})), Ok((all, vec![])));

        let (head, rest) = answer(
            json!({"parameters": {"binary_data_output": true}, "outputs": [
                {"name": "b"},
                {"name": "a", "parameters": {"binary_data": false}},
            ]}),
        )
        .expect("good");
        let b = json!({
            "name": "b", "datatype": "INT64", "shape": [1, 2], "parameters": {"binary_data_size": 16}
        });
        assert_eq!(head["outputs"], json!([b, a]));
        assert_eq!(rest, [3i64.to_le_bytes(), (-4i64).to_le_bytes()].concat());
    }

    #[test]
    fn classes_come_as_texts() {
        let classes = |binary: bool| {
            let how = json!({"classification": 1, "binary_data": binary});
            answer(json!({"outputs": [{"name": "a", "parameters": how}]})).expect("good")
        };
        let (head, _) = classes(false);
        let output =
            json!({"name": "a", "datatype": "BYTES", "shape": [1, 1], "data": ["2.000000:1"]});
        assert_eq!(head["outputs"], json!([output]));
        let (head, rest) = classes(true);
        assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 14);
        assert_eq!(rest, b"\x0a\0\0\x002.000000:1");
    }

    #[test]
    fn outputs_that_are_not_there_are_refused() {
        for (outputs, words) in [
            (json!([{"name": "c"}]), "no such output; it has a, b"),
            (json!([{"name": "a"}, {"name": "a"}]), "twice"),
        ] {
            let error = answer(json!({"outputs": outputs})).expect_err("wrong");
            assert!(error.contains(words), "{error}");
        }
    }
}
