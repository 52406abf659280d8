//! What can go wrong with a chat template.

use std::error::Error as _;

/// An error of reading or rendering a chat template.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template's files cannot be read.
    #[error(transparent)]
    Files(#[from] hearth_formats::Error),
    /// The template is no Jinja.
    #[error("the chat template has a syntax error: {message}")]
    Syntax {
        /// What is wrong, and where.
        message: String,
    },
    /// The template refuses the chat by `raise_exception`.
    #[error("{message}")]
    Raised {
        /// The template's words.
        message: String,
    },
    /// The template cannot take this chat.
    #[error("the chat template cannot render these messages: {message}")]
    Render {
        /// What is wrong, and where in the template.
        message: String,
    },
}

/// The error behind `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

impl TemplateError {
    /// Of an error of rendering; drops the sentinels that texts in it may hold.
    pub(super) fn of(error: &minijinja::Error, sentinel: char) -> TemplateError {
        let plain = |text: String| text.replace(sentinel, "");
        let mut messages = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            if let Some(Raised(message)) = error.downcast_ref() {
                return TemplateError::Raised {
                    message: plain(message.clone()),
                };
            }
            messages.push(error.to_string());
            source = error.source();
        }
        TemplateError::Render {
            message: plain(messages.join(": ")),
        }
    }
}
