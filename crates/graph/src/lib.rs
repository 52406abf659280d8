//! Exported networks: torch.export archives as ONNX models.
//!
//! A `.pt2` archive is lowered once, in Rust, to an ONNX model in memory ([`lower`]), which [`onnx`] writes.

#![deny(unsafe_code)]

mod error;
pub mod lower;
pub mod onnx;

pub use error::{Error, Result};
