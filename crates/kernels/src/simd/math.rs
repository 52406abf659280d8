//! Functions of 16 lanes.

use super::Simd;

/// Added to a number below 2^22, it leaves the nearest integer in the low bits.
const SHIFT: f32 = 12_582_912.0;

/// `exp(x)` to a relative error of 2e-7, in every tier.
///
/// `x` is split into `n ln 2 + r` with `|r| <= ln 2 / 2`; `exp(r)` is its Taylor polynomial of degree 7, whose error is
/// below half a unit in the last place, and `2^n` is multiplied in two halves, so that results fade to 0 through the
/// subnormal numbers and grow to infinity as they should. What is not a number stays so.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    /// ln 2 in two parts; the upper has so few digits that its product with `n` is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Beyond these the result is 0 or infinite. The second operand comes through where it is not a number.
    let x = s.max(s.splat(-104.0), s.min(s.splat(89.0), x));
    let shifted = s.add(s.mul(x, s.splat(LOG2_E)), s.splat(SHIFT));
    let n = s.sub(shifted, s.splat(SHIFT));
    let r = s.fma(n, s.splat(-LN2_HIGH), x);
    let r = s.fma(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(1.0 / 5040.0);
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = s.fma(p, r, s.splat(c));
    }
    let n = s.sub_i32(s.to_bits(shifted), s.splat_i32(SHIFT.to_bits() as i32));
    let half = s.sar::<1>(n);
    s.mul(s.mul(p, power(s, half)), power(s, s.sub_i32(n, half)))
}

/// `2^x` for `x <= 0` to a relative error of 3e-7, in every tier; below -126 it is `2^-126`. What is not a number stays so.
///
/// `x` is split into `n + r` with `|r| <= 1/2`; `2^r` is 1 and a polynomial of degree 5 through Chebyshev's nodes, whose
/// relative error is 2e-7.
#[inline(always)]
pub(crate) fn exp2_below_0<S: Simd>(s: S, x: S::F) -> S::F {
    // The second operand comes through where it is not a number.
    let x = s.max(s.splat(-126.0), x);
    let shifted = s.add(x, s.splat(SHIFT));
    let r = s.sub(x, s.sub(shifted, s.splat(SHIFT)));
    let mut p = s.splat(0.001_338_130_2);
    for c in [
        0.009_666_368,
        0.055_503_81,
        0.240_223_5,
        std::f32::consts::LN_2,
        1.0,
    ] {
        p = s.fma(p, r, s.splat(c));
    }
    let n = s.sub_i32(s.to_bits(shifted), s.splat_i32(SHIFT.to_bits() as i32));
    s.mul(p, power(s, n))
}

/// `2^n` for exponents of normal numbers.
#[inline(always)]
fn power<S: Simd>(s: S, n: S::I) -> S::F {
    s.of_bits(s.shl::<23>(s.add_i32(n, s.splat_i32(127))))
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// `erfc(z) / 2` for `z >= 0` to an absolute error of 2e-7.
///
/// `exp(z^2) erfc(z) / 2` is `t P(t)` with `t = 1 / (1 + 0.4 z)`; `P`, of degree 8, is a weighted least-squares fit with
/// a relative error of 7e-8.
#[inline(always)]
pub(crate) fn half_erfc<S: Simd>(s: S, z: S::F) -> S::F {
    let one = s.splat(1.0);
    let t = s.div(one, s.fma(z, s.splat(0.4), one));
    let mut p = s.splat(0.021_440_843);
    for c in [
        -0.074_131_444,
        0.050_223_66,
        0.034_545_977,
        0.046_406_62,
        0.093_914_36,
        0.101_654_95,
        0.113_122_15,
        0.112_822_92,
    ] {
        p = s.fma(p, t, s.splat(c));
    }
    s.mul(s.mul(t, p), exp(s, s.mul(s.sub(s.splat(0.0), z), z)))
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, LANES, run};
    use super::*;
    use crate::Tier;

    struct Map<'a, const EXP: bool>(&'a mut [[f32; LANES]]);

    impl<const EXP: bool> Kernel for Map<'_, EXP> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for x in self.0 {
                let v = s.load(x);
                let y = if EXP { exp(s, v) } else { half_erfc(s, v) };
                s.store(y, x);
            }
        }
    }

    fn map<const EXP: bool>(tier: Tier, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        run(tier, Map::<EXP>(y.as_chunks_mut().0));
        y
    }

    #[test]
    fn exp_is_close_everywhere() {
        let x: Vec<f32> = (-1_100_000..=900_000)
            .step_by(7)
            .map(|i| i as f32 * 1e-4)
            .collect();
        let x = &x[..x.len() / LANES * LANES];
        for tier in Tier::available() {
            for (x, y) in x.iter().zip(map::<true>(tier, x)) {
                let expected = f64::from(*x).exp();
                let error = (f64::from(y) - expected).abs();
                // Subnormal results have an absolute error of their last digit.
                assert!(
                    error <= 2e-7 * expected + 3e-45 || expected > f64::from(f32::MAX),
                    "{tier}: exp({x}) = {y}"
                );
            }
        }
    }

    #[test]
    fn exp_has_the_limits_of_the_function() {
        let mut x = [0.0; LANES];
        (x[1], x[2], x[3], x[4]) = (f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e30);
        for tier in Tier::available() {
            let y = map::<true>(tier, &x);
            assert_eq!(y[..3], [1.0, f32::INFINITY, 0.0], "{tier}");
            assert!(y[3].is_nan() && y[4] == f32::INFINITY);
        }
    }

    struct Exp2<'a>(&'a mut [[f32; LANES]]);

    impl Kernel for Exp2<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for x in self.0 {
                let y = exp2_below_0(s, s.load(x));
                s.store(y, x);
            }
        }
    }

    #[test]
    fn exp2_is_close_below_0() {
        let mut x: Vec<f32> = (-160_000..0).map(|i| i as f32 * 1e-3).collect();
        x.extend([
            0.0,
            f32::NEG_INFINITY,
            f32::NAN,
            -0.5,
            -1.0,
            -1e-20,
            -1e20,
            -126.0,
        ]);
        x.extend([0.0; 8]);
        for tier in Tier::available() {
            let mut y = x.clone();
            run(tier, Exp2(y.as_chunks_mut().0));
            for (x, y) in x.iter().zip(y) {
                let expected = f64::from(x.max(-126.0)).exp2();
                let close = (f64::from(y) - expected).abs() <= 3e-7 * expected;
                assert!(close || x.is_nan() && y.is_nan(), "{tier}: 2^{x} = {y}");
            }
        }
    }

    #[test]
    fn half_erfc_is_close_everywhere() {
        // erf by its series, in f64; its terms cancel too much beyond 4, where half of erfc is below 1e-8.
        let erf = |z: f64| {
            let (mut sum, mut term) = (0.0, z);
            for n in 0..200 {
                sum += term / f64::from(2 * n + 1);
                term *= -z * z / f64::from(n + 1);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        };
        let z: Vec<f32> = (0..4096).map(|i| i as f32 * 1e-3).collect();
        for tier in Tier::available() {
            for (z, y) in z.iter().zip(map::<false>(tier, &z)) {
                let expected = (1.0 - erf(f64::from(*z))) / 2.0;
                assert!(
                    (f64::from(y) - expected).abs() < 2e-7,
                    "{tier}: {z}: {y} {expected}"
                );
            }
            let far = map::<false>(tier, &[10.0; LANES]);
            assert!(far[0] >= 0.0 && far[0] < 1e-30);
        }
    }
}
