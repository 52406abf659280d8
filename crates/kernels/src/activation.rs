//! Activation functions.

use crate::pool::for_each_row;
use crate::simd::{self, Kernel, LANES, Simd, load_part, math, store_part};
use crate::{Pool, Tier, cpu_tier};

/// Elements that one task takes.
const CHUNK: usize = 4096;

/// `gate[i] = silu(gate[i]) * up[i]` with `silu(x) = x / (1 + exp(-x))`.
///
/// # Panics
/// If the lengths differ.
pub fn silu_mul(pool: &Pool, gate: &mut [f32], up: &[f32]) {
    silu_mul_on(cpu_tier(), pool, gate, up);
}

/// `x / 2 (1 + erf(x / sqrt 2))`, the exact GELU (Hendrycks and Gimpel 2016), to an absolute error of `2e-7 |x|`.
pub fn gelu(pool: &Pool, x: &mut [f32]) {
    map(cpu_tier(), pool, x, Gelu);
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, the approximation that GPT-2 was trained with.
pub fn gelu_tanh(pool: &Pool, x: &mut [f32]) {
    map(cpu_tier(), pool, x, GeluTanh);
}

pub(crate) fn silu_mul_on(tier: Tier, pool: &Pool, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "silu_mul: lengths differ");
    for_each_row(pool, gate, CHUNK, |i, gate| {
        let up = &up[i * CHUNK..][..gate.len()];
        simd::run(tier, SiluMul { gate, up });
    });
}

struct SiluMul<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for SiluMul<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (gate, gate_rest) = self.gate.as_chunks_mut::<LANES>();
        let (up, up_rest) = self.up.as_chunks::<LANES>();
        for (gate, up) in gate.iter_mut().zip(up) {
            s.store(silu_times(s, s.load(gate), s.load(up)), gate);
        }
        if !gate_rest.is_empty() {
            let v = silu_times(s, load_part(s, gate_rest, 0.0), load_part(s, up_rest, 0.0));
            store_part(s, v, gate_rest);
        }
    }
}

/// `silu(gate) * up`.
#[inline(always)]
pub(crate) fn silu_times<S: Simd>(s: S, gate: S::F, up: S::F) -> S::F {
    s.mul(s.mul(gate, math::sigmoid(s, gate)), up)
}

/// The exact GELU.
#[inline(always)]
pub(crate) fn gelu_of<S: Simd>(s: S, x: S::F) -> S::F {
    let negative = s.sub(s.splat(0.0), x);
    let z = s.mul(s.max(negative, x), s.splat(std::f32::consts::FRAC_1_SQRT_2));
    // The part of the normal distribution beyond |x|.
    let tail = math::half_erfc(s, z);
    let lower = s.mul(x, tail);
    s.select_negative(x, lower, s.sub(x, lower))
}

/// A function of one lane.
trait Function: Copy + Sync {
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F;
}

#[derive(Clone, Copy)]
struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        gelu_of(s, x)
    }
}

#[derive(Clone, Copy)]
struct GeluTanh;

impl Function for GeluTanh {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        // (1 + tanh(u)) / 2 is the logistic function of 2 u.
        const TWICE_ROOT: f32 = 1.595_769_2;
        let cubic = s.fma(s.mul(s.mul(x, x), s.splat(0.044_715)), x, x);
        s.mul(x, math::sigmoid(s, s.mul(cubic, s.splat(TWICE_ROOT))))
    }
}

fn map<F: Function>(tier: Tier, pool: &Pool, x: &mut [f32], function: F) {
    for_each_row(pool, x, CHUNK, |_, x| simd::run(tier, Map { x, function }));
}

struct Map<'a, F> {
    x: &'a mut [f32],
    function: F,
}

impl<F: Function> Kernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, rest) = self.x.as_chunks_mut::<LANES>();
        for x in x {
            s.store(self.function.apply(s, s.load(x)), x);
        }
        if !rest.is_empty() {
            store_part(s, self.function.apply(s, load_part(s, rest, 0.0)), rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close};

    /// Values with exact results elsewhere, and what is not finite.
    fn inputs(n: usize) -> Vec<f32> {
        let mut random = Random::new(6);
        (0..n).map(|_| random.normal() * 4.0).collect()
    }

    #[test]
    fn silu_mul_in_every_tier() {
        let pool = Pool::new(2);
        for tier in Tier::available() {
            for n in [0, 1, 16, 31, 5000, 70_000] {
                let (gate, up) = (inputs(n), Random::new(7).normals(n));
                let expected: Vec<f32> = gate
                    .iter()
                    .zip(&up)
                    .map(|(g, u)| {
                        (f64::from(*g) / (1.0 + (-f64::from(*g)).exp()) * f64::from(*u)) as f32
                    })
                    .collect();
                let mut got = gate;
                silu_mul_on(tier, &pool, &mut got, &up);
                assert_close(&got, &expected, 1e-6, "silu_mul");
            }
            let mut x = [f32::NAN, -200.0, 200.0, f32::NEG_INFINITY];
            silu_mul_on(tier, &pool, &mut x, &[1.0; 4]);
            assert!(x[0].is_nan() && x[1] == 0.0 && x[2] == 200.0, "{x:?}");
        }
    }

    #[test]
    fn gelu_in_every_tier() {
        let pool = Pool::new(2);
        // Values of x Φ(x) from tables of the normal distribution.
        let (x, y) = (
            [0.0, 1.0, -1.0, 2.0, -3.0],
            [0.0, 0.841_344_7, -0.158_655_26, 1.954_499_7, -0.004_049_694],
        );
        for tier in Tier::available() {
            let mut got = x;
            map(tier, &pool, &mut got, Gelu);
            assert_close(&got, &y, 2e-7, "gelu");
            let mut far = [f32::NAN, 30.0, -30.0, -0.0];
            map(tier, &pool, &mut far, Gelu);
            assert!(far[0].is_nan() && far[1] == 30.0 && far[2].abs() < 1e-30 && far[3] == 0.0);
            let mut got = inputs(70_000);
            let expected: Vec<f32> = got
                .iter()
                .map(|x| f64::from(*x))
                .map(|x| {
                    (x / 2.0
                        * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044715 * x * x * x)).tanh()))
                        as f32
                })
                .collect();
            map(tier, &pool, &mut got, GeluTanh);
            assert_close(&got, &expected, 1e-6, "gelu_tanh");
        }
    }

    #[test]
    fn the_tiers_agree_on_gelu() {
        let pool = Pool::new(1);
        let mut expected = inputs(1003);
        map(Tier::Scalar, &pool, &mut expected, Gelu);
        for tier in Tier::available() {
            let mut got = inputs(1003);
            map(tier, &pool, &mut got, Gelu);
            assert_close(&got, &expected, 5e-7, "gelu");
        }
    }
}
