//! safetensors, the tensor files of Hugging Face.
//!
//! A file is the header's length (u64, little endian), a JSON header, and the data
//! (<https://huggingface.co/docs/safetensors>). A file is not trusted: the header's length, the tensors' ranges, shapes
//! and overlaps are checked against the file's size.

mod file;

pub use file::{SafetensorsDType, SafetensorsFile, SafetensorsInfo};

use hearth_kernels::{Bytes, DType};

/// A tensor of a safetensors file.
#[derive(Debug, Clone)]
pub struct SafetensorsTensor {
    /// The type of the elements.
    pub dtype: DType,
    /// The dimensions, slowest first.
    pub shape: Vec<usize>,
    /// The elements, little endian; they keep the file mapped.
    pub bytes: Bytes,
}
