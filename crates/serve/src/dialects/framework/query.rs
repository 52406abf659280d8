//! Parameters of a query, read one by one.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde_json::Value;

use crate::fields::FieldError;
use crate::problem::Problem;

/// The query of a request, as axum extracts it.
pub type Raw = Result<Query<HashMap<String, String>>, QueryRejection>;

/// The parameters of a query.
pub struct Params(HashMap<String, String>);

impl Params {
    /// The parameters of `raw`.
    pub fn new(raw: Raw) -> Result<Self, Problem> {
        let Query(params) = raw?;
        Ok(Self(params))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A text that must be there and not be empty.
    pub fn required(&self, name: &str) -> Result<&str, FieldError> {
        match self.text(name) {
            Some("") | None => Err(FieldError::missing(name, "a text")),
            Some(text) => Ok(text),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, FieldError> {
        match self.text(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                let got = Value::from(other);
                Err(FieldError::wrong_type(name, "true or false", &got))
            }
        }
    }

    /// An integer within `range`.
    pub fn integer(
        &self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, FieldError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        let got = Value::from(text);
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            Ok(_) => Err(FieldError::invalid(name, expected, &got)),
            Err(_) => Err(FieldError::wrong_type(name, expected, &got)),
        }
    }

    /// One of `words`.
    pub fn word<'a>(&self, name: &str, words: &[&'a str]) -> Result<Option<&'a str>, FieldError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let known = words.iter().find(|word| **word == text).copied();
        known.map(Some).ok_or_else(|| {
            let expected = format!("one of {}", words.join(", "));
            FieldError::invalid(name, expected, &Value::from(text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Reason;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Params(pairs.iter().map(pair).collect())
    }

    #[test]
    fn values_are_read_or_refused_by_name_and_reason() {
        let params = params(&[
            ("flag", "true"),
            ("n", "-1"),
            ("word", "b"),
            ("odd", "many"),
        ]);
        assert_eq!(params.boolean("flag"), Ok(Some(true)));
        assert_eq!(params.boolean("none"), Ok(None));
        assert_eq!(params.integer("n", -5..=5), Ok(Some(-1)));
        assert_eq!(params.word("word", &["a", "b"]), Ok(Some("b")));
        for (error, reason) in [
            (
                params.boolean("odd").expect_err("no flag"),
                Reason::WrongType,
            ),
            (
                params.integer("odd", 0..=5).expect_err("no number"),
                Reason::WrongType,
            ),
            (
                params.integer("n", 0..=5).expect_err("out of range"),
                Reason::Invalid,
            ),
            (
                params.word("odd", &["a"]).expect_err("unknown"),
                Reason::Invalid,
            ),
            (
                params.required("none").expect_err("missing"),
                Reason::Missing,
            ),
        ] {
            assert_eq!(error.reason, reason, "{error}");
        }
    }
}
