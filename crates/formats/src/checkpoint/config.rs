//! Typed access to `config.json` and its kin, with errors that name file and field.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// JSON files beside weights are small; larger ones are refused.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// A JSON object of a file.
#[derive(Debug, Clone)]
pub(super) struct Config {
    label: String,
    /// What stands before field names in errors, for nested objects.
    prefix: String,
    map: Map<String, Value>,
}

/// Reads a JSON file beside weights.
pub(super) fn read_json(path: &Path) -> Result<Value> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if meta.len() > MAX_JSON_BYTES {
        return Err(Error::unsupported(
            path.display().to_string(),
            format!("a JSON file of {} bytes", meta.len()),
        ));
    }
    let text = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_slice(&text).map_err(|e| {
        Error::field(
            path.display().to_string(),
            format!("line {}", e.line()),
            e.to_string(),
        )
    })
}

impl Config {
    pub(super) fn open(path: &Path) -> Result<Config> {
        Self::new(path.display().to_string(), read_json(path)?)
    }

    pub(super) fn new(label: String, value: Value) -> Result<Config> {
        match value {
            Value::Object(map) => Ok(Config {
                label,
                prefix: String::new(),
                map,
            }),
            _ => Err(Error::field(label, "the file", "not a JSON object")),
        }
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(&self.label, format!("{}{key}", self.prefix), problem)
    }

    pub(super) fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::unsupported(&self.label, what)
    }

    /// The value of a key, or `None` where it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// An integer from 0 to 2^32 - 1.
    pub(super) fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "an integer from 0 to 4294967295", |v| {
            v.as_u64().and_then(|v| u32::try_from(v).ok())
        })
    }

    pub(super) fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.typed(key, "an array of strings", |v| {
            v.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Config>> {
        let map = self.typed(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Config {
            label: self.label.clone(),
            prefix: format!("{}{key}.", self.prefix),
            map: map.clone(),
        }))
    }

    /// A positive integer that has to be there.
    pub(super) fn require_size(&self, key: &str) -> Result<u32> {
        match self.u32(key)? {
            Some(0) => Err(self.wrong(key, "must not be 0")),
            Some(v) => Ok(v),
            None => Err(self.wrong(key, "missing; a positive integer is needed")),
        }
    }

    /// A positive integer, or the default where it is absent.
    pub(super) fn size_or(&self, key: &str, default: u32) -> Result<u32> {
        match self.u32(key)? {
            Some(0) => Err(self.wrong(key, "must not be 0")),
            Some(v) => Ok(v),
            None => Ok(default),
        }
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

    /// Refuses a field that is set to anything but the one value that is supported.
    pub(super) fn only(&self, key: &str, supported: &[Value]) -> Result<()> {
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
