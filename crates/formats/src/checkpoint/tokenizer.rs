//! Hugging Face tokenizer files as GGUF metadata.
//!
//! [`tokenizer_metadata`] reads `tokenizer.json` and the files beside it and gives the `tokenizer.*` keys under which a
//! GGUF file carries the same vocabulary. What GGUF has no key for is under `hearth.tokenizer.*`, which other readers
//! pass over: the eos tokens beyond the first, the normalization form, and how a SentencePiece vocabulary prefixes
//! spaces.

mod bpe;
mod files;
pub mod pre;
mod wordpiece;

use std::path::Path;

use serde_json::Value as Json;

use crate::gguf::Value;
use crate::{Error, Result};

pub use files::{AddedToken, ChatTemplates, TokenizerFiles, chat_templates};

/// `tokenizer.ggml.token_type` of an ordinary token.
pub const TYPE_NORMAL: i32 = 1;
/// Of the token for what is not in the vocabulary.
pub const TYPE_UNKNOWN: i32 = 2;
/// Of a token that steers the model and is no text.
pub const TYPE_CONTROL: i32 = 3;
/// Of a token that is found in a text before anything else is.
pub const TYPE_USER_DEFINED: i32 = 4;
/// Of a token that never comes out of a text.
pub const TYPE_UNUSED: i32 = 5;
/// Of a token that stands for one byte.
pub const TYPE_BYTE: i32 = 6;

/// The most tokens that a vocabulary can have; far beyond any that is in use.
pub const MAX_TOKENS: usize = 1 << 22;

/// Reads the tokenizer files of a Hugging Face folder and gives the `tokenizer.*` keys of a GGUF file.
///
/// # Errors
/// Files that are missing, broken, or describe a tokenizer for which GGUF has no form (other than byte-level BPE with a
/// pre-tokenizer of [`pre::PRE_TOKENIZERS`], SentencePiece BPE, and WordPiece as BERT has it); each names file and field.
pub fn tokenizer_metadata(dir: &Path) -> Result<Vec<(String, Value)>> {
    let files = TokenizerFiles::open(dir)?;
    let vocabulary = Vocabulary::read(&files)?;
    let mut keys = match files.model_type() {
        "BPE" => bpe::metadata(&files, &vocabulary)?,
        "WordPiece" => wordpiece::metadata(&files, &vocabulary)?,
        other => {
            return Err(Error::unsupported(
                files.label(),
                format!("model.type {other:?} in a GGUF file"),
            ));
        }
    };
    for (name, id) in [
        ("bos", files.bos()),
        ("eos", files.eos()),
        ("unknown", files.unk()),
        ("seperator", files.named("sep_token")),
        ("padding", files.named("pad_token")),
        ("mask", files.named("mask_token")),
    ] {
        if let Some(id) = id {
            push(&mut keys, &format!("ggml.{name}_token_id"), id);
        }
    }
    let (bos, eos) = files.adds()?;
    push(&mut keys, "ggml.add_bos_token", bos);
    push(&mut keys, "ggml.add_eos_token", eos);
    keys.push((
        "hearth.tokenizer.eos_token_ids".to_owned(),
        files.eos_ids().to_vec().into(),
    ));
    let templates = files.chat_templates()?;
    if let Some(source) = templates.default {
        push(&mut keys, "chat_template", source);
    }
    for (name, source) in templates.named {
        push(&mut keys, &format!("chat_template.{name}"), source);
    }
    Ok(keys)
}

fn push(keys: &mut Vec<(String, Value)>, key: &str, value: impl Into<Value>) {
    keys.push((format!("tokenizer.{key}"), value.into()));
}

/// The tokens of a `tokenizer.json` in the order of their ids, with GGUF's token types.
struct Vocabulary {
    tokens: Vec<String>,
    types: Vec<i32>,
}

impl Vocabulary {
    fn read(files: &TokenizerFiles) -> Result<Vocabulary> {
        let json = files.json();
        let entries = files.vocabulary()?;
        let added = files.added_tokens()?;
        let len = entries
            .iter()
            .map(|(_, id)| id)
            .chain(added.iter().map(|a| &a.id))
            .max()
            .map_or(0, |&id| id as usize + 1);
        let mut tokens = vec![None; len];
        for (token, id) in entries {
            tokens[id as usize] = Some(token.to_owned());
        }
        let mut types = vec![TYPE_NORMAL; len];
        let byte_fallback = json["model"]["byte_fallback"] == Json::Bool(true);
        if byte_fallback {
            for (token, kind) in tokens.iter().zip(&mut types) {
                if token.as_deref().and_then(byte_of).is_some() {
                    *kind = TYPE_BYTE;
                }
            }
        }
        for token in added {
            let id = token.id as usize;
            types[id] = if token.special {
                TYPE_CONTROL
            } else {
                TYPE_USER_DEFINED
            };
            tokens[id] = Some(token.content);
        }
        if let Some(id) = json["model"]["unk_token"]
            .as_str()
            .and_then(|t| files.id(t))
        {
            types[id as usize] = TYPE_UNKNOWN;
        }
        let tokens = tokens
            .into_iter()
            .zip(&mut types)
            .enumerate()
            .map(|(id, (token, kind))| {
                token.unwrap_or_else(|| {
                    *kind = TYPE_UNUSED;
                    format!("[PAD{id}]")
                })
            })
            .collect();
        Ok(Vocabulary { tokens, types })
    }
}

/// The byte that a token of the form `<0x0A>` stands for.
pub fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    two.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}
