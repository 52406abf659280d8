//! Exported networks: torch.export archives as ONNX models, and ONNX models at work.
//!
//! A `.pt2` archive is lowered once, in Rust, to an ONNX model in memory ([`lower`]), which [`onnx`] writes. From there
//! both formats take one way: [`runtime`] runs them, by ONNX Runtime where its library is found, by tract everywhere.

#![deny(unsafe_code)]

mod error;
pub mod lower;
pub mod onnx;
pub mod runtime;

pub use error::{Error, Result};
