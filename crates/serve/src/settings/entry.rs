//! Entries of a file that are tables of their own: read field by field, and told of by their place.

use serde_json::{Map, Value as Json};

use super::table;
use super::value::Value;

/// What is wrong with an entry.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has a field that no entry has: its place, and the nearest that there is.
    Unknown(String, Option<&'static str>),
    /// A field is not as expected: its place, and what it takes.
    Invalid(String, String),
}

impl Fault {
    /// A field that takes `expected`.
    pub fn invalid(place: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Invalid(place.into(), expected.into())
    }
}

/// An entry that is being read.
pub struct Entry<'j> {
    /// Where it stands.
    pub place: String,
    /// Its fields.
    pub fields: &'j Map<String, Json>,
}

impl Entry<'_> {
    /// Refuses a field that is not among `names`.
    pub fn check_names(&self, names: &'static [&'static str]) -> Result<(), Fault> {
        for name in self.fields.keys() {
            if !names.contains(&name.as_str()) {
                let nearest = table::nearest(name, names.iter().copied());
                return Err(Fault::Unknown(self.place(name), nearest));
            }
        }
        Ok(())
    }

    /// A list of texts; none where the field is not there.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Fault> {
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        let invalid = || Fault::invalid(self.place(name), "a list of texts");
        let items = value.as_array().ok_or_else(invalid)?.iter();
        let texts = items.map(|item| item.as_str().map(str::to_owned).ok_or_else(invalid));
        texts.collect()
    }

    /// The value of a field; `None` if it is absent or null.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// A field as the settings' table would read it.
    pub fn value<T: Value>(&self, name: &str) -> Result<Option<T>, Fault> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = match value {
            Json::String(text) => Some(text.clone()),
            Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
            _ => None,
        };
        let read = text.and_then(|text| T::read(text.trim()));
        let invalid = || Fault::invalid(self.place(name), T::EXPECTED);
        read.map(Some).ok_or_else(invalid)
    }

    /// A field that has to be there.
    pub fn required<T: Value>(&self, name: &str) -> Result<T, Fault> {
        let missing = || Fault::invalid(self.place(name), T::EXPECTED);
        self.value(name)?.ok_or_else(missing)
    }

    /// The place of a field.
    pub fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }
}
