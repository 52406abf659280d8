//! The text of tokens that come one by one.

use std::sync::Arc;

use super::Inner;
use super::decode::{Decoding, Lead, clean_up};

/// Makes text of tokens as they come, in whole characters.
///
/// All that [`push`](TextStream::push) gives, and [`finish`](TextStream::finish) at the end, is together what
/// [`Tokenizer::decode`](super::Tokenizer::decode) makes of all the tokens.
pub struct TextStream {
    tokenizer: Arc<Inner>,
    skip_special: bool,
    /// Bytes that do not make a whole character yet.
    pending: Vec<u8>,
    /// Whether no token has been decoded.
    first: bool,
    /// Spaces at the beginning that are still to be dropped.
    drop_spaces: usize,
}

impl TextStream {
    /// `at_start`: whether the text begins here, rather than going on after another.
    pub(super) fn new(tokenizer: Arc<Inner>, skip_special: bool, at_start: bool) -> TextStream {
        let drop_spaces = match &tokenizer.decoding {
            Decoding::SentencePiece {
                lead: Lead::Drop(spaces),
                ..
            } if at_start => *spaces,
            _ => 0,
        };
        TextStream {
            tokenizer,
            skip_special,
            pending: Vec::new(),
            first: at_start,
            drop_spaces,
        }
    }

    /// Adds a token, and gives the characters that are complete now, if there are any.
    pub fn push(&mut self, token: u32) -> Option<String> {
        let vocabulary = &self.tokenizer.vocabulary;
        if token as usize >= vocabulary.len() || self.skip_special && vocabulary.is_special(token) {
            return None;
        }
        let first = std::mem::take(&mut self.first);
        let bytes = vocabulary.bytes(token);
        match &self.tokenizer.decoding {
            Decoding::SentencePiece {
                lead: Lead::DropFirstToken,
                ..
            } if first => self.pending.extend(bytes.iter().filter(|&&b| b != b' ')),
            Decoding::WordPiece { prefix, cleanup } => {
                let token = String::from_utf8_lossy(bytes);
                let mut text = match token.strip_prefix(prefix.as_str()) {
                    _ if first => token.into_owned(),
                    Some(rest) => rest.to_owned(),
                    None => format!(" {token}"),
                };
                if *cleanup {
                    text = clean_up(&text);
                }
                self.pending.extend_from_slice(text.as_bytes());
            }
            Decoding::Words => {
                if !first {
                    self.pending.push(b' ');
                }
                self.pending.extend_from_slice(bytes);
            }
            _ => self.pending.extend_from_slice(bytes),
        }
        if self.drop_spaces > 0 && !self.pending.is_empty() {
            let spaces = self.pending.iter().take_while(|&&b| b == b' ').count();
            let dropped = spaces.min(self.drop_spaces);
            // Only spaces before anything else are dropped.
            self.drop_spaces = if spaces < self.pending.len() {
                0
            } else {
                self.drop_spaces - dropped
            };
            self.pending.drain(..dropped);
        }
        self.take(false)
    }

    /// Ends the text, and gives U+FFFD for a character that stays incomplete.
    pub fn finish(&mut self) -> Option<String> {
        self.take(true)
    }

    fn take(&mut self, all: bool) -> Option<String> {
        let mut text = String::new();
        let mut taken = 0;
        loop {
            let rest = &self.pending[taken..];
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    taken = self.pending.len();
                    break;
                }
                Err(error) => error,
            };
            let (valid, rest) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            taken += valid.len();
            let invalid = match error.error_len() {
                Some(len) => len,
                None if all => rest.len(),
                None => break,
            };
            let count = self.tokenizer.decoding.replacements(invalid);
            text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, count));
            taken += invalid;
        }
        self.pending.drain(..taken);
        (!text.is_empty()).then_some(text)
    }
}

impl std::fmt::Debug for TextStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextStream")
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
