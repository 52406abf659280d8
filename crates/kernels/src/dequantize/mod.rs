//! Stored weights to f32, one scalar function per block type.
//!
//! These functions define what a block means: they give the very values that ggml, the library behind GGUF, gives (its
//! `dequantize_row_*` in `ggml-quants.c`), and the SIMD kernels are tested against them. Products of an f16 scale with
//! the small integers of a block are exact in f32, so that a fused multiply-add would change nothing.

mod blocks32;
pub(crate) mod k_quants;
mod plain;

use crate::DType;

/// Writes the values of the blocks in `src` to `dst`.
///
/// `src` is little-endian, as in files. Any bytes are values: scales that are infinite or not a number give values
/// that are.
///
/// # Panics
///
/// Where `src` is not exactly as long as `dst.len()` values of `dtype` take ([`DType::bytes_for`]).
pub fn dequantize(dtype: DType, src: &[u8], dst: &mut [f32]) {
    assert_eq!(
        Some(src.len()),
        dtype.bytes_for(dst.len()),
        "{dtype}: {} bytes do not hold {} values",
        src.len(),
        dst.len()
    );
    match dtype {
        DType::F32 => plain::f32(src, dst),
        DType::F16 => plain::f16(src, dst),
        DType::BF16 => plain::bf16(src, dst),
        DType::Q4_0 => blocks(src, dst, blocks32::q4_0),
        DType::Q4_1 => blocks(src, dst, blocks32::q4_1),
        DType::Q5_0 => blocks(src, dst, blocks32::q5_0),
        DType::Q5_1 => blocks(src, dst, blocks32::q5_1),
        DType::Q8_0 => blocks(src, dst, blocks32::q8_0),
        DType::Q2_K => blocks(src, dst, k_quants::q2_k),
        DType::Q3_K => blocks(src, dst, k_quants::q3_k),
        DType::Q4_K => blocks(src, dst, k_quants::q4_k),
        DType::Q5_K => blocks(src, dst, k_quants::q5_k),
        DType::Q6_K => blocks(src, dst, k_quants::q6_k),
    }
}

/// Applies the function of one block to all blocks.
fn blocks<const BYTES: usize, const LEN: usize>(
    src: &[u8],
    dst: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (src, _) = src.as_chunks::<BYTES>();
    let (dst, _) = dst.as_chunks_mut::<LEN>();
    for (s, d) in src.iter().zip(dst) {
        block(s, d);
    }
}

/// The f16 at `at` as f32.
fn half(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_block_of_each_type_worked_by_hand() {
        let f16 = |x: f32| half::f16::from_f32(x).to_le_bytes();

        let mut q4_0 = vec![0x88; 18];
        q4_0[..2].copy_from_slice(&f16(0.5));
        q4_0[2] = 0xF0; // value 0 is 0 - 8, value 16 is 15 - 8
        let mut out = [9.0; 32];
        dequantize(DType::Q4_0, &q4_0, &mut out);
        assert_eq!((out[0], out[1], out[16]), (-4.0, 0.0, 3.5));

        let mut q5_1 = vec![0; 24];
        q5_1[..2].copy_from_slice(&f16(2.0));
        q5_1[2..4].copy_from_slice(&f16(-3.0));
        q5_1[4] = 0b10; // the fifth bit of value 1
        q5_1[7] = 0x80; // the fifth bit of value 31
        q5_1[8 + 15] = 0x10;
        dequantize(DType::Q5_1, &q5_1, &mut out);
        assert_eq!((out[0], out[1], out[31]), (-3.0, 29.0, 31.0));

        let mut q8_0 = vec![0x80; 34];
        q8_0[..2].copy_from_slice(&f16(0.25));
        dequantize(DType::Q8_0, &q8_0, &mut out);
        assert_eq!(out, [-32.0; 32]);

        // Group 4 and later keep two bits of their scales in the bytes of groups 0 to 3.
        let mut q4_k = vec![0; 144];
        q4_k[..2].copy_from_slice(&f16(1.0));
        q4_k[2..4].copy_from_slice(&f16(1.0));
        q4_k[4] = 0b1000_0000; // group 4: high bits of the scale are 10
        q4_k[4 + 8] = 0x53; // group 4: low bits of the scale 3, of the minimum 5
        q4_k[16 + 64] = 0x02; // value 128 is 2
        let mut out = [9.0; 256];
        dequantize(DType::Q4_K, &q4_k, &mut out);
        assert_eq!(
            (out[127], out[128], out[129]),
            (0.0, 2.0 * 35.0 - 5.0, -5.0)
        );

        let mut q6_k = vec![0; 210];
        q6_k[208..].copy_from_slice(&f16(0.5));
        q6_k[192..208].fill(0xFE); // scales of -2
        dequantize(DType::Q6_K, &q6_k, &mut out);
        assert_eq!(out, [32.0; 256]);
    }

    #[test]
    #[should_panic(expected = "Q4_0: 17 bytes do not hold 32 values")]
    fn short_input_is_refused() {
        dequantize(DType::Q4_0, &[0; 17], &mut [0.0; 32]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_values_and_blocks_are_independent(
            kind in 0..DType::ALL.len(),
            bytes in proptest::collection::vec(any::<u8>(), 3 * 210),
        ) {
            let dtype = DType::ALL[kind];
            let (len, size) = (dtype.block_len(), dtype.block_bytes());
            let mut whole = vec![0.0; 3 * len];
            dequantize(dtype, &bytes[..3 * size], &mut whole);
            for block in 0..3 {
                let mut alone = vec![0.0; len];
                dequantize(dtype, &bytes[block * size..][..size], &mut alone);
                let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&alone), bits(&whole[block * len..][..len]));
            }
        }
    }
}
