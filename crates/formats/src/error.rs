//! What can be wrong with a model's files.

use std::path::{Path, PathBuf};

/// An error of reading or writing model files. Every variant names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not what the format demands.
    #[error("{file}: {field} at byte {offset}: {problem}")]
    Malformed {
        /// The file's label, usually its path.
        file: String,
        /// The part of the file that is wrong.
        field: String,
        /// Where that part begins, in bytes from the start of the file.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// A JSON file lacks a field, or the field has a wrong value.
    #[error("{file}: {field}: {problem}")]
    Field {
        /// The file's label, usually its path.
        file: String,
        /// The field, as a path of keys.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// A metadata key is missing or holds another type than the reader needs.
    #[error("{file}: metadata {key}: expected {expected}, found {found}")]
    Metadata {
        /// The file's label, usually its path.
        file: String,
        /// The key.
        key: String,
        /// What is needed.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The model needs a tensor that is not there.
    #[error("{file}: tensor {name} is missing")]
    MissingTensor {
        /// The file's label, usually its path.
        file: String,
        /// The tensor's name.
        name: String,
    },
    /// A tensor is there, but not as it has to be.
    #[error("{file}: tensor {name}: {problem}")]
    Tensor {
        /// The file's label, usually its path.
        file: String,
        /// The tensor's name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The file is sound, but uses what Hearth does not do.
    #[error("{file}: unsupported: {what}")]
    Unsupported {
        /// The file's label, usually its path.
        file: String,
        /// What is not supported.
        what: String,
    },
}

impl Error {
    /// Wraps an error of the operating system with the path it is about.
    pub fn io(path: &Path, source: std::io::Error) -> Error {
        Error::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// A [`Error::Field`] of a JSON file.
    pub fn field(
        file: impl Into<String>,
        field: impl Into<String>,
        problem: impl Into<String>,
    ) -> Error {
        Error::Field {
            file: file.into(),
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// A [`Error::Tensor`].
    pub fn tensor(
        file: impl Into<String>,
        name: impl Into<String>,
        problem: impl Into<String>,
    ) -> Error {
        Error::Tensor {
            file: file.into(),
            name: name.into(),
            problem: problem.into(),
        }
    }

    /// A [`Error::Unsupported`].
    pub fn unsupported(file: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Unsupported {
            file: file.into(),
            what: what.into(),
        }
    }
}

/// The result of reading or writing model files.
pub type Result<T, E = Error> = std::result::Result<T, E>;
