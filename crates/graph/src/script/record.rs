//! The graph under construction, in the terms of exported programs.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use hearth_formats::pt2::{Argument, NamedArgument, Node, SymArgument};
use hearth_formats::torch::{ScalarType, StridedTensor};
use hearth_formats::torchscript::ValueId;

use super::dims;
use super::facts::{Facts, Step};
use super::schema::{Bound, Kind};
use super::value::{TensorValue, Value};
use crate::lower::expr::Expr;
use crate::lower::value::Meta;

/// More nodes than any network has.
const MAX_NODES: usize = 1 << 17;

/// More results, and members of lists among arguments, than any network has.
const MAX_LISTED: usize = 1 << 18;

/// A tensor of the archive that the graph uses.
#[derive(Debug)]
pub(super) struct Weight<'a> {
    /// Its name in the graph.
    pub(super) argument: String,
    /// Its path in the module.
    pub(super) name: String,
    pub(super) tensor: &'a StridedTensor,
}

/// Nodes so far, and what is known of each value.
pub(super) struct Recorder<'a> {
    pub(super) nodes: Vec<Node>,
    pub(super) metas: HashMap<String, Meta>,
    pub(super) computed: HashMap<String, Expr>,
    pub(super) weights: Vec<Weight<'a>>,
    /// By place in the archive.
    by_place: HashMap<ValueId, TensorValue>,
    by_name: HashMap<String, TensorValue>,
    names: HashSet<String>,
    /// How often each name was asked for.
    counts: HashMap<String, usize>,
    /// The members of all lists among the arguments, and all results.
    listed: usize,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(facts: &Facts) -> Recorder<'a> {
        Recorder {
            nodes: Vec::new(),
            metas: HashMap::new(),
            computed: HashMap::new(),
            weights: Vec::new(),
            by_place: HashMap::new(),
            by_name: HashMap::new(),
            names: facts.inputs.iter().map(|i| i.name.clone()).collect(),
            counts: HashMap::new(),
            listed: 0,
        }
    }

    /// A name that no other value has.
    fn fresh(&mut self, name: &str) -> String {
        let count = self.counts.entry(name.to_owned()).or_insert(0);
        loop {
            let unique = match *count {
                0 => name.to_owned(),
                n => format!("{name}_{n}"),
            };
            *count += 1;
            if self.names.insert(unique.clone()) {
                return unique;
            }
        }
    }

    /// An input of the graph, as a value.
    pub(super) fn input(&mut self, i: usize, facts: &Facts) -> TensorValue {
        let known = &facts.inputs[i];
        let meta = known.dims.as_ref().map(|dims| {
            let meta = Meta {
                dtype: known.dtype.unwrap_or(ScalarType::Float),
                layout: dims::dense(dims),
                dims: dims.clone(),
            };
            self.metas.insert(known.name.clone(), meta.clone());
            Rc::new(meta)
        });
        TensorValue {
            name: known.name.as_str().into(),
            meta,
            input: Some(i),
            typed_by: if i < 64 { 1 << i } else { 0 },
        }
    }

    /// A tensor of the module, once however often it is asked for.
    pub(super) fn weight(
        &mut self,
        place: ValueId,
        path: &str,
        tensor: &'a StridedTensor,
    ) -> TensorValue {
        if let Some(value) = self.by_place.get(&place) {
            return value.clone();
        }
        let value = self.stored(path, tensor);
        self.by_place.insert(place, value.clone());
        value
    }

    /// A constant of the code.
    pub(super) fn constant(&mut self, name: &str, tensor: &'a StridedTensor) -> TensorValue {
        if let Some(value) = self.by_name.get(name) {
            return value.clone();
        }
        let value = self.stored(name, tensor);
        self.by_name.insert(name.to_owned(), value.clone());
        value
    }

    fn stored(&mut self, name: &str, tensor: &'a StridedTensor) -> TensorValue {
        let argument = self.fresh(name);
        let dims: Vec<Expr> = tensor
            .sizes()
            .iter()
            .map(|&d| Expr::Int(d as i64))
            .collect();
        let meta = Meta {
            dtype: tensor.dtype(),
            layout: dims::dense(&dims),
            dims,
        };
        self.weights.push(Weight {
            argument: argument.clone(),
            name: name.to_owned(),
            tensor,
        });
        self.tensor(argument, meta, 0)
    }

    fn tensor(&mut self, name: String, meta: Meta, typed_by: u64) -> TensorValue {
        self.metas.insert(name.clone(), meta.clone());
        TensorValue {
            name: name.into(),
            meta: Some(Rc::new(meta)),
            input: None,
            typed_by,
        }
    }

    /// Adds a node with results as described.
    pub(super) fn node(
        &mut self,
        bound: &Bound,
        target: &str,
        results: Vec<Meta>,
        typed_by: u64,
    ) -> Step<Vec<TensorValue>> {
        if self.nodes.len() >= MAX_NODES {
            return Err(format!("more than {MAX_NODES} operators").into());
        }
        let mut inputs = Vec::new();
        for (parameter, value) in bound.schema.parameters.iter().zip(&bound.values) {
            let Some(value) = value else {
                continue;
            };
            inputs.push(NamedArgument {
                name: parameter.name.to_owned(),
                arg: self.argument(parameter.kind, value)?,
            });
        }
        let lists = bound.values.iter().flatten().map(Value::weight);
        self.listed += results.len() + lists.sum::<usize>();
        if self.listed > MAX_LISTED {
            return Err(
                format!("more than {MAX_LISTED} arguments and results of operators").into(),
            );
        }
        let base = target.split('.').nth(1).unwrap_or("value").to_owned();
        let mut values = Vec::new();
        for meta in results {
            let name = self.fresh(base.trim_end_matches('_'));
            values.push(self.tensor(name, meta, typed_by));
        }
        let names = values.iter().map(|value| value.name.to_string());
        let outputs = if bound.schema.gives_list {
            vec![Argument::Tensors(names.collect())]
        } else {
            names.map(Argument::Tensor).collect()
        };
        self.nodes.push(Node {
            target: format!("torch.ops.{target}"),
            inputs,
            outputs,
            name: None,
        });
        Ok(values)
    }

    /// An integer as a program writes it.
    pub(super) fn size(&mut self, n: &Expr) -> SymArgument {
        match n {
            Expr::Int(n) => SymArgument::Int(*n),
            other => {
                // No other value's name begins so.
                let name = format!("={other}");
                self.computed.insert(name.clone(), other.clone());
                SymArgument::Name(name)
            }
        }
    }

    fn argument(&mut self, kind: Kind, value: &Value) -> Step<Argument> {
        let wrong = || format!("{} as an argument of an operator", value.kind());
        let name = |value: &Value| match value {
            Value::Tensor(tensor) => Ok(Some(tensor.name.to_string())),
            Value::None => Ok(None),
            other => Err(format!("{} among tensors", other.kind())),
        };
        Ok(match (kind, value) {
            (_, Value::None) => Argument::None,
            (Kind::Tensor, Value::Tensor(tensor)) => Argument::Tensor(tensor.name.to_string()),
            (Kind::Tensors | Kind::OptionalTensors, list) => {
                let names = list.items().ok_or_else(wrong)?;
                let names: Vec<Option<String>> =
                    names.iter().map(name).collect::<Result<_, _>>()?;
                match names.iter().cloned().collect::<Option<Vec<String>>>() {
                    Some(all) => Argument::Tensors(all),
                    None => Argument::OptionalTensors(names),
                }
            }
            (Kind::Dtype, Value::Int(n)) => {
                let dtype = n.int().and_then(ScalarType::of_code).ok_or_else(wrong)?;
                Argument::ScalarType(dtype)
            }
            (Kind::MemoryFormat, Value::Int(n)) => {
                Argument::MemoryFormat(n.int().ok_or_else(wrong)?)
            }
            (Kind::Float, Value::Int(Expr::Int(n))) => Argument::Float(*n as f64),
            (_, Value::Int(n)) => match self.size(n) {
                SymArgument::Int(n) => Argument::Int(n),
                name => Argument::SymInt(name),
            },
            (Kind::Floats, list) => {
                let items = list.items().ok_or_else(wrong)?;
                let numbers = items.iter().map(|item| item.scalar()?.number());
                Argument::Floats(numbers.collect::<Option<Vec<f64>>>().ok_or_else(wrong)?)
            }
            (Kind::Ints { .. }, list) => {
                let items = list.items().ok_or_else(wrong)?;
                let mut sizes = Vec::with_capacity(items.len());
                for item in &items {
                    let Value::Int(n) = item else {
                        return Err(wrong().into());
                    };
                    sizes.push(self.size(n));
                }
                let numbers = sizes.iter().map(|size| match size {
                    SymArgument::Int(n) => Some(*n),
                    SymArgument::Name(_) => None,
                });
                match numbers.collect::<Option<Vec<i64>>>() {
                    Some(numbers) => Argument::Ints(numbers),
                    None => Argument::SymInts(sizes),
                }
            }
            (_, Value::Float(x)) => Argument::Float(*x),
            (_, Value::Bool(b)) => Argument::Bool(*b),
            (_, Value::Str(text)) => Argument::String(text.to_string()),
            (_, Value::Device) => Argument::Device("cpu".into()),
            _ => return Err(wrong().into()),
        })
    }
}
