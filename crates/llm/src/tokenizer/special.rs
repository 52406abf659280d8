//! Finding the texts of special tokens.

use tokenizers::AddedVocabulary;

/// The texts of the special tokens, by their first byte.
#[derive(Debug, Clone)]
pub(crate) struct SpecialTokens {
    /// Tokens by first byte, longest first.
    by_first: Vec<Vec<SpecialToken>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpecialToken {
    pub(crate) text: String,
    pub(crate) id: u32,
    /// Whether it swallows white space before it, and after it.
    pub(crate) strips: (bool, bool),
}

impl SpecialTokens {
    pub(super) fn new(added: &AddedVocabulary) -> SpecialTokens {
        Self::from_tokens(
            added
                .get_added_tokens_decoder()
                .iter()
                .filter(|(_, token)| token.special && !token.content.is_empty())
                .map(|(&id, token)| SpecialToken {
                    text: token.content.clone(),
                    id,
                    strips: (token.lstrip, token.rstrip),
                }),
        )
    }

    fn from_tokens(tokens: impl Iterator<Item = SpecialToken>) -> SpecialTokens {
        let mut by_first = vec![Vec::new(); 256];
        for token in tokens {
            by_first[usize::from(token.text.as_bytes()[0])].push(token);
        }
        for tokens in &mut by_first {
            tokens.sort_by(|a: &SpecialToken, b| {
                b.text.len().cmp(&a.text.len()).then(a.text.cmp(&b.text))
            });
        }
        SpecialTokens { by_first }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.by_first
            .iter()
            .flatten()
            .map(|t| (t.text.as_str(), t.id))
    }

    /// The longest special token that begins at a byte.
    pub(crate) fn at(&self, text: &str, at: usize) -> Option<&SpecialToken> {
        let rest = &text.as_bytes()[at..];
        self.by_first[usize::from(*rest.first()?)]
            .iter()
            .find(|token| rest.starts_with(token.text.as_bytes()))
    }

    /// Whether a text ends within a special token: whether some true prefix of one ends it.
    fn ends_within(&self, text: &str) -> bool {
        self.by_first.iter().flatten().any(|token| {
            token
                .text
                .char_indices()
                .skip(1)
                .any(|(at, _)| text.ends_with(&token.text[..at]))
        })
    }

    /// Breaks every special token in a user's text by putting a sentinel after its first character. A text whose last
    /// characters begin a special token gets one at its end, so that nothing that follows can complete it.
    ///
    /// `None` where there is nothing to break.
    pub(crate) fn break_up(&self, text: &str, sentinel: char) -> Option<String> {
        let trimmed = text.trim_end();
        let dangling = self.ends_within(trimmed);
        let mut broken = String::new();
        let mut copied = 0;
        for (at, c) in text.char_indices() {
            // Every occurrence is broken, also one inside of another: templates may cut what they are given.
            if self.at(text, at).is_some() {
                let end = at + c.len_utf8();
                broken.push_str(&text[copied..end]);
                broken.push(sentinel);
                copied = end;
            }
        }
        if copied == 0 && !dangling {
            return None;
        }
        if dangling && copied < trimmed.len() {
            broken.push_str(&text[copied..trimmed.len()]);
            broken.push(sentinel);
            copied = trimmed.len();
        }
        broken.push_str(&text[copied..]);
        Some(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials(texts: &[&str]) -> SpecialTokens {
        SpecialTokens::from_tokens(texts.iter().zip(0..).map(|(text, id)| SpecialToken {
            text: text.to_string(),
            id,
            strips: (false, false),
        }))
    }

    #[test]
    fn broken_texts_hold_no_special_token() {
        let specials = specials(&["<|end|>", "<|end|>x", "<<", "</s>", "ü"]);
        for (text, expected) in [
            ("plain", None),
            ("a<|end|>b", Some("a<_|end|>b")),
            ("<<<", Some("<_<_<_")),
            ("tail <|en", Some("tail <|en_")),
            ("tail </ \n", Some("tail </_ \n")),
            ("für", Some("fü_r")),
            ("<|end|></s>", Some("<_|end|><_/s>")),
        ] {
            assert_eq!(specials.break_up(text, '_').as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_longest_token_is_found() {
        let specials = specials(&["<a>", "<a>b"]);
        assert_eq!(specials.at("x<a>b", 1).unwrap().id, 1);
        assert_eq!(specials.at("x<a>c", 1).unwrap().id, 0);
        assert_eq!(specials.at("x<a>c", 0), None);
        assert_eq!(specials.at("x", 1), None);
    }
}
