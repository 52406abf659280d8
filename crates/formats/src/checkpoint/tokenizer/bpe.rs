//! BPE vocabularies: byte-level as `gpt2`, SentencePiece's as `llama`.

use serde_json::Value as Json;

use super::{TYPE_BYTE, TokenizerFiles, Vocabulary, pre, push};
use crate::gguf::Value;
use crate::{Error, Result};

/// The `tokenizer.*` keys of a BPE vocabulary.
pub(super) fn metadata(
    files: &TokenizerFiles,
    vocabulary: &Vocabulary,
) -> Result<Vec<(String, Value)>> {
    let model = &files.json()["model"];
    for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[field].as_str().is_some_and(|s| !s.is_empty()) {
            return Err(Error::unsupported(
                files.label(),
                format!("model.{field} in a GGUF file"),
            ));
        }
    }
    if vocabulary.types.contains(&TYPE_BYTE) || prepend_scheme(files).is_ok() {
        sentencepiece(files, vocabulary)
    } else {
        byte_level(files, vocabulary)
    }
}

fn byte_level(files: &TokenizerFiles, vocabulary: &Vocabulary) -> Result<Vec<(String, Value)>> {
    let json = files.json();
    let ignore_merges = json["model"]["ignore_merges"] == Json::Bool(true);
    let splits = splits(files, &json["pre_tokenizer"])?;
    let pre = pre::find_by_splits(&splits, ignore_merges).ok_or_else(|| {
        Error::unsupported(
            files.label(),
            format!(
                "pre_tokenizer {splits:?}{}, which has no name among GGUF's",
                if ignore_merges {
                    " with model.ignore_merges"
                } else {
                    ""
                }
            ),
        )
    })?;
    let nfc = match &json["normalizer"] {
        Json::Null => false,
        n if n["type"] == "NFC" => true,
        n if n["type"] == "Sequence" && n["normalizers"].as_array().is_some_and(Vec::is_empty) => {
            false
        }
        n => {
            return Err(Error::unsupported(
                files.label(),
                format!("normalizer.type {} in a GGUF file", n["type"]),
            ));
        }
    };
    let mut keys = Vec::new();
    push(&mut keys, "ggml.model", "gpt2");
    push(&mut keys, "ggml.pre", pre.name);
    push(&mut keys, "ggml.tokens", vocabulary.tokens.clone());
    push(&mut keys, "ggml.token_type", vocabulary.types.clone());
    push(&mut keys, "ggml.merges", merges(files)?);
    if nfc != pre.nfc {
        let form = if nfc { "nfc" } else { "none" };
        keys.push(("hearth.tokenizer.normalizer".to_owned(), form.into()));
    }
    Ok(keys)
}

/// The expressions by which a pre-tokenizer that ends in `ByteLevel` cuts.
fn splits(files: &TokenizerFiles, pre_tokenizer: &Json) -> Result<Vec<String>> {
    let unsupported = |what: String| {
        Err(Error::unsupported(
            files.label(),
            format!("{what} in a GGUF file"),
        ))
    };
    let steps = match pre_tokenizer["pretokenizers"].as_array() {
        Some(steps) => steps.as_slice(),
        None => std::slice::from_ref(pre_tokenizer),
    };
    let mut splits = Vec::new();
    let mut bytes = false;
    for step in steps {
        match step["type"].as_str() {
            Some("ByteLevel") => {
                if step["add_prefix_space"] == Json::Bool(true) {
                    return unsupported("pre_tokenizer.add_prefix_space".to_owned());
                }
                if step["use_regex"] != Json::Bool(false) {
                    splits.push(pre::GPT2.to_owned());
                }
                bytes = true;
            }
            Some("Digits") => splits.push(
                if step["individual_digits"] == Json::Bool(true) {
                    r"\p{N}"
                } else {
                    r"\p{N}+"
                }
                .to_owned(),
            ),
            Some("Split") => {
                let behavior = (step["behavior"].as_str(), step["invert"].as_bool());
                if !matches!(
                    behavior,
                    (Some("Isolated"), _) | (Some("Removed"), Some(true))
                ) {
                    return unsupported(format!("pre_tokenizer.behavior {}", step["behavior"]));
                }
                match step["pattern"]["Regex"].as_str() {
                    Some(pattern) => splits.push(pattern.to_owned()),
                    None => {
                        return unsupported(format!("pre_tokenizer.pattern {}", step["pattern"]));
                    }
                }
            }
            Some("Punctuation") if step["behavior"] == "Contiguous" => {
                splits.push(r"[\p{P}\$\+<=>\^~\|`]+".to_owned());
            }
            _ => return unsupported(format!("pre_tokenizer.type {}", step["type"])),
        }
    }
    if !bytes {
        return unsupported(
            "a BPE vocabulary that is neither byte-level nor SentencePiece's".into(),
        );
    }
    Ok(splits)
}

/// `model.merges` with their halves joined by a space, as GGUF has them.
fn merges(files: &TokenizerFiles) -> Result<Vec<String>> {
    let merges = &files.json()["model"]["merges"];
    let Some(merges) = merges.as_array() else {
        return Err(Error::field(
            files.label(),
            "model.merges",
            "expected a list",
        ));
    };
    merges
        .iter()
        .enumerate()
        .map(|(i, merge)| match merge {
            Json::String(pair) => Ok(pair.clone()),
            _ => match (merge[0].as_str(), merge[1].as_str(), merge.get(2)) {
                (Some(left), Some(right), None) if !left.contains(' ') && !right.contains(' ') => {
                    Ok(format!("{left} {right}"))
                }
                _ => Err(Error::field(
                    files.label(),
                    format!("model.merges[{i}]"),
                    "expected two tokens without spaces",
                )),
            },
        })
        .collect()
}

/// How spaces are put before a text: `prepend` before every piece between special tokens, `always` the same but only where
/// no space is there, `first` only at the very beginning and where no space is there, `never`.
fn prepend_scheme(files: &TokenizerFiles) -> Result<&'static str> {
    let json = files.json();
    let normalizers = match json["normalizer"]["normalizers"].as_array() {
        Some(list) => list.as_slice(),
        None if json["normalizer"].is_null() => &[],
        None => std::slice::from_ref(&json["normalizer"]),
    };
    let is_escape =
        |n: &Json| n["type"] == "Replace" && n["pattern"]["String"] == " " && n["content"] == "▁";
    let pre_tokenizer = &json["pre_tokenizer"];
    let plain = pre_tokenizer.is_null() || is_split_on_nothing(pre_tokenizer);
    match normalizers {
        [prepend, escape]
            if plain
                && prepend["type"] == "Prepend"
                && prepend["prepend"] == "▁"
                && is_escape(escape) =>
        {
            Ok("prepend")
        }
        [escape] if plain && is_escape(escape) => Ok("never"),
        [] if pre_tokenizer["type"] == "Metaspace"
            && pre_tokenizer["replacement"] == "▁"
            && pre_tokenizer["split"] == Json::Bool(false) =>
        {
            match pre_tokenizer["prepend_scheme"].as_str() {
                Some("first") => Ok("first"),
                Some("never") => Ok("never"),
                Some("always") | None => Ok("always"),
                Some(other) => Err(Error::field(
                    files.label(),
                    "pre_tokenizer.prepend_scheme",
                    format!("{other:?} is none of first, always, never"),
                )),
            }
        }
        _ => Err(Error::unsupported(
            files.label(),
            "this normalizer and pre_tokenizer in a GGUF file",
        )),
    }
}

/// Gemma's files split on spaces, of which escaping has left none.
fn is_split_on_nothing(pre_tokenizer: &Json) -> bool {
    pre_tokenizer["type"] == "Split" && pre_tokenizer["pattern"]["String"] == " "
}

fn sentencepiece(files: &TokenizerFiles, vocabulary: &Vocabulary) -> Result<Vec<(String, Value)>> {
    let scheme = prepend_scheme(files)?;
    let merges = merges(files)?;
    // A piece's score is the higher, the earlier the merge that makes it; pieces that no merge makes come last.
    let mut scores = vec![-(merges.len() as f32) - 1.0; vocabulary.tokens.len()];
    for (rank, merge) in merges.iter().enumerate().rev() {
        let piece = merge.replacen(' ', "", 1);
        if let Some(id) = files.id(&piece) {
            scores[id as usize] = -(rank as f32);
        }
    }
    for (score, kind) in scores.iter_mut().zip(&vocabulary.types) {
        if *kind != super::TYPE_NORMAL {
            *score = 0.0;
        }
    }
    let mut keys = Vec::new();
    push(&mut keys, "ggml.model", "llama");
    push(&mut keys, "ggml.pre", "default");
    push(&mut keys, "ggml.tokens", vocabulary.tokens.clone());
    push(&mut keys, "ggml.scores", scores);
    push(&mut keys, "ggml.token_type", vocabulary.types.clone());
    push(&mut keys, "ggml.merges", merges);
    push(&mut keys, "ggml.add_space_prefix", scheme != "never");
    if !matches!(scheme, "prepend" | "never") {
        keys.push(("hearth.tokenizer.prepend_scheme".to_owned(), scheme.into()));
    }
    Ok(keys)
}
