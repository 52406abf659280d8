//! What is done at once with numbers, those that are tensors among them.

use hearth_formats::torch::ScalarType;

use super::dims::{bounded, reduced};
use super::facts::Step;
use super::run::Run;
use super::value::{Number, Value};
use crate::lower::expr::Expr;
use crate::lower::value::{Scalar, promoted};

impl Run<'_, '_> {
    /// Functions of two numbers, strings or booleans, or of numbers as tensors.
    pub(super) fn of_two(&mut self, name: &str, a: &Value, b: &Value) -> Step<Option<Value>> {
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
                        None if matches!(
                            (a, b),
                            (Value::Text, _)
                                | (_, Value::Text)
                                | (
                                    Value::List(_) | Value::Tuple(..),
                                    Value::List(_) | Value::Tuple(..)
                                )
                        ) =>
                        {
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
                let dtype = promoted(&tensors, &numbers);
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
}

/// A number as a tensor, between bounds.
pub(super) fn clamped(name: &str, number: &Number, bounds: &[Value]) -> Step<Option<Value>> {
    let (low, high) = match (name, bounds) {
        ("clamp_max", [high]) => (None, Some(high)),
        ("clamp" | "clamp_min", [low]) => (Some(low), None),
        ("clamp", [low, high]) => (Some(low), Some(high)),
        _ => return Ok(None),
    };
    let is_nan = |value: &Scalar| matches!(value, Scalar::Float(x) if x.is_nan());
    let bounds = [low, high].into_iter().flatten();
    if is_nan(&number.value) || bounds.filter_map(Value::scalar).any(|bound| is_nan(&bound)) {
        return Ok(None);
    }
    let mut value = Value::of(&number.value);
    let mut scalars = Vec::new();
    for (bound, name) in [(low, "max"), (high, "min")] {
        if let Some(bound) = bound.filter(|bound| !matches!(bound, Value::None)) {
            let Some(scalar) = bound.scalar() else {
                return Ok(None);
            };
            scalars.push(scalar);
            value = extreme(name, &value, bound)?;
        }
    }
    let value = value.scalar().ok_or("bounds that are no numbers")?;
    let scalars: Vec<&Scalar> = scalars.iter().collect();
    let dtype = promoted(&[(number.dtype, 0)], &scalars);
    Ok(Some(Value::Number(converted(
        &Number { value, dtype },
        dtype,
    )?)))
}

/// The least or the greatest of two numbers.
pub(super) fn extreme(name: &str, a: &Value, b: &Value) -> Step<Value> {
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
pub(super) fn converted(number: &Number, dtype: ScalarType) -> Step<Number> {
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
pub(super) fn of_one(name: &str, value: &Value) -> Step<Option<Value>> {
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
        ("rsub", ..) => return arithmetic("sub", y, x),
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
