//! GGUF, the single-file format of llama.cpp, versions 2 and 3, little endian.
//!
//! Layout (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>): magic, version, counts, metadata pairs, tensor
//! infos, padding to `general.alignment`, tensor data. Version 1, whose counts have 32 bits, has long been out of use
//! and is refused, as are big-endian files.
//!
//! A file is not trusted: every count, length and offset is checked against the file's size before anything is
//! allocated, and tensors may not overlap or reach past the end.

mod cursor;
mod metadata;
mod reader;
mod value;
mod writer;

pub use metadata::Metadata;
pub use reader::{GgufFile, TensorInfo};
pub use value::{Array, Value, ValueType};
pub use writer::{GgufWriter, TensorSpec};

/// `GGUF`, the first four bytes.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Where tensors begin at multiples of, unless `general.alignment` says otherwise.
pub const DEFAULT_ALIGNMENT: usize = 32;
/// The key that changes the alignment.
pub const ALIGNMENT_KEY: &str = "general.alignment";

/// The length of the longest tensor name that llama.cpp reads, in bytes.
pub const MAX_TENSOR_NAME: usize = 63;

/// Checks an alignment as both reader and writer demand it.
fn valid_alignment(alignment: u32) -> bool {
    alignment.is_power_of_two() && (8..=1 << 20).contains(&alignment)
}
