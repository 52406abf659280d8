//! WordPiece vocabularies as `bert`.

use serde_json::Value as Json;

use super::{TokenizerFiles, Vocabulary, push};
use crate::gguf::Value;
use crate::{Error, Result};

/// The `tokenizer.*` keys of BERT's WordPiece vocabulary.
///
/// GGUF marks the beginning of words with `▁` where WordPiece marks their continuation with `##`.
pub(super) fn metadata(
    files: &TokenizerFiles,
    vocabulary: &Vocabulary,
) -> Result<Vec<(String, Value)>> {
    let json = files.json();
    let unsupported =
        |what: &str| Error::unsupported(files.label(), format!("{what} in a GGUF file"));
    let model = &json["model"];
    if model["continuing_subword_prefix"] != "##" {
        return Err(unsupported(
            "model.continuing_subword_prefix other than \"##\"",
        ));
    }
    if json["pre_tokenizer"]["type"] != "BertPreTokenizer" {
        return Err(unsupported("pre_tokenizer other than BertPreTokenizer"));
    }
    let normalizer = &json["normalizer"];
    if normalizer["type"] != "BertNormalizer"
        || normalizer["clean_text"] == Json::Bool(false)
        || normalizer["handle_chinese_chars"] == Json::Bool(false)
    {
        return Err(unsupported(
            "normalizer other than BertNormalizer with clean_text and handle_chinese_chars",
        ));
    }
    let lowercase = normalizer["lowercase"] != Json::Bool(false);
    let strip_accents = normalizer["strip_accents"].as_bool().unwrap_or(lowercase);
    let tokens: Vec<String> = vocabulary
        .tokens
        .iter()
        .map(|token| {
            if let Some(rest) = token.strip_prefix("##") {
                rest.to_owned()
            } else if token.starts_with('[') && token.ends_with(']') {
                token.clone()
            } else {
                format!("▁{token}")
            }
        })
        .collect();
    let mut keys = Vec::new();
    push(&mut keys, "ggml.model", "bert");
    push(&mut keys, "ggml.pre", "default");
    push(&mut keys, "ggml.tokens", tokens);
    push(&mut keys, "ggml.token_type", vocabulary.types.clone());
    push(&mut keys, "ggml.normalizer.lowercase", lowercase);
    if strip_accents != lowercase {
        keys.push((
            "hearth.tokenizer.strip_accents".to_owned(),
            strip_accents.into(),
        ));
    }
    if let Some(limit) = model["max_input_chars_per_word"]
        .as_u64()
        .filter(|&n| n != 100)
    {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        keys.push(("hearth.tokenizer.max_word_chars".to_owned(), limit.into()));
    }
    if let Some(id) = files.named("cls_token") {
        push(&mut keys, "ggml.cls_token_id", id);
    }
    Ok(keys)
}
