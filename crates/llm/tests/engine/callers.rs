//! What callers do: go away, set deadlines and priorities, come in crowds.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hearth_llm::TextModel;
use hearth_llm::engine::*;

use super::hooked::*;
use super::support::*;

/// A model whose every step waits at a turnstile.
fn held() -> (Arc<dyn TextModel>, Control) {
    let (turnstile, control) = turnstile();
    let model = HookedText::new(load("llama3", 1)).on_forward(move |_| turnstile.pass());
    (Arc::new(model), control)
}

/// A model that holds its first step, and tells the first token of each prompt that it begins to compute.
fn watched() -> (Arc<dyn TextModel>, Control, Receiver<u32>) {
    let (turnstile, control) = turnstile();
    let (tell, told) = channel();
    let mut turnstile = Some(turnstile);
    let model = HookedText::new(load("llama3", 1)).on_forward(move |batch| {
        if let Some(turnstile) = turnstile.take() {
            turnstile.pass();
        }
        let rows = batch.tokens.iter().zip(batch.positions);
        for (&token, _) in rows.filter(|row| *row.1 == 0) {
            tell.send(token).unwrap();
        }
    });
    (Arc::new(model), control, told)
}

fn wait_until(at: Instant) {
    while Instant::now() < at {
        std::thread::yield_now();
    }
}

#[test]
fn a_caller_that_goes_away_frees_its_blocks_before_the_next_step() {
    let (model, control) = held();
    let mut config = EngineConfig {
        max_sequences: 4,
        ..config()
    };
    config.cache_bytes = cache_of(&*model, &config, 5);
    let engine = start(model, config);
    // Four blocks of five.
    let leaving = engine.submit(greedy(prompt(1, 60), 4)).unwrap();
    control.wait();
    drop(leaving);
    // Four blocks more than there would be.
    let staying = engine.submit(greedy(prompt(2, 60), 4)).unwrap();
    drop(control);
    let outcome = finish(staying);
    let expected = run(
        &start(load("llama3", 1), super::support::config()),
        greedy(prompt(2, 60), 4),
    );
    assert_eq!(outcome, expected);
    let stats = engine.stats();
    assert_eq!(
        (stats.cancelled, stats.finished, stats.preemptions),
        (1, 1, 0)
    );
    assert_eq!(
        stats.tokens_out, 5,
        "one for the caller that went away, at most one step late"
    );
    assert_eq!((stats.blocks_used, stats.running, stats.waiting), (0, 0, 0));
}

#[test]
fn a_request_whose_caller_goes_away_while_it_waits_is_never_computed() {
    let (model, control, begun) = watched();
    let config = EngineConfig {
        max_sequences: 1,
        ..config()
    };
    let engine = start(model, config);
    let request = |first: u32| greedy([vec![first], prompt(0, 9)].concat(), 3);
    let first = engine.submit(request(100)).unwrap();
    control.wait();
    let leaving = engine.submit(request(101)).unwrap();
    let last = engine.submit(request(102)).unwrap();
    drop(leaving);
    drop(control);
    finish(first);
    finish(last);
    assert_eq!(engine.stats().cancelled, 1);
    drop(engine);
    assert_eq!(begun.iter().collect::<Vec<_>>(), [100, 102]);
}

#[test]
fn many_who_go_away_leave_nothing_behind() {
    let engine = start(load("qwen3", 2), config());
    for round in 0..5 {
        let mut generations: Vec<_> = (0..24)
            .map(|i| {
                engine
                    .submit(greedy(prompt(i, 5 + i as usize), 40))
                    .unwrap()
            })
            .collect();
        // A third goes after as many events as its number, the others stay to the end.
        let mut staying = Vec::new();
        for (i, mut generation) in generations.drain(..).enumerate() {
            if i % 3 == round % 3 {
                for _ in 0..i {
                    generation.blocking_next();
                }
            } else {
                staying.push(generation);
            }
        }
        for generation in staying {
            let outcome = finish(generation);
            assert_eq!(outcome.completion_tokens, 40);
        }
    }
    // Whoever comes last sees the places of all before as free.
    run(&engine, greedy(prompt(0, 4), 1));
    let stats = engine.stats();
    assert_eq!((stats.blocks_used, stats.running, stats.waiting), (0, 0, 0));
    assert_eq!(stats.finished + stats.cancelled, 5 * 24 + 1);
}

#[test]
fn a_deadline_that_has_passed_is_refused_at_the_door() {
    let engine = start(load("gpt2", 1), config());
    let mut request = greedy(prompt(0, 4), 4);
    request.deadline = Some(Instant::now());
    assert_eq!(engine.submit(request).err(), Some(EngineError::Deadline));
    assert_eq!(engine.stats().steps, 0);
}

#[test]
fn a_deadline_before_the_first_token_is_an_error() {
    let (model, control) = held();
    let engine = start(model, config());
    let first = engine.submit(greedy(prompt(1, 8), 4)).unwrap();
    control.wait();
    let mut hurried = greedy(prompt(2, 8), 4);
    let deadline = Instant::now() + Duration::from_millis(20);
    hurried.deadline = Some(deadline);
    // Under a load that makes even this late, it is refused with the same error.
    let hurried = engine.submit(hurried);
    wait_until(deadline);
    drop(control);
    let failure = match hurried {
        Ok(generation) => finish(generation).failure,
        Err(error) => Some(error),
    };
    assert_eq!(failure, Some(EngineError::Deadline));
    assert_eq!(finish(first).reason, Some(FinishReason::Length));
    assert_eq!(engine.stats().blocks_used, 0);
}

#[test]
fn a_deadline_in_mid_answer_ends_it_with_what_is_there() {
    let request = greedy(prompt(3, 10), 50);
    let whole = run(&start(load("llama3", 1), config()), request.clone());
    let (model, control) = held();
    let engine = start(model, config());
    let mut hurried = request;
    let deadline = Instant::now() + Duration::from_secs(2);
    hurried.deadline = Some(deadline);
    let generation = engine.submit(hurried).unwrap();
    for _ in 0..5 {
        control.wait();
        control.let_through();
    }
    control.wait();
    wait_until(deadline);
    drop(control);
    let outcome = finish(generation);
    assert_eq!(outcome.reason, Some(FinishReason::Deadline));
    assert_eq!(outcome.completion_tokens, 6, "no step after the deadline");
    assert_eq!(outcome.tokens, whole.tokens[..6]);
    assert!(
        whole
            .text
            .starts_with(outcome.text.trim_end_matches('\u{fffd}'))
    );
}

#[test]
fn the_higher_priority_is_served_first_and_equals_in_their_order() {
    let (model, control, begun) = watched();
    let config = EngineConfig {
        max_sequences: 1,
        priority_step: Duration::from_secs(3600),
        ..config()
    };
    let engine = start(model, config);
    let submit = |first: u32, priority: u8| {
        let mut request = greedy([vec![first], prompt(0, 5)].concat(), 2);
        request.priority = priority;
        engine.submit(request).unwrap()
    };
    let mut generations = vec![submit(100, 0)];
    control.wait();
    for (first, priority) in [(101, 2), (102, 9), (103, 5), (104, 9), (105, 0), (106, 10)] {
        generations.push(submit(first, priority));
    }
    drop(control);
    for generation in generations {
        assert_eq!(finish(generation).completion_tokens, 2);
    }
    drop(engine);
    let order: Vec<u32> = begun.iter().collect();
    // The one that ran first gave its place up, and came back before the later one of its priority.
    assert_eq!(order, [100, 106, 102, 104, 103, 101, 100, 105]);
}

#[test]
fn waiting_long_enough_outranks_priority() {
    let (model, control, begun) = watched();
    let config = EngineConfig {
        max_sequences: 1,
        priority_step: Duration::from_nanos(1),
        ..config()
    };
    let engine = start(model, config);
    let submit = |first: u32, priority: u8| {
        // Longer than ten levels.
        wait_until(Instant::now() + Duration::from_micros(1));
        let mut request = greedy([vec![first], prompt(0, 5)].concat(), 2);
        request.priority = priority;
        engine.submit(request).unwrap()
    };
    let mut generations = vec![submit(100, 0)];
    control.wait();
    for (first, priority) in [(101, 0), (102, 10), (103, 3)] {
        generations.push(submit(first, priority));
    }
    drop(control);
    generations.into_iter().for_each(|g| drop(finish(g)));
    drop(engine);
    assert_eq!(begun.iter().collect::<Vec<_>>(), [100, 101, 102, 103]);
}

#[test]
fn more_than_the_queue_holds_are_refused_until_a_place_is_free() {
    let (model, control) = held();
    let config = EngineConfig {
        max_sequences: 1,
        queue_limit: 2,
        ..config()
    };
    let engine = start(model, config);
    let request = |i| greedy(prompt(i, 6), 2);
    let admitted: Vec<_> = (0..3).map(|i| engine.submit(request(i)).unwrap()).collect();
    let Some(EngineError::QueueFull { limit, retry_after }) = engine.submit(request(3)).err()
    else {
        panic!("a fourth was admitted");
    };
    assert_eq!(limit, 3);
    assert!(retry_after >= Duration::from_secs(1));
    drop(control);
    admitted.into_iter().for_each(|g| drop(finish(g)));
    run(&engine, request(4));
}

#[test]
fn a_prompt_that_does_not_fit_is_refused_with_both_numbers_before_any_work() {
    let engine = start(load("llama3", 1), config());
    let context_length = engine.context_length();
    let refused = engine.submit(greedy(prompt(1, context_length), 1));
    assert_eq!(
        refused.err(),
        Some(EngineError::ContextLength {
            prompt_tokens: context_length,
            max_tokens: 1,
            context_length,
        })
    );
    assert_eq!(engine.stats().steps, 0);
    // One token less leaves room for one, and that is what is written.
    let outcome = run(&engine, greedy(prompt(1, context_length - 1), usize::MAX));
    assert_eq!(outcome.reason, Some(FinishReason::Length));
    assert_eq!(outcome.completion_tokens, 1);
}
