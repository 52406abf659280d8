//! Tokenizers from the files of a Hugging Face folder.

use std::collections::HashSet;
use std::path::Path;

use hearth_formats::Error;
use hearth_formats::checkpoint::tokenizer::TokenizerFiles;
use serde_json::Value as Json;
use tokenizers::{AddedToken, Tokenizer};

use super::decode::Decoding;
use super::frame::Frame;
use super::vocabulary::Vocabulary;
use super::{Frames, NAMED, Parts, TokenizerError, encode_with, guard};

pub(super) fn read(folder: &Path) -> Result<Parts, TokenizerError> {
    let mut files = TokenizerFiles::open(folder)?;
    let label = files.label().to_owned();
    let added = files.added_tokens()?;
    let (bos, eos) = (files.bos(), files.eos_ids().to_vec());
    check_model(&files)?;
    check_steps(&label, files.json())?;
    check_post_processor(&label, &files.json()["post_processor"])?;
    let decoding = Decoding::from_json(&label, &files.json()["decoder"])?;
    let pad = files.named("pad_token");
    let pad = pad.or_else(|| u32::try_from(files.json()["padding"]["pad_id"].as_u64()?).ok());
    let max_length = files.config()["model_max_length"].as_u64();

    let mut json = files.take_json();
    if let Json::Object(fields) = &mut json {
        // Prompts are neither cut nor padded, and decoding is done here.
        for field in ["truncation", "padding", "decoder"] {
            fields.remove(field);
        }
        if let Some(Json::Object(model)) = fields.get_mut("model") {
            model.remove("dropout");
        }
    }
    let broken = |message: String| Error::field(&label, "tokenizer", message);
    let mut tokenizer: Tokenizer =
        guard::catch(|| Ok(serde_json::from_value(json)?)).map_err(broken)?;

    // Tokens that other files of the folder add or call special.
    let present = tokenizer.get_added_vocabulary().get_vocab().clone();
    let mut missing: Vec<_> = added
        .iter()
        .filter(|token| !present.contains_key(&token.content))
        .collect();
    missing.sort_by_key(|token| token.id);
    let mut more: Vec<AddedToken> = missing
        .into_iter()
        .map(|token| {
            AddedToken::from(token.content.clone(), token.special)
                .lstrip(token.lstrip)
                .rstrip(token.rstrip)
                .single_word(token.single_word)
                .normalized(token.normalized)
        })
        .collect();
    let named = NAMED.iter().filter_map(|name| files.named_text(name));
    let listed = files.config()["additional_special_tokens"].as_array();
    let listed = listed.into_iter().flatten();
    let listed = listed.filter_map(|t| t.as_str().or_else(|| t["content"].as_str()));
    let special = added.iter().filter(|token| token.special);
    let mut special: HashSet<&str> = special.map(|token| token.content.as_str()).collect();
    for text in named.chain(listed) {
        if !text.is_empty() && files.id(text).is_some() && special.insert(text) {
            more.push(AddedToken::from(text, true));
        }
    }
    guard::catch(|| tokenizer.add_tokens(more)).map_err(broken)?;
    for token in &added {
        let id = tokenizer.token_to_id(&token.content);
        if id != Some(token.id) {
            return Err(Error::field(
                &label,
                "added_tokens",
                format!(
                    "{:?} has the id {}, but the ids before it leave it {}",
                    token.content,
                    token.id,
                    id.map_or("none".to_owned(), |id| id.to_string()),
                ),
            )
            .into());
        }
    }
    let vocabulary = vocabulary(&tokenizer, &decoding);
    let (prefix, suffix) =
        affixes(&tokenizer).map_err(|m| Error::field(&label, "post_processor", m))?;
    let frames = Frames {
        single: Frame::find(&tokenizer, false),
        pair: Frame::find(&tokenizer, true),
        pad,
        // Files that know no length have a huge number.
        max_length: max_length
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| (1..1 << 24).contains(length)),
    };
    Ok(Parts {
        label,
        tokenizer,
        vocabulary,
        decoding,
        prefix,
        suffix,
        bos,
        eos,
        named: NAMED
            .into_iter()
            .filter_map(|name| Some((name, files.named_text(name)?.to_owned())))
            .collect(),
        frames,
    })
}

/// Checks what `tokenizers` would find too late or not at all.
fn check_model(files: &TokenizerFiles) -> Result<(), Error> {
    let field = |field: &str, problem: String| Err(Error::field(files.label(), field, problem));
    let model = &files.json()["model"];
    if let Some(unknown) = model["unk_token"].as_str() {
        if files.id(unknown).is_none() {
            return field(
                "model.unk_token",
                format!("{unknown:?} is not in model.vocab"),
            );
        }
    } else if matches!(files.model_type(), "WordPiece" | "WordLevel") {
        return field("model.unk_token", "expected a token".to_owned());
    }
    if files.model_type() == "Unigram" {
        let len = model["vocab"].as_array().map_or(0, Vec::len) as u64;
        if model["unk_id"].as_u64().is_none_or(|id| id >= len) {
            return field("model.unk_id", format!("expected an id below {len}"));
        }
    }
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    if files.model_type() != "BPE" {
        return Ok(());
    }
    let Some(merges) = model["merges"].as_array() else {
        return field("model.merges", "expected a list".to_owned());
    };
    for (i, merge) in merges.iter().enumerate() {
        let pair = match merge {
            Json::String(pair) => pair.split_once(' '),
            _ => merge[0].as_str().zip(merge[1].as_str()),
        };
        let name = format!("model.merges[{i}]");
        let Some((left, right)) = pair else {
            return field(&name, format!("{merge} is no pair of tokens"));
        };
        let Some(rest) = right.strip_prefix(prefix) else {
            return field(&name, format!("{right:?} does not begin with {prefix:?}"));
        };
        let merged = format!("{left}{rest}");
        for token in [left, right, &merged] {
            if files.id(token).is_none() {
                return field(&name, format!("{token:?} is not in model.vocab"));
            }
        }
    }
    Ok(())
}

/// No normalizer that is in use makes a text many times longer.
const MAX_GROWTH: usize = 1024;

/// Checks normalizers and pre-tokenizers for what would make `tokenizers` allocate without bounds or panic.
fn check_steps(label: &str, json: &Json) -> Result<(), Error> {
    let mut growth = 1usize;
    let mut steps = vec![
        ("normalizer", &json["normalizer"]),
        ("pre_tokenizer", &json["pre_tokenizer"]),
    ];
    while let Some((name, step)) = steps.pop() {
        for list in ["normalizers", "pretokenizers"] {
            if let Some(list) = step[list].as_array() {
                steps.extend(list.iter().map(|step| (name, step)));
            }
        }
        match step["type"].as_str() {
            Some("Replace") => {
                let content = step["content"].as_str().map_or(0, str::len);
                let pattern = step["pattern"]["String"].as_str().map_or(1, str::len);
                growth = growth.saturating_mul(content.div_ceil(pattern.max(1)).max(1));
            }
            Some("Prepend") => {
                let length = step["prepend"].as_str().map_or(0, str::len);
                growth = growth.saturating_add(length);
            }
            Some("Precompiled") => {
                let charsmap = step["precompiled_charsmap"].as_str().unwrap_or("");
                // The first four bytes are the size of the table that follows.
                let table = leading_u32(charsmap).map(|size| size as usize);
                if !table.is_some_and(|size| size >= 4 && size < charsmap.len()) {
                    return Err(Error::field(
                        label,
                        "normalizer.precompiled_charsmap",
                        "is not a table of its stated size",
                    ));
                }
            }
            Some("FixedLength") if step["length"] == 0 => {
                return Err(Error::field(label, "pre_tokenizer.length", "is 0"));
            }
            _ => {}
        }
    }
    if growth > MAX_GROWTH {
        return Err(Error::field(
            label,
            "normalizer",
            format!("makes texts up to {growth} times longer"),
        ));
    }
    Ok(())
}

/// Checks that what a template puts around a text is there: `tokenizers` panics where it is not.
fn check_post_processor(label: &str, processor: &Json) -> Result<(), Error> {
    let list = processor["processors"].as_array();
    for processor in list.into_iter().flatten() {
        check_post_processor(label, processor)?;
    }
    for piece in processor["single"].as_array().into_iter().flatten() {
        let token = piece["SpecialToken"]["id"].as_str();
        let missing = match (token, piece["Sequence"]["id"].as_str()) {
            (Some(token), _) => processor["special_tokens"].get(token).is_none(),
            (None, sequence) => sequence == Some("B"),
        };
        if missing {
            return Err(Error::field(
                label,
                "post_processor.single",
                format!("there is nothing for {piece}"),
            ));
        }
    }
    Ok(())
}

/// The first four bytes of a text in base64, as a little-endian number.
fn leading_u32(base64: &str) -> Option<u32> {
    let mut bits = 0u64;
    for c in base64.bytes().take(6) {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u64::from(value);
    }
    let bytes = (base64.len() >= 6).then_some((bits >> 4) as u32)?;
    Some(bytes.swap_bytes())
}

fn vocabulary(tokenizer: &Tokenizer, decoding: &Decoding) -> Vocabulary {
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    let model = tokenizer.get_vocab(false);
    let len = model
        .values()
        .chain(added.keys())
        .max()
        .map_or(0, |&id| id as usize + 1);
    let mut tokens: Vec<Option<&str>> = vec![None; len];
    for (token, &id) in &model {
        tokens[id as usize] = Some(token);
    }
    let mut vocabulary = Vocabulary::default();
    for (token, id) in tokens.into_iter().zip(0..) {
        match (added.get(&id), token) {
            (Some(token), _) => vocabulary.push(&token.content, true, token.special, decoding),
            (None, Some(token)) => vocabulary.push(token, false, false, decoding),
            (None, None) => vocabulary.push_unused(),
        }
    }
    vocabulary
}

/// What the post-processor puts before and after a text, found by encoding one with and without it.
fn affixes(tokenizer: &Tokenizer) -> Result<(Vec<u32>, Vec<u32>), String> {
    for probe in ["a", "0", " ", "\u{4e00}"] {
        let text = encode_with(tokenizer, tokenizer.get_added_vocabulary(), probe)?;
        if text.is_empty() {
            continue;
        }
        let whole = guard::catch(|| Ok(tokenizer.encode_fast(probe, true)?.get_ids().to_vec()))?;
        let at = whole
            .windows(text.len())
            .position(|window| window == text)
            .ok_or("changes the tokens of a text")?;
        return Ok((whole[..at].to_vec(), whole[at + text.len()..].to_vec()));
    }
    Ok((Vec::new(), Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_charsmap_is_read() {
        // 0x00000104, then more.
        assert_eq!(leading_u32("BAEAAAEC"), Some(0x104));
        assert_eq!(leading_u32("BAEA"), None);
        assert_eq!(leading_u32("!!!!!!!!"), None);
    }
}
