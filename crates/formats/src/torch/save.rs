//! Dictionaries of tensors in files by `torch.save`: state dicts, and the weights inside of exported programs.
//!
//! Such a file is a zip archive with one folder: `data.pkl`, a pickle that refers to storages by key, and `data/KEY`, the
//! bytes of each. Source: `torch/serialization.py` (`_save`), `torch/_utils.py` (`_rebuild_tensor_v2`,
//! `_rebuild_parameter`).

use std::collections::BTreeMap;

use hearth_kernels::Bytes;

use super::pickle::{Id, Object, Pickle};
use super::{ScalarType, StridedTensor};
use crate::zip::ZipArchive;
use crate::{Error, Result};

/// The tensors of a file by `torch.save`, by name.
#[derive(Debug)]
pub struct TorchFile {
    tensors: BTreeMap<String, StridedTensor>,
}

impl TorchFile {
    /// Reads a file in memory whose pickle is a dictionary from names to tensors; entries that are `None` or no tensor
    /// are left out. Errors call the file `label`.
    ///
    /// # Errors
    /// The archive or the pickle is not sound, calls anything but what builds tensors, or a tensor reaches outside of its
    /// storage.
    pub fn from_bytes(data: Bytes, label: String) -> Result<TorchFile> {
        if !ZipArchive::is_zip(&data) {
            return Err(Error::unsupported(
                label,
                "a file of torch.save that is no zip archive; PyTorch 1.6 and later write those",
            ));
        }
        let zip = ZipArchive::from_bytes(data, label.clone())?;
        let root = zip
            .names()
            .find_map(|name| name.strip_suffix("data.pkl"))
            .ok_or_else(|| Error::field(&label, "data.pkl", "the archive has no such entry"))?
            .to_owned();
        if let Some(order) = zip.get(&format!("{root}byteorder"))
            && &*order != b"little"
        {
            return Err(Error::unsupported(label, "a byte order other than little"));
        }
        let field = format!("{root}data.pkl");
        let bytes = zip.need(&field)?;
        let pickle = Pickle::parse(&bytes).map_err(|(at, problem)| Error::Malformed {
            file: label.clone(),
            field: field.clone(),
            offset: at as u64,
            problem,
        })?;
        let folder = format!("{root}data/");
        let reader = TensorReader {
            zip: &zip,
            folder: &folder,
            pickle: &pickle,
        };
        let Object::Dict(items) = pickle.get(pickle.root()) else {
            return Err(Error::field(
                &label,
                field,
                "it is no dictionary of tensors",
            ));
        };
        let mut tensors = BTreeMap::new();
        for &(key, value) in items {
            let Object::Str(name) = pickle.get(key) else {
                return Err(Error::field(&label, field, "a key is no string"));
            };
            let tensor = reader
                .tensor(value)
                .map_err(|problem| Error::tensor(&label, name, problem))?;
            if let Some(tensor) = tensor {
                tensors.insert(name.clone(), tensor);
            }
        }
        Ok(TorchFile { tensors })
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, StridedTensor> {
        &self.tensors
    }
}

/// The tensors of a pickle whose storages lie in a folder of an archive.
pub(crate) struct TensorReader<'a> {
    pub(crate) zip: &'a ZipArchive,
    /// The folder, with its slash.
    pub(crate) folder: &'a str,
    pub(crate) pickle: &'a Pickle,
}

impl TensorReader<'_> {
    /// The tensor that an object is, or `None` where it is none.
    pub(crate) fn tensor(&self, id: Id) -> Result<Option<StridedTensor>, String> {
        let mut object = self.pickle.get(id);
        // A parameter wraps a tensor. Pickles can nest such calls without end, real ones do so once.
        for _ in 0..2 {
            match object {
                Object::Call(name, args) if name.contains("_rebuild_parameter") => {
                    object = self
                        .pickle
                        .get(*args.first().ok_or("a parameter of nothing")?);
                }
                Object::Call(_, args) => return self.rebuild(args).map(Some),
                _ => return Ok(None),
            }
        }
        Err("a parameter of a parameter".into())
    }

    /// `_rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, ...)`.
    fn rebuild(&self, args: &[Id]) -> Result<StridedTensor, String> {
        let [storage, offset, sizes, strides, ..] = args else {
            return Err(format!("{} arguments of a tensor", args.len()));
        };
        let (dtype, storage) = self.storage(*storage)?;
        let Object::Int(offset) = self.pickle.get(*offset) else {
            return Err("its offset is no integer".into());
        };
        let (sizes, strides) = (self.ints(*sizes)?, self.ints(*strides)?);
        StridedTensor::new(dtype, &sizes, &strides, *offset, storage)
    }

    /// `("storage", storage class, key, location, elements)`.
    fn storage(&self, id: Id) -> Result<(ScalarType, Bytes), String> {
        let (dtype, key) = self.stored(id)?;
        let name = format!("{}{key}", self.folder);
        let bytes = self.zip.get(&name).ok_or_else(|| {
            if self.zip.contains(&name) {
                return format!(
                    "the entry {name:?} is compressed; PyTorch stores tensors as they are"
                );
            }
            format!("the archive has no entry {name:?}")
        })?;
        Ok((dtype, bytes))
    }

    /// The type and the key of a storage.
    fn stored(&self, id: Id) -> Result<(ScalarType, &str), String> {
        let Object::Storage(id) = self.pickle.get(id) else {
            return Err("it has no storage".into());
        };
        let Object::Tuple(parts) = self.pickle.get(*id) else {
            return Err("its storage is not described".into());
        };
        let [_, class, key, ..] = parts.as_slice() else {
            return Err("its storage is not described".into());
        };
        let (Object::Global(class), Object::Str(key)) =
            (self.pickle.get(*class), self.pickle.get(*key))
        else {
            return Err("its storage is not described".into());
        };
        let dtype = class
            .strip_prefix("torch ")
            .and_then(ScalarType::of_storage)
            .ok_or_else(|| format!("a storage of the unknown class {class:?}"))?;
        Ok((dtype, key))
    }

    /// Type and sizes of the tensor that an object is, whether or not its elements are there; `None` where it is none.
    pub(crate) fn described(&self, id: Id) -> Option<(ScalarType, Vec<i64>)> {
        let Object::Call(name, args) = self.pickle.get(id) else {
            return None;
        };
        let [storage, _, sizes, ..] = args.as_slice() else {
            return None;
        };
        if name.contains("_rebuild_parameter") {
            return None;
        }
        let (dtype, _) = self.stored(*storage).ok()?;
        Some((dtype, self.ints(*sizes).ok()?))
    }

    fn ints(&self, id: Id) -> Result<Vec<i64>, String> {
        let Object::Tuple(items) = self.pickle.get(id) else {
            return Err("its shape is no tuple".into());
        };
        items
            .iter()
            .map(|&item| match self.pickle.get(item) {
                Object::Int(n) => Ok(*n),
                _ => Err("its shape has other members than integers".into()),
            })
            .collect()
    }
}
