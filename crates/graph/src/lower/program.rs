//! The whole program: inputs, nodes in order, outputs.

use std::collections::{HashMap, HashSet};

use hearth_formats::pt2::{
    Argument, Graph, InputSpec, NamedArgument, Node, OutputSpec, Pt2Archive, SymArgument,
};
use hearth_formats::torch::ScalarType;
use hearth_kernels::Bytes;

use super::alias::Aliases;
use super::builder::Builder;
use super::call::Call;
use super::expr::Expr;
use super::outputs::output_names;
use super::sizes::Sizes;
use super::value::{Meta, Tensor, Value, data_type, expr_of};
use super::{OPSET, Step, ops};
use crate::onnx::{Dim, Model, Node as OnnxNode, Tensor as Constant, ValueInfo};
use crate::{Error, Result};

/// The names of a graph and what they stand for. A graph inside of another has its own.
pub(crate) struct Scope {
    values: HashMap<String, Value>,
    /// What is known of each tensor. What an archive says of one that nobody asks for may make no sense.
    metas: HashMap<String, Step<Meta>>,
    computed: HashMap<String, Step<Expr>>,
}

impl Scope {
    fn new(graph: &Graph) -> Scope {
        Scope {
            values: HashMap::new(),
            metas: graph
                .tensor_values
                .iter()
                .map(|(name, meta)| (name.clone(), Meta::new(meta)))
                .collect(),
            computed: graph
                .sym_int_values
                .iter()
                .map(|(name, n)| (name.clone(), expr_of(n)))
                .collect(),
        }
    }

    /// A scope of which all is known.
    pub(crate) fn known(metas: HashMap<String, Meta>, computed: HashMap<String, Expr>) -> Scope {
        Scope {
            values: HashMap::new(),
            metas: metas
                .into_iter()
                .map(|(name, meta)| (name, Ok(meta)))
                .collect(),
            computed: computed
                .into_iter()
                .map(|(name, n)| (name, Ok(n)))
                .collect(),
        }
    }

    /// A value by name.
    pub(crate) fn get(&self, name: &str) -> Step<Value> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        match self.computed.get(name) {
            Some(n) => n.clone().map(Value::Int),
            None => Err(format!("the value {name} is not one that a lowering gives")),
        }
    }

    /// A tensor by name.
    pub(crate) fn tensor(&self, name: &str) -> Step<Tensor> {
        match self.get(name)? {
            Value::Tensor(tensor) => Ok(tensor),
            Value::Int(_) => Err(format!("{name} should be a tensor, it is an integer")),
        }
    }

    /// What the archive says of a tensor.
    pub(crate) fn meta(&self, name: &str) -> Step<Meta> {
        let meta = self.metas.get(name).cloned();
        meta.unwrap_or_else(|| Err(format!("the archive does not describe {name}")))
    }

    /// Gives a name a value.
    pub(crate) fn set(&mut self, name: String, value: Value) {
        self.values.insert(name, value);
    }
}

/// Lowers the program of an archive to an ONNX model. Weights that the archive has laid out densely are not copied.
///
/// # Errors
/// The program uses operators without a lowering, all of which are named; uses one in a way that is not lowered; has
/// inputs or outputs that are no tensors, or state that outlives a call.
pub fn lower(archive: &Pt2Archive) -> Result<Model> {
    let program = archive.program();
    let graph = &program.graph_module.graph;
    let file = archive.label();
    let problem = |problem: String| Error::Program {
        file: file.to_owned(),
        problem,
    };
    let spec = program
        .graph_module
        .module_call_graph
        .first()
        .and_then(|entry| entry.signature.as_ref())
        .map_or("", |signature| &signature.out_spec);
    let specs = &program.graph_module.signature.output_specs;
    let users: Vec<&Argument> = specs
        .iter()
        .filter_map(|spec| match spec {
            OutputSpec::User(arg) => Some(arg),
            _ => None,
        })
        .collect();
    if let Some(kind) = specs.iter().find_map(|spec| match spec {
        // What is written into the caller's own tensors has no meaning for one who sends a request.
        OutputSpec::Other("user_input_mutation") => None,
        OutputSpec::Other(kind) => Some(kind),
        _ => None,
    }) {
        return Err(problem(format!(
            "an output that is a {kind}: the program keeps state from call to call"
        )));
    }
    // Inputs have the first choice of names, then outputs, then all else.
    let inputs = program.graph_module.signature.input_specs.iter();
    let inputs = inputs.filter_map(|spec| match spec {
        InputSpec::User(Argument::Tensor(name)) => Some(name.as_str()),
        _ => None,
    });
    let names = output_names(spec, &users, inputs);
    let mut inputs = Vec::new();
    for spec in &program.graph_module.signature.input_specs {
        match spec {
            InputSpec::User(Argument::Tensor(name)) => {
                inputs.push(ProgramInput::User(name.clone()));
            }
            // What was a constant when the program was exported is one in it.
            InputSpec::User(
                Argument::None
                | Argument::Int(_)
                | Argument::Float(_)
                | Argument::Bool(_)
                | Argument::String(_),
            )
            | InputSpec::Constant(_) => {}
            InputSpec::User(other) => {
                return Err(problem(format!("an input that is no tensor: {other:?}")));
            }
            InputSpec::Parameter(arg, name)
            | InputSpec::Buffer(arg, name)
            | InputSpec::TensorConstant(arg, name) => {
                if let Some(tensor) = archive.dense(spec)? {
                    inputs.push(ProgramInput::Weight(ProgramWeight {
                        argument: arg.clone(),
                        name: name.clone(),
                        dtype: tensor.dtype,
                        sizes: tensor.sizes,
                        bytes: tensor.bytes,
                    }));
                }
            }
            InputSpec::Other(kind) => return Err(problem(format!("an input that is a {kind}"))),
            _ => return Err(problem("an input of an unknown kind".into())),
        }
    }
    lower_program(Program {
        file,
        graph,
        scope: Scope::new(graph),
        inputs,
        outputs: names.into_iter().zip(users.into_iter().cloned()).collect(),
        metadata: vec![("torch_version".into(), program.torch_version.clone())],
    })
}

/// A graph, and what its inputs and outputs are.
pub(crate) struct Program<'a> {
    /// What errors call the file.
    pub(crate) file: &'a str,
    pub(crate) graph: &'a Graph,
    /// What is known of the graph's values.
    pub(crate) scope: Scope,
    pub(crate) inputs: Vec<ProgramInput>,
    /// With the names that they shall have.
    pub(crate) outputs: Vec<(String, Argument)>,
    pub(crate) metadata: Vec<(String, String)>,
}

/// An input of a graph.
pub(crate) enum ProgramInput {
    /// What the user gives, by its name.
    User(String),
    /// A tensor that is there.
    Weight(ProgramWeight),
}

/// A tensor that is there: parameter, buffer or constant.
pub(crate) struct ProgramWeight {
    /// Its name in the graph.
    pub(crate) argument: String,
    /// The name that it had in the module.
    pub(crate) name: String,
    pub(crate) dtype: ScalarType,
    pub(crate) sizes: Vec<usize>,
    /// The elements in row-major order.
    pub(crate) bytes: Bytes,
}

/// Lowers a graph to an ONNX model.
///
/// # Errors
/// As of [`lower`].
pub(crate) fn lower_program(program: Program<'_>) -> Result<Model> {
    let Program {
        file,
        graph,
        mut scope,
        ..
    } = program;
    let problem = |problem: String| Error::Program {
        file: file.to_owned(),
        problem,
    };
    let mut missing = Vec::new();
    find_missing(graph, &mut missing);
    if !missing.is_empty() {
        return Err(Error::UnsupportedOperators {
            file: file.to_owned(),
            operators: missing,
        });
    }
    let mut lowerer = Lowerer {
        file,
        b: Builder::default(),
        sizes: Sizes::default(),
    };
    for (name, _) in &program.outputs {
        lowerer.b.reserve(name);
    }
    let mut inputs = Vec::new();
    for input in program.inputs {
        match input {
            ProgramInput::User(name) => {
                let tensor = lowerer
                    .input(&scope, &name)
                    .map_err(|e| problem(format!("input {name}: {e}")))?;
                inputs.push(value_info(&tensor).map_err(problem)?);
                scope.set(name, Value::Tensor(tensor));
            }
            ProgramInput::Weight(weight) => {
                let ProgramWeight { name, dtype, .. } = weight;
                let constant = Constant {
                    name: lowerer.b.fresh_from(&name),
                    dtype: data_type(dtype).map_err(|e| problem(format!("{name}: {e}")))?,
                    dims: weight.sizes.iter().map(|&d| d as i64).collect(),
                    bytes: weight.bytes,
                };
                let value = Tensor {
                    name: constant.name.clone(),
                    dtype,
                    dims: constant.dims.iter().map(|&d| Expr::Int(d)).collect(),
                    splat: None,
                };
                lowerer.b.graph.initializers.push(constant);
                scope.set(weight.argument, Value::Tensor(value));
            }
        }
    }
    lowerer.nodes(graph, &mut scope)?;

    let mut outputs = Vec::new();
    for (name, arg) in program.outputs {
        let value = match arg {
            Argument::Tensor(value) => scope.get(&value),
            Argument::SymInt(SymArgument::Name(value)) => scope.get(&value),
            Argument::SymInt(SymArgument::Int(n)) | Argument::Int(n) => {
                Ok(Value::Int(Expr::Int(n)))
            }
            Argument::None => continue,
            other => Err(format!("it is no tensor: {other:?}")),
        };
        let value = value.map_err(|e| problem(format!("output {name}: {e}")))?;
        outputs.push((name, value));
    }
    lowerer.finish(inputs, outputs, program.metadata)
}

/// Collects the operators without a lowering, each with the first node that uses it.
fn find_missing(graph: &Graph, missing: &mut Vec<(String, String)>) {
    for node in &graph.nodes {
        if results(node).is_empty() || INLINED.contains(&node.target.as_str()) {
            for input in &node.inputs {
                if let Argument::Graph(inner) = &input.arg {
                    find_missing(inner, missing);
                }
            }
            continue;
        }
        let target = short(&node.target);
        if ops::find(target).is_none() && !missing.iter().any(|(known, _)| known == target) {
            missing.push((target.to_owned(), node_name(node)));
        }
    }
}

/// Operators that run a graph once, as it is.
const INLINED: &[&str] = &[
    "torch.ops.higher_order.wrap_with_set_grad_enabled",
    AUTOCAST,
];
/// That of `torch.autocast`.
const AUTOCAST: &str = "torch.ops.higher_order.wrap_with_autocast";

/// Whether the arguments of an autocast, `device_type, dtype, enabled, cache_enabled`, ask for it.
fn computes_otherwise(arguments: &[NamedArgument]) -> bool {
    !matches!(
        arguments.get(2).map(|a| &a.arg),
        Some(Argument::Bool(false))
    )
}

/// An operator's name without the module that all share.
fn short(target: &str) -> &str {
    target.strip_prefix("torch.ops.").unwrap_or(target)
}

/// The names of the tensors that a node gives.
fn results(node: &Node) -> Vec<String> {
    node.outputs
        .iter()
        .flat_map(|output| match output {
            Argument::Tensor(name) => vec![name.clone()],
            Argument::Tensors(list) => list.clone(),
            Argument::OptionalTensors(list) => list.iter().flatten().cloned().collect(),
            _ => Vec::new(),
        })
        .collect()
}

fn node_name(node: &Node) -> String {
    node.name
        .clone()
        .or_else(|| results(node).into_iter().next())
        .unwrap_or_else(|| "without a name".to_owned())
}

struct Lowerer<'a> {
    file: &'a str,
    b: Builder,
    sizes: Sizes,
}

impl Lowerer<'_> {
    fn input(&mut self, scope: &Scope, name: &str) -> Step<Tensor> {
        let meta = scope.meta(name)?;
        let tensor = Tensor {
            name: self.b.fresh_from(name),
            dtype: meta.dtype,
            dims: meta.dims,
            splat: None,
        };
        self.sizes.learn(&tensor);
        Ok(tensor)
    }

    fn nodes(&mut self, graph: &Graph, scope: &mut Scope) -> Result<()> {
        let mut aliases = Aliases::new(graph);
        for (i, node) in graph.nodes.iter().enumerate() {
            let results = results(node);
            // Nodes that only compute sizes, which the archive gives as expressions, or assert.
            if results.is_empty() {
                continue;
            }
            self.b.prefix = results[0].clone();
            if INLINED.contains(&node.target.as_str()) {
                self.inline(node, &results, scope)?;
                continue;
            }
            self.node(node, i, results, scope, &mut aliases)
                .map_err(|problem| self.error(node, problem))?;
        }
        Ok(())
    }

    fn error(&self, node: &Node, problem: String) -> Error {
        Error::Node {
            file: self.file.to_owned(),
            node: node_name(node),
            operator: short(&node.target).to_owned(),
            problem,
        }
    }

    fn node(
        &mut self,
        node: &Node,
        at: usize,
        results: Vec<String>,
        scope: &mut Scope,
        aliases: &mut Aliases,
    ) -> Step {
        let (op, in_place) = ops::find(short(&node.target)).ok_or("it has no lowering")?;
        let mut call = Call {
            node,
            scope,
            b: &mut self.b,
            sizes: &mut self.sizes,
            results,
        };
        (op.lower)(&mut call)?;
        if in_place {
            aliases.mutated(&mut call, at)
        } else {
            aliases.link(&mut call);
            Ok(())
        }
    }

    /// Runs the graph that a node has as an argument, in a scope of its own.
    fn inline(&mut self, node: &Node, results: &[String], scope: &mut Scope) -> Result<()> {
        let wrong = |this: &Self, problem: &str| this.error(node, problem.to_owned());
        let Some(at) = node
            .inputs
            .iter()
            .position(|input| matches!(input.arg, Argument::Graph(_)))
        else {
            return Err(wrong(self, "it has no graph"));
        };
        let Argument::Graph(graph) = &node.inputs[at].arg else {
            return Err(wrong(self, "it has no graph"));
        };
        if node.target == AUTOCAST && computes_otherwise(&node.inputs[..at]) {
            let problem = "torch.autocast is enabled in it, in which operators compute in another precision; export the program \
                           without it, in the precision that is meant";
            return Err(wrong(self, problem));
        }
        // What such a graph changes in place outside of itself would be lost.
        let changes = |name: &str| {
            graph
                .inputs
                .iter()
                .any(|input| matches!(input, Argument::Tensor(input) if input == name))
        };
        for inner in &graph.nodes {
            let in_place = ops::find(short(&inner.target)).is_some_and(|(_, in_place)| in_place);
            if in_place
                && let Some(Argument::Tensor(name)) = inner.inputs.first().map(|input| &input.arg)
                && changes(name)
            {
                return Err(wrong(self, "its graph changes an input in place"));
            }
        }
        let mut inner = Scope::new(graph);
        let given = &node.inputs[at + 1..];
        if given.len() != graph.inputs.len() {
            return Err(wrong(self, "its graph takes another number of inputs"));
        }
        for (input, name) in given.iter().zip(&graph.inputs) {
            let value = match &input.arg {
                Argument::Tensor(value) => scope.get(value),
                Argument::SymInt(SymArgument::Name(value)) => scope.get(value),
                Argument::SymInt(SymArgument::Int(n)) | Argument::Int(n) => {
                    Ok(Value::Int(Expr::Int(*n)))
                }
                other => Err(format!("its graph takes {other:?}")),
            }
            .map_err(|problem| self.error(node, problem))?;
            match name {
                Argument::Tensor(name) | Argument::SymInt(SymArgument::Name(name)) => {
                    inner.set(name.clone(), value);
                }
                _ => {}
            }
        }
        self.nodes(graph, &mut inner)?;
        let names: Vec<&String> = graph
            .outputs
            .iter()
            .flat_map(|output| match output {
                Argument::Tensor(name) => vec![name],
                Argument::Tensors(list) => list.iter().collect(),
                _ => Vec::new(),
            })
            .collect();
        if names.len() != results.len() {
            return Err(wrong(self, "its graph gives another number of outputs"));
        }
        for (result, name) in results.iter().zip(names) {
            let value = inner
                .get(name)
                .map_err(|problem| self.error(node, problem))?;
            scope.set(result.clone(), value);
        }
        Ok(())
    }

    /// Names the outputs, and drops what none of them needs.
    fn finish(
        mut self,
        inputs: Vec<ValueInfo>,
        outputs: Vec<(String, Value)>,
        metadata: Vec<(String, String)>,
    ) -> Result<Model> {
        let problem = |problem: String| Error::Program {
            file: self.file.to_owned(),
            problem,
        };
        for (name, value) in outputs {
            let tensor = match value {
                Value::Tensor(tensor) => tensor,
                Value::Int(size) => Tensor {
                    name: self.sizes.scalar(&mut self.b, &size).map_err(problem)?,
                    dtype: ScalarType::Long,
                    dims: Vec::new(),
                    splat: None,
                },
            };
            self.b.graph.nodes.push(OnnxNode {
                name: name.clone(),
                op_type: "Identity",
                inputs: vec![tensor.name.clone()],
                outputs: vec![name.clone()],
                attributes: Vec::new(),
            });
            let info = value_info(&Tensor { name, ..tensor }).map_err(problem)?;
            self.b.graph.outputs.push(info);
        }
        let mut graph = self.b.graph;
        graph.name = "program".into();
        graph.inputs = inputs;
        let mut needed: HashSet<String> = graph.outputs.iter().map(|o| o.name.clone()).collect();
        let mut kept = Vec::with_capacity(graph.nodes.len());
        for node in graph.nodes.into_iter().rev() {
            if node.outputs.iter().any(|name| needed.contains(name)) {
                needed.extend(node.inputs.iter().cloned());
                kept.push(node);
            }
        }
        kept.reverse();
        graph.nodes = kept;
        graph.initializers.retain(|t| needed.contains(&t.name));
        Ok(Model {
            opset: OPSET,
            graph,
            metadata,
        })
    }
}

fn value_info(tensor: &Tensor) -> Step<ValueInfo> {
    Ok(ValueInfo {
        name: tensor.name.clone(),
        dtype: data_type(tensor.dtype)?,
        dims: tensor
            .dims
            .iter()
            .map(|dim| match dim {
                Expr::Int(n) => Dim::Fixed(*n),
                Expr::Symbol(name) => Dim::Symbol(name.to_string()),
                _ => Dim::Unknown,
            })
            .collect(),
    })
}
