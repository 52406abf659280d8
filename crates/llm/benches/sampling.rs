//! Sampling and scoring one token over the vocabulary of a large model.

use criterion::{Criterion, criterion_group, criterion_main};
use hearth_llm::sampling::{Sampler, SamplingParams};

const VOCAB_SIZE: usize = 150_000;

/// Logits as a model has them: most tokens far below a few; or, with random weights, close together.
fn logits(spread: f32) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    // The sum of several is nearly normal.
    let mut normal = || (0..6).map(|_| uniform() - 0.5).sum::<f32>() * 1.41;
    let mut logits: Vec<f32> = (0..VOCAB_SIZE).map(|_| normal() * spread).collect();
    for i in 0..40 {
        logits[i * 3571] += spread * (6.0 - 0.1 * i as f32);
    }
    logits
}

fn benches(c: &mut Criterion) {
    let base = SamplingParams {
        seed: Some(1),
        ..SamplingParams::default()
    };
    let settings = [
        (
            "greedy",
            SamplingParams {
                temperature: 0.0,
                ..base.clone()
            },
        ),
        (
            "temperature",
            SamplingParams {
                temperature: 0.8,
                ..base.clone()
            },
        ),
        (
            "top_p",
            SamplingParams {
                temperature: 0.7,
                top_p: 0.9,
                ..base.clone()
            },
        ),
        (
            "top_k",
            SamplingParams {
                temperature: 0.8,
                top_k: Some(40),
                ..base.clone()
            },
        ),
        (
            "min_p",
            SamplingParams {
                min_p: 0.05,
                ..base.clone()
            },
        ),
        (
            "all",
            SamplingParams {
                temperature: 0.8,
                top_k: Some(40),
                top_p: 0.95,
                min_p: 0.05,
                ..base
            },
        ),
    ];
    for (kind, spread) in [("model", 2.0), ("flat", 0.5)] {
        let mut group = c.benchmark_group(format!("sample_150k/{kind}"));
        let logits = logits(spread);
        for (name, params) in &settings {
            let sampler = Sampler::new(params.clone(), 1, &[]);
            let mut row = logits.clone();
            let mut index = 0;
            group.bench_function(*name, |b| {
                b.iter(|| {
                    // Sampling overwrites the row; a copy is a small part of the time.
                    row.copy_from_slice(&logits);
                    index += 1;
                    sampler.sample(&mut row, index)
                });
            });
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
