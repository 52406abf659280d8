//! From tokens to the bytes of a text.

use std::sync::LazyLock;

use hearth_formats::checkpoint::tokenizer::byte_of;
use hearth_formats::{Error, Result};
use serde_json::Value as Json;

/// What `▁` stands for in SentencePiece's vocabularies.
const SPACE: char = '▁';

/// How tokens make a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoding {
    /// Each character of a token stands for a byte.
    ByteLevel,
    /// `▁` is a space.
    SentencePiece {
        /// Whether `<0x0A>` is the byte 10.
        byte_fallback: bool,
        /// What becomes of spaces at the beginning.
        lead: Lead,
    },
    /// A token begins a word unless it has the prefix.
    WordPiece {
        /// `##`.
        prefix: String,
        /// Whether spaces before punctuation and contractions are dropped.
        cleanup: bool,
    },
    /// Tokens are words.
    Words,
    /// Tokens are text.
    Plain,
}

/// What becomes of spaces at the beginning of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// So many of them are dropped.
    Drop(usize),
    /// Those of the first token are dropped.
    DropFirstToken,
}

/// The byte for each of the 256 characters of byte-level vocabularies: printable Latin-1 characters stand for themselves,
/// the others for the bytes from 0 on that those leave.
static BYTES_OF_CHARS: LazyLock<Vec<Option<u8>>> = LazyLock::new(|| {
    let mut bytes = vec![None; 512];
    let mut next = 256;
    for byte in 0..=255u8 {
        let is_printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        if is_printable {
            bytes[usize::from(byte)] = Some(byte);
        } else {
            bytes[next] = Some(byte);
            next += 1;
        }
    }
    bytes
});

impl Decoding {
    /// Of `decoder` in a `tokenizer.json`.
    pub(super) fn from_json(label: &str, decoder: &Json) -> Result<Decoding> {
        let unsupported = |what: String| Err(Error::unsupported(label, what));
        let steps = flatten(decoder);
        let kinds: Vec<&str> = steps
            .iter()
            .map(|s| s["type"].as_str().unwrap_or(""))
            .collect();
        match kinds.as_slice() {
            [] => return Ok(Decoding::Words),
            ["ByteLevel"] => return Ok(Decoding::ByteLevel),
            ["Fuse"] => return Ok(Decoding::Plain),
            ["WordPiece"] => {
                let Some(prefix) = steps[0]["prefix"].as_str() else {
                    return Err(Error::field(label, "decoder.prefix", "expected a text"));
                };
                return Ok(Decoding::WordPiece {
                    prefix: prefix.to_owned(),
                    cleanup: steps[0]["cleanup"] != Json::Bool(false),
                });
            }
            _ => {}
        }
        let mut byte_fallback = false;
        let mut escapes = false;
        let mut fused = false;
        let mut lead = Lead::Drop(0);
        for (step, kind) in steps.iter().zip(kinds) {
            match kind {
                "Replace"
                    if step["pattern"]["String"] == "▁" && step["content"] == " " && !fused =>
                {
                    escapes = true;
                }
                "ByteFallback" if !fused => byte_fallback = true,
                "Fuse" => fused = true,
                "Strip" if fused && step["content"] == " " && step["stop"] == 0 => {
                    let Some(start) = step["start"].as_u64() else {
                        return Err(Error::field(label, "decoder.start", "expected a number"));
                    };
                    lead = Lead::Drop(start as usize);
                }
                "Metaspace" if !fused && step["replacement"] == "▁" => {
                    escapes = true;
                    let keeps = step["prepend_scheme"] == "never"
                        || step["add_prefix_space"] == Json::Bool(false);
                    if !keeps {
                        lead = Lead::DropFirstToken;
                    }
                }
                other => return unsupported(format!("decoder.type {other:?} as it stands there")),
            }
        }
        if !escapes {
            return unsupported("decoder without \"▁\"".to_owned());
        }
        Ok(Decoding::SentencePiece {
            byte_fallback,
            lead,
        })
    }

    /// Appends what a token of the vocabulary stands for by itself.
    pub(super) fn token_bytes(&self, token: &str, is_added: bool, out: &mut Vec<u8>) {
        match self {
            Decoding::ByteLevel if !is_added => {
                let start = out.len();
                for c in token.chars() {
                    let byte = BYTES_OF_CHARS.get(c as usize).copied().flatten();
                    match byte {
                        Some(byte) => out.push(byte),
                        None => {
                            // Not a byte-level token after all, so it is its own text.
                            out.truncate(start);
                            out.extend_from_slice(token.as_bytes());
                            return;
                        }
                    }
                }
            }
            Decoding::SentencePiece { byte_fallback, .. } => {
                match byte_of(token).filter(|_| *byte_fallback) {
                    Some(byte) => out.push(byte),
                    None => {
                        for c in token.chars() {
                            if c == SPACE {
                                out.push(b' ');
                            } else {
                                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                            }
                        }
                    }
                }
            }
            _ => out.extend_from_slice(token.as_bytes()),
        }
    }

    /// How many U+FFFD stand for so many bytes that begin a character and do not complete it.
    pub(super) fn replacements(&self, invalid: usize) -> usize {
        match self {
            Decoding::SentencePiece { .. } => invalid,
            _ => 1,
        }
    }
}

fn flatten(decoder: &Json) -> Vec<&Json> {
    match decoder {
        Json::Null => Vec::new(),
        d if d["type"] == "Sequence" => match d["decoders"].as_array() {
            Some(list) => list.iter().flat_map(flatten).collect(),
            None => vec![d],
        },
        d => vec![d],
    }
}

/// What WordPiece decoding does to spaces before punctuation and contractions, token by token.
pub(super) fn clean_up(text: &str) -> String {
    const RULES: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    RULES
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bytes(decoding: &Decoding, token: &str) -> Vec<u8> {
        let mut out = Vec::new();
        decoding.token_bytes(token, false, &mut out);
        out
    }

    #[test]
    fn byte_level_tokens_stand_for_bytes() {
        assert_eq!(bytes(&Decoding::ByteLevel, "ĠHi"), b" Hi");
        assert_eq!(bytes(&Decoding::ByteLevel, "Ċ"), b"\n");
        assert_eq!(bytes(&Decoding::ByteLevel, "Ã¼"), "ü".as_bytes());
        assert_eq!(bytes(&Decoding::ByteLevel, "Ń"), [0xad]);
        assert_eq!(bytes(&Decoding::ByteLevel, "Ġ漢"), "Ġ漢".as_bytes());
    }

    #[test]
    fn sentencepiece_tokens_stand_for_text_or_a_byte() {
        let decoding = Decoding::SentencePiece {
            byte_fallback: true,
            lead: Lead::Drop(1),
        };
        assert_eq!(bytes(&decoding, "▁a▁"), b" a ");
        assert_eq!(bytes(&decoding, "<0xE4>"), [0xe4]);
        assert_eq!(bytes(&decoding, "<0xE>"), b"<0xE>");
    }

    #[test]
    fn decoders_are_recognized_or_refused() {
        let llama = json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
        assert_eq!(
            Decoding::from_json("f", &llama).unwrap(),
            Decoding::SentencePiece {
                byte_fallback: true,
                lead: Lead::Drop(1)
            }
        );
        let metaspace =
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"});
        assert_eq!(
            Decoding::from_json("f", &metaspace).unwrap(),
            Decoding::SentencePiece {
                byte_fallback: false,
                lead: Lead::DropFirstToken
            }
        );
        let error = Decoding::from_json("f", &json!({"type": "CTC"})).unwrap_err();
        assert!(error.to_string().contains("CTC"), "{error}");
    }
}
