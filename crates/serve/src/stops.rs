//! The field `stop`: texts that end a generation.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::fields::{FieldError, Fields};

/// Most stop sequences of a request, and bytes in each.
const MOST: usize = 16;
const LONGEST: usize = 1024;

/// A text that ends the generation, or several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes what `read` takes")]
pub enum Stop {
    /// One.
    One(StopText),
    /// Several, at most 16.
    Several(Vec<StopText>),
}

/// A text that ends the generation, of at most 1024 bytes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(min_length = 1, max_length = 1024)]
#[allow(dead_code, reason = "describes what `read` takes")]
pub struct StopText(String);

/// Reads `stop`: a text or several.
pub fn read(fields: &Fields) -> Result<Vec<String>, FieldError> {
    let expected = format!("a string, or an array of at most {MOST} strings");
    let text = |name: &str, value: &Value| match value.as_str() {
        Some(text) if !text.is_empty() && text.len() <= LONGEST => Ok(text.to_owned()),
        _ => Err(FieldError::invalid(
            name,
            format!("a string of 1 to {LONGEST} bytes"),
            value,
        )),
    };
    match fields.get("stop") {
        None => Ok(Vec::new()),
        Some(value @ Value::String(_)) => Ok(vec![text("stop", value)?]),
        Some(Value::Array(items)) if items.len() <= MOST => {
            let items = items.iter().enumerate();
            items
                .map(|(index, item)| text(&format!("stop[{index}]"), item))
                .collect()
        }
        Some(other) => Err(FieldError::invalid("stop", expected, other)),
    }
}
