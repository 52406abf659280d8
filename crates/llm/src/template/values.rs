//! What templates are given.

use std::ops::RangeInclusive;

use minijinja::Value;
use serde_json::Value as Json;

use super::{ChatInput, TemplateError};
use crate::tokenizer::SpecialTokens;

/// The key under which the sentinel is given to the JSON filter.
pub(super) const SENTINEL: &str = "__hearth_sentinel";

/// Breaks special tokens in the input.
pub(super) struct Marker<'a> {
    specials: &'a SpecialTokens,
    sentinel: char,
}

impl<'a> Marker<'a> {
    /// Finds a noncharacter that is nowhere in the input.
    pub(super) fn new(
        specials: &'a SpecialTokens,
        input: &ChatInput,
    ) -> Result<Marker<'a>, TemplateError> {
        let mut free: Vec<char> = NONCHARACTERS.collect();
        let whole = [
            Some(&input.messages),
            input.tools.as_ref(),
            input.documents.as_ref(),
        ];
        for json in whole.into_iter().flatten().chain(input.extra.values()) {
            exclude(json, &mut free);
        }
        match free.first() {
            Some(&sentinel) => Ok(Marker { specials, sentinel }),
            None => Err(TemplateError::Render {
                message: "they hold all of the noncharacters U+FDD0 to U+FDEF".to_owned(),
            }),
        }
    }

    pub(super) fn sentinel(&self) -> char {
        self.sentinel
    }

    /// A text of the user's.
    fn text(&self, text: &str) -> Value {
        match self.specials.break_up(text, self.sentinel) {
            Some(broken) => Value::from(broken),
            None => Value::from(text),
        }
    }

    fn value(&self, json: &Json) -> Value {
        match json {
            Json::Null => Value::from(()),
            Json::Bool(b) => Value::from(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(n), _) => Value::from(n),
                (None, Some(n)) => Value::from(n),
                // JSON's other numbers are floats.
                (None, None) => Value::from(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => self.text(s),
            Json::Array(list) => list.iter().map(|item| self.value(item)).collect(),
            Json::Object(map) => Value::from_pairs(
                map.iter()
                    .map(|(key, value)| (self.text(key), self.value(value))),
            ),
        }
    }

    /// A message, with its reasoning under all names that templates read, as transformers gives it.
    fn message(&self, message: &Json) -> Result<Value, TemplateError> {
        const NAMES: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
        let Json::Object(fields) = message else {
            return Err(TemplateError::Render {
                message: format!("{message} is no message"),
            });
        };
        let reasoning = NAMES
            .iter()
            .find_map(|name| fields.get(*name).filter(|value| !value.is_null()));
        let Some(reasoning) = reasoning else {
            return Ok(self.value(message));
        };
        let mut fields = fields.clone();
        if !fields.contains_key("thinking") {
            fields.shift_insert(0, "thinking".to_owned(), reasoning.clone());
        }
        fields.insert("reasoning_content".to_owned(), reasoning.clone());
        Ok(self.value(&Json::Object(fields)))
    }
}

/// What can be a sentinel.
const NONCHARACTERS: RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';

/// Takes away the noncharacters that are in the input.
fn exclude(json: &Json, free: &mut Vec<char>) {
    let mut text = |text: &str| {
        for c in text.chars().filter(|c| NONCHARACTERS.contains(c)) {
            free.retain(|&f| f != c);
        }
    };
    match json {
        Json::String(s) => text(s),
        Json::Array(list) => list.iter().for_each(|item| exclude(item, free)),
        Json::Object(map) => {
            map.keys().for_each(|key| text(key));
            map.values().for_each(|value| exclude(value, free));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// The variables of a template.
pub(super) fn context(
    input: &ChatInput,
    named_tokens: &[(&'static str, String)],
    marker: &Marker,
) -> Result<Value, TemplateError> {
    let Json::Array(messages) = &input.messages else {
        return Err(TemplateError::Render {
            message: "messages is no list".to_owned(),
        });
    };
    let messages: Vec<Value> = messages
        .iter()
        .map(|message| marker.message(message))
        .collect::<Result<_, _>>()?;
    let optional = |json: &Option<Json>| match json {
        Some(json) => marker.value(json),
        None => Value::from(()),
    };
    let mut context = Vec::new();
    for (name, text) in named_tokens {
        context.push((*name, Value::from(text.as_str())));
    }
    for (name, value) in &input.extra {
        context.push((name.as_str(), marker.value(value)));
    }
    for (name, value) in [
        ("messages", Value::from(messages)),
        ("tools", optional(&input.tools)),
        ("documents", optional(&input.documents)),
        ("add_generation_prompt", input.add_generation_prompt.into()),
        (SENTINEL, Value::from(marker.sentinel().to_string())),
    ] {
        context.push((name, value));
    }
    Ok(Value::from_pairs(context))
}
