//! Model files: GGUF and safetensors, read and written, quantized and dequantized; what PyTorch saves, read.
//!
//! [`Checkpoint`] is the one view on a text model that the engine and the converter use, [`NetworkCheckpoint`] that on a
//! network whose architecture is known by name; [`gguf`], [`safetensors`] and [`torch`] are the formats below them, [`quant`] the
//! codecs of block types. [`pt2`] are exported programs, graph and weights, [`torchscript`] modules in TorchScript, source and
//! weights, both in terms of [`torch`]'s tensors.
//!
//! Files are not trusted. Every parser checks counts, lengths and offsets against the size of the file before it
//! allocates, and its errors name the file, the field and the offset. Tensors are never copied on opening: they are
//! ranges of the mapped file.

#![deny(unsafe_code)]

pub mod checkpoint;
mod config;
mod error;
pub mod gguf;
#[allow(unsafe_code)]
mod mmap;
pub mod network;
pub mod pt2;
pub mod quant;
pub mod safetensors;
mod small;
pub mod torch;
pub mod torchscript;
mod weights;
mod zip;

pub use checkpoint::{Checkpoint, Source, Tensor, TensorLayout};
pub use config::Config;
pub use error::{Error, Result};
pub use mmap::map_file;
pub use network::NetworkCheckpoint;
pub use weights::WeightFiles;
