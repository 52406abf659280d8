//! The few kinds of failure that a client can be told of.

use std::time::Duration;

use hearth_llm::engine::EngineError;
use hearth_llm::template::TemplateError;
use hearth_llm::tokenizer::TokenizerError;

use crate::progress::LoadProgress;

/// Why a request cannot be answered. Dialects turn each kind into their own status and words.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request is wrong.
    #[error("{message}")]
    InvalidInput {
        /// The field at fault, by the name that the caller knows, where one is.
        param: Option<String>,
        /// What is wrong with it.
        message: String,
    },
    /// There is no model of that name.
    #[error("The requested model '{model}' was not found")]
    NotFound {
        /// The name that was asked for.
        model: String,
        /// The names that there are.
        available: Vec<String>,
    },
    /// The request is right, but cannot be obeyed here.
    #[error("{message}")]
    Unsupported {
        /// The field that asks for it, where one does.
        param: Option<String>,
        /// What is not supported.
        message: String,
    },
    /// The prompt does not fit the model's context.
    #[error(
        "the prompt has {}{prompt_tokens} tokens, but this model's context holds {context_length}, \
         prompt and answer together", if *.exact { "" } else { "at least " }
    )]
    ContextLength {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Whether they were counted to the end; a very long prompt is given up before.
        exact: bool,
        /// Tokens that fit.
        context_length: usize,
    },
    /// The model does not fit in memory.
    #[error("{message}")]
    InsufficientMemory {
        /// What does not fit, with sizes, the budget, and what holds it.
        message: String,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that all models together may take.
        budget: u64,
        /// The models that hold memory and cannot be unloaded for this one.
        holders: Vec<String>,
    },
    /// The model is being loaded, and that takes longer than the request would wait.
    #[error("model '{model}' is being loaded; try again in {} s", retry_after.as_secs().max(1))]
    Loading {
        /// The model.
        model: String,
        /// How far it is.
        progress: LoadProgress,
        /// When to come back.
        retry_after: Duration,
    },
    /// What is asked for contradicts the model's state.
    #[error("{message}")]
    Conflict {
        /// Which state, and what would change it.
        message: String,
    },
    /// More requests than can be taken.
    #[error("{message}")]
    Overloaded {
        /// Which limit was met.
        message: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The request's own deadline passed.
    #[error("the request's deadline passed before it was answered")]
    Deadline,
    /// Somebody had the model unloaded meanwhile: its load was ended, or the requests that it ran were cut.
    #[error("model '{model}' was unloaded before the request was answered")]
    Unloaded {
        /// The model.
        model: String,
    },
    /// Whoever asked has gone.
    #[error("the request was cancelled")]
    Cancelled,
    /// The server is about to stop.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A defect, here or in a model's files.
    #[error("{message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

impl Error {
    /// A wrong value in the field `param`.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::InvalidInput {
            param: Some(param.to_owned()),
            message: message.into(),
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::InvalidParameter { param, .. } => Self::invalid(param, message),
            EngineError::ContextLength {
                prompt_tokens,
                context_length,
                ..
            } => Self::ContextLength {
                prompt_tokens,
                exact: true,
                context_length,
            },
            EngineError::QueueFull { retry_after, .. } => Self::Overloaded {
                message,
                retry_after,
            },
            EngineError::Deadline => Self::Deadline,
            EngineError::ShuttingDown => Self::ShuttingDown,
            _ => Self::Internal { message },
        }
    }
}

impl From<TokenizerError> for Error {
    fn from(error: TokenizerError) -> Self {
        Self::Internal {
            message: error.to_string(),
        }
    }
}

impl From<TemplateError> for Error {
    fn from(error: TemplateError) -> Self {
        let message = error.to_string();
        match error {
            TemplateError::Raised { .. } | TemplateError::Render { .. } => {
                Self::invalid("messages", message)
            }
            _ => Self::Internal { message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_errors_keep_their_facts() {
        let retry_after = Duration::from_secs(7);
        assert!(matches!(
            Error::from(EngineError::QueueFull { limit: 4, retry_after }),
            Error::Overloaded { retry_after: wait, .. } if wait == retry_after
        ));
        let invalid = EngineError::InvalidParameter {
            param: "logit_bias",
            message: "no".into(),
        };
        let expected = Error::invalid("logit_bias", "logit_bias: no");
        assert_eq!(Error::from(invalid), expected);
        let broken = EngineError::NotFinite { position: 3 };
        assert!(
            matches!(Error::from(broken), Error::Internal { message } if message.contains('3'))
        );
    }
}
