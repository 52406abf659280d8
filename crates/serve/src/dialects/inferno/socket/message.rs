//! Messages of clients: `type`, `id`, `data`.

use serde_json::Value;

use crate::fields::{FieldError, Fields};
use crate::problem::{Kind, Problem};

/// Longest id that is taken, in bytes.
const LONGEST_ID: usize = 256;

/// A message of a client.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it asks for.
    pub kind: String,
    /// What the answers are told by.
    pub id: String,
    /// The particulars.
    pub data: Fields,
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it, and its id as far as there is one.
    pub fn read(text: &str) -> Result<Self, (String, Problem)> {
        let mut fields = match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Fields::new(object),
            Ok(_) => {
                let problem = Problem::new(Kind::Malformed, "a message is a JSON object");
                return Err((String::new(), problem));
            }
            Err(error) => {
                let message = format!("the message is not JSON: {error}");
                return Err((String::new(), Problem::new(Kind::Malformed, message)));
            }
        };
        let id = match fields.required_string("id") {
            Ok(id) if id.len() <= LONGEST_ID => id.to_owned(),
            Ok(id) => {
                let expected = format!("a string of at most {LONGEST_ID} bytes");
                let error = FieldError::invalid("id", expected, &id.into());
                return Err((String::new(), error.into()));
            }
            Err(error) => return Err((String::new(), error.into())),
        };
        let failed = |error: FieldError| (id.clone(), Problem::from(error));
        let kind = fields.required_string("type").map_err(failed)?.to_owned();
        let data = match fields.take("data") {
            None => Fields::default(),
            Some(Value::Object(object)) => Fields::new(object),
            Some(other) => {
                return Err(failed(FieldError::wrong_type("data", "an object", &other)));
            }
        };
        Ok(Self { kind, id, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_type_id_and_data() {
        let message = Message::read(r#"{"type": "chat", "id": "a", "data": {"model": "m"}}"#);
        let message = message.expect("all right");
        assert_eq!((message.kind.as_str(), message.id.as_str()), ("chat", "a"));
        assert!(message.data.get("model").is_some());
        assert!(Message::read(r#"{"type": "subscribe_models", "id": "b"}"#).is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_by_the_id_where_there_is_one() {
        for (text, id, param) in [
            ("{oops", "", None),
            ("[]", "", None),
            (r#"{"type": "chat"}"#, "", Some("id")),
            (r#"{"type": "chat", "id": 5}"#, "", Some("id")),
            (r#"{"id": "a"}"#, "a", Some("type")),
            (
                r#"{"type": "chat", "id": "a", "data": []}"#,
                "a",
                Some("data"),
            ),
        ] {
            let (got, problem) = Message::read(text).expect_err(text);
            assert_eq!(
                (got.as_str(), problem.param.as_deref()),
                (id, param),
                "{text}"
            );
        }
    }
}
