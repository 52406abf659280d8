//! Writing the nodes that stand for one.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

use crate::onnx::DataType;

/// A node, and the nodes that are to stand for it.
pub(super) struct Body<'a> {
    node: &'a NodeProto,
    opset: i64,
    /// What every name in here begins with.
    prefix: String,
    pub(super) nodes: Vec<NodeProto>,
}

impl<'a> Body<'a> {
    pub(super) fn new(node: &'a NodeProto, opset: i64) -> Body<'a> {
        // What a node gives has a name that nothing else has.
        let name = node.output.iter().find(|name| !name.is_empty());
        Body {
            node,
            opset,
            prefix: format!("{}/{}", name.map_or("", String::as_str), node.op_type),
            nodes: Vec::new(),
        }
    }

    /// The version of the operators.
    pub(super) fn opset(&self) -> i64 {
        self.opset
    }

    /// An input's name, where it is given.
    pub(super) fn input(&self, at: usize) -> Option<&'a str> {
        let name = self.node.input.get(at)?;
        (!name.is_empty()).then_some(name)
    }

    /// A setting of the node.
    pub(super) fn setting(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    /// A setting that is an integer.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.setting(name).map(|a| a.i)
    }

    /// Adds a node, and gives the name of its output.
    pub(super) fn add(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = format!("{}/{}", self.prefix, self.nodes.len());
        self.nodes.push(NodeProto {
            op_type: op_type.to_owned(),
            name: name.clone(),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![name.clone()],
            attribute: attributes,
            ..NodeProto::default()
        });
        name
    }

    /// A number, of the type of another value's elements.
    pub(super) fn number(&mut self, x: f32, like: &str) -> String {
        let x = self.constant(TensorProto {
            data_type: DataType::Float as i32,
            float_data: vec![x],
            ..TensorProto::default()
        });
        self.add("CastLike", &[&x, like], vec![])
    }

    /// An integer, of the type of another value's elements.
    pub(super) fn integer(&mut self, n: i64, like: &str) -> String {
        let n = self.constant(TensorProto {
            data_type: DataType::Int64 as i32,
            int64_data: vec![n],
            ..TensorProto::default()
        });
        self.add("CastLike", &[&n, like], vec![])
    }

    fn constant(&mut self, tensor: TensorProto) -> String {
        let value = AttributeProto {
            name: "value".into(),
            r#type: AttributeType::Tensor as i32,
            t: Some(tensor),
            ..AttributeProto::default()
        };
        self.add("Constant", &[], vec![value])
    }

    /// `Squeeze` or `Unsqueeze` of dimensions, which later versions take as an input.
    pub(super) fn squeeze(&mut self, op_type: &str, x: &str, axes: &[i64]) -> String {
        if self.opset < 13 {
            return self.add(op_type, &[x], vec![ints("axes", axes)]);
        }
        let axes = self.constant(TensorProto {
            dims: vec![axes.len() as i64],
            data_type: DataType::Int64 as i32,
            int64_data: axes.to_vec(),
            ..TensorProto::default()
        });
        self.add(op_type, &[x, &axes], vec![])
    }

    /// Makes a value one of the node's outputs.
    pub(super) fn give(&mut self, at: usize, value: &str) {
        if let Some(name) = self.node.output.get(at).filter(|name| !name.is_empty()) {
            self.add("Identity", &[value], vec![]);
            if let Some(identity) = self.nodes.last_mut() {
                identity.output = vec![name.clone()];
            }
        }
    }
}

/// A setting that is an integer.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

/// A setting that is integers.
pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}
