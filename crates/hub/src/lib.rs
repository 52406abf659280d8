//! The models of this machine: which there are, and making new files of them.
//!
//! [`catalog`] lists the built-in models, those of a folder and those given by name, without loading weights.
//! [`convert`] writes any of them as a GGUF file of another type.

#![forbid(unsafe_code)]

pub mod catalog;
pub mod convert;

pub use catalog::{Catalog, CatalogError, Entry, Kind, Location};
pub use convert::{ConvertError, ConvertOptions, PendingFile, Progress, Summary, Target, convert};
