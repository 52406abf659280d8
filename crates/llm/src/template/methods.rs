//! Methods of Python's strings, lists and dictionaries.

use minijinja::value::{Tuple, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

/// Calls a method that minijinja does not know.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => string(state, value, text, method, args),
        None => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// Those of strings that `pycompat` lacks or has in another way.
fn string(
    state: &mut State,
    value: &Value,
    text: &str,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            if separator.is_empty() {
                return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
            }
            let parts = match method {
                "partition" => match text.split_once(separator) {
                    Some((before, after)) => [before, separator, after],
                    None => [text, "", ""],
                },
                _ => match text.rsplit_once(separator) {
                    Some((before, after)) => [before, separator, after],
                    None => ["", "", text],
                },
            };
            Ok(Value::from(Tuple::from(parts.map(Value::from))))
        }
        "rsplit" => {
            let (separator, limit): (Option<&str>, Option<i64>) = from_args(args)?;
            let limit = usize::try_from(limit.unwrap_or(-1)).unwrap_or(usize::MAX);
            let limit = limit.saturating_add(1);
            let mut parts: Vec<Value> = match separator {
                Some("") => {
                    return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
                }
                Some(separator) => text.rsplitn(limit, separator).map(Value::from).collect(),
                None => rsplit_white_space(text, limit)
                    .into_iter()
                    .map(Value::from)
                    .collect(),
            };
            parts.reverse();
            Ok(Value::from(parts))
        }
        "title" => {
            let () = from_args(args)?;
            Ok(Value::from(title(text)))
        }
        "index" => {
            let (what,): (&str,) = from_args(args)?;
            match text.find(what) {
                Some(at) => Ok(Value::from(text[..at].chars().count())),
                None => Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "substring not found",
                )),
            }
        }
        _ => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// Every run of letters with its first in upper case and the others in lower case.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for c in text.chars() {
        if within {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        within = c.is_lowercase() || c.is_uppercase();
    }
    out
}

/// Words from the right, at most `limit` parts, the last of which is the rest.
fn rsplit_white_space(text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end();
    while !rest.is_empty() {
        if parts.len() + 1 >= limit {
            parts.push(rest);
            break;
        }
        match rest.char_indices().rev().find(|(_, c)| c.is_whitespace()) {
            Some((at, space)) => {
                parts.push(&rest[at + space.len_utf8()..]);
                rest = rest[..at].trim_end();
            }
            None => {
                parts.push(rest);
                break;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_begin_at_every_letter_after_another_character() {
        assert_eq!(title("they're <b>BOLD</b> éa"), "They'Re <B>Bold</B> Éa");
    }

    #[test]
    fn words_are_split_from_the_right() {
        assert_eq!(rsplit_white_space(" a  b c ", usize::MAX), ["c", "b", "a"]);
        assert_eq!(rsplit_white_space(" a  b c ", 2), ["c", " a  b"]);
        assert_eq!(rsplit_white_space("  ", 2), [""; 0]);
    }
}
