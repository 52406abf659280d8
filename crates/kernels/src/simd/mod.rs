//! Kernels are written once over 16 lanes and compiled for every tier.
//!
//! A kernel is generic over a [`Simd`], whose vectors always have 16 lanes: one register of AVX-512, a pair of AVX2, four
//! of NEON, an array in portable code. So all tiers add in the same order; those with instructions agree bit for bit,
//! portable code differs in that it rounds a product before it is added. [`run`] enters a kernel with the instructions of a tier
//! switched on; all that a kernel calls is `inline(always)`, so that it is compiled with them too. A closure that is
//! called in two places, or passed to a function that is not inlined (`array::from_fn`, `array::map`), is compiled
//! without them, and slow: kernels use functions and loops.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use crate::Tier;

/// The number of lanes.
pub(crate) const LANES: usize = 16;

/// Vectors of 16 lanes, or of some of them, where each lane is computed by itself. A value of the type is proof that the
/// processor has the instructions.
///
/// `F` is 16 f32. `I` is 64 bytes, seen as 16 i32 where nothing else is said. Of arguments and results in memory, which are
/// always of 16 lanes, lanes that the type does not have are neither read nor written.
pub(crate) trait Lanes: Copy + Send + Sync + 'static {
    type F: Copy;
    type I: Copy;

    /// Whether [`Lanes::dots`] takes 128 from weights that may be above 127.
    const CENTRED: bool = false;
    /// Whether loops of a few long rounds are worth being spelled out.
    const UNROLLED: bool = true;
    /// Whether there are registers for the sums of four tokens beside those for a block's weights.
    const FOURS: bool = false;

    /// Asks for a line that is needed soon, wherever the pointer points: it is never read.
    fn prefetch(self, line: *const [u8; 64]);
    /// As [`Lanes::prefetch`], for a line that is needed later: into the second-level cache, where the processor can be told so.
    #[inline(always)]
    fn prefetch_later(self, line: *const [u8; 64]) {
        self.prefetch(line);
    }

    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32; LANES]) -> Self::F;
    fn store(self, v: Self::F, out: &mut [f32; LANES]);
    /// 16 little-endian halves.
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::F;

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`; rounded once but in portable code.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// i32 to f32, rounded to nearest.
    fn to_f32(self, v: Self::I) -> Self::F;

    fn splat_i32(self, x: i32) -> Self::I;
    /// 64 bytes as they are.
    fn load_bytes(self, x: &[u8; 64]) -> Self::I;
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    fn sub_i32(self, a: Self::I, b: Self::I) -> Self::I;
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    fn shl<const N: u32>(self, a: Self::I) -> Self::I;
    /// Shift right by a number known at run time only; zeros come in from above.
    fn shr_by(self, a: Self::I, n: u32) -> Self::I;
    /// The sign comes in from above.
    fn sar<const N: u32>(self, a: Self::I) -> Self::I;

    /// Adds to each i32 lane of `acc` the products of its four bytes: unsigned in `w`, at most 127, signed in `a`.
    fn dot_u7(self, acc: Self::I, w: Self::I, a: Self::I) -> Self::I;
    /// Adds to each i32 lane of `acc` the products of its two signed 16-bit halves.
    fn dot_i16(self, acc: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// As [`Lanes::dot_u7`], but `w` may be any byte and `a` must not be -128.
    fn dot_u8(self, acc: Self::I, w: Self::I, a: Self::I) -> Self::I;
    /// As [`Lanes::dot_u8`] for `N` vectors of bytes that are at most `max`, each with four bytes for all lanes.
    #[inline(always)]
    fn dots<const N: usize>(
        self,
        mut acc: Self::I,
        w: [Self::I; N],
        a: [i32; N],
        max: i32,
    ) -> Self::I {
        for (w, a) in w.into_iter().zip(a) {
            let a = self.splat_i32(a);
            acc = match max {
                ..=127 => self.dot_u7(acc, w, a),
                _ => self.dot_u8(acc, w, a),
            };
        }
        acc
    }
}

/// Vectors of 16 lanes.
pub(crate) trait Simd: Lanes {
    /// Whether there are registers for large tiles: 32 of 16 lanes, as against 16 of 8 lanes.
    const WIDE: bool;
    /// Whether there are registers for tiles of two.
    const PAIRS: bool = true;
    /// Whether there are registers for a block's weights of the lanes that code runs for at once.
    const HELD: bool = false;
    /// Whether [`Simd::in_halves`] runs code for 8 lanes at once.
    const HALVES: bool = false;

    /// Runs code for all lanes: where [`Simd::HALVES`], for 8 and then for the other 8.
    #[inline(always)]
    fn in_halves(self, code: &mut impl OnLanes) {
        code.run(self);
    }

    /// 16 little-endian halves, rounded to nearest even.
    fn store_f16(self, v: Self::F, out: &mut [u8; 2 * LANES]);
    /// 16 little-endian upper halves of singles.
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::F;

    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a > b ? a : b`, so `b` where one is not a number.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? a : b`, so `b` where one is not a number.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// The lanes' sum in a fixed order: halves onto each other, from 16 lanes to 1.
    fn sum(self, v: Self::F) -> f32;
    /// The largest lane; lanes that are not a number may be lost.
    fn max_lane(self, v: Self::F) -> f32;
    /// Lanes of `a` where `x` is negative (its sign bit is set), else of `b`.
    fn select_negative(self, x: Self::F, a: Self::F, b: Self::F) -> Self::F;

    fn to_bits(self, v: Self::F) -> Self::I;
    fn of_bits(self, v: Self::I) -> Self::F;
    /// f32 to i32, rounded to nearest even; for numbers in i32's range.
    fn to_i32(self, v: Self::F) -> Self::I;

    fn store_bytes(self, v: Self::I, out: &mut [u8; 64]);
    /// 16 bytes to lanes, zero-extended.
    fn widen_u8(self, x: &[u8; LANES]) -> Self::I;
    /// 16 bytes to lanes, sign-extended.
    fn widen_i8(self, x: &[u8; LANES]) -> Self::I;
    /// The lanes' low bytes.
    fn narrow_i8(self, v: Self::I, out: &mut [i8; LANES]);
    /// The lanes, of which each fits 16 bits, as halves in the order of the machine's bytes.
    fn narrow_i16(self, v: Self::I, out: &mut [u8; 2 * LANES]);
    /// Zeros come in from above.
    fn shr<const N: u32>(self, a: Self::I) -> Self::I;
}

/// Code that does the same to each lane.
pub(crate) trait OnLanes {
    /// The code; `inline(always)`, as all that it calls.
    fn run<S: Lanes>(&mut self, lanes: S);
}

/// Code that can be compiled for every tier.
pub(crate) trait Kernel {
    type Output;
    /// Whether it multiplies bytes. What does not is compiled once for the tiers that differ in that alone.
    const MULTIPLIES_BYTES: bool = false;
    /// The code; `inline(always)`, as all that it calls.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs a kernel with the instructions of `tier`, or as portable code where the machine does not have them.
#[inline]
pub(crate) fn run<K: Kernel>(tier: Tier, kernel: K) -> K::Output {
    if !tier.is_available() {
        return scalar::run(kernel);
    }
    #[cfg(target_arch = "x86_64")]
    {
        match tier {
            // SAFETY: the tier is available, so the processor has its instructions.
            Tier::Avx512 => unsafe { avx512::run(kernel) },
            // SAFETY: as above.
            Tier::AvxVnni if K::MULTIPLIES_BYTES => unsafe { avx2::run_vnni(kernel) },
            // SAFETY: as above; AVX-VNNI comes on top of AVX2.
            Tier::AvxVnni | Tier::Avx2 => unsafe { avx2::run(kernel) },
            Tier::Scalar | Tier::Neon | Tier::NeonI8mm => scalar::run(kernel),
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        match tier {
            // SAFETY: the tier is available, so the processor has its instructions.
            Tier::NeonI8mm if K::MULTIPLIES_BYTES => unsafe { neon::run_i8mm(kernel) },
            // SAFETY: as above; i8mm comes on top of NEON.
            Tier::NeonI8mm | Tier::Neon => unsafe { neon::run(kernel) },
            Tier::Scalar | Tier::Avx2 | Tier::AvxVnni | Tier::Avx512 => scalar::run(kernel),
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    scalar::run(kernel)
}

/// The first 16 values of `x` and, where there are fewer, `fill`.
#[inline(always)]
pub(crate) fn load_part<S: Simd>(s: S, x: &[f32], fill: f32) -> S::F {
    if let Ok(x) = <&[f32; LANES]>::try_from(x) {
        return s.load(x);
    }
    let mut lanes = [fill; LANES];
    lanes[..x.len()].copy_from_slice(x);
    s.load(&lanes)
}

/// Writes the first lanes to all of `out`, which has at most 16.
#[inline(always)]
pub(crate) fn store_part<S: Simd>(s: S, v: S::F, out: &mut [f32]) {
    if let Ok(out) = <&mut [f32; LANES]>::try_from(&mut *out) {
        return s.store(v, out);
    }
    let mut lanes = [0.0; LANES];
    s.store(v, &mut lanes);
    out.copy_from_slice(&lanes[..out.len()]);
}

#[cfg(test)]
mod tests;
