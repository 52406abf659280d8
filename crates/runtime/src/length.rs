//! Prompts that are far too long are told so before they are tokenized whole.
//!
//! A tokenizer takes many times the memory of its text. So a long text is first counted piece by piece,
//! until it is certain that it does not fit.

use hearth_llm::tokenizer::{Special, Tokenizer};

use crate::Error;

/// Longest text that is tokenized without being counted first, in bytes.
const LONG: usize = 1 << 20;

/// Bytes that are counted at a time.
const PIECE: usize = 64 << 10;

/// More tokens than a cut through the text of a piece can add to the count.
const ADDED_BY_CUT: usize = 16;

/// Checks that `texts` together do not exceed `context_length` tokens by far; short ones are not counted.
///
/// # Errors
/// [`Error::ContextLength`] with the count at which it was certain.
pub(crate) fn check<'a>(
    tokenizer: &Tokenizer,
    texts: impl Iterator<Item = &'a str> + Clone,
    context_length: usize,
) -> Result<(), Error> {
    let total: usize = texts.clone().map(str::len).sum();
    if total <= LONG {
        return Ok(());
    }
    let mut count = 0;
    for piece in texts.flat_map(pieces) {
        let tokens = tokenizer.encode(piece, Special::Text)?.len();
        count += tokens.saturating_sub(ADDED_BY_CUT);
        if count > context_length {
            return Err(Error::ContextLength {
                prompt_tokens: count,
                exact: false,
                context_length,
            });
        }
    }
    Ok(())
}

/// `text` in pieces of about [`PIECE`] bytes, cut between characters.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = (PIECE..rest.len()).find(|&end| rest.is_char_boundary(end));
        let end = end.unwrap_or(rest.len());
        let (piece, left) = rest.split_at(end);
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_between_characters_and_make_up_the_text() {
        for text in ["", "a", &"é🦀x".repeat(40_000)] {
            let cut: Vec<&str> = pieces(text).collect();
            assert!(cut.iter().all(|piece| piece.len() <= PIECE + 3));
            assert_eq!(cut.concat(), text);
        }
    }
}
