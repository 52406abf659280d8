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
    /// The prompt, and one token more where any is asked for, does not fit the context; or the
    /// text to embed does not.
    #[error("{}", context_message(*prompt_tokens, *max_tokens, *context_length))]
    ContextLength {
        /// Tokens of the prompt, or of the longest text to embed.
        prompt_tokens: usize,
        /// Tokens asked for; 0 for an embedding.
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
    /// The model could not compute, for want of memory.
    #[error("{message}")]
    Compute {
        /// What could not be done.
        message: String,
    },
    /// The engine could not be started: its settings make no sense, or memory is short.
    #[error("{message}")]
    Start {
        /// What could not be done, with sizes.
        message: String,
    },
}

fn context_message(prompt_tokens: usize, max_tokens: usize, context_length: usize) -> String {
    let both = match max_tokens {
        0 => "",
        _ => ", prompt and answer together",
    };
    format!("the input has {prompt_tokens} tokens; the context holds {context_length}{both}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_input_is_told_both_numbers() {
        let message = |max_tokens| {
            let error = EngineError::ContextLength {
                prompt_tokens: 513,
                max_tokens,
                context_length: 512,
            };
            error.to_string()
        };
        assert_eq!(
            message(0),
            "the input has 513 tokens; the context holds 512"
        );
        assert!(message(1).ends_with("512, prompt and answer together"));
    }
}
