//! What can go wrong between text and tokens.

/// An error of reading a tokenizer, or of encoding a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The tokenizer's files are missing, broken or not supported.
    #[error(transparent)]
    Files(#[from] hearth_formats::Error),
    /// The text cannot be encoded.
    #[error("the text cannot be encoded: {message}")]
    Encode {
        /// Why not.
        message: String,
    },
    /// The text holds a sequence of noncharacters that stands for special tokens while a chat is encoded.
    #[error("a message holds special tokens and the reserved noncharacters {sequence}")]
    Reserved {
        /// The sequence, escaped.
        sequence: String,
    },
}
