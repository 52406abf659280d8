//! The largest of many values without sorting them all.

use std::cmp::Ordering;

/// A token with its logit or its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub value: f32,
    pub token: u32,
}

/// Larger values first, then lower tokens. Values are never NaN.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
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
    for (token, &value) in (0u32..).zip(values) {
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
    if best.len() > k {
        best.select_nth_unstable_by(k - 1, order);
        best.truncate(k);
    }
    best.sort_unstable_by(order);
}

/// Keeps the fewest candidates, the largest first, whose values reach `target` together; all of
/// them where they do not. The kept ones are in order.
///
/// Sorts no more than it has to, in growing portions.
pub(super) fn keep_mass(candidates: &mut Vec<Candidate>, target: f64) {
    let mut sorted = 0;
    let mut portion = 64;
    let mut mass = 0.0;
    while sorted < candidates.len() {
        let rest = &mut candidates[sorted..];
        let next = portion.min(rest.len());
        if next < rest.len() {
            rest.select_nth_unstable_by(next - 1, order);
        }
        rest[..next].sort_unstable_by(order);
        for i in sorted..sorted + next {
            mass += f64::from(candidates[i].value);
            if mass >= target {
                candidates.truncate(i + 1);
                return;
            }
        }
        sorted += next;
        portion *= 4;
    }
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
        fn keep_mass_equals_sorting(values in values(), share in 0.0..1.1f64) {
            let expected = sorted(&values);
            let mut kept = expected.clone();
            kept.reverse();
            let total: f64 = expected.iter().map(|c| f64::from(c.value)).sum();
            keep_mass(&mut kept, share * total);
            let mut mass = 0.0;
            let needed = expected
                .iter()
                .position(|c| {
                    mass += f64::from(c.value);
                    mass >= share * total
                })
                .map_or(expected.len(), |i| i + 1);
            prop_assert_eq!(&kept[..], &expected[..needed]);
        }
    }
}
