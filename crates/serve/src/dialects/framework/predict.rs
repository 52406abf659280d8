//! `POST /predict`, `/predict/batch` and `/{model_name}/predict`: exported networks.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use bytes::Bytes;
use hearth_runtime::{
    Activation, Ask, ClassForm, ClassOptions, Error, Inputs, PredictRequest, Prediction, is_image,
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::admission::Ticket;
use crate::answer::before;
use crate::audit::Note;
use crate::caller::Caller;
use crate::extract::{SHORT, admit_bytes, at_once_or_apart, parse_object, parse_with};
use crate::fields::{FieldError, Fields};
use crate::inputs::{boundary, fields, parts};
use crate::metrics::Measure;
use crate::network::network;
use crate::problem::{Kind, Problem};
use crate::state::App;

/// The network that runs where none is named; a part of the program.
const DEFAULT_MODEL: &str = "example";

/// The fields of a request besides its inputs, which are parts of a form too.
const FIELDS: [&str; 6] = [
    "model_name",
    "priority",
    "timeout",
    "enable_batching",
    "token",
    "parameters",
];

/// What is to be predicted.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(as = framework::Predict)]
pub struct Predict {
    /// The network, or `NAME:VERSION` for one of its versions; `example` where none is named.
    #[schema(value_type = Option<String>, default = "example", example = "example")]
    model_name: String,
    /// One input of the network, or an array of them: nested arrays of numbers, `{"dtype", "shape", "data"}` with the bytes in
    /// base64, a text, two texts that are judged together, an image in base64, or an object of such by the names of the network's
    /// inputs. There a text is `text` (and `text_pair`), an image `image` or the name of the input that it fills.
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
    /// How texts are read and classes are told.
    #[schema(value_type = Option<PredictParameters>)]
    parameters: PredictParameters,
    /// A credential, as in `Authorization`.
    #[schema(value_type = Option<String>)]
    token: (),
}

/// How texts are read and classes are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, ToSchema)]
#[schema(as = framework::PredictParameters)]
pub struct PredictParameters {
    /// Most classes of an answer, the most likely first; 5 unless told otherwise.
    #[schema(value_type = Option<u32>, minimum = 1)]
    top_k: Option<usize>,
    /// Whether a classifier's answer has labels with scores, where the labels are known; else it has the network's own numbers.
    #[schema(value_type = Option<bool>, default = true)]
    labels: bool,
    /// What makes scores of a classifier's numbers: `softmax`, `sigmoid` or `none`; as the model says, if left out.
    #[schema(value_type = Option<String>)]
    function_to_apply: Option<Activation>,
    /// Whether a text that is too long is cut; else it is answered with 422.
    #[schema(value_type = Option<bool>, default = false)]
    truncation: bool,
}

impl PredictParameters {
    fn read(fields: &Fields) -> Result<Self, FieldError> {
        const NAMES: [&str; 4] = ["top_k", "labels", "function_to_apply", "truncation"];
        let Some(members) = fields.object("parameters")? else {
            return Ok(Self::default_with_labels());
        };
        if let Some((name, value)) = members
            .iter()
            .find(|(name, _)| !NAMES.contains(&name.as_str()))
        {
            let field = format!("parameters.{name}");
            return Err(FieldError::unsupported(field, NAMES.join(", "), value));
        }
        let own = Fields::new(members.clone());
        let within = |error: FieldError| error.within("parameters");
        let activation = match own.string("function_to_apply").map_err(within)? {
            None => None,
            Some("softmax") => Some(Activation::Softmax),
            Some("sigmoid") => Some(Activation::Sigmoid),
            Some("none") => Some(Activation::None),
            Some(other) => {
                let expected = "softmax, sigmoid or none";
                let error = FieldError::invalid("function_to_apply", expected, &json!(other));
                return Err(within(error));
            }
        };
        Ok(Self {
            top_k: own.count("top_k", 1..=1_000_000).map_err(within)?,
            labels: own.boolean("labels").map_err(within)?.unwrap_or(true),
            function_to_apply: activation,
            truncation: own.boolean("truncation").map_err(within)?.unwrap_or(false),
        })
    }

    fn default_with_labels() -> Self {
        Self {
            labels: true,
            ..Self::default()
        }
    }

    fn classes(&self) -> ClassOptions {
        ClassOptions {
            form: match self.labels {
                true => ClassForm::List,
                false => ClassForm::Numbers,
            },
            top_k: self.top_k,
            activation: self.function_to_apply,
        }
    }
}

impl Predict {
    fn read(fields: &mut Fields) -> Result<Self, FieldError> {
        let model_name = match fields.string("model_name")? {
            None => DEFAULT_MODEL.to_owned(),
            Some(_) => fields.required_string("model_name")?.to_owned(),
        };
        let priority = fields.integer("priority", 0..=10)?.unwrap_or(0);
        let timeout = fields.timeout()?.unwrap_or(Duration::from_secs(30));
        // What it says was looked at where the caller was let in.
        fields.string("token")?;
        let parameters = PredictParameters::read(fields)?;
        let inputs = fields.take("inputs").ok_or_else(|| {
            FieldError::missing("inputs", "an input of the network, or an array of them")
        })?;
        Ok(Self {
            model_name,
            inputs,
            priority: u8::try_from(priority).unwrap_or(0),
            timeout,
            enable_batching: fields.boolean("enable_batching")?.unwrap_or(true),
            parameters,
            token: (),
        })
    }

    /// A request whose `inputs` is an array of inputs, one at least.
    fn read_batch(received: &mut Received) -> Result<Self, FieldError> {
        let expected = "an array of inputs, one at least";
        if received.file.is_some() {
            let expected = format!(
                "{expected}, or a form with a part 'file' for each; an image by itself is for POST /predict"
            );
            return Err(FieldError {
                got: "an image".to_owned(),
                ..FieldError::wrong_type("inputs", expected, &Value::Null)
            });
        }
        let mut asked = Self::read(&mut received.fields)?;
        if received.is_form && asked.inputs.is_string() {
            // A form has no other way to say that one part is a batch of one.
            asked.inputs = vec![asked.inputs].into();
        }
        match &asked.inputs {
            Value::Array(items) if items.is_empty() => {
                Err(FieldError::invalid("inputs", expected, &asked.inputs))
            }
            Value::Array(_) => Ok(asked),
            other => Err(FieldError::wrong_type("inputs", expected, other)),
        }
    }
}

/// A request's body.
#[derive(Debug, Default)]
struct Received {
    fields: Fields,
    is_form: bool,
    /// An image that is the body, in place of `inputs`.
    file: Option<Bytes>,
}

/// Admits a request, then reads its body: JSON, a multipart form, or an image.
async fn receive(app: &App, request: Request) -> Result<(Ticket, Received), Problem> {
    let boundary = boundary(request.headers());
    let note = request.extensions().get::<Note>().cloned();
    let (ticket, body) = admit_bytes(app, request).await?;
    if is_image(&body) {
        // So that it reads as other requests do.
        let inputs = [("inputs".to_owned(), json!(""))];
        let received = Received {
            fields: Fields::new(inputs.into_iter().collect()),
            is_form: false,
            file: Some(body),
        };
        return Ok((ticket, received));
    }
    let is_form = boundary.is_some();
    let fields = match boundary {
        Some(boundary) => {
            let length = body.len();
            let parts = parts(body, boundary).await?;
            at_once_or_apart(length <= SHORT, move || fields(parts, &FIELDS)).await?
        }
        None => parse_with(body, |bytes| parse_object(bytes)).await?,
    };
    if let Some(note) = note.filter(|_| app.settings().audit_prompts) {
        note.prompt(&fields);
    }
    let received = Received {
        fields,
        is_form,
        file: None,
    };
    Ok((ticket, received))
}

/// What a network gave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Predicted)]
pub struct Predicted {
    /// Always true.
    success: bool,
    /// Of a classifier whose labels are known, `[{"label", "score"}, ...]`, the most likely first; else a number or nested arrays.
    /// By name where the network has several outputs; of a batch, an array of one for each input. What JSON has no number for
    /// is null.
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
    /// Whether some of this request's were filled up to the length of others.
    padded: bool,
}

/// Runs a network on one input or several.
///
/// An array of one level more than an input of the network has is a batch, and so is an array of texts or images. Inputs that
/// the network does not take are answered with 422, which says what it does.
///
/// The body may also be a multipart form with the same fields as parts, where a part `file` is an image (several are a batch), or
/// an image by itself.
#[utoipa::path(
    post, path = "/predict", tag = "framework",
    request_body(content(
        (Predict = "application/json", example = json!({
            "model_name": "example", "inputs": [1, 2, 3, 4, 5], "priority": 0, "timeout": 30.0, "enable_batching": true
        })),
        (Predict = "multipart/form-data"),
        (Vec<u8> = "image/jpeg"),
    )),
    responses((status = 200, description = "What the network gave", body = Predicted), Errors)
)]
pub async fn predict(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    request: Request,
) -> Result<Json<Predicted>, ApiError> {
    let (ticket, mut received) = receive(&app, request).await?;
    let asked = Predict::read(&mut received.fields)?;
    answer(
        &app,
        &caller,
        &measure,
        &ticket,
        asked,
        received.file,
        false,
    )
    .await
}

/// Runs a network on several inputs: each element of `inputs` is one.
///
/// The body may also be a multipart form, where each part `file` is an image.
#[utoipa::path(
    post, path = "/predict/batch", tag = "framework",
    request_body(content(
        (Predict = "application/json", example = json!({
            "inputs": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "priority": 0, "timeout": 60.0, "enable_batching": true
        })),
        (Predict = "multipart/form-data"),
    )),
    responses((status = 200, description = "What the network gave", body = Predicted), Errors)
)]
pub async fn predict_batch(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    request: Request,
) -> Result<Json<Predicted>, ApiError> {
    let (ticket, mut received) = receive(&app, request).await?;
    let asked = Predict::read_batch(&mut received)?;
    answer(&app, &caller, &measure, &ticket, asked, None, true).await
}

/// Runs the network of the path on one input or several.
#[utoipa::path(
    post, path = "/{model_name}/predict", tag = "framework",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    request_body(content(
        (Predict = "application/json", example = json!({"inputs": [1, 2, 3, 4, 5]})),
        (Predict = "multipart/form-data"),
        (Vec<u8> = "image/jpeg"),
    )),
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
    let (ticket, mut received) = receive(&app, request).await?;
    let fields = &mut received.fields;
    if let Some(other) = fields
        .string("model_name")?
        .filter(|name| *name != model_name)
    {
        let expected = format!("{model_name:?}, the model of the path, or none");
        return Err(FieldError::invalid("model_name", expected, &json!(other)).into());
    }
    let asked = Predict {
        model_name,
        ..Predict::read(fields)?
    };
    answer(
        &app,
        &caller,
        &measure,
        &ticket,
        asked,
        received.file,
        false,
    )
    .await
}

/// `file`: an image in place of the inputs; `each`: each element of the inputs is one, whatever its shape.
async fn answer(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    ticket: &Ticket,
    asked: Predict,
    file: Option<Bytes>,
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
        inputs: match file {
            Some(file) => Inputs::Bytes(file),
            None => Inputs::Json(asked.inputs),
        },
        each,
        batching: asked.enable_batching,
        truncation: asked.parameters.truncation,
        classes: asked.parameters.classes(),
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
        padded,
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
            padded,
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
            parameters: PredictParameters::default_with_labels(),
            token: (),
        };
        assert_eq!(asked, expected);
    }

    #[test]
    fn wrong_fields_are_refused_by_name() {
        use crate::fields::Reason::{Invalid, Missing, Unsupported, WrongType};
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
            (
                json!({"inputs": 1, "parameters": 5}),
                "parameters",
                WrongType,
            ),
            (
                json!({"inputs": 1, "parameters": {"top_k": 0}}),
                "parameters.top_k",
                Invalid,
            ),
            (
                json!({"inputs": 1, "parameters": {"truncation": 1}}),
                "parameters.truncation",
                WrongType,
            ),
            (
                json!({"inputs": 1, "parameters": {"function_to_apply": "relu"}}),
                "parameters.function_to_apply",
                Invalid,
            ),
            (
                json!({"inputs": 1, "parameters": {"max_length": 8}}),
                "parameters.max_length",
                Unsupported,
            ),
        ] {
            let error = Predict::read(&mut fields(body.clone())).expect_err(&body.to_string());
            assert_eq!(
                (error.field.as_str(), error.reason),
                (field, reason),
                "{body}"
            );
        }
        let received = |inputs: Value| Received {
            fields: fields(json!({"inputs": inputs})),
            ..Received::default()
        };
        for (inputs, reason) in [(json!("one"), WrongType), (json!([]), Invalid)] {
            let error = Predict::read_batch(&mut received(inputs.clone()));
            assert_eq!(error.expect_err("no batch").reason, reason, "{inputs}");
        }
        let image = Received {
            file: Some(Bytes::from_static(b"\xff\xd8\xff")),
            ..received(json!(""))
        };
        let error = Predict::read_batch(&mut { image }).expect_err("no batch");
        assert!(
            error
                .to_string()
                .ends_with("is for POST /predict, got an image")
        );
        let one = Received {
            is_form: true,
            ..received(json!("UFFS"))
        };
        let one = Predict::read_batch(&mut { one }).expect("a batch of one");
        assert_eq!(one.inputs, json!(["UFFS"]));
    }
}
