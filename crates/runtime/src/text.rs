//! A text model that is loaded: its tokenizer, its chat template and its engine.

use std::sync::Arc;

use hearth_llm::ModelInfo;
use hearth_llm::engine::{Engine, EngineStats, GenerateRequest, Generation};
use hearth_llm::template::{ChatInput, ChatTemplate};
use hearth_llm::tokenizer::Tokenizer;
use serde_json::{Map, Value};

use crate::Error;
use crate::length;
use crate::preparation::Preparation;

/// How a chat is put to a model that brings no template of its own: each message under the name of its
/// role, as in a written dialogue.
const PLAIN_DIALOGUE: &str = "\
{%- for message in messages -%}
{{ message.role + ': ' + message.content + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ 'assistant:' }}{% endif -%}";

/// What ends the answer of a model that brings no template: the beginning of the next speaker's line.
const PLAIN_STOPS: [&str; 2] = ["\nuser:", "\nsystem:"];

/// A chat as its model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatPrompt {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// Texts that end the answer, besides those that the request names. Empty for models with a template
    /// of their own, whose turns end with a token.
    pub stop: Vec<String>,
}

/// A text model at work.
pub struct TextService {
    name: String,
    info: ModelInfo,
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    has_own_template: bool,
    engine: Engine,
    preparation: Preparation,
}

impl TextService {
    /// Puts the parts of a loaded model together. Without a `template` of the model's own, chats are
    /// written as plain dialogues.
    pub(crate) fn new(
        name: String,
        info: ModelInfo,
        tokenizer: Arc<Tokenizer>,
        template: Option<ChatTemplate>,
        engine: Engine,
        preparation: Preparation,
    ) -> Result<Self, Error> {
        let has_own_template = template.is_some();
        let template = match template {
            Some(template) => template,
            None => ChatTemplate::from_source(PLAIN_DIALOGUE, &tokenizer)?,
        };
        Ok(Self {
            name,
            info,
            tokenizer,
            template,
            has_own_template,
            engine,
            preparation,
        })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Whether the model brings a chat template; without one, chats are written as plain dialogues.
    pub fn has_chat_template(&self) -> bool {
        self.has_own_template
    }

    /// Tokens that a prompt and its answer can have together.
    pub fn context_length(&self) -> usize {
        self.engine.context_length()
    }

    /// Renders `messages` (objects with `role` and `content`) and encodes the outcome, the beginning of
    /// the model's turn included. `options` are further variables of the template.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for messages that the template refuses; [`Error::ContextLength`] as for
    /// [`Self::tokenize`].
    pub async fn chat_prompt(
        self: &Arc<Self>,
        messages: Vec<Value>,
        options: Map<String, Value>,
    ) -> Result<ChatPrompt, Error> {
        let service = Arc::clone(self);
        let work = move || {
            let texts = messages
                .iter()
                .filter_map(|message| message.get("content")?.as_str());
            length::check(&service.tokenizer, texts, service.context_length())?;
            let input = ChatInput {
                messages: Value::Array(messages),
                add_generation_prompt: true,
                extra: options,
                ..ChatInput::default()
            };
            let rendered = service.template.render(&input)?;
            let tokens = service.tokenizer.encode_rendered(&rendered)?;
            let stop = match service.has_own_template {
                true => Vec::new(),
                false => PLAIN_STOPS.map(str::to_owned).to_vec(),
            };
            Ok(ChatPrompt { tokens, stop })
        };
        self.preparation.run(work).await
    }

    /// Encodes a prompt as the model's reference does by default, with its leading token where it wants
    /// one. Special tokens that are typed in the text count as such.
    ///
    /// # Errors
    /// [`Error::ContextLength`] for a text that is far too long; one that is a little too long is refused
    /// by [`Self::generate`].
    pub async fn tokenize(self: &Arc<Self>, text: String) -> Result<Vec<u32>, Error> {
        let service = Arc::clone(self);
        let work = move || {
            let texts = std::iter::once(text.as_str());
            length::check(&service.tokenizer, texts, service.context_length())?;
            Ok(service.tokenizer.encode_prompt(&text)?)
        };
        self.preparation.run(work).await
    }

    /// Checks that all of `tokens` are in the vocabulary; `param` names them in the error.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the first that is not.
    pub fn check_tokens(&self, param: &str, tokens: &[u32]) -> Result<(), Error> {
        let size = self.info.vocab_size;
        match tokens.iter().find(|&&token| token as usize >= size) {
            None => Ok(()),
            Some(token) => {
                let expected = format!("expected token ids below {size}, this model's vocabulary");
                Err(Error::invalid(
                    param,
                    format!("{param}: {expected}, got {token}"),
                ))
            }
        }
    }

    /// The text of `tokens`, special ones included.
    pub fn decode(&self, tokens: &[u32]) -> String {
        self.tokenizer.decode(tokens, false)
    }

    /// The bytes of one token in a text.
    pub fn token_bytes(&self, token: u32) -> Vec<u8> {
        self.tokenizer.token_bytes(token)
    }

    /// Admits a request to the engine.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::ContextLength`], [`Error::Overloaded`], [`Error::Deadline`],
    /// [`Error::ShuttingDown`].
    pub fn generate(&self, request: GenerateRequest) -> Result<Generation, Error> {
        Ok(self.engine.submit(request)?)
    }

    /// What the engine is doing and has done.
    pub fn stats(&self) -> EngineStats {
        self.engine.stats()
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}
