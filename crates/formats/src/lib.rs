//! Model files.

pub mod quant;
