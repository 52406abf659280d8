//! Tokenizers from the metadata of a GGUF file.

use std::collections::HashSet;

use hearth_formats::checkpoint::tokenizer::{
    MAX_TOKENS, TYPE_CONTROL, TYPE_NORMAL, TYPE_UNKNOWN, TYPE_USER_DEFINED,
};
use hearth_formats::gguf::Metadata;
use hearth_formats::{Error, Result};
use tokenizers::{AddedToken, Tokenizer};

use super::decode::Decoding;
use super::vocabulary::Vocabulary;
use super::{Frames, NAMED, Parts, TokenizerError, guard};

mod byte_level;
mod sentencepiece;
mod wordpiece;

/// Tokens that end a turn or a text by their names, where a file's keys name but one of them.
const ENDS: [&str; 9] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "<|return|>",
];

/// The keys that every kind of vocabulary has.
struct Common<'a> {
    metadata: &'a Metadata,
    tokens: &'a [String],
    types: Vec<i32>,
}

/// What a kind of vocabulary makes of them.
struct Built {
    tokenizer: Tokenizer,
    decoding: Decoding,
    /// Whether prompts begin and end with the tokens for it where the file does not say.
    adds: (bool, bool),
    /// The tokens as they are decoded, where that is not as they are in the file.
    tokens: Option<Vec<String>>,
}

pub(super) fn read(metadata: &Metadata) -> std::result::Result<Parts, TokenizerError> {
    let common = Common::read(metadata)?;
    let model = metadata.require_str("tokenizer.ggml.model")?;
    let built = match model {
        "gpt2" => byte_level::build(&common)?,
        "llama" => sentencepiece::build(&common)?,
        "bert" => wordpiece::build(&common)?,
        other => {
            return Err(Error::unsupported(
                metadata.label(),
                format!("tokenizer.ggml.model {other:?}; supported: gpt2, llama, bert"),
            )
            .into());
        }
    };
    let Built {
        mut tokenizer,
        decoding,
        adds,
        tokens,
    } = built;
    let tokens = tokens.as_deref().unwrap_or(common.tokens);
    guard::catch(|| tokenizer.add_tokens(common.added(tokens)))
        .map_err(|m| common.wrong("tokenizer.ggml.tokens", m))?;

    let mut vocabulary = Vocabulary::default();
    for (token, &kind) in tokens.iter().zip(&common.types) {
        let special = is_special(kind);
        vocabulary.push(token, is_added(kind), special, &decoding);
    }
    let bos = match common.id("tokenizer.ggml.bos_token_id")? {
        None => common.id("tokenizer.ggml.cls_token_id")?,
        bos => bos,
    };
    let eos = common.id("tokenizer.ggml.eos_token_id")?;
    let flag = |key: &str, default: bool| metadata.get_bool(key).map(|f| f.unwrap_or(default));
    let end = match common.id("tokenizer.ggml.seperator_token_id")? {
        Some(separator) if model == "bert" => Some(separator),
        _ => eos,
    };
    let mut named = Vec::new();
    for name in NAMED {
        let key = match name {
            "unk_token" => "unknown",
            "sep_token" => "seperator",
            "pad_token" => "padding",
            other => other.trim_end_matches("_token"),
        };
        if let Some(id) = common.id(&format!("tokenizer.ggml.{key}_token_id"))? {
            named.push((name, tokens[id as usize].clone()));
        }
    }
    let affix = |add: bool, token: Option<u32>| token.filter(|_| add).into_iter().collect();
    Ok(Parts {
        label: metadata.label().to_owned(),
        prefix: affix(flag("tokenizer.ggml.add_bos_token", adds.0)?, bos),
        suffix: affix(flag("tokenizer.ggml.add_eos_token", adds.1)?, end),
        eos: common.ends(eos)?,
        bos,
        named,
        tokenizer,
        vocabulary,
        decoding,
        frames: Frames::default(),
    })
}

/// Whether tokens of a type are special: they steer the model and are no text.
fn is_special(kind: i32) -> bool {
    kind == TYPE_CONTROL || kind == TYPE_UNKNOWN
}

/// Whether tokens of a type are found in a text before the vocabulary's algorithm runs.
fn is_added(kind: i32) -> bool {
    is_special(kind) || kind == TYPE_USER_DEFINED
}

impl<'a> Common<'a> {
    fn read(metadata: &'a Metadata) -> Result<Common<'a>> {
        let tokens = metadata.require_strings("tokenizer.ggml.tokens")?;
        let types = metadata.get_i32s("tokenizer.ggml.token_type")?;
        let common = Common {
            metadata,
            types: types.unwrap_or_else(|| vec![TYPE_NORMAL; tokens.len()]),
            tokens,
        };
        if tokens.is_empty() || tokens.len() > MAX_TOKENS {
            return Err(common.wrong(
                "tokenizer.ggml.tokens",
                format!("{} tokens; expected 1 to {MAX_TOKENS}", tokens.len()),
            ));
        }
        common.check_len("tokenizer.ggml.token_type", common.types.len())?;
        Ok(common)
    }

    fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(self.metadata.label(), key, problem)
    }

    fn check_len(&self, key: &str, len: usize) -> Result<()> {
        if len == self.tokens.len() {
            return Ok(());
        }
        Err(self.wrong(
            key,
            format!("{len} values for {} tokens", self.tokens.len()),
        ))
    }

    /// A token's id under a key. Ids beyond the vocabulary, which some converters write for tokens that a model lacks, are
    /// none.
    fn id(&self, key: &str) -> Result<Option<u32>> {
        match self.metadata.get(key).and_then(|v| v.as_i128()) {
            Some(-1) => Ok(None),
            _ => {
                let id = self.metadata.get_u32(key)?;
                Ok(id.filter(|&id| (id as usize) < self.tokens.len()))
            }
        }
    }

    /// The tokens as a vocabulary: distinct texts for all ids. Empty and repeated ones, which no text leads to, are
    /// replaced by noncharacters with their id.
    fn distinct<'t>(&self, tokens: &'t [String]) -> impl Iterator<Item = (String, u32)> + use<'t> {
        let mut seen = HashSet::with_capacity(tokens.len());
        tokens.iter().zip(0..).map(move |(token, id)| {
            if !token.is_empty() && seen.insert(token.as_str()) {
                (token.clone(), id)
            } else {
                (format!("\u{fffff}\u{10fffe}repeated {id}\u{10ffff}"), id)
            }
        })
    }

    fn added(&self, tokens: &[String]) -> Vec<AddedToken> {
        let mut seen = HashSet::new();
        tokens
            .iter()
            .zip(&self.types)
            .filter(|&(token, &kind)| {
                is_added(kind) && !token.is_empty() && seen.insert(token.as_str())
            })
            .map(|(token, &kind)| {
                AddedToken::from(token.clone(), is_special(kind)).normalized(false)
            })
            .collect()
    }

    /// The tokens that end a text.
    fn ends(&self, eos: Option<u32>) -> Result<Vec<u32>> {
        let mut ends = Vec::new();
        if let Some(listed) = self.metadata.get_i32s("hearth.tokenizer.eos_token_ids")? {
            for id in listed {
                match u32::try_from(id)
                    .ok()
                    .filter(|&id| (id as usize) < self.tokens.len())
                {
                    Some(id) => ends.push(id),
                    None => {
                        return Err(self.wrong(
                            "hearth.tokenizer.eos_token_ids",
                            format!("{id} is no token"),
                        ));
                    }
                }
            }
        } else {
            ends.extend(eos);
            ends.extend(self.id("tokenizer.ggml.eot_token_id")?);
            ends.extend(self.id("tokenizer.ggml.eom_token_id")?);
            let named = self.tokens.iter().zip(&self.types).zip(0..);
            ends.extend(
                named
                    .filter(|((token, kind), _)| is_added(**kind) && ENDS.contains(&token.as_str()))
                    .map(|(_, id)| id),
            );
        }
        let mut seen = HashSet::new();
        ends.retain(|&id| seen.insert(id));
        Ok(ends)
    }
}
