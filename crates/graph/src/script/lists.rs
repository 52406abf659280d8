//! What is done at once with lists, tuples and dictionaries.

use super::facts::Step;
use super::run::Run;
use super::texts::joined;
use super::value::Value;
use crate::lower::expr::Expr;

/// Longer lists are not made.
const MAX_LIST: usize = 1 << 16;

impl Run<'_, '_> {
    /// Functions of lists, tuples and dictionaries; `None` where it is none.
    pub(super) fn of_lists(&mut self, name: &str, args: &[Value]) -> Step<Option<Value>> {
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
                let items = items.borrow();
                let found = found(&items, key)?.map(|at| items[at].1.clone());
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
                match found(&items, key)? {
                    Some(at) => items[at].1 = value.clone(),
                    None => {
                        fits(items.len() + 1)?;
                        items.push((key.clone(), value.clone()));
                    }
                }
                Value::None
            }
            ("__contains__", [Value::Dict(items), key]) => {
                Value::Bool(found(&items.borrow(), key)?.is_some())
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
            ("add", [Value::Str(a), Value::Str(b)]) => joined(a, b)?,
            ("add", [Value::Str(_) | Value::Text, Value::Str(_) | Value::Text]) => Value::Text,
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
            ("all" | "any", [Value::List(items)])
                if items
                    .borrow()
                    .iter()
                    .all(|v| matches!(v, Value::Bool(_) | Value::Unknown)) =>
            {
                // One that decides does so whatever the others are.
                let (items, decisive) = (items.borrow(), name == "any");
                let is = |wanted: &Value| items.iter().any(|v| v.equals(wanted) == Some(true));
                match items.iter().any(|v| matches!(v, Value::Unknown)) {
                    _ if is(&Value::Bool(decisive)) => Value::Bool(decisive),
                    true => Value::Unknown,
                    false => Value::Bool(!decisive),
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

/// Where a dictionary has a key; whether it has, must not depend on sizes.
fn found(items: &[(Value, Value)], key: &Value) -> Step<Option<usize>> {
    for (at, (known, _)) in items.iter().enumerate() {
        match known.equals(key) {
            Some(true) => return Ok(Some(at)),
            Some(false) => {}
            None => return Err(format!("{} as a key beside {}", key.kind(), known.kind()).into()),
        }
    }
    Ok(None)
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
