//! Inputs of networks that come in other bodies than JSON: an image by itself, or forms with files.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Map, Value};

use crate::extract::{Refusal, Values};
use crate::fields::Fields;
use crate::problem::{Kind, Problem};

/// The names of parts that are inputs by themselves.
const INPUTS: [&str; 3] = ["inputs", "file", "data"];

/// The boundary of a multipart form, if the body is said to be one.
pub fn boundary(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    multer::parse_boundary(kind).ok()
}

/// The media type of a body, without its parameters.
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    kind.split(';').next().map(str::trim)
}

/// The parts of a multipart form with their names, in their order.
///
/// # Errors
/// The body is no such form.
pub async fn parts(body: Bytes, boundary: String) -> Result<Vec<(String, Bytes)>, Problem> {
    let malformed = |error: multer::Error| {
        Problem::new(Kind::Malformed, format!("the body is no form: {error}"))
    };
    let pieces = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    let mut form = multer::Multipart::new(pieces, boundary);
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let name = field.name().unwrap_or_default().to_owned();
        parts.push((name, field.bytes().await.map_err(malformed)?));
    }
    Ok(parts)
}

/// The fields that a form's parts stand for. Parts called as in `fields` are those; `inputs`, `file` or `data` are inputs by
/// themselves, several of them a batch; all others are inputs by name. Files that are no text are written in base64.
///
/// # Errors
/// [`Refusal::TooManyValues`]: all parts together may have as many as a JSON body.
pub fn fields(parts: Vec<(String, Bytes)>, fields: &[&str]) -> Result<Fields, Refusal> {
    let mut members = Map::new();
    let mut counted = Values::default();
    let mut inputs: Vec<(String, Vec<Value>)> = Vec::new();
    for (name, bytes) in parts {
        // A text that looks like a number is still a text.
        let value = match name.as_str() {
            "text" | "text_pair" => text_or_base64(&bytes),
            _ => json_or_text(&bytes, &mut counted)?,
        };
        if fields.contains(&name.as_str()) {
            members.insert(name, value);
            continue;
        }
        let name = match INPUTS.contains(&name.as_str()) {
            true => INPUTS[0].to_owned(),
            false => name,
        };
        match inputs.iter_mut().find(|(own, _)| *own == name) {
            Some((_, values)) => values.push(value),
            None => inputs.push((name, vec![value])),
        }
    }
    let is_alone = matches!(inputs.as_slice(), [(name, _)] if name == INPUTS[0]);
    let mut inputs =
        inputs.into_iter().map(
            |(name, mut values)| match (values.pop(), values.is_empty()) {
                (Some(only), true) => (name, only),
                (last, _) => (name, values.into_iter().chain(last).collect()),
            },
        );
    let inputs = match is_alone {
        true => inputs.next().map(|(_, value)| value),
        false => Some(inputs.collect::<Map<_, _>>())
            .filter(|map| !map.is_empty())
            .map(Value::Object),
    };
    if let Some(inputs) = inputs {
        members.insert("inputs".to_owned(), inputs);
    }
    Ok(Fields::new(members))
}

fn json_or_text(bytes: &[u8], values: &mut Values) -> Result<Value, Refusal> {
    let json = match std::str::from_utf8(bytes) {
        Ok(text) => {
            values.add(bytes)?;
            serde_json::from_str(text).ok()
        }
        Err(_) => None,
    };
    Ok(json.unwrap_or_else(|| text_or_base64(bytes)))
}

fn text_or_base64(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => STANDARD.encode(bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_are_fields_inputs_or_both() {
        let read = |parts: &[(&str, &'static [u8])]| {
            let parts = parts
                .iter()
                .map(|(name, bytes)| ((*name).to_owned(), Bytes::from_static(bytes)));
            let read = fields(parts.collect(), &["model_name", "priority"]);
            Value::Object(read.expect("short").into_inner())
        };
        let image: &[u8] = b"\xff\xd8\xff";
        assert_eq!(
            read(&[("model_name", b"cats"), ("priority", b"3"), ("file", image)]),
            json!({"model_name": "cats", "priority": 3, "inputs": "/9j/"})
        );
        assert_eq!(
            read(&[("file", image), ("data", b"[1, 2]")]),
            json!({"inputs": ["/9j/", [1, 2]]})
        );
        assert_eq!(
            read(&[("image", image), ("text", b"42"), ("mask", b"[1]")]),
            json!({"inputs": {"image": "/9j/", "text": "42", "mask": [1]}})
        );
        assert_eq!(
            read(&[("text", b"a"), ("text", b"b")]),
            json!({"inputs": {"text": ["a", "b"]}})
        );
        assert_eq!(
            read(&[("mask", b"[1]"), ("mask", b"[2]")]),
            json!({"inputs": {"mask": [[1], [2]]}})
        );
        assert_eq!(read(&[("priority", b"1")]), json!({"priority": 1}));
    }

    #[test]
    fn all_parts_together_have_as_many_values_as_a_body() {
        let part = |name: &str| {
            let list = format!("[{}1]", "1,".repeat(3 << 20));
            (name.to_owned(), Bytes::from(list))
        };
        assert!(fields(vec![part("a")], &[]).is_ok());
        let refused = fields(vec![part("a"), part("b")], &[]);
        assert!(matches!(refused, Err(Refusal::TooManyValues { .. })));
    }
}
