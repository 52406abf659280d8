//! Jinja as transformers sets it up.

use std::io::{self, Write};

use chrono::NaiveDateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Template, Value};

use super::error::Raised;
use super::sources::ChatTemplates;
use super::{TemplateError, json, methods, python};

/// The template that is used where nothing else is said.
pub(super) const DEFAULT: &str = "default";
/// The template for chats with tools.
pub(super) const TOOL_USE: &str = "tool_use";

/// Steps that a template may take: a hundred thousand messages' worth.
const FUEL: u64 = 20_000_000;
/// Bytes that a template may write; the same.
const MAX_OUTPUT: usize = 64 << 20;

/// The key of the state under which a rendering's time is.
const NOW: &str = "__hearth_now";

pub(super) fn compile(templates: ChatTemplates) -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .map_err(syntax_error)?;
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(|out, _state, value| {
        let written = match value.as_str() {
            Some(text) => out.write_str(text),
            None => out.write_str(&python::text(value)),
        };
        written.map_err(Error::from)
    });
    environment.add_filter("string", |value: &Value| match value.as_str() {
        Some(_) => value.clone(),
        None => Value::from(python::text(value)),
    });
    environment.add_filter("tojson", json::tojson);
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    // Whatever has a length and items, which strings and mappings have in Python.
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::String | ValueKind::Seq | ValueKind::Map
        )
    });
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(
                Error::new(ErrorKind::InvalidOperation, "raised by the template")
                    .with_source(Raised(message)),
            )
        },
    );
    environment.add_function("strftime_now", strftime_now);
    let default = match templates.default {
        Some(source) => Some(source),
        // Without a default, the one for tools serves for all.
        None => templates
            .named
            .iter()
            .find(|(name, _)| name == TOOL_USE)
            .map(|(_, source)| source.clone()),
    };
    let Some(default) = default else {
        let names: Vec<&str> = templates
            .named
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        return Err(TemplateError::Syntax {
            message: format!("none of the templates is the default: {}", names.join(", ")),
        });
    };
    let named = templates
        .named
        .into_iter()
        .filter(|(name, _)| name == TOOL_USE);
    for (name, source) in std::iter::once((DEFAULT.to_owned(), default)).chain(named) {
        environment
            .add_template_owned(name, without_generation(&source))
            .map_err(syntax_error)?;
    }
    Ok(environment)
}

fn syntax_error(error: Error) -> TemplateError {
    TemplateError::Syntax {
        message: error.to_string(),
    }
}

/// Makes `{% generation %}` blocks, which mark the assistant's words for training, blocks that do nothing.
fn without_generation(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some((inner, after)) = tag[2..].split_once("%}") else {
            rest = tag;
            break;
        };
        let name = inner.trim_matches(['-', '+']).trim();
        let replacement = match name {
            "generation" => Some("with"),
            "endgeneration" => Some("endwith"),
            _ => None,
        };
        match replacement {
            Some(replacement) => {
                out.push_str("{%");
                out.push_str(&inner.replacen(name, replacement, 1));
                out.push_str("%}");
                rest = after;
            }
            None => {
                out.push_str("{%");
                rest = &tag[2..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn strftime_now(state: &State, format: &str) -> Result<String, Error> {
    use std::fmt::Write as _;
    let now = state
        .lookup(NOW)
        .and_then(|now| now.downcast_object_ref::<Now>().map(|now| now.0))
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "there is no time here"))?;
    let mut text = String::new();
    write!(text, "{}", now.format(format)).map_err(|_| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("strftime_now: {format:?} is no format of a time"),
        )
    })?;
    Ok(text)
}

/// The time of a rendering.
#[derive(Debug)]
struct Now(NaiveDateTime);

impl minijinja::value::Object for Now {}

/// Renders a template within its bounds.
pub(super) fn render(
    template: &Template,
    context: Value,
    now: NaiveDateTime,
) -> Result<String, Error> {
    let mut output = Bounded(Vec::new());
    let context = minijinja::context! {
        ..minijinja::value::Value::from_pairs([(NOW, Value::from_object(Now(now)))]), ..context
    };
    template.render_captured_to(context, &mut output)?;
    String::from_utf8(output.0).map_err(|e| {
        Error::new(ErrorKind::InvalidOperation, "the output is no UTF-8").with_source(e)
    })
}

/// Output up to [`MAX_OUTPUT`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other(format!(
                "the template writes more than {MAX_OUTPUT} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_blocks_keep_their_white_space_control() {
        assert_eq!(
            without_generation("{% if x %}{%- generation -%}a{% endgeneration +%}{% endif %} {%"),
            "{% if x %}{%- with -%}a{% endwith +%}{% endif %} {%"
        );
    }
}
