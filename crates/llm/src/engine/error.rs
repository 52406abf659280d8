//! What the engine and the embedder answer instead of a result.

use std::time::Duration;

/// Why a request was refused, or failed after it had been admitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A field of the request has a value that cannot be obeyed.
    #[error("{param}: {message}")]
    InvalidParameter {
        /// The field's name in [`GenerateRequest`](crate::engine::GenerateRequest) or
        /// [`SamplingParams`](crate::sampling::SamplingParams).
        param: &'static str,
        /// What is wrong with it, with the offending value.
        message: String,
    },
    /// The prompt, and one token more where any is asked for, does not fit the context.
    #[error(
        "the prompt has {prompt_tokens} tokens; the context holds {context_length} tokens, prompt and answer together"
    )]
    ContextLength {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens asked for.
        max_tokens: usize,
        /// Tokens that a sequence can have here: the model's context length, or less where the
        /// KV cache is smaller than that.
        context_length: usize,
    },
    /// As many requests as the engine takes are running and waiting.
    #[error("{limit} requests are running or waiting; try again in {} s", retry_after.as_secs().max(1))]
    QueueFull {
        /// Requests that are admitted at a time.
        limit: usize,
        /// When a place is likely to be free, estimated from recent requests.
        retry_after: Duration,
    },
    /// The deadline passed before there was anything to answer.
    #[error("the deadline passed before the first result")]
    Deadline,
    /// The engine is shutting down, or has.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The model computed logits or an embedding with NaN or infinite values, so there is no
    /// distribution to draw from.
    #[error("the model computed values that are not finite at position {position}")]
    NotFinite {
        /// Position in the sequence whose output is broken.
        position: usize,
    },
    /// The engine met a bug and has stopped; nothing will be answered until it is started again.
    #[error("the engine has failed: {message}")]
    Unhealthy {
        /// The panic's message.
        message: String,
    },
    /// The engine could not be started, or a cache could not be allocated.
    #[error("{message}")]
    Start {
        /// What could not be done, with sizes.
        message: String,
    },
}
