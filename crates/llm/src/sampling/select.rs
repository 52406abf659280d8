//! The largest of many values without sorting them all.

use std::cmp::Ordering;

use super::scan::{CHUNK, any_at_least, finite_max, sum_at_least};

/// A token with its logit or its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
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

/// The last of the most likely tokens that together have `top_p` of the probability: those before it in [`order`]
/// belong to this nucleus, as it does. `probabilities` `[V]`, none of them negative, sum up to about 1.
///
/// Sorts no more than the few candidates around the edge: a histogram of the probabilities' logarithms says where it
/// lies. `None` where all is zero.
pub(super) fn nucleus_edge(
    probabilities: &[f32],
    top_p: f32,
    around: &mut Vec<Candidate>,
) -> Option<Candidate> {
    let target = f64::from(top_p) * sum_at_least(probabilities, 0.0);
    // Tokens below (1 - p) / V have less than 1 - p together, so the others reach p without them.
    // Half of that leaves room for the rounding of sums.
    let cutoff = (1.0 - top_p) / (2.0 * probabilities.len() as f32);
    let cutoff = cutoff.max(f32::MIN_POSITIVE);
    let top = bucket(finite_max(probabilities)?);
    let from_top = |value: f32| ((top - bucket(value)) as usize).min(BUCKETS - 1);

    // Two sums a bucket, as neighbours often fall into the same one and would wait for each other.
    let mut mass = [[0.0f64; 2]; BUCKETS];
    for chunk in probabilities.chunks(CHUNK) {
        if !any_at_least(chunk, cutoff) {
            continue;
        }
        for (i, &value) in chunk.iter().enumerate() {
            if value >= cutoff {
                mass[from_top(value)][i % 2] += f64::from(value);
            }
        }
    }
    let mut before = 0.0;
    let mut edge = None;
    for (index, [even, odd]) in mass.into_iter().enumerate() {
        let within = even + odd;
        if within > 0.0 {
            edge = Some((index, before));
        }
        before += within;
        if before >= target {
            break;
        }
    }
    let (edge, mut mass) = edge?;

    around.clear();
    // The last bucket has no lower end.
    let least = match edge == BUCKETS - 1 {
        true => cutoff,
        false => {
            let bits = (top - edge as u32) << (f32::MANTISSA_DIGITS - 1 - BUCKET_BITS);
            f32::from_bits(bits).max(cutoff)
        }
    };
    for (first, chunk) in (0u32..).step_by(CHUNK).zip(probabilities.chunks(CHUNK)) {
        if !any_at_least(chunk, least) {
            continue;
        }
        for (token, &value) in (first..).zip(chunk) {
            if value >= least && from_top(value) == edge {
                around.push(Candidate { value, token });
            }
        }
    }
    around.sort_unstable_by(order);
    let reaches = |candidate: &&Candidate| {
        mass += f64::from(candidate.value);
        mass >= target
    };
    let last = around.iter().find(reaches).or(around.last());
    last.copied()
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
    fn expected_edge(probabilities: &[f32], top_p: f32) -> Option<Candidate> {
        let target = f64::from(top_p) * sum_at_least(probabilities, 0.0);
        let mut mass = 0.0;
        let sorted = sorted(probabilities);
        let positive = || sorted.iter().filter(|c| c.value > 0.0);
        let reaches = |c: &&Candidate| {
            mass += f64::from(c.value);
            mass >= target
        };
        positive().find(reaches).or(positive().next_back()).copied()
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
        fn the_edge_of_a_nucleus_is_where_sorting_finds_it(
            probabilities in probabilities(), top_p in 0.001f32..0.999,
        ) {
            let got = nucleus_edge(&probabilities, top_p, &mut Vec::new());
            let expected = expected_edge(&probabilities, top_p);
            let rank = |c: Option<Candidate>| {
                sorted(&probabilities).iter().position(|other| Some(*other) == c)
            };
            if got != expected {
                // Sums in another order may round to the other side of the target.
                let (Some(a), Some(b)) = (rank(got), rank(expected)) else {
                    return Err(TestCaseError::fail(format!("{got:?}, expected {expected:?}")));
                };
                prop_assert!(a.abs_diff(b) == 1, "{got:?}, expected {expected:?}");
                let before = &sorted(&probabilities)[..a.max(b)];
                let mass: f64 = before.iter().map(|c| f64::from(c.value)).sum();
                let target = f64::from(top_p) * sum_at_least(&probabilities, 0.0);
                prop_assert!((mass - target).abs() < 1e-12, "{got:?}, expected {expected:?}");
            }
        }
    }

    #[test]
    fn equal_probabilities_are_told_apart_by_token() {
        let probabilities = [0.001f32; 1000];
        let edge = nucleus_edge(&probabilities, 0.25, &mut Vec::new()).unwrap();
        assert!((249..=250).contains(&edge.token), "{edge:?}");
        assert_eq!(nucleus_edge(&[0.0; 5], 0.5, &mut Vec::new()), None);
        let one = nucleus_edge(&[0.0, 1.0, 0.0], 0.01, &mut Vec::new());
        assert_eq!(one.map(|c| c.token), Some(1));
    }
}
