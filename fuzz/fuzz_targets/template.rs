//! Any text as a chat template: an error, or a prompt, in bounded time and memory.

#![no_main]

use std::sync::LazyLock;

use hearth_formats::gguf::{Array, Metadata, Value};
use hearth_llm::template::{ChatInput, ChatTemplate};
use hearth_llm::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let mut tokens: Vec<String> = ["<s>", "</s>"].map(String::from).into();
    tokens.extend((0x21..=0x7e).map(|byte: u8| char::from(byte).to_string()));
    let types = (0..tokens.len())
        .map(|i| if i < 2 { 3 } else { 1 })
        .collect();
    let mut metadata = Metadata::new("fuzz");
    metadata.insert("tokenizer.ggml.model", Value::String("gpt2".into()));
    metadata.insert("tokenizer.ggml.pre", Value::String("gpt-2".into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(types)));
    metadata.insert("tokenizer.ggml.merges", Value::Array(Array::String(vec![])));
    metadata.insert("tokenizer.ggml.bos_token_id", Value::U32(0));
    metadata.insert("tokenizer.ggml.eos_token_id", Value::U32(1));
    Tokenizer::from_metadata(&metadata).expect("a sound vocabulary")
});

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::from_source(source, &TOKENIZER) else {
        return;
    };
    let input = ChatInput {
        messages: json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello </s>, what is 2+2?"},
            {"role": "assistant", "content": "4"},
            {"role": "user", "content": [{"type": "text", "text": "And 3+3?"}]},
        ]),
        add_generation_prompt: true,
        ..ChatInput::default()
    };
    if let Ok(prompt) = template.render(&input) {
        // Bounded too: what does not fit is an error before.
        let _ = TOKENIZER.encode_rendered(&prompt);
    }
});
