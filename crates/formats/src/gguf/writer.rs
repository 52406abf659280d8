//! Writing GGUF files, version 3, one tensor at a time.

use std::io::Write;

use hearth_kernels::DType;

use super::{
    ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, MAGIC, MAX_TENSOR_NAME, Metadata, Value,
    valid_alignment,
};
use crate::{Error, Result};

/// A tensor that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name, at most [`MAX_TENSOR_NAME`] bytes.
    pub name: String,
    /// The type of the elements.
    pub dtype: DType,
    /// The dimensions, slowest first: `[rows, cols]` for a matrix.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// The size of the data in bytes; `None` where rows are no whole blocks or the size overflows.
    pub fn bytes(&self) -> Option<usize> {
        let row = *self.shape.last()?;
        self.dtype.bytes_for(row)?;
        let elements = self
            .shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))?;
        self.dtype.bytes_for(elements)
    }
}

/// Writes a GGUF file as a stream: the header at once, then the tensors' data in the order announced, in pieces of any
/// size. Nothing but the header is held in memory.
#[derive(Debug)]
pub struct GgufWriter<W: Write> {
    out: W,
    label: String,
    alignment: usize,
    tensors: Vec<TensorSpec>,
    current: usize,
    written: usize,
}

impl<W: Write> GgufWriter<W> {
    /// Writes the header. Errors call the file by the metadata's label.
    ///
    /// # Errors
    /// A tensor's name is too long or occurs twice, its shape has no size in its type, or writing fails.
    pub fn new(out: W, metadata: &Metadata, tensors: Vec<TensorSpec>) -> Result<GgufWriter<W>> {
        let label = metadata.label().to_owned();
        let alignment = match metadata.get_u32(ALIGNMENT_KEY)? {
            None => DEFAULT_ALIGNMENT,
            Some(a) if valid_alignment(a) => a as usize,
            Some(a) => {
                return Err(Error::field(
                    label,
                    ALIGNMENT_KEY,
                    format!("{a} is no power of two from 8 to 1048576"),
                ));
            }
        };
        let header = encode_header(&label, metadata, &tensors, alignment)?;
        let mut writer = GgufWriter {
            out,
            label,
            alignment,
            tensors,
            current: 0,
            written: 0,
        };
        writer.put(&header)?;
        Ok(writer)
    }

    /// The tensor whose data are due, or `None` where all are written.
    pub fn due(&self) -> Option<&TensorSpec> {
        self.tensors.get(self.current)
    }

    /// Writes the next piece of the due tensor's data. Its last piece makes the following tensor due.
    ///
    /// # Errors
    /// The piece is longer than what the tensor lacks, or writing fails.
    pub fn write(&mut self, piece: &[u8]) -> Result<()> {
        let Some(spec) = self.tensors.get(self.current) else {
            return Err(Error::tensor(
                self.label.clone(),
                "none",
                "all tensors are written already",
            ));
        };
        let total = spec.bytes().unwrap_or(0);
        let missing = total - self.written;
        if piece.len() > missing {
            return Err(Error::tensor(
                self.label.clone(),
                spec.name.clone(),
                format!("{} bytes given, {missing} missing", piece.len()),
            ));
        }
        self.put(piece)?;
        self.written += piece.len();
        if self.written == total {
            let padding = total.next_multiple_of(self.alignment) - total;
            self.put(&vec![0; padding])?;
            self.current += 1;
            self.written = 0;
        }
        Ok(())
    }

    /// Ends the file and gives back the stream, flushed.
    ///
    /// # Errors
    /// A tensor is not written completely, or flushing fails.
    pub fn finish(mut self) -> Result<W> {
        if let Some(spec) = self.due() {
            return Err(Error::tensor(
                self.label.clone(),
                spec.name.clone(),
                "its data were never written completely",
            ));
        }
        self.out
            .flush()
            .map_err(|e| Error::io(self.label.as_ref(), e))?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all(bytes)
            .map_err(|e| Error::io(self.label.as_ref(), e))
    }
}

fn encode_header(
    label: &str,
    metadata: &Metadata,
    tensors: &[TensorSpec],
    alignment: usize,
) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&3u32.to_le_bytes());
    out.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    out.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        encode_string(&mut out, key);
        out.extend_from_slice(&(value.value_type() as u32).to_le_bytes());
        encode_value(&mut out, value);
    }
    let mut names = std::collections::HashSet::new();
    let mut offset = 0usize;
    for spec in tensors {
        let wrong = |problem: &str| Error::tensor(label, spec.name.clone(), problem);
        if spec.name.is_empty() || spec.name.len() > MAX_TENSOR_NAME {
            return Err(wrong("a name has 1 to 63 bytes"));
        }
        if !names.insert(spec.name.as_str()) {
            return Err(wrong("the name occurs twice"));
        }
        if spec.shape.is_empty() || spec.shape.len() > 4 {
            return Err(wrong("a tensor has 1 to 4 dimensions"));
        }
        let bytes = spec.bytes().filter(|&b| b > 0).ok_or_else(|| {
            wrong(&format!(
                "the shape {:?} has no size as {}",
                spec.shape, spec.dtype
            ))
        })?;
        encode_string(&mut out, &spec.name);
        out.extend_from_slice(&(spec.shape.len() as u32).to_le_bytes());
        for &d in spec.shape.iter().rev() {
            out.extend_from_slice(&(d as u64).to_le_bytes());
        }
        out.extend_from_slice(&spec.dtype.ggml_id().to_le_bytes());
        out.extend_from_slice(&(offset as u64).to_le_bytes());
        offset = bytes
            .checked_next_multiple_of(alignment)
            .and_then(|b| b.checked_add(offset))
            .ok_or_else(|| wrong("the file's size overflows"))?;
    }
    out.resize(out.len().next_multiple_of(alignment), 0);
    Ok(out)
}

fn encode_string(out: &mut Vec<u8>, s: &str) {
    out.extend_from_slice(&(s.len() as u64).to_le_bytes());
    out.extend_from_slice(s.as_bytes());
}

fn encode_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => encode_string(out, v),
        Value::Array(v) => encode_array(out, v),
    }
}

fn encode_array(out: &mut Vec<u8>, array: &Array) {
    out.extend_from_slice(&(array.value_type() as u32).to_le_bytes());
    out.extend_from_slice(&(array.len() as u64).to_le_bytes());
    macro_rules! numbers {
        ($v:expr) => {
            $v.iter()
                .for_each(|x| out.extend_from_slice(&x.to_le_bytes()))
        };
    }
    match array {
        Array::U8(v) => out.extend_from_slice(v),
        Array::I8(v) => numbers!(v),
        Array::U16(v) => numbers!(v),
        Array::I16(v) => numbers!(v),
        Array::U32(v) => numbers!(v),
        Array::I32(v) => numbers!(v),
        Array::F32(v) => numbers!(v),
        Array::U64(v) => numbers!(v),
        Array::I64(v) => numbers!(v),
        Array::F64(v) => numbers!(v),
        Array::Bool(v) => out.extend(v.iter().map(|&b| u8::from(b))),
        Array::String(v) => v.iter().for_each(|s| encode_string(out, s)),
        Array::Array(v) => v.iter().for_each(|a| encode_array(out, a)),
    }
}
