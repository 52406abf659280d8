//! Blocks of 32 values: the scale follows from the extremes, each value is rounded by itself.
//!
//! Where the bytes lie is told with the reading side, `hearth_kernels::dequantize`.

use super::plain::store_f16;

/// The value that is largest without its sign, the first of several; 0 for none.
fn largest(x: &[f32; 32]) -> f32 {
    x.iter().fold(
        0.0,
        |max: f32, &v| if max.abs() < v.abs() { v } else { max },
    )
}

/// The smallest and the largest value.
fn range(x: &[f32; 32]) -> (f32, f32) {
    x.iter().fold((f32::MAX, -f32::MAX), |(min, max), &v| {
        (if v < min { v } else { min }, if v > max { v } else { max })
    })
}

/// `1 / d`, and 0 for a scale of 0.
fn inverse(d: f32) -> f32 {
    if d != 0.0 { 1.0 / d } else { 0.0 }
}

/// The whole part in eight bits. What no i32 holds gives 0, as processors convert it: an infinite inverse of a
/// subnormal scale leads there.
fn whole(x: f32) -> i8 {
    if (-2_147_483_648.0..2_147_483_648.0).contains(&x) {
        x as i32 as i8
    } else {
        0
    }
}

/// Two 4-bit codes to a byte, value `j + 16` above value `j`.
fn pack(codes: &[u8; 32], out: &mut [u8]) {
    for (j, o) in out.iter_mut().enumerate() {
        *o = codes[j] & 0xF | codes[j + 16] << 4;
    }
}

/// The fifth bits of all codes, that of value `j` at `j`.
fn fifth_bits(codes: &[u8; 32]) -> [u8; 4] {
    let bits = codes
        .iter()
        .enumerate()
        .map(|(j, &q)| u32::from(q >> 4 & 1) << j);
    bits.fold(0, |all, bit| all | bit).to_le_bytes()
}

/// Four bits around zero: the largest value is code 0, the scale has its opposite sign.
pub(super) fn q4_0(x: &[f32; 32], out: &mut [u8; 18]) {
    let d = largest(x) / -8.0;
    let inverse = inverse(d);
    store_f16(out, 0, d);
    pack(
        &x.map(|v| whole(v * inverse + 8.5).min(15) as u8),
        &mut out[2..],
    );
}

/// Four bits above the minimum.
pub(super) fn q4_1(x: &[f32; 32], out: &mut [u8; 20]) {
    let (min, max) = range(x);
    let d = (max - min) / 15.0;
    let inverse = inverse(d);
    store_f16(out, 0, d);
    store_f16(out, 2, min);
    pack(
        &x.map(|v| whole((v - min) * inverse + 0.5).min(15) as u8),
        &mut out[4..],
    );
}

/// Five bits around zero, as [`q4_0`].
pub(super) fn q5_0(x: &[f32; 32], out: &mut [u8; 22]) {
    let d = largest(x) / -16.0;
    let inverse = inverse(d);
    let codes = x.map(|v| whole(v * inverse + 16.5).min(31) as u8);
    store_f16(out, 0, d);
    out[2..6].copy_from_slice(&fifth_bits(&codes));
    pack(&codes, &mut out[6..]);
}

/// Five bits above the minimum.
pub(super) fn q5_1(x: &[f32; 32], out: &mut [u8; 24]) {
    let (min, max) = range(x);
    let d = (max - min) / 31.0;
    let inverse = inverse(d);
    let codes = x.map(|v| whole((v - min) * inverse + 0.5) as u8);
    store_f16(out, 0, d);
    store_f16(out, 2, min);
    out[4..8].copy_from_slice(&fifth_bits(&codes));
    pack(&codes, &mut out[8..]);
}

/// Eight bits around zero, rounded half away from it.
pub(super) fn q8_0(x: &[f32; 32], out: &mut [u8; 34]) {
    let d = largest(x).abs() / 127.0;
    let inverse = inverse(d);
    store_f16(out, 0, d);
    for (o, v) in out[2..].iter_mut().zip(x) {
        *o = whole((v * inverse).round()) as u8;
    }
}
