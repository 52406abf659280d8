//! One view on a model's files: metadata under GGUF's keys and tensors under GGUF's names, whatever the source.
//!
//! A GGUF file is shown as it is, in one part or split (`-00001-of-00003.gguf`). A Hugging Face folder (`config.json`
//! beside safetensors or files by `torch.save`) is translated on the fly to what llama.cpp's `convert_hf_to_gguf.py` would write, so that
//! architecture code and the converter know one convention. What the translation can't express is refused by name.

mod bert;
mod decoder;
mod embedding;
mod gguf_source;
mod gpt2;
mod hugging_face;
mod llama;
mod qwen2;
mod qwen3;
mod tensor;
pub mod tokenizer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use tensor::Tensor;

use gguf_source::GgufSource;
use hugging_face::FolderSource;

use crate::gguf::Metadata;
use crate::{Error, Result};
use hearth_kernels::DType;

/// The key of our own that says whether embeddings are scaled to length one.
pub const NORMALIZE_KEY: &str = "hearth.embedding.normalize";
/// The key of our own for the most tokens that an embedding model reads, where that is below its context length.
pub const MAX_SEQ_LENGTH_KEY: &str = "hearth.embedding.max_seq_length";

/// Where a checkpoint comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A GGUF file.
    Gguf,
    /// A folder with `config.json` and weights.
    HuggingFace,
}

/// A tensor's name, type and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLayout {
    /// The name, in GGUF's convention.
    pub name: String,
    /// The type of the elements.
    pub dtype: DType,
    /// The dimensions, slowest first: `[rows, cols]` for a matrix.
    pub shape: Vec<usize>,
}

impl TensorLayout {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

#[derive(Debug)]
enum Inner {
    Gguf(GgufSource),
    Folder(FolderSource),
}

/// A model's files, open.
#[derive(Debug)]
pub struct Checkpoint {
    label: String,
    architecture: String,
    metadata: Metadata,
    tensors: Vec<TensorLayout>,
    index: HashMap<String, usize>,
    inner: Inner,
}

impl Checkpoint {
    /// Opens a GGUF file or a Hugging Face folder.
    ///
    /// # Errors
    /// The path can't be read, is neither, is unsound, or is of an architecture or variant that is not translated.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        if path.is_dir() {
            let (source, metadata, tensors) = FolderSource::open(path)?;
            return Self::new(
                path.display().to_string(),
                metadata,
                tensors,
                Inner::Folder(source),
            );
        }
        let (source, metadata, tensors) = GgufSource::open(path)?;
        Self::new(
            path.display().to_string(),
            metadata,
            tensors,
            Inner::Gguf(source),
        )
    }

    /// Opens a GGUF file that is part of the program. Errors call it `label`.
    ///
    /// # Errors
    /// The bytes are no sound GGUF file.
    pub fn from_static(data: &'static [u8], label: &str) -> Result<Checkpoint> {
        let (source, metadata, tensors) = GgufSource::from_static(data, label)?;
        Self::new(label.to_owned(), metadata, tensors, Inner::Gguf(source))
    }

    fn new(
        label: String,
        metadata: Metadata,
        tensors: Vec<TensorLayout>,
        inner: Inner,
    ) -> Result<Checkpoint> {
        let architecture = metadata.require_str("general.architecture")?.to_owned();
        let mut index = HashMap::with_capacity(tensors.len());
        for (i, t) in tensors.iter().enumerate() {
            if index.insert(t.name.clone(), i).is_some() {
                return Err(Error::tensor(
                    label,
                    t.name.clone(),
                    "two tensors have this name",
                ));
            }
        }
        Ok(Checkpoint {
            label,
            architecture,
            metadata,
            tensors,
            index,
            inner,
        })
    }

    /// What errors call the checkpoint: its path, or the label that it was given.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The architecture as GGUF names it, for example `llama`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The metadata under GGUF's keys. For a folder it lacks the tokenizer, see [`tokenizer`].
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What kind of files these are.
    pub fn source(&self) -> Source {
        match self.inner {
            Inner::Gguf(_) => Source::Gguf,
            Inner::Folder(_) => Source::HuggingFace,
        }
    }

    /// The Hugging Face folder, where `tokenizer.json` and others lie.
    pub fn folder(&self) -> Option<&Path> {
        match &self.inner {
            Inner::Gguf(_) => None,
            Inner::Folder(f) => Some(f.path()),
        }
    }

    /// The files that hold the weights and, for a folder, `config.json`. Empty for a part of the program.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.inner {
            Inner::Gguf(g) => g.paths().to_vec(),
            Inner::Folder(f) => f.files(),
        }
    }

    /// All tensors: names, types, shapes.
    pub fn tensors(&self) -> &[TensorLayout] {
        &self.tensors
    }

    /// All tensor names.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|t| t.name.as_str())
    }

    /// The type and shape of a tensor.
    pub fn layout(&self, name: &str) -> Option<&TensorLayout> {
        self.index.get(name).map(|&i| &self.tensors[i])
    }

    /// A tensor, or `None` where there is none of that name.
    ///
    /// Tensors are views of the mapped file, except where the translation of a folder reorders one: that makes a copy.
    ///
    /// # Errors
    /// The tensor's type can't be used.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let Some(&i) = self.index.get(name) else {
            return Ok(None);
        };
        let layout = &self.tensors[i];
        let bytes = match &self.inner {
            Inner::Gguf(g) => g.bytes(i),
            Inner::Folder(f) => f.bytes(i)?,
        };
        Ok(Some(Tensor {
            dtype: layout.dtype,
            shape: layout.shape.clone(),
            bytes,
        }))
    }

    /// A tensor that has to be there.
    ///
    /// # Errors
    /// It is not there, or its type can't be used.
    pub fn require(&self, name: &str) -> Result<Tensor> {
        self.tensor(name)?.ok_or_else(|| Error::MissingTensor {
            file: self.label.clone(),
            name: name.to_owned(),
        })
    }

    /// The number of weights, tied ones counted once.
    pub fn parameters(&self) -> u64 {
        self.weights().map(|t| t.elements() as u64).sum()
    }

    /// The size of all weights in bytes, as stored.
    pub fn weight_bytes(&self) -> u64 {
        self.weights()
            .map(|t| t.dtype.bytes_for(t.elements()).unwrap_or(0) as u64)
            .sum()
    }

    /// The tensors that were learned: all but the table of RoPE factors.
    fn weights(&self) -> impl Iterator<Item = &TensorLayout> {
        self.tensors
            .iter()
            .filter(|t| t.name != decoder::ROPE_FACTORS)
    }
}
