//! Running networks: two engines behind one trait.
//!
//! tract is part of the program. ONNX Runtime is a library that may be there: it is looked for ([`find`]) and, where it
//! is found, preferred, since it is faster. Both take the same models and give the same answers.

mod check;
mod count;
mod defaults;
mod elements;
pub mod find;
mod json;
mod media;
mod onnx_runtime;
mod summary;
mod tensor;
mod tract;

use std::fmt;
use std::sync::Arc;

pub use count::count_parameters;
pub(crate) use defaults::KEY as DEFAULT_KEY;
pub use defaults::fill as fill_defaults;
pub use elements::{Elements, FlatJson};
pub use json::{SampleFormat, Samples};
pub use media::{Media, NumbersOnly, image_bytes};
pub use onnx_runtime::OnnxRuntime;
pub use summary::{Summary, summarize};
pub use tensor::{HostTensor, join, split};
use tract::TractNetwork;

use crate::onnx::ValueInfo;
use crate::{Error, Result};

/// A network that is ready to run.
pub trait Network: Send + Sync {
    /// What it takes.
    fn inputs(&self) -> &[ValueInfo];

    /// What it gives.
    fn outputs(&self) -> &[ValueInfo];

    /// For each input the number that all its elements are where a request leaves it out; none where it has to be given. Those
    /// at the end may be missing.
    fn defaults(&self) -> &[Option<f64>] {
        &[]
    }

    /// Runs the network on one tensor for each input, in the inputs' order; one for each output comes back. Calls from
    /// several threads are safe, and may wait for each other.
    ///
    /// # Errors
    /// [`Error::Input`] where a tensor is not of the type or shape that its input takes, and what the engine says.
    fn run(&self, inputs: &[HostTensor]) -> Result<Vec<HostTensor>>;

    /// The engine that runs it.
    fn engine(&self) -> Engine;

    /// How many plans it keeps at most, where each number of inputs, the first dimension of its tensors, has a plan of its own
    /// that takes time to make; `None` where it runs any number alike.
    fn plans_kept(&self) -> Option<usize> {
        None
    }

    /// Makes the plan for tensors of these shapes, one for each input, so that the first run on such need not.
    ///
    /// # Errors
    /// What the engine says.
    fn plan(&self, shapes: &[Vec<usize>]) -> Result<()> {
        let _ = shapes;
        Ok(())
    }

    /// Bytes of the weights as the engine has them, in each layout that it makes of them, once there are so many plans; `None`
    /// where it does not tell.
    fn weight_bytes(&self, plans: usize) -> Option<u64> {
        let _ = plans;
        None
    }

    /// Whether the numbers of an output, by its place, are known to be shares or probabilities: a softmax or a sigmoid makes
    /// them.
    fn are_scores(&self, _output: usize) -> bool {
        false
    }
}

/// Most bytes that an engine will take for the weights of a network whose file has so many, with plans for `numbers` numbers of
/// inputs.
pub fn predicted_bytes(engine: Engine, file: u64, numbers: usize) -> u64 {
    let copies = match engine {
        // As they were read, and in the layout of each plan.
        Engine::Tract => 1 + tract::plans_kept(file).min(numbers.max(1)) as u64,
        Engine::OnnxRuntime => 1,
    };
    file.saturating_mul(copies)
}

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Part of the program.
    Tract,
    /// A library that was found.
    OnnxRuntime,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Tract => "tract",
            Engine::OnnxRuntime => "onnxruntime",
        })
    }
}

/// The engines of this process. Clones share threads and libraries.
#[derive(Debug, Clone)]
pub struct Engines {
    threads: usize,
    tract_threads: Arc<tract::Threads>,
    onnx_runtime: Option<Arc<OnnxRuntime>>,
}

impl Engines {
    /// tract alone, computing on `threads` threads.
    pub fn tract(threads: usize) -> Engines {
        Engines {
            threads,
            tract_threads: Arc::default(),
            onnx_runtime: None,
        }
    }

    /// tract, and ONNX Runtime from the first of these libraries that can be used, with what is wrong with those before.
    pub fn with_libraries(
        candidates: impl IntoIterator<Item = find::Candidate>,
        threads: usize,
    ) -> (Engines, Vec<(find::Candidate, String)>) {
        let mut engines = Engines::tract(threads);
        let mut refused = Vec::new();
        for candidate in candidates {
            match OnnxRuntime::load(&candidate) {
                Ok(runtime) => {
                    engines.onnx_runtime = Some(runtime);
                    break;
                }
                Err(problem) => refused.push((candidate, problem)),
            }
        }
        (engines, refused)
    }

    /// ONNX Runtime, where it is there.
    pub fn onnx_runtime(&self) -> Option<&OnnxRuntime> {
        self.onnx_runtime.as_deref()
    }

    /// The engine that models run on unless another is asked for.
    pub fn preferred(&self) -> Engine {
        if self.onnx_runtime.is_some() {
            Engine::OnnxRuntime
        } else {
            Engine::Tract
        }
    }

    /// Prepares a model, the bytes of an ONNX file, to run on an engine.
    ///
    /// # Errors
    /// [`Error::Onnx`] where the file is unsound or has its weights in others; [`Error::Runtime`] where the engine is
    /// not there or refuses the model.
    pub fn load(&self, model: &[u8], engine: Engine) -> Result<Box<dyn Network>> {
        let proto = tract::read(model)?;
        let signature = check::check(&proto)?;
        match (engine, &self.onnx_runtime) {
            (Engine::Tract, _) => {
                let threads = &self.tract_threads;
                let network = TractNetwork::load(proto, signature, threads, self.threads)?;
                Ok(Box::new(network))
            }
            (Engine::OnnxRuntime, Some(runtime)) => {
                drop(proto);
                Ok(Box::new(runtime.network(model, signature, self.threads)?))
            }
            (Engine::OnnxRuntime, None) => Err(Error::Runtime {
                runtime: "onnxruntime",
                problem: "its library was not found".into(),
            }),
        }
    }
}

/// Whether samples can run as one: the first dimension of every input and output is the same symbol, which is nowhere else.
///
/// An input with a symbol of its own there may be one thing for all samples, such as the rows of a table that they look
/// into, and an output without the symbol may be computed from all of them; put together they would be other networks.
pub fn is_batched(inputs: &[ValueInfo], outputs: &[ValueInfo]) -> bool {
    use crate::onnx::Dim;

    let Some(Dim::Symbol(batch)) = inputs.first().and_then(|input| input.dims.first()) else {
        return false;
    };
    let is_batch = |dim: &Dim| matches!(dim, Dim::Symbol(name) if name == batch);
    let counts = |value: &ValueInfo| match value.dims.split_first() {
        Some((first, rest)) => is_batch(first) && !rest.iter().any(is_batch),
        None => false,
    };
    !outputs.is_empty() && inputs.iter().chain(outputs).all(counts)
}

/// Checks tensors against what a network takes.
///
/// # Errors
/// [`Error::Input`]: another number of tensors, another type, another shape.
pub fn check_inputs(takes: &[ValueInfo], given: &[HostTensor]) -> Result<()> {
    use crate::onnx::Dim;
    use std::collections::HashMap;

    if takes.len() != given.len() {
        return Err(Error::Input {
            name: takes
                .get(given.len())
                .map_or_else(String::new, |input| input.name.clone()),
            problem: format!("{} tensors for {} inputs", given.len(), takes.len()),
        });
    }
    // The size of each symbol, and the input that it was first seen at.
    let mut symbols: HashMap<&str, (usize, &str)> = HashMap::new();
    for (input, tensor) in takes.iter().zip(given) {
        let wrong = |problem: String| {
            Err(Error::Input {
                name: input.name.clone(),
                problem,
            })
        };
        if input.dtype != tensor.dtype() {
            return wrong(format!(
                "elements of type {} were expected, these are {}",
                input.dtype.name(),
                tensor.dtype().name()
            ));
        }
        let expected = || {
            let dims: Vec<String> = input
                .dims
                .iter()
                .map(|dim| match dim {
                    Dim::Fixed(n) => n.to_string(),
                    Dim::Symbol(name) => name.clone(),
                    Dim::Unknown => "any".to_owned(),
                })
                .collect();
            format!(
                "the shape [{}] was expected, it is {:?}",
                dims.join(", "),
                tensor.shape()
            )
        };
        if input.dims.len() != tensor.shape().len() {
            return wrong(expected());
        }
        for (dim, &size) in input.dims.iter().zip(tensor.shape()) {
            match dim {
                Dim::Fixed(n) if usize::try_from(*n) != Ok(size) => return wrong(expected()),
                Dim::Symbol(name) => {
                    let (before, first) = *symbols.entry(name).or_insert((size, &input.name));
                    if before != size {
                        return wrong(format!(
                            "{}; {name} is {before} at input {first:?}",
                            expected()
                        ));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{DataType, Dim};

    fn input(name: &str, dims: &[Dim]) -> ValueInfo {
        ValueInfo {
            name: name.into(),
            dtype: DataType::Float,
            dims: dims.to_vec(),
        }
    }

    #[test]
    fn samples_are_counted_where_outputs_and_inputs_agree() {
        let symbol = |name: &str| Dim::Symbol(name.into());
        let (b, m, l) = (symbol("b"), symbol("m"), symbol("l"));
        let two = Dim::Fixed(2);
        let ids = || input("ids", &[b.clone(), l.clone()]);
        let out = |dims: &[Dim]| [input("out", dims)];
        let logits = out(&[b.clone(), two.clone()]);
        assert!(is_batched(&[ids()], &logits));
        let mask = input("mask", &[b.clone(), l.clone()]);
        assert!(is_batched(&[ids(), mask], &logits));
        // The rows of a table that all look into, or whatever else has a size of its own.
        for (first, second) in [(&m, &l), (&m, &two), (&two, &l)] {
            let other = input("other", &[first.clone(), second.clone()]);
            assert!(!is_batched(&[ids(), other], &logits));
        }
        // Something of all samples together.
        let of_all = [input("out", &[b.clone(), two.clone()]), input("mean", &[])];
        assert!(!is_batched(&[ids()], &of_all));
        let rows = [
            input("out", &[b.clone(), two.clone()]),
            input("rows", std::slice::from_ref(&m)),
        ];
        assert!(!is_batched(&[ids()], &rows));
        assert!(!is_batched(
            &[input("x", &[two.clone(), b.clone()])],
            &logits
        ));
        assert!(!is_batched(&[ids()], &out(&[two.clone(), b.clone()])));
        // Each row with each other one.
        assert!(!is_batched(&[ids()], &out(&[b.clone(), b.clone()])));
        assert!(!is_batched(&[ids()], &out(std::slice::from_ref(&m))));
        assert!(!is_batched(&[ids()], &[]));
    }

    #[test]
    fn mistakes_of_inputs_say_what_was_expected() {
        let batch = || Dim::Symbol("s0".into());
        let takes = [
            input("x", &[batch(), Dim::Fixed(2)]),
            input("y", &[batch(), Dim::Unknown]),
        ];
        let floats = |shape: &[usize]| HostTensor::zeros(DataType::Float, shape).unwrap();
        let problem = |given: &[HostTensor]| check_inputs(&takes, given).unwrap_err().to_string();
        assert!(check_inputs(&takes, &[floats(&[3, 2]), floats(&[3, 9])]).is_ok());
        assert_eq!(
            problem(&[floats(&[3, 4]), floats(&[3, 9])]),
            "input \"x\": the shape [s0, 2] was expected, it is [3, 4]"
        );
        assert_eq!(
            problem(&[floats(&[3, 2]), floats(&[4, 9])]),
            "input \"y\": the shape [s0, any] was expected, it is [4, 9]; s0 is 3 at input \"x\""
        );
        assert!(problem(&[floats(&[3, 2])]).contains("input \"y\": 1 tensors for 2 inputs"));
        let ids = HostTensor::zeros(DataType::Int64, &[3, 2]).unwrap();
        assert_eq!(
            problem(&[ids, floats(&[3, 9])]),
            "input \"x\": elements of type float32 were expected, these are int64"
        );
    }
}
