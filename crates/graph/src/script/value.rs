//! What names stand for while a module runs.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use hearth_formats::torch::ScalarType;
use hearth_formats::torchscript::ValueId;

use super::dims;
use crate::lower::expr::Expr;
use crate::lower::value::{Meta, Scalar};

/// A tensor: its name in the graph, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct TensorValue {
    pub(super) name: Rc<str>,
    /// `None` of an input of which nothing is known yet.
    pub(super) meta: Option<Rc<Meta>>,
    /// The input that it is.
    pub(super) input: Option<usize>,
    /// The inputs whose type is its own, a bit for each.
    pub(super) typed_by: u64,
}

/// A tensor without dimensions whose value is known: a size that is computed with, or a constant.
#[derive(Debug, Clone)]
pub(super) struct Number {
    pub(super) value: Scalar,
    pub(super) dtype: ScalarType,
}

/// What holds other values, and how many of those hold values in their turn. What is added to a list or dictionary later
/// holds nothing that can grow, so that the count stays true.
#[derive(Debug)]
pub(super) struct Nested<T> {
    depth: usize,
    of: T,
}

impl<T> Deref for Nested<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.of
    }
}

/// What a `with` enters: an object of a class of PyTorch's, such as `torch.no_grad`.
#[derive(Debug)]
pub(super) struct Manager {
    /// The class, without the modules that it is in.
    pub(super) class: String,
    /// Whether it does something, where it can be told not to.
    pub(super) is_enabled: Cell<bool>,
}

/// The members of a dictionary, in order.
pub(super) type Pairs = RefCell<Vec<(Value, Value)>>;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool(bool),
    /// A boolean that depends on sizes.
    Unknown,
    Int(Expr),
    Float(f64),
    Str(Arc<str>),
    /// A string that is not known, such as the text of a number that depends on sizes.
    Text,
    Tensor(TensorValue),
    Number(Number),
    List(Rc<Nested<RefCell<Vec<Value>>>>),
    /// Its members, and their names where it is a named one.
    Tuple(Rc<Nested<Vec<Value>>>, Option<Rc<Vec<String>>>),
    Dict(Rc<Nested<Pairs>>),
    /// An object of the archive, mostly a module.
    Object(ValueId),
    /// A function or class, by its whole name.
    Function(Rc<str>),
    Device,
    /// What a `with` enters.
    Manager(Rc<Manager>),
    /// The numbers that a loop goes through, the last one not.
    Range(i64, i64),
    /// What was declared and not given a value.
    Nothing,
}

impl Value {
    pub(super) fn list(items: Vec<Value>) -> Value {
        let depth = deepest(&items) + 2;
        let of = RefCell::new(items);
        Value::List(Rc::new(Nested { depth, of }))
    }

    pub(super) fn tuple(items: Vec<Value>) -> Value {
        let depth = deepest(&items) + 1;
        Value::Tuple(Rc::new(Nested { depth, of: items }), None)
    }

    pub(super) fn named_tuple(items: Vec<Value>, names: Vec<String>) -> Value {
        match Value::tuple(items) {
            Value::Tuple(items, _) => Value::Tuple(items, Some(Rc::new(names))),
            other => other,
        }
    }

    pub(super) fn dict(items: Vec<(Value, Value)>) -> Value {
        let depth = items.iter().map(|(_, value)| value.depth()).max();
        let depth = depth.unwrap_or(0) + 2;
        let of = RefCell::new(items);
        Value::Dict(Rc::new(Nested { depth, of }))
    }

    /// How deeply it holds other values. A list or dictionary may come to hold a tuple of plain values, and counts so.
    pub(super) fn depth(&self) -> usize {
        match self {
            Value::List(items) => items.depth,
            Value::Tuple(items, _) => items.depth,
            Value::Dict(items) => items.depth,
            _ => 0,
        }
    }

    pub(super) fn int(n: i64) -> Value {
        Value::Int(Expr::Int(n))
    }

    /// What it is, for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a boolean",
            Value::Unknown => "a boolean that depends on sizes",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a floating-point number",
            Value::Str(_) => "a string",
            Value::Text => "a string that is not known",
            Value::Tensor(_) | Value::Number(_) => "a tensor",
            Value::List(_) => "a list",
            Value::Tuple(..) => "a tuple",
            Value::Dict(_) => "a dictionary",
            Value::Object(_) => "an object",
            Value::Function(_) => "a function",
            Value::Device => "a device",
            Value::Manager(_) => "a context",
            Value::Range(..) => "a range",
            Value::Nothing => "a value that was never given",
        }
    }

    /// The number, where it is one and no tensor.
    pub(super) fn scalar(&self) -> Option<Scalar> {
        match self {
            Value::Bool(b) => Some(Scalar::Bool(*b)),
            Value::Int(n) => Some(Scalar::Int(n.clone())),
            Value::Float(x) => Some(Scalar::Float(*x)),
            _ => None,
        }
    }

    /// A number as a value.
    pub(super) fn of(scalar: &Scalar) -> Value {
        match scalar {
            Scalar::Bool(b) => Value::Bool(*b),
            Scalar::Int(n) => Value::Int(n.clone()),
            Scalar::Float(x) => Value::Float(*x),
        }
    }

    /// The members of a list or tuple.
    pub(super) fn items(&self) -> Option<Vec<Value>> {
        match self {
            Value::List(items) => Some(items.borrow().clone()),
            Value::Tuple(items, _) => Some(items.to_vec()),
            _ => None,
        }
    }

    /// How many steps it counts as to go through it.
    pub(super) fn weight(&self) -> usize {
        match self {
            Value::List(items) => items.borrow().len(),
            Value::Tuple(items, _) => items.len(),
            Value::Dict(items) => items.borrow().len(),
            Value::Str(text) => text.len() / 64,
            Value::Int(n @ (Expr::Sum(_) | Expr::Product(_))) => dims::weight(n),
            _ => 0,
        }
    }

    /// Whether two values are equal; `None` where that depends on sizes, or they can't be compared.
    pub(super) fn equals(&self, other: &Value) -> Option<bool> {
        match (self, other) {
            (Value::None, Value::None) => Some(true),
            (Value::Str(a), Value::Str(b)) => Some(a == b),
            (Value::Int(a), Value::Int(b)) if a == b => Some(true),
            (Value::Device, Value::Device) => Some(true),
            (Value::Device, Value::Str(name)) | (Value::Str(name), Value::Device) => {
                Some(&**name == "cpu")
            }
            _ => match (self.scalar(), other.scalar()) {
                (Some(a), Some(b)) => Some(a.number()? == b.number()?),
                _ => {
                    let (a, b) = (self.items()?, other.items()?);
                    if a.len() != b.len() {
                        return Some(false);
                    }
                    // Lists hold plain values only where they are compared; what holds itself is refused.
                    let pairs = a.iter().zip(&b);
                    pairs
                        .map(|(a, b)| match (a, b) {
                            (Value::List(_) | Value::Tuple(..), _) => None,
                            _ => a.equals(b),
                        })
                        .try_fold(true, |all, one| Some(all && one?))
                }
            },
        }
    }
}

fn deepest(items: &[Value]) -> usize {
    items.iter().map(Value::depth).max().unwrap_or(0)
}
