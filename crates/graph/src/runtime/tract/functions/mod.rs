//! Operators that tract lacks and that are functions of others: written out before it sees the model.
//!
//! The functions are those of ONNX's operator documents.

mod body;
mod loss;
mod pool;
mod swiglu;

use body::Body;
use tract_onnx::pb::{GraphProto, ModelProto};

/// Writes the nodes that stand for one; `None` where it is set in a way that the function does not have.
type Function = fn(&mut Body) -> Option<()>;

const FUNCTIONS: [(&str, Function); 4] = [
    ("LpPool", pool::lp_pool),
    ("NegativeLogLikelihoodLoss", loss::negative_log_likelihood),
    ("SoftmaxCrossEntropyLoss", loss::softmax_cross_entropy),
    ("SwiGLU", swiglu::swiglu),
];

/// Writes out all such operators of a model.
pub(super) fn write_out(model: &mut ModelProto) {
    let sets = model.opset_import.iter();
    let mut sets = sets.filter(|set| set.domain.is_empty() || set.domain == "ai.onnx");
    let opset = sets.next().map_or(1, |set| set.version);
    if let Some(graph) = &mut model.graph {
        write_out_graph(graph, opset);
    }
}

fn write_out_graph(graph: &mut GraphProto, opset: i64) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                write_out_graph(inner, opset);
            }
        }
        let function = FUNCTIONS.iter().find(|(name, _)| *name == node.op_type);
        let mut body = Body::new(&node, opset);
        match function.and_then(|(_, function)| function(&mut body)) {
            Some(()) => nodes.extend(body.nodes),
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
}
