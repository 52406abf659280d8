//! Chats to prompts, by the templates that models bring.
//!
//! Templates are Jinja2 as transformers' `apply_chat_template` runs it: blocks trimmed, loop controls, Python's methods
//! and its JSON, `raise_exception`, `strftime_now`, `{% generation %}` blocks, and the names that are given to templates.
//!
//! A message may hold the text of a special token, for example `<|im_end|>`. It stays text: before rendering, every such
//! text in messages and tools is broken by a noncharacter that is nowhere else in the input, and
//! [`Tokenizer::encode_rendered`](crate::tokenizer::Tokenizer::encode_rendered) takes for special tokens only what the
//! template itself wrote. A template that takes strings apart and puts them together in a new way could defeat this;
//! none in use does.
//!
//! Templates come with models and are not trusted: they cannot reach anything but their input, and end after a fixed
//! number of steps and of bytes written. The memory that a template's own variables take is not bounded.

mod environment;
mod error;
mod json;
mod methods;
mod prompt;
mod python;
mod sources;
mod values;

use chrono::NaiveDateTime;
use hearth_formats::Checkpoint;
use minijinja::Environment;
use serde_json::{Map, Value as Json};

use crate::tokenizer::{SpecialTokens, Tokenizer};

pub use error::TemplateError;
pub use prompt::RenderedPrompt;

/// What a chat template is given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatInput {
    /// The messages: a list of objects with `role`, `content` and what else the template knows.
    pub messages: Json,
    /// The tools that the model may call, as JSON schemas; templates tell an empty list from none.
    pub tools: Option<Json>,
    /// Documents that the model may use.
    pub documents: Option<Json>,
    /// Whether the prompt ends in the beginning of the assistant's message.
    pub add_generation_prompt: bool,
    /// Other variables, such as `enable_thinking`. They take precedence over all but the above.
    pub extra: Map<String, Json>,
}

/// A model's chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    specials: SpecialTokens,
    /// `bos_token`, `eos_token` and so on.
    named_tokens: Vec<(&'static str, String)>,
}

impl ChatTemplate {
    /// The chat template of a model: from `chat_template.jinja`, `chat_template.json` or `tokenizer_config.json` of its
    /// folder, or from `tokenizer.chat_template` of its metadata.
    ///
    /// A model without one gets ChatML where its vocabulary has ChatML's tokens. GPT-2, which knows no chats, gets lines
    /// of the form `role: content`. Others get `None`.
    ///
    /// # Errors
    /// Files that cannot be read, or a template with a syntax error.
    pub fn open(
        checkpoint: &Checkpoint,
        tokenizer: &Tokenizer,
    ) -> Result<Option<ChatTemplate>, TemplateError> {
        let templates = sources::of_checkpoint(checkpoint)?;
        if templates.default.is_some() || !templates.named.is_empty() {
            return ChatTemplate::compile(templates, tokenizer).map(Some);
        }
        let fallback = match sources::fallback(checkpoint.architecture(), tokenizer) {
            Some(source) => source,
            None => return Ok(None),
        };
        ChatTemplate::from_source(fallback, tokenizer).map(Some)
    }

    /// A template from its source.
    ///
    /// # Errors
    /// A syntax error.
    pub fn from_source(source: &str, tokenizer: &Tokenizer) -> Result<ChatTemplate, TemplateError> {
        let templates = sources::only(source.to_owned());
        ChatTemplate::compile(templates, tokenizer)
    }

    fn compile(
        templates: sources::ChatTemplates,
        tokenizer: &Tokenizer,
    ) -> Result<ChatTemplate, TemplateError> {
        Ok(ChatTemplate {
            environment: environment::compile(templates)?,
            specials: tokenizer.specials().clone(),
            named_tokens: tokenizer.named_tokens().to_vec(),
        })
    }

    /// Renders a chat, now by the local clock.
    ///
    /// # Errors
    /// [`TemplateError::Raised`] where the template refuses the chat in its own words, [`TemplateError::Render`] where it
    /// cannot take it or runs out of its bounds.
    pub fn render(&self, input: &ChatInput) -> Result<RenderedPrompt, TemplateError> {
        self.render_at(input, chrono::Local::now().naive_local())
    }

    /// [`ChatTemplate::render`] at a given time, which templates ask for by `strftime_now`.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_at(
        &self,
        input: &ChatInput,
        now: NaiveDateTime,
    ) -> Result<RenderedPrompt, TemplateError> {
        let marker = values::Marker::new(&self.specials, input)?;
        let context = values::context(input, &self.named_tokens, &marker)?;
        let name = match self.environment.get_template(environment::TOOL_USE) {
            Ok(_) if input.tools.is_some() => environment::TOOL_USE,
            _ => environment::DEFAULT,
        };
        let template = self
            .environment
            .get_template(name)
            .map_err(|e| TemplateError::of(&e, marker.sentinel()))?;
        let marked = environment::render(&template, context, now)
            .map_err(|e| TemplateError::of(&e, marker.sentinel()))?;
        Ok(RenderedPrompt::new(marked, marker.sentinel()))
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").finish_non_exhaustive()
    }
}
