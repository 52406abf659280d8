//! Log-probabilities in the shapes of chat and of completions.

use hearth_runtime::{TextService, TokenLogprobs};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// What OpenAI answers for a probability of zero, whose logarithm JSON cannot write.
const LEAST: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    logprob.max(LEAST)
}

/// The log-probabilities of a chat answer, or of a part of it.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = inferno::ChatLogprobs)]
pub struct ChatLogprobs {
    /// Those of each token.
    content: Vec<ChatToken>,
    /// Always null.
    refusal: Option<Vec<ChatToken>>,
}

/// A token of a chat answer.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = inferno::ChatToken)]
pub struct ChatToken {
    /// The token itself.
    #[serde(flatten)]
    token: Scored,
    /// The likeliest tokens in its place.
    top_logprobs: Vec<Scored>,
}

/// A token with its log-probability.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = inferno::Scored)]
pub struct Scored {
    /// Its text.
    token: String,
    /// Its log-probability.
    logprob: f32,
    /// The bytes of its text.
    bytes: Vec<u8>,
}

impl Scored {
    fn new(service: &TextService, token: u32, logprob: f32) -> Self {
        let bytes = service.token_bytes(token);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self {
            token: text,
            logprob: finite(logprob),
            bytes,
        }
    }
}

impl ChatLogprobs {
    /// The log-probabilities of `tokens`, all of which were computed with theirs.
    pub fn new(service: &TextService, tokens: &[TokenLogprobs]) -> Self {
        let content = tokens.iter().map(|entry| ChatToken {
            token: Scored::new(service, entry.token, entry.logprob.unwrap_or(LEAST)),
            top_logprobs: entry
                .top
                .iter()
                .map(|&(token, logprob)| Scored::new(service, token, logprob))
                .collect(),
        });
        Self {
            content: content.collect(),
            refusal: None,
        }
    }
}

/// The log-probabilities of a completion, or of a part of it: four lists with an entry for each token.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = inferno::TextLogprobs)]
pub struct TextLogprobs {
    /// The tokens' texts.
    tokens: Vec<String>,
    /// Their log-probabilities; null for the first of a prompt.
    token_logprobs: Vec<Option<f32>>,
    /// Token texts to log-probabilities, the token itself among them; null where no alternatives were
    /// asked for.
    #[schema(value_type = Option<Vec<Option<Object>>>)]
    top_logprobs: Option<Vec<Option<Alternatives>>>,
    /// Where in the text each begins, in characters.
    text_offset: Vec<usize>,
}

/// Token texts with their log-probabilities, written as an object.
#[derive(Debug, Default, PartialEq)]
struct Alternatives(Vec<(String, f32)>);

impl Alternatives {
    /// Adds a token, unless one of the same text is there: several tokens may have one text, and the
    /// likelier comes first.
    fn add(&mut self, name: String, logprob: f32) {
        if self.0.iter().all(|(own, _)| *own != name) {
            self.0.push((name, finite(logprob)));
        }
    }
}

impl Serialize for Alternatives {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, logprob)| (name, logprob)))
    }
}

/// Where in a completion's text the next token begins. Offsets count characters, as Python does.
#[derive(Debug, Clone, Default)]
pub struct Offset {
    /// Characters whose first byte has been passed.
    begun: usize,
}

impl Offset {
    /// The offset of a token whose bytes in the text are `bytes`; a token that begins within a character
    /// has the offset of that character.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
        let within = bytes.first().is_some_and(continues);
        let offset = self.begun.saturating_sub(usize::from(within));
        self.begun += bytes.iter().filter(|byte| !continues(byte)).count();
        offset
    }
}

impl TextLogprobs {
    /// The log-probabilities of generated `tokens`, with `alternatives` for each.
    pub fn new(
        service: &TextService,
        tokens: &[TokenLogprobs],
        alternatives: usize,
        offset: &mut Offset,
    ) -> Self {
        let mut lists = Self::empty(alternatives);
        for entry in tokens {
            let bytes = service.token_bytes(entry.token);
            let at = offset.pass(&bytes);
            lists.push(service, entry, &bytes, at);
        }
        lists
    }

    /// The log-probabilities of a prompt's `tokens`, whose text is `text`. Tokens that are not in the
    /// text, such as a leading one that the tokenizer adds, take up no characters.
    pub fn of_prompt(
        service: &TextService,
        tokens: &[TokenLogprobs],
        alternatives: usize,
        text: &str,
        offset: &mut Offset,
    ) -> Self {
        let mut lists = Self::empty(alternatives);
        let mut rest = text.as_bytes();
        for entry in tokens {
            let bytes = service.token_bytes(entry.token);
            let (passed, left) = rest.split_at(shown(rest, &bytes));
            let at = offset.pass(passed);
            rest = left;
            lists.push(service, entry, &bytes, at);
        }
        offset.pass(rest);
        lists
    }

    /// Appends what follows.
    pub fn extend(&mut self, more: Self) {
        self.tokens.extend(more.tokens);
        self.token_logprobs.extend(more.token_logprobs);
        self.text_offset.extend(more.text_offset);
        if let (Some(top), Some(more)) = (&mut self.top_logprobs, more.top_logprobs) {
            top.extend(more);
        }
    }

    fn empty(alternatives: usize) -> Self {
        Self {
            top_logprobs: (alternatives > 0).then(Vec::new),
            ..Self::default()
        }
    }

    fn push(&mut self, service: &TextService, entry: &TokenLogprobs, bytes: &[u8], offset: usize) {
        let name = token_name(bytes);
        if let Some(top) = &mut self.top_logprobs {
            top.push(entry.logprob.map(|own| {
                let mut alternatives = Alternatives::default();
                for &(token, logprob) in &entry.top {
                    alternatives.add(token_name(&service.token_bytes(token)), logprob);
                }
                alternatives.add(name.clone(), own);
                alternatives
            }));
        }
        self.tokens.push(name);
        self.token_logprobs.push(entry.logprob.map(finite));
        self.text_offset.push(offset);
    }
}

/// A token as completions name it: its text, or its bytes where they are no text by themselves.
fn token_name(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let digits: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            format!("bytes:{digits}")
        }
    }
}

/// How many bytes of `rest` a token with `bytes` takes up. SentencePiece puts a space before the first
/// word that is not in the text.
fn shown(rest: &[u8], bytes: &[u8]) -> usize {
    if rest.starts_with(bytes) {
        return bytes.len();
    }
    let tail = bytes
        .strip_prefix(b" ")
        .filter(|tail| rest.starts_with(tail));
    tail.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_characters_also_where_tokens_split_them() {
        let mut offset = Offset::default();
        // "aé🦀b", the crab in two tokens and the é with a neighbour's first byte.
        let pieces: [&[u8]; 5] = [
            b"a",
            "é".as_bytes(),
            &"🦀".as_bytes()[..2],
            &"🦀".as_bytes()[2..],
            b"b",
        ];
        let offsets: Vec<usize> = pieces.iter().map(|piece| offset.pass(piece)).collect();
        assert_eq!(offsets, [0, 1, 2, 2, 3]);
        assert_eq!(offset.pass(b""), 4);
    }

    #[test]
    fn a_space_that_the_tokenizer_added_is_not_in_the_text() {
        assert_eq!(shown(b"Hello", b" Hello"), 5);
        assert_eq!(shown(b" Hello", b" Hello"), 6);
        assert_eq!(shown(b"Hello", b"<s>"), 0);
    }

    #[test]
    fn tokens_that_are_no_text_are_named_by_their_bytes() {
        assert_eq!(token_name("é".as_bytes()), "é");
        assert_eq!(token_name(&[0xe2, 0x80]), "bytes:\\xe2\\x80");
    }

    #[test]
    fn alternatives_are_an_object_in_which_the_likelier_of_two_names_stays() {
        let mut alternatives = Alternatives::default();
        for (name, logprob) in [
            ("b", -0.1),
            ("a", -0.7),
            ("b", -3.0),
            ("c", f32::NEG_INFINITY),
        ] {
            alternatives.add(name.to_owned(), logprob);
        }
        let text = serde_json::to_string(&alternatives).expect("serializable");
        assert_eq!(text, r#"{"b":-0.1,"a":-0.7,"c":-9999.0}"#);
    }

    #[test]
    fn zero_probability_is_writable() {
        assert_eq!(finite(f32::NEG_INFINITY), -9999.0);
        assert_eq!(finite(-1.5), -1.5);
    }
}
