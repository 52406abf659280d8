//! The sampler against a plain one that sorts everything, and by example.

use super::*;
use proptest::prelude::*;

/// The distribution to draw from, by the definition of each step, in f64.
fn expected(params: &SamplingParams, logits: &[f32]) -> Vec<f64> {
    let mut all: Vec<(usize, f64)> = logits.iter().map(|&l| f64::from(l)).enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(params.top_k.unwrap_or(all.len()));
    let max = all[0].1;
    for (_, value) in &mut all {
        *value = ((*value - max) / f64::from(params.temperature)).exp();
    }
    let total: f64 = all.iter().map(|c| c.1).sum();
    let mut mass = 0.0;
    let mut kept = Vec::new();
    for (token, weight) in all {
        // The last one needed is the one that reaches p.
        if mass < f64::from(params.top_p) * total - 1e-7 {
            kept.push((token, weight));
        }
        mass += weight;
    }
    let least = f64::from(params.min_p) * kept[0].1;
    kept.retain(|c| c.1 >= least - 1e-12);
    let total: f64 = kept.iter().map(|c| c.1).sum();
    let mut distribution = vec![0.0; logits.len()];
    for (token, weight) in kept {
        distribution[token] = weight / total;
    }
    distribution
}

fn counts(params: &SamplingParams, logits: &[f32], draws: u64) -> Vec<u64> {
    let sampler = Sampler::new(params.clone(), 11, &[]);
    let mut counts = vec![0; logits.len()];
    for index in 0..draws {
        let token = sampler.sample(&mut logits.to_vec(), index).unwrap();
        counts[token as usize] += 1;
    }
    counts
}

fn check_distribution(params: &SamplingParams, logits: &[f32]) {
    const DRAWS: u64 = 4000;
    let expected = expected(params, logits);
    for (token, &count) in counts(params, logits, DRAWS).iter().enumerate() {
        let p = expected[token];
        if p == 0.0 {
            assert_eq!(count, 0, "{params:?} drew {token}, which is ruled out");
        }
        // Five standard deviations: one false alarm in a million.
        let mean = p * DRAWS as f64;
        let bound = 5.0 * (mean * (1.0 - p)).sqrt() + 1.0;
        let off = (count as f64 - mean).abs();
        assert!(
            off <= bound,
            "{params:?}: token {token} drawn {count} times, expected {mean:.1}"
        );
    }
}

fn logits() -> Vec<f32> {
    (0..40)
        .map(|i| ((i * 37) % 41) as f32 / 8.0 - 2.0)
        .collect()
}

#[test]
fn every_combination_draws_from_its_distribution() {
    for temperature in [0.3, 1.0, 2.5] {
        for top_k in [None, Some(1), Some(7), Some(40)] {
            for top_p in [1.0, 0.87, 0.31] {
                for min_p in [0.0, 0.11] {
                    let params = SamplingParams {
                        temperature,
                        top_k,
                        top_p,
                        min_p,
                        ..SamplingParams::default()
                    };
                    check_distribution(&params, &logits());
                }
            }
        }
    }
}

#[test]
fn greedy_takes_the_first_of_the_largest() {
    let sampler = Sampler::new(SamplingParams::greedy(), 0, &[]);
    let token = sampler.sample(&mut [0.0, 3.0, -1.0, 3.0], 0);
    assert_eq!(token, Some(1));
}

#[test]
fn a_tiny_temperature_is_greedy() {
    for top_k in [None, Some(2)] {
        let params = SamplingParams {
            temperature: f32::MIN_POSITIVE,
            top_k,
            ..SamplingParams::default()
        };
        assert_eq!(counts(&params, &[1.0, 1e30, 5.0, -1e30], 50), [0, 50, 0, 0]);
    }
}

#[test]
fn bias_bans_and_forces() {
    let mut params = SamplingParams {
        logit_bias: vec![(2, f32::NEG_INFINITY), (0, 100.0)],
        ..SamplingParams::default()
    };
    assert_eq!(counts(&params, &[0.0, 1.0, 50.0], 50), [50, 0, 0]);
    params.logit_bias = vec![(2, f32::NEG_INFINITY)];
    assert_eq!(counts(&params, &[0.0, 0.0, 50.0], 200)[2], 0);
}

#[test]
fn penalties_are_those_of_their_definition() {
    let params = SamplingParams {
        repetition_penalty: 2.0,
        frequency_penalty: 0.25,
        presence_penalty: 0.5,
        ..SamplingParams::greedy()
    };
    let mut sampler = Sampler::new(params, 0, &[0, 1]);
    sampler.accept(1);
    sampler.accept(1);
    sampler.accept(2);
    let mut logits = [4.0, 4.0, -4.0, 4.0];
    sampler.sample(&mut logits, 3);
    // The prompt's token is only divided; the answer's are subtracted from as well.
    assert_eq!(logits, [2.0, 1.0, -8.75, 4.0]);
}

#[test]
fn broken_logits_have_no_token() {
    for temperature in [0.0, 1.0] {
        let params = SamplingParams {
            temperature,
            ..SamplingParams::default()
        };
        let sampler = Sampler::new(params, 0, &[]);
        for broken in [f32::NAN, f32::INFINITY] {
            assert_eq!(sampler.sample(&mut [0.0, broken, 1.0], 0), None);
            assert_eq!(score(&[0.0, broken, 1.0], 0, 1), None);
        }
        assert_eq!(sampler.sample(&mut [f32::NEG_INFINITY; 3], 0), None);
    }
}

#[test]
fn scores_are_a_log_softmax() {
    let logits = [1.0f32, 3.0, 2.0, f32::NEG_INFINITY];
    let (logprob, top) = score(&logits, 2, 2).unwrap();
    let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
    assert!((f64::from(logprob) - (2.0 - sum.ln())).abs() < 1e-6);
    assert_eq!(top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(top[1].1, logprob);
    assert_eq!(score(&logits, 3, 9).unwrap().0, f32::NEG_INFINITY);
    assert_eq!(score(&logits, 3, 9).unwrap().1.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// At a vocabulary's real size the cutoff and the portions of the sort matter.
    #[test]
    fn large_vocabularies_keep_the_right_tokens(
        spread in 0.1f32..30.0,
        top_p in 0.01f32..0.999,
        top_k in prop_oneof![Just(None), (1..5000usize).prop_map(Some)],
        seed in any::<u64>(),
    ) {
        let logits: Vec<f32> = (0..20_000)
            .map(|i| uniform(seed, i) as f32 * spread)
            .collect();
        let params = SamplingParams { top_k, top_p, ..SamplingParams::default() };
        let allowed = expected(&params, &logits);
        let sampler = Sampler::new(params, seed, &[]);
        for index in 0..20 {
            let token = sampler.sample(&mut logits.clone(), index).unwrap();
            // A token at the very edge of the nucleus may be in or out by rounding; its
            // probability is then within rounding of the last allowed one.
            let p = allowed[token as usize];
            if p == 0.0 {
                let least = logits.iter().zip(&allowed).filter(|a| *a.1 > 0.0)
                    .map(|a| *a.0).fold(f32::INFINITY, f32::min);
                prop_assert!(logits[token as usize] > least - 0.01 * spread);
            }
        }
    }
}
