//! The tensors of a model's folder, in one file or several.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::{SafetensorsFile, SafetensorsInfo, SafetensorsTensor};
use crate::{Error, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// All tensors of a folder.
#[derive(Debug)]
pub struct SafetensorsFolder {
    files: Vec<SafetensorsFile>,
    /// Which file holds a tensor.
    index: BTreeMap<String, usize>,
}

impl SafetensorsFolder {
    /// Opens `model.safetensors`, or else the files that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// Neither is there, a file is unsound, or the index names a tensor or file that is not there, or a file outside
    /// the folder.
    pub fn open(dir: &Path) -> Result<SafetensorsFolder> {
        let single = dir.join(SINGLE);
        if single.is_file() {
            let file = SafetensorsFile::open(&single)?;
            let index = file.tensors().keys().map(|k| (k.clone(), 0)).collect();
            return Ok(SafetensorsFolder {
                files: vec![file],
                index,
            });
        }
        let path = dir.join(INDEX);
        if !path.is_file() {
            return Err(Error::unsupported(
                dir.display().to_string(),
                format!("weights other than {SINGLE} or {INDEX}; neither is in the folder"),
            ));
        }
        Self::open_sharded(dir, &path)
    }

    fn open_sharded(dir: &Path, index_path: &Path) -> Result<SafetensorsFolder> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let label = index_path.display().to_string();
        let text = std::fs::read(index_path).map_err(|e| Error::io(index_path, e))?;
        let parsed: Index = serde_json::from_slice(&text)
            .map_err(|e| Error::field(label.clone(), "weight_map", e.to_string()))?;
        let mut files = Vec::new();
        let mut opened = HashMap::new();
        let mut index = BTreeMap::new();
        for (tensor, file) in parsed.weight_map {
            let at = match opened.get(&file) {
                Some(&at) => at,
                None => {
                    if file.contains(['/', '\\']) || !file.ends_with(".safetensors") {
                        return Err(Error::field(
                            label,
                            format!("weight_map.{tensor}"),
                            format!("{file:?} is no safetensors file of this folder"),
                        ));
                    }
                    files.push(SafetensorsFile::open(&dir.join(&file))?);
                    opened.insert(file.clone(), files.len() - 1);
                    files.len() - 1
                }
            };
            if !files[at].tensors().contains_key(&tensor) {
                return Err(Error::field(
                    label,
                    format!("weight_map.{tensor}"),
                    format!("the tensor is not in {file}"),
                ));
            }
            index.insert(tensor, at);
        }
        Ok(SafetensorsFolder { files, index })
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Type and shape of a tensor.
    pub fn info(&self, name: &str) -> Option<&SafetensorsInfo> {
        self.files[*self.index.get(name)?].tensors().get(name)
    }

    /// A tensor, or `None` where the name is not there.
    ///
    /// # Errors
    /// Its type is none of F32, F16, BF16.
    pub fn tensor(&self, name: &str) -> Result<Option<SafetensorsTensor>> {
        match self.index.get(name) {
            Some(&at) => self.files[at].tensor(name),
            None => Ok(None),
        }
    }

    /// What errors call the files: their paths.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(SafetensorsFile::label)
    }

    /// What errors call the file that holds a tensor.
    pub fn label_of(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|&at| self.files[at].label())
    }
}
