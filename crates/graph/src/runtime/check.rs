//! ONNX files, before an engine sees them: whether they are sound, and what they take and give.
//!
//! Engines trust a file's numbers: a shape without the bytes for it is allocated, a path to weights elsewhere followed.
//! So that is looked at here, once for all engines.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
use tract_onnx::pb::type_proto::Value as TypeValue;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::defaults;
use crate::onnx::{DataType, Dim, ValueInfo};
use crate::{Error, Result};

/// Most elements of a tensor that a file gives the shape of without its elements.
const MOST_ELEMENTS: i64 = 1 << 29;

/// What a network takes and gives.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    /// The inputs that are not weights.
    pub inputs: Vec<ValueInfo>,
    /// The numbers that inputs are made of where they are left out.
    pub defaults: Vec<Option<f64>>,
    pub outputs: Vec<ValueInfo>,
    /// Of each output, whether its numbers are shares or probabilities: a softmax or a sigmoid makes them.
    pub are_scores: Vec<bool>,
}

/// Checks a model, and tells its signature.
///
/// # Errors
/// [`Error::Onnx`]: weights in other files, or fewer than their shapes say; nodes that use what no node before them gives;
/// constants of absurd shapes; inputs or outputs that are no tensors.
pub(super) fn check(model: &ModelProto) -> Result<Signature> {
    let unsound = |problem: String| Error::Onnx { problem };
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| unsound("it has no graph".into()))?;
    check_graph(graph, &HashSet::new()).map_err(unsound)?;
    // Older files name their weights among the inputs too.
    let weights: HashSet<&str> = graph.initializer.iter().map(|w| w.name.as_str()).collect();
    let inputs = graph.input.iter();
    let inputs = inputs.filter(|input| !weights.contains(input.name.as_str()));
    let infos = |values: &mut dyn Iterator<Item = &ValueInfoProto>| {
        values.map(value_info).collect::<Result<Vec<_>, String>>()
    };
    let inputs: Vec<ValueInfo> = infos(&mut inputs.into_iter()).map_err(unsound)?;
    let metadata = model.metadata_props.iter();
    let metadata = metadata.map(|entry| (entry.key.as_str(), entry.value.as_str()));
    Ok(Signature {
        defaults: defaults::of_metadata(&inputs, metadata),
        inputs,
        outputs: infos(&mut graph.output.iter()).map_err(unsound)?,
        are_scores: { graph.output.iter() }
            .map(|output| are_scores(graph, &output.name))
            .collect(),
    })
}

/// Whether a softmax or a sigmoid makes a value, seen through nodes that only give it another form.
fn are_scores(graph: &GraphProto, name: &str) -> bool {
    let mut name = name;
    // A graph's nodes come after those whose values they use.
    for node in graph.node.iter().rev() {
        if !node.output.iter().any(|output| output == name) {
            continue;
        }
        match (node.op_type.as_str(), node.input.first()) {
            ("Softmax" | "Sigmoid", _) => return true,
            (
                "Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze",
                Some(input),
            ) => {
                name = input;
            }
            _ => return false,
        }
    }
    false
}

/// Checks a graph within `outer`, the names that it may use besides its own.
fn check_graph(graph: &GraphProto, outer: &HashSet<&str>) -> Result<(), String> {
    let mut given = outer.clone();
    let mut constants = HashMap::new();
    given.extend(graph.input.iter().map(|input| input.name.as_str()));
    for tensor in &graph.initializer {
        check_tensor(tensor)?;
        given.insert(&tensor.name);
        constants.insert(tensor.name.as_str(), tensor);
    }
    for tensor in &graph.sparse_initializer {
        given.extend(tensor.values.iter().map(|values| values.name.as_str()));
    }
    for (i, node) in graph.node.iter().enumerate() {
        let wrong = |problem: String| Err(format!("node {i} ({}): {problem}", node.op_type));
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            if !given.contains(input.as_str()) {
                return wrong(format!("it uses {input:?}, which nothing before it gives"));
            }
        }
        for attribute in &node.attribute {
            for tensor in attribute.t.iter().chain(&attribute.tensors) {
                check_tensor(tensor)?;
            }
            for inner in attribute.g.iter().chain(&attribute.graphs) {
                check_graph(inner, &given)?;
            }
        }
        if let ("Constant", Some(value)) = (node.op_type.as_str(), constant(node))
            && let [name] = node.output.as_slice()
        {
            constants.insert(name, value);
        }
        if let Some(shape) = given_shape(node).and_then(|name| constants.get(name))
            && let Some(dims) = integers(shape)
            && elements(&dims).is_none_or(|n| n > MOST_ELEMENTS)
        {
            return wrong(format!("a tensor of shape {dims:?} is too large"));
        }
        given.extend(node.output.iter().map(String::as_str));
    }
    for output in &graph.output {
        if !given.contains(output.name.as_str()) {
            return Err(format!("nothing gives the output {:?}", output.name));
        }
    }
    Ok(())
}

/// The value of a constant node.
fn constant(node: &NodeProto) -> Option<&TensorProto> {
    let value = node.attribute.iter().find(|a| a.name == "value")?;
    value.t.as_ref()
}

/// The input that is the shape of what a node gives, however little else it is given.
fn given_shape(node: &NodeProto) -> Option<&str> {
    let at = match node.op_type.as_str() {
        "ConstantOfShape" => 0,
        "Expand" => 1,
        _ => return None,
    };
    node.input.get(at).map(String::as_str)
}

/// A vector of 64-bit integers, as shapes are.
fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != DataType::Int64 as i32 {
        return None;
    }
    if tensor.raw_data.is_empty() {
        return Some(tensor.int64_data.clone());
    }
    let (numbers, _) = tensor.raw_data.as_chunks();
    Some(numbers.iter().map(|n| i64::from_le_bytes(*n)).collect())
}

/// The number of elements of a shape; `None` where there is no such shape.
fn elements(dims: &[i64]) -> Option<i64> {
    dims.iter()
        .try_fold(1i64, |n, &d| n.checked_mul(d).filter(|n| *n >= 0))
}

fn check_tensor(tensor: &TensorProto) -> Result<(), String> {
    /// The number that files have for weights that lie elsewhere.
    const EXTERNAL: i32 = 1;
    let wrong = |problem: &str| Err(format!("the tensor {:?}: {problem}", tensor.name));
    if tensor.data_location == Some(EXTERNAL) {
        return wrong("it lies in another file; save the model as one file");
    }
    let held = match DataType::from_number(tensor.data_type) {
        Some(dtype) if !tensor.raw_data.is_empty() => tensor.raw_data.len() / dtype.bytes(),
        // The smallest elements take a bit; complex numbers are two.
        _ => [
            tensor.raw_data.len() * 8,
            tensor.float_data.len(),
            tensor.int32_data.len() * 8,
            tensor.int64_data.len(),
            tensor.double_data.len(),
            tensor.uint64_data.len(),
            tensor.string_data.len(),
        ]
        .into_iter()
        .sum(),
    };
    match elements(&tensor.dims).map(usize::try_from) {
        Some(Ok(n)) if n <= held => Ok(()),
        _ => wrong(&format!(
            "the shape {:?} is not that of the {held} elements it holds",
            tensor.dims
        )),
    }
}

fn value_info(value: &ValueInfoProto) -> Result<ValueInfo, String> {
    let name = &value.name;
    let Some(TypeValue::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(format!("{name} is no tensor"));
    };
    let dtype = DataType::from_number(tensor.elem_type).ok_or_else(|| {
        let number = tensor.elem_type;
        format!("{name} has elements of the unsupported type {number}")
    })?;
    let Some(shape) = &tensor.shape else {
        return Err(format!("{name} has no shape"));
    };
    let dims = shape.dim.iter().map(|dim| match &dim.value {
        Some(DimValue::DimValue(n)) => Dim::Fixed(*n),
        Some(DimValue::DimParam(name)) if !name.is_empty() => Dim::Symbol(name.clone()),
        _ => Dim::Unknown,
    });
    Ok(ValueInfo {
        name: name.clone(),
        dtype,
        dims: dims.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, dims: &[i64], raw_data: &[u8]) -> TensorProto {
        TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: DataType::Int64 as i32,
            raw_data: raw_data.to_vec(),
            ..TensorProto::default()
        }
    }

    fn node(op_type: &str, input: &str, output: &str) -> NodeProto {
        NodeProto {
            op_type: op_type.into(),
            input: vec![input.into()],
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn problem(graph: GraphProto) -> String {
        let model = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        check(&model).unwrap_err().to_string()
    }

    fn with(initializer: TensorProto, nodes: Vec<NodeProto>) -> GraphProto {
        GraphProto {
            initializer: vec![initializer],
            node: nodes,
            ..GraphProto::default()
        }
    }

    #[test]
    fn what_a_file_only_claims_is_refused() {
        let absurd = named("w", &[1 << 40, 1 << 20], &[0; 8]);
        assert!(problem(with(absurd, vec![])).contains("the tensor \"w\": the shape ["));
        let negative = named("w", &[-1], &[0; 8]);
        assert!(problem(with(negative, vec![])).contains("1 elements"));
        let missing = named("w", &[4], &[]);
        assert!(problem(with(missing, vec![])).contains("0 elements"));
        let elsewhere = TensorProto {
            data_location: Some(1),
            ..named("w", &[1], &[0; 8])
        };
        assert!(problem(with(elsewhere, vec![])).contains("another file"));
        let huge = named("shape", &[1], &(1i64 << 40).to_le_bytes());
        let fill = node("ConstantOfShape", "shape", "y");
        assert!(problem(with(huge, vec![fill])).contains("[1099511627776] is too large"));
    }

    #[test]
    fn nodes_come_after_what_they_use() {
        let one = || named("w", &[1], &[0; 8]);
        let cycle = vec![node("Neg", "b", "a"), node("Neg", "a", "b")];
        assert_eq!(
            problem(with(one(), cycle)),
            "not a sound ONNX model: node 0 (Neg): it uses \"b\", which nothing before it gives"
        );
        let mut graph = with(one(), vec![node("Neg", "w", "a")]);
        graph.output.push(ValueInfoProto {
            name: "z".into(),
            ..ValueInfoProto::default()
        });
        assert!(problem(graph).contains("nothing gives the output \"z\""));
        assert!(
            check(&ModelProto::default())
                .unwrap_err()
                .to_string()
                .contains("no graph")
        );
    }

    #[test]
    fn scores_are_told_from_other_numbers() {
        let nodes = vec![
            node("Softmax", "x", "a"),
            node("Reshape", "a", "b"),
            node("Neg", "a", "c"),
            node("Sigmoid", "x", "d"),
        ];
        let graph = with(named("x", &[1], &[0; 8]), nodes);
        for (name, scores) in [
            ("a", true),
            ("b", true),
            ("c", false),
            ("d", true),
            ("x", false),
        ] {
            assert_eq!(are_scores(&graph, name), scores, "{name}");
        }
    }
}
