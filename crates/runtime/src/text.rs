//! A text model that is loaded: its tokenizer, its chat template and its engine.

use std::sync::Arc;

use hearth_llm::ModelInfo;
use hearth_llm::engine::{
    Engine as TextEngine, EngineStats, GenerateRequest, Generation, Shutdown,
};
use hearth_llm::template::{ChatInput, ChatTemplate};
use hearth_llm::tokenizer::Tokenizer;
use serde_json::{Map, Value};

use crate::Error;
use crate::engine::Engine;
use crate::figures::Figures;
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

/// How chats are put to a model.
pub(crate) struct Chat {
    template: ChatTemplate,
    is_own: bool,
}

impl Chat {
    /// By the model's own template; without one, as plain dialogues.
    pub(crate) fn new(own: Option<ChatTemplate>, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let is_own = own.is_some();
        let template = match own {
            Some(template) => template,
            None => ChatTemplate::from_source(PLAIN_DIALOGUE, tokenizer)?,
        };
        Ok(Self { template, is_own })
    }
}

/// A text model at work.
pub struct TextService {
    name: String,
    info: ModelInfo,
    tokenizer: Arc<Tokenizer>,
    chat: Arc<Chat>,
    engine: TextEngine,
    /// Bytes that the engine's buffers are expected to take.
    scratch: u64,
    preparation: Preparation,
}

impl TextService {
    /// Puts the parts of a loaded model together.
    pub(crate) fn new(
        name: String,
        info: ModelInfo,
        tokenizer: Arc<Tokenizer>,
        chat: Arc<Chat>,
        engine: TextEngine,
        scratch: u64,
        preparation: Preparation,
    ) -> Self {
        Self {
            name,
            info,
            tokenizer,
            chat,
            engine,
            scratch,
            preparation,
        }
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
        self.chat.is_own
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
            let rendered = service.chat.template.render(&input)?;
            let tokens = service.tokenizer.encode_rendered(&rendered)?;
            let stop = match service.chat.is_own {
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
    /// when it is generated for.
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

    /// Admits a request to the engine. Callers have it from their lease, which counts it.
    pub(crate) fn generate(&self, request: GenerateRequest) -> Result<Generation, Error> {
        Ok(self.engine.submit(request)?)
    }

    /// What the engine is doing and has done.
    pub fn stats(&self) -> EngineStats {
        self.engine.stats()
    }
}

impl Engine for TextService {
    fn memory_bytes(&self) -> u64 {
        self.engine.cache_bytes() as u64 + self.scratch
    }

    fn health(&self) -> Result<(), Error> {
        Ok(self.engine.health()?)
    }

    fn figures(&self) -> Option<Figures> {
        Some(self.engine.stats().into())
    }

    fn shutdown(&self, how: Shutdown) {
        self.engine.shutdown(how);
    }

    fn text(self: Arc<Self>) -> Option<Arc<TextService>> {
        Some(self)
    }
}
