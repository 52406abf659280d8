//! Typed access to `config.json` and its kin, with errors that name file and field.

use std::path::Path;

use serde_json::{Map, Value};

use crate::small::read_small;
use crate::{Error, Result};

/// JSON files beside weights are small; larger ones are refused.
pub(crate) const MAX_JSON_BYTES: u64 = 64 << 20;

/// A JSON object of a file.
#[derive(Debug, Clone)]
pub struct Config {
    label: String,
    /// What stands before field names in errors, for nested objects.
    prefix: String,
    map: Map<String, Value>,
}

/// Reads a JSON file beside weights.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let text = read_small(path, MAX_JSON_BYTES)?;
    serde_json::from_slice(&text).map_err(|e| {
        Error::field(
            path.display().to_string(),
            format!("line {}", e.line()),
            e.to_string(),
        )
    })
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, is larger than such files are, or is no JSON object.
    pub fn open(path: &Path) -> Result<Config> {
        Self::new(path.display().to_string(), read_json(path)?)
    }

    /// An object that was read already. Errors call its file `label`.
    ///
    /// # Errors
    /// It is no object.
    pub fn new(label: String, value: Value) -> Result<Config> {
        match value {
            Value::Object(map) => Ok(Config {
                label,
                prefix: String::new(),
                map,
            }),
            _ => Err(Error::field(label, "the file", "not a JSON object")),
        }
    }

    /// What errors call the file.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// An error about a field.
    pub fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(&self.label, format!("{}{key}", self.prefix), problem)
    }

    /// An error about what the file asks for.
    pub fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::unsupported(&self.label, what)
    }

    /// The value of a key, or `None` where it is absent or null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// A string, or `None` where it is absent or null.
    ///
    /// # Errors
    /// It is something else.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A boolean, or `None` where it is absent or null.
    ///
    /// # Errors
    /// It is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// An integer from 0 to 2^32 - 1, or `None` where it is absent or null.
    ///
    /// # Errors
    /// It is something else.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "an integer from 0 to 4294967295", |v| {
            v.as_u64().and_then(|v| u32::try_from(v).ok())
        })
    }

    /// A number, or `None` where it is absent or null.
    ///
    /// # Errors
    /// It is something else.
    pub fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// An array of strings, or `None` where it is absent or null.
    ///
    /// # Errors
    /// It is something else.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.typed(key, "an array of strings", |v| {
            v.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    /// An object within, or `None` where it is absent or null.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(&self, key: &str) -> Result<Option<Config>> {
        let map = self.typed(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Config {
            label: self.label.clone(),
            prefix: format!("{}{key}.", self.prefix),
            map: map.clone(),
        }))
    }

    /// A positive integer that has to be there.
    ///
    /// # Errors
    /// It is absent, 0 or something else.
    pub fn require_size(&self, key: &str) -> Result<u32> {
        match self.u32(key)? {
            Some(0) => Err(self.wrong(key, "must not be 0")),
            Some(v) => Ok(v),
            None => Err(self.wrong(key, "missing; a positive integer is needed")),
        }
    }

    /// A positive integer, or the default where it is absent.
    ///
    /// # Errors
    /// It is 0 or something else.
    pub fn size_or(&self, key: &str, default: u32) -> Result<u32> {
        match self.u32(key)? {
            Some(0) => Err(self.wrong(key, "must not be 0")),
            Some(v) => Ok(v),
            None => Ok(default),
        }
    }

    /// Positive integers, or `None` where they are absent or null.
    ///
    /// # Errors
    /// One is 0, or it is something else.
    pub fn sizes(&self, key: &str) -> Result<Option<Vec<u32>>> {
        self.typed(key, "an array of positive integers", |v| {
            let size = |v: &Value| v.as_u64().and_then(|v| u32::try_from(v).ok());
            let sizes = v.as_array()?.iter().map(size);
            { sizes }
                .map(|size| size.filter(|&size| size > 0))
                .collect()
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(None),
            Some(v) => match read(v) {
                Some(v) => Ok(Some(v)),
                None => {
                    let found: String = v.to_string().chars().take(60).collect();
                    Err(self.wrong(key, format!("expected {expected}, found {found}")))
                }
            },
        }
    }

    /// Refuses a field that is set to anything but what is supported.
    ///
    /// # Errors
    /// It is set to another value.
    pub fn only(&self, key: &str, supported: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(v) if !supported.contains(v) => {
                let known: Vec<String> = supported.iter().map(Value::to_string).collect();
                let known = match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                };
                Err(self.unsupported(format!("{}{key} {v}; supported: {known}", self.prefix)))
            }
            _ => Ok(()),
        }
    }
}
