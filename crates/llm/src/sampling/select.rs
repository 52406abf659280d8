//! The largest of many values without sorting them all.

use std::cmp::Ordering;

use super::scan::{CHUNK, any_at_least};

/// A token with its logit or its probability.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Candidate {
    pub value: f32,
    pub token: u32,
}

/// Larger values first, then lower tokens. Values are never NaN.
pub(super) fn order(a: &Candidate, b: &Candidate) -> Ordering {
    let by_value = b.value.partial_cmp(&a.value).unwrap_or(Ordering::Equal);
    by_value.then(a.token.cmp(&b.token))
}

/// Puts the `k` largest of `values` above negative infinity into `best`, in order.
///
/// One pass, in which most values are only compared with the k-th best so far.
pub(super) fn top_k(values: &[f32], k: usize, best: &mut Vec<Candidate>) {
    best.clear();
    if k == 0 {
        return;
    }
    let room = k.saturating_mul(2).max(64);
    let mut threshold = f32::NEG_INFINITY;
    for (first, chunk) in (0u32..).step_by(CHUNK).zip(values.chunks(CHUNK)) {
        if !any_at_least(chunk, threshold) {
            continue;
        }
        for (token, &value) in (first..).zip(chunk) {
            // Of equal values the earlier token is the better one, so an equal value is too late.
            if value > threshold {
                best.push(Candidate { value, token });
                if best.len() == room {
                    best.select_nth_unstable_by(k - 1, order);
                    best.truncate(k);
                    threshold = best[k - 1].value;
                }
            }
        }
    }
    if best.len() > k {
        best.select_nth_unstable_by(k - 1, order);
        best.truncate(k);
    }
    best.sort_unstable_by(order);
}

/// Buckets that a doubling of a value passes through.
const BUCKETS_PER_OCTAVE: u32 = 1 << BUCKET_BITS;
const BUCKET_BITS: u32 = 6;
/// Buckets from the largest value down; smaller values share the last one.
const BUCKETS: usize = 32 * BUCKETS_PER_OCTAVE as usize;

/// The bucket of a positive value, counted from zero up.
fn bucket(value: f32) -> u32 {
    value.to_bits() >> (f32::MANTISSA_DIGITS - 1 - BUCKET_BITS)
}

/// Puts the values from `least` up, with their tokens, at the front of `likely`, and answers how many there are.
///
/// Whether a value is kept is a coin's toss to the processor, so it is written in any case, and overwritten where it is
/// not kept.
fn gather(values: &[f32], least: f32, likely: &mut Vec<Candidate>) -> usize {
    if likely.len() < values.len() {
        likely.resize(values.len(), Candidate::default());
    }
    let mut count = 0;
    for (token, &value) in (0u32..).zip(values) {
        likely[count] = Candidate { value, token };
        count += usize::from(value >= least);
    }
    count
}

/// The fewest of the most likely tokens that together have `top_p` of the probability, in the order of their numbers.
/// `probabilities` `[V]`, none of them negative, sum up to about 1. `likely` and `around` are room to work in.
///
/// Sorts no more than the few candidates around the edge: a histogram of the probabilities' logarithms says where it
/// lies. Empty where all is zero.
pub(super) fn nucleus<'a>(
    probabilities: &[f32],
    top_p: f32,
    likely: &'a mut Vec<Candidate>,
    around: &mut Vec<Candidate>,
) -> &'a [Candidate] {
    // Tokens below (1 - p) / V have less than 1 - p together, so the others reach p without them.
    // Half of that leaves room for the rounding of sums.
    let cutoff = (1.0 - top_p) / (2.0 * probabilities.len() as f32);
    let count = gather(probabilities, cutoff.max(f32::MIN_POSITIVE), likely);
    let likely = &mut likely[..count];
    let Some(edge) = edge(likely, f64::from(top_p), around) else {
        return &[];
    };
    let mut kept = 0;
    for i in 0..likely.len() {
        let candidate = likely[i];
        likely[kept] = candidate;
        kept += usize::from(order(&candidate, &edge).is_le());
    }
    &likely[..kept]
}

/// The first of the candidates in [`order`] with which their sum reaches `target`, or the last of all.
fn edge(candidates: &[Candidate], target: f64, around: &mut Vec<Candidate>) -> Option<Candidate> {
    let largest = candidates.iter().map(|c| c.value).reduce(f32::max)?;
    let top = bucket(largest);
    let from_top = |value: f32| ((top - bucket(value)) as usize).min(BUCKETS - 1);

    // Two sums a bucket, as neighbours often fall into the same one and would wait for each other.
    let mut mass = [[0.0f64; 2]; BUCKETS];
    for (i, candidate) in candidates.iter().enumerate() {
        mass[from_top(candidate.value)][i % 2] += f64::from(candidate.value);
    }
    let mut before = 0.0;
    let mut crossing = (0, 0.0);
    for (index, [even, odd]) in mass.into_iter().enumerate() {
        let within = even + odd;
        if within > 0.0 {
            crossing = (index, before);
        }
        before += within;
        if before >= target {
            break;
        }
    }
    let (crossing, mut mass) = crossing;
    around.clear();
    let there = candidates.iter().filter(|c| from_top(c.value) == crossing);
    around.extend(there);
    around.sort_unstable_by(order);
    let reaches = |candidate: &&Candidate| {
        mass += f64::from(candidate.value);
        mass >= target
    };
    let first = around.iter().find(reaches);
    first.or(around.last()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(values: &[f32]) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = (0u32..)
            .zip(values)
            .map(|(token, &value)| Candidate { value, token })
            .filter(|c| c.value > f32::NEG_INFINITY)
            .collect();
        all.sort_by(order);
        all
    }

    /// Many equal values, some impossible ones.
    fn values() -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![
            8 => (0..40i32).prop_map(|i| i as f32 / 8.0),
            1 => Just(f32::NEG_INFINITY),
        ];
        prop::collection::vec(value, 0..600)
    }

    /// Probabilities of all sizes, with many equal ones.
    fn probabilities() -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![
            4 => (0..40i32).prop_map(|i| i as f32),
            2 => (-60.0f32..0.0).prop_map(f32::exp2),
            1 => Just(0.0),
        ];
        let values = prop::collection::vec(value, 1..600);
        values.prop_map(|values| {
            let total: f32 = values.iter().sum();
            values.into_iter().map(|v| v / total.max(1e-30)).collect()
        })
    }

    /// The definition.
    fn expected_nucleus(probabilities: &[f32], top_p: f32) -> Vec<Candidate> {
        let mut mass = 0.0;
        let mut kept = Vec::new();
        for candidate in sorted(probabilities) {
            if mass < f64::from(top_p) && candidate.value > 0.0 {
                mass += f64::from(candidate.value);
                kept.push(candidate);
            }
        }
        kept.sort_by_key(|c| c.token);
        kept
    }

    proptest! {
        #[test]
        fn top_k_equals_sorting(values in values(), k in 0..700usize) {
            let mut best = Vec::new();
            top_k(&values, k, &mut best);
            let mut expected = sorted(&values);
            expected.truncate(k);
            prop_assert_eq!(best, expected);
        }

        #[test]
        fn a_nucleus_is_what_sorting_finds(
            probabilities in probabilities(), top_p in 0.001f32..0.999,
        ) {
            let (mut likely, mut around) = Default::default();
            let got = nucleus(&probabilities, top_p, &mut likely, &mut around);
            let expected = expected_nucleus(&probabilities, top_p);
            if got != expected {
                // Sums in another order may round to the other side of the target.
                prop_assert!(got.len().abs_diff(expected.len()) == 1, "{got:?}, expected {expected:?}");
                let (fewer, more) = match got.len() < expected.len() {
                    true => (got, &expected[..]),
                    false => (&expected[..], got),
                };
                prop_assert!(fewer.iter().all(|c| more.contains(c)));
                let mass: f64 = fewer.iter().map(|c| f64::from(c.value)).sum();
                prop_assert!((mass - f64::from(top_p)).abs() < 1e-12, "{got:?}, expected {expected:?}");
            }
        }
    }

    #[test]
    fn equal_probabilities_are_told_apart_by_token() {
        let (mut likely, mut around) = Default::default();
        let mut tokens = |probabilities: &[f32], top_p| -> Vec<u32> {
            let kept = nucleus(probabilities, top_p, &mut likely, &mut around);
            kept.iter().map(|c| c.token).collect()
        };
        let kept = tokens(&[0.001; 1000], 0.25);
        assert!((249..=251).contains(&kept.len()), "{} kept", kept.len());
        assert!(kept.iter().zip(0..).all(|(&token, i)| token == i));
        assert!(tokens(&[0.0; 5], 0.5).is_empty());
        assert_eq!(tokens(&[0.0, 1.0, 0.0], 0.01), [1]);
    }
}
