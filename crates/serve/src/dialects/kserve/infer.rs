//! `POST /v2/models/{model_name}/infer`: tensors in, tensors out.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use hearth_runtime::{Ask, Elements, InferRequest as Run};
use serde_json::{Map, Value};

use super::datatype;
use super::error::{ApiError, Errors};
use super::request::{Given, HEAD_LENGTH, InferRequest, inputs, is_text, part};
use super::response::{InferResponse, Wanted, Written, write};
use crate::answer::before;
use crate::audit::Note;
use crate::caller::Caller;
use crate::encoding;
use crate::extract::{SHORT, admit_bytes, at_once_or_apart, parse_object, parse_with};
use crate::fields::Fields;
use crate::metrics::Measure;
use crate::network::network;
use crate::problem::{Kind, Problem};
use crate::state::App;

/// So many elements in JSON are made tensors at once; more of them on a thread for it.
const FEW: usize = 16 << 10;

/// Runs a network on tensors.
///
/// They are in the JSON object, or come as bytes after it; then `Inference-Header-Content-Length` is the length of the object. The
/// answer is of the same form.
#[utoipa::path(
    post, path = "/v2/models/{model_name}/infer", tag = "kserve", operation_id = "kserve_infer",
    params(
        ("model_name" = String, Path, description = "The network", example = "example"),
        (
            "Inference-Header-Content-Length" = Option<u64>, Header,
            description = "Length of the JSON object, where bytes of tensors come after it"
        ),
    ),
    request_body(content(
        (InferRequest = "application/json", example = json!({
            "id": "1", "inputs": [{"name": "numbers", "shape": [1, 5], "datatype": "FP32", "data": [1, 2, 3, 4, 5]}]
        })),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (
            status = 200, description = "What the network gave",
            headers((
                "Inference-Header-Content-Length" = Option<u64>,
                description = "Length of the JSON object, where bytes of tensors come after it"
            )),
            content((InferResponse = "application/json"), (Vec<u8> = "application/octet-stream"))
        ),
        Errors
    )
)]
pub async fn infer(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(name) = path?;
    Ok(answer(&app, &caller, &measure, name, None, request).await?)
}

/// Runs a version of a network on tensors.
#[utoipa::path(
    post, path = "/v2/models/{model_name}/versions/{model_version}/infer", tag = "kserve",
    operation_id = "kserve_version_infer",
    params(
        ("model_name" = String, Path, description = "The network", example = "example"),
        ("model_version" = String, Path, description = "Its version", example = "1"),
        (
            "Inference-Header-Content-Length" = Option<u64>, Header,
            description = "Length of the JSON object, where bytes of tensors come after it"
        ),
    ),
    request_body(content(
        (InferRequest = "application/json", example = json!({
            "inputs": [{"name": "numbers", "shape": [2, 3], "datatype": "FP32", "data": [[1, 2, 3], [3, 2, 1]]}],
            "outputs": [{"name": "squeeze", "parameters": {"binary_data": false}}]
        })),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (
            status = 200, description = "What the network gave",
            headers((
                "Inference-Header-Content-Length" = Option<u64>,
                description = "Length of the JSON object, where bytes of tensors come after it"
            )),
            content((InferResponse = "application/json"), (Vec<u8> = "application/octet-stream"))
        ),
        Errors
    )
)]
pub async fn version_infer(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path((name, version)) = path?;
    let version = Some(version.as_str());
    Ok(answer(&app, &caller, &measure, name, version, request).await?)
}

async fn answer(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    name: String,
    version: Option<&str>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let note = request.extensions().get::<Note>().cloned();
    let (ticket, body) = admit_bytes(app, request).await?;
    let (head, binary) = part(&headers, &body)?;
    let note = note.filter(|_| app.settings().audit_prompts);
    let noted = match &note {
        Some(note) => {
            let fields = parse_with(head.clone(), |head| parse_object(head)).await?;
            note.prompt(&fields);
            Some(fields)
        }
        None => None,
    };
    let has_binary = !binary.is_empty();
    let length = body.len();
    let asked = parse_with(head, |head| InferRequest::read(head)).await?;
    let deadline = asked.deadline(ticket.entered());
    let priority = asked.priority();
    let ask = Ask {
        deadline,
        priority: Some(priority),
        ..Ask::default()
    };
    let network = network(app, caller, measure, &name, version, ask).await?;
    let wanted = Wanted::of(asked.outputs, &asked.parameters, network.outputs())?;
    let lease = network.clone();
    let given = asked.inputs.iter().filter_map(|input| input.data.as_ref());
    let elements: usize = given.map(Elements::len).sum();
    let sent = asked.inputs;
    let has_files = sent.iter().any(|input| input.datatype == datatype::BYTES);
    let is_short = elements <= FEW && (!has_files || length <= SHORT);
    let read = move || inputs(sent, binary, lease.inputs());
    let given = at_once_or_apart(is_short, read).await;
    // Texts that came as JSON are among the fields.
    if let (Some((note, fields)), Ok(given), true) = (note.zip(noted), &given, has_binary) {
        note.prompt(&with_texts(fields, given));
    }
    let Given { tensors, files } = given?;
    let run = Run {
        tensors,
        files,
        truncation: asked.parameters.truncation,
        priority,
        deadline,
    };
    let outputs = before(deadline, network.infer(run)).await?;
    let size: usize = outputs.iter().map(|output| output.bytes().len()).sum();
    let lease = network.clone();
    let write = move || {
        let of = (name, lease.version().to_string());
        let has_rows = lease.is_batched();
        let outputs = (lease.outputs(), outputs.as_slice());
        let classes = |output: usize| lease.classes_of(output).map(<[String]>::to_vec);
        write(of, asked.id, &wanted, outputs, has_rows, classes)
    };
    let written = at_once_or_apart(size <= SHORT, write).await?;
    respond(written, &headers).await
}

/// A request's fields with the texts that came as bytes behind them.
fn with_texts(fields: Fields, given: &Given) -> Fields {
    let mut members = fields.into_inner();
    let as_text = |file: &Bytes| String::from_utf8_lossy(file).into_owned();
    let texts = given.files.iter().filter(|(name, _)| is_text(name));
    let texts: Map<String, Value> = texts
        .map(|(name, files)| (name.clone(), files.iter().map(as_text).collect()))
        .collect();
    if !texts.is_empty() {
        members.insert("text".to_owned(), texts.into());
    }
    Fields::new(members)
}

/// The answer with its headers, compressed if its client likes that.
async fn respond(written: Written, asked: &HeaderMap) -> Result<Response, Problem> {
    let Written { body, head } = written;
    let mut headers = HeaderMap::new();
    let kind = match head {
        Some(length) => {
            headers.insert(HEAD_LENGTH, HeaderValue::from(length));
            "application/octet-stream"
        }
        None => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let body = encoding::encode(encoding::wanted(asked), body, &mut headers)
        .await
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.headers_mut() = headers;
    Ok(response)
}
