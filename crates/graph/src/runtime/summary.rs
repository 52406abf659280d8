//! What a network's file says, without an engine.

use std::collections::BTreeMap;

use tract_onnx::pb::{GraphProto, TensorProto};

use super::{check, tract};
use crate::Result;
use crate::onnx::{DataType, ValueInfo};

/// What an ONNX model is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What it takes.
    pub inputs: Vec<ValueInfo>,
    /// What it gives.
    pub outputs: Vec<ValueInfo>,
    /// How many nodes there are of each operator, those of inner graphs included.
    pub operators: BTreeMap<String, usize>,
    /// Tensors that are stored with it.
    pub tensors: usize,
    /// Elements of those that are weights: 64-bit integers are shapes and indices.
    pub parameters: u64,
    /// Bytes of all of them.
    pub tensor_bytes: u64,
}

/// Reads a model, the bytes of an ONNX file, and checks it as it is checked before an engine runs it.
///
/// # Errors
/// [`crate::Error::Onnx`] where the file is unsound or has its weights in others.
pub fn summarize(model: &[u8]) -> Result<Summary> {
    let proto = tract::read(model)?;
    let signature = check::check(&proto)?;
    let mut summary = Summary {
        inputs: signature.inputs,
        outputs: signature.outputs,
        operators: BTreeMap::new(),
        tensors: 0,
        parameters: 0,
        tensor_bytes: 0,
    };
    if let Some(graph) = &proto.graph {
        summary.add(graph);
    }
    Ok(summary)
}

impl Summary {
    fn add(&mut self, graph: &GraphProto) {
        for tensor in &graph.initializer {
            self.add_tensor(tensor);
        }
        for node in &graph.node {
            let operator = match node.domain.as_str() {
                "" | "ai.onnx" => node.op_type.clone(),
                domain => format!("{domain}.{}", node.op_type),
            };
            *self.operators.entry(operator).or_insert(0) += 1;
            for attribute in &node.attribute {
                for inner in attribute.g.iter().chain(&attribute.graphs) {
                    self.add(inner);
                }
            }
        }
    }

    fn add_tensor(&mut self, tensor: &TensorProto) {
        // Their product was checked.
        let elements: u64 = tensor.dims.iter().map(|d| d.unsigned_abs()).product();
        let dtype = DataType::from_number(tensor.data_type);
        self.tensors += 1;
        self.tensor_bytes += dtype.map_or(0, |dtype| dtype.bytes() as u64 * elements);
        if dtype != Some(DataType::Int64) {
            self.parameters += elements;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Dim, Graph, Model, Node, Tensor};

    #[test]
    fn weights_and_nodes_are_counted() {
        let value = |name: &str| ValueInfo {
            name: name.into(),
            dtype: DataType::Float,
            dims: vec![Dim::Symbol("n".into()), Dim::Fixed(2)],
        };
        let add = |b: &str, out: &str| Node {
            name: String::new(),
            op_type: "Add",
            inputs: vec!["x".into(), b.into()],
            outputs: vec![out.into()],
            attributes: Vec::new(),
        };
        let tensor = |name: &str, dtype: DataType| Tensor {
            name: name.into(),
            dtype,
            dims: vec![1, 2],
            bytes: vec![0; 2 * dtype.bytes()].into(),
        };
        let model = Model {
            opset: 18,
            graph: Graph {
                name: "g".into(),
                nodes: vec![add("w", "y"), add("y", "z")],
                initializers: vec![tensor("w", DataType::Float), tensor("i", DataType::Int64)],
                inputs: vec![value("x")],
                outputs: vec![value("z")],
            },
            metadata: Vec::new(),
        };
        let summary = summarize(&model.to_bytes().unwrap()).unwrap();
        let expected = Summary {
            inputs: vec![value("x")],
            outputs: vec![value("z")],
            operators: [("Add".to_owned(), 2)].into(),
            tensors: 2,
            parameters: 2,
            tensor_bytes: 24,
        };
        assert_eq!(summary, expected);
        assert!(summarize(b"no model").is_err());
    }
}
