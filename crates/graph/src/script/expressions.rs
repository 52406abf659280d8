//! Expressions of a function that runs, and calls of other functions.

use std::sync::Arc;

use hearth_formats::torchscript::syntax::{Call, Expr as Syntax};
use hearth_formats::torchscript::{ScriptValue, ValueId};

use super::constants;
use super::contexts::{context, manage};
use super::facts::Step;
use super::run::{Frame, MAX_STEPS, Run};
use super::value::Value;

/// Lists, tuples and dictionaries in each other, deeper than anybody needs.
const MAX_NESTED: usize = 16;
/// Bytes of an attribute's path, more than any module has.
const MAX_PATH: usize = 1024;

impl<'a> Run<'a, '_> {
    /// The value of an expression.
    pub(super) fn eval(&mut self, expr: &'a Syntax, frame: &Frame<'a>) -> Step<Value> {
        self.sink()?;
        let value = match expr {
            Syntax::None => Value::None,
            Syntax::Bool(b) => Value::Bool(*b),
            Syntax::Int(n) => Value::int(*n),
            Syntax::Float(x) => Value::Float(*x),
            Syntax::Str(text) => Value::Str(Arc::clone(text)),
            Syntax::Name(name) => match frame.names.get(name.as_str()) {
                Some(value) => value.clone(),
                None => match name.as_str() {
                    "inf" => Value::Float(f64::INFINITY),
                    "nan" => Value::Float(f64::NAN),
                    _ => return Err(format!("the name {name} was given no value").into()),
                },
            },
            Syntax::List(items) => Value::list(self.all(items, frame)?),
            Syntax::Tuple(items) => Value::tuple(self.all(items, frame)?),
            Syntax::Dict(items) => {
                let mut pairs = Vec::with_capacity(items.len());
                for (key, value) in items {
                    pairs.push((self.eval(key, frame)?, self.eval(value, frame)?));
                }
                Value::dict(pairs)
            }
            Syntax::Attribute(of, name) => self.attribute(expr, of, name, frame)?,
            Syntax::Call(call) => self.call(call, frame)?,
            other => self.operator(other, frame)?,
        };
        if value.depth() > MAX_NESTED {
            return Err(format!("values more than {MAX_NESTED} deep in each other").into());
        }
        self.depth -= 1;
        Ok(value)
    }

    fn all(&mut self, items: &'a [Syntax], frame: &Frame<'a>) -> Step<Vec<Value>> {
        items.iter().map(|item| self.eval(item, frame)).collect()
    }

    /// Expressions that TorchScript has signs for, as calls of the functions that they stand for.
    fn operator(&mut self, expr: &'a Syntax, frame: &Frame<'a>) -> Step<Value> {
        match expr {
            Syntax::Index(of, index) => {
                let items = vec![self.eval(of, frame)?, self.eval(index, frame)?];
                self.aten("__getitem__", items, Vec::new())
            }
            Syntax::Slice(of, start, end) => {
                let of = self.eval(of, frame)?;
                let mut end_of = |bound: &'a Option<Box<Syntax>>| match bound {
                    Some(bound) => self.eval(bound, frame),
                    None => Ok(Value::None),
                };
                let items = vec![of, end_of(start)?, end_of(end)?];
                self.aten("slice", items, Vec::new())
            }
            Syntax::Negative(of) => {
                let of = self.eval(of, frame)?;
                self.aten("neg", vec![of], Vec::new())
            }
            Syntax::Not(of) => {
                let of = self.eval(of, frame)?;
                self.aten("__not__", vec![of], Vec::new())
            }
            Syntax::Choice {
                condition,
                then,
                otherwise,
            } => {
                let condition = self.eval(condition, frame)?;
                match self.truth(&condition)? {
                    Some(true) => self.eval(then, frame),
                    Some(false) => self.eval(otherwise, frame),
                    None => Err("a choice that depends on the sizes of inputs".into()),
                }
            }
            Syntax::Binary(sign @ ("and" | "or"), left, right) => {
                let left = self.eval(left, frame)?;
                match (*sign, self.truth(&left)?) {
                    ("and", Some(false)) | ("or", Some(true)) => Ok(left),
                    _ => {
                        let right = self.eval(right, frame)?;
                        let name = if *sign == "and" { "__and__" } else { "__or__" };
                        self.aten(name, vec![left, right], Vec::new())
                    }
                }
            }
            Syntax::Binary(sign, left, right) => {
                let items = vec![self.eval(left, frame)?, self.eval(right, frame)?];
                let name = match *sign {
                    "+" => "add",
                    "-" => "sub",
                    "*" => "mul",
                    "/" => "div",
                    "//" => "floordiv",
                    "%" => "remainder",
                    "**" => "pow",
                    "==" => "eq",
                    "!=" => "ne",
                    "<" => "lt",
                    "<=" => "le",
                    ">" => "gt",
                    ">=" => "ge",
                    "&" => "__and__",
                    "|" => "__or__",
                    "^" => "__xor__",
                    "is" => "__is__",
                    "is not" => "__isnot__",
                    other => return Err(format!("the operator {other}").into()),
                };
                self.aten(name, items, Vec::new())
            }
            _ => Err("an expression of a kind that is not known".into()),
        }
    }

    /// A path of names that begins with none of the function's own.
    fn global(expr: &Syntax, frame: &Frame<'a>) -> Option<String> {
        let path = expr.path()?;
        let first = path.split('.').next().unwrap_or("");
        (!frame.names.contains_key(first)).then_some(path)
    }

    fn attribute(
        &mut self,
        whole: &'a Syntax,
        of: &'a Syntax,
        name: &str,
        frame: &Frame<'a>,
    ) -> Step<Value> {
        if let Some(path) = Self::global(whole, frame) {
            if let Some(n) = path.strip_prefix("CONSTANTS.c") {
                return self.constant(n);
            }
            return Ok(Value::Function(path.into()));
        }
        let of = self.eval(of, frame)?;
        self.member(&of, name)
    }

    /// An attribute of a value.
    pub(super) fn member(&mut self, of: &Value, name: &str) -> Step<Value> {
        match of {
            Value::Object(id) => {
                let data = self.archive.data();
                let ScriptValue::Object { class, attributes } = data.get(*id) else {
                    return Err("an attribute of what is no object".into());
                };
                let value = attributes.get(name);
                let value = value.ok_or_else(|| format!("{class} has no attribute {name}"))?;
                let above = self.paths.get(id).map_or("", String::as_str);
                // Each object that is met keeps its path.
                if above.len() + name.len() > MAX_PATH {
                    return Err("an attribute whose path is too long".into());
                }
                let path = match above {
                    "" => name.to_owned(),
                    above => format!("{above}.{name}"),
                };
                self.stored(*value, path, 0)
            }
            Value::Tuple(items, Some(names)) => {
                let at = names.iter().position(|known| known == name);
                let item = at.and_then(|at| items.get(at));
                Ok(item
                    .ok_or_else(|| format!("the tuple has no {name}"))?
                    .clone())
            }
            other => self.property(other, name),
        }
    }

    /// A value of the archive. Lists in it are of plain values, or of lists of those.
    fn stored(&mut self, id: ValueId, path: String, nested: usize) -> Step<Value> {
        if nested > 4 {
            return Err(format!("the attribute {path} is nested too deeply").into());
        }
        Ok(match self.archive.data().get(id) {
            ScriptValue::None => Value::None,
            ScriptValue::Bool(b) => Value::Bool(*b),
            ScriptValue::Int(n) => Value::int(*n),
            ScriptValue::Float(x) => Value::Float(*x),
            ScriptValue::Str(text) => Value::Str(Arc::clone(text)),
            ScriptValue::List(items) => Value::list(self.stored_all(items, &path, nested)?),
            ScriptValue::Tuple(items) => Value::tuple(self.stored_all(items, &path, nested)?),
            ScriptValue::Dict(items) => {
                let keys: Vec<ValueId> = items.iter().map(|(key, _)| *key).collect();
                let values: Vec<ValueId> = items.iter().map(|(_, value)| *value).collect();
                let keys = self.stored_all(&keys, &path, nested)?;
                let values = self.stored_all(&values, &path, nested)?;
                Value::dict(keys.into_iter().zip(values).collect())
            }
            ScriptValue::Object { .. } => {
                self.paths.entry(id).or_insert(path);
                Value::Object(id)
            }
            ScriptValue::Tensor(tensor) => Value::Tensor(self.graph.weight(id, &path, tensor)),
            _ => return Err(format!("the attribute {path} is of a kind that is not read").into()),
        })
    }

    fn stored_all(&mut self, items: &[ValueId], path: &str, nested: usize) -> Step<Vec<Value>> {
        const MAX_ITEMS: usize = 1 << 16;
        self.steps += items.len();
        if self.steps > MAX_STEPS || items.len() > MAX_ITEMS {
            return Err(format!("the attribute {path} is too long a list").into());
        }
        items
            .iter()
            .enumerate()
            .map(|(i, &item)| self.stored(item, format!("{path}.{i}"), nested + 1))
            .collect()
    }

    fn constant(&mut self, n: &str) -> Step<Value> {
        let value = n.parse().ok().and_then(|n| self.archive.constant(n));
        match value {
            Some(ScriptValue::Tensor(tensor)) => Ok(match constants::number(tensor) {
                Some(number) => Value::Number(number),
                None => Value::Tensor(self.graph.constant(&format!("c{n}"), tensor)),
            }),
            _ => Err(format!("the archive has no constant c{n}").into()),
        }
    }

    fn call(&mut self, call: &'a Call, frame: &Frame<'a>) -> Step<Value> {
        let path = Self::global(&call.function, frame);
        // The first argument of these is a type.
        match path.as_deref() {
            Some("annotate" | "unchecked_cast") => {
                let [kind, value] = call.arguments.as_slice() else {
                    return Err("a type and a value were expected".into());
                };
                let value = self.eval(value, frame)?;
                return Ok(match (kind, value) {
                    (Syntax::Name(name), Value::Number(number)) if name == "number" => {
                        Value::of(&number.value)
                    }
                    (_, value) => value,
                });
            }
            Some("uninitialized") => return Ok(Value::Nothing),
            Some("isinstance") => {
                let [value, kind] = call.arguments.as_slice() else {
                    return Err("a value and a type were expected".into());
                };
                let value = self.eval(value, frame)?;
                return self.is_instance(&value, kind).map(Value::Bool);
            }
            _ => {}
        }
        let mut positional = self.all(&call.arguments, frame)?;
        let mut named = Vec::with_capacity(call.named.len());
        for (name, value) in &call.named {
            named.push((name.clone(), self.eval(value, frame)?));
        }
        if let Some(path) = path {
            return self.named_call(&path, positional, named);
        }
        // A method: of a module, or of a function that a name stands for.
        if let Syntax::Attribute(of, method) = &call.function {
            let of = self.eval(of, frame)?;
            if let Value::Manager(manager) = &of {
                return manage(manager, method, &positional, &named);
            }
            if let Value::Object(id) = of {
                let ScriptValue::Object { class, .. } = self.archive.data().get(id) else {
                    return Err("a method of what is no object".into());
                };
                let code = self
                    .archive
                    .method(class, method)
                    .ok_or_else(|| format!("{class} has no method {method}"))?;
                positional.insert(0, of);
                return self.function(code, positional, named);
            }
            positional.insert(0, of);
            return self.aten(method, positional, named);
        }
        match self.eval(&call.function, frame)? {
            Value::Function(path) => self.named_call(&path, positional, named),
            other => Err(format!("a call of {}", other.kind()).into()),
        }
    }

    fn named_call(
        &mut self,
        path: &str,
        positional: Vec<Value>,
        named: Vec<(String, Value)>,
    ) -> Step<Value> {
        if let Some(context) = context(path) {
            return Ok(context);
        }
        if path.starts_with("__torch__.") {
            if let Some(code) = self.archive.function(path) {
                return self.function(code, positional, named);
            }
            return match self.archive.class(path) {
                Some(class) if class.base == "NamedTuple" => {
                    let names = class.fields.iter().map(|(name, _)| name.clone()).collect();
                    Ok(Value::named_tuple(positional, names))
                }
                Some(_) => Err(format!("it makes an object of the class {path}").into()),
                None => Err(format!("the archive has no code of {path}").into()),
            };
        }
        if let Some(name) = path
            .strip_prefix("torch.")
            .or_else(|| path.strip_prefix("ops.aten."))
        {
            return self.aten(name, positional, named);
        }
        if let Some(name) = path.strip_prefix("ops.prim.") {
            return self.prim(name, positional);
        }
        if path.contains('.') {
            return Err(format!("no lowering for {path}").into());
        }
        self.prim(path, positional)
    }

    fn is_instance(&self, value: &Value, kind: &Syntax) -> Step<bool> {
        let name = match kind {
            Syntax::Index(of, _) => of.path(),
            Syntax::List(kinds) | Syntax::Tuple(kinds) => {
                for kind in kinds {
                    if !matches!(kind, Syntax::List(_) | Syntax::Tuple(_))
                        && self.is_instance(value, kind)?
                    {
                        return Ok(true);
                    }
                }
                return Ok(false);
            }
            other => other.path(),
        };
        let name = name.unwrap_or_default();
        Ok(match (name.as_str(), value) {
            ("Tensor", Value::Tensor(_) | Value::Number(_))
            | ("int", Value::Int(_))
            | ("float", Value::Float(_))
            | ("bool", Value::Bool(_) | Value::Unknown)
            | ("str", Value::Str(_) | Value::Text)
            | ("List" | "list", Value::List(_))
            | ("Tuple" | "tuple", Value::Tuple(..))
            | ("Dict" | "dict", Value::Dict(_))
            | ("NoneType", Value::None) => true,
            (
                "Tensor" | "int" | "float" | "bool" | "str" | "List" | "list" | "Tuple" | "tuple"
                | "Dict" | "dict" | "NoneType",
                _,
            ) => false,
            (other, _) => return Err(format!("isinstance of {other}").into()),
        })
    }
}
