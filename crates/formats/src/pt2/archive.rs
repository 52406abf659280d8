//! The archive: which layout it has, its program, and its tensors.

use std::collections::BTreeMap;
use std::path::Path;

use hearth_kernels::Bytes;
use serde::Deserialize;

use super::check::check;
use super::json::quote_non_finite;
use super::schema::{ExportedProgram, InputSpec, SymInt, TensorMeta};
use crate::torch::{ScalarType, StridedTensor, TorchFile, check_copies};
use crate::zip::ZipArchive;
use crate::{Error, Result, mmap};

/// The schema's major versions that are read: 7 is PyTorch 2.5, 8 is 2.6 to 2.15.
const SCHEMA_MAJORS: std::ops::RangeInclusive<u32> = 7..=8;

/// An open archive.
#[derive(Debug)]
pub struct Pt2Archive {
    label: String,
    program: ExportedProgram,
    /// Parameters and buffers.
    weights: BTreeMap<String, StridedTensor>,
    /// Constant tensors, and buffers that are not saved in a state dict.
    constants: BTreeMap<String, StridedTensor>,
}

/// A tensor of an archive, laid out densely.
#[derive(Debug, Clone)]
pub struct Pt2Tensor {
    /// The type of the elements.
    pub dtype: ScalarType,
    /// The dimensions, slowest first; empty for a scalar.
    pub sizes: Vec<usize>,
    /// The elements in row-major order, little-endian.
    pub bytes: Bytes,
}

impl Pt2Archive {
    /// Maps an archive and reads its program.
    ///
    /// # Errors
    /// The file can't be read, is no sound archive, holds no exported program or several, or lacks weights.
    pub fn open(path: &Path) -> Result<Pt2Archive> {
        Self::from_bytes(mmap::map_file(path)?, path.display().to_string())
    }

    /// Reads an archive in memory. Errors call it `label`.
    ///
    /// # Errors
    /// As of [`Pt2Archive::open`].
    pub fn from_bytes(data: Bytes, label: String) -> Result<Pt2Archive> {
        let file_bytes = data.len();
        let zip = ZipArchive::from_bytes(data.clone(), label.clone()).map_err(|error| {
            // The sources of TorchScript are compressed.
            match ZipArchive::with_compressed(data, label.clone()) {
                Ok(zip) if is_script(&zip) => Error::unsupported(&label, SCRIPT),
                _ => error,
            }
        })?;
        let parts = Parts::find(&zip, &label)?;
        let program = parts.program()?;
        let weights = parts.tensors(Kind::Weights)?;
        let constants = parts.tensors(Kind::Constants)?;
        check_copies(weights.values().chain(constants.values()), file_bytes)
            .map_err(|problem| Error::field(&label, "weights", problem))?;
        let archive = Pt2Archive {
            label,
            program,
            weights,
            constants,
        };
        for spec in &archive.program.graph_module.signature.input_specs {
            archive.tensor(spec)?;
        }
        Ok(archive)
    }

    /// What errors call the file.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The program.
    pub fn program(&self) -> &ExportedProgram {
        &self.program
    }

    /// The tensor behind an input of the graph; `None` for inputs that the user gives.
    ///
    /// # Errors
    /// The archive has no such tensor, or its shape or type is not what the graph says.
    pub fn tensor(&self, spec: &InputSpec) -> Result<Option<&StridedTensor>> {
        let (arg, name) = match spec {
            InputSpec::Parameter(arg, name)
            | InputSpec::Buffer(arg, name)
            | InputSpec::TensorConstant(arg, name) => (arg, name),
            _ => return Ok(None),
        };
        // Buffers that are not persistent are saved among the constants.
        let tensor = match spec {
            InputSpec::TensorConstant(..) => {
                self.constants.get(name).or_else(|| self.weights.get(name))
            }
            _ => self.weights.get(name).or_else(|| self.constants.get(name)),
        };
        let Some(tensor) = tensor else {
            return Err(Error::MissingTensor {
                file: self.label.clone(),
                name: name.clone(),
            });
        };
        let Some(meta) = self.program.graph_module.graph.tensor_values.get(arg) else {
            return Ok(Some(tensor));
        };
        let sizes_fit = meta.sizes.len() == tensor.sizes().len()
            && meta
                .sizes
                .iter()
                .zip(tensor.sizes())
                .all(|(said, &is)| match said {
                    SymInt::Int(n) => usize::try_from(*n) == Ok(is),
                    SymInt::Expr(_) => true,
                });
        if meta.dtype != tensor.dtype() || !sizes_fit {
            return Err(Error::tensor(
                &self.label,
                name,
                format!(
                    "{:?} of {:?} is not what the graph says: {:?} of {:?}",
                    tensor.sizes(),
                    tensor.dtype(),
                    meta.sizes,
                    meta.dtype
                ),
            ));
        }
        Ok(Some(tensor))
    }

    /// As [`Pt2Archive::tensor`], laid out densely.
    ///
    /// # Errors
    /// As of [`Pt2Archive::tensor`].
    pub fn dense(&self, spec: &InputSpec) -> Result<Option<Pt2Tensor>> {
        Ok(self.tensor(spec)?.map(|tensor| Pt2Tensor {
            dtype: tensor.dtype(),
            sizes: tensor.sizes().to_vec(),
            bytes: tensor.dense(),
        }))
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Weights,
    Constants,
}

/// Where things lie in an archive.
struct Parts<'a> {
    zip: &'a ZipArchive,
    label: &'a str,
    /// The layout with one file for each part, of PyTorch 2.5 to 2.7.
    flat: bool,
    /// The folder that all entries lie in, with its slash; empty in the flat layout.
    root: String,
    /// The name of the program in the archive.
    model: String,
}

const FLAT_PROGRAM: &str = "serialized_exported_program.json";

/// A file of raw tensors: what each is, by the tensor's name.
#[derive(Deserialize)]
struct PayloadConfig {
    config: BTreeMap<String, PayloadMeta>,
}

#[derive(Deserialize)]
struct PayloadMeta {
    path_name: String,
    use_pickle: bool,
    tensor_meta: Option<TensorMeta>,
}

const SCRIPT: &str = "a TorchScript archive; call the file .pt";

fn is_script(zip: &ZipArchive) -> bool {
    zip.names().any(|name| name.ends_with("/constants.pkl"))
}

impl<'a> Parts<'a> {
    fn find(zip: &'a ZipArchive, label: &'a str) -> Result<Parts<'a>> {
        if zip.get(FLAT_PROGRAM).is_some() {
            return Ok(Parts {
                zip,
                label,
                flat: true,
                root: String::new(),
                model: String::new(),
            });
        }
        let Some(root) = zip
            .names()
            .find_map(|name| name.strip_suffix("archive_format"))
            .filter(|root| root.is_empty() || root.find('/') == Some(root.len() - 1))
        else {
            let what = if is_script(zip) {
                SCRIPT
            } else if zip.names().any(|n| n.ends_with("/data.pkl")) {
                "a checkpoint of weights alone; export the model with torch.export"
            } else {
                "an archive without an exported program"
            };
            return Err(Error::unsupported(label, what));
        };
        let format = zip.need(&format!("{root}archive_format"))?;
        if &*format != b"pt2" {
            return Err(Error::field(label, "archive_format", "it is not pt2"));
        }
        if let Some(order) = zip.get(&format!("{root}byteorder"))
            && &*order != b"little"
        {
            return Err(Error::unsupported(label, "a byte order other than little"));
        }
        let folder = format!("{root}models/");
        let models: Vec<&str> = zip
            .names()
            .filter_map(|name| name.strip_prefix(&folder)?.strip_suffix(".json"))
            .collect();
        match models.as_slice() {
            [model] => Ok(Parts {
                zip,
                label,
                flat: false,
                root: root.to_owned(),
                model: (*model).to_owned(),
            }),
            [] if zip.names().any(|n| n.contains("data/aotinductor/")) => Err(Error::unsupported(
                label,
                "compiled code of AOTInductor without a graph; save the program with torch.export.save",
            )),
            [] => Err(Error::field(label, folder, "the archive holds no program")),
            many => Err(Error::unsupported(
                label,
                format!(
                    "{} programs in one archive: {}",
                    many.len(),
                    many.join(", ")
                ),
            )),
        }
    }

    fn program(&self) -> Result<ExportedProgram> {
        let name = if self.flat {
            FLAT_PROGRAM.to_owned()
        } else {
            format!("{}models/{}.json", self.root, self.model)
        };
        let json = self.zip.need(&name)?;
        // The version first, so that a schema of the future is called that, not a syntax error.
        #[derive(Deserialize)]
        struct Version {
            schema_version: super::schema::SchemaVersion,
        }
        let json = quote_non_finite(&json);
        let field = |e: serde_json::Error| Error::field(self.label, &name, e.to_string());
        let version: Version = serde_json::from_slice(&json).map_err(field)?;
        let version = version.schema_version;
        if !SCHEMA_MAJORS.contains(&version.major) {
            return Err(Error::unsupported(
                self.label,
                format!(
                    "schema version {}.{}; {} to {} are read, which PyTorch 2.5 and later write",
                    version.major,
                    version.minor,
                    SCHEMA_MAJORS.start(),
                    SCHEMA_MAJORS.end()
                ),
            ));
        }
        let program: ExportedProgram = serde_json::from_slice(&json).map_err(field)?;
        check(&program, self.label)?;
        Ok(program)
    }

    fn tensors(&self, kind: Kind) -> Result<BTreeMap<String, StridedTensor>> {
        let (flat, folder, config) = match kind {
            Kind::Weights => ("serialized_state_dict.pt", "weights", "weights_config"),
            Kind::Constants => ("serialized_constants.pt", "constants", "constants_config"),
        };
        if self.flat {
            return self.saved(flat);
        }
        let (root, model) = (&self.root, &self.model);
        let saved = format!("{root}data/{folder}/{model}.pt");
        if self.zip.get(&saved).is_some() {
            return self.saved(&saved);
        }
        self.raw(
            &format!("{root}data/{folder}/{model}_{config}.json"),
            &format!("{root}data/{folder}/"),
        )
    }

    /// The tensors in a file by `torch.save` inside of the archive.
    fn saved(&self, name: &str) -> Result<BTreeMap<String, StridedTensor>> {
        let bytes = self.zip.need(name)?;
        // A program without weights or constants has an empty file.
        if bytes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let file = TorchFile::from_bytes(bytes, format!("{}: {name}", self.label))?;
        Ok(file.tensors().clone())
    }

    /// The tensors that a configuration describes, as raw bytes in `folder`.
    fn raw(&self, config: &str, folder: &str) -> Result<BTreeMap<String, StridedTensor>> {
        let json = self.zip.need(config)?;
        let parsed: PayloadConfig = serde_json::from_slice(&json)
            .map_err(|e| Error::field(self.label, config, e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, payload) in parsed.config {
            let wrong = |problem: String| Error::tensor(self.label, &name, problem);
            let path = format!("{folder}{}", payload.path_name);
            let bytes = self
                .zip
                .get(&path)
                .ok_or_else(|| wrong(format!("the archive has no entry {path:?}")))?;
            if payload.use_pickle {
                // Tensor subclasses, and objects that are no tensors. The graph says whether one is needed.
                continue;
            }
            let meta = payload
                .tensor_meta
                .ok_or_else(|| wrong("it has no tensor_meta".into()))?;
            let numbers = |field: &str, list: &[SymInt]| {
                list.iter()
                    .map(|n| match n {
                        SymInt::Int(n) => Ok(*n),
                        SymInt::Expr(e) => {
                            Err(wrong(format!("{field} has {e:?}, which is no number")))
                        }
                    })
                    .collect::<Result<Vec<i64>>>()
            };
            let sizes = numbers("sizes", &meta.sizes)?;
            let strides = numbers("strides", &meta.strides)?;
            let offset = numbers("storage_offset", std::slice::from_ref(&meta.storage_offset))?[0];
            let tensor =
                StridedTensor::new(meta.dtype, &sizes, &strides, offset, bytes).map_err(wrong)?;
            tensors.insert(name, tensor);
        }
        Ok(tensors)
    }
}
