//! What is computed for a prompt whose beginning was computed before.

use hearth_llm::engine::*;
use hearth_llm::template::ChatInput;
use serde_json::{Value, json};

use super::support::*;

const SYSTEM: usize = 2000;

/// Guesses would count as computed tokens.
fn plain() -> EngineConfig {
    EngineConfig {
        speculation: Speculation::Off,
        ..EngineConfig::default()
    }
}

/// A system prompt and then something of its own.
fn request(own: u32) -> GenerateRequest {
    let system = (0..SYSTEM as u32).map(|i| 5 + i * i % 3000);
    let own = (0..20).map(|i| 100 + 31 * own + i);
    greedy(system.chain(own).collect(), 8)
}

#[test]
fn a_long_system_prompt_is_computed_once() {
    let engine = Ember::load(2).start(plain());
    let block_size = EngineConfig::default().block_size as u64;
    // Its own tokens, the last block of the system prompt, and the answer but for its last token.
    let each = 20 + block_size + 7;
    let mut before = 0;
    let mut computed = || {
        let now = engine.stats().tokens_computed;
        now - std::mem::replace(&mut before, now)
    };

    // At the same time, then one after the other.
    let at_once: Vec<GenerateRequest> = (0..8).map(request).collect();
    run_all(&engine, &at_once);
    let first = computed();
    assert!(first <= SYSTEM as u64 + 8 * each, "{first} tokens");
    for own in 8..12 {
        let outcome = run(&engine, request(own));
        let tokens = computed();
        assert!(tokens <= each, "{tokens} tokens");
        assert_eq!(outcome.cached_tokens, SYSTEM);
    }
    let stats = engine.stats();
    assert_eq!(stats.prefix_lookups, 12);
    assert_eq!(stats.prefix_hits, 11);
    assert_eq!(stats.prefix_hit_tokens, 11 * SYSTEM as u64);

    // A prompt that is there whole costs its last token.
    let whole = request(0).prompt[..SYSTEM].to_vec();
    run(&engine, greedy(whole, 1));
    assert_eq!(computed(), 1);
}

/// The prompt of a conversation.
fn prompt_of(ember: &Ember, messages: &[Value]) -> Vec<u32> {
    let input = ChatInput {
        messages: Value::Array(messages.to_vec()),
        add_generation_prompt: true,
        ..ChatInput::default()
    };
    let rendered = ember.template.render(&input).unwrap();
    ember.tokenizer.encode_rendered(&rendered).unwrap()
}

#[test]
fn a_conversation_computes_only_what_is_new() {
    let ember = Ember::load(2);
    let engine = ember.start(plain());
    let block_size = EngineConfig::default().block_size;
    let mut messages = vec![json!({"role": "system", "content": "You are a friendly helper."})];
    let mut past: Vec<u32> = Vec::new();
    // Tokens of the past that were put through the model.
    let mut written = 0;
    for (turn, question) in [
        "Tell me a short story about a cat.",
        "And what did the dog do then?",
        "How does it end?",
    ]
    .iter()
    .enumerate()
    {
        messages.push(json!({"role": "user", "content": question}));
        let prompt = prompt_of(&ember, &messages);
        let known = prompt.iter().zip(&past).take_while(|(a, b)| a == b).count();
        // The answer of the turn before is part of it; only how it ended may be written differently.
        assert!(known + 2 >= past.len(), "{known} of {}", past.len());
        assert!(turn == 0 || known > 2 * block_size);

        let before = engine.stats().tokens_computed;
        let mut request = greedy(prompt.clone(), 60);
        request.ignore_eos = false;
        let outcome = run(&engine, request);
        let cached = known.min(written) / block_size * block_size;
        assert_eq!(outcome.cached_tokens, cached, "turn {turn}");
        let computed = engine.stats().tokens_computed - before;
        let new = prompt.len() - cached + outcome.completion_tokens - 1;
        assert_eq!(computed, new as u64, "turn {turn}");

        // The last token that was drawn is never put through, be it text or the end.
        written = prompt.len() + outcome.completion_tokens - 1;
        past = [prompt, outcome.ids()].concat();
        messages.push(json!({"role": "assistant", "content": outcome.text}));
    }
}
