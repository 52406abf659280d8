//! The 16 lanes as one register of AVX-512.

use std::arch::x86_64::*;

use super::{Kernel, LANES, Lanes, Simd};

/// AVX-512 F, BW, DQ, VL and VNNI, with AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// Runs a kernel with AVX-512 switched on.
///
/// # Safety
/// The processor has all parts of it that [`Avx512`] names.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

/// Methods that are one expression of intrinsics on values.
macro_rules! methods {
    ($(fn $name:ident$(<const $n:ident: u32>)?($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {
        $(
            #[inline(always)]
            fn $name$(<const $n: u32>)?(self, $($arg: $type),*) -> $out {
                // SAFETY: `self` exists only where `run` was entered, so the processor has the
                // instructions; references are as long as their arrays, and loads and stores need no alignment.
                unsafe { $body }
            }
        )*
    };
}

impl Lanes for Avx512 {
    type F = __m512;
    type I = __m512i;

    const FOURS: bool = true;

    methods! {
        fn prefetch(line: *const [u8; 64]) -> () = _mm_prefetch::<_MM_HINT_T0>(line.cast());
        fn prefetch_later(line: *const [u8; 64]) -> () = _mm_prefetch::<_MM_HINT_T1>(line.cast());
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn load(x: &[f32; LANES]) -> __m512 = _mm512_loadu_ps(x.as_ptr());
        fn store(v: __m512, out: &mut [f32; LANES]) -> () = _mm512_storeu_ps(out.as_mut_ptr(), v);
        fn load_f16(x: &[u8; 32]) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast()));
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn to_f32(v: __m512i) -> __m512 = _mm512_cvtepi32_ps(v);
        fn splat_i32(x: i32) -> __m512i = _mm512_set1_epi32(x);
        fn load_bytes(x: &[u8; 64]) -> __m512i = _mm512_loadu_si512(x.as_ptr().cast());
        fn add_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        fn sub_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        fn and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        fn or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        fn shl<const N: u32>(a: __m512i) -> __m512i = _mm512_slli_epi32::<N>(a);
        fn shr_by(a: __m512i, n: u32) -> __m512i = _mm512_srl_epi32(a, _mm_cvtsi32_si128(n as i32));
        fn sar<const N: u32>(a: __m512i) -> __m512i = _mm512_srai_epi32::<N>(a);
        fn dot_u7(acc: __m512i, w: __m512i, a: __m512i) -> __m512i = _mm512_dpbusd_epi32(acc, w, a);
        fn dot_i16(acc: __m512i, a: __m512i, b: __m512i) -> __m512i = _mm512_dpwssd_epi32(acc, a, b);
        fn dot_u8(acc: __m512i, w: __m512i, a: __m512i) -> __m512i = _mm512_dpbusd_epi32(acc, w, a);
    }
}

impl Simd for Avx512 {
    const WIDE: bool = true;
    const HELD: bool = true;

    methods! {
        fn store_f16(v: __m512, out: &mut [u8; 32]) -> () =
            _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
        fn load_bf16(x: &[u8; 32]) -> __m512 = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast()))));
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn sum(v: __m512) -> f32 = {
            let v = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            super::avx2::sum(v)
        };
        fn max_lane(v: __m512) -> f32 = _mm512_reduce_max_ps(v);
        fn select_negative(x: __m512, a: __m512, b: __m512) -> __m512 =
            _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(x)), b, a);
        fn to_bits(v: __m512) -> __m512i = _mm512_castps_si512(v);
        fn of_bits(v: __m512i) -> __m512 = _mm512_castsi512_ps(v);
        fn to_i32(v: __m512) -> __m512i = _mm512_cvtps_epi32(v);
        fn store_bytes(v: __m512i, out: &mut [u8; 64]) -> () =
            _mm512_storeu_si512(out.as_mut_ptr().cast(), v);
        fn widen_u8(x: &[u8; LANES]) -> __m512i = _mm512_cvtepu8_epi32(_mm_loadu_si128(x.as_ptr().cast()));
        fn widen_i8(x: &[u8; LANES]) -> __m512i = _mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast()));
        fn narrow_i8(v: __m512i, out: &mut [i8; LANES]) -> () =
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(v));
        fn narrow_i16(v: __m512i, out: &mut [u8; 2 * LANES]) -> () =
            _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(v));
        fn shr<const N: u32>(a: __m512i) -> __m512i = _mm512_srli_epi32::<N>(a);
    }
}
