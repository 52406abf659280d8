//! Texts and token ids, in the four forms that prompts and inputs of embeddings have.

use serde_json::Value;

use crate::fields::{FieldError, Fields, whole_number};

/// A prompt, or what is to be embedded, as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A text.
    Text(String),
    /// Its tokens.
    Tokens(Vec<u32>),
}

/// Reads `name`: a text, 1 to `most` texts, token ids, or lists of token ids.
///
/// # Errors
/// It is missing, or something else.
pub fn read(fields: &mut Fields, name: &str, most: usize) -> Result<Vec<Input>, FieldError> {
    let expected = || {
        format!(
            "a string, or an array of 1 to {most} strings, of token ids or of arrays of token ids"
        )
    };
    let input = fields.take(name);
    match input.ok_or_else(|| FieldError::missing(name, expected()))? {
        Value::String(text) => Ok(vec![Input::Text(text)]),
        Value::Array(items) if items.first().is_some_and(Value::is_number) => {
            Ok(vec![Input::Tokens(token_ids(name, &items)?)])
        }
        Value::Array(items) if (1..=most).contains(&items.len()) => {
            let items = items.into_iter().enumerate();
            items
                .map(|(index, item)| one(format!("{name}[{index}]"), item))
                .collect()
        }
        other => Err(FieldError::invalid(name, expected(), &other)),
    }
}

fn one(place: String, item: Value) -> Result<Input, FieldError> {
    match item {
        Value::String(text) => Ok(Input::Text(text)),
        Value::Array(ids) if !ids.is_empty() => Ok(Input::Tokens(token_ids(&place, &ids)?)),
        other => {
            let expected = "a string or a non-empty array of token ids";
            Err(FieldError::invalid(place, expected, &other))
        }
    }
}

fn token_ids(place: &str, items: &[Value]) -> Result<Vec<u32>, FieldError> {
    let token = |(index, item): (usize, &Value)| {
        let number = whole_number(item).and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| FieldError::invalid(format!("{place}[{index}]"), "a token id", item))
    };
    items.iter().enumerate().map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_value(value: Value) -> Result<Vec<Input>, FieldError> {
        read(
            &mut Fields::new([("x".to_owned(), value)].into_iter().collect()),
            "x",
            3,
        )
    }

    #[test]
    fn inputs_come_in_four_forms() {
        let text = |text: &str| Input::Text(text.into());
        for (input, expected) in [
            (json!("Hello"), vec![text("Hello")]),
            (json!(["a", ""]), vec![text("a"), text("")]),
            (json!([1, 2, 3, 4]), vec![Input::Tokens(vec![1, 2, 3, 4])]),
            (
                json!([[1, 2], [3]]),
                vec![Input::Tokens(vec![1, 2]), Input::Tokens(vec![3])],
            ),
            (json!(["a", [3]]), vec![text("a"), Input::Tokens(vec![3])]),
        ] {
            assert_eq!(read_value(input.clone()), Ok(expected), "{input}");
        }
    }

    #[test]
    fn what_is_none_is_refused_by_its_place() {
        for (input, place) in [
            (Value::Null, "x"),
            (json!([]), "x"),
            (json!({"text": "a"}), "x"),
            (json!(5), "x"),
            (json!(["a", "b", "c", "d"]), "x"),
            (json!([1, -1]), "x[1]"),
            (json!([1, 4294967296_u64]), "x[1]"),
            (json!([1, "a"]), "x[1]"),
            (json!(["a", 1]), "x[1]"),
            (json!(["a", null]), "x[1]"),
            (json!([[1], []]), "x[1]"),
            (json!([[1, 1.5]]), "x[0][1]"),
            (json!([[1], ["a"]]), "x[1][0]"),
        ] {
            assert_eq!(
                read_value(input.clone())
                    .expect_err(&input.to_string())
                    .field,
                place
            );
        }
    }
}
