//! Super-blocks of 256 values: f16 factors for the whole, small integer scales (and minima) for groups of 16 or 32.
//!
//! Values of two bits lie four to a byte, 128 values to 32 bytes: value `32 s + l` of a half in bits `2 s` of byte `l`.
//! Values of four bits (Q4_K, Q5_K) lie two to a byte, 64 values to 32 bytes.

use super::half;

/// The 6-bit scale and minimum of group `group` (of 8) of Q4_K and Q5_K from their 12 packed bytes.
///
/// Bytes 0 to 3 hold the scales of groups 0 to 3 in their low six bits and the upper two bits of the scales of groups
/// 4 to 7 above, bytes 4 to 7 the same for the minima; bytes 8 to 11 hold the low four bits of the later groups, scale
/// below minimum.
#[inline]
pub(crate) fn scale_min_k4(group: usize, packed: &[u8; 12]) -> (u8, u8) {
    if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let low = packed[group + 4];
        (
            low & 0xF | packed[group - 4] >> 6 << 4,
            low >> 4 | packed[group] >> 6 << 4,
        )
    }
}

/// 16 bytes of scale and minimum, 64 of values, `d`, `dmin`: `d s q - dmin m`, groups of 16.
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 80), half(block, 82));
    let (scales, qs) = (&block[..16], &block[16..80]);
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scales[group] & 0xF);
        let min = dmin * f32::from(scales[group] >> 4);
        let (first, shift) = two_bits(group);
        for (o, &q) in out.iter_mut().zip(&qs[first..]) {
            *o = scale * f32::from(q >> shift & 3) - min;
        }
    }
}

/// 32 bytes of third bits, 64 of values, 12 of scales, `d`: `d (s - 32) (q - 4)`, groups of 16.
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = half(block, 108);
    let (high, qs, scales) = (&block[..32], &block[32..96], &block[96..108]);
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // Four low bits in the first 8 bytes, two high bits in the last 4.
        let low = scales[group % 8] >> (4 * (group / 8)) & 0xF;
        let upper = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
        let scale = d * (i32::from(low | upper << 4) - 32) as f32;
        let (first, shift) = two_bits(group);
        let third_bit = group / 2;
        for l in 0..16 {
            let q = qs[first + l] >> shift & 3 | (high[first % 32 + l] >> third_bit & 1) << 2;
            out[l] = scale * (i32::from(q) - 4) as f32;
        }
    }
}

/// `d`, `dmin`, 12 bytes of scales and minima, 128 of values: `d s q - dmin m`, groups of 32.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let packed = packed_scales(block);
    for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min_k4(group, packed);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        let shift = 4 * (group % 2);
        for (o, &q) in out.iter_mut().zip(&block[16 + 32 * (group / 2)..]) {
            *o = scale * f32::from(q >> shift & 0xF) - min;
        }
    }
}

/// `d`, `dmin`, 12 bytes of scales and minima, 32 of fifth bits, 128 of values: `d s q - dmin m`, groups of 32.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let packed = packed_scales(block);
    let high = &block[16..48];
    for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min_k4(group, packed);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        let low = &block[48 + 32 * (group / 2)..];
        let shift = 4 * (group % 2);
        for l in 0..32 {
            let q = low[l] >> shift & 0xF | (high[l] >> group & 1) << 4;
            out[l] = scale * f32::from(q) - min;
        }
    }
}

/// 128 bytes of low four bits, 64 of high two bits, 16 signed scales, `d`: `d s (q - 32)`, groups of 16.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = half(block, 208);
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scales[group] as i8);
        // A half of 128 values takes 64 bytes of low bits: values 0 to 63 of it in the low halves of the bytes.
        let (in_half, first) = (group / 2 % 4, 16 * (group % 2));
        let low = &low[64 * (group / 8) + 32 * (in_half % 2) + first..];
        let high = &high[32 * (group / 8) + first..];
        for l in 0..16 {
            let q = low[l] >> (4 * (in_half / 2)) & 0xF | (high[l] >> (2 * in_half) & 3) << 4;
            out[l] = scale * (i32::from(q) - 32) as f32;
        }
    }
}

/// Where the two-bit values of a group of 16 lie: their first byte and their shift.
fn two_bits(group: usize) -> (usize, usize) {
    (32 * (group / 8) + 16 * (group % 2), 2 * (group / 2 % 4))
}

/// The scales of Q4_K and Q5_K, behind the two factors.
fn packed_scales(block: &[u8]) -> &[u8; 12] {
    block[4..]
        .first_chunk()
        .expect("a super-block has more than 16 bytes; this is a bug")
}
