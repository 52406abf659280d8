//! Placeholders for special tokens in a text that also holds their texts as text.
//!
//! `tokenizers` either parses every special token in a text or none. To parse some, the text is encoded with none
//! parsed, and with the ones that count replaced by placeholders: added tokens of sequences of noncharacters that
//! normalization and white space around them meet just as they meet the special tokens.

use std::sync::LazyLock;

use tokenizers::{AddedToken, AddedVocabulary, Tokenizer};

use super::{SpecialTokens, TokenizerError};

/// More unused ids than any vocabulary has.
const MAX_FILLERS: usize = 1 << 16;

/// One placeholder for each way of swallowing white space: neither side, left, right, both.
static SEQUENCES: LazyLock<[String; 4]> =
    LazyLock::new(|| std::array::from_fn(|kind| format!("\u{fffff}\u{10fffe}{kind}\u{10ffff}")));

pub(super) struct Placeholders {
    vocabulary: AddedVocabulary,
    ids: [u32; 4],
}

impl Placeholders {
    /// `len` is the number of ids that are taken.
    pub(super) fn new(tokenizer: &Tokenizer, len: usize) -> Result<Placeholders, String> {
        let mut vocabulary = tokenizer.get_added_vocabulary().clone();
        vocabulary.set_encode_special_tokens(true);
        let (model, normalizer) = (tokenizer.get_model(), tokenizer.get_normalizer());
        let mut add = |tokens: Vec<AddedToken>| {
            vocabulary
                .add_tokens(tokens, model, normalizer)
                .map_err(|e| format!("added tokens: {e}"))
        };
        let token = |text: String| AddedToken::from(text, false).normalized(false);
        // New tokens get ids from the number of tokens on, which lies below the highest id where ids are unused.
        let taken = tokenizer.get_vocab_size(true);
        let unused = len.saturating_sub(taken);
        if unused > MAX_FILLERS {
            return Err(format!("a vocabulary with {unused} unused ids"));
        }
        add((0..unused)
            .map(|i| token(format!("\u{fffff}\u{10fffe}unused {i}\u{10ffff}")))
            .collect())?;
        add(SEQUENCES
            .iter()
            .enumerate()
            .map(|(kind, text)| {
                token(text.clone())
                    .lstrip(kind & 1 != 0)
                    .rstrip(kind & 2 != 0)
            })
            .collect())?;
        let mut ids = [0; 4];
        for (id, text) in ids.iter_mut().zip(SEQUENCES.iter()) {
            *id = vocabulary
                .token_to_id(text, model)
                .filter(|&id| id as usize >= len)
                .ok_or("a vocabulary whose ids leave no room for new ones")?;
        }
        Ok(Placeholders { vocabulary, ids })
    }

    pub(super) fn vocabulary(&self) -> &AddedVocabulary {
        &self.vocabulary
    }

    /// Replaces the special tokens of a rendered text by placeholders and drops the sentinels that mark others as text.
    /// Also gives the special tokens in their order.
    pub(super) fn hide(
        &self,
        marked: &str,
        sentinel: char,
        specials: &SpecialTokens,
    ) -> Result<(String, Vec<u32>), TokenizerError> {
        if let Some(sequence) = SEQUENCES.iter().find(|s| marked.contains(s.as_str())) {
            return Err(TokenizerError::Reserved {
                sequence: sequence.escape_unicode().to_string(),
            });
        }
        let mut text = String::with_capacity(marked.len());
        let mut order = Vec::new();
        let mut at = 0;
        while let Some(c) = marked[at..].chars().next() {
            if c == sentinel {
                at += c.len_utf8();
                continue;
            }
            match specials.at(marked, at) {
                // A token of one character cannot be broken; the sentinel behind it says that it is text.
                Some(token)
                    if token.text.chars().nth(1).is_some()
                        || !marked[at + token.text.len()..].starts_with(sentinel) =>
                {
                    let kind = usize::from(token.strips.0) + 2 * usize::from(token.strips.1);
                    text.push_str(&SEQUENCES[kind]);
                    order.push(token.id);
                    at += token.text.len();
                }
                _ => {
                    text.push(c);
                    at += c.len_utf8();
                }
            }
        }
        Ok((text, order))
    }

    /// Puts the special tokens in the places of their placeholders.
    pub(super) fn reveal(&self, tokens: &mut [u32], order: &[u32]) -> Result<(), TokenizerError> {
        let mut places = tokens.iter_mut().filter(|token| self.ids.contains(token));
        let complete = order.iter().all(|&id| match places.next() {
            Some(place) => {
                *place = id;
                true
            }
            None => false,
        });
        if complete && places.next().is_none() {
            return Ok(());
        }
        Err(TokenizerError::Encode {
            message: "this tokenizer cannot tell special tokens from their texts".to_owned(),
        })
    }
}
