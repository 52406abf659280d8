//! The searches for a group's scale: integer codes and the factors that bring them nearest to the values.
//!
//! Each search tries inverse scales around the obvious one, rounds the values with it, solves for the factors that fit
//! those codes best (weighted least squares) and keeps the best of all. The algorithms are ggml's (`make_qx_quants`,
//! `make_q3_quants` and `make_qkx2_quants` in `ggml-quants.c`). Rounding in f32 decides between near-equal candidates,
//! so that the order of operations here is part of the result.

/// Below this, all values of a group count as zero.
pub(super) const NEGLIGIBLE: f32 = 1e-15;

/// The nearest integer, ties to even, for values within 2^22.
///
/// The sum with 1.5 x 2^23 leaves the integer in the low bits of the fraction. Outside the range, and for what is not
/// a number, that gives some integer within 2^22, the one that ggml gets.
pub(super) fn nearest(x: f32) -> i32 {
    ((x + 12_582_912.0).to_bits() & 0x7F_FFFF) as i32 - 0x40_0000
}

/// The value that is largest without its sign, the first of several; 0 for none.
fn largest(x: &[f32]) -> f32 {
    x.iter().fold(
        0.0,
        |max: f32, &v| if v.abs() > max.abs() { v } else { max },
    )
}

/// The sums that a scale follows from: `sum w x q` and `sum w q q`.
#[derive(Clone, Copy, Default)]
struct Moments {
    xq: f32,
    qq: f32,
}

impl Moments {
    fn add(&mut self, x: f32, code: i32) {
        let (weight, code) = (x * x, code as f32);
        self.xq += weight * x * code;
        self.qq += weight * code * code;
    }
}

/// Codes from 0 for `x = scale (code - half)`, each value weighted with its square; gives the scale, which may be
/// negative: the largest value goes to the end of the range that has one code more.
pub(super) fn symmetric<const N: usize>(x: &[f32; N], half: i32, codes: &mut [u8; N]) -> f32 {
    let max = largest(x);
    if max.abs() < NEGLIGIBLE {
        codes.fill(0);
        return 0.0;
    }
    let round = |inverse: f32| x.map(|v| nearest(inverse * v).clamp(-half, half - 1));
    let mut scale = 0.0;
    let mut best = 0.0;
    for trial in [0].into_iter().chain(-9..0).chain(1..=9) {
        let inverse = -(half as f32 + 0.1 * trial as f32) / max;
        let rounded = round(inverse);
        let mut sums = Moments::default();
        for (&v, &code) in x.iter().zip(&rounded) {
            sums.add(v, code);
        }
        // The first trial is what the others have to beat.
        if trial == 0 || sums.qq > 0.0 && sums.xq * sums.xq > best * sums.qq {
            *codes = rounded.map(|code| (code + half) as u8);
            scale = if sums.qq != 0.0 {
                sums.xq / sums.qq
            } else {
                0.0
            };
            best = scale * sums.xq;
        }
    }
    scale
}

/// As [`symmetric`], by another way: one rounding, then each code moves in turn while that lowers the error.
pub(super) fn symmetric_by_descent<const N: usize>(
    x: &[f32; N],
    half: i32,
    codes: &mut [u8; N],
) -> f32 {
    let max = largest(x);
    if max.abs() < NEGLIGIBLE {
        codes.fill(0);
        return 0.0;
    }
    let inverse = -(half as f32) / max;
    let mut rounded = x.map(|v| nearest(inverse * v).clamp(-half, half - 1));
    let mut sums = Moments::default();
    for (&v, &code) in x.iter().zip(&rounded) {
        sums.add(v, code);
    }
    for _ in 0..5 {
        let mut moved = false;
        for (&v, code) in x.iter().zip(&mut rounded) {
            let (weight, old) = (v * v, *code as f32);
            let others_xq = sums.xq - weight * v * old;
            if others_xq <= 0.0 || others_xq.is_nan() {
                continue;
            }
            let others_qq = sums.qq - weight * old * old;
            let new = nearest(v * others_qq / others_xq).clamp(-half, half - 1);
            if new == *code {
                continue;
            }
            let mut with = Moments {
                xq: others_xq,
                qq: others_qq,
            };
            with.add(v, new);
            if with.qq > 0.0 && with.xq * with.xq * sums.qq > sums.xq * sums.xq * with.qq {
                *code = new;
                sums = with;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    *codes = rounded.map(|code| (code + half) as u8);
    if sums.qq > 0.0 {
        sums.xq / sums.qq
    } else {
        0.0
    }
}

/// Which inverse scales [`affine`] tries, and what it calls near.
pub(super) struct AffineSearch {
    /// The largest code.
    pub levels: i32,
    /// The first trial spreads the values over this many codes more than `levels`, each further one over 0.1 more.
    pub first: f32,
    /// The number of the last trial, counted from 0.
    pub trials: i32,
    /// Whether the error is the absolute difference rather than its square.
    pub absolute: bool,
}

/// Codes for `x = scale code - min` with `min` not negative; gives scale and minimum.
pub(super) fn affine<const N: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    search: &AffineSearch,
    codes: &mut [u8; N],
) -> (f32, f32) {
    let (mut min, mut max) = (x[0], x[0]);
    let mut sum_w = weights[0];
    let mut sum_x = sum_w * x[0];
    for (&v, &weight) in x.iter().zip(weights).skip(1) {
        min = if v < min { v } else { min };
        max = if v > max { v } else { max };
        sum_w += weight;
        sum_x += weight * v;
    }
    if min > 0.0 {
        min = 0.0;
    }
    if max == min {
        codes.fill(0);
        return (0.0, -min);
    }

    // `low` is the best minimum so far and the zero of the next rounding, as in ggml.
    let round = |inverse: f32, low: f32| {
        x.map(|v| nearest(inverse * (v - low)).clamp(0, search.levels) as u8)
    };
    let error = |codes: &[u8; N], scale: f32, low: f32| {
        let mut error = 0.0;
        for ((&v, &weight), &code) in x.iter().zip(weights).zip(codes) {
            let difference = scale * f32::from(code) + low - v;
            let difference = if search.absolute {
                difference.abs()
            } else {
                difference * difference
            };
            error += weight * difference;
        }
        error
    };

    let levels = search.levels as f32;
    let inverse = levels / (max - min);
    let mut scale = 1.0 / inverse;
    *codes = round(inverse, min);
    let mut best = error(codes, scale, min);
    for trial in 0..=search.trials {
        let inverse = (search.first + 0.1 * trial as f32 + levels) / (max - min);
        let candidate = round(inverse, min);
        let (mut sum_q, mut sum_qq, mut sum_xq) = (0.0, 0.0, 0.0);
        for ((&v, &weight), &code) in x.iter().zip(weights).zip(&candidate) {
            let weighted = weight * f32::from(code);
            sum_q += weighted;
            sum_qq += weighted * f32::from(code);
            sum_xq += weighted * v;
        }
        let determinant = sum_w * sum_qq - sum_q * sum_q;
        if determinant.is_nan() || determinant <= 0.0 {
            continue;
        }
        let mut fitted_scale = (sum_w * sum_xq - sum_x * sum_q) / determinant;
        let mut fitted_min = (sum_qq * sum_x - sum_q * sum_xq) / determinant;
        if fitted_min > 0.0 {
            fitted_min = 0.0;
            fitted_scale = sum_xq / sum_qq;
        }
        let error = error(&candidate, fitted_scale, fitted_min);
        if error < best {
            *codes = candidate;
            (best, scale, min) = (error, fitted_scale, fitted_min);
        }
    }
    (scale, -min)
}
