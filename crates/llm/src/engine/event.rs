//! What a generation tells its caller.

use std::time::Duration;

use super::EngineError;

/// One message of a [`Generation`](super::Generation). [`Event::Finished`] or [`Event::Failed`]
/// comes last, and exactly once.
///
/// `E` is what a failure is called; who hands events on may have other words for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<E = EngineError> {
    /// The prompt's tokens with their log-probabilities, once, before any token; only where
    /// `prompt_logprobs` was asked for. The first token follows nothing and has none.
    Prompt(Vec<TokenLogprobs>),
    /// More text.
    Token {
        /// Whole UTF-8 characters; empty while a character is incomplete. All these texts
        /// together are the answer.
        text: String,
        /// The tokens whose text begins here. A token whose text may yet prove to be part of a
        /// stop text is held back with it; the end-of-sequence token and the tokens that lie
        /// wholly in a stop text never appear.
        tokens: Vec<TokenLogprobs>,
    },
    /// The end.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// Tokens in and out.
        usage: Usage,
        /// Where the time went.
        timings: Timings,
    },
    /// The end, without an answer that is worth anything.
    Failed(E),
}

impl<E> Event<E> {
    /// The same event with another word for a failure.
    pub fn map_failure<F>(self, word: impl FnOnce(E) -> F) -> Event<F> {
        match self {
            Event::Prompt(tokens) => Event::Prompt(tokens),
            Event::Token { text, tokens } => Event::Token { text, tokens },
            Event::Finished {
                reason,
                usage,
                timings,
            } => Event::Finished {
                reason,
                usage,
                timings,
            },
            Event::Failed(error) => Event::Failed(word(error)),
        }
    }

    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        matches!(self, Event::Finished { .. } | Event::Failed(_))
    }
}

/// A token of the prompt or the answer, with what the model thought of it.
///
/// Log-probabilities are those of the model's own distribution, log-softmax over its logits
/// before bias, penalties, temperature or truncation, as OpenAI and vLLM report them.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The token.
    pub token: u32,
    /// Its natural log-probability, where asked for; none for a prompt's first token.
    pub logprob: Option<f32>,
    /// The most likely tokens here and their log-probabilities, likeliest first, as many as were
    /// asked for; the token itself is among them only where it belongs there.
    pub top: Vec<(u32, f32)>,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended its turn, or a stop text appeared.
    Stop,
    /// `max_tokens` were generated, or the context is full.
    Length,
    /// The deadline passed; what was there has been sent.
    Deadline,
}

/// Tokens in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated, the end-of-sequence token and the tokens of a stop text included.
    pub completion_tokens: usize,
    /// Tokens of the prompt which the prefix cache already held when the request first ran.
    pub cached_tokens: usize,
}

/// Where a request's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From submission to the first step that carried a part of it.
    pub queue: Duration,
    /// From there until the whole prompt was computed.
    pub prefill: Duration,
    /// From there to the end.
    pub decode: Duration,
    /// From submission to the first token; none where none was generated.
    pub time_to_first_token: Option<Duration>,
}
