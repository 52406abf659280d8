//! The ordered key–value part of a GGUF file, with getters that name the key in their errors.

use std::collections::HashMap;

use super::{Array, Value};
use crate::{Error, Result};

/// Metadata in file order.
///
/// A getter gives `None` where the key is absent and an error where its value has another type than asked for. Integers
/// are taken in any width and sign that holds the value, since writers differ.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    label: String,
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Metadata {
    /// Empty metadata of the file that errors call `label`.
    pub fn new(label: impl Into<String>) -> Metadata {
        Metadata {
            label: label.into(),
            ..Metadata::default()
        }
    }

    /// What errors call the file.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|&i| &self.entries[i].1)
    }

    /// Sets a key, in place where it is there already.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.index.get(&key) {
            Some(&i) => self.entries[i].1 = value,
            None => {
                self.index.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    fn wrong(&self, key: &str, expected: &'static str, found: &Value) -> Error {
        Error::Metadata {
            file: self.label.clone(),
            key: key.to_owned(),
            expected,
            found: found.describe(),
        }
    }

    fn missing(&self, key: &str, expected: &'static str) -> Error {
        Error::Metadata {
            file: self.label.clone(),
            key: key.to_owned(),
            expected,
            found: "nothing".to_owned(),
        }
    }

    /// A string.
    pub fn get_str(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(other) => Err(self.wrong(key, "a string", other)),
        }
    }

    /// An integer from 0 to 2^32 - 1, in any width.
    pub fn get_u32(&self, key: &str) -> Result<Option<u32>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_i128().and_then(|v| v.try_into().ok()) {
            Some(v) => Ok(Some(v)),
            None => Err(self.wrong(key, "an unsigned 32-bit integer", value)),
        }
    }

    /// An integer from 0 to 2^64 - 1, in any width.
    pub fn get_u64(&self, key: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_i128().and_then(|v| v.try_into().ok()) {
            Some(v) => Ok(Some(v)),
            None => Err(self.wrong(key, "an unsigned 64-bit integer", value)),
        }
    }

    /// A number; doubles are rounded, integers converted.
    pub fn get_f32(&self, key: &str) -> Result<Option<f32>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value {
            Value::F32(v) => Ok(Some(*v)),
            Value::F64(v) => Ok(Some(*v as f32)),
            other => match other.as_i128() {
                Some(v) => Ok(Some(v as f32)),
                None => Err(self.wrong(key, "a number", other)),
            },
        }
    }

    /// A truth value.
    pub fn get_bool(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(v)) => Ok(Some(*v)),
            Some(other) => Err(self.wrong(key, "a bool", other)),
        }
    }

    /// An array of strings.
    pub fn get_strings(&self, key: &str) -> Result<Option<&[String]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(Array::String(v))) => Ok(Some(v)),
            Some(other) => Err(self.wrong(key, "an array of strings", other)),
        }
    }

    /// An array of single-precision numbers; doubles are rounded.
    pub fn get_f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(Array::F32(v))) => Ok(Some(v.clone())),
            Some(Value::Array(Array::F64(v))) => Ok(Some(v.iter().map(|&x| x as f32).collect())),
            Some(other) => Err(self.wrong(key, "an array of numbers", other)),
        }
    }

    /// An array of integers that fit 32 bits, in any width.
    pub fn get_i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let integers = match value {
            Value::Array(a) => a.integers(),
            _ => None,
        };
        integers
            .and_then(|v| {
                v.into_iter()
                    .map(|x| x.try_into().ok())
                    .collect::<Option<Vec<i32>>>()
            })
            .map(Some)
            .ok_or_else(|| self.wrong(key, "an array of 32-bit integers", value))
    }

    /// A string that has to be there.
    pub fn require_str(&self, key: &str) -> Result<&str> {
        self.get_str(key)?
            .ok_or_else(|| self.missing(key, "a string"))
    }

    /// An unsigned 32-bit integer that has to be there.
    pub fn require_u32(&self, key: &str) -> Result<u32> {
        self.get_u32(key)?
            .ok_or_else(|| self.missing(key, "an unsigned 32-bit integer"))
    }

    /// An unsigned 64-bit integer that has to be there.
    pub fn require_u64(&self, key: &str) -> Result<u64> {
        self.get_u64(key)?
            .ok_or_else(|| self.missing(key, "an unsigned 64-bit integer"))
    }

    /// A number that has to be there.
    pub fn require_f32(&self, key: &str) -> Result<f32> {
        self.get_f32(key)?
            .ok_or_else(|| self.missing(key, "a number"))
    }

    /// An array of strings that has to be there.
    pub fn require_strings(&self, key: &str) -> Result<&[String]> {
        self.get_strings(key)?
            .ok_or_else(|| self.missing(key, "an array of strings"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_taken_in_any_width_that_holds_them() {
        let mut m = Metadata::new("file");
        for (i, v) in [
            Value::U8(7),
            Value::I8(7),
            Value::U16(7),
            Value::I16(7),
            Value::U32(7),
            Value::I32(7),
            Value::U64(7),
            Value::I64(7),
        ]
        .into_iter()
        .enumerate()
        {
            m.insert(format!("k{i}"), v);
            assert_eq!(m.get_u32(&format!("k{i}")).unwrap(), Some(7));
        }
        m.insert("negative", -1i32);
        let error = m.get_u32("negative").unwrap_err().to_string();
        assert_eq!(
            error,
            "file: metadata negative: expected an unsigned 32-bit integer, found I32 -1"
        );
        m.insert("large", 1u64 << 32);
        assert!(m.get_u32("large").is_err());
        assert_eq!(m.get_u64("large").unwrap(), Some(1 << 32));
        assert_eq!(m.get_u32("absent").unwrap(), None);
        assert!(m.require_u32("absent").is_err());
    }

    #[test]
    fn setting_a_key_again_keeps_its_place() {
        let mut m = Metadata::new("file");
        for k in ["a", "b", "c"] {
            m.insert(k, k);
        }
        m.insert("b", 1u32);
        assert_eq!(
            m.iter().map(|(k, _)| k).collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
        assert_eq!(m.get_u32("b").unwrap(), Some(1));
    }
}
