//! Whether a graph makes sense: every value is given once, before it is used, and described.

use std::collections::HashMap;

use super::schema::{Argument, ExportedProgram, Graph, InputSpec, OutputSpec, SymArgument};
use crate::torch::MAX_DIMENSIONS;
use crate::{Error, Result};

/// Checks a program. Errors call the file `label`.
pub(super) fn check(program: &ExportedProgram, label: &str) -> Result<()> {
    let module = &program.graph_module;
    let graph = &module.graph;
    check_graph(graph, label, "graph")?;
    let (inputs, specs) = (&graph.inputs, &module.signature.input_specs);
    if inputs.len() != specs.len() {
        return Err(Error::field(
            label,
            "signature.input_specs",
            format!("{} of them for {} inputs", specs.len(), inputs.len()),
        ));
    }
    for (input, spec) in inputs.iter().zip(specs) {
        let named = match spec {
            InputSpec::Parameter(arg, _)
            | InputSpec::Buffer(arg, _)
            | InputSpec::TensorConstant(arg, _) => arg,
            _ => continue,
        };
        if !matches!(input, Argument::Tensor(name) if name == named) {
            return Err(Error::field(
                label,
                "signature.input_specs",
                format!("it has {named:?} where the graph has {input:?}"),
            ));
        }
    }
    let (outputs, specs) = (&graph.outputs, &module.signature.output_specs);
    if outputs.len() != specs.len() {
        return Err(Error::field(
            label,
            "signature.output_specs",
            format!("{} of them for {} outputs", specs.len(), outputs.len()),
        ));
    }
    for spec in specs {
        if let OutputSpec::User(arg) = spec {
            for name in names(arg) {
                if !graph.tensor_values.contains_key(name)
                    && !graph.sym_int_values.contains_key(name)
                {
                    return Err(Error::field(
                        label,
                        "signature.output_specs",
                        format!("it names {name:?}, which the graph does not describe"),
                    ));
                }
            }
        }
    }
    Ok(())
}

fn check_graph(graph: &Graph, label: &str, path: &str) -> Result<()> {
    // Where each name is given: 0 for inputs, else the node's number from 1.
    let mut given: HashMap<&str, usize> = HashMap::new();
    let results = std::iter::once(&graph.inputs).chain(graph.nodes.iter().map(|n| &n.outputs));
    for (place, arguments) in results.enumerate() {
        for name in arguments.iter().flat_map(names) {
            if given.insert(name, place).is_some() {
                return Err(Error::field(
                    label,
                    format!("{path}: {name}"),
                    "it is given twice",
                ));
            }
        }
        for name in arguments.iter().flat_map(tensor_names) {
            let Some(meta) = graph.tensor_values.get(name) else {
                return Err(Error::field(
                    label,
                    format!("{path}.tensor_values.{name}"),
                    "it is missing",
                ));
            };
            if meta.sizes.len() > MAX_DIMENSIONS {
                return Err(Error::field(
                    label,
                    format!("{path}.tensor_values.{name}.sizes"),
                    format!(
                        "{} dimensions are more than {MAX_DIMENSIONS}",
                        meta.sizes.len()
                    ),
                ));
            }
        }
    }
    let known = |name: &str, place: usize, field: &dyn Fn() -> String| match given.get(name) {
        Some(&at) if at < place => Ok(()),
        Some(_) => Err(Error::field(
            label,
            field(),
            format!("it uses {name:?}, which only this node or a later one gives: a cycle"),
        )),
        None => Err(Error::field(
            label,
            field(),
            format!("it uses {name:?}, which nothing gives"),
        )),
    };
    for (i, node) in graph.nodes.iter().enumerate() {
        for input in &node.inputs {
            let field = || format!("{path}.nodes[{i}] ({}): {}", node.target, input.name);
            for name in names(&input.arg) {
                known(name, i + 1, &field)?;
            }
            if let Argument::Graph(inner) = &input.arg {
                check_graph(inner, label, &field())?;
            }
        }
    }
    for (i, output) in graph.outputs.iter().enumerate() {
        for name in names(output) {
            known(name, graph.nodes.len() + 1, &|| {
                format!("{path}.outputs[{i}]")
            })?;
        }
    }
    Ok(())
}

/// The names of tensors in an argument.
fn tensor_names(arg: &Argument) -> Vec<&str> {
    match arg {
        Argument::Tensor(name) => vec![name],
        Argument::Tensors(list) => list.iter().map(String::as_str).collect(),
        Argument::OptionalTensors(list) => list.iter().flatten().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The names of tensors and computed integers in an argument.
fn names(arg: &Argument) -> Vec<&str> {
    match arg {
        Argument::SymInt(SymArgument::Name(name)) => vec![name],
        Argument::SymInts(list) => list
            .iter()
            .filter_map(|n| match n {
                SymArgument::Name(name) => Some(name.as_str()),
                SymArgument::Int(_) => None,
            })
            .collect(),
        other => tensor_names(other),
    }
}
