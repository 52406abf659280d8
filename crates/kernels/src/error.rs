//! What can be wrong with what a kernel object is built from.

use crate::DType;

/// Why a matrix or a cache could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The number of columns is no multiple of the type's block.
    #[error("a {dtype} matrix of {rows} x {cols} is impossible: rows are made of blocks of {} values", dtype.block_len())]
    RaggedRows {
        /// The matrix's type.
        dtype: DType,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// The bytes given are not as many as the shape needs.
    #[error("a {dtype} matrix of {rows} x {cols} needs {expected} bytes, got {got}")]
    WrongSize {
        /// The matrix's type.
        dtype: DType,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// The size in bytes of something overflows.
    #[error("{what} is larger than any memory")]
    TooLarge {
        /// What was to be made, with its shape.
        what: String,
    },
    /// Memory for something could not be allocated.
    #[error("no memory for {what} ({bytes} bytes)")]
    OutOfMemory {
        /// What was to be made, with its shape.
        what: String,
        /// The bytes asked for.
        bytes: usize,
    },
    /// A shape with a zero where there must be something.
    #[error("{what} must not be empty")]
    Empty {
        /// What was to be made, with its shape.
        what: String,
    },
}
