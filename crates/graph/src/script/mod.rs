//! TorchScript: a module's code becomes one graph, which is lowered as an exported program is.
//!
//! The code is run on tensors of which only type and shape are known ([`run`]): calls of other modules and functions are
//! followed, sizes and lists are computed, and each operator on tensors becomes a node, with the shapes of its results
//! worked out ([`infer`]), which TorchScript, unlike an exported program, does not say. What is known of the inputs, and
//! how it is learnt, is in [`facts`].

mod builtins;
mod constants;
mod contexts;
mod dims;
mod expressions;
mod facts;
mod infer;
mod inputs;
mod lists;
mod numbers;
mod operators;
mod record;
mod run;
mod schema;
mod texts;
mod value;

use std::collections::HashSet;

use hearth_formats::pt2::{Argument, Graph, SymArgument};
use hearth_formats::torchscript::{Code, DeclaredInput, ScriptArchive, ScriptValue};

use crate::lower::{Program, ProgramInput, ProgramWeight, Scope, lower_program};
use crate::onnx::Model;
use crate::{Error, Result};
use facts::{Facts, Stop, TOO_LONG};
use inputs::{Inputs, inputs};
use record::Recorder;
use run::Run;
use value::Value;

/// How often a module is run to learn about its inputs.
const MAX_RUNS: usize = 512;
/// All runs together make at most so many nodes.
const MAX_WORK: usize = 1 << 21;
/// More tensors than any module gives.
const MAX_OUTPUTS: usize = 4096;

/// Lowers a module to an ONNX model: its `forward`, for inputs of the declared types and shapes, of those that it was
/// traced with, or of those that its operators tell of. Weights that the archive has laid out densely are not copied.
///
/// # Errors
/// The module's code uses what is no graph, with the place in its source; operators without a lowering; inputs of which
/// too little is known.
pub fn lower(archive: &ScriptArchive, declared: &[DeclaredInput]) -> Result<Model> {
    let problem = |problem: String| Error::Program {
        file: archive.label().to_owned(),
        problem,
    };
    let ScriptValue::Object { class, .. } = archive.data().get(archive.data().root()) else {
        return Err(problem("the archive holds no module".into()));
    };
    let code = archive
        .method(class, "forward")
        .ok_or_else(|| problem(format!("the module, of the class {class}, has no forward")))?;
    let inputs = inputs(code, archive.traced_inputs(), declared).map_err(problem)?;
    let Inputs { names, traced, .. } = &inputs;
    let mut facts = Facts::new(names, traced.as_deref(), declared).map_err(problem)?;
    let traced = trace(archive, code, &inputs, &mut facts).map_err(problem)?;
    let outputs: Vec<Argument> = traced.outputs.iter().map(|(_, arg)| arg.clone()).collect();
    let graph = Graph {
        inputs: Vec::new(),
        outputs,
        nodes: traced.graph.nodes,
        tensor_values: Default::default(),
        sym_int_values: Default::default(),
        is_single_tensor_return: false,
    };
    let weights = traced.graph.weights.into_iter().map(|weight| {
        ProgramInput::Weight(ProgramWeight {
            argument: weight.argument,
            name: weight.name,
            dtype: weight.tensor.dtype(),
            sizes: weight.tensor.sizes().to_vec(),
            bytes: weight.tensor.dense(),
        })
    });
    let users = inputs
        .names
        .iter()
        .map(|name| ProgramInput::User(name.clone()));
    let lowered = lower_program(Program {
        file: archive.label(),
        graph: &graph,
        scope: Scope::known(traced.graph.metas, traced.graph.computed),
        inputs: users.chain(weights).collect(),
        outputs: traced.outputs,
        metadata: Vec::new(),
    });
    let has_open_sizes = facts.has_open_sizes();
    lowered.map_err(|error| match error {
        Error::Node {
            file,
            node,
            operator,
            problem,
        } if has_open_sizes => Error::Node {
            file,
            node,
            operator,
            problem: format!("{problem} (sizes of inputs that are not known can be declared)"),
        },
        other => other,
    })
}

struct Traced<'a> {
    graph: Recorder<'a>,
    outputs: Vec<(String, Argument)>,
}

/// Runs the module until nothing new is learnt of its inputs; the error is a sentence.
fn trace<'a>(
    archive: &'a ScriptArchive,
    code: Code<'a>,
    inputs: &Inputs,
    facts: &mut Facts,
) -> std::result::Result<Traced<'a>, String> {
    // Before each guess what was known, and the ranks that are yet to be tried.
    let mut guesses: Vec<(Facts, usize, Vec<usize>)> = Vec::new();
    let mut wrong: Option<String> = None;
    let mut work = 0;
    for _ in 0..MAX_RUNS {
        let mut run = Run::new(archive, facts);
        let ran = once(&mut run, code, inputs);
        work += run.graph.nodes.len();
        let graph = run.graph;
        let settled = ran.and_then(|outputs| Ok((facts.settle()?, outputs)));
        if work > MAX_WORK {
            break;
        }
        if facts.is_spent() {
            return Err(with_guess(TOO_LONG.into(), facts));
        }
        let stop = match settled {
            Ok((true, _)) => continue,
            Ok((false, outputs)) => return Ok(Traced { graph, outputs }),
            Err(stop) => stop,
        };
        match stop {
            Stop::Learnt => {}
            Stop::Guess { input, ranks } => {
                let mut ranks = ranks.into_iter();
                let first = ranks.next().ok_or("an input whose rank can't be guessed")?;
                guesses.push((facts.clone(), input, ranks.collect()));
                facts.set_rank(input, first);
            }
            Stop::Wrong { problem, .. } => {
                let first = wrong.get_or_insert(problem).clone();
                let (before, input, rank) = loop {
                    let Some((before, input, ranks)) = guesses.last_mut() else {
                        return Err(with_guess(first, facts));
                    };
                    if ranks.is_empty() {
                        guesses.pop();
                        continue;
                    }
                    break (before.clone(), *input, ranks.remove(0));
                };
                *facts = before;
                facts.set_rank(input, rank);
            }
        }
    }
    Err(with_guess(
        wrong.unwrap_or_else(|| "the shapes of its inputs can't be worked out".into()),
        facts,
    ))
}

/// What is wrong, and that it may be so because an input was taken for another.
fn with_guess(problem: String, facts: &Facts) -> String {
    let assumed: Vec<&str> = facts
        .inputs
        .iter()
        .filter(|input| input.is_guessed)
        .map(|input| input.name.as_str())
        .collect();
    if assumed.is_empty() {
        return problem;
    }
    format!(
        "{problem} (the file does not say what its inputs are; declare type and shape of {})",
        assumed.join(", ")
    )
}

fn once<'a>(
    run: &mut Run<'a, '_>,
    code: Code<'a>,
    inputs: &Inputs,
) -> facts::Step<Vec<(String, Argument)>> {
    let mut tensor = |i| Value::Tensor(run.graph.input(i, run.facts));
    let arguments = inputs.arguments.iter();
    let arguments = arguments.map(|(name, form)| (name.clone(), form.value(&mut tensor)));
    let arguments = arguments.collect();
    let value = run.forward(code, arguments)?;
    let mut leaves = Vec::new();
    flatten(&value, String::new(), &mut leaves)?;
    let mut used: HashSet<String> = run.facts.inputs.iter().map(|i| i.name.clone()).collect();
    let mut outputs = Vec::new();
    for (path, leaf) in leaves {
        let argument = match leaf {
            Value::Number(number) => Argument::Tensor(run.materialized(&number)?.name.to_string()),
            Value::Int(n) => match run.graph.size(&n) {
                SymArgument::Int(n) => Argument::Int(n),
                name => Argument::SymInt(name),
            },
            // An input that is given back as it is may be of any kind, which has to be known.
            Value::Tensor(tensor) => {
                run.known(&Value::Tensor(tensor.clone()))?;
                Argument::Tensor(tensor.name.to_string())
            }
            other => return Err(format!("an output that is {}", other.kind()).into()),
        };
        let own = match &argument {
            Argument::Tensor(name) => name.clone(),
            _ => format!("output_{}", outputs.len()),
        };
        let mut name = if path.is_empty() { own } else { path };
        while !used.insert(name.clone()) {
            name.push('_');
        }
        outputs.push((name, argument));
    }
    Ok(outputs)
}

/// The tensors and numbers of a result, with their paths of keys. Values nest less deeply than the stack is.
fn flatten(value: &Value, path: String, leaves: &mut Vec<(String, Value)>) -> facts::Step {
    if leaves.len() >= MAX_OUTPUTS {
        return Err(format!("more than {MAX_OUTPUTS} outputs").into());
    }
    let inner = |key: &str| match path.as_str() {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match value {
        Value::None => {}
        Value::Dict(items) => {
            for (key, value) in items.borrow().iter() {
                let key = match key {
                    Value::Str(key) => key.to_string(),
                    _ => String::new(),
                };
                flatten(value, inner(&key), leaves)?;
            }
        }
        Value::Tuple(items, Some(names)) => {
            for (value, name) in items.iter().zip(names.iter()) {
                flatten(value, inner(name), leaves)?;
            }
        }
        Value::List(_) | Value::Tuple(..) => {
            for (i, value) in value.items().unwrap_or_default().iter().enumerate() {
                // Members of tuples have no names of their own.
                let path = if path.is_empty() {
                    String::new()
                } else {
                    inner(&i.to_string())
                };
                flatten(value, path, leaves)?;
            }
        }
        leaf => leaves.push((path, leaf.clone())),
    }
    Ok(())
}
