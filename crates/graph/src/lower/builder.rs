//! The ONNX graph under construction.

use std::collections::{HashMap, HashSet};

use hearth_formats::torch::ScalarType;
use hearth_kernels::Bytes;

use super::Step;
use super::expr::Expr;
use super::value::{Tensor, data_type, element};
use crate::onnx::{Attribute, AttributeValue, Graph, Node, Tensor as Constant};

/// Nodes and constants so far, and the names in use.
#[derive(Default)]
pub(crate) struct Builder {
    pub(crate) graph: Graph,
    names: HashSet<String>,
    /// What names are made from: the node that is being lowered.
    pub(crate) prefix: String,
    /// Small constants by type, dimensions and bytes, so that each is there once.
    shared: HashMap<(ScalarType, Vec<i64>, Vec<u8>), String>,
}

impl Builder {
    /// A name that is not in use: the node's own, or that with a number.
    pub(crate) fn fresh(&mut self) -> String {
        let prefix = if self.prefix.is_empty() {
            "value".to_owned()
        } else {
            self.prefix.clone()
        };
        self.fresh_from(&prefix)
    }

    pub(crate) fn fresh_from(&mut self, prefix: &str) -> String {
        if self.names.insert(prefix.to_owned()) {
            return prefix.to_owned();
        }
        // Numbers rise, so this ends after as many tries as there are names.
        let mut n = 1;
        loop {
            let name = format!("{prefix}.{n}");
            if self.names.insert(name.clone()) {
                return name;
            }
            n += 1;
        }
    }

    /// Keeps a name from being given to anything else.
    pub(crate) fn reserve(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// Adds a node with one result; its name.
    pub(crate) fn emit(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        self.emit_many(op, inputs, attributes, 1).remove(0)
    }

    /// Adds a node with several results; their names.
    pub(crate) fn emit_many(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
        results: usize,
    ) -> Vec<String> {
        let outputs: Vec<String> = (0..results).map(|_| self.fresh()).collect();
        self.graph.nodes.push(Node {
            name: outputs[0].clone(),
            op_type: op,
            inputs: inputs.iter().map(|&s| s.to_owned()).collect(),
            outputs: outputs.clone(),
            attributes,
        });
        outputs
    }

    /// Adds a constant; its name. Small ones that are equal are one.
    pub(crate) fn constant(
        &mut self,
        dtype: ScalarType,
        dims: &[i64],
        bytes: Vec<u8>,
    ) -> Step<String> {
        /// Longer constants are not compared.
        const SMALL: usize = 256;
        let key = (bytes.len() <= SMALL).then(|| (dtype, dims.to_vec(), bytes.clone()));
        if let Some(name) = key.as_ref().and_then(|key| self.shared.get(key)) {
            return Ok(name.clone());
        }
        let name = self.fresh_from("const");
        self.graph.initializers.push(Constant {
            name: name.clone(),
            dtype: data_type(dtype)?,
            dims: dims.to_vec(),
            bytes: Bytes::from(bytes),
        });
        if let Some(key) = key {
            self.shared.insert(key, name.clone());
        }
        Ok(name)
    }

    /// A constant vector of 64-bit integers.
    pub(crate) fn ints(&mut self, values: &[i64]) -> Step<String> {
        let bytes = values.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.constant(ScalarType::Long, &[values.len() as i64], bytes)
    }

    /// A constant without dimensions.
    pub(crate) fn number(&mut self, dtype: ScalarType, value: f64) -> Step<String> {
        self.constant(dtype, &[], element(dtype, value)?)
    }

    /// A 64-bit integer without dimensions, exactly.
    pub(crate) fn long(&mut self, value: i64) -> Step<String> {
        self.constant(ScalarType::Long, &[], value.to_le_bytes().to_vec())
    }

    /// A constant tensor from floats.
    pub(crate) fn floats(
        &mut self,
        dtype: ScalarType,
        dims: &[i64],
        values: impl IntoIterator<Item = f64>,
    ) -> Step<String> {
        /// More elements are not made up.
        const MOST: i64 = 1 << 24;
        let count = dims.iter().try_fold(1i64, |n, &d| n.checked_mul(d));
        if count.is_none_or(|count| count > MOST) {
            return Err(format!("a constant of the shape {dims:?}"));
        }
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend(element(dtype, value)?);
        }
        self.constant(dtype, dims, bytes)
    }

    /// The tensor in another type.
    pub(crate) fn cast(&mut self, tensor: &Tensor, dtype: ScalarType) -> Step<Tensor> {
        if tensor.dtype == dtype {
            return Ok(tensor.clone());
        }
        let to = data_type(dtype)? as i64;
        Ok(Tensor {
            name: self.emit("Cast", &[&tensor.name], vec![int("to", to)]),
            dtype,
            dims: tensor.dims.clone(),
            splat: None,
        })
    }

    /// A tensor with dimensions that the caller knows.
    pub(crate) fn tensor(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
        dtype: ScalarType,
        dims: Vec<Expr>,
    ) -> Tensor {
        Tensor {
            name: self.emit(op, inputs, attributes),
            dtype,
            dims,
            splat: None,
        }
    }
}

/// An attribute that is an integer.
pub(crate) fn int(name: &'static str, value: i64) -> Attribute {
    Attribute {
        name,
        value: AttributeValue::Int(value),
    }
}

/// An attribute that is a list of integers.
pub(crate) fn ints(name: &'static str, value: impl Into<Vec<i64>>) -> Attribute {
    Attribute {
        name,
        value: AttributeValue::Ints(value.into()),
    }
}

/// An attribute that is a floating-point number.
pub(crate) fn float(name: &'static str, value: f64) -> Attribute {
    Attribute {
        name,
        value: AttributeValue::Float(value as f32),
    }
}

/// An attribute that is a string.
pub(crate) fn string(name: &'static str, value: impl Into<String>) -> Attribute {
    Attribute {
        name,
        value: AttributeValue::String(value.into()),
    }
}

/// An attribute that is a tensor of one element.
pub(crate) fn one_element(name: &'static str, dtype: ScalarType, value: f64) -> Step<Attribute> {
    Ok(Attribute {
        name,
        value: AttributeValue::Tensor(Constant {
            name: String::new(),
            dtype: data_type(dtype)?,
            dims: vec![1],
            bytes: Bytes::from(element(dtype, value)?),
        }),
    })
}
