//! RMSNorm (Zhang and Sennrich 2019) and LayerNorm (Ba et al. 2016) over rows.
//!
//! A row's sums are taken in 64 interleaved parts, those of 16 lanes in four registers, and folded in a fixed order.

use crate::pool::for_each_row;
use crate::simd::{self, Kernel, LANES, Simd, load_part, store_part};
use crate::{Pool, Tier, cpu_tier};

/// `out = x / sqrt(mean(x^2) + eps) * weight` for every row of `x` (`[T, n]`, `n = weight.len()`).
///
/// # Panics
/// If the lengths do not fit.
pub fn rms_norm(pool: &Pool, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    rms_norm_on(cpu_tier(), pool, x, weight, eps, out);
}

/// `out = (x - mean) / sqrt(variance + eps) * weight + bias` for every row of `x` (`[T, n]`, `n = weight.len()`).
///
/// # Panics
/// If the lengths do not fit.
pub fn layer_norm(pool: &Pool, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    layer_norm_on(cpu_tier(), pool, x, weight, bias, eps, out);
}

pub(crate) fn rms_norm_on(
    tier: Tier,
    pool: &Pool,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    check(x, weight, out);
    for_each_row(pool, out, weight.len(), |row, out| {
        let x = &x[row * weight.len()..][..weight.len()];
        simd::run(
            tier,
            RmsNorm {
                x,
                weight,
                eps,
                out,
            },
        );
    });
}

fn layer_norm_on(
    tier: Tier,
    pool: &Pool,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    check(x, weight, out);
    assert_eq!(
        weight.len(),
        bias.len(),
        "norm: weight and bias differ in length"
    );
    for_each_row(pool, out, weight.len(), |row, out| {
        let x = &x[row * weight.len()..][..weight.len()];
        simd::run(
            tier,
            LayerNorm {
                x,
                weight,
                bias,
                eps,
                out,
            },
        );
    });
}

fn check(x: &[f32], weight: &[f32], out: &[f32]) {
    assert_eq!(
        x.len(),
        out.len(),
        "norm: input and output differ in length"
    );
    if !x.is_empty() {
        check_rows(x, weight.len(), "norm");
    }
}

/// Checks that `x` consists of rows of `cols` values.
pub(crate) fn check_rows(x: &[f32], cols: usize, what: &str) {
    assert!(
        cols > 0 && x.len().is_multiple_of(cols),
        "{what}: {} values are not rows of {cols}",
        x.len()
    );
}

/// The sum over a row of `x - mean`, or of the squares of that.
#[inline(always)]
fn sum<S: Simd, const SQUARES: bool>(s: S, x: &[f32], mean: f32) -> f32 {
    let mean = s.splat(mean);
    let mut sums = [s.splat(0.0); 4];
    let (fours, rest) = x.as_chunks::<{ 4 * LANES }>();
    for four in fours {
        for (sum, x) in sums.iter_mut().zip(four.as_chunks::<LANES>().0) {
            *sum = s.add(*sum, term::<S, SQUARES>(s, s.load(x), mean));
        }
    }
    let (ones, rest) = rest.as_chunks::<LANES>();
    for (sum, x) in sums.iter_mut().zip(ones) {
        *sum = s.add(*sum, term::<S, SQUARES>(s, s.load(x), mean));
    }
    if !rest.is_empty() {
        let mut lanes = [0.0; LANES];
        s.store(
            term::<S, SQUARES>(s, load_part(s, rest, 0.0), mean),
            &mut lanes,
        );
        lanes[rest.len()..].fill(0.0);
        sums[3] = s.add(sums[3], s.load(&lanes));
    }
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

#[inline(always)]
fn term<S: Simd, const SQUARES: bool>(s: S, x: S::F, mean: S::F) -> S::F {
    let d = s.sub(x, mean);
    if SQUARES { s.mul(d, d) } else { d }
}

/// The norm of a row.
pub(crate) struct RmsNorm<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) weight: &'a [f32],
    pub(crate) eps: f32,
    pub(crate) out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let RmsNorm {
            x,
            weight,
            eps,
            out,
        } = self;
        let mean = sum::<S, true>(s, x, 0.0) / x.len() as f32;
        let scale = 1.0 / (mean + eps).sqrt();
        let scales = s.splat(scale);
        let (out16, out_rest) = out.as_chunks_mut::<LANES>();
        let (x16, x_rest) = x.as_chunks::<LANES>();
        let (w16, w_rest) = weight.as_chunks::<LANES>();
        for ((out, x), w) in out16.iter_mut().zip(x16).zip(w16) {
            s.store(s.mul(s.mul(s.load(x), scales), s.load(w)), out);
        }
        for ((out, x), w) in out_rest.iter_mut().zip(x_rest).zip(w_rest) {
            *out = x * scale * w;
        }
    }
}

struct LayerNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let LayerNorm {
            x,
            weight,
            bias,
            eps,
            out,
        } = self;
        let mean = sum::<S, false>(s, x, 0.0) / x.len() as f32;
        let means = s.splat(mean);
        let variance = sum::<S, true>(s, x, mean) / x.len() as f32;
        let scales = s.splat(1.0 / (variance + eps).sqrt());
        let (out16, out_rest) = out.as_chunks_mut::<LANES>();
        let (x16, x_rest) = x.as_chunks::<LANES>();
        let (w16, w_rest) = weight.as_chunks::<LANES>();
        let (b16, b_rest) = bias.as_chunks::<LANES>();
        for (((out, x), w), b) in out16.iter_mut().zip(x16).zip(w16).zip(b16) {
            let x = s.mul(s.sub(s.load(x), means), scales);
            s.store(s.fma(x, s.load(w), s.load(b)), out);
        }
        let x = s.mul(s.sub(load_part(s, x_rest, 0.0), means), scales);
        let out = s.fma(x, load_part(s, w_rest, 0.0), load_part(s, b_rest, 0.0));
        store_part(s, out, out_rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, bits};

    fn expected(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) -> Vec<f32> {
        let n = weight.len();
        let mut out = Vec::new();
        for row in x.chunks_exact(n) {
            let row: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
            let mean = if bias.is_some() {
                row.iter().sum::<f64>() / n as f64
            } else {
                0.0
            };
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
            let scale = 1.0 / (variance + f64::from(eps)).sqrt();
            out.extend((0..n).map(|i| {
                let b = bias.map_or(0.0, |b| f64::from(b[i]));
                ((row[i] - mean) * scale * f64::from(weight[i]) + b) as f32
            }));
        }
        out
    }

    #[test]
    fn every_tier_on_rows_of_any_length() {
        let pool = Pool::new(2);
        let mut random = Random::new(4);
        for tier in Tier::available() {
            for (rows, n) in [
                (0, 5),
                (1, 1),
                (3, 15),
                (2, 64),
                (5, 100),
                (7, 2048),
                (40, 1031),
            ] {
                let x: Vec<f32> = random
                    .normals(rows * n)
                    .iter()
                    .map(|v| v * 3.0 + 1.0)
                    .collect();
                let (w, b) = (random.normals(n), random.normals(n));
                let mut out = vec![f32::NAN; rows * n];
                rms_norm_on(tier, &pool, &x, &w, 1e-5, &mut out);
                assert_close(&out, &expected(&x, &w, None, 1e-5), 1e-5, "rms_norm");
                layer_norm_on(tier, &pool, &x, &w, &b, 1e-5, &mut out);
                assert_close(&out, &expected(&x, &w, Some(&b), 1e-5), 1e-5, "layer_norm");
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let (one, many) = (Pool::new(1), Pool::new(3));
        let mut random = Random::new(5);
        let (rows, n) = (50, 777);
        let (x, w, b) = (
            random.normals(rows * n),
            random.normals(n),
            random.normals(n),
        );
        let (mut all, mut all_ln) = (vec![0.0; rows * n], vec![0.0; rows * n]);
        rms_norm(&many, &x, &w, 1e-6, &mut all);
        layer_norm(&many, &x, &w, &b, 1e-6, &mut all_ln);
        for row in 0..rows {
            let at = row * n..(row + 1) * n;
            let mut alone = vec![0.0; n];
            rms_norm(&one, &x[at.clone()], &w, 1e-6, &mut alone);
            assert_eq!(bits(&alone), bits(&all[at.clone()]));
            layer_norm(&one, &x[at.clone()], &w, &b, 1e-6, &mut alone);
            assert_eq!(bits(&alone), bits(&all_ln[at]));
        }
    }

    #[test]
    fn what_is_not_a_number_spoils_its_row_only() {
        let pool = Pool::new(1);
        for tier in Tier::available() {
            let mut x = vec![1.0; 3 * 37];
            x[37 + 36] = f32::NAN;
            let mut out = vec![0.0; 3 * 37];
            rms_norm_on(tier, &pool, &x, &[1.0; 37], 1e-6, &mut out);
            assert!(out[37..74].iter().all(|v| v.is_nan()));
            assert!(out[..37].iter().chain(&out[74..]).all(|v| v.is_finite()));
        }
    }
}
