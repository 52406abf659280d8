//! Models that break: who is told, who is not concerned, and what is free afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use hearth_kernels::KernelError;
use hearth_llm::engine::*;

use super::hooked::*;
use super::support::*;

/// A token that no prompt of the tests has otherwise.
const POISON: u32 = 199;

/// A model whose logits after [`POISON`] are `broken` at one place.
fn poisoned(broken: f32) -> HookedText {
    let (tell, told) = channel();
    HookedText::new(load("llama3", 2))
        .on_forward(move |batch| {
            let row = |&row: &u32| batch.tokens[row as usize] == POISON;
            let rows: Vec<bool> = batch.outputs.iter().map(row).collect();
            tell.send(rows).unwrap();
        })
        .on_logits(move |logits| {
            let rows = told.recv().unwrap();
            assert!(
                rows.len() <= 32,
                "the logits of a step are computed at once"
            );
            for (logits, poisoned) in logits.chunks_exact_mut(VOCAB_SIZE).zip(rows) {
                if poisoned {
                    logits[7] = broken;
                }
            }
        })
}

#[test]
fn broken_logits_fail_their_own_request_alone() {
    let healthy: Vec<GenerateRequest> = (0..4).map(|i| greedy(prompt(i, 20), 12)).collect();
    let expected = run_all(&start(load("llama3", 2), config()), &healthy);
    for broken in [f32::NAN, f32::INFINITY] {
        let engine = start(Arc::new(poisoned(broken)), config());
        let mut requests = healthy.clone();
        let bad = [prompt(9, 14), vec![POISON]].concat();
        requests.insert(2, greedy(bad, 12));
        let mut outcomes = run_all(&engine, &requests);
        assert_eq!(
            outcomes.remove(2),
            Outcome {
                failure: Some(EngineError::NotFinite { position: 14 }),
                ..Outcome::default()
            }
        );
        assert_eq!(outcomes, expected);
        assert_eq!(engine.health(), Ok(()));
        let stats = engine.stats();
        assert_eq!((stats.failed, stats.finished), (1, 4));
        assert_eq!((stats.blocks_used, stats.running), (0, 0));
        // The place is free, and so is the engine.
        assert_eq!(run(&engine, healthy[0].clone()).answer(), expected[0]);
    }
}

#[test]
fn broken_logits_fail_the_scores_of_a_prompt_too() {
    let engine = start(Arc::new(poisoned(f32::NAN)), config());
    let mut request = greedy([prompt(1, 6), vec![POISON], prompt(2, 5)].concat(), 0);
    request.prompt_logprobs = Some(1);
    let outcome = run(&engine, request);
    assert_eq!(
        outcome.failure,
        Some(EngineError::NotFinite { position: 6 })
    );
    assert_eq!(outcome.prompt, None);
}

#[test]
fn a_panic_is_told_to_all_who_are_served_wait_or_come_later() {
    let unhealthy = || EngineError::Unhealthy {
        message: "the third step".into(),
    };
    let steps = AtomicUsize::new(0);
    let (turnstile, control) = turnstile();
    let model = HookedText::new(load("qwen3", 1)).on_forward(move |_| {
        match steps.fetch_add(1, Ordering::Relaxed) {
            0 => turnstile.pass(),
            2 => panic!("the third step"),
            _ => {}
        }
    });
    let config = EngineConfig {
        max_sequences: 2,
        ..config()
    };
    let engine = start(Arc::new(model), config);
    let first = engine.submit(greedy(prompt(0, 8), 20)).unwrap();
    control.wait();
    let rest: Vec<Generation> = (1..6)
        .map(|i| engine.submit(greedy(prompt(i, 8), 20)).unwrap())
        .collect();
    control.let_through();
    for (i, generation) in [first].into_iter().chain(rest).enumerate() {
        let outcome = finish(generation);
        assert_eq!(outcome.failure, Some(unhealthy()), "request {i}");
    }
    assert_eq!(engine.health(), Err(unhealthy()));
    let refused = engine.submit(greedy(prompt(0, 8), 20));
    assert_eq!(refused.err(), Some(unhealthy()));
    engine.shutdown(Shutdown::Drain);
    assert_eq!(engine.health(), Err(unhealthy()));
    let stats = engine.stats();
    assert_eq!((stats.failed, stats.running, stats.waiting), (6, 0, 0));
    assert_eq!(stats.blocks_used, 0);
}

#[test]
fn whoever_submits_while_the_model_panics_is_told_so() {
    for round in 0..50 {
        let model = HookedText::new(load("gpt2", 1)).on_forward(|_| panic!("at once"));
        let engine = start(Arc::new(model), config());
        let submit = || match engine.submit(greedy(prompt(round, 4), 4)) {
            Ok(generation) => finish(generation).failure,
            Err(error) => Some(error),
        };
        let failures: Vec<_> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..3).map(|_| scope.spawn(submit)).collect();
            callers.into_iter().map(|c| c.join().unwrap()).collect()
        });
        for failure in failures {
            let message = "at once".into();
            assert_eq!(failure, Some(EngineError::Unhealthy { message }));
        }
    }
}

#[test]
fn no_memory_for_the_cache_is_told_with_its_size() {
    let model = HookedText::new(load("llama3", 1)).on_cache(|| {
        Err(hearth_llm::Error::Kernel(KernelError::OutOfMemory {
            what: "keys and values".into(),
            bytes: 1 << 50,
        }))
    });
    let Err(EngineError::Start { message }) = Engine::start(Arc::new(model), tokenizer(), config())
    else {
        panic!("started without a cache");
    };
    assert!(message.contains("1125899906842624 bytes"), "{message}");
    assert!(message.contains("blocks of 16 tokens"), "{message}");
}

#[test]
fn a_budget_below_one_block_is_refused_with_both_sizes() {
    let model = load("llama3", 1);
    let mut config = config();
    let block = cache_of(&*model, &config, 1);
    config.cache_bytes = block - 1;
    let Err(EngineError::Start { message }) = Engine::start(model, tokenizer(), config) else {
        panic!("started without a cache");
    };
    assert!(message.contains(&format!("{}", block - 1)), "{message}");
    assert!(message.contains(&format!("{block} bytes")), "{message}");
}
