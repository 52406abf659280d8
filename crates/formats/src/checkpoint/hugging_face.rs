//! Hugging Face folders as a checkpoint: which architecture, which tensor becomes which, and reordered bytes.

use std::path::{Path, PathBuf};

use hearth_kernels::{Bytes, DType};

use super::{TensorLayout, bert, embedding, gpt2, llama, qwen2, qwen3};
use crate::config::Config;
use crate::gguf::Metadata;
use crate::{Error, Result, WeightFiles};

/// How an architecture of Hugging Face is expressed in GGUF.
pub(super) struct Architecture {
    /// The name in GGUF.
    pub(super) name: &'static str,
    /// The entries of `architectures` in `config.json` that it covers.
    pub(super) classes: &'static [&'static str],
    /// Adds the keys of the architecture; refuses variants that GGUF or Hearth can't express.
    pub(super) metadata: fn(&Config, &mut Metadata) -> Result<()>,
    /// What becomes of a tensor.
    pub(super) rename: fn(&Config, &str) -> Result<Rename>,
    /// Tensors that are computed from the config.
    pub(super) computed: fn(&Config) -> Result<Vec<ComputedTensor>>,
}

/// Every architecture that is translated.
const ARCHITECTURES: [&Architecture; 5] = [
    &gpt2::ARCHITECTURE,
    &llama::ARCHITECTURE,
    &qwen2::ARCHITECTURE,
    &qwen3::ARCHITECTURE,
    &bert::ARCHITECTURE,
];

/// The name and the elements of a vector that is not stored.
pub(super) type ComputedTensor = (String, Vec<f32>);

/// What becomes of a tensor of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rename {
    /// It gets this name, and its elements are reordered.
    To(String, Reorder),
    /// The model does not need it.
    Skip,
    /// The architecture knows no such tensor.
    Unknown,
}

/// How a tensor's elements are reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reorder {
    /// As they are.
    Keep,
    /// Rows become columns.
    Transpose,
    /// The rows of each of so many heads go from the two halves that transformers rotates to the interleaved pairs that
    /// GGUF's llama rotates: row `i` of the first half to `2i`, of the second half to `2i + 1`.
    Interleave {
        /// The number of heads that the rows divide into.
        heads: u32,
    },
}

#[derive(Debug)]
enum Origin {
    Stored { name: String, reorder: Reorder },
    Computed(Vec<f32>),
}

/// An open Hugging Face folder.
#[derive(Debug)]
pub(super) struct FolderSource {
    path: PathBuf,
    weights: WeightFiles,
    origins: Vec<Origin>,
}

impl FolderSource {
    pub(super) fn open(path: &Path) -> Result<(FolderSource, Metadata, Vec<TensorLayout>)> {
        let config_path = path.join("config.json");
        if !config_path.is_file() {
            return Err(Error::unsupported(
                path.display().to_string(),
                "a folder without config.json",
            ));
        }
        let config = Config::open(&config_path)?;
        let architecture = find_architecture(&config)?;
        if let Some(q) = config.object("quantization_config")? {
            let method = q.string("quant_method")?.unwrap_or("unnamed");
            return Err(config.unsupported(format!("weights quantized by {method}")));
        }
        let mut metadata = Metadata::new(config.label());
        metadata.insert("general.architecture", architecture.name);
        metadata.insert("general.type", "model");
        let absolute = std::path::absolute(path).map_err(|e| Error::io(path, e))?;
        if let Some(name) = absolute.file_name().and_then(|n| n.to_str()) {
            metadata.insert("general.name", name);
        }
        (architecture.metadata)(&config, &mut metadata)?;
        embedding::metadata(path, architecture.name, &mut metadata)?;
        let weights = WeightFiles::open(path)?;
        let (origins, tensors) = translate(&config, architecture, &weights)?;
        let source = FolderSource {
            path: path.to_owned(),
            weights,
            origins,
        };
        Ok((source, metadata, tensors))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let weights = self.weights.labels().map(PathBuf::from);
        weights.chain([self.path.join("config.json")]).collect()
    }

    pub(super) fn bytes(&self, tensor: usize) -> Result<Bytes> {
        match &self.origins[tensor] {
            Origin::Computed(values) => {
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                Ok(Bytes::from(bytes))
            }
            Origin::Stored { name, reorder } => {
                let stored = self
                    .weights
                    .tensor(name)?
                    .ok_or_else(|| Error::MissingTensor {
                        file: self.path.display().to_string(),
                        name: name.clone(),
                    })?;
                Ok(match *reorder {
                    Reorder::Keep => stored.bytes,
                    Reorder::Transpose => Bytes::from(transpose(
                        &stored.bytes,
                        stored.shape[0],
                        stored.shape[1],
                        stored.dtype.block_bytes(),
                    )),
                    Reorder::Interleave { heads } => {
                        let head_dim = stored.shape[0] / heads as usize;
                        Bytes::from(interleave(&stored.bytes, stored.shape[0], head_dim))
                    }
                })
            }
        }
    }
}

fn find_architecture(config: &Config) -> Result<&'static Architecture> {
    let known = || {
        let names: Vec<&str> = ARCHITECTURES
            .iter()
            .flat_map(|a| a.classes)
            .copied()
            .collect();
        names.join(", ")
    };
    let classes = config.strings("architectures")?.unwrap_or_default();
    let Some(&class) = classes.first() else {
        // Configs of bare models may name only the type.
        let kind = config.string("model_type")?.unwrap_or("missing");
        return ARCHITECTURES
            .into_iter()
            .find(|a| a.name == kind)
            .ok_or_else(|| {
                config.unsupported(format!("model_type {kind}; supported: {}", known()))
            });
    };
    ARCHITECTURES
        .into_iter()
        .find(|a| a.classes.contains(&class))
        .ok_or_else(|| config.unsupported(format!("architecture {class}; supported: {}", known())))
}

fn translate(
    config: &Config,
    architecture: &Architecture,
    weights: &WeightFiles,
) -> Result<(Vec<Origin>, Vec<TensorLayout>)> {
    let mut pairs = Vec::new();
    for (name, values) in (architecture.computed)(config)? {
        let layout = TensorLayout {
            name,
            dtype: DType::F32,
            shape: vec![values.len()],
        };
        pairs.push((Origin::Computed(values), layout));
    }
    for name in weights.names() {
        let file = weights.label_of(name).unwrap_or(config.label());
        let (gguf_name, reorder) = match (architecture.rename)(config, name)? {
            Rename::To(gguf_name, reorder) => (gguf_name, reorder),
            Rename::Skip => continue,
            Rename::Unknown => {
                let problem = format!("the architecture {} has no such tensor", architecture.name);
                return Err(Error::tensor(file, name, problem));
            }
        };
        // Reading the tensor maps it only; it checks that the type can be used.
        let Some(stored) = weights.tensor(name)? else {
            continue;
        };
        let mut shape = stored.shape;
        if shape.is_empty() || shape.contains(&0) {
            return Err(Error::tensor(
                file,
                name,
                format!("the shape {shape:?} is empty"),
            ));
        }
        match reorder {
            Reorder::Keep => {}
            Reorder::Transpose => {
                if shape.len() != 2 {
                    return Err(Error::tensor(file, name, format!("{shape:?} is no matrix")));
                }
                shape.swap(0, 1);
            }
            Reorder::Interleave { heads } => {
                if heads == 0 || !shape[0].is_multiple_of(2 * heads as usize) {
                    return Err(Error::tensor(
                        file,
                        name,
                        format!(
                            "{} rows do not divide into {heads} heads of even size",
                            shape[0]
                        ),
                    ));
                }
            }
        }
        let origin = Origin::Stored {
            name: name.to_owned(),
            reorder,
        };
        let layout = TensorLayout {
            name: gguf_name,
            dtype: stored.dtype,
            shape,
        };
        pairs.push((origin, layout));
    }
    pairs.sort_by_key(|(_, layout)| file_order(&layout.name));
    Ok(pairs.into_iter().unzip())
}

/// Where a tensor stands in a file: the blocks by number between what precedes and what follows them.
fn file_order(name: &str) -> (u8, usize, String) {
    let block = name
        .strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.'))
        .and_then(|(n, _)| n.parse().ok());
    match block {
        Some(n) => (1, n, name.to_owned()),
        None if name.starts_with("output") => (2, 0, name.to_owned()),
        None => (0, 0, name.to_owned()),
    }
}

/// `[rows, cols]` → `[cols, rows]`, elements of `size` bytes.
fn transpose(bytes: &[u8], rows: usize, cols: usize, size: usize) -> Vec<u8> {
    let mut out = vec![0; bytes.len()];
    for r in 0..rows {
        for c in 0..cols {
            let from = (r * cols + c) * size;
            let to = (c * rows + r) * size;
            out[to..to + size].copy_from_slice(&bytes[from..from + size]);
        }
    }
    out
}

/// See [`Reorder::Interleave`]; `rows` rows in heads of `head_dim`.
fn interleave(bytes: &[u8], rows: usize, head_dim: usize) -> Vec<u8> {
    let row_bytes = bytes.len() / rows;
    let half = head_dim / 2;
    let mut out = Vec::with_capacity(bytes.len());
    for head in (0..rows).step_by(head_dim) {
        for i in 0..half {
            for row in [head + i, head + half + i] {
                out.extend_from_slice(&bytes[row * row_bytes..(row + 1) * row_bytes]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reorderings_move_whole_elements() {
        assert_eq!(
            transpose(&[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6], 2, 3, 2),
            [1, 1, 4, 4, 2, 2, 5, 5, 3, 3, 6, 6]
        );
        // Two heads of four rows of two bytes.
        let rows: Vec<u8> = (0..8).flat_map(|r| [r, r + 100]).collect();
        let order: Vec<u8> = interleave(&rows, 8, 4).into_iter().step_by(2).collect();
        assert_eq!(order, [0, 2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn blocks_stand_between_embeddings_and_output() {
        let mut names = ["output.weight", "blk.10.a", "blk.9.b", "token_embd.weight"];
        names.sort_by_key(|n| file_order(n));
        assert_eq!(
            names,
            ["token_embd.weight", "blk.9.b", "blk.10.a", "output.weight"]
        );
    }
}
