//! Values as Python's `str` and `repr` write them.

use minijinja::Value;
use minijinja::value::ValueKind;

/// Values in values that are written one by one; deeper ones are left to minijinja.
const MAX_DEPTH: usize = 100;

/// What `str` gives.
pub(super) fn text(value: &Value) -> String {
    written(value, false, 0)
}

fn written(value: &Value, quoted: bool, depth: usize) -> String {
    let items = |open: &str, close: &str| -> Option<String> {
        let items = value.try_iter().ok()?;
        let items: Vec<String> = items.map(|v| written(&v, true, depth + 1)).collect();
        Some(format!("{open}{}{close}", items.join(", ")))
    };
    let special = match value.kind() {
        _ if depth > MAX_DEPTH => None,
        ValueKind::Number if !value.is_integer() => f64::try_from(value.clone()).ok().map(float),
        ValueKind::Seq if value.is_tuple() && value.len() == Some(1) => items("(", ",)"),
        ValueKind::Seq if value.is_tuple() => items("(", ")"),
        ValueKind::Seq => items("[", "]"),
        _ => None,
    };
    match special {
        Some(text) => text,
        None if value.kind() == ValueKind::Map && depth <= MAX_DEPTH => {
            map(value, depth).unwrap_or_else(|| value.to_string())
        }
        None if quoted => format!("{value:?}"),
        None => value.to_string(),
    }
}

fn map(value: &Value, depth: usize) -> Option<String> {
    let mut pairs = Vec::new();
    for key in value.try_iter().ok()? {
        let item = value.get_item(&key).ok()?;
        let (key, item) = (
            written(&key, true, depth + 1),
            written(&item, true, depth + 1),
        );
        pairs.push(format!("{key}: {item}"));
    }
    Some(format!("{{{}}}", pairs.join(", ")))
}

/// A float: the shortest digits that lead back to it, in scientific notation below 1e-4 and from 1e16 on.
pub(super) fn float(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{float}");
    if plain.contains('.') {
        plain
    } else {
        format!("{plain}.0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1.5e-5, "1.5e-05"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-2.5e100, "-2.5e+100"),
            (123456.789, "123456.789"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(float(value), text);
        }
    }
}
