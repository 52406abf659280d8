//! Conversion of a checkpoint, a Hugging Face folder or a GGUF file, to a GGUF file of a chosen type.
//!
//! The file that appears is whole or not there at all: it is written beside its target under another name, and renamed
//! at the end.

mod output;
mod rows;
mod target;
mod types;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_formats::checkpoint::tokenizer::tokenizer_metadata;
use hearth_formats::gguf::{GgufWriter, Metadata, TensorSpec};
use hearth_formats::{Checkpoint, TensorLayout};
use hearth_kernels::{DType, Pool};

pub use output::PendingFile;
pub use target::{Target, UnknownTarget};

use types::{ModelShape, TypeRules};

/// Why a conversion failed. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The source is unsound, or reading or writing failed.
    #[error(transparent)]
    Formats(#[from] hearth_formats::Error),
    /// The output is one of the source's files.
    #[error("{}: the output is a file of the model that is read", .0.display())]
    OverwritesSource(PathBuf),
    /// The output is there already, and overwriting was not asked for.
    #[error("{}: the file exists", .0.display())]
    Exists(PathBuf),
    /// A tensor is quantized already, and quantizing again was not asked for.
    #[error(
        "tensor {name} is {from} already; quantizing it again to {to} loses more than quantizing the original does"
    )]
    Requantize {
        /// The tensor's name.
        name: String,
        /// Its type in the source.
        from: DType,
        /// The type that it would get.
        to: DType,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// How to convert.
#[derive(Debug, Clone, Copy)]
pub struct ConvertOptions {
    /// What to convert to.
    pub target: Target,
    /// The number of threads; 0 for one a core.
    pub threads: usize,
    /// Whether to replace the output where it exists. Default: no.
    pub overwrite: bool,
    /// Whether to quantize what is quantized already. Default: no.
    pub allow_requantize: bool,
}

impl ConvertOptions {
    /// The defaults, for a target.
    pub fn new(target: Target) -> ConvertOptions {
        ConvertOptions {
            target,
            threads: 0,
            overwrite: false,
            allow_requantize: false,
        }
    }
}

/// How far a conversion is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The tensor that is written.
    pub tensor: &'a str,
    /// Its type in the output.
    pub dtype: DType,
    /// The bytes of the output's tensors that are written.
    pub done_bytes: u64,
    /// The bytes of all tensors of the output.
    pub total_bytes: u64,
}

/// What a conversion made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The number of tensors.
    pub tensors: usize,
    /// The size of the source's tensors in bytes.
    pub source_bytes: u64,
    /// The size of the output's tensors in bytes.
    pub weight_bytes: u64,
    /// The size of the output file in bytes.
    pub file_bytes: u64,
    /// Tensors whose rows do not divide into blocks of the type that the target would give them, with what they got.
    pub fallbacks: Vec<(String, DType)>,
}

/// Writes `source` to the file `output`.
///
/// `progress` is called a few times a second and at least once a tensor; `cancel` is looked at as often.
///
/// # Errors
/// See [`ConvertError`]; whatever the error, `output` is as it was.
pub fn convert(
    source: &Checkpoint,
    output: &Path,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<Summary, ConvertError> {
    refuse_source(source, output)?;
    let plan = Plan::new(source, options)?;
    let metadata = metadata(source, options.target, output)?;
    let specs = plan.tensors.clone();
    let pending = PendingFile::create(output, options.overwrite)?;
    let mut writer = GgufWriter::new(pending.writer()?, &metadata, specs)?;
    let pool = Pool::new(options.threads);
    let mut done_bytes = 0;
    for spec in &plan.tensors {
        let tensor = source.require(&spec.name)?;
        rows::convert(&pool, &tensor, spec.dtype, &mut |piece| {
            if cancel.load(Ordering::Relaxed) {
                return Err(ConvertError::Cancelled);
            }
            writer.write(piece)?;
            done_bytes += piece.len() as u64;
            progress(Progress {
                tensor: &spec.name,
                dtype: spec.dtype,
                done_bytes,
                total_bytes: plan.total_bytes,
            });
            Ok(())
        })?;
        tensor.bytes.release();
    }
    let file_bytes = pending.publish(writer.finish()?)?;
    Ok(Summary {
        tensors: plan.tensors.len(),
        source_bytes: source.weight_bytes(),
        weight_bytes: plan.total_bytes,
        file_bytes,
        fallbacks: plan.fallbacks,
    })
}

/// What will be written.
struct Plan {
    tensors: Vec<TensorSpec>,
    total_bytes: u64,
    fallbacks: Vec<(String, DType)>,
}

impl Plan {
    fn new(source: &Checkpoint, options: &ConvertOptions) -> Result<Plan, ConvertError> {
        let mut order: Vec<&TensorLayout> = source.tensors().iter().collect();
        order.sort_by_key(|t| (layer(&t.name), t.name.as_str()));
        let mut rules = TypeRules::new(options.target, model_shape(source)?);
        let mut plan = Plan {
            tensors: Vec::with_capacity(order.len()),
            total_bytes: 0,
            fallbacks: Vec::new(),
        };
        for t in order {
            let choice = rules.next(t);
            let dtype = choice.dtype;
            if t.dtype.is_quantized()
                && dtype.is_quantized()
                && dtype != t.dtype
                && !options.allow_requantize
            {
                return Err(ConvertError::Requantize {
                    name: t.name.clone(),
                    from: t.dtype,
                    to: dtype,
                });
            }
            if choice.fallback {
                plan.fallbacks.push((t.name.clone(), dtype));
            }
            let spec = TensorSpec {
                name: t.name.clone(),
                dtype,
                shape: t.shape.clone(),
            };
            plan.total_bytes += spec.bytes().unwrap_or(0) as u64;
            plan.tensors.push(spec);
        }
        Ok(plan)
    }
}

/// The number of a tensor's layer; what belongs to none comes first.
fn layer(name: &str) -> Option<u32> {
    let (number, _) = name.strip_prefix("blk.")?.split_once('.')?;
    number.parse().ok()
}

fn model_shape(source: &Checkpoint) -> Result<ModelShape, ConvertError> {
    let m = source.metadata();
    let arch = source.architecture();
    let size = |key: &str| -> Result<Option<usize>, ConvertError> {
        // Some architectures give these per layer, as arrays; the rules that need them are not for those.
        Ok(match m.get(&format!("{arch}.{key}")) {
            Some(hearth_formats::gguf::Value::Array(_)) | None => None,
            Some(_) => m.get_u32(&format!("{arch}.{key}"))?.map(|v| v as usize),
        })
    };
    let num_heads = size("attention.head_count")?.unwrap_or(1);
    Ok(ModelShape {
        num_layers: size("block_count")?.unwrap_or(0),
        num_heads,
        num_kv_heads: size("attention.head_count_kv")?.unwrap_or(num_heads),
        has_output: source.layout("output.weight").is_some(),
        num_attn_v: source
            .tensor_names()
            .filter(|n| n.contains("attn_v.weight") || n.contains("attn_qkv.weight"))
            .count(),
    })
}

/// The source's metadata with the tokenizer, the new type, and without what a split file says of its parts.
fn metadata(source: &Checkpoint, target: Target, output: &Path) -> Result<Metadata, ConvertError> {
    let mut m = Metadata::new(output.display().to_string());
    for (key, value) in source.metadata().iter() {
        if !key.starts_with("split.") {
            m.insert(key, value.clone());
        }
    }
    if let Some(folder) = source.folder() {
        for (key, value) in tokenizer_metadata(folder)? {
            m.insert(key, value);
        }
    }
    m.insert("general.quantization_version", 2u32);
    m.insert("general.file_type", target.file_type());
    Ok(m)
}

fn refuse_source(source: &Checkpoint, output: &Path) -> Result<(), ConvertError> {
    let Ok(output) = output.canonicalize() else {
        return Ok(());
    };
    for file in source.files() {
        if file.canonicalize().is_ok_and(|f| f == output) {
            return Err(ConvertError::OverwritesSource(output));
        }
    }
    Ok(())
}
