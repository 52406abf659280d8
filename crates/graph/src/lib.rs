//! Networks: torch.export archives, TorchScript and checkpoints as ONNX models, and ONNX models at work.
//!
//! A `.pt2` archive is lowered once, in Rust, to an ONNX model in memory ([`lower`]), which [`onnx`] writes; a `.pt` archive
//! of TorchScript first becomes a graph of the same operators ([`script`]). A checkpoint of an architecture that is known by name
//! becomes an ONNX model too ([`architectures`]). From there all take one way: [`runtime`] runs them, by ONNX Runtime where its
//! library is found, by tract everywhere.

#![deny(unsafe_code)]

pub mod architectures;
mod error;
pub mod lower;
pub mod onnx;
pub mod runtime;
pub mod script;

pub use error::{Error, Result};
