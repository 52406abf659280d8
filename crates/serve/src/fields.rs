//! The members of a JSON request body, read one by one.
//!
//! Every reader takes `null` for "not given" and answers a wrong type or a value out of range with a [`FieldError`] that
//! names the field, what was expected and what came. The dialects put that error into their own envelopes.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

/// Why a field of a request cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A required field is not there.
    Missing,
    /// The value has a wrong type.
    WrongType,
    /// The value is of the right type, but out of range or not among those allowed.
    Invalid,
    /// The value is right in the dialect, but this server cannot do what it asks for.
    Unsupported,
}

/// A field of a request that cannot be taken: which, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct FieldError {
    /// Path of the field, such as `messages[2].role`.
    pub field: String,
    /// What would have been right, as a noun phrase: "a number from 0 to 2".
    pub expected: String,
    /// What came, in short; empty if nothing came.
    pub got: String,
    /// The kind of failure.
    pub reason: Reason,
}

impl FieldError {
    /// A value that is out of range or not among those allowed.
    pub fn invalid(field: impl Into<String>, expected: impl Into<String>, got: &Value) -> Self {
        Self {
            field: field.into(),
            expected: expected.into(),
            got: describe(got),
            reason: Reason::Invalid,
        }
    }

    /// A value of a wrong type.
    pub fn wrong_type(field: impl Into<String>, expected: impl Into<String>, got: &Value) -> Self {
        Self {
            reason: Reason::WrongType,
            ..Self::invalid(field, expected, got)
        }
    }

    /// A field that must be there and is not.
    pub fn missing(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            expected: expected.into(),
            got: String::new(),
            reason: Reason::Missing,
        }
    }

    /// A request that this server cannot obey; `expected` says what it can do.
    pub fn unsupported(field: impl Into<String>, expected: impl Into<String>, got: &Value) -> Self {
        Self {
            field: field.into(),
            expected: expected.into(),
            got: describe(got),
            reason: Reason::Unsupported,
        }
    }

    /// The same error, of a member of the value at `path`.
    pub fn within(mut self, path: &str) -> Self {
        self.field = format!("{path}.{}", self.field);
        self
    }

    fn sentence(&self) -> String {
        let Self {
            field,
            expected,
            got,
            ..
        } = self;
        match self.reason {
            Reason::Missing => format!("{field} is missing: expected {expected}"),
            Reason::WrongType | Reason::Invalid => {
                format!("{field}: expected {expected}, got {got}")
            }
            Reason::Unsupported => {
                format!("{field}: {got} is not supported by this server, which takes {expected}")
            }
        }
    }
}

/// A JSON value in a few words, for error messages: numbers and words as they are, texts shortened, containers by size.
pub fn describe(value: &Value) -> String {
    /// Longest piece of a text that is repeated in an error, in characters.
    const SHOWN: usize = 40;
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => {
            let mut shown: String = text.chars().take(SHOWN).collect();
            if shown.len() < text.len() {
                shown.push('…');
            }
            format!("{shown:?}")
        }
        Value::Array(items) if items.is_empty() => "an empty array".into(),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(members) => match members.get("type").and_then(Value::as_str) {
            Some(kind) => format!(
                "an object of type {:?}",
                kind.chars().take(SHOWN).collect::<String>()
            ),
            None => "an object".into(),
        },
    }
}

/// The members of a request body.
#[derive(Debug, Clone, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The members of `object`.
    pub fn new(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// The members.
    pub fn into_inner(self) -> Map<String, Value> {
        self.0
    }

    /// The value of `name`; `None` if it is absent or null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Takes the value of `name` out, so that large values need not be copied.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0
            .get_mut(name)
            .map(Value::take)
            .filter(|value| !value.is_null())
    }

    /// A number within `range`. JSON has no infinities, and a range is always finite.
    pub fn number(
        &self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, FieldError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let expected = || format!("a number from {} to {}", range.start(), range.end());
        match value.as_f64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            Some(_) => Err(FieldError::invalid(name, expected(), value)),
            None => Err(FieldError::wrong_type(name, expected(), value)),
        }
    }

    /// `timeout`: how long the answer may take, given in seconds, up to a day.
    pub fn timeout(&self) -> Result<Option<Duration>, FieldError> {
        let seconds = self.number("timeout", 0.001..=86_400.0)?;
        Ok(seconds.map(Duration::from_secs_f64))
    }

    /// A whole number within `range`; `4.0` is one.
    pub fn integer(
        &self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, FieldError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let expected = || format!("an integer from {} to {}", range.start(), range.end());
        match whole_number(value) {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            Some(_) => Err(FieldError::invalid(name, expected(), value)),
            None => Err(FieldError::wrong_type(name, expected(), value)),
        }
    }

    /// [`Self::integer`] for counts.
    pub fn count(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, FieldError> {
        let range = i64::try_from(*range.start()).unwrap_or(i64::MAX)
            ..=i64::try_from(*range.end()).unwrap_or(i64::MAX);
        Ok(self
            .integer(name, range)?
            .and_then(|number| usize::try_from(number).ok()))
    }

    /// True or false.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, FieldError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .as_bool()
            .map(Some)
            .ok_or_else(|| FieldError::wrong_type(name, "true or false", value))
    }

    /// A text.
    pub fn string(&self, name: &str) -> Result<Option<&str>, FieldError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| FieldError::wrong_type(name, "a string", value))
    }

    /// A text that must be there and not be empty.
    pub fn required_string(&self, name: &str) -> Result<&str, FieldError> {
        match self.string(name)? {
            Some("") => Err(FieldError::invalid(
                name,
                "a string that is not empty",
                &Value::String(String::new()),
            )),
            Some(text) => Ok(text),
            None => Err(FieldError::missing(name, "a string")),
        }
    }

    /// An object.
    pub fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, FieldError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .as_object()
            .map(Some)
            .ok_or_else(|| FieldError::wrong_type(name, "an object", value))
    }
}

/// The integer that `value` is, also when it is written with a fraction of zero.
pub fn whole_number(value: &Value) -> Option<i64> {
    /// 2^53: up to here every whole number is exact in an f64.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        match value {
            Value::Object(object) => Fields::new(object),
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn null_and_absent_are_the_same() {
        let fields = fields(json!({"n": null}));
        assert_eq!(fields.integer("n", 1..=4), Ok(None));
        assert_eq!(fields.integer("m", 1..=4), Ok(None));
        assert_eq!(
            fields.required_string("n"),
            Err(FieldError::missing("n", "a string"))
        );
    }

    #[test]
    fn messages_name_field_expectation_and_value() {
        let fields = fields(json!({
            "temperature": 2.5, "stream": "maybe", "n": 1.5, "user": {"type": "x"}, "prompt": "é".repeat(50)
        }));
        let texts = [
            (
                fields.number("temperature", 0.0..=2.0).unwrap_err(),
                "temperature: expected a number from 0 to 2, got 2.5",
            ),
            (
                fields.boolean("stream").unwrap_err(),
                "stream: expected true or false, got \"maybe\"",
            ),
            (
                fields.integer("n", 1..=16).unwrap_err(),
                "n: expected an integer from 1 to 16, got 1.5",
            ),
            (
                fields.string("user").unwrap_err(),
                "user: expected a string, got an object of type \"x\"",
            ),
            (
                fields.object("prompt").unwrap_err(),
                &format!("prompt: expected an object, got \"{}…\"", "é".repeat(40)),
            ),
        ];
        for (error, text) in texts {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(whole_number(&json!(4.0)), Some(4));
        assert_eq!(whole_number(&json!(-3)), Some(-3));
        assert_eq!(whole_number(&json!(i64::MIN)), Some(i64::MIN));
        for other in [
            json!(4.5),
            json!(1e300),
            json!(u64::MAX),
            json!("4"),
            json!(true),
        ] {
            assert_eq!(whole_number(&other), None, "{other}");
        }
    }
}
