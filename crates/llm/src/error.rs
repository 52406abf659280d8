//! What can go wrong with a text model.

/// An error of the text engine: a model that cannot be loaded, or one of its parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's files cannot be read.
    #[error(transparent)]
    Format(#[from] hearth_formats::Error),

    /// A kernel refuses what it was given, memory for a cache among it.
    #[error(transparent)]
    Kernel(#[from] hearth_kernels::KernelError),

    /// The model's architecture is none of those that are implemented.
    #[error("architecture {architecture:?} is not supported; supported: {supported}")]
    Architecture {
        /// The name that the checkpoint gives.
        architecture: String,
        /// The names that would work, separated by commas.
        supported: &'static str,
    },

    /// The checkpoint lacks a metadata key without which the model has no shape.
    #[error("the checkpoint has no {key}")]
    MissingKey {
        /// The key by its GGUF name.
        key: String,
    },

    /// A metadata value makes no sense, by itself or together with another.
    #[error("{key} is {found}, expected {expected}")]
    InvalidKey {
        /// The key by its GGUF name.
        key: String,
        /// The value in the checkpoint.
        found: String,
        /// What would be accepted.
        expected: String,
    },

    /// The checkpoint asks for something that is not implemented.
    #[error("{key} is {found}: {feature} is not supported")]
    Unsupported {
        /// The key or tensor by its GGUF name.
        key: String,
        /// The value in the checkpoint.
        found: String,
        /// The missing feature in the field's words.
        feature: &'static str,
    },

    /// A tensor is there that the architecture as implemented does not have, so the model is a variant of it.
    #[error("tensor {tensor} is not part of a {architecture} model as supported")]
    UnusedTensor {
        /// The tensor by its GGUF name.
        tensor: String,
        /// The architecture's GGUF name.
        architecture: String,
    },

    /// A tensor has another shape than the metadata says.
    #[error("tensor {tensor} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor by its GGUF name.
        tensor: String,
        /// The shape that the metadata leads to, rows first.
        expected: Vec<usize>,
        /// The shape in the file, rows first.
        found: Vec<usize>,
    },

    /// Whoever follows the load wants no more of it.
    #[error("the load was cancelled")]
    Cancelled,
}

/// The result of the text engine's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
