//! The softmax of one row.

use crate::simd::{self, Kernel, LANES, Simd, load_part, math, store_part};
use crate::{Tier, cpu_tier};

/// Replaces `x` by `exp(x - max) / sum`.
///
/// Values of negative infinity become 0. A row with something that is not a number, of positive infinity or of only
/// negative infinity becomes NaN.
pub fn softmax(x: &mut [f32]) {
    softmax_on(cpu_tier(), x);
}

fn softmax_on(tier: Tier, x: &mut [f32]) {
    simd::run(tier, Softmax(x));
}

struct Softmax<'a>(&'a mut [f32]);

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let sum = exp_in_place(s, self.0);
        let scale = s.splat(1.0 / sum);
        let (chunks, rest) = self.0.as_chunks_mut::<LANES>();
        for chunk in chunks {
            s.store(s.mul(s.load(chunk), scale), chunk);
        }
        store_part(s, s.mul(load_part(s, rest, 0.0), scale), rest);
    }
}

/// Replaces `x` by `exp(x - max)` and returns the sum of that.
#[inline(always)]
fn exp_in_place<S: Simd>(s: S, x: &mut [f32]) -> f32 {
    let max = largest(s, x);
    exp_below(s, x, max)
}

/// The largest value; one that is not a number may be lost.
#[inline(always)]
fn largest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut max = load_part(s, rest, f32::NEG_INFINITY);
    for chunk in chunks {
        max = s.max(max, s.load(chunk));
    }
    s.max_lane(max)
}

/// Replaces `x` by `exp(x - max)` and returns the sum of that.
///
/// The value at an index is added to the lane of that index modulo 16, so the sum depends on the values alone.
#[inline(always)]
fn exp_below<S: Simd>(s: S, x: &mut [f32], max: f32) -> f32 {
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    let max = s.splat(max);
    let mut sum = s.splat(0.0);
    for chunk in chunks {
        let e = math::exp(s, s.sub(s.load(chunk), max));
        s.store(e, chunk);
        sum = s.add(sum, e);
    }
    if !rest.is_empty() {
        store_part(s, math::exp(s, s.sub(load_part(s, rest, 0.0), max)), rest);
        sum = s.add(sum, load_part(s, rest, 0.0));
    }
    s.sum(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close};

    #[test]
    fn rows_of_any_length_sum_to_one_in_every_tier() {
        let mut random = Random::new(3);
        for tier in Tier::available() {
            for n in [1, 2, 15, 16, 17, 33, 1000] {
                let x: Vec<f32> = random.normals(n).iter().map(|v| v * 10.0 + 300.0).collect();
                let max = x.iter().copied().fold(f32::MIN, f32::max);
                let exps: Vec<f64> = x.iter().map(|v| f64::from(v - max).exp()).collect();
                let sum: f64 = exps.iter().sum();
                let expected: Vec<f32> = exps.iter().map(|e| (e / sum) as f32).collect();
                let mut got = x;
                softmax_on(tier, &mut got);
                assert_close(&got, &expected, 1e-6, "softmax");
            }
            softmax_on(tier, &mut []);
        }
    }

    #[test]
    fn what_is_not_finite() {
        for tier in Tier::available() {
            for at in [0, 3, 17, 20] {
                let mut x = [1.0; 21];
                x[at] = f32::NEG_INFINITY;
                softmax_on(tier, &mut x);
                assert_eq!(x[at], 0.0);
                assert!((x[(at + 1) % 21] - 0.05).abs() < 1e-7);
                let mut x = [1.0; 21];
                x[at] = f32::NAN;
                softmax_on(tier, &mut x);
                assert!(x.iter().all(|v| v.is_nan()), "{tier} {at}");
            }
        }
    }
}
