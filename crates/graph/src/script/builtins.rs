//! What is done at once: numbers, sizes, lists, and questions about tensors.

use std::rc::Rc;

use hearth_formats::torch::ScalarType;

use super::dims::bounded;
use super::facts::Step;
use super::numbers::{clamped, converted, extreme, of_one};
use super::run::Run;
use super::texts::{filled, text};
use super::value::{Number, Value};
use crate::lower::expr::Expr;
use crate::lower::value::{Scalar, axis_of};

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
            ("str", [value]) => text(value),
            ("format", [Value::Str(form), values @ ..]) => filled(form, values)?,
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
            (
                "dtype" | "device" | "layout" | "is_cuda" | "is_nested" | "is_sparse" | "ndim"
                | "shape" | "type" | "index",
                [value],
            ) => self.property(value, name)?,
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
            (
                Value::Tensor(_) | Value::Number(_),
                "is_cuda" | "is_mkldnn" | "is_quantized" | "is_nested" | "is_sparse",
            ) => Value::Bool(false),
            (Value::Tensor(_) | Value::Number(_), "ndim") => {
                Value::int(self.known(of)?.dims.len() as i64)
            }
            (Value::Tensor(tensor), "shape")
                if tensor.meta.is_none()
                    && let (Some(input), Some(rank)) = (tensor.input, self.facts.likely_rank) =>
            {
                let rest = super::facts::RANKS.into_iter().filter(|&r| r != rank);
                let ranks: Vec<usize> = [rank].into_iter().chain(rest).collect();
                return self.facts.unknown(input, &ranks);
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
        // What is given by name (a rounding, a factor) only a node minds.
        if named.is_empty()
            && let Some(value) = self.of_values(name, args)?
        {
            return Ok(Some(value));
        }
        self.of_tensors(name, args, named)
    }

    fn of_values(&mut self, name: &str, args: &[Value]) -> Step<Option<Value>> {
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
        self.of_lists(name, args)
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
            ("str", [value]) => text(value),
            ("format", [Value::Str(form), values @ ..]) => filled(form, values)?,
            ("clamp" | "clamp_min" | "clamp_max", [Value::Number(number), bounds @ ..])
                if named.is_empty() =>
            {
                return clamped(name, number, bounds);
            }
            ("dict", []) => Value::dict(Vec::new()),
            _ => return Ok(None),
        }))
    }
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
