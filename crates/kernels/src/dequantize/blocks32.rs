//! Blocks of 32 values with one f16 scale `d`, in the `_1` types also an f16 minimum `m`.
//!
//! Values of four bits, and the low four bits of five, lie in 16 bytes: value `j` in the low half of byte `j`, value
//! `j + 16` in its high half. The fifth bits are the bits of a little-endian u32, value `j`'s at `j`.

use super::half;

/// `d`, 16 bytes: `(q - 8) d`.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half(block, 0);
    for j in 0..16 {
        let q = block[2 + j];
        out[j] = (i32::from(q & 0xF) - 8) as f32 * d;
        out[j + 16] = (i32::from(q >> 4) - 8) as f32 * d;
    }
}

/// `d`, `m`, 16 bytes: `q d + m`.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    for j in 0..16 {
        let q = block[4 + j];
        out[j] = f32::from(q & 0xF) * d + m;
        out[j + 16] = f32::from(q >> 4) * d + m;
    }
}

/// `d`, fifth bits, 16 bytes: `(q - 16) d`.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half(block, 0);
    let high = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for j in 0..16 {
        let (low, upper) = five_bits(block[6 + j], high, j);
        out[j] = (low as i32 - 16) as f32 * d;
        out[j + 16] = (upper as i32 - 16) as f32 * d;
    }
}

/// `d`, `m`, fifth bits, 16 bytes: `q d + m`.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    let high = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for j in 0..16 {
        let (low, upper) = five_bits(block[8 + j], high, j);
        out[j] = low as f32 * d + m;
        out[j + 16] = upper as f32 * d + m;
    }
}

/// `d`, 32 signed bytes: `q d`.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half(block, 0);
    for (o, &q) in out.iter_mut().zip(&block[2..]) {
        *o = f32::from(q as i8) * d;
    }
}

/// The five-bit values `j` and `j + 16` from their byte and all fifth bits.
fn five_bits(byte: u8, high: u32, j: usize) -> (u32, u32) {
    let low = u32::from(byte & 0xF) | (high >> j & 1) << 4;
    let upper = u32::from(byte >> 4) | (high >> (j + 16) & 1) << 4;
    (low, upper)
}
