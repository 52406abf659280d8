//! f32 weights to stored blocks, and back.
//!
//! [`quantize`] gives the bytes that ggml, the library behind GGUF, gives with its reference functions (without an
//! importance matrix; `quantize_row_*_ref` in `ggml-quants.c`): the sums run in the same order in f32, so that a file
//! made here equals one made there. The searches for good scales are in `fit.rs`.

mod blocks32;
mod fit;
mod k_quants;
mod plain;

use hearth_kernels::DType;
pub use hearth_kernels::dequantize;

/// Writes the values of `src` to `dst` as blocks of `dtype`, little-endian.
///
/// Every input gives some output: what is not finite, or too large for a block's f16 scale, makes its own block's
/// values meaningless, not those of others.
///
/// # Panics
///
/// Where `dst` is not exactly as long as `src.len()` values of `dtype` take ([`DType::bytes_for`]).
pub fn quantize(dtype: DType, src: &[f32], dst: &mut [u8]) {
    assert_eq!(
        Some(dst.len()),
        dtype.bytes_for(src.len()),
        "{dtype}: {} bytes do not hold {} values",
        dst.len(),
        src.len()
    );
    match dtype {
        DType::F32 => blocks(src, dst, |[x], out: &mut [u8; 4]| *out = x.to_le_bytes()),
        DType::F16 => blocks(src, dst, |[x], out| *out = plain::f16(*x)),
        DType::BF16 => blocks(src, dst, |[x], out| *out = plain::bf16(*x)),
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
fn blocks<const LEN: usize, const BYTES: usize>(
    src: &[f32],
    dst: &mut [u8],
    block: impl Fn(&[f32; LEN], &mut [u8; BYTES]),
) {
    let (src, _) = src.as_chunks::<LEN>();
    let (dst, _) = dst.as_chunks_mut::<BYTES>();
    for (s, d) in src.iter().zip(dst) {
        block(s, d);
    }
}
