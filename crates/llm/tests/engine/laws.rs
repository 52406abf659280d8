//! The same request and seed give the same tokens and scores, bit for bit, whatever else goes on.

use hearth_kernels::KvDType;
use hearth_llm::engine::*;
use hearth_llm::sampling::SamplingParams;

use super::support::*;

const MODELS: [&str; 4] = ["gpt2", "llama3", "qwen2", "qwen3"];
const KV_DTYPES: [KvDType; 4] = KvDType::ALL;

/// Thirty-two requests of all kinds, some with the same beginnings.
fn requests() -> Vec<GenerateRequest> {
    (0..32u32)
        .map(|i| {
            let mut tokens = prompt(i % 5, 5 + (i as usize * 7) % 60);
            if i % 4 == 0 {
                tokens.truncate(16 * (tokens.len() / 16).max(1));
            }
            let mut request = GenerateRequest::new(tokens);
            request.sampling = SamplingParams {
                temperature: [0.0, 0.7, 1.0, 1.6][i as usize % 4],
                top_k: (i % 3 == 0).then_some(20),
                top_p: if i % 5 == 0 { 0.8 } else { 1.0 },
                min_p: if i % 7 == 0 { 0.02 } else { 0.0 },
                repetition_penalty: if i % 6 == 0 { 1.3 } else { 1.0 },
                presence_penalty: if i % 6 == 1 { 0.4 } else { 0.0 },
                frequency_penalty: if i % 6 == 2 { 0.2 } else { 0.0 },
                logit_bias: vec![(40 + i, 1.5)],
                seed: Some(u64::from(i) * 1_000_003),
            };
            request.max_tokens = 10 + i as usize % 30;
            request.logprobs = [None, Some(0), Some(3)][i as usize % 3];
            request.prompt_logprobs = (i % 8 == 3).then_some(2);
            request.stop = vec!["z".into(), "the".into()];
            request.ignore_eos = i % 2 == 0;
            request.priority = (i % 11) as u8;
            request
        })
        .collect()
}

/// Each request with an engine of its own, a token a step. Only for q16 does the size of blocks count: it decides where
/// attention's chunks end, whose weights are rounded together.
fn alone(name: &str, kv_dtype: KvDType, block_size: usize) -> Vec<Outcome> {
    let model = load(name, 1);
    let config = EngineConfig {
        kv_dtype,
        block_size,
        speculation: Speculation::Off,
        ..config()
    };
    let run = |r| run(&start(model.clone(), config.clone()), r).answer();
    requests().into_iter().map(run).collect()
}

fn assert_same(outcomes: Vec<Outcome>, expected: &[Outcome], how: &str) {
    assert_eq!(outcomes.len(), expected.len());
    for (i, (outcome, expected)) in outcomes.into_iter().zip(expected).enumerate() {
        assert_eq!(&outcome.answer(), expected, "request {i} {how}");
    }
}

#[test]
fn the_requests_exercise_what_they_should() {
    let outcomes = alone("llama3", KvDType::F32, config().block_size);
    let reasons = |reason| outcomes.iter().filter(|o| o.reason == Some(reason)).count();
    assert!(reasons(FinishReason::Stop) > 3 && reasons(FinishReason::Length) > 3);
    assert!(outcomes.iter().any(|o| o.text.contains('\u{fffd}')));
    assert!(outcomes.iter().filter(|o| o.ids().len() > 8).count() > 10);
    let mut texts: Vec<&str> = outcomes.iter().map(|o| o.text.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert!(texts.len() > 20, "the answers differ");
}

#[test]
fn company_slices_and_threads_change_nothing() {
    for name in MODELS {
        for kv_dtype in KV_DTYPES {
            let sizes: &[usize] = match kv_dtype {
                KvDType::Q16 => &[16, 4],
                _ => &[16],
            };
            let expected: Vec<_> = sizes
                .iter()
                .map(|&size| (size, alone(name, kv_dtype, size)))
                .collect();
            for (threads, max_sequences, max_batch_tokens, block_size) in [
                (1, 32, 512, 16),
                (2, 32, 40, 16),
                (2, 3, 7, 4),
                (1, 1, 1, 16),
            ] {
                let (_, expected) = expected
                    .iter()
                    .find(|(size, _)| *size == block_size)
                    .unwrap_or(&expected[0]);
                let config = EngineConfig {
                    kv_dtype,
                    max_sequences,
                    max_batch_tokens,
                    block_size,
                    ..config()
                };
                let engine = start(load(name, threads), config.clone());
                let outcomes = run_all(&engine, &requests());
                assert_same(outcomes, expected, &format!("of {name}, {config:?}"));
            }
        }
    }
}

#[test]
fn a_prefix_that_is_found_changes_nothing() {
    for name in MODELS {
        let expected = alone(name, KvDType::F16, config().block_size);
        let config = EngineConfig {
            kv_dtype: KvDType::F16,
            ..config()
        };
        let engine = start(load(name, 2), config);
        for round in 0..3 {
            let before = engine.stats().prefix_hit_tokens;
            let outcomes: Vec<Outcome> = match round {
                // All at once, then one by one.
                0 => run_all(&engine, &requests()),
                _ => requests().into_iter().map(|r| run(&engine, r)).collect(),
            };
            if round > 0 {
                assert!(engine.stats().prefix_hit_tokens > before + 300);
                assert!(outcomes.iter().any(|o| o.cached_tokens > 0));
            }
            assert_same(outcomes, &expected, &format!("of {name}, round {round}"));
        }
    }
}

#[test]
fn preemption_changes_nothing() {
    for name in MODELS {
        let expected = alone(name, KvDType::F32, config().block_size);
        let model = load(name, 1);
        for blocks in [10, 14, 24] {
            let mut config = EngineConfig {
                block_size: 8,
                max_sequences: 8,
                max_batch_tokens: 30,
                ..config()
            };
            config.cache_bytes = cache_of(&*model, &config, blocks);
            let engine = start(model.clone(), config);
            let outcomes = run_all(&engine, &requests());
            // A sequence that alone is larger than the cache would end early; the longest has 99.
            assert!(engine.context_length() >= 80);
            let long = |o: &Outcome| o.reason == Some(FinishReason::Length);
            for (i, (outcome, expected)) in outcomes.into_iter().zip(&expected).enumerate() {
                let room = engine.context_length() - requests()[i].prompt.len();
                if outcome.completion_tokens < room || !long(&outcome) {
                    assert_eq!(&outcome.answer(), expected, "request {i} of {name}");
                }
            }
            let stats = engine.stats();
            assert!(blocks > 14 || stats.preemptions > 0, "{stats:?}");
            assert_eq!((stats.blocks_used, stats.running, stats.waiting), (0, 0, 0));
        }
    }
}

/// Prompts in which there is much to look up.
fn repetitive(requests: Vec<GenerateRequest>) -> Vec<GenerateRequest> {
    let repeat = |mut request: GenerateRequest| {
        let part = request.prompt[..request.prompt.len().min(9)].to_vec();
        request.prompt = part.repeat(5);
        request.sampling.temperature /= 4.0;
        request
    };
    requests.into_iter().map(repeat).collect()
}

#[test]
fn guesses_change_nothing() {
    for name in MODELS {
        let model = load(name, 2);
        for kv_dtype in KV_DTYPES {
            let config = |speculation, blocks| {
                let mut config = EngineConfig {
                    kv_dtype,
                    speculation,
                    block_size: 8,
                    max_sequences: 12,
                    ..config()
                };
                config.cache_bytes = cache_of(&*model, &config, blocks);
                config
            };
            let requests = repetitive(requests());
            let plain = start(model.clone(), config(Speculation::Off, 1000));
            let expected = run_all(&plain, &requests);
            let expected: Vec<Outcome> = expected.into_iter().map(Outcome::answer).collect();
            assert_eq!(plain.stats().drafted, 0);
            // Many and few blocks; all at once, again with what is cached of that, one by one.
            for blocks in [1000, 24] {
                let engine = start(model.clone(), config(Speculation::Always, blocks));
                for round in 0..3 {
                    let outcomes = match round {
                        2 => requests.iter().map(|r| run(&engine, r.clone())).collect(),
                        _ => run_all(&engine, &requests),
                    };
                    assert_same(outcomes, &expected, &format!("of {name}, round {round}"));
                }
                let stats = engine.stats();
                assert!(stats.accepted > 50, "{stats:?}");
                assert!(stats.drafted > stats.accepted + 50, "{stats:?}");
                assert!(blocks > 24 || stats.preemptions > 0, "{stats:?}");
                assert_eq!((stats.blocks_used, stats.running), (0, 0));
            }

            // What is cached of the answers is what they are, not what was guessed.
            let engine = start(model.clone(), config(Speculation::Always, 1000));
            for request in requests.iter().take(8) {
                let answer = run(&engine, request.clone());
                let more = [&request.prompt[..], &answer.ids(), &prompt(9, 5)].concat();
                let mut more = greedy(more, 10);
                more.logprobs = Some(2);
                let outcome = run(&engine, more.clone());
                assert!(outcome.cached_tokens > 0);
                assert_eq!(outcome.answer(), run(&plain, more).answer(), "{name}");
            }
        }
    }
}

#[test]
fn no_seed_is_a_seed_that_is_told() {
    let engine = start(load("qwen3", 1), config());
    let mut request = GenerateRequest::new(prompt(1, 12));
    request.max_tokens = 20;
    request.ignore_eos = true;
    let first = engine.submit(request.clone()).unwrap();
    let second = engine.submit(request.clone()).unwrap();
    let seed = first.seed();
    assert_ne!(seed, second.seed());
    let (first, second) = (finish(first), finish(second));
    assert_ne!(first.text, second.text);
    request.sampling.seed = Some(seed);
    assert_eq!(run(&engine, request).answer(), first.answer());
}

#[test]
fn an_answer_scored_as_a_prompt_has_the_scores_it_was_given() {
    for max_batch_tokens in [512, 64] {
        let config = EngineConfig {
            max_batch_tokens,
            ..config()
        };
        let engine = start(load("llama3", 2), config);
        let mut request = greedy(prompt(3, 30), 60);
        request.sampling.temperature = 1.0;
        request.sampling.seed = Some(4);
        request.logprobs = Some(4);
        let answer = run(&engine, request.clone());
        assert_eq!(answer.tokens.len(), 60);

        let mut score = greedy([request.prompt, answer.ids()].concat(), 0);
        score.prompt_logprobs = Some(4);
        let scored = run(&engine, score);
        assert_eq!(scored.reason, Some(FinishReason::Length));
        assert_eq!(scored.completion_tokens, 0);
        let scores = scored.prompt.unwrap();
        assert_eq!(scores.len(), 90);
        assert_eq!((scores[0].logprob, scores[0].top.len()), (None, 0));
        assert_eq!(scores[30..], answer.tokens);
    }
}

/// Requests for ember: chats with the same beginning, and texts.
fn ember_requests(ember: &Ember) -> Vec<GenerateRequest> {
    let texts = [
        "Once upon a time",
        "The capital of France is",
        "Write the numbers: one, two, three, one, two, three, one, two,",
        "A short story about a fox and a crow, told twice. A short story about a fox",
    ];
    (0..32u32)
        .map(|i| {
            let text = texts[i as usize % texts.len()].repeat(1 + i as usize / 8);
            let tokens = ember.tokenizer.encode_prompt(&text).unwrap();
            let mut request = greedy(tokens, 12 + i as usize % 12);
            request.sampling.temperature = [0.0, 0.0, 0.3, 1.0][i as usize / 4 % 4];
            request.sampling.seed = Some(u64::from(i));
            request.sampling.repetition_penalty = if i % 5 == 0 { 1.2 } else { 1.0 };
            request.logprobs = Some(i as usize % 3);
            request
        })
        .collect()
}

#[test]
fn ember_answers_the_same_whatever_goes_on() {
    let (one, two) = (Ember::load(1), Ember::load(2));
    let requests = ember_requests(&one);
    for kv_dtype in KV_DTYPES {
        let plain = EngineConfig {
            kv_dtype,
            speculation: Speculation::Off,
            max_sequences: 32,
            ..EngineConfig::default()
        };
        let alone = |r: &GenerateRequest| run(&one.start(plain.clone()), r.clone()).answer();
        let expected: Vec<Outcome> = requests.iter().map(alone).collect();

        let mut slices = plain.clone();
        slices.max_batch_tokens = 37;
        slices.step_time = std::time::Duration::ZERO;
        let mut tight = plain.clone();
        tight.max_sequences = 8;
        tight.speculation = Speculation::Always;
        tight.cache_bytes = cache_of(&*one.model, &tight, 14);
        let mut guesses = plain.clone();
        guesses.speculation = Speculation::Always;
        guesses.max_sequences = 16;
        for (ember, config, how) in [
            (&one, &plain, "together"),
            (&two, &plain, "together on two threads"),
            (&two, &slices, "in slices"),
            (&two, &guesses, "with guesses"),
            (&one, &tight, "with little room"),
        ] {
            let engine = ember.start(config.clone());
            for round in 0..2 {
                let how = format!("{how}, {kv_dtype:?}, round {round}");
                assert_same(run_all(&engine, &requests), &expected, &how);
            }
            let stats = engine.stats();
            assert!(stats.prefix_hits > 0, "{how}");
            assert_eq!(stats.drafted > 0, config.speculation != Speculation::Off);
            assert!(how != "with little room" || stats.preemptions > 0);
        }
    }
}
