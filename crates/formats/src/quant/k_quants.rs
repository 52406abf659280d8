//! Super-blocks of 256 values: a search in each group, then the groups' factors rounded to integers under one f16
//! factor, then the codes again, now for the factors that a reader will see.
//!
//! Where the bytes lie is told with the reading side, `hearth_kernels::dequantize`.

use super::fit::{self, AffineSearch, nearest};
use super::plain::store_f16;

/// The largest of the groups' factors, 0 where none is above.
fn largest(factors: &[f32]) -> f32 {
    factors
        .iter()
        .fold(0.0, |max: f32, &f| if f > max { f } else { max })
}

/// The factor that is largest without its sign, the first of several; 0 for none.
fn largest_signed(factors: &[f32]) -> f32 {
    factors.iter().fold(
        0.0,
        |max: f32, &f| if f.abs() > max.abs() { f } else { max },
    )
}

/// The codes of a group again, counted from `lowest`. A scale of zero leaves the codes of the search: the values
/// are zero whatever they are.
fn round_again(x: &[f32], codes: &mut [u8], scale: f32, min: f32, lowest: i32, highest: i32) {
    if scale == 0.0 {
        return;
    }
    for (code, &v) in codes.iter_mut().zip(x) {
        *code = (nearest((v + min) / scale).clamp(lowest, highest) - lowest) as u8;
    }
}

/// Four 2-bit codes to a byte, 128 values to 32 bytes.
fn pack_two_bits(codes: &[u8; 256], out: &mut [u8]) {
    for (codes, out) in codes.chunks_exact(128).zip(out.chunks_exact_mut(32)) {
        for (l, o) in out.iter_mut().enumerate() {
            *o = (0..4).fold(0, |byte, s| byte | (codes[32 * s + l] & 3) << (2 * s));
        }
    }
}

/// Two 4-bit codes to a byte, 64 values to 32 bytes.
fn pack_four_bits(codes: &[u8; 256], out: &mut [u8]) {
    for (codes, out) in codes.chunks_exact(64).zip(out.chunks_exact_mut(32)) {
        for (l, o) in out.iter_mut().enumerate() {
            *o = codes[l] & 0xF | codes[32 + l] << 4;
        }
    }
}

/// Bit `bit` of the codes, 256 values to 32 bytes: those of 32 values in bit 0, of the next 32 in bit 1.
fn pack_bit(codes: &[u8; 256], bit: u32, out: &mut [u8]) {
    for (l, o) in out.iter_mut().enumerate() {
        *o = (0..8).fold(0, |byte, s| byte | (codes[32 * s + l] >> bit & 1) << s);
    }
}

/// Two bits above a minimum, groups of 16 with 4-bit factors.
pub(super) fn q2_k(x: &[f32; 256], out: &mut [u8; 84]) {
    const SEARCH: AffineSearch = AffineSearch {
        levels: 3,
        first: -0.5,
        trials: 15,
        absolute: true,
    };
    let mut codes = [0; 256];
    let (mut scales, mut mins) = ([0.0; 16], [0.0; 16]);
    let (x, _) = x.as_chunks::<16>();
    for (group, codes) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let weights = x[group].map(f32::abs);
        (scales[group], mins[group]) = fit::affine(&x[group], &weights, &SEARCH, codes);
    }

    let steps = |factors: &[f32; 16], max: f32| {
        let inverse = if max > 0.0 { 15.0 / max } else { 0.0 };
        factors.map(|f| {
            if max > 0.0 {
                nearest(inverse * f) as u8
            } else {
                0
            }
        })
    };
    let (max_scale, max_min) = (largest(&scales), largest(&mins));
    let (scale_steps, min_steps) = (steps(&scales, max_scale), steps(&mins, max_min));
    let d = store_f16(out, 80, max_scale / 15.0);
    let dmin = store_f16(out, 82, max_min / 15.0);
    for (group, codes) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let byte = scale_steps[group] | min_steps[group] << 4;
        out[group] = byte;
        let (scale, min) = (d * f32::from(byte & 0xF), dmin * f32::from(byte >> 4));
        round_again(&x[group], codes, scale, min, 0, 3);
    }
    pack_two_bits(&codes, &mut out[16..80]);
}

/// Three bits around zero, groups of 16 with 6-bit scales.
pub(super) fn q3_k(x: &[f32; 256], out: &mut [u8; 110]) {
    let mut codes = [0; 256];
    let mut scales = [0.0; 16];
    let (x, _) = x.as_chunks::<16>();
    for (group, codes) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        scales[group] = fit::symmetric_by_descent(&x[group], 4, codes);
    }

    out[96..108].fill(0);
    let max = largest_signed(&scales);
    let inverse = if max != 0.0 { -32.0 / max } else { 0.0 };
    let d = store_f16(out, 108, if max != 0.0 { 1.0 / inverse } else { 0.0 });
    for (group, codes) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // Without any scale the stored steps are 0, which reads as -32, and `d` is 0.
        let step = if max != 0.0 {
            (nearest(inverse * scales[group]) as i8).clamp(-32, 31)
        } else {
            -32
        };
        let stored = (step + 32) as u8;
        out[96 + group % 8] |= (stored & 0xF) << (4 * (group / 8));
        out[104 + group % 4] |= (stored >> 4) << (2 * (group / 4));
        round_again(&x[group], codes, d * f32::from(step), 0.0, -4, 3);
    }
    pack_bit(&codes, 2, &mut out[..32]);
    pack_two_bits(&codes, &mut out[32..96]);
}

/// Four bits above a minimum, groups of 32 with 6-bit factors.
pub(super) fn q4_k(x: &[f32; 256], out: &mut [u8; 144]) {
    const SEARCH: AffineSearch = AffineSearch {
        levels: 15,
        first: -1.0,
        trials: 20,
        absolute: false,
    };
    let codes = affine_groups(x, &SEARCH, &mut out[..16]);
    pack_four_bits(&codes, &mut out[16..]);
}

/// Five bits above a minimum, groups of 32 with 6-bit factors.
pub(super) fn q5_k(x: &[f32; 256], out: &mut [u8; 176]) {
    const SEARCH: AffineSearch = AffineSearch {
        levels: 31,
        first: -0.5,
        trials: 15,
        absolute: false,
    };
    let codes = affine_groups(x, &SEARCH, &mut out[..16]);
    pack_bit(&codes, 4, &mut out[16..48]);
    pack_four_bits(&codes, &mut out[48..]);
}

/// What Q4_K and Q5_K share: the search, and the head of the block with both factors and the packed steps.
fn affine_groups(x: &[f32; 256], search: &AffineSearch, head: &mut [u8]) -> [u8; 256] {
    let mut codes = [0; 256];
    let (mut scales, mut mins) = ([0.0; 8], [0.0; 8]);
    let (x, _) = x.as_chunks::<32>();
    for (group, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let sum_of_squares = x[group].iter().fold(0.0, |sum, v| sum + v * v);
        let root_mean_square = (sum_of_squares / 32.0_f32).sqrt();
        let weights = x[group].map(|v| root_mean_square + v.abs());
        (scales[group], mins[group]) = fit::affine(&x[group], &weights, search, codes);
    }

    let steps = |factors: &[f32; 8], max: f32| {
        let inverse = if max > 0.0 { 63.0 / max } else { 0.0 };
        factors.map(|f| (nearest(inverse * f) as u8).min(63))
    };
    let (max_scale, max_min) = (largest(&scales), largest(&mins));
    let (scale_steps, min_steps) = (steps(&scales, max_scale), steps(&mins, max_min));
    let d = store_f16(head, 0, max_scale / 63.0);
    let dmin = store_f16(head, 2, max_min / 63.0);
    for group in 0..4 {
        let later = group + 4;
        head[4 + group] = scale_steps[group] | scale_steps[later] >> 4 << 6;
        head[8 + group] = min_steps[group] | min_steps[later] >> 4 << 6;
        head[12 + group] = scale_steps[later] & 0xF | min_steps[later] << 4;
    }
    for (group, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scale_steps[group]);
        let min = dmin * f32::from(min_steps[group]);
        round_again(&x[group], codes, scale, min, 0, search.levels);
    }
    codes
}

/// Six bits around zero, groups of 16 with 8-bit scales.
pub(super) fn q6_k(x: &[f32; 256], out: &mut [u8; 210]) {
    let mut codes = [0; 256];
    let mut scales = [0.0; 16];
    let (x, _) = x.as_chunks::<16>();
    for (group, codes) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        scales[group] = fit::symmetric(&x[group], 32, codes);
    }

    let max = largest_signed(&scales);
    if max.abs() < fit::NEGLIGIBLE {
        out.fill(0);
        return;
    }
    let inverse = -128.0 / max;
    let d = store_f16(out, 208, 1.0 / inverse);
    for (group, codes) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let step = nearest(inverse * scales[group]).min(127) as i8;
        out[192 + group] = step as u8;
        round_again(&x[group], codes, d * f32::from(step), 0.0, -32, 31);
    }
    for (half, codes) in codes.chunks_exact(128).enumerate() {
        for l in 0..32 {
            let of = |quarter: usize| codes[32 * quarter + l];
            out[64 * half + l] = of(0) & 0xF | of(2) << 4;
            out[64 * half + 32 + l] = of(1) & 0xF | of(3) << 4;
            out[128 + 32 * half + l] = (0..4).fold(0, |byte, s| byte | of(s) >> 4 << (2 * s));
        }
    }
}
