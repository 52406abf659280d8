//! Any vocabulary as a GGUF file describes it: an error, or a tokenizer that takes any text and any tokens, and that
//! streams an answer without breaking a character.
//!
//! The input is made of parts between zero bytes: the tokenizer's model, its pre-tokenizer, the tokens and the merges, one
//! a line, the tokens' types, their scores, and a text.

#![no_main]

use hearth_formats::gguf::{Array, Metadata, Value};
use hearth_llm::tokenizer::{Special, Tokenizer};
use libfuzzer_sys::fuzz_target;

fn lines(part: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(part);
    text.split('\n').map(str::to_owned).collect()
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(7, |&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let mut metadata = Metadata::new("fuzz");
    let mut insert = |key: &str, value| metadata.insert(&format!("tokenizer.ggml.{key}"), value);
    let strings = |part| Value::Array(Array::String(lines(part)));
    insert("model", Value::String(lines(part()).concat()));
    insert("pre", Value::String(lines(part()).concat()));
    insert("tokens", strings(part()));
    insert("merges", strings(part()));
    let types = part().iter().map(|&byte| i32::from(byte) - 48);
    insert("token_type", Value::Array(Array::I32(types.collect())));
    let scores = part().iter().map(|&byte| -f32::from(byte));
    insert("scores", Value::Array(Array::F32(scores.collect())));
    insert("bos_token_id", Value::U32(0));
    insert("eos_token_id", Value::U32(1));
    let text = String::from_utf8_lossy(part());
    let Ok(tokenizer) = Tokenizer::from_metadata(&metadata) else {
        return;
    };
    for special in [Special::Text, Special::Parse] {
        let Ok(tokens) = tokenizer.encode(&text, special) else {
            continue;
        };
        let mut stream = tokenizer.stream();
        for &token in &tokens {
            assert!((token as usize) < tokenizer.vocab_size());
            stream.push(token);
        }
        stream.finish();
        tokenizer.decode(&tokens, false);
    }
    for token in [0, 1, 2, 255, 256, u32::MAX] {
        tokenizer.token_bytes(token);
        tokenizer.token_text(token);
        tokenizer.is_special(token);
    }
});
