//! Strings, as far as they are known.

use std::sync::Arc;

use super::facts::Step;
use super::value::Value;
use crate::lower::expr::Expr;

/// Longer strings are not made.
const MAX_TEXT: usize = 1 << 16;
/// What Python's `str` makes of a value, where that is known.
pub(super) fn text(value: &Value) -> Value {
    Value::Str(match value {
        Value::Str(text) => return Value::Str(Arc::clone(text)),
        Value::None => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(Expr::Int(n)) => n.to_string().into(),
        _ => return Value::Text,
    })
}

/// A form whose `{}` are values.
pub(super) fn filled(form: &str, values: &[Value]) -> Step<Value> {
    let mut parts = form.split("{}");
    let mut out = parts.next().unwrap_or("").to_owned();
    let mut values = values.iter();
    for part in parts {
        let Some(Value::Str(text)) = values.next().map(text) else {
            return Ok(Value::Text);
        };
        out.push_str(&text);
        out.push_str(part);
        if out.len() > MAX_TEXT {
            return Err(format!("a string of more than {MAX_TEXT} bytes").into());
        }
    }
    Ok(Value::Str(out.into()))
}

/// Two strings as one.
pub(super) fn joined(a: &str, b: &str) -> Step<Value> {
    if a.len() + b.len() > MAX_TEXT {
        return Err(format!("a string of more than {MAX_TEXT} bytes").into());
    }
    Ok(Value::Str(format!("{a}{b}").into()))
}
