//! One of ONNX's tests: a folder with a model, and sets of inputs with the outputs that are right.

use std::path::Path;

use hearth_graph::onnx::DataType;
use hearth_graph::runtime::{Engine, Engines, HostTensor};
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use tract_onnx::prelude::Framework;

/// How far a number may be off, as in ONNX's own runner: this part of it, and this much.
const TOLERANCE: (f64, f64) = (1e-3, 1e-7);
/// The part that it may be off in the narrow format of 16 bits: two of its units.
const BFLOAT16_TOLERANCE: f64 = 1.0 / 64.0;

pub struct Case {
    /// As ONNX has it, without `test_`.
    pub name: String,
    /// The operator that it tests.
    pub operator: String,
    model: Vec<u8>,
    /// Inputs and outputs; none where one is no tensor of an element type that is known.
    sets: Option<Vec<Set>>,
}

struct Set {
    inputs: Vec<HostTensor>,
    outputs: Vec<HostTensor>,
}

impl Case {
    pub fn read(folder: &Path) -> Case {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let model = std::fs::read(folder.join("model.onnx")).unwrap();
        let proto = tract_onnx::onnx().proto_model_for_read(&mut model.as_slice());
        let graph = proto.unwrap().graph.unwrap();
        let values = graph.input.iter().chain(&graph.output);
        let is_known = values.into_iter().all(is_known);
        let sets = is_known.then(|| {
            let sets = (0..).map(|i| folder.join(format!("test_data_set_{i}")));
            let sets = sets.take_while(|set| set.is_dir());
            sets.map(|set| Set {
                inputs: tensors(&set, "input"),
                outputs: tensors(&set, "output"),
            })
            .collect()
        });
        Case {
            name: name.trim_start_matches("test_").to_owned(),
            operator: operator(&graph),
            model,
            sets,
        }
    }

    /// The case that this one is the same as, with the operator as the function of others that its definition gives.
    pub fn base(&self) -> Option<&str> {
        self.name.split_once("_expanded").map(|(base, _)| base)
    }

    /// Whether all that goes in and out is tensors of element types that are known.
    pub fn is_of_numbers(&self) -> bool {
        self.sets.is_some()
    }

    /// Runs the model and compares.
    ///
    /// # Errors
    /// A sentence: what the engine says, or what is not right.
    pub fn run(&self, engines: &Engines, engine: Engine) -> Result<(), String> {
        let sets = self.sets.as_ref().ok_or("not of numbers")?;
        let network = engines
            .load(&self.model, engine)
            .map_err(|e| e.to_string())?;
        for set in sets {
            let outputs = network.run(&set.inputs).map_err(|e| e.to_string())?;
            if outputs.len() != set.outputs.len() {
                return Err(format!("{} outputs", outputs.len()));
            }
            for (i, (output, right)) in outputs.iter().zip(&set.outputs).enumerate() {
                compare(output, right).map_err(|e| format!("output {i}: {e}"))?;
            }
        }
        Ok(())
    }
}

fn is_known(value: &ValueInfoProto) -> bool {
    match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(Value::TensorType(tensor)) => DataType::from_number(tensor.elem_type).is_some(),
        _ => false,
    }
}

/// The only operator of a graph, or its last one.
fn operator(graph: &GraphProto) -> String {
    let name = |node: &NodeProto| node.op_type.clone();
    graph.node.last().map(name).unwrap_or_default()
}

/// The tensors `PREFIX_0.pb`, `PREFIX_1.pb` and so on of a folder.
fn tensors(folder: &Path, prefix: &str) -> Vec<HostTensor> {
    (0..)
        .map(|i| folder.join(format!("{prefix}_{i}.pb")))
        .map_while(|path| std::fs::File::open(path).ok())
        .map(|file| tensor(&tract_onnx::tensor::proto_from_reader(file).unwrap()))
        .collect()
}

fn tensor(proto: &TensorProto) -> HostTensor {
    let dtype = DataType::from_number(proto.data_type).unwrap();
    let shape = proto.dims.iter().map(|&d| usize::try_from(d).unwrap());
    // All but what needs several bytes packed into one, which these types don't, may also be in lists of their own.
    let bytes: Vec<u8> = if !proto.raw_data.is_empty() {
        proto.raw_data.to_vec()
    } else if !proto.int32_data.is_empty() {
        let narrow = |x: &i32| x.to_le_bytes()[..dtype.bytes()].to_vec();
        proto.int32_data.iter().flat_map(narrow).collect()
    } else {
        let floats = proto.float_data.iter().flat_map(|x| x.to_le_bytes());
        let integers = proto.int64_data.iter().flat_map(|x| x.to_le_bytes());
        let doubles = proto.double_data.iter().flat_map(|x| x.to_le_bytes());
        floats.chain(integers).chain(doubles).collect()
    };
    HostTensor::new(dtype, shape.collect(), bytes).unwrap()
}

fn compare(is: &HostTensor, right: &HostTensor) -> Result<(), String> {
    if is.dtype() != right.dtype() || is.shape() != right.shape() {
        return Err(format!(
            "it is {:?} of {:?}, and {:?} of {:?} is right",
            is.shape(),
            is.dtype(),
            right.shape(),
            right.dtype()
        ));
    }
    let (mut part, much) = TOLERANCE;
    if is.dtype() == DataType::Bfloat16 {
        part = BFLOAT16_TOLERANCE;
    }
    for (i, (is, right)) in is.to_f64().into_iter().zip(right.to_f64()).enumerate() {
        let is_same = is == right || is.is_nan() && right.is_nan();
        let is_close = right.is_finite() && (is - right).abs() <= much + part * right.abs();
        if !(is_same || is_close) {
            return Err(format!("number {i} is {is}, and {right} is right"));
        }
    }
    Ok(())
}
