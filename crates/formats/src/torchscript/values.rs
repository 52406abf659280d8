//! What the pickles of an archive hold: values that refer to each other by place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::torch::StridedTensor;
use crate::torch::pickle::{Object, Pickle};
use crate::torch::save::TensorReader;

/// A value's place.
pub type ValueId = u32;

/// A value. Those inside of it are places in the same [`Values`], so that one that holds itself is merely data.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScriptValue {
    /// `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Str(Arc<str>),
    /// A list.
    List(Vec<ValueId>),
    /// A tuple.
    Tuple(Vec<ValueId>),
    /// A dictionary, in order.
    Dict(Vec<(ValueId, ValueId)>),
    /// An object: the whole name of its class, such as `__torch__.Net`, and its attributes.
    Object {
        /// The class.
        class: Arc<str>,
        /// The attributes by name. Objects whose state is one in the file share them.
        attributes: Arc<Attributes>,
    },
    /// A tensor.
    Tensor(StridedTensor),
    /// Something else.
    Other,
}

/// The attributes of an object.
pub type Attributes = BTreeMap<Arc<str>, ValueId>;

/// The values of a pickle.
#[derive(Debug)]
pub struct Values {
    values: Vec<ScriptValue>,
    root: ValueId,
}

impl Values {
    /// Turns what a pickle holds into values; the error is a sentence.
    pub(super) fn new(pickle: &Pickle, tensors: &TensorReader<'_>) -> Result<Values, String> {
        let mut classes: HashMap<ValueId, Arc<str>> = HashMap::new();
        let mut states: HashMap<Option<ValueId>, Arc<Attributes>> = HashMap::new();
        let mut value = |id: ValueId| -> Result<ScriptValue, String> {
            Ok(match pickle.get(id) {
                Object::None => ScriptValue::None,
                Object::Bool(b) => ScriptValue::Bool(*b),
                Object::Int(n) => ScriptValue::Int(*n),
                Object::Float(x) => ScriptValue::Float(*x),
                Object::Str(text) => ScriptValue::Str(text.clone()),
                Object::List(items) => ScriptValue::List(items.clone()),
                Object::Tuple(items) => ScriptValue::Tuple(items.clone()),
                Object::Dict(items) => ScriptValue::Dict(items.clone()),
                Object::Instance(class, state) => {
                    let name = || match pickle.global(*class) {
                        Some((module, name)) => format!("{module}.{name}").into(),
                        None => "".into(),
                    };
                    let read = || Arc::new(attributes(pickle, *state));
                    ScriptValue::Object {
                        class: Arc::clone(classes.entry(*class).or_insert_with(name)),
                        attributes: Arc::clone(states.entry(*state).or_insert_with(read)),
                    }
                }
                Object::Call(..) => match tensors.tensor(id)? {
                    Some(tensor) => ScriptValue::Tensor(tensor),
                    None => ScriptValue::Other,
                },
                _ => ScriptValue::Other,
            })
        };
        Ok(Values {
            values: (0..pickle.len())
                .map(&mut value)
                .collect::<Result<_, _>>()?,
            root: pickle.root(),
        })
    }

    /// What the pickle is.
    pub fn root(&self) -> ValueId {
        self.root
    }

    /// A value by its place.
    pub fn get(&self, id: ValueId) -> &ScriptValue {
        self.values.get(id as usize).unwrap_or(&ScriptValue::Other)
    }

    /// All values, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &ScriptValue> {
        self.values.iter()
    }
}

/// The attributes of an object, which its state is a dictionary of.
fn attributes(pickle: &Pickle, state: Option<ValueId>) -> Attributes {
    let Some(Object::Dict(items)) = state.map(|state| pickle.get(state)) else {
        return Attributes::new();
    };
    items
        .iter()
        .filter_map(|&(key, value)| match pickle.get(key) {
            Object::Str(name) => Some((Arc::clone(name), value)),
            _ => None,
        })
        .collect()
}
