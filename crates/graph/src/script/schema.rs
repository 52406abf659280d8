//! The operators' schemas, by which a call's arguments find their names and an overload is chosen.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::value::Value;
use crate::lower::ops::schemas;

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tensor,
    Tensors,
    OptionalTensors,
    Int,
    /// A list, for which one integer may stand where its length is said.
    Ints {
        is_sized: bool,
    },
    Float,
    Floats,
    Bool,
    Str,
    Scalar,
    Dtype,
    MemoryFormat,
    Device,
}

/// A parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) may_be_none: bool,
    is_named_only: bool,
    has_default: bool,
}

/// An overload.
#[derive(Debug)]
pub(super) struct Schema {
    /// The name in programs: `aten.add.Tensor`.
    pub(super) target: String,
    pub(super) parameters: Vec<Parameter>,
    /// Whether it gives a list of tensors.
    pub(super) gives_list: bool,
}

/// Arguments by name that say nothing of the numbers, or that only the result's type depends on.
const EXTRAS: [&str; 9] = [
    "dtype",
    "layout",
    "device",
    "pin_memory",
    "memory_format",
    "non_blocking",
    "copy",
    "requires_grad",
    "output_size",
];

/// The overloads of an operator by its name, such as `add`; empty where it has no lowering.
pub(super) fn overloads(name: &str) -> &'static [Schema] {
    static TABLE: OnceLock<HashMap<String, Vec<Schema>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table: HashMap<String, Vec<Schema>> = HashMap::new();
        for (target, text) in schemas() {
            let name = target.split('.').nth(1).unwrap_or("").to_owned();
            let schema = parse(target, text);
            table.entry(name).or_default().push(schema);
        }
        table
    });
    table.get(name).map_or(&[], Vec::as_slice)
}

/// Reads a signature of the table, which is sound: a test reads all of them.
fn parse(target: String, text: &'static str) -> Schema {
    let inner = text.split_once('(').map_or("", |(_, rest)| rest);
    let (list, gives) = inner.split_once(") -> ").unwrap_or((inner, ""));
    let mut is_named_only = false;
    let mut parameters = Vec::new();
    for part in list.split(", ").filter(|part| !part.is_empty()) {
        if part == "*" {
            is_named_only = true;
            continue;
        }
        let (declared, default) = match part.split_once('=') {
            Some((declared, default)) => (declared, Some(default)),
            None => (part, None),
        };
        let Some((kind, name)) = declared.rsplit_once(' ') else {
            continue;
        };
        let (kind, may_be_none) = match kind.strip_suffix('?') {
            Some(kind) => (kind, true),
            None => (kind, false),
        };
        parameters.push(Parameter {
            name,
            kind: kind_of(kind),
            may_be_none,
            is_named_only,
            has_default: default.is_some(),
        });
    }
    Schema {
        target,
        parameters,
        gives_list: gives == "Tensor[]",
    }
}

fn kind_of(text: &str) -> Kind {
    match text {
        "Tensor" => Kind::Tensor,
        "Tensor[]" => Kind::Tensors,
        "Tensor?[]" => Kind::OptionalTensors,
        "int" | "SymInt" => Kind::Int,
        "float" => Kind::Float,
        "float[]" => Kind::Floats,
        "bool" => Kind::Bool,
        "str" => Kind::Str,
        "Scalar" => Kind::Scalar,
        "ScalarType" => Kind::Dtype,
        "MemoryFormat" => Kind::MemoryFormat,
        "Device" => Kind::Device,
        list => Kind::Ints {
            is_sized: !list.ends_with("[]"),
        },
    }
}

impl Kind {
    fn takes(self, value: &Value) -> bool {
        let each = |of: &dyn Fn(&Value) -> bool| match value {
            Value::List(items) => items.borrow().iter().all(of),
            Value::Tuple(items, _) => items.iter().all(of),
            _ => false,
        };
        let is_tensor = |value: &Value| matches!(value, Value::Tensor(_) | Value::Number(_));
        let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::Float(_));
        match self {
            Kind::Tensor => is_tensor(value),
            Kind::Tensors => each(&is_tensor),
            Kind::OptionalTensors => each(&|v| is_tensor(v) || matches!(v, Value::None)),
            Kind::Int | Kind::Dtype | Kind::MemoryFormat => matches!(value, Value::Int(_)),
            Kind::Ints { is_sized } => {
                each(&|v| matches!(v, Value::Int(_))) || is_sized && matches!(value, Value::Int(_))
            }
            Kind::Float => is_number(value),
            Kind::Floats => each(&is_number),
            Kind::Bool => matches!(value, Value::Bool(_)),
            Kind::Str => matches!(value, Value::Str(_)),
            Kind::Scalar => is_number(value) || matches!(value, Value::Bool(_)),
            Kind::Device => matches!(value, Value::Device),
        }
    }
}

/// A call's arguments, by the parameters of the overload that takes them.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) schema: &'static Schema,
    /// For each parameter what is given, `None` where nothing is.
    pub(super) values: Vec<Option<Value>>,
    /// What else is given by name.
    pub(super) extras: Vec<(String, Value)>,
}

impl Bound {
    /// An argument; `None` where it is not given, or is `None`.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let at = self.schema.parameters.iter().position(|p| p.name == name);
        let value = match at {
            Some(at) => self.values[at].as_ref(),
            None => self.extras.iter().find(|(n, _)| n == name).map(|(_, v)| v),
        };
        value.filter(|value| !matches!(value, Value::None))
    }
}

/// Finds the overload that takes these arguments.
///
/// # Errors
/// A sentence: none takes them.
pub(super) fn bind(
    name: &str,
    positional: &[Value],
    named: &[(String, Value)],
) -> Result<Bound, String> {
    let mut wrong = None;
    for schema in overloads(name) {
        match bind_one(schema, positional, named) {
            Ok(bound) => return Ok(bound),
            Err(problem) => wrong = wrong.or(Some(problem)),
        }
    }
    let kinds: Vec<&str> = positional.iter().map(Value::kind).collect();
    Err(format!(
        "no overload of it that has a lowering takes {}{}",
        kinds.join(", "),
        wrong.map_or_else(String::new, |problem| format!(" ({problem})"))
    ))
}

fn bind_one(
    schema: &'static Schema,
    positional: &[Value],
    named: &[(String, Value)],
) -> Result<Bound, String> {
    let parameters = &schema.parameters;
    let mut values: Vec<Option<Value>> = vec![None; parameters.len()];
    for (i, value) in positional.iter().enumerate() {
        match parameters.get(i).filter(|p| !p.is_named_only) {
            Some(_) => values[i] = Some(value.clone()),
            // Arguments that no lowering looks at, where they ask for nothing.
            None if matches!(value, Value::None | Value::Bool(false)) => {}
            None => return Err(format!("its argument {} is one too many", i + 1)),
        }
    }
    let mut extras = Vec::new();
    for (name, value) in named {
        match parameters.iter().position(|p| p.name == name) {
            Some(at) if values[at].is_none() => values[at] = Some(value.clone()),
            Some(_) => return Err(format!("{name} is given twice")),
            None if EXTRAS.contains(&name.as_str()) || matches!(value, Value::None) => {
                extras.push((name.clone(), value.clone()));
            }
            None => return Err(format!("it takes no {name}")),
        }
    }
    for (parameter, value) in parameters.iter().zip(&values) {
        let fits = match value {
            None => parameter.has_default || parameter.is_named_only,
            Some(Value::None) => {
                parameter.may_be_none || parameter.has_default || parameter.is_named_only
            }
            Some(value) => parameter.kind.takes(value),
        };
        if !fits {
            let given = value.as_ref().map_or("nothing", Value::kind);
            return Err(format!("{} can't be {given}", parameter.name));
        }
    }
    Ok(Bound {
        schema,
        values,
        extras,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, positional: &[Value]) -> Option<String> {
        let bound = bind(name, positional, &[]).ok()?;
        Some(bound.schema.target.clone())
    }

    #[test]
    fn each_schema_is_understood() {
        for (target, text) in schemas() {
            let schema = parse(target, text);
            let count = text.matches(", ").count() - text.matches("*, ").count();
            let gives = text.split_once(") -> ").map_or("", |(_, gives)| gives);
            let count = count - gives.matches(", ").count();
            assert_eq!(schema.parameters.len(), count + 1, "{text}");
            let list = text.split_once('(').map_or("", |(_, rest)| rest);
            let list = list.split(") ->").next().unwrap_or("");
            let tensors = list.matches("Tensor").count();
            let found = schema
                .parameters
                .iter()
                .filter(|p| matches!(p.kind, Kind::Tensor | Kind::Tensors | Kind::OptionalTensors));
            assert_eq!(found.count(), tensors, "{text}");
        }
    }

    #[test]
    fn overloads_are_chosen_by_what_is_given() {
        let x = || {
            Value::Tensor(crate::script::value::TensorValue {
                name: "x".into(),
                meta: None,
                input: None,
                typed_by: 0,
            })
        };
        let ints = |list: &[i64]| Value::list(list.iter().map(|&n| Value::int(n)).collect());
        for (name, args, want) in [
            ("add", vec![x(), x()], "aten.add.Tensor"),
            ("add", vec![x(), Value::int(1)], "aten.add.Scalar"),
            ("mean", vec![x(), ints(&[1])], "aten.mean.dim"),
            ("mean", vec![x()], "aten.mean.default"),
            (
                "split",
                vec![x(), ints(&[1, 2]), Value::int(1)],
                "aten.split.sizes",
            ),
            ("split", vec![x(), Value::int(2)], "aten.split.Tensor"),
            ("max", vec![x(), Value::int(1)], "aten.max.dim"),
            ("max", vec![x(), x()], "aten.max.other"),
            ("pow", vec![x(), Value::int(2)], "aten.pow.Tensor_Scalar"),
            ("pow", vec![Value::Float(2.0), x()], "aten.pow.Scalar"),
            (
                "max_pool2d",
                vec![x(), Value::int(2)],
                "aten.max_pool2d.default",
            ),
        ] {
            assert_eq!(target(name, &args).as_deref(), Some(want));
        }
        assert_eq!(target("relu", &[Value::int(1)]), None);
        assert_eq!(target("no_such_thing", &[x()]), None);
    }
}
