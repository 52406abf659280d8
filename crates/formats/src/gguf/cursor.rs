//! Reading little-endian values from bytes that are not trusted.

use super::{Array, Value, ValueType};
use crate::{Error, Result};

/// How deep arrays may lie in arrays. Files in use have depth 1; the bound keeps hostile ones off the stack.
const MAX_ARRAY_DEPTH: usize = 8;

/// A position in a file's bytes that never passes their end.
pub(super) struct Cursor<'a> {
    data: &'a [u8],
    pos: usize,
    label: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(data: &'a [u8], label: &'a str) -> Cursor<'a> {
        Cursor {
            data,
            pos: 0,
            label,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.pos
    }

    pub(super) fn remaining(&self) -> usize {
        self.data.len() - self.pos
    }

    /// An error about `field`, which begins at `offset`.
    pub(super) fn error(&self, field: &str, offset: usize, problem: impl Into<String>) -> Error {
        Error::Malformed {
            file: self.label.to_owned(),
            field: field.to_owned(),
            offset: offset as u64,
            problem: problem.into(),
        }
    }

    pub(super) fn take(&mut self, len: usize, field: &str) -> Result<&'a [u8]> {
        if len > self.remaining() {
            return Err(self.error(
                field,
                self.pos,
                format!("{len} bytes needed, {} left in the file", self.remaining()),
            ));
        }
        let bytes = &self.data[self.pos..self.pos + len];
        self.pos += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, field)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A count of items of at least `min_bytes` each, refused where the rest of the file could not hold them.
    pub(super) fn count(&mut self, min_bytes: usize, field: &str) -> Result<usize> {
        let at = self.pos;
        let count = self.u64(field)?;
        let fits = usize::try_from(count)
            .ok()
            .filter(|c| *c <= self.remaining() / min_bytes);
        fits.ok_or_else(|| {
            self.error(
                field,
                at,
                format!(
                    "count {count} is more than the {} bytes left in the file can hold",
                    self.remaining()
                ),
            )
        })
    }

    pub(super) fn string(&mut self, field: &str) -> Result<String> {
        let at = self.pos;
        let len = self.count(1, field)?;
        let bytes = self.take(len, field)?;
        match std::str::from_utf8(bytes) {
            Ok(s) => Ok(s.to_owned()),
            Err(e) => Err(self.error(field, at, format!("the string is not UTF-8: {e}"))),
        }
    }

    pub(super) fn value_type(&mut self, field: &str) -> Result<ValueType> {
        let at = self.pos;
        let id = self.u32(field)?;
        ValueType::from_id(id)
            .ok_or_else(|| self.error(field, at, format!("unknown value type {id}")))
    }

    pub(super) fn value(&mut self, kind: ValueType, field: &str) -> Result<Value> {
        Ok(match kind {
            ValueType::U8 => Value::U8(u8::from_le_bytes(self.array(field)?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(self.array(field)?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(self.array(field)?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(self.array(field)?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(self.array(field)?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(self.array(field)?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(self.array(field)?)),
            ValueType::U64 => Value::U64(u64::from_le_bytes(self.array(field)?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(self.array(field)?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(self.array(field)?)),
            ValueType::Bool => Value::Bool(self.bool(field)?),
            ValueType::String => Value::String(self.string(field)?),
            ValueType::Array => Value::Array(self.elements(field, 1)?),
        })
    }

    fn bool(&mut self, field: &str) -> Result<bool> {
        let at = self.pos;
        match self.array::<1>(field)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.error(field, at, format!("{other} is no bool"))),
        }
    }

    fn elements(&mut self, field: &str, depth: usize) -> Result<Array> {
        if depth > MAX_ARRAY_DEPTH {
            return Err(self.error(
                field,
                self.pos,
                format!("arrays nest deeper than {MAX_ARRAY_DEPTH}"),
            ));
        }
        let kind = self.value_type(field)?;
        let count = self.count(kind.min_bytes(), field)?;
        macro_rules! numbers {
            ($variant:ident, $rust:ty) => {{
                const SIZE: usize = size_of::<$rust>();
                let (chunks, _) = self.take(count * SIZE, field)?.as_chunks::<SIZE>();
                Array::$variant(chunks.iter().map(|b| <$rust>::from_le_bytes(*b)).collect())
            }};
        }
        Ok(match kind {
            ValueType::U8 => numbers!(U8, u8),
            ValueType::I8 => numbers!(I8, i8),
            ValueType::U16 => numbers!(U16, u16),
            ValueType::I16 => numbers!(I16, i16),
            ValueType::U32 => numbers!(U32, u32),
            ValueType::I32 => numbers!(I32, i32),
            ValueType::F32 => numbers!(F32, f32),
            ValueType::U64 => numbers!(U64, u64),
            ValueType::I64 => numbers!(I64, i64),
            ValueType::F64 => numbers!(F64, f64),
            ValueType::Bool => Array::Bool(
                (0..count)
                    .map(|_| self.bool(field))
                    .collect::<Result<_>>()?,
            ),
            ValueType::String => Array::String(
                (0..count)
                    .map(|_| self.string(field))
                    .collect::<Result<_>>()?,
            ),
            ValueType::Array => Array::Array(
                (0..count)
                    .map(|_| self.elements(field, depth + 1))
                    .collect::<Result<_>>()?,
            ),
        })
    }
}
