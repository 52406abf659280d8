//! Stored weights to f32 tiles: [`crate::dequantize`] in 16 lanes, the same values bit for bit.

use crate::DType;
use crate::dequantize::k_quants::scale_min_k4;
use crate::simd::{LANES, Simd, store_part};

/// Writes the values of the blocks in `src` to `dst`; `src.len()` is what `dst.len()` values take.
#[inline(always)]
pub(super) fn fill<S: Simd>(s: S, dtype: DType, src: &[u8], dst: &mut [f32]) {
    match dtype {
        DType::F32 => {
            for (d, x) in dst.iter_mut().zip(src.as_chunks::<4>().0) {
                *d = f32::from_le_bytes(*x);
            }
        }
        DType::F16 => plain::<S, false>(s, src, dst),
        DType::BF16 => plain::<S, true>(s, src, dst),
        DType::Q4_0 => blocks(src, dst, |block: &[u8; 18], out: &mut [[f32; LANES]; 2]| {
            let q = s.widen_u8(bytes(block, 2));
            centred(s, nibbles::<S, 0>(s, q), 8, half(block, 0), &mut out[0]);
            centred(s, nibbles::<S, 4>(s, q), 8, half(block, 0), &mut out[1]);
        }),
        DType::Q4_1 => blocks(src, dst, |block: &[u8; 20], out: &mut [[f32; LANES]; 2]| {
            let q = s.widen_u8(bytes(block, 4));
            let (d, m) = (half(block, 0), half(block, 2));
            shifted(s, nibbles::<S, 0>(s, q), d, m, &mut out[0]);
            shifted(s, nibbles::<S, 4>(s, q), d, m, &mut out[1]);
        }),
        DType::Q5_0 => blocks(src, dst, |block: &[u8; 22], out: &mut [[f32; LANES]; 2]| {
            let [low, high] = five_bits(s, bytes(block, 6), bytes(block, 2));
            centred(s, low, 16, half(block, 0), &mut out[0]);
            centred(s, high, 16, half(block, 0), &mut out[1]);
        }),
        DType::Q5_1 => blocks(src, dst, |block: &[u8; 24], out: &mut [[f32; LANES]; 2]| {
            let (d, m) = (half(block, 0), half(block, 2));
            let [low, high] = five_bits(s, bytes(block, 8), bytes(block, 4));
            shifted(s, low, d, m, &mut out[0]);
            shifted(s, high, d, m, &mut out[1]);
        }),
        DType::Q8_0 => blocks(src, dst, |block: &[u8; 34], out: &mut [[f32; LANES]; 2]| {
            for (i, out) in out.iter_mut().enumerate() {
                let q = s.widen_i8(bytes(block, 2 + i * LANES));
                centred(s, q, 0, half(block, 0), out);
            }
        }),
        DType::Q2_K => blocks(
            src,
            dst,
            |block: &[u8; 84], out: &mut [[f32; LANES]; 16]| {
                let (d, dmin) = (half(block, 80), half(block, 82));
                for (group, out) in out.iter_mut().enumerate() {
                    let scale = d * f32::from(block[group] & 15);
                    let min = dmin * f32::from(block[group] >> 4);
                    shifted(s, two_bits(s, &block[16..80], group), scale, -min, out);
                }
            },
        ),
        DType::Q3_K => blocks(
            src,
            dst,
            |block: &[u8; 110], out: &mut [[f32; LANES]; 16]| {
                let d = half(block, 108);
                let scales = &block[96..108];
                for (group, out) in out.iter_mut().enumerate() {
                    let low = scales[group % 8] >> (4 * (group / 8)) & 15;
                    let upper = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
                    let scale = d * (i32::from(low | upper << 4) - 32) as f32;
                    let third = s.shr_by(
                        s.widen_u8(bytes(block, group % 2 * LANES)),
                        group as u32 / 2,
                    );
                    let third = s.shl::<2>(s.and(third, s.splat_i32(1)));
                    centred(
                        s,
                        s.or(two_bits(s, &block[32..96], group), third),
                        4,
                        scale,
                        out,
                    );
                }
            },
        ),
        DType::Q4_K => blocks(
            src,
            dst,
            |block: &[u8; 144], out: &mut [[f32; LANES]; 16]| {
                for group in 0..8 {
                    let (scale, min) = scale_and_min(block, group);
                    for i in 0..2 {
                        let q = s.widen_u8(bytes(block, 16 + group / 2 * 32 + i * LANES));
                        let q = s.and(s.shr_by(q, 4 * (group as u32 % 2)), s.splat_i32(15));
                        shifted(s, q, scale, -min, &mut out[2 * group + i]);
                    }
                }
            },
        ),
        DType::Q5_K => blocks(
            src,
            dst,
            |block: &[u8; 176], out: &mut [[f32; LANES]; 16]| {
                for group in 0..8 {
                    let (scale, min) = scale_and_min(block, group);
                    for i in 0..2 {
                        let q = s.widen_u8(bytes(block, 48 + group / 2 * 32 + i * LANES));
                        let q = s.and(s.shr_by(q, 4 * (group as u32 % 2)), s.splat_i32(15));
                        let fifth =
                            s.shr_by(s.widen_u8(bytes(block, 16 + i * LANES)), group as u32);
                        let fifth = s.shl::<4>(s.and(fifth, s.splat_i32(1)));
                        shifted(s, s.or(q, fifth), scale, -min, &mut out[2 * group + i]);
                    }
                }
            },
        ),
        DType::Q6_K => blocks(
            src,
            dst,
            |block: &[u8; 210], out: &mut [[f32; LANES]; 16]| {
                let d = half(block, 208);
                for (group, out) in out.iter_mut().enumerate() {
                    let scale = d * f32::from(block[192 + group] as i8);
                    // A half of 128 values has four runs of 32: the low four bits of the first two and of the last two
                    // share 64 bytes, the upper two bits of all four share 32.
                    let (first, run, part) = (group / 8, group / 2 % 4, group % 2 * LANES);
                    let low = s.widen_u8(bytes(block, first * 64 + run % 2 * 32 + part));
                    let low = s.and(s.shr_by(low, 4 * (run as u32 / 2)), s.splat_i32(15));
                    let upper = s.widen_u8(bytes(block, 128 + first * 32 + part));
                    let upper = s.and(s.shr_by(upper, 2 * run as u32), s.splat_i32(3));
                    centred(s, s.or(low, s.shl::<4>(upper)), 32, scale, out);
                }
            },
        ),
    }
}

/// Values of two bytes: BF16 or F16.
#[inline(always)]
fn plain<S: Simd, const BF16: bool>(s: S, src: &[u8], dst: &mut [f32]) {
    let (dst, dst_rest) = dst.as_chunks_mut::<LANES>();
    let (src, src_rest) = src.as_chunks::<{ 2 * LANES }>();
    for (out, x) in dst.iter_mut().zip(src) {
        s.store(if BF16 { s.load_bf16(x) } else { s.load_f16(x) }, out);
    }
    if !dst_rest.is_empty() {
        let mut x = [0; 2 * LANES];
        x[..src_rest.len()].copy_from_slice(src_rest);
        let v = if BF16 {
            s.load_bf16(&x)
        } else {
            s.load_f16(&x)
        };
        store_part(s, v, dst_rest);
    }
}

/// Applies `f` to every block.
#[inline(always)]
fn blocks<const BYTES: usize, const VECTORS: usize>(
    src: &[u8],
    dst: &mut [f32],
    f: impl Fn(&[u8; BYTES], &mut [[f32; LANES]; VECTORS]),
) {
    let vectors = dst.as_chunks_mut::<LANES>().0;
    for (src, dst) in src
        .as_chunks::<BYTES>()
        .0
        .iter()
        .zip(vectors.as_chunks_mut::<VECTORS>().0)
    {
        f(src, dst);
    }
}

/// `N` bytes from `at`.
#[inline(always)]
fn bytes<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block[at..]
        .first_chunk()
        .expect("a block has its fields; this is a bug")
}

/// `(q - zero) d`.
#[inline(always)]
fn centred<S: Simd>(s: S, q: S::I, zero: i32, d: f32, out: &mut [f32; LANES]) {
    let q = s.to_f32(s.sub_i32(q, s.splat_i32(zero)));
    s.store(s.mul(q, s.splat(d)), out);
}

/// `q d + m`.
#[inline(always)]
fn shifted<S: Simd>(s: S, q: S::I, d: f32, m: f32, out: &mut [f32; LANES]) {
    s.store(s.add(s.mul(s.to_f32(q), s.splat(d)), s.splat(m)), out);
}

/// Four bits of each lane.
#[inline(always)]
fn nibbles<S: Simd, const SHIFT: u32>(s: S, q: S::I) -> S::I {
    s.and(s.shr::<SHIFT>(q), s.splat_i32(15))
}

/// The values of a block of Q5_0 or Q5_1 from its bytes and its fifth bits.
#[inline(always)]
fn five_bits<S: Simd>(s: S, low: &[u8; 16], fifth: &[u8; 4]) -> [S::I; 2] {
    let fifth = u32::from_le_bytes(*fifth);
    let bit = |at: usize| std::array::from_fn(|i| (fifth >> (at + i) & 1) as u8);
    let q = s.widen_u8(low);
    [
        s.or(nibbles::<S, 0>(s, q), s.shl::<4>(s.widen_u8(&bit(0)))),
        s.or(nibbles::<S, 4>(s, q), s.shl::<4>(s.widen_u8(&bit(16)))),
    ]
}

/// The two-bit values of a group of 16 of Q2_K or Q3_K.
#[inline(always)]
fn two_bits<S: Simd>(s: S, qs: &[u8], group: usize) -> S::I {
    let q = s.widen_u8(bytes(qs, group / 8 * 32 + group % 2 * LANES));
    s.and(s.shr_by(q, 2 * (group as u32 / 2 % 4)), s.splat_i32(3))
}

/// The scale and the minimum of a group of Q4_K or Q5_K.
#[inline(always)]
fn scale_and_min(block: &[u8], group: usize) -> (f32, f32) {
    let (scale, min) = scale_min_k4(group, bytes(block, 4));
    (
        half(block, 0) * f32::from(scale),
        half(block, 2) * f32::from(min),
    )
}

/// The f16 at `at` as f32, in instructions that any compiler inlines.
#[inline(always)]
pub(super) fn half(block: &[u8], at: usize) -> f32 {
    let h = u32::from(u16::from_le_bytes([block[at], block[at + 1]]));
    let magnitude = (h & 0x7FFF) << 13;
    let bits = match h & 0x7C00 {
        // A subnormal half is a multiple of 2^-24, which the sum with 2^-14 keeps exactly.
        0 => (f32::from_bits(magnitude + (113 << 23)) - f32::from_bits(113 << 23)).to_bits(),
        0x7C00 => magnitude + (224 << 23),
        _ => magnitude + (112 << 23),
    };
    f32::from_bits(bits | (h & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{self, Kernel};
    use crate::testing::Random;
    use crate::{Tier, dequantize};

    struct Fill<'a>(DType, &'a [u8], &'a mut [f32]);

    impl Kernel for Fill<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            fill(s, self.0, self.1, self.2);
        }
    }

    #[test]
    fn every_tier_gives_the_scalar_values() {
        let mut random = Random::new(9);
        for dtype in DType::ALL {
            for len in [0, 1, 15, 16, 17, 100, 256, 512, 1536] {
                let Some(size) = dtype.bytes_for(len) else {
                    continue;
                };
                for _ in 0..50 {
                    let src: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
                    let mut expected = vec![0.0; len];
                    dequantize(dtype, &src, &mut expected);
                    for tier in Tier::available() {
                        let mut got = vec![0.0; len];
                        simd::run(tier, Fill(dtype, &src, &mut got));
                        for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
                            let same = g.to_bits() == e.to_bits() || (g.is_nan() && e.is_nan());
                            assert!(same, "{tier} {dtype} value {i}: {g}, expected {e}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_half_is_converted_exactly() {
        for h in 0..=u16::MAX {
            let (got, expected) = (half(&h.to_le_bytes(), 0), half::f16::from_bits(h).to_f32());
            assert!(
                got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()),
                "{h:#x}"
            );
        }
    }
}
