//! The messages of a chat request: checked, and brought into the form that chat templates take.

use serde_json::{Map, Value, json};

use crate::fields::{FieldError, Fields};

const ROLES: &str = "one of system, developer, user, assistant, tool";

/// Checks `messages` and answers them as chat templates take them: `role`, `content` as one text, and
/// `name` and `tool_call_id` where given. `developer`, OpenAI's newer word for `system`, becomes
/// `system`, which is what templates know.
pub fn read(fields: &mut Fields) -> Result<Vec<Value>, FieldError> {
    let expected = "an array of at least one message";
    match fields.take("messages") {
        None => Err(FieldError::missing("messages", expected)),
        Some(Value::Array(items)) if !items.is_empty() => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| message(index, item))
            .collect(),
        Some(other) => Err(FieldError::invalid("messages", expected, &other)),
    }
}

fn message(index: usize, item: Value) -> Result<Value, FieldError> {
    let path = format!("messages[{index}]");
    let Value::Object(object) = item else {
        return Err(FieldError::invalid(
            path,
            "an object with role and content",
            &item,
        ));
    };
    let mut fields = Fields::new(object);
    let inner = |error: FieldError| FieldError {
        field: format!("{path}.{}", error.field),
        ..error
    };

    let role = match fields.required_string("role").map_err(inner)? {
        "developer" => "system".to_owned(),
        role @ ("system" | "user" | "assistant" | "tool") => role.to_owned(),
        other => return Err(inner(FieldError::invalid("role", ROLES, &json!(other)))),
    };
    refuse_calls(&fields).map_err(inner)?;
    let mut message = Map::new();
    message.insert("role".into(), Value::String(role));
    let content = fields.take("content");
    message.insert(
        "content".into(),
        Value::String(content_text(content).map_err(inner)?),
    );
    for label in ["name", "tool_call_id"] {
        if let Some(text) = fields.string(label).map_err(inner)? {
            message.insert(label.into(), json!(text));
        }
    }
    Ok(Value::Object(message))
}

/// Refuses what an earlier answer can only have if it was not made here.
fn refuse_calls(fields: &Fields) -> Result<(), FieldError> {
    for name in ["tool_calls", "function_call", "refusal", "audio"] {
        let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
        if let Some(value) = fields.get(name).filter(|value| !empty(value)) {
            return Err(FieldError::unsupported(
                name,
                "messages of text only",
                value,
            ));
        }
    }
    Ok(())
}

/// The text of a message: a string, or the texts of its parts one after the other.
fn content_text(content: Option<Value>) -> Result<String, FieldError> {
    let expected = "a string or an array of text parts";
    match content {
        None => Err(FieldError::missing("content", expected)),
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(parts)) if !parts.is_empty() => {
            let mut text = String::new();
            for (index, part) in parts.iter().enumerate() {
                text += part_text(part).map_err(|error| FieldError {
                    field: format!("content[{index}]{}", error.field),
                    ..error
                })?;
            }
            Ok(text)
        }
        Some(other) => Err(FieldError::invalid("content", expected, &other)),
    }
}

/// The text of one part. Errors name the place within the part.
fn part_text(part: &Value) -> Result<&str, FieldError> {
    let kind = part.get("type").and_then(Value::as_str);
    match (kind, part.get("text")) {
        (Some("text"), Some(Value::String(text))) => Ok(text),
        (Some("text"), other) => Err(FieldError::invalid(
            ".text",
            "a string",
            other.unwrap_or(&Value::Null),
        )),
        (Some(kind @ ("image_url" | "input_audio" | "file" | "refusal" | "video_url")), _) => Err(
            FieldError::unsupported("", "parts of type \"text\"", &json!({"type": kind})),
        ),
        _ => Err(FieldError::invalid("", "a part of type \"text\"", part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(messages: Value) -> Result<Vec<Value>, FieldError> {
        let Value::Object(object) = json!({ "messages": messages }) else {
            unreachable!()
        };
        read(&mut Fields::new(object))
    }

    #[test]
    fn texts_and_text_parts_are_the_same() {
        let messages = read_all(json!([
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}], "name": "ann"},
            {"role": "assistant", "content": "Hi", "tool_calls": null, "refusal": null, "annotations": []},
            {"role": "tool", "content": "5", "tool_call_id": "call_1"},
        ]));
        let expected = vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "user", "content": "Hello", "name": "ann"}),
            json!({"role": "assistant", "content": "Hi"}),
            json!({"role": "tool", "content": "5", "tool_call_id": "call_1"}),
        ];
        assert_eq!(messages, Ok(expected));
    }

    #[test]
    fn wrong_messages_are_refused_by_place() {
        let user = |content: Value| json!([{"role": "user", "content": content}]);
        let image = json!({"type": "image_url", "image_url": {"url": "data:,"}});
        for (messages, message) in [
            (
                json!(null),
                "messages is missing: expected an array of at least one message",
            ),
            (
                json!([]),
                "messages: expected an array of at least one message, got an empty array",
            ),
            (
                json!("Hi"),
                "messages: expected an array of at least one message, got \"Hi\"",
            ),
            (
                json!(["Hi"]),
                "messages[0]: expected an object with role and content, got \"Hi\"",
            ),
            (
                json!([{"content": "Hi"}]),
                "messages[0].role is missing: expected a string",
            ),
            (
                json!([{"role": "oracle", "content": "Hi"}]),
                "messages[0].role: expected one of system, developer, user, assistant, tool, got \"oracle\"",
            ),
            (
                user(json!(null)),
                "messages[0].content is missing: expected a string or an array of text parts",
            ),
            (
                user(json!(5)),
                "messages[0].content: expected a string or an array of text parts, got 5",
            ),
            (
                user(json!([])),
                "messages[0].content: expected a string or an array of text parts, got an empty array",
            ),
            (
                user(json!([{"type": "text", "text": "see"}, image])),
                "messages[0].content[1]: an object of type \"image_url\" is not supported by this server, \
                 which takes parts of type \"text\"",
            ),
            (
                user(json!([{"type": "text"}])),
                "messages[0].content[0].text: expected a string, got null",
            ),
            (
                user(json!(["Hi"])),
                "messages[0].content[0]: expected a part of type \"text\", got \"Hi\"",
            ),
            (
                json!([{"role": "assistant", "content": "", "tool_calls": [{}]}]),
                "messages[0].tool_calls: an array of 1 is not supported by this server, which takes messages of text only",
            ),
        ] {
            assert_eq!(read_all(messages).expect_err(message).to_string(), message);
        }
    }
}
