//! Conversations that outlive their engine: bits, damage, other models, little room.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_kernels::{KvDType, Precision};
use hearth_llm::engine::*;
use hearth_llm::pages::*;
use hearth_llm::{LoadOptions, TextModel};

use super::support::*;

const BUDGET: u64 = 64 << 20;

fn identity(name: &str) -> ModelIdentity {
    let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
    let precision = Precision::F32;
    ModelIdentity::of(
        &checkpoint,
        &LoadOptions {
            precision,
            ..LoadOptions::default()
        },
    )
    .unwrap()
}

fn store(folder: &Path) -> Arc<PageStore> {
    Arc::new(PageStore::open(folder, BUDGET).unwrap())
}

fn start_on(
    store: &Arc<PageStore>,
    name: &str,
    model: Arc<dyn TextModel>,
    config: EngineConfig,
) -> Engine {
    let pages = store.of_model(identity(name));
    Engine::start_with_pages(model, tokenizer(), config, pages).unwrap()
}

/// Some with common beginnings, drawn with seeds, all scored.
fn requests() -> Vec<GenerateRequest> {
    (0..6u32)
        .map(|i| {
            let mut request = GenerateRequest::new(prompt(i / 2, 40 + 11 * i as usize % 40));
            request.sampling.seed = Some(u64::from(i));
            request.max_tokens = 20;
            request.logprobs = Some(3);
            request.ignore_eos = true;
            request
        })
        .collect()
}

fn answers(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    outcomes.into_iter().map(Outcome::answer).collect()
}

/// Full blocks of what a request's answer needed.
fn full_blocks(request: &GenerateRequest, block_size: usize) -> usize {
    (request.prompt.len() + request.max_tokens - 1) / block_size
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(folder).unwrap().flatten();
    let inside = folders.filter_map(|entry| fs::read_dir(entry.path()).ok());
    inside.flatten().map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_restart_changes_nothing_and_computes_little() {
    for name in ["gpt2", "llama3", "qwen2", "qwen3"] {
        for kv_dtype in KvDType::ALL {
            let config = EngineConfig {
                kv_dtype,
                block_size: 8,
                // Guesses would count as computed tokens.
                speculation: Speculation::Off,
                ..config()
            };
            let dir = tempfile::tempdir().unwrap();
            let engine = start_on(&store(dir.path()), name, load(name, 2), config.clone());
            let expected = answers(run_all(&engine, &requests()));
            engine.shutdown(Shutdown::Drain);
            let written = engine.stats().blocks_written;
            assert!(written > 20);
            drop(engine);
            assert_eq!(files(dir.path()).len() as u64, written);

            // One by one, all at once, and after being written again.
            for round in 0..3 {
                let store = store(dir.path());
                let engine = start_on(&store, name, load(name, 1), config.clone());
                let outcomes = match round {
                    0 => requests().into_iter().map(|r| run(&engine, r)).collect(),
                    _ => run_all(&engine, &requests()),
                };
                for (outcome, request) in outcomes.iter().zip(requests()) {
                    let most = full_blocks(&request, 8).min(request.prompt.len() / 8) * 8;
                    let cached = most.min(request.prompt.len() - 1);
                    assert_eq!(outcome.cached_tokens, cached, "{name}, round {round}");
                }
                assert_eq!(answers(outcomes), expected, "{name}, {kv_dtype:?}");
                let stats = engine.stats();
                assert!(stats.blocks_read > 10, "{stats:?}");
                let new: usize = requests().iter().map(|r| 8 + r.max_tokens - 1).sum();
                assert!(stats.tokens_computed <= new as u64);
                assert_eq!(store.stats().damaged, 0);
                drop(engine);
                assert_eq!(files(dir.path()).len() as u64, written);
            }
        }
    }
}

#[test]
fn an_answer_is_taken_up_with_its_conversation() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let first = greedy(prompt(1, 30), 40);
    let engine = start_on(&store, "llama3", load("llama3", 1), config());
    let answer = run(&engine, first.clone());
    drop(engine);
    let said = [first.prompt, answer.ids()].concat();
    let second = greedy([said.clone(), prompt(2, 10)].concat(), 5);
    let expected = run(&start(load("llama3", 1), config()), second.clone());
    let engine = start_on(&store, "llama3", load("llama3", 1), config());
    let outcome = run(&engine, second);
    assert_eq!(outcome.cached_tokens, (said.len() - 1) / 16 * 16);
    assert_eq!(outcome.answer(), expected.answer());
}

#[test]
fn damaged_pages_are_computed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start_on(&store(dir.path()), "qwen3", load("qwen3", 1), config());
    let expected = answers(run_all(&engine, &requests()));
    drop(engine);
    let mut all = files(dir.path());
    all.sort();
    for (i, path) in all.iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        match i % 3 {
            0 => {
                let at = (i * 997) % bytes.len();
                bytes[at] ^= 0x80;
                fs::write(path, &bytes).unwrap();
            }
            1 => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
            _ => {}
        }
    }
    let store = store(dir.path());
    let engine = start_on(&store, "qwen3", load("qwen3", 1), config());
    assert_eq!(answers(run_all(&engine, &requests())), expected);
    assert!(store.stats().damaged > 0);
    drop(engine);
    // Each of them is found out when it is wanted, and is whole again after that.
    for _ in 0..all.len() {
        let damaged = store.stats().damaged;
        let engine = start_on(&store, "qwen3", load("qwen3", 1), config());
        assert_eq!(answers(run_all(&engine, &requests())), expected);
        if store.stats().damaged == damaged {
            assert!(engine.stats().blocks_read > 5);
            return;
        }
    }
    panic!("{:?}", store.stats());
}

#[test]
fn another_model_type_or_block_size_finds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let engine = start_on(&store, "llama3", load("llama3", 1), config());
    run_all(&engine, &requests());
    drop(engine);
    let smaller = EngineConfig {
        block_size: 8,
        ..config()
    };
    let half = EngineConfig {
        kv_dtype: KvDType::F16,
        ..config()
    };
    for (name, config) in [
        ("llama3-b", config()),
        ("llama3", smaller),
        ("llama3", half),
    ] {
        let expected = run_all(&start(load(name, 1), config.clone()), &requests());
        let engine = start_on(&store, name, load(name, 1), config);
        assert_eq!(
            answers(run_all(&engine, &requests())),
            answers(expected),
            "{name}"
        );
        assert_eq!(engine.stats().blocks_read, 0, "{name}");
    }
}

#[test]
fn a_cache_with_little_room_takes_what_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let config = EngineConfig {
        block_size: 8,
        max_sequences: 4,
        max_batch_tokens: 24,
        ..config()
    };
    let engine = start_on(
        &store(dir.path()),
        "llama3",
        load("llama3", 1),
        config.clone(),
    );
    let expected = answers(run_all(&engine, &requests()));
    drop(engine);
    let model = load("llama3", 1);
    for blocks in [13, 16, 30] {
        let mut config = config.clone();
        config.cache_bytes = cache_of(&*model, &config, blocks);
        let engine = start_on(&store(dir.path()), "llama3", model.clone(), config);
        assert_eq!(answers(run_all(&engine, &requests())), expected);
        let stats = engine.stats();
        assert!(stats.blocks_read > 0, "{stats:?}");
        assert_eq!((stats.blocks_used, stats.waiting), (0, 0));
    }
}

#[test]
fn a_caller_that_goes_away_while_pages_are_read_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let engine = start_on(&store, "llama3", load("llama3", 1), config());
    let expected = answers(run_all(&engine, &requests()));
    drop(engine);
    let engine = start_on(&store, "llama3", load("llama3", 1), config());
    for _ in 0..20 {
        for request in requests() {
            drop(engine.submit(request).unwrap());
        }
    }
    assert_eq!(answers(run_all(&engine, &requests())), expected);
    let stats = engine.stats();
    assert_eq!((stats.blocks_used, stats.running, stats.waiting), (0, 0, 0));
    assert_eq!(stats.cancelled + stats.finished, 126);
}

#[test]
fn scores_of_a_prompt_are_computed_whatever_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut request = greedy(prompt(4, 50), 3);
    request.prompt_logprobs = Some(2);
    let engine = start_on(&store, "gpt2", load("gpt2", 1), config());
    let expected = run(&engine, request.clone()).answer();
    drop(engine);
    let engine = start_on(&store, "gpt2", load("gpt2", 1), config());
    let outcome = run(&engine, request);
    assert_eq!(outcome.cached_tokens, 0);
    assert_eq!(outcome.answer(), expected);
}
