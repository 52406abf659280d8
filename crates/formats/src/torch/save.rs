//! Dictionaries of tensors in files by `torch.save`: state dicts, and the weights inside of exported programs.
//!
//! Such a file is a zip archive with one folder: `data.pkl`, a pickle that refers to storages by key, and `data/KEY`, the
//! bytes of each. Source: `torch/serialization.py` (`_save`), `torch/_utils.py` (`_rebuild_tensor_v2`,
//! `_rebuild_tensor_v3`, `_rebuild_parameter`).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use hearth_kernels::Bytes;

use super::pickle::{Id, Object, Pickle};
use super::{SPARE_COPY_BYTES, ScalarType, StridedTensor};
use crate::zip::ZipArchive;
use crate::{Error, Result, mmap};

/// How files begin that `torch.save` wrote before PyTorch 1.6: a pickle of a number that means nothing else.
const BEFORE_ZIP: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
/// Longer than the number that is the key of a storage.
const MAX_KEY: usize = 256;
/// More tensors than share the same bytes in any network.
const MOST_SHARED: usize = 64;
/// Where trainers put the state dict in a dictionary of other things.
const STATE_DICTS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// The tensors of a file by `torch.save`, by name.
#[derive(Debug)]
pub struct TorchFile {
    label: String,
    tensors: BTreeMap<String, StridedTensor>,
}

impl TorchFile {
    /// Maps a file that holds a state dict.
    ///
    /// # Errors
    /// As of [`TorchFile::from_bytes`]; the file can't be read, or its tensors, laid out densely, are much larger than it.
    pub fn open(path: &Path) -> Result<TorchFile> {
        let data = mmap::map_file(path)?;
        let file_bytes = data.len();
        let file = TorchFile::from_bytes(data, path.display().to_string())?;
        check_copies(file.tensors.values(), file_bytes)
            .map_err(|problem| Error::field(&file.label, "tensors", problem))?;
        Ok(file)
    }

    /// Reads a file in memory whose pickle is a dictionary from names to tensors, or one that holds such a dictionary as
    /// `state_dict`, `model_state_dict` or `model`; entries that are `None` or no tensor are left out. Errors call the file
    /// `label`.
    ///
    /// # Errors
    /// The archive or the pickle is not sound, calls anything but what builds tensors, or a tensor reaches outside of its
    /// storage.
    pub fn from_bytes(data: Bytes, label: String) -> Result<TorchFile> {
        if data.starts_with(BEFORE_ZIP) {
            return Err(Error::unsupported(
                label,
                "a file that torch.save wrote before PyTorch 1.6; load it with torch.load and save it again",
            ));
        }
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
        let reader = TensorReader::new(&zip, &folder, &pickle);
        let Object::Dict(items) = pickle.get(pickle.root()) else {
            return Err(Error::field(
                &label,
                field,
                "it is no dictionary of tensors",
            ));
        };
        let mut tensors = reader.tensors(items, &label, &field)?;
        if tensors.is_empty()
            && let Some(inner) = reader.state_dict(items)
        {
            tensors = reader.tensors(inner, &label, &field)?;
        }
        Ok(TorchFile { label, tensors })
    }

    /// What errors call the file.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, StridedTensor> {
        &self.tensors
    }
}

/// Refuses tensors that would have to be copied, and so take much more than the file that they are in; of those that need no
/// copy there may be several of the same bytes, as of layers that share their weights, but not without end.
pub(crate) fn check_copies<'a>(
    tensors: impl IntoIterator<Item = &'a StridedTensor>,
    file_bytes: usize,
) -> Result<(), String> {
    let (mut copied, mut all) = (0usize, 0usize);
    for tensor in tensors {
        let bytes = tensor.dense_bytes();
        all = all.saturating_add(bytes);
        if !tensor.is_contiguous() {
            copied = copied.saturating_add(bytes);
        }
    }
    let most = file_bytes.saturating_mul(MOST_SHARED);
    if copied > file_bytes.saturating_add(SPARE_COPY_BYTES)
        || all > most.saturating_add(SPARE_COPY_BYTES)
    {
        return Err(format!(
            "laid out densely they are much larger than the file's {file_bytes} bytes"
        ));
    }
    Ok(())
}

/// The module and the name of a storage's class.
type Class<'a> = (&'a str, &'a str);

/// The tensors of a pickle whose storages lie in a folder of an archive.
pub(crate) struct TensorReader<'a> {
    zip: &'a ZipArchive,
    folder: &'a str,
    pickle: &'a Pickle,
    /// How many sizes and strides all tensors together may still have: each was a byte of the pickle at the least.
    sizes_left: Cell<usize>,
}

impl<'a> TensorReader<'a> {
    /// A reader of storages in `folder`, which ends in a slash.
    pub(crate) fn new(zip: &'a ZipArchive, folder: &'a str, pickle: &'a Pickle) -> Self {
        TensorReader {
            zip,
            folder,
            pickle,
            sizes_left: Cell::new(pickle.bytes()),
        }
    }

    /// The tensors of a dictionary.
    fn tensors(
        &self,
        items: &[(Id, Id)],
        label: &str,
        field: &str,
    ) -> Result<BTreeMap<String, StridedTensor>> {
        let mut tensors = BTreeMap::new();
        for &(key, value) in items {
            let Object::Str(name) = self.pickle.get(key) else {
                return Err(Error::field(label, field, "a key is no string"));
            };
            let tensor = self
                .tensor(value)
                .map_err(|problem| Error::tensor(label, &**name, problem))?;
            if let Some(tensor) = tensor {
                tensors.insert(name.to_string(), tensor);
            }
        }
        Ok(tensors)
    }

    /// The dictionary of tensors among other things that a trainer has saved.
    fn state_dict(&self, items: &[(Id, Id)]) -> Option<&'a [(Id, Id)]> {
        STATE_DICTS.iter().find_map(|name| {
            let is_it =
                |key: &Id| matches!(self.pickle.get(*key), Object::Str(other) if **other == **name);
            let (_, value) = items.iter().find(|(key, _)| is_it(key))?;
            match self.pickle.get(*value) {
                Object::Dict(items) => Some(items.as_slice()),
                _ => None,
            }
        })
    }

    /// The tensor that an object is, or `None` where it is none.
    pub(crate) fn tensor(&self, id: Id) -> Result<Option<StridedTensor>, String> {
        let mut id = id;
        // A parameter wraps a tensor. Pickles can nest such calls without end, real ones do so once.
        for _ in 0..2 {
            match self.pickle.call(id) {
                Some((name, args)) if name.contains("_rebuild_parameter") => {
                    id = *args.first().ok_or("a parameter of nothing")?;
                }
                Some((name, args)) => {
                    let names_type = name.ends_with("_rebuild_tensor_v3");
                    return self.rebuild(args, names_type).map(Some);
                }
                None => return Ok(None),
            }
        }
        Err("a parameter of a parameter".into())
    }

    /// `_rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, ...)`; where the storage is of bytes,
    /// `_rebuild_tensor_v3(storage, storage_offset, size, stride, requires_grad, backward_hooks, dtype)`.
    fn rebuild(&self, args: &[Id], names_type: bool) -> Result<StridedTensor, String> {
        let [storage, offset, sizes, strides, rest @ ..] = args else {
            return Err(format!("{} arguments of a tensor", args.len()));
        };
        let (class, storage) = self.storage(*storage)?;
        let dtype = if names_type {
            let [_, _, dtype, ..] = rest else {
                return Err("it has no type".into());
            };
            let Some((module, name)) = self.pickle.global(*dtype) else {
                return Err("its type is not named".into());
            };
            Some(name)
                .filter(|_| module == "torch")
                .and_then(ScalarType::of_name)
                .ok_or_else(|| format!("elements of the unknown type {name:?}"))?
        } else {
            of_class(class)?
        };
        let Object::Int(offset) = self.pickle.get(*offset) else {
            return Err("its offset is no integer".into());
        };
        let (sizes, strides) = (self.ints(*sizes)?, self.ints(*strides)?);
        StridedTensor::new(dtype, &sizes, &strides, *offset, storage)
    }

    /// The class and the bytes of `("storage", storage class, key, location, elements)`.
    fn storage(&self, id: Id) -> Result<(Class<'a>, Bytes), String> {
        let (class, key) = self.stored(id)?;
        if key.len() > MAX_KEY {
            return Err(format!("a key of {} bytes", key.len()));
        }
        let name = format!("{}{key}", self.folder);
        let bytes = self.zip.get(&name).ok_or_else(|| {
            if self.zip.contains(&name) {
                return format!(
                    "the entry {name:?} is compressed; PyTorch stores tensors as they are"
                );
            }
            format!("the archive has no entry {name:?}")
        })?;
        Ok((class, bytes))
    }

    /// The class and the key of a storage.
    fn stored(&self, id: Id) -> Result<(Class<'a>, &'a str), String> {
        let Object::Storage(id) = self.pickle.get(id) else {
            return Err("it has no storage".into());
        };
        let Object::Tuple(parts) = self.pickle.get(*id) else {
            return Err("its storage is not described".into());
        };
        let [_, class, key, ..] = parts.as_slice() else {
            return Err("its storage is not described".into());
        };
        let (Some(class), Object::Str(key)) = (self.pickle.global(*class), self.pickle.get(*key))
        else {
            return Err("its storage is not described".into());
        };
        Ok((class, key))
    }

    /// Type and sizes of the tensor that an object is, whether or not its elements are there; `None` where it is none.
    pub(crate) fn described(&self, id: Id) -> Option<(ScalarType, Vec<i64>)> {
        let (name, args) = self.pickle.call(id)?;
        let [storage, _, sizes, ..] = args else {
            return None;
        };
        if name.contains("_rebuild_parameter") {
            return None;
        }
        let (class, _) = self.stored(*storage).ok()?;
        Some((of_class(class).ok()?, self.ints(*sizes).ok()?))
    }

    fn ints(&self, id: Id) -> Result<Vec<i64>, String> {
        let Object::Tuple(items) = self.pickle.get(id) else {
            return Err("its shape is no tuple".into());
        };
        // Many tensors may share one tuple, which costs each of them its length.
        let left = self.sizes_left.get().checked_sub(items.len());
        self.sizes_left
            .set(left.ok_or("more sizes than the file has bytes")?);
        items
            .iter()
            .map(|&item| match self.pickle.get(item) {
                Object::Int(n) => Ok(*n),
                _ => Err("its shape has other members than integers".into()),
            })
            .collect()
    }
}

/// The type of a storage's elements.
fn of_class((module, name): Class<'_>) -> Result<ScalarType, String> {
    Some(name)
        .filter(|_| module == "torch")
        .and_then(ScalarType::of_storage)
        .ok_or_else(|| format!("a storage of the unknown class {name:?}"))
}
