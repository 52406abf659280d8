//! A sequence's numbers depend on its tokens alone: bits are compared, not tolerances.

use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_kernels::{AttentionSpan, DType, KvDType, Pool, Precision};
use hearth_llm::{Batch, LoadOptions, Scratch, TextModel, load_text};

use super::support::*;

fn some_tokens(seed: u64, len: usize, model: &Arc<dyn TextModel>) -> Vec<u32> {
    let ids = numbers(seed, model.info().vocab_size).take(len);
    ids.map(|t| t as u32).collect()
}

/// A model on one thread and on two.
struct Twice {
    name: String,
    one: Arc<dyn TextModel>,
    two: Arc<dyn TextModel>,
}

/// What the laws are held against: every fixture in single precision, and a wider model with quantized weights.
fn models() -> Vec<Twice> {
    let twice = |name: String, checkpoint: &Checkpoint, precision| {
        let load = |threads| {
            let pool = Arc::new(Pool::new(threads));
            load_text(
                checkpoint,
                pool,
                LoadOptions {
                    precision,
                    quantize: None,
                },
            )
            .expect("a model")
        };
        Twice {
            name,
            one: load(1),
            two: load(2),
        }
    };
    let mut models = Vec::new();
    for name in TEXT_MODELS {
        let checkpoint = Checkpoint::open(&fixture(name)).expect("a checkpoint");
        models.push(twice(name.to_owned(), &checkpoint, Precision::F32));
    }
    let dir = tempfile::tempdir().expect("a folder");
    for (dtype, precision) in [
        (DType::BF16, Precision::F32),
        (DType::Q8_0, Precision::Int8),
        (DType::Q4_0, Precision::Int8),
        (DType::Q4_K, Precision::Int8),
        (DType::Q6_K, Precision::Int8),
        (DType::Q4_K, Precision::F32),
    ] {
        let path = dir.path().join(format!("{dtype}.gguf"));
        write_wide_llama(&path, dtype);
        let checkpoint = Checkpoint::open(&path).expect("a checkpoint");
        let name = format!("wide llama {dtype} {precision:?}");
        models.push(twice(name, &checkpoint, precision));
    }
    models
}

#[test]
fn however_a_prompt_is_cut_the_logits_are_the_same_bits() {
    for Twice {
        name, one: model, ..
    } in models()
    {
        let prompt = some_tokens(1, 61, &model);
        let whole = logits_of(&model, &prompt);

        let mut session = Session::new(&model, 1, KvDType::F32);
        let stepwise: Vec<_> = prompt
            .iter()
            .flat_map(|t| session.step(&[(0, &[*t])]))
            .collect();
        assert_same_bits(&stepwise, &whole, &format!("{name}, token by token"));

        for seed in 0..4 {
            let mut session = Session::new(&model, 1, KvDType::F32);
            let mut rest = &prompt[..];
            let mut sliced = Vec::new();
            let mut sizes = numbers(seed, 23);
            while !rest.is_empty() {
                let size = (sizes.next().expect("endless") + 1).min(rest.len());
                sliced.extend(session.step(&[(0, &rest[..size])]));
                rest = &rest[size..];
            }
            assert_same_bits(&sliced, &whole, &format!("{name}, slices by seed {seed}"));
        }
    }
}

#[test]
fn whoever_else_is_in_the_batch_the_logits_are_the_same_bits() {
    for Twice {
        name, one: model, ..
    } in models()
    {
        let prompts: Vec<Vec<u32>> = [(2, 40), (3, 7), (4, 33), (5, 18)]
            .map(|(seed, len)| some_tokens(seed, len, &model))
            .into();
        let alone: Vec<_> = prompts.iter().map(|p| logits_of(&model, p)).collect();

        // Prompts arrive in slices while others already decode, as the scheduler mixes them.
        let mut session = Session::new(&model, prompts.len(), KvDType::F32);
        let mut found: Vec<Vec<Vec<f32>>> = vec![Vec::new(); prompts.len()];
        let mut sizes = numbers(9, 12);
        while found.iter().zip(&prompts).any(|(f, p)| f.len() < p.len()) {
            let mut parts = Vec::new();
            for (i, prompt) in prompts.iter().enumerate() {
                let size = sizes
                    .next()
                    .expect("endless")
                    .min(prompt.len() - found[i].len());
                if size > 0 {
                    parts.push((i, &prompt[found[i].len()..found[i].len() + size]));
                }
            }
            let mut rows = session.step(&parts).into_iter();
            for (i, part) in parts {
                found[i].extend(rows.by_ref().take(part.len()));
            }
        }
        for (i, found) in found.iter().enumerate() {
            assert_same_bits(found, &alone[i], &format!("{name}, sequence {i}"));
        }
    }
}

#[test]
fn however_many_threads_there_are_the_logits_are_the_same_bits() {
    for Twice { name, one, two } in models() {
        let prompt = some_tokens(6, 50, &one);
        assert_same_bits(&logits_of(&two, &prompt), &logits_of(&one, &prompt), &name);
        let mut sessions = [&one, &two].map(|m| Session::new(m, 1, KvDType::F16));
        for token in &prompt[..10] {
            let [a, b] = sessions.each_mut().map(|s| s.step(&[(0, &[*token])]));
            assert_same_bits(&b, &a, &format!("{name}, decoding"));
        }
    }
}

/// Rows that nobody asks for cost nothing in the last layer; those that are asked for must not notice.
#[test]
fn whichever_rows_are_asked_for_they_are_the_same_bits() {
    for Twice {
        name, one: model, ..
    } in models()
    {
        let prompt = some_tokens(7, 20, &model);
        let positions: Vec<u32> = (0..20).collect();
        let spans = [AttentionSpan {
            rows: 0..20,
            first_position: 0,
            block_table: &[0],
        }];
        let hidden_of = |outputs: &[u32]| {
            let mut cache = model.new_cache(1, 32, KvDType::F32).expect("a cache");
            let mut hidden = vec![f32::NAN; 3];
            let batch = Batch {
                tokens: &prompt,
                positions: &positions,
                slots: &positions,
                spans: &spans,
                outputs,
            };
            model.forward(&batch, &mut cache, &mut Scratch::default(), &mut hidden);
            let width = model.info().hidden_size;
            hidden
                .chunks_exact(width)
                .map(<[f32]>::to_vec)
                .collect::<Vec<_>>()
        };
        let all = hidden_of(&positions);
        let picked = hidden_of(&[19, 3, 3]);
        let expected = [all[19].clone(), all[3].clone(), all[3].clone()];
        assert_same_bits(&picked, &expected, &name);
        assert!(hidden_of(&[]).is_empty(), "{name}");
    }
}

/// Integer products round activations to 8 bits a block; what they compute must stay near the exact product.
#[test]
fn integer_products_stay_near_the_exact_ones() {
    let dir = tempfile::tempdir().expect("a folder");
    for dtype in [DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K] {
        let path = dir.path().join(format!("{dtype}.gguf"));
        write_wide_llama(&path, dtype);
        let checkpoint = Checkpoint::open(&path).expect("a checkpoint");
        let [exact, int8] = [Precision::F32, Precision::Int8].map(|precision| {
            let pool = Arc::new(Pool::new(2));
            let model = load_text(
                &checkpoint,
                pool,
                LoadOptions {
                    precision,
                    quantize: None,
                },
            )
            .expect("a model");
            logits_of(&model, &some_tokens(8, 30, &model)).concat()
        });
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let cosine = dot(&exact, &int8) / (dot(&exact, &exact) * dot(&int8, &int8)).sqrt();
        println!("{dtype}: cosine {cosine:.6}");
        assert!(cosine > 0.999, "{dtype}: cosine {cosine}");
    }
}
