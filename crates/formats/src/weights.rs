//! The tensors of a model: safetensors or files by `torch.save`, one file, or several with an index.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use hearth_kernels::DType;
use serde::Deserialize;

use crate::config::MAX_JSON_BYTES;
use crate::safetensors::SafetensorsFile;
use crate::small::read_small;
use crate::torch::{ScalarType, TorchFile};
use crate::{Error, Result, Tensor};

/// What a folder's files are called, as transformers looks for them: one file, or the index of several.
const NAMES: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];

/// All tensors of a folder or a file.
#[derive(Debug)]
pub struct WeightFiles {
    files: Vec<WeightFile>,
    /// Which file holds a tensor.
    index: BTreeMap<String, usize>,
}

#[derive(Debug)]
enum WeightFile {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
}

impl WeightFiles {
    /// Opens the files of a folder: `model.safetensors`, or those that `model.safetensors.index.json` names, or else
    /// `pytorch_model.bin` and its index likewise.
    ///
    /// # Errors
    /// None of them is there, a file is unsound, or the index names a tensor or file that is not there, or a file outside
    /// the folder.
    pub fn open(dir: &Path) -> Result<WeightFiles> {
        for (single, index) in NAMES {
            let (single, index) = (dir.join(single), dir.join(index));
            if single.is_file() {
                return Self::open_file(&single);
            }
            if index.is_file() {
                return Self::open_sharded(dir, &index);
            }
        }
        let names: Vec<&str> = NAMES.iter().flat_map(|(a, b)| [*a, *b]).collect();
        Err(Error::unsupported(
            dir.display().to_string(),
            format!(
                "weights other than {}; none is in the folder",
                names.join(", ")
            ),
        ))
    }

    /// Opens one file: safetensors if its name ends so, else a file by `torch.save`.
    ///
    /// # Errors
    /// It can't be read or is unsound.
    pub fn open_file(path: &Path) -> Result<WeightFiles> {
        let file = WeightFile::open(path)?;
        let index = file.names().map(|name| (name.clone(), 0)).collect();
        Ok(WeightFiles {
            files: vec![file],
            index,
        })
    }

    fn open_sharded(dir: &Path, index_path: &Path) -> Result<WeightFiles> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let label = index_path.display().to_string();
        let text = read_small(index_path, MAX_JSON_BYTES)?;
        let parsed: Index = serde_json::from_slice(&text)
            .map_err(|e| Error::field(label.clone(), "weight_map", e.to_string()))?;
        let mut files = Vec::new();
        let mut opened = HashMap::new();
        let mut index = BTreeMap::new();
        for (tensor, file) in parsed.weight_map {
            let at = match opened.get(&file) {
                Some(&at) => at,
                None => {
                    let is_known = file.ends_with(".safetensors") || file.ends_with(".bin");
                    if file.contains(['/', '\\']) || !is_known {
                        return Err(Error::field(
                            label,
                            format!("weight_map.{tensor}"),
                            format!("{file:?} is no file of weights in this folder"),
                        ));
                    }
                    files.push(WeightFile::open(&dir.join(&file))?);
                    opened.insert(file.clone(), files.len() - 1);
                    files.len() - 1
                }
            };
            if !files[at].contains(&tensor) {
                return Err(Error::field(
                    label,
                    format!("weight_map.{tensor}"),
                    format!("the tensor is not in {file}"),
                ));
            }
            index.insert(tensor, at);
        }
        Ok(WeightFiles { files, index })
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// The shape of a tensor, slowest dimension first, or `None` where the name is not there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        match &self.files[*self.index.get(name)?] {
            WeightFile::Safetensors(file) => Some(&file.tensors().get(name)?.shape),
            WeightFile::Torch(file) => Some(file.tensors().get(name)?.sizes()),
        }
    }

    /// A tensor, or `None` where the name is not there. It is a view of the mapped file, except where `torch.save` has
    /// written one whose elements do not lie in order.
    ///
    /// # Errors
    /// Its type is none of F32, F16, BF16.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let Some(&at) = self.index.get(name) else {
            return Ok(None);
        };
        match &self.files[at] {
            WeightFile::Safetensors(file) => Ok(file.tensor(name)?.map(|t| Tensor {
                dtype: t.dtype,
                shape: t.shape,
                bytes: t.bytes,
            })),
            WeightFile::Torch(file) => {
                let Some(tensor) = file.tensors().get(name) else {
                    return Ok(None);
                };
                let dtype = match tensor.dtype() {
                    ScalarType::Float => DType::F32,
                    ScalarType::Half => DType::F16,
                    ScalarType::BFloat16 => DType::BF16,
                    other => {
                        let problem = format!(
                            "the type {other:?} is unsupported; Float, Half and BFloat16 are"
                        );
                        return Err(Error::tensor(file.label(), name, problem));
                    }
                };
                Ok(Some(Tensor {
                    dtype,
                    shape: tensor.sizes().to_vec(),
                    bytes: tensor.dense(),
                }))
            }
        }
    }

    /// What errors call the files: their paths.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(WeightFile::label)
    }

    /// What errors call the file that holds a tensor.
    pub fn label_of(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|&at| self.files[at].label())
    }
}

impl WeightFile {
    fn open(path: &Path) -> Result<WeightFile> {
        match path.extension().is_some_and(|e| e == "safetensors") {
            true => SafetensorsFile::open(path).map(WeightFile::Safetensors),
            false => TorchFile::open(path).map(WeightFile::Torch),
        }
    }

    fn label(&self) -> &str {
        match self {
            WeightFile::Safetensors(file) => file.label(),
            WeightFile::Torch(file) => file.label(),
        }
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            WeightFile::Safetensors(file) => file.tensors().contains_key(name),
            WeightFile::Torch(file) => file.tensors().contains_key(name),
        }
    }

    fn names(&self) -> Box<dyn Iterator<Item = &String> + '_> {
        match self {
            WeightFile::Safetensors(file) => Box::new(file.tensors().keys()),
            WeightFile::Torch(file) => Box::new(file.tensors().keys()),
        }
    }
}
