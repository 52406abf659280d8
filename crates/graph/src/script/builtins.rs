//! What is done at once: numbers, sizes, lists, and questions about tensors.

use std::rc::Rc;

use hearth_formats::torch::ScalarType;

use super::dims::{bounded, reduced};
use super::facts::Step;
use super::run::Run;
use super::value::{Number, Value};
use crate::lower::expr::Expr;
use crate::lower::value::{Scalar, axis_of};

/// Longer lists are not made.
const MAX_LIST: usize = 1 << 16;

impl Run<'_, '_> {
    /// A function of `ops.prim`, or one without a module.
    pub(super) fn prim(&mut self, name: &str, args: Vec<Value>) -> Step<Value> {
        Ok(match (name, args.as_slice()) {
            ("NumToTensor", [Value::Int(n)]) => Value::Number(Number {
                value: Scalar::Int(n.clone()),
                dtype: ScalarType::Long,
            }),
            ("NumToTensor", [Value::Float(x)]) => Value::Number(Number {
                value: Scalar::Float(*x),
                dtype: ScalarType::Double,
            }),
            ("NumToTensor", [Value::Bool(b)]) => Value::Number(Number {
                value: Scalar::Bool(*b),
                dtype: ScalarType::Bool,
            }),
            ("int" | "Int", [value]) => Value::Int(self.as_int(value)?),
            ("float" | "Float", [value]) => Value::Float(self.as_float(value)?),
            ("bool" | "Bool", [value]) => match self.truth(value)? {
                Some(b) => Value::Bool(b),
                None => Value::Unknown,
            },
            ("str", [_]) | ("format", _) => Value::Str("".into()),
            ("range", [Value::Int(Expr::Int(end))]) => Value::Range(0, *end),
            ("range", [Value::Int(Expr::Int(start)), Value::Int(Expr::Int(end))]) => {
                Value::Range(*start, *end)
            }
            ("range", _) => return Err("a loop whose number of rounds is not known".into()),
            ("RaiseException", _) => {
                return Err("the module raises an error of its own here".into());
            }
            ("unchecked_cast" | "data" | "tolist" | "unchecked_unwrap_optional", [value, ..]) => {
                value.clone()
            }
            ("dtype" | "device" | "layout" | "is_cuda" | "ndim" | "shape", [value]) => {
                self.property(value, name)?
            }
            ("min" | "max", [Value::List(items)]) => {
                let items = items.borrow().clone();
                let mut items = items.into_iter();
                let first = items.next().ok_or("the least of no numbers")?;
                items.try_fold(first, |a, b| extreme(name, &a, &b))?
            }
            ("min" | "max", [a, b]) => extreme(name, a, b)?,
            ("abs", [value]) if value.scalar().is_some() => self.aten("abs", args, Vec::new())?,
            ("len", [_]) => self.aten("len", args, Vec::new())?,
            ("getattr", [of, Value::Str(name)]) => self.member(of, name)?,
            ("AutogradZero", []) => Value::None,
            _ => return Err(format!("no lowering for prim::{name} of {}", kinds(&args)).into()),
        })
    }

    /// What a value says of itself.
    pub(super) fn property(&mut self, of: &Value, name: &str) -> Step<Value> {
        Ok(match (of, name) {
            (Value::Tensor(_) | Value::Number(_), "dtype") => {
                let dtype = self.known(of)?.dtype;
                Value::int(dtype.code().ok_or("a type without a number")?)
            }
            (Value::Tensor(_) | Value::Number(_), "device") => Value::Device,
            (Value::Tensor(_) | Value::Number(_), "layout") => Value::int(0),
            (Value::Tensor(_) | Value::Number(_), "is_cuda" | "is_mkldnn" | "is_quantized") => {
                Value::Bool(false)
            }
            (Value::Tensor(_) | Value::Number(_), "ndim") => {
                Value::int(self.known(of)?.dims.len() as i64)
            }
            (Value::Tensor(_) | Value::Number(_), "shape") => {
                let dims = self.known(of)?.dims;
                Value::list(dims.into_iter().map(Value::Int).collect())
            }
            (Value::Tensor(_) | Value::Number(_), "T") => {
                self.aten("numpy_T", vec![of.clone()], Vec::new())?
            }
            (Value::Tensor(_) | Value::Number(_), "mT") => {
                self.aten("mT", vec![of.clone()], Vec::new())?
            }
            (Value::Device, "type") => Value::Str("cpu".into()),
            (Value::Device, "index") => Value::None,
            (other, _) => return Err(format!("{name} of {}", other.kind()).into()),
        })
    }

    fn as_int(&mut self, value: &Value) -> Step<Expr> {
        let scalar = match value {
            Value::Number(number) => number.value.clone(),
            Value::Tensor(_) => {
                return Err("a number that depends on the numbers in a tensor".into());
            }
            other => other
                .scalar()
                .ok_or_else(|| format!("an integer of {}", other.kind()))?,
        };
        Ok(match scalar {
            Scalar::Int(n) => n,
            Scalar::Float(x) if x.is_finite() => Expr::Int(x as i64),
            Scalar::Float(x) => return Err(format!("an integer of {x}").into()),
            Scalar::Bool(b) => Expr::Int(b.into()),
        })
    }

    fn as_float(&mut self, value: &Value) -> Step<f64> {
        let scalar = match value {
            Value::Number(number) => number.value.clone(),
            Value::Tensor(_) => {
                return Err("a number that depends on the numbers in a tensor".into());
            }
            Value::Str(text) => {
                let text = text.to_lowercase();
                return Ok(text.parse().map_err(|_| format!("a number of {text:?}"))?);
            }
            other => other
                .scalar()
                .ok_or_else(|| format!("a number of {}", other.kind()))?,
        };
        Ok(scalar
            .number()
            .ok_or("a floating-point number that depends on sizes")?)
    }

    /// What a function of `torch` gives at once; `None` where it becomes a node.
    pub(super) fn at_once(
        &mut self,
        name: &str,
        args: &[Value],
        named: &[(String, Value)],
    ) -> Step<Option<Value>> {
        if let [a, b] = args
            && !matches!((a, b), (Value::Tensor(_), _) | (_, Value::Tensor(_)))
            && let Some(value) = self.of_two(name, a, b)?
        {
            return Ok(Some(value));
        }
        if let [value] = args
            && let Some(value) = of_one(name, value)?
        {
            return Ok(Some(value));
        }
        if let Some(value) = self.of_lists(name, args)? {
            return Ok(Some(value));
        }
        self.of_tensors(name, args, named)
    }

    fn of_tensors(
        &mut self,
        name: &str,
        args: &[Value],
        named: &[(String, Value)],
    ) -> Step<Option<Value>> {
        let is_tensor = |value: &Value| matches!(value, Value::Tensor(_) | Value::Number(_));
        Ok(Some(match (name, args) {
            ("size", [Value::Tensor(tensor), Value::Int(Expr::Int(axis))]) => {
                // A rank that is not known is at least so large that there is this dimension.
                if let (None, Some(input)) = (&tensor.meta, tensor.input) {
                    let axis = usize::try_from(*axis).unwrap_or(0);
                    let ranks = super::facts::RANKS.into_iter().filter(|&rank| rank > axis);
                    let ranks: Vec<usize> = ranks.collect();
                    return self.facts.unknown(input, &ranks);
                }
                let dims = self.known(&args[0])?.dims;
                let axis = axis_of(*axis, dims.len())?;
                let dim = dims.get(axis).ok_or("a dimension of a scalar")?;
                Value::Int(dim.clone())
            }
            ("size", [value]) if is_tensor(value) => self.property(value, "shape")?,
            ("sym_size", [_, _]) => return self.of_tensors("size", args, named),
            // Modules ask so to tell one sample from a batch of them, which is the larger.
            ("dim", [Value::Tensor(tensor)]) if tensor.meta.is_none() => {
                let input = tensor.input.ok_or("a tensor of which nothing is known")?;
                return self.facts.unknown(input, &[4, 3, 2, 1, 5]);
            }
            ("dim", [value]) if is_tensor(value) => self.property(value, "ndim")?,
            ("numel", [value]) if is_tensor(value) => {
                Value::Int(bounded(Expr::product(self.known(value)?.dims))?)
            }
            ("stride", [value]) if is_tensor(value) => {
                let meta = self.known(value)?;
                let (strides, _) = meta.layout.ok_or("strides that are not known")?;
                Value::list(strides.into_iter().map(Value::int).collect())
            }
            ("len", [value]) if is_tensor(value) => {
                let dims = self.known(value)?.dims;
                Value::Int(dims.first().ok_or("the length of a scalar")?.clone())
            }
            ("is_floating_point", [value]) if is_tensor(value) => {
                Value::Bool(self.known(value)?.dtype.is_float())
            }
            (
                "is_complex"
                | "is_autocast_enabled"
                | "is_grad_enabled"
                | "is_scripting"
                | "is_tracing",
                _,
            ) => Value::Bool(false),
            ("is_contiguous", [value, ..]) if is_tensor(value) => Value::Bool(true),
            ("device", _) => Value::Device,
            ("Int" | "IntImplicit" | "item", [value @ Value::Number(number)]) => match number.value
            {
                Scalar::Float(_) if name == "item" => Value::Float(self.as_float(value)?),
                _ => Value::Int(self.as_int(value)?),
            },
            ("Float" | "FloatImplicit", [value @ Value::Number(_)]) => {
                Value::Float(self.as_float(value)?)
            }
            ("ScalarImplicit", [Value::Number(number)]) => Value::of(&number.value),
            ("Bool", [value]) => return self.prim("bool", vec![value.clone()]).map(Some),
            ("tensor" | "scalar_tensor" | "as_tensor", [value, ..]) if value.scalar().is_some() => {
                let scalar = value.scalar().ok_or("a tensor of no number")?;
                let said = named.iter().find(|(name, _)| name == "dtype");
                let dtype = match said {
                    Some((_, Value::Int(Expr::Int(code)))) => {
                        ScalarType::of_code(*code).ok_or("a type of no number")?
                    }
                    _ => match scalar {
                        Scalar::Float(_) => ScalarType::Float,
                        Scalar::Int(_) => ScalarType::Long,
                        Scalar::Bool(_) => ScalarType::Bool,
                    },
                };
                Value::Number(Number {
                    value: scalar,
                    dtype,
                })
            }
            ("to" | "_to_copy", [Value::Number(number), rest @ ..]) => {
                let of = |value: &Value| match value {
                    Value::Int(Expr::Int(code)) => ScalarType::of_code(*code),
                    _ => None,
                };
                let said = named.iter().find(|(name, _)| name == "dtype");
                let dtype = rest.iter().find_map(of).or(said.and_then(|(_, v)| of(v)));
                Value::Number(converted(number, dtype.unwrap_or(number.dtype))?)
            }
            (
                "detach" | "clone" | "contiguous" | "lift_fresh" | "lift_fresh_copy" | "alias"
                | "cpu",
                [value @ Value::Number(_), ..],
            ) => value.clone(),
            ("cpu" | "cuda" | "requires_grad_", [value, ..]) => value.clone(),
            ("_assert" | "_assert_async" | "warn", _) => Value::None,
            ("__is__", [a, b]) => Value::Bool(is_same(a, b)),
            ("__isnot__", [a, b]) => Value::Bool(!is_same(a, b)),
            ("format" | "str", _) => Value::Str("".into()),
            _ => return Ok(None),
        }))
    }

    /// Functions of two numbers, strings or booleans, or of numbers as tensors.
    fn of_two(&mut self, name: &str, a: &Value, b: &Value) -> Step<Option<Value>> {
        let logical = |value: bool| Ok(Some(Value::Bool(value)));
        match name {
            "eq" | "ne" => {
                let is_number = |v: &Value| matches!(v, Value::Number(_));
                if !is_number(a) && !is_number(b) {
                    return Ok(match a.equals(b) {
                        Some(equal) => Some(Value::Bool(equal == (name == "eq"))),
                        None if a.scalar().is_some() && b.scalar().is_some() => {
                            Some(Value::Unknown)
                        }
                        None => None,
                    });
                }
            }
            "__and__" | "__or__" => match (a, b) {
                (Value::Bool(x), Value::Bool(y)) => {
                    return logical(if name == "__and__" {
                        *x && *y
                    } else {
                        *x || *y
                    });
                }
                (Value::Bool(x), Value::Unknown) | (Value::Unknown, Value::Bool(x)) => {
                    let decides = *x == (name == "__or__");
                    return Ok(Some(if decides {
                        Value::Bool(*x)
                    } else {
                        Value::Unknown
                    }));
                }
                (Value::Unknown, Value::Unknown) => return Ok(Some(Value::Unknown)),
                _ => {}
            },
            _ => {}
        }
        let as_number = |value: &Value| match value {
            Value::Number(number) => Some((number.value.clone(), Some(number.dtype))),
            other => other.scalar().map(|scalar| (scalar, None)),
        };
        let (Some((x, x_type)), Some((y, y_type))) = (as_number(a), as_number(b)) else {
            return Ok(None);
        };
        let Some(value) = arithmetic(name, &x, &y)? else {
            return Ok(None);
        };
        let tensors: Vec<(ScalarType, usize)> = x_type
            .into_iter()
            .chain(y_type)
            .map(|dtype| (dtype, 0))
            .collect();
        if tensors.is_empty() {
            return Ok(Some(
                value.map_or(Value::Unknown, |value| Value::of(&value)),
            ));
        }
        let Some(value) = value else {
            return Ok(None);
        };
        let dtype = match value {
            Scalar::Bool(_) => ScalarType::Bool,
            _ => {
                let numbers: Vec<&Scalar> = [(x_type, &x), (y_type, &y)]
                    .into_iter()
                    .filter_map(|(dtype, scalar)| dtype.is_none().then_some(scalar))
                    .collect();
                let dtype = crate::lower::value::promoted(&tensors, &numbers);
                if name == "div" && !dtype.is_float() {
                    ScalarType::Float
                } else {
                    dtype
                }
            }
        };
        let number = Number { value, dtype };
        Ok(Some(Value::Number(converted(&number, dtype)?)))
    }

    fn of_lists(&mut self, name: &str, args: &[Value]) -> Step<Option<Value>> {
        let index = |n: &Expr, len: usize| -> Step<usize> {
            let n = n.int().ok_or("an index that depends on sizes")?;
            let at = if n < 0 { n + len as i64 } else { n };
            let found = usize::try_from(at).ok().filter(|&at| at < len);
            Ok(found.ok_or_else(|| format!("the index {n} of {len} items"))?)
        };
        let fits = |len: usize| -> Step {
            if len > MAX_LIST {
                return Err(format!("a list of more than {MAX_LIST} items").into());
            }
            Ok(())
        };
        Ok(Some(match (name, args) {
            ("__getitem__", [Value::List(items), Value::Int(n)]) => {
                let items = items.borrow();
                items[index(n, items.len())?].clone()
            }
            ("__getitem__", [Value::Tuple(items, _), Value::Int(n)]) => {
                items[index(n, items.len())?].clone()
            }
            ("__getitem__" | "get", [Value::Dict(items), key, rest @ ..]) => {
                let found = items
                    .borrow()
                    .iter()
                    .find(|(k, _)| k.equals(key) == Some(true))
                    .map(|(_, value)| value.clone());
                match (found, rest) {
                    (Some(value), _) => value,
                    (None, [default]) => default.clone(),
                    (None, _) if name == "get" => Value::None,
                    _ => return Err("a key that the dictionary lacks".into()),
                }
            }
            ("__getitem__", [tensor @ Value::Tensor(_), n @ Value::Int(_)]) => {
                let args = vec![tensor.clone(), Value::int(0), n.clone()];
                self.aten("select", args, Vec::new())?
            }
            ("len", [Value::List(items)]) => Value::int(items.borrow().len() as i64),
            ("len", [Value::Tuple(items, _)]) => Value::int(items.len() as i64),
            ("len", [Value::Dict(items)]) => Value::int(items.borrow().len() as i64),
            ("len", [Value::Str(text)]) => Value::int(text.chars().count() as i64),
            ("append", [Value::List(items), value]) => {
                fits(items.borrow().len() + 1)?;
                plain(value)?;
                items.borrow_mut().push(value.clone());
                args[0].clone()
            }
            ("extend", [Value::List(items), more]) => {
                let more = more.items().ok_or("a list is extended by what is none")?;
                fits(items.borrow().len() + more.len())?;
                more.iter().try_for_each(plain)?;
                items.borrow_mut().extend(more);
                Value::None
            }
            ("insert", [Value::List(items), Value::Int(n), value]) => {
                let len = items.borrow().len();
                fits(len + 1)?;
                plain(value)?;
                let n = n.int().ok_or("an index that depends on sizes")?;
                let at = if n < 0 { n + len as i64 } else { n };
                let at = usize::try_from(at).unwrap_or(0).min(len);
                items.borrow_mut().insert(at, value.clone());
                Value::None
            }
            ("pop", [Value::List(items), rest @ ..]) => {
                let len = items.borrow().len();
                let last = Value::int(-1);
                let Value::Int(n) = rest.first().unwrap_or(&last) else {
                    return Err("an index that is no integer".into());
                };
                let at = index(n, len)?;
                items.borrow_mut().remove(at)
            }
            ("reverse", [Value::List(items)]) => {
                items.borrow_mut().reverse();
                Value::None
            }
            ("_set_item", [Value::List(items), Value::Int(n), value]) => {
                let at = index(n, items.borrow().len())?;
                plain(value)?;
                items.borrow_mut()[at] = value.clone();
                args[0].clone()
            }
            ("_set_item", [Value::Dict(items), key, value]) => {
                plain(key)?;
                plain(value)?;
                let mut items = items.borrow_mut();
                match items.iter_mut().find(|(k, _)| k.equals(key) == Some(true)) {
                    Some((_, old)) => *old = value.clone(),
                    None => {
                        fits(items.len() + 1)?;
                        items.push((key.clone(), value.clone()));
                    }
                }
                Value::None
            }
            ("__contains__", [Value::Dict(items), key]) => {
                let items = items.borrow();
                Value::Bool(items.iter().any(|(k, _)| k.equals(key) == Some(true)))
            }
            ("__contains__", [list, value]) if list.items().is_some() => {
                let items = list.items().unwrap_or_default();
                let found = items.iter().map(|item| item.equals(value));
                let found = found.collect::<Option<Vec<bool>>>();
                found.map_or(Value::Unknown, |all| Value::Bool(all.contains(&true)))
            }
            ("keys" | "values" | "items", [Value::Dict(items)]) => {
                let items = items.borrow();
                let each = items.iter().map(|(key, value)| match name {
                    "keys" => key.clone(),
                    "values" => value.clone(),
                    _ => Value::tuple(vec![key.clone(), value.clone()]),
                });
                Value::list(each.collect())
            }
            ("list" | "copy", [Value::List(items)]) => Value::list(items.borrow().clone()),
            ("list", [Value::Tuple(items, _)]) => Value::list(items.to_vec()),
            ("copy", [Value::Dict(items)]) => Value::dict(items.borrow().clone()),
            ("add" | "add_", [Value::List(a), Value::List(b)]) => {
                let mut all = a.borrow().clone();
                all.extend(b.borrow().iter().cloned());
                fits(all.len())?;
                Value::list(all)
            }
            ("add", [Value::Str(a), Value::Str(b)]) => Value::Str(format!("{a}{b}").into()),
            ("mul", [Value::List(items), Value::Int(n)]) => {
                let n = n.int().ok_or("a list repeated as sizes say")?;
                let n = usize::try_from(n).unwrap_or(0);
                let items = items.borrow();
                fits(items.len().saturating_mul(n))?;
                Value::list(
                    items
                        .iter()
                        .cloned()
                        .cycle()
                        .take(items.len() * n)
                        .collect(),
                )
            }
            ("slice", [list @ (Value::List(_) | Value::Tuple(..)), rest @ ..]) => {
                let items = list.items().unwrap_or_default();
                let len = items.len() as i64;
                let bound = |at: usize, default: i64| -> Step<i64> {
                    Ok(match rest.get(at) {
                        None | Some(Value::None) => default,
                        Some(Value::Int(Expr::Int(n))) if *n < 0 => (n + len).max(0),
                        Some(Value::Int(Expr::Int(n))) => (*n).min(len),
                        Some(_) => return Err("a part of a list that depends on sizes".into()),
                    })
                };
                let (start, end) = (bound(0, 0)?, bound(1, len)?);
                let step = match rest.get(2) {
                    None | Some(Value::None) => 1,
                    Some(Value::Int(Expr::Int(n))) if *n > 0 => *n as usize,
                    Some(_) => return Err("a part of a list by such a step".into()),
                };
                let (start, end) = (start.max(0) as usize, end.max(start).max(0) as usize);
                let part = items.get(start..end).unwrap_or_default();
                let part = part.iter().step_by(step).cloned().collect();
                match list {
                    Value::List(_) => Value::list(part),
                    _ => Value::tuple(part),
                }
            }
            ("sum", [Value::List(items)])
                if items.borrow().iter().all(|v| v.scalar().is_some()) =>
            {
                let items = items.borrow().clone();
                items.into_iter().try_fold(Value::int(0), |a, b| {
                    let sum = self.of_two("add", &a, &b)?;
                    Step::Ok(sum.ok_or("a sum of what are no numbers")?)
                })?
            }
            _ => return Ok(None),
        }))
    }
}

/// What may be added to a list or dictionary: nothing that others can be added to.
fn plain(value: &Value) -> Step {
    if value.depth() > 1 {
        return Err(format!(
            "{} that holds lists is added to a list or dictionary",
            value.kind()
        )
        .into());
    }
    Ok(())
}

fn kinds(args: &[Value]) -> String {
    let kinds: Vec<&str> = args.iter().map(Value::kind).collect();
    kinds.join(", ")
}

fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Object(a), Value::Object(b)) => a == b,
        (Value::List(a), Value::List(b)) => Rc::ptr_eq(a, b),
        (Value::Tensor(a), Value::Tensor(b)) => a.name == b.name,
        _ => false,
    }
}

fn extreme(name: &str, a: &Value, b: &Value) -> Step<Value> {
    let (Some(x), Some(y)) = (a.scalar(), b.scalar()) else {
        return Err(format!("the {name} of {} and {}", a.kind(), b.kind()).into());
    };
    if a.equals(b) == Some(true) {
        return Ok(a.clone());
    }
    match (x.number(), y.number()) {
        (Some(x), Some(y)) => Ok(if (x < y) == (name == "min") {
            a.clone()
        } else {
            b.clone()
        }),
        _ => match (x, y) {
            (Scalar::Int(x), Scalar::Int(y)) => {
                let mut both = vec![x, y];
                both.sort();
                Ok(Value::Int(bounded(if name == "min" {
                    Expr::Min(both)
                } else {
                    Expr::Max(both)
                })?))
            }
            _ => Err(format!("the {name} of numbers that depend on sizes").into()),
        },
    }
}

/// A number in another type.
fn converted(number: &Number, dtype: ScalarType) -> Step<Number> {
    let value = match (&number.value, dtype) {
        (value, ScalarType::Bool) => match value.number() {
            Some(x) => Scalar::Bool(x != 0.0),
            None => return Err("a size as a boolean".into()),
        },
        (Scalar::Float(x), ScalarType::Float) => Scalar::Float(f64::from(*x as f32)),
        (Scalar::Float(x), dtype) if !dtype.is_float() => Scalar::Int(Expr::Int(*x as i64)),
        (Scalar::Bool(b), _) => Scalar::Int(Expr::Int((*b).into())),
        (Scalar::Int(Expr::Int(n)), dtype) if dtype.is_float() => Scalar::Float(*n as f64),
        (value, _) => value.clone(),
    };
    Ok(Number { value, dtype })
}

/// Functions of one number.
fn of_one(name: &str, value: &Value) -> Step<Option<Value>> {
    if let ("__not__", Value::Bool(b)) = (name, value) {
        return Ok(Some(Value::Bool(!b)));
    }
    if let ("__not__", Value::Unknown) = (name, value) {
        return Ok(Some(Value::Unknown));
    }
    let (scalar, dtype) = match value {
        Value::Number(number) => (number.value.clone(), Some(number.dtype)),
        other => match other.scalar() {
            Some(scalar) => (scalar, None),
            None => return Ok(None),
        },
    };
    let out = match (name, &scalar) {
        ("neg", Scalar::Int(n)) => Scalar::Int(bounded(Expr::product([Expr::Int(-1), n.clone()]))?),
        ("neg", Scalar::Float(x)) => Scalar::Float(-x),
        ("abs", Scalar::Int(Expr::Int(n))) => Scalar::Int(Expr::Int(n.wrapping_abs())),
        ("abs", Scalar::Float(x)) => Scalar::Float(x.abs()),
        ("floor" | "ceil" | "round" | "trunc", Scalar::Int(n)) => Scalar::Int(n.clone()),
        ("floor" | "ceil" | "round" | "trunc", Scalar::Float(x)) => {
            let x = match name {
                "floor" => x.floor(),
                "ceil" => x.ceil(),
                "round" => x.round_ties_even(),
                _ => x.trunc(),
            };
            // Of a number it is an integer, of a tensor one of its type.
            match dtype {
                None if x.is_finite() => Scalar::Int(Expr::Int(x as i64)),
                _ => Scalar::Float(x),
            }
        }
        ("sqrt" | "rsqrt" | "exp" | "log", scalar) => match scalar.number() {
            Some(x) => Scalar::Float(match name {
                "sqrt" => x.sqrt(),
                "rsqrt" => 1.0 / x.sqrt(),
                "exp" => x.exp(),
                _ => x.ln(),
            }),
            None => return Ok(None),
        },
        ("__not__", scalar) => match scalar.number() {
            Some(x) => Scalar::Bool(x == 0.0),
            None => return Ok(Some(Value::Unknown)),
        },
        _ => return Ok(None),
    };
    Ok(Some(match dtype {
        None => Value::of(&out),
        Some(dtype) => {
            let is_float = matches!(out, Scalar::Float(_));
            let dtype = if is_float && !dtype.is_float() {
                ScalarType::Float
            } else {
                dtype
            };
            Value::Number(converted(&Number { value: out, dtype }, dtype)?)
        }
    }))
}

/// A function of two numbers: the outer `None` where it is none, the inner where its result depends on sizes and is a
/// boolean.
fn arithmetic(name: &str, x: &Scalar, y: &Scalar) -> Step<Option<Option<Scalar>>> {
    let ints = match (x, y) {
        (Scalar::Int(a), Scalar::Int(b)) => Some((a.clone(), b.clone())),
        (Scalar::Int(a), Scalar::Bool(b)) => Some((a.clone(), Expr::Int((*b).into()))),
        (Scalar::Bool(a), Scalar::Int(b)) => Some((Expr::Int((*a).into()), b.clone())),
        _ => None,
    };
    let floats = x.number().zip(y.number());
    let compare = |of: fn(&f64, &f64) -> bool| Some(floats.map(|(a, b)| Scalar::Bool(of(&a, &b))));
    let size =
        |n: Expr| -> Step<Option<Option<Scalar>>> { Ok(Some(Some(Scalar::Int(bounded(n)?)))) };
    let float = |n: f64| Some(Some(Scalar::Float(n)));
    Ok(match (name, &ints, floats) {
        ("eq", _, _) if ints.as_ref().is_some_and(|(a, b)| a == b) => {
            Some(Some(Scalar::Bool(true)))
        }
        ("eq", _, _) => compare(f64::eq),
        ("ne", _, _) => compare(f64::ne),
        ("lt", _, _) => compare(f64::lt),
        ("le", _, _) => compare(f64::le),
        ("gt", _, _) => compare(f64::gt),
        ("ge", _, _) => compare(f64::ge),
        ("add", Some((a, b)), _) => return size(Expr::sum([a.clone(), b.clone()])),
        ("sub", Some((a, b)), _) => {
            let minus = Expr::product([Expr::Int(-1), b.clone()]);
            return size(Expr::sum([a.clone(), minus]));
        }
        ("mul", Some((a, b)), _) => return size(Expr::product([a.clone(), b.clone()])),
        ("floordiv" | "floor_divide", Some((a, b)), _) => {
            if b.int().is_some_and(|b| b <= 0) {
                return Err("a division by what is not positive".into());
            }
            let (a, b) = reduced(std::slice::from_ref(a), std::slice::from_ref(b));
            return size(Expr::quotient(a, b));
        }
        ("remainder", Some((a, b)), _) => {
            if b.int().is_some_and(|b| b <= 0) {
                return Err("a remainder of what is not positive".into());
            }
            return size(match (a, b) {
                (Expr::Int(a), Expr::Int(b)) => Expr::Int(a.rem_euclid(*b)),
                (a, b) => Expr::Remainder(a.clone().into(), b.clone().into()),
            });
        }
        ("pow", Some((Expr::Int(a), Expr::Int(b))), _) => {
            let power = u32::try_from(*b).ok().and_then(|b| a.checked_pow(b));
            match power {
                Some(n) => Some(Some(Scalar::Int(Expr::Int(n)))),
                None => float((*a as f64).powf(*b as f64)),
            }
        }
        ("add", _, Some((a, b))) => float(a + b),
        ("sub", _, Some((a, b))) => float(a - b),
        ("mul", _, Some((a, b))) => float(a * b),
        ("div", _, Some((a, b))) => float(a / b),
        ("floordiv" | "floor_divide", _, Some((a, b))) => float((a / b).floor()),
        ("remainder", _, Some((a, b))) => float(a - b * (a / b).floor()),
        ("pow", _, Some((a, b))) => float(a.powf(b)),
        _ => None,
    })
}
