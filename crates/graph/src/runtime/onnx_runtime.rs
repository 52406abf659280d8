//! Networks run by ONNX Runtime, from a library that is opened at run time.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue, SessionInputs};
use ort::value::{DynValue, Tensor, TensorRef};
use zerocopy::{FromBytes, Immutable};

use super::check::Signature;
use super::find::Candidate;
use super::{Engine, HostTensor, Network, check_inputs};
use crate::onnx::{DataType, ValueInfo};
use crate::{Error, Result};

/// ONNX Runtime: one library for the whole process.
pub struct OnnxRuntime {
    environment: Environment,
    path: PathBuf,
    version: String,
}

impl std::fmt::Debug for OnnxRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxRuntime")
            .field("path", &self.path)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

fn error(problem: impl ToString) -> Error {
    Error::Runtime {
        runtime: "onnxruntime",
        problem: problem.to_string(),
    }
}

impl OnnxRuntime {
    /// Opens a library. A process has one: where one is open already, it is that one again.
    pub(super) fn load(candidate: &Candidate) -> Result<Arc<OnnxRuntime>, String> {
        static OPEN: OnceLock<Mutex<Option<Arc<OnnxRuntime>>>> = OnceLock::new();
        let open = OPEN.get_or_init(Mutex::default);
        let mut open = open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(runtime) = &*open {
            return Ok(Arc::clone(runtime));
        }
        let builder = ort::init_from(&candidate.path).map_err(|e| e.to_string())?;
        let environment = builder
            .with_name("hearth")
            .with_telemetry(false)
            .build()
            .map_err(|e| e.to_string())?;
        // What is an error is told by the call that it fails.
        environment.set_log_level(LogLevel::Fatal);
        let runtime = Arc::new(OnnxRuntime {
            environment,
            path: candidate.path.clone(),
            version: version(ort::info()).to_owned(),
        });
        *open = Some(Arc::clone(&runtime));
        Ok(runtime)
    }

    /// The library's path, or its name where the system's loader found it.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// What the library says of its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Prepares the model in an ONNX file's bytes.
    pub(super) fn network(
        &self,
        model: &[u8],
        signature: Signature,
        threads: usize,
    ) -> Result<OnnxRuntimeNetwork> {
        let mut builder = Session::builder(&self.environment)
            .map_err(error)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(error)?
            .with_intra_threads(threads)
            .map_err(error)?;
        let session = builder.commit_from_memory(model).map_err(error)?;
        Ok(OnnxRuntimeNetwork {
            session: Mutex::new(session),
            signature,
        })
    }
}

/// The version in what a build says of itself: `ORT Build Info: git-branch=rel-1.20.0, ...`.
fn version(info: &str) -> &str {
    info.split_once("rel-")
        .map(|(_, rest)| rest.split([',', ' ']).next().unwrap_or(rest))
        .unwrap_or(info)
}

/// A network run by ONNX Runtime.
pub(super) struct OnnxRuntimeNetwork {
    /// A run has it for itself; instances of a model have one each.
    session: Mutex<Session>,
    signature: Signature,
}

impl Network for OnnxRuntimeNetwork {
    fn inputs(&self) -> &[ValueInfo] {
        &self.signature.inputs
    }

    fn outputs(&self) -> &[ValueInfo] {
        &self.signature.outputs
    }

    fn are_scores(&self, output: usize) -> bool {
        self.signature
            .are_scores
            .get(output)
            .copied()
            .unwrap_or(false)
    }

    fn defaults(&self) -> &[Option<f64>] {
        &self.signature.defaults
    }

    fn run(&self, inputs: &[HostTensor]) -> Result<Vec<HostTensor>> {
        check_inputs(self.inputs(), inputs)?;
        let values = self
            .inputs()
            .iter()
            .zip(inputs)
            .map(|(info, tensor)| {
                let value = to_value(tensor)?;
                Ok((Cow::Borrowed(info.name.as_str()), value))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut session = self
            .session
            .lock()
            .map_err(|_| error("a call before this one panicked"))?;
        let results = session
            .run(SessionInputs::<0>::ValueMap(values))
            .map_err(error)?;
        self.outputs()
            .iter()
            .map(|info| {
                let value = results
                    .get(&info.name)
                    .ok_or_else(|| error(format!("the output {} is missing", info.name)))?;
                from_value(value, info.dtype)
            })
            .collect()
    }

    fn engine(&self) -> Engine {
        Engine::OnnxRuntime
    }
}

/// Bytes as the elements that they are, where they lie as such.
fn view<T: FromBytes + Immutable>(bytes: &[u8]) -> Option<&[T]> {
    <[T]>::ref_from_bytes(bytes).ok()
}

/// Runs `$body` with `$t` the Rust type of an element type, `$view` its way to look at bytes, and `$read` and `$write` its ways
/// from and to them.
macro_rules! with_type {
    ($dtype:expr, $t:ident, $view:ident, $read:ident, $write:ident, $body:expr) => {{
        macro_rules! number {
            ($rust:ty) => {{
                type $t = $rust;
                let $view = view::<$rust>;
                let $read = |b: &[u8]| {
                    let mut raw = [0; size_of::<$rust>()];
                    raw.copy_from_slice(b);
                    <$rust>::from_le_bytes(raw)
                };
                let $write = |x: &$rust, out: &mut Vec<u8>| out.extend_from_slice(&x.to_le_bytes());
                $body
            }};
        }
        match $dtype {
            DataType::Float => number!(f32),
            DataType::Double => number!(f64),
            DataType::Float16 => number!(half::f16),
            DataType::Bfloat16 => number!(half::bf16),
            DataType::Int8 => number!(i8),
            DataType::Int16 => number!(i16),
            DataType::Int32 => number!(i32),
            DataType::Int64 => number!(i64),
            DataType::Uint8 => number!(u8),
            DataType::Uint16 => number!(u16),
            DataType::Uint32 => number!(u32),
            DataType::Uint64 => number!(u64),
            DataType::Bool => {
                type $t = bool;
                // Not every byte is a boolean.
                let $view = |_: &[u8]| None::<&[bool]>;
                let $read = |b: &[u8]| b[0] != 0;
                let $write = |x: &bool, out: &mut Vec<u8>| out.push(u8::from(*x));
                $body
            }
        }
    }};
}

/// A tensor as an input, without a copy where it lies in memory as it has to.
fn to_value(tensor: &HostTensor) -> Result<SessionInputValue<'_>> {
    with_type!(tensor.dtype(), T, view, read, write, {
        let _ = write;
        let shape = tensor.shape().to_vec();
        if let Some(values) = view(tensor.bytes()).filter(|values| !values.is_empty()) {
            let value = TensorRef::<T>::from_array_view((shape, values)).map_err(error)?;
            return Ok(SessionInputValue::from(value));
        }
        let values: Vec<T> = tensor
            .bytes()
            .chunks_exact(size_of::<T>())
            .map(read)
            .collect();
        let value = Tensor::<T>::from_array((shape, values)).map_err(error)?;
        Ok(SessionInputValue::from(value))
    })
}

fn from_value(value: &DynValue, dtype: DataType) -> Result<HostTensor> {
    with_type!(dtype, T, view, read, write, {
        let _ = (view, read);
        let (shape, values) = value.try_extract_tensor::<T>().map_err(error)?;
        let mut bytes = Vec::with_capacity(size_of_val(values));
        for x in values {
            write(x, &mut bytes);
        }
        let shape = shape.iter().map(|&d| d as usize).collect();
        HostTensor::new(dtype, shape, bytes).map_err(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_builds_say() {
        assert_eq!(
            version("ORT Build Info: git-branch=rel-1.20.1, git-commit-id=5c1b7cc"),
            "1.20.1"
        );
        assert_eq!(version("something else"), "something else");
    }
}
