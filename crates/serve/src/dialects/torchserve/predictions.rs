//! `POST /predictions/{model_name}`: what a network gives for a body of any form.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use hearth_runtime::{Ask, ClassForm, ClassOptions, Inputs, PredictRequest, is_image};
use serde_json::Value;

use super::error::{ApiError, Errors};
use crate::answer::before;
use crate::audit::Note;
use crate::caller::Caller;
use crate::extract::{Refusal, SHORT, admit_bytes, at_once_or_apart, check_values, parse_with};
use crate::fields::Fields;
use crate::inputs::{boundary, media_type, parts};
use crate::metrics::Measure;
use crate::network::network;
use crate::problem::{Kind, Problem};
use crate::state::App;

/// How long a prediction may take, as TorchServe has it unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The names that the one part of a form, or the one member of an object, may have.
const NAMES: [&str; 2] = ["data", "body"];

/// Runs a network on one input or several.
///
/// The body is JSON in the form of `inputs` of `POST /predict`, alone or as `data` or `body` of an object; a form with such a part; an
/// image or a text, for networks that take such; or the bytes of an input's elements, little-endian. The answer is what the network
/// gives, nothing around it; of a classifier whose labels are known, the five most likely with their scores, as an object.
#[utoipa::path(
    post, path = "/predictions/{model_name}", tag = "torchserve", operation_id = "torchserve_predict",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    request_body(content(
        (Value = "application/json", example = json!({"data": [1, 2, 3, 4, 5]})),
        (Vec<u8> = "application/octet-stream"),
        (Vec<u8> = "image/jpeg"),
        (String = "text/plain"),
    )),
    responses((status = 200, description = "What the network gave", body = Value), Errors)
)]
pub async fn predict(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let Path(name) = path?;
    Ok(answer(&app, &caller, &measure, &name, None, request).await?)
}

/// The same as by POST, for clients that put files, as `curl -T` does.
#[utoipa::path(
    put, path = "/predictions/{model_name}", tag = "torchserve", operation_id = "torchserve_put",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    request_body(content(
        (Value = "application/json", example = json!({"data": [1, 2, 3, 4, 5]})),
        (Vec<u8> = "application/octet-stream"),
        (Vec<u8> = "image/jpeg"),
        (String = "text/plain"),
    )),
    responses((status = 200, description = "What the network gave", body = Value), Errors)
)]
pub async fn put(
    app: State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    predict(app, caller, measure, path, request).await
}

/// Runs a version of a network on one input or several.
#[utoipa::path(
    post, path = "/predictions/{model_name}/{model_version}", tag = "torchserve",
    operation_id = "torchserve_version_predict",
    params(
        ("model_name" = String, Path, description = "The network", example = "example"),
        ("model_version" = String, Path, description = "Its version, such as `2` or `2.0`", example = "1.0"),
    ),
    request_body(content(
        (Value = "application/json", example = json!([[1, 2, 3], [3, 2, 1]])),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses((status = 200, description = "What the network gave", body = Value), Errors)
)]
pub async fn version_predict(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let Path((name, version)) = path?;
    // TorchServe writes versions with a point.
    let version = Some(version.strip_suffix(".0").unwrap_or(&version));
    Ok(answer(&app, &caller, &measure, &name, version, request).await?)
}

async fn answer(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    name: &str,
    version: Option<&str>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let headers = request.headers().clone();
    let note = request.extensions().get::<Note>().cloned();
    let (ticket, body) = admit_bytes(app, request).await?;
    let bytes = unpack(&headers, body).await?;
    let is_text = media_type(&headers) == Some("text/plain");
    let inputs = parse_with(bytes, move |bytes| read(bytes, is_text)).await?;
    if let Some(note) = note.filter(|_| app.settings().audit_prompts)
        && let Some(prompt) = prompt(&inputs)
    {
        let members = [("inputs".to_owned(), prompt)];
        note.prompt(&Fields::new(members.into_iter().collect()));
    }
    let deadline = Some(ticket.entered() + TIMEOUT);
    let ask = Ask {
        deadline,
        ..Ask::default()
    };
    let network = network(app, caller, measure, name, version, ask).await?;
    let request = PredictRequest {
        inputs,
        each: false,
        batching: true,
        truncation: false,
        classes: ClassOptions {
            form: ClassForm::Map,
            ..ClassOptions::default()
        },
        priority: 0,
        deadline,
    };
    let prediction = before(deadline, network.predict(request)).await?;
    Ok(Json(prediction.result))
}

/// What the record keeps of inputs: JSON, or a text that came as it is.
fn prompt(inputs: &Inputs) -> Option<Value> {
    match inputs {
        Inputs::Json(value) => Some(value.clone()),
        Inputs::Bytes(bytes) if is_image(bytes) => None,
        Inputs::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(Value::from),
    }
}

/// The bytes that are the inputs: those of a form's part, or the body.
async fn unpack(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Problem> {
    if let Some(boundary) = boundary(headers) {
        return part(body, boundary).await;
    }
    let length = body.len();
    if media_type(headers) == Some("application/x-www-form-urlencoded") {
        // What curl calls so unless told otherwise is most often JSON.
        let read = move || Ok(form(&body).unwrap_or(body));
        return at_once_or_apart(length <= SHORT, read).await;
    }
    Ok(body)
}

/// The part of a multipart form.
async fn part(body: Bytes, boundary: String) -> Result<Bytes, Problem> {
    let parts = parts(body, boundary).await?;
    let found = NAMES
        .iter()
        .find_map(|name| parts.iter().find(|(own, _)| own == name));
    found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| {
        let message = "the form has neither a part 'data' nor a part 'body'";
        Problem::new(Kind::Missing, message).at("data")
    })
}

/// The field of a form that is encoded like a query; `None` where there is none.
fn form(body: &[u8]) -> Option<Bytes> {
    let pairs = std::str::from_utf8(body).ok()?.split('&');
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    let fields: Vec<(&str, &str)> = pairs.collect();
    NAMES.iter().find_map(|name| {
        let (_, value) = fields.iter().find(|(own, _)| own == name)?;
        decode(value)
    })
}

/// A value of such a form; `None` where its escapes are none.
fn decode(value: &str) -> Option<Bytes> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    Some(out.into())
}

/// JSON, or else a file: an image, a text, or the bytes of an input's elements. A body that is said to be text is JSON only where
/// it is an array or an object.
fn read(bytes: &Bytes, is_text: bool) -> Result<Inputs, Problem> {
    let file = || Ok(Inputs::Bytes(bytes.clone()));
    let is_container = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    if bytes.is_empty() {
        return Err(Refusal::Malformed("it is empty".into()).into());
    }
    if is_image(bytes) || (is_text && !is_container) {
        return file();
    }
    check_values(bytes)?;
    let value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        // Text that was meant as JSON is told what is wrong with it.
        Err(error) if is_container && !is_text && std::str::from_utf8(bytes).is_ok() => {
            return Err(Refusal::Malformed(error.to_string()).into());
        }
        Err(_) => return file(),
    };
    Ok(Inputs::Json(match value {
        Value::Object(mut members) if members.len() == 1 => {
            let name = NAMES.iter().find(|name| members.contains_key(**name));
            match name.and_then(|name| members.remove(*name)) {
                Some(inner) => inner,
                None => Value::Object(members),
            }
        }
        other => other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use axum::http::header::CONTENT_TYPE;
    use serde_json::json;

    async fn inputs(kind: &'static str, body: &'static [u8]) -> Result<Inputs, String> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let bytes = unpack(&headers, Bytes::from_static(body)).await;
        bytes
            .and_then(|bytes| read(&bytes, media_type(&headers) == Some("text/plain")))
            .map_err(|problem| problem.message)
    }

    #[tokio::test]
    async fn bodies_of_all_forms_are_the_same_inputs() {
        let (first, second): (&'static [u8], &'static [u8]) = (
            b"--b\r\nContent-Disposition: form-data; name=\"data\"; filename=\"x.json\"\r\n\r\n[1, 2]\r\n--b--\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n3\r\n--b\r\nContent-Disposition: form-data; name=\"body\"\r\n\r\n[1, 2]\r\n--b--\r\n",
        );
        let form = "application/x-www-form-urlencoded";
        for (kind, body) in [
            ("application/json", &b"[1, 2]"[..]),
            ("application/json", b"{\"data\": [1, 2]}"),
            ("text/plain", b"{\"body\": [1, 2]}"),
            (form, b"{\"data\": [1, 2]}"),
            (form, b"[1, 2]"),
            (form, b"other=3&data=%5B1%2c+2%5D"),
            ("multipart/form-data; boundary=b", first),
            ("multipart/form-data; boundary=b", second),
        ] {
            let Ok(Inputs::Json(value)) = inputs(kind, body).await else {
                panic!("{kind} {body:?}")
            };
            assert_eq!(value, json!([1, 2]), "{kind} {body:?}");
        }
        let named = inputs("application/json", b"{\"data\": [1], \"mask\": [1]}").await;
        let Ok(Inputs::Json(named)) = named else {
            panic!("{named:?}")
        };
        assert_eq!(named, json!({"data": [1], "mask": [1]}));
        for (kind, file) in [
            ("application/octet-stream", &b"a text"[..]),
            ("text/plain", b"42"),
            ("text/plain; charset=utf-8", b"[a text"),
            ("application/json", b"\xff\xd8\xff[1]"),
        ] {
            let read = inputs(kind, file).await;
            assert!(
                matches!(read, Ok(Inputs::Bytes(bytes)) if bytes == file),
                "{kind} {file:?}"
            );
        }
        let raw = inputs("application/octet-stream", b"\0\0\x80\x3f").await;
        assert!(matches!(raw, Ok(Inputs::Bytes(bytes)) if bytes.len() == 4));
    }

    #[tokio::test]
    async fn what_is_no_input_is_told() {
        let multipart = "multipart/form-data; boundary=b";
        for (kind, body, words) in [
            ("application/json", &b""[..], "it is empty"),
            ("application/json", b"{\"data\": ", "not JSON: EOF"),
            (multipart, b"nonsense", "no form"),
            (multipart, b"--b--\r\n", "neither a part 'data'"),
            (
                multipart,
                b"--b\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n[1",
                "no form",
            ),
        ] {
            let error = inputs(kind, body).await.expect_err("wrong");
            assert!(error.contains(words), "{kind} {body:?}: {error}");
        }
    }
}
