//! How an engine ends, with requests under way.

use std::sync::Arc;

use hearth_llm::engine::*;

use super::hooked::*;
use super::support::*;

/// An engine whose steps wait at a turnstile, with a request that has come there and four more.
fn occupied() -> (Engine, Control, Vec<Generation>, Vec<GenerateRequest>) {
    let (turnstile, control) = turnstile();
    let model = HookedText::new(load("qwen2", 1)).on_forward(move |_| turnstile.pass());
    let config = EngineConfig {
        max_sequences: 2,
        ..config()
    };
    let engine = start(Arc::new(model), config);
    let requests: Vec<_> = (0..5).map(|i| greedy(prompt(i, 10), 6)).collect();
    let mut generations = vec![engine.submit(requests[0].clone()).unwrap()];
    control.wait();
    generations.extend(
        requests[1..]
            .iter()
            .map(|r| engine.submit(r.clone()).unwrap()),
    );
    (engine, control, generations, requests)
}

/// Until the engine takes no more requests.
fn wait_until_closed(engine: &Engine) {
    while engine.health().is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn a_drain_answers_all_that_was_admitted_and_admits_no_more() {
    let (engine, control, generations, requests) = occupied();
    let expected = run_all(&start(load("qwen2", 1), config()), &requests);
    std::thread::scope(|scope| {
        scope.spawn(|| engine.shutdown(Shutdown::Drain));
        wait_until_closed(&engine);
        let refused = engine.submit(requests[0].clone());
        assert_eq!(refused.err(), Some(EngineError::ShuttingDown));
        drop(control);
    });
    let outcomes: Vec<_> = generations.into_iter().map(finish).collect();
    assert_eq!(outcomes, expected);
    assert_eq!(engine.health(), Err(EngineError::ShuttingDown));
    assert_eq!(engine.stats().finished, 5);
    assert_eq!(engine.stats().blocks_used, 0);
}

#[test]
fn an_abort_fails_all_that_is_under_way() {
    let (engine, control, generations, _) = occupied();
    std::thread::scope(|scope| {
        scope.spawn(|| engine.shutdown(Shutdown::Abort));
        wait_until_closed(&engine);
        drop(control);
    });
    for generation in generations {
        assert_eq!(finish(generation).failure, Some(EngineError::ShuttingDown));
    }
    let stats = engine.stats();
    assert_eq!((stats.failed, stats.steps), (5, 1));
    assert_eq!((stats.blocks_used, stats.running, stats.waiting), (0, 0, 0));
}

#[test]
fn dropping_the_engine_aborts() {
    let (engine, control, generations, _) = occupied();
    let dropped = std::thread::spawn(move || drop(engine));
    drop(control);
    dropped.join().unwrap();
    for generation in generations {
        let outcome = finish(generation);
        let ended = outcome.reason == Some(FinishReason::Length)
            || outcome.failure == Some(EngineError::ShuttingDown);
        assert!(ended, "{outcome:?}");
    }
}

#[test]
fn an_idle_engine_ends_at_once_and_says_so_ever_after() {
    for how in [Shutdown::Drain, Shutdown::Abort] {
        let engine = start(load("gpt2", 1), config());
        engine.shutdown(how);
        engine.shutdown(how);
        let refused = engine.submit(greedy(prompt(0, 4), 4));
        assert_eq!(refused.err(), Some(EngineError::ShuttingDown));
    }
}
