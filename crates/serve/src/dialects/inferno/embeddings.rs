//! `POST /v1/embeddings`.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearth_runtime::{Ask, KeepAlive};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::bodies::EmbeddingBody;
use super::error::{ApiError, Errors};
use super::inputs::{self, Input};
use super::params::{Fixed, LABELS, keep_alive};
use super::remote::{Admitted, admit_or_pass_on};
use crate::answer::before;
use crate::caller::Caller;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::remote::{KeyHeaders, Keys};
use crate::state::App;
use crate::waiting;

/// Most inputs of a request.
const MOST_INPUTS: usize = 2048;

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Encoding {
    Float,
    Base64,
}

/// A request, checked as far as it can be without its model.
#[derive(Debug)]
pub struct EmbeddingRequest {
    model: String,
    inputs: Vec<Input>,
    encoding: Encoding,
    dimensions: Option<usize>,
    timeout: Option<Duration>,
    keep_alive: Option<KeepAlive>,
}

impl EmbeddingRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// The first field that is missing, wrong or not supported.
    pub fn read(mut fields: Fields) -> Result<Self, FieldError> {
        Fixed::check(LABELS, &fields)?;
        let encoding = match fields.string("encoding_format")? {
            None | Some("float") => Encoding::Float,
            Some("base64") => Encoding::Base64,
            Some(other) => {
                let expected = "\"float\" or \"base64\"";
                return Err(FieldError::invalid(
                    "encoding_format",
                    expected,
                    &json!(other),
                ));
            }
        };
        Ok(Self {
            inputs: inputs::read(&mut fields, "input", MOST_INPUTS)?,
            model: fields.required_string("model")?.to_owned(),
            encoding,
            dimensions: fields.count("dimensions", 1..=u32::MAX as usize)?,
            timeout: fields.timeout()?,
            keep_alive: keep_alive(&fields)?,
        })
    }
}

/// The vectors.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::EmbeddingList)]
pub struct EmbeddingList {
    /// Always `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// A vector for each input, in their order.
    data: Vec<Embedding>,
    /// The model, by the name that the request used.
    model: String,
    /// Tokens in.
    usage: EmbeddingUsage,
}

/// The vector of an input.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::Embedding)]
pub struct Embedding {
    /// Always `embedding`.
    #[schema(example = "embedding")]
    object: &'static str,
    /// The vector.
    embedding: Vector,
    /// Number of the input.
    index: usize,
}

/// A vector: its numbers, or their bytes in base64.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = inferno::Vector)]
pub enum Vector {
    /// Its numbers.
    Float(Vec<f32>),
    /// The bytes of little-endian f32.
    Base64(String),
}

/// Tokens in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::EmbeddingUsage)]
pub struct EmbeddingUsage {
    /// Tokens of the inputs.
    prompt_tokens: usize,
    /// The same.
    total_tokens: usize,
}

/// Turns texts into vectors.
#[utoipa::path(
    post, path = "/v1/embeddings", tag = "inferno", operation_id = "inferno_embeddings",
    request_body(content = EmbeddingBody, example = json!({
        "model": "ember-embed", "input": ["Hello world", "How are you?"]
    })),
    params(KeyHeaders),
    responses((status = 200, description = "A vector for each", body = EmbeddingList), Errors)
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    keys: Keys,
    request: Request,
) -> Result<Response, ApiError> {
    let path = "/embeddings";
    let admitted = admit_or_pass_on(&app, &caller, &measure, &keys, request, path).await?;
    let (ticket, fields) = match admitted {
        Admitted::Here(ticket, fields) => (ticket, fields),
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let EmbeddingRequest {
        model,
        inputs,
        encoding,
        dimensions,
        timeout,
        keep_alive,
    } = EmbeddingRequest::read(fields)?;
    let deadline = timeout.map(|timeout| ticket.entered() + timeout);
    waiting::allow(&app, &caller, &model)?;
    let ask = Ask {
        deadline,
        keep_alive,
        ..Ask::default()
    };
    let service = app.runtime.embedding(&model, ask).await?;
    measure.model(service.model());
    let size = service.dimensions();
    if let Some(asked) = dimensions.filter(|&asked| asked > size) {
        let expected = format!("an integer from 1 to {size}, the size of this model's vectors");
        return Err(FieldError::invalid("dimensions", expected, &json!(asked)).into());
    }

    let mut sequences = Vec::with_capacity(inputs.len());
    for input in inputs {
        sequences.push(match input {
            Input::Text(text) => before(deadline, service.tokenize(text)).await?,
            Input::Tokens(tokens) => tokens,
        });
    }
    let prompt_tokens = sequences.iter().map(Vec::len).sum();
    let vectors = service.embed(sequences, deadline).await?;
    measure.tokens(prompt_tokens as u64, 0);
    let data = vectors
        .into_iter()
        .enumerate()
        .map(|(index, vector)| Embedding {
            object: "embedding",
            embedding: write(shorten(vector, dimensions), encoding),
            index,
        });
    let usage = EmbeddingUsage {
        prompt_tokens,
        total_tokens: prompt_tokens,
    };
    Ok(Json(EmbeddingList {
        object: "list",
        data: data.collect(),
        model,
        usage,
    })
    .into_response())
}

/// The first `dimensions` values, scaled to length 1, as models that are trained for it want; a vector
/// that keeps its size is left as the model made it.
fn shorten(mut vector: Vec<f32>, dimensions: Option<usize>) -> Vec<f32> {
    let Some(size) = dimensions.filter(|&size| size < vector.len()) else {
        return vector;
    };
    vector.truncate(size);
    let length = vector
        .iter()
        .map(|&value| f64::from(value).powi(2))
        .sum::<f64>()
        .sqrt();
    if length > 0.0 {
        vector
            .iter_mut()
            .for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
    vector
}

fn write(vector: Vec<f32>, encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn read(body: Value) -> Result<EmbeddingRequest, FieldError> {
        let Value::Object(mut body) = body else {
            panic!("not an object")
        };
        body.entry("model").or_insert(json!("m"));
        EmbeddingRequest::read(Fields::new(body))
    }

    #[test]
    fn wrong_fields_are_refused_by_name() {
        for (body, field) in [
            (json!({}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": vec!["a"; 2049]}), "input"),
            (
                json!({"input": "a", "encoding_format": "hex"}),
                "encoding_format",
            ),
            (json!({"input": "a", "dimensions": 0}), "dimensions"),
            (json!({"input": "a", "user": 1}), "user"),
        ] {
            assert_eq!(
                read(body.clone()).expect_err(&body.to_string()).field,
                field
            );
        }
    }

    #[test]
    fn shortened_vectors_have_length_one() {
        assert_eq!(shorten(vec![3.0, 4.0, 12.0], Some(2)), [0.6, 0.8]);
        assert_eq!(shorten(vec![3.0, 4.0], Some(2)), [3.0, 4.0]);
        assert_eq!(shorten(vec![3.0, 4.0], None), [3.0, 4.0]);
        assert_eq!(shorten(vec![0.0, 4.0], Some(1)), [0.0]);
    }

    #[test]
    fn base64_is_little_endian() {
        // python3: base64.b64encode(struct.pack('<2f', 1.0, -2.5))
        let Vector::Base64(text) = write(vec![1.0, -2.5], Encoding::Base64) else {
            panic!()
        };
        assert_eq!(text, "AACAPwAAIMA=");
    }
}
