//! Where templates come from.

use hearth_formats::Checkpoint;
pub(super) use hearth_formats::checkpoint::tokenizer::ChatTemplates;
use hearth_formats::checkpoint::tokenizer::chat_templates;

use super::TemplateError;
use crate::tokenizer::Tokenizer;

/// The metadata key of the default template; others have its name after a dot.
const KEY: &str = "tokenizer.chat_template";

/// For models whose vocabulary has ChatML's tokens and that bring no template.
const CHATML: &str = "\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string -%}
{{ message.content }}
{%- elif message.content -%}
{%- for part in message.content -%}{{ part.text }}{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}";

/// For models that know no chats.
const LINES: &str = "\
{%- for message in messages -%}
{{ message.role + ': ' }}
{%- if message.content is string -%}
{{ message.content }}
{%- elif message.content -%}
{%- for part in message.content -%}{{ part.text }}{%- endfor -%}
{%- endif -%}
{{ '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ 'assistant:' }}
{%- endif -%}";

pub(super) fn only(source: String) -> ChatTemplates {
    ChatTemplates {
        default: Some(source),
        named: Vec::new(),
    }
}

pub(super) fn of_checkpoint(checkpoint: &Checkpoint) -> Result<ChatTemplates, TemplateError> {
    if let Some(folder) = checkpoint.folder() {
        return Ok(chat_templates(folder)?);
    }
    let metadata = checkpoint.metadata();
    let mut templates = ChatTemplates {
        default: metadata.get_str(KEY)?.map(str::to_owned),
        named: Vec::new(),
    };
    for (key, _) in metadata.iter() {
        if let Some(name) = key
            .strip_prefix(KEY)
            .and_then(|rest| rest.strip_prefix('.'))
            && let Some(source) = metadata.get_str(key)?
        {
            templates.named.push((name.to_owned(), source.to_owned()));
        }
    }
    Ok(templates)
}

/// A template for a model that brings none.
pub(super) fn fallback(architecture: &str, tokenizer: &Tokenizer) -> Option<&'static str> {
    let is_special = |text| {
        tokenizer
            .token_id(text)
            .is_some_and(|id| tokenizer.is_special(id))
    };
    if is_special("<|im_start|>") && is_special("<|im_end|>") {
        Some(CHATML)
    } else if architecture == "gpt2" {
        Some(LINES)
    } else {
        None
    }
}
