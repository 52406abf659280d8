//! Running a module's code on tensors of which only type and shape are known.
//!
//! Each operator on tensors becomes a node of the graph; all else (sizes, lists, attributes, the ways of an `if` whose
//! condition is known, loops of a known number) is done at once, so that what is left is one graph.

use std::collections::HashMap;

use hearth_formats::torchscript::syntax::{Expr as Syntax, Statement, StatementKind};
use hearth_formats::torchscript::{Code, ScriptArchive, ValueId};

use super::contexts::enter;
use super::facts::{Facts, Step, Stop};
use super::record::Recorder;
use super::value::{Number, TensorValue, Value};
use crate::lower::value::Scalar;

/// Calls and expressions inside of each other, deeper than those of any network.
const MAX_DEPTH: usize = 240;
/// What an expression or a statement counts as, beside what it goes through.
const EVAL_STEPS: usize = 8;
/// Statements of one run; more than networks have by far.
pub(super) const MAX_STEPS: usize = 1 << 20;

/// One run of a module.
pub(super) struct Run<'a, 'f> {
    pub(super) archive: &'a ScriptArchive,
    pub(super) facts: &'f mut Facts,
    pub(super) graph: Recorder<'a>,
    /// The path of each object, which its tensors are named by.
    pub(super) paths: HashMap<ValueId, String>,
    pub(super) depth: usize,
    pub(super) steps: usize,
}

/// The names of a function that runs.
pub(super) struct Frame<'a> {
    file: &'a str,
    pub(super) names: HashMap<&'a str, Value>,
}

/// How a statement ends.
enum Flow {
    Next,
    Return(Value),
}

impl<'a, 'f> Run<'a, 'f> {
    pub(super) fn new(archive: &'a ScriptArchive, facts: &'f mut Facts) -> Run<'a, 'f> {
        facts.begin();
        let graph = Recorder::new(facts);
        let root = archive.data().root();
        Run {
            archive,
            facts,
            graph,
            paths: HashMap::from([(root, String::new())]),
            depth: 0,
            steps: 0,
        }
    }

    /// Runs the module's `forward` on its inputs; what it gives.
    pub(super) fn forward(&mut self, code: Code<'a>, inputs: Vec<(String, Value)>) -> Step<Value> {
        let module = Value::Object(self.archive.data().root());
        self.function(code, vec![module], inputs)
    }

    /// Counts a level, which the caller takes back where it goes well; else the run ends.
    pub(super) fn sink(&mut self) -> Step {
        self.depth += 1;
        self.facts.spend(EVAL_STEPS)?;
        if self.depth > MAX_DEPTH {
            return Err(format!("calls and expressions more than {MAX_DEPTH} deep").into());
        }
        Ok(())
    }

    pub(super) fn function(
        &mut self,
        code: Code<'a>,
        positional: Vec<Value>,
        named: Vec<(String, Value)>,
    ) -> Step<Value> {
        let function = code.function;
        let mut frame = Frame {
            file: code.file,
            names: HashMap::new(),
        };
        let given = positional.len();
        if given > function.parameters.len() {
            return Err(format!("{} takes fewer than {given} arguments", function.name).into());
        }
        for (parameter, value) in function.parameters.iter().zip(positional) {
            frame.names.insert(&parameter.name, value);
        }
        for (name, value) in named {
            let parameter = function.parameters.iter().find(|p| p.name == name);
            let parameter =
                parameter.ok_or_else(|| format!("{} takes no {name}", function.name))?;
            frame.names.insert(&parameter.name, value);
        }
        for parameter in &function.parameters {
            if !frame.names.contains_key(parameter.name.as_str()) {
                let default = parameter
                    .default
                    .as_ref()
                    .ok_or_else(|| format!("{} is not given {}", function.name, parameter.name))?;
                let value = self.eval(default, &frame)?;
                frame.names.insert(&parameter.name, value);
            }
        }
        Ok(match self.block(&function.body, &mut frame)? {
            Flow::Return(value) => value,
            Flow::Next => Value::None,
        })
    }

    fn block(&mut self, body: &'a [Statement], frame: &mut Frame<'a>) -> Step<Flow> {
        self.sink()?;
        let flow = self.statements(body, frame)?;
        self.depth -= 1;
        Ok(flow)
    }

    fn statements(&mut self, body: &'a [Statement], frame: &mut Frame<'a>) -> Step<Flow> {
        for statement in body {
            let flow = self
                .statement(statement, frame)
                .map_err(|stop| match stop {
                    Stop::Wrong {
                        problem,
                        has_place: false,
                    } => Stop::Wrong {
                        problem: format!("{}, line {}: {problem}", frame.file, statement.line),
                        has_place: true,
                    },
                    other => other,
                })?;
            if matches!(flow, Flow::Return(_)) {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, statement: &'a Statement, frame: &mut Frame<'a>) -> Step<Flow> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(format!("more than {MAX_STEPS} statements are run").into());
        }
        match &statement.kind {
            StatementKind::Pass => {}
            StatementKind::Expr(expr) => {
                self.eval(expr, frame)?;
            }
            StatementKind::Return(None) => return Ok(Flow::Return(Value::None)),
            StatementKind::Return(Some(expr)) => return self.eval(expr, frame).map(Flow::Return),
            StatementKind::Assign {
                targets,
                unpacks,
                value,
            } => {
                // Sizes that are taken apart are as many as there are names for them.
                let is_sizes = matches!(value, Syntax::Call(call)
                    if call.function.path().is_some_and(|path| path.ends_with("size") || path.ends_with("shape")));
                self.facts.likely_rank = (*unpacks && is_sizes).then_some(targets.len());
                let value = self.eval(value, frame)?;
                self.facts.likely_rank = None;
                self.assign(targets, *unpacks, value, frame)?;
            }
            StatementKind::If {
                condition,
                then,
                otherwise,
            } => {
                let condition = self.eval(condition, frame)?;
                let body = match self.truth(&condition)? {
                    Some(true) => then,
                    Some(false) => otherwise,
                    // What is only there to fail is not the way that is meant.
                    None if raises(then) => otherwise,
                    None if raises(otherwise) => then,
                    None => {
                        return Err(
                            "an if whose condition depends on the sizes of inputs; only what is the same for all inputs \
                             becomes a graph. Trace the module, or declare fixed sizes"
                                .into(),
                        );
                    }
                };
                return self.block(body, frame);
            }
            StatementKind::For {
                target,
                values,
                body,
            } => return self.each(target, values, body, frame),
            StatementKind::While { condition, body } => loop {
                self.steps += 1;
                if self.steps > MAX_STEPS {
                    return Err(format!("a loop of more than {MAX_STEPS} rounds").into());
                }
                let again = self.eval(condition, frame)?;
                match self.truth(&again)? {
                    Some(false) => break,
                    Some(true) => {}
                    None => return Err("a while whose condition depends on sizes".into()),
                }
                let flow = self.block(body, frame)?;
                if matches!(flow, Flow::Return(_)) {
                    return Ok(flow);
                }
            },
            StatementKind::With { context, body } => {
                let context = self.eval(context, frame)?;
                enter(&context)?;
                return self.block(body, frame);
            }
        }
        Ok(Flow::Next)
    }

    fn each(
        &mut self,
        target: &'a Syntax,
        values: &'a Syntax,
        body: &'a [Statement],
        frame: &mut Frame<'a>,
    ) -> Step<Flow> {
        let Syntax::Name(name) = target else {
            return Err("a loop over what is no name".into());
        };
        let values = self.eval(values, frame)?;
        let items = match &values {
            Value::Range(start, end) => {
                if end.saturating_sub(*start) > MAX_STEPS as i64 {
                    return Err(format!("a loop of more than {MAX_STEPS} rounds").into());
                }
                (*start..*end).map(Value::int).collect()
            }
            other => other
                .items()
                .ok_or_else(|| format!("a loop over {}", other.kind()))?,
        };
        self.facts.spend(items.len())?;
        for item in items {
            self.steps += 1;
            frame.names.insert(name, item);
            let flow = self.block(body, frame)?;
            if matches!(flow, Flow::Return(_)) {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn assign(
        &mut self,
        targets: &'a [Syntax],
        unpacks: bool,
        value: Value,
        frame: &mut Frame<'a>,
    ) -> Step {
        let values = if unpacks {
            self.facts.spend(value.weight())?;
            let items = value
                .items()
                .ok_or_else(|| format!("{} is taken apart", value.kind()))?;
            if items.len() != targets.len() {
                return Err(format!("{} values for {} names", items.len(), targets.len()).into());
            }
            items
        } else {
            vec![value]
        };
        for (target, value) in targets.iter().zip(values) {
            match target {
                Syntax::Name(name) => {
                    frame.names.insert(name, value);
                }
                Syntax::Attribute(_, name) => {
                    return Err(format!(
                        "it sets the attribute {name}: a network that is served keeps no state between requests"
                    )
                    .into());
                }
                _ => return Err("it sets what is no name".into()),
            }
        }
        Ok(())
    }

    /// What a value counts as in a condition; `None` where that depends on sizes.
    pub(super) fn truth(&self, value: &Value) -> Step<Option<bool>> {
        Ok(match value {
            Value::Bool(b) => Some(*b),
            Value::Unknown => None,
            Value::Number(number) => number.value.number().map(|x| x != 0.0),
            Value::Int(n) => n.int().map(|n| n != 0),
            Value::Tensor(_) => {
                return Err(
                    "a condition that depends on the numbers in a tensor; only what is the same for all inputs becomes \
                     a graph"
                        .into(),
                );
            }
            other => return Err(format!("{} as a condition", other.kind()).into()),
        })
    }

    /// A tensor of a number, as a node of the graph.
    pub(super) fn materialized(&mut self, number: &Number) -> Step<TensorValue> {
        let scalar = match number.value {
            Scalar::Bool(b) => Scalar::Int(crate::lower::expr::Expr::Int(b.into())),
            ref other => other.clone(),
        };
        let code = number.dtype.code().ok_or("a number of an unknown type")?;
        let named = vec![("dtype".to_owned(), Value::int(code))];
        match self.node("scalar_tensor", vec![Value::of(&scalar)], named)? {
            Value::Tensor(tensor) => Ok(tensor),
            other => Err(format!("a number became {}", other.kind()).into()),
        }
    }
}

/// Whether statements end in an error of the module's own, whatever is done before and after.
fn raises(body: &[Statement]) -> bool {
    body.iter().any(|statement| match &statement.kind {
        StatementKind::Expr(Syntax::Call(call)) => {
            call.function.path().as_deref() == Some("ops.prim.RaiseException")
        }
        _ => false,
    })
}
