//! `POST /predict`, `/predict/batch` and `/{model_name}/predict`: exported networks.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use hearth_runtime::{Ask, Error, Inputs, PredictRequest, Prediction};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::admission::Ticket;
use crate::answer::before;
use crate::caller::Caller;
use crate::extract::admit;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::network::network;
use crate::problem::{Kind, Problem};
use crate::state::App;

/// The network that runs where none is named; a part of the program.
const DEFAULT_MODEL: &str = "example";

/// What is to be predicted.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(as = framework::Predict)]
pub struct Predict {
    /// The network, or `NAME:VERSION` for one of its versions; `example` where none is named.
    #[schema(value_type = Option<String>, default = "example", example = "example")]
    model_name: String,
    /// One input of the network, or an array of them: nested arrays of numbers, an object of them by the names of the
    /// network's inputs, or `{"dtype", "shape", "data"}` with the bytes in base64.
    inputs: Value,
    /// 0 to 10, higher is run first.
    #[schema(value_type = Option<u8>, default = 0, minimum = 0, maximum = 10)]
    priority: u8,
    /// Seconds after which the answer is 503.
    #[schema(value_type = Option<f64>, default = 30.0, minimum = 0.001, maximum = 86400)]
    timeout: Duration,
    /// Whether inputs may run together, with each other and those of other requests.
    #[schema(value_type = Option<bool>, default = true)]
    enable_batching: bool,
    /// A credential, as in `Authorization`.
    #[schema(value_type = Option<String>)]
    token: (),
}

impl Predict {
    fn read(fields: &mut Fields) -> Result<Self, FieldError> {
        let model_name = match fields.string("model_name")? {
            None => DEFAULT_MODEL.to_owned(),
            Some(_) => fields.required_string("model_name")?.to_owned(),
        };
        let priority = fields.integer("priority", 0..=10)?.unwrap_or(0);
        let timeout = fields.number("timeout", 0.001..=86_400.0)?.unwrap_or(30.0);
        // What it says was looked at where the caller was let in.
        fields.string("token")?;
        let inputs = fields.take("inputs").ok_or_else(|| {
            FieldError::missing("inputs", "an input of the network, or an array of them")
        })?;
        Ok(Self {
            model_name,
            inputs,
            priority: u8::try_from(priority).unwrap_or(0),
            timeout: Duration::from_secs_f64(timeout),
            enable_batching: fields.boolean("enable_batching")?.unwrap_or(true),
            token: (),
        })
    }

    /// A request whose `inputs` is an array of inputs, one at least.
    fn read_batch(fields: &mut Fields) -> Result<Self, FieldError> {
        let asked = Self::read(fields)?;
        let expected = "an array of inputs, one at least";
        match &asked.inputs {
            Value::Array(items) if items.is_empty() => {
                Err(FieldError::invalid("inputs", expected, &asked.inputs))
            }
            Value::Array(_) => Ok(asked),
            other => Err(FieldError::wrong_type("inputs", expected, other)),
        }
    }
}

/// What a network gave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Predicted)]
pub struct Predicted {
    /// Always true.
    success: bool,
    /// A number or nested arrays, by name where the network has several outputs; of a batch, an array of one for each input.
    /// What JSON has no number for is null.
    #[schema(example = 0.75)]
    result: Value,
    /// Seconds, from the request's arrival on.
    #[schema(example = 0.025)]
    processing_time: f64,
    /// What ran.
    model_info: PredictModelInfo,
    /// What ran together.
    batch_info: BatchInfo,
}

/// What ran.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::PredictModelInfo)]
pub struct PredictModelInfo {
    /// The network.
    #[schema(example = "example")]
    model: String,
    /// Where it computes.
    #[schema(example = "cpu")]
    device: &'static str,
    /// `single` or `batch`.
    #[schema(example = "single")]
    input_type: &'static str,
    /// Inputs of this request.
    #[schema(example = 1)]
    input_count: usize,
    /// The runtime that ran it: `onnxruntime` or `tract`.
    #[schema(example = "tract")]
    processing_path: String,
}

/// What ran together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::BatchInfo)]
pub struct BatchInfo {
    /// Whether inputs could run together: the request allows it, and the network's first dimension is of any size.
    inflight_batching_enabled: bool,
    /// Whether several did.
    processed_as_batch: bool,
    /// Whether some of them were other requests'.
    concurrent_optimization: bool,
}

/// Runs a network on one input or several.
///
/// An array of one level more than an input of the network has is a batch. Inputs that the network does not take are
/// answered with 422, which says what it does.
#[utoipa::path(
    post, path = "/predict", tag = "framework",
    request_body(content = Predict, example = json!({
        "model_name": "example", "inputs": [1, 2, 3, 4, 5], "priority": 0, "timeout": 30.0, "enable_batching": true
    })),
    responses((status = 200, description = "What the network gave", body = Predicted), Errors)
)]
pub async fn predict(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    request: Request,
) -> Result<Json<Predicted>, ApiError> {
    let (ticket, mut fields) = admit(&app, request).await?;
    let asked = Predict::read(&mut fields)?;
    answer(&app, &caller, &measure, &ticket, asked, false).await
}

/// Runs a network on several inputs: each element of `inputs` is one.
#[utoipa::path(
    post, path = "/predict/batch", tag = "framework",
    request_body(content = Predict, example = json!({
        "inputs": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "priority": 0, "timeout": 60.0, "enable_batching": true
    })),
    responses((status = 200, description = "What the network gave", body = Predicted), Errors)
)]
pub async fn predict_batch(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    request: Request,
) -> Result<Json<Predicted>, ApiError> {
    let (ticket, mut fields) = admit(&app, request).await?;
    let asked = Predict::read_batch(&mut fields)?;
    answer(&app, &caller, &measure, &ticket, asked, true).await
}

/// Runs the network of the path on one input or several.
#[utoipa::path(
    post, path = "/{model_name}/predict", tag = "framework",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    request_body(content = Predict, example = json!({"inputs": [1, 2, 3, 4, 5]})),
    responses((status = 200, description = "What the network gave", body = Predicted), Errors)
)]
pub async fn predict_model(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Predicted>, ApiError> {
    let Path(model_name) = path?;
    let (ticket, mut fields) = admit(&app, request).await?;
    if let Some(other) = fields
        .string("model_name")?
        .filter(|name| *name != model_name)
    {
        let expected = format!("{model_name:?}, the model of the path, or none");
        return Err(FieldError::invalid("model_name", expected, &json!(other)).into());
    }
    let asked = Predict {
        model_name,
        ..Predict::read(&mut fields)?
    };
    answer(&app, &caller, &measure, &ticket, asked, false).await
}

/// `each`: each element of the inputs is one, whatever its shape.
async fn answer(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    ticket: &Ticket,
    asked: Predict,
    each: bool,
) -> Result<Json<Predicted>, ApiError> {
    let deadline = Some(ticket.entered() + asked.timeout);
    let ask = Ask {
        deadline,
        priority: Some(asked.priority),
        ..Ask::default()
    };
    let network = network(app, caller, measure, &asked.model_name, None, ask).await?;
    let request = PredictRequest {
        inputs: Inputs::Json(asked.inputs),
        each,
        batching: asked.enable_batching,
        priority: asked.priority,
        deadline,
    };
    let prediction = before(deadline, network.predict(request)).await;
    let Prediction {
        result,
        input_count,
        is_batch,
        batch_size,
        shared,
    } = prediction.map_err(unfit)?;
    Ok(Json(Predicted {
        success: true,
        result,
        processing_time: ticket.entered().elapsed().as_secs_f64(),
        model_info: PredictModelInfo {
            model: asked.model_name,
            device: "cpu",
            input_type: if is_batch { "batch" } else { "single" },
            input_count,
            processing_path: network.runtime(),
        },
        batch_info: BatchInfo {
            inflight_batching_enabled: asked.enable_batching && network.is_batched(),
            processed_as_batch: batch_size > 1,
            concurrent_optimization: shared,
        },
    }))
}

/// Inputs whose shape or type the network does not take are of a wrong type to this dialect.
fn unfit(error: Error) -> Problem {
    match &error {
        Error::InvalidInput {
            param: Some(param),
            message,
        } if param == "inputs" => Problem::new(Kind::WrongType, message).at("inputs"),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: Value) -> Fields {
        match body {
            Value::Object(members) => Fields::new(members),
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn what_is_left_out_has_the_documents_values() {
        let asked = Predict::read(&mut fields(json!({"inputs": [1]}))).expect("good");
        let expected = Predict {
            model_name: "example".into(),
            inputs: json!([1]),
            priority: 0,
            timeout: Duration::from_secs(30),
            enable_batching: true,
            token: (),
        };
        assert_eq!(asked, expected);
    }

    #[test]
    fn wrong_fields_are_refused_by_name() {
        use crate::fields::Reason::{Invalid, Missing, WrongType};
        for (body, field, reason) in [
            (json!({}), "inputs", Missing),
            (json!({"inputs": null}), "inputs", Missing),
            (
                json!({"inputs": 1, "priority": "high"}),
                "priority",
                WrongType,
            ),
            (json!({"inputs": 1, "priority": 11}), "priority", Invalid),
            (json!({"inputs": 1, "timeout": 0}), "timeout", Invalid),
            (
                json!({"inputs": 1, "model_name": ""}),
                "model_name",
                Invalid,
            ),
            (
                json!({"inputs": 1, "model_name": 1}),
                "model_name",
                WrongType,
            ),
            (
                json!({"inputs": 1, "enable_batching": 1}),
                "enable_batching",
                WrongType,
            ),
            (json!({"inputs": 1, "token": 1}), "token", WrongType),
        ] {
            let error = Predict::read(&mut fields(body.clone())).expect_err(&body.to_string());
            assert_eq!(
                (error.field.as_str(), error.reason),
                (field, reason),
                "{body}"
            );
        }
        for (inputs, reason) in [(json!("one"), WrongType), (json!([]), Invalid)] {
            let error = Predict::read_batch(&mut fields(json!({"inputs": inputs})));
            assert_eq!(error.expect_err("no batch").reason, reason, "{inputs}");
        }
    }
}
