//! The 16 lanes as a pair of AVX2 registers.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::{Kernel, LANES, Lanes, OnLanes, Simd};

/// AVX2, FMA and F16C; `D` says how bytes are multiplied.
#[derive(Clone, Copy)]
pub(super) struct Avx2<D: Dots>(PhantomData<D>);

/// The lanes from this one alone, one register: 0 or 8. A number, not a type, so that both halves run the same code.
#[derive(Clone, Copy)]
struct Half<D: Dots>(usize, PhantomData<D>);

/// Adds to each lane of `acc` the products of its four bytes, unsigned in `w` and signed in `a`.
pub(super) trait Dots: Copy + Send + Sync + 'static {
    /// As [`Lanes::CENTRED`].
    const CENTRED: bool;
    /// As [`Lanes::dots`].
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn dots<const N: usize>(
        acc: __m256i,
        w: [__m256i; N],
        a: [__m256i; N],
        max: i32,
    ) -> __m256i;
    /// `w` is at most 127.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn dot_u7(acc: __m256i, w: __m256i, a: __m256i) -> __m256i;
    /// `w` is any byte, `a` not -128.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn dot_u8(acc: __m256i, w: __m256i, a: __m256i) -> __m256i;
}

/// By way of 16 bits.
#[derive(Clone, Copy)]
pub(super) struct Pairs;

/// With AVX-VNNI.
#[derive(Clone, Copy)]
pub(super) struct Vnni;

/// Runs a kernel with AVX2, FMA and F16C switched on.
///
/// # Safety
/// The processor has them.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2::<Pairs>(PhantomData))
}

/// Runs a kernel with AVX2, FMA, F16C and AVX-VNNI switched on.
///
/// # Safety
/// The processor has them.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(super) unsafe fn run_vnni<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2::<Vnni>(PhantomData))
}

impl Dots for Pairs {
    const CENTRED: bool = true;

    #[inline(always)]
    unsafe fn dots<const N: usize>(
        mut acc: __m256i,
        w: [__m256i; N],
        a: [__m256i; N],
        max: i32,
    ) -> __m256i {
        // SAFETY: by this function's contract.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            if max > 127 {
                // Signed weights: their sign goes to the activations. Two products of at most 128 * 127 fit an i16.
                for (w, a) in w.into_iter().zip(a) {
                    let w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
                    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, ones));
                }
                return acc;
            }
            // As many products are added in 16 bits as surely fit.
            let room = (i16::MAX as i32 / (2 * 127 * max)) as usize;
            let mut first = 0;
            while first < N {
                let mut pairs = _mm256_maddubs_epi16(w[first], a[first]);
                for i in first + 1..N.min(first + room) {
                    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w[i], a[i]));
                }
                acc = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, ones));
                first += room;
            }
            acc
        }
    }

    #[inline(always)]
    unsafe fn dot_u7(acc: __m256i, w: __m256i, a: __m256i) -> __m256i {
        // SAFETY: by this function's contract.
        unsafe {
            // Two products of at most 127 * 128 fit an i16.
            let pairs = _mm256_maddubs_epi16(w, a);
            _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    unsafe fn dot_u8(acc: __m256i, w: __m256i, a: __m256i) -> __m256i {
        // SAFETY: by this function's contract.
        unsafe {
            // Bytes of even and of odd index as i16; the products are exact in i32.
            let even = _mm256_madd_epi16(
                _mm256_and_si256(w, _mm256_set1_epi16(0xFF)),
                _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a)),
            );
            let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(w), _mm256_srai_epi16::<8>(a));
            _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
        }
    }
}

impl Dots for Vnni {
    const CENTRED: bool = false;

    #[inline(always)]
    unsafe fn dots<const N: usize>(
        mut acc: __m256i,
        w: [__m256i; N],
        a: [__m256i; N],
        _max: i32,
    ) -> __m256i {
        for (w, a) in w.into_iter().zip(a) {
            // SAFETY: by this function's contract.
            acc = unsafe { _mm256_dpbusd_avx_epi32(acc, w, a) };
        }
        acc
    }

    #[inline(always)]
    unsafe fn dot_u7(acc: __m256i, w: __m256i, a: __m256i) -> __m256i {
        // SAFETY: by this function's contract.
        unsafe { _mm256_dpbusd_avx_epi32(acc, w, a) }
    }

    #[inline(always)]
    unsafe fn dot_u8(acc: __m256i, w: __m256i, a: __m256i) -> __m256i {
        // SAFETY: by this function's contract.
        unsafe { _mm256_dpbusd_avx_epi32(acc, w, a) }
    }
}

/// The sum of 8 lanes, halves onto each other.
///
/// # Safety
/// The processor has AVX.
#[inline(always)]
pub(super) unsafe fn sum(v: __m256) -> f32 {
    // SAFETY: by this function's contract.
    unsafe {
        let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
        _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
    }
}

/// 8 upper halves of singles.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn bf16(halves: __m128i) -> __m256 {
    // SAFETY: by this function's contract.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves))) }
}

/// Methods that apply the same intrinsics to both registers.
macro_rules! pairwise {
    ($(fn $name:ident$(<const $n:ident: u32>)?($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {
        $(
            #[inline(always)]
            fn $name$(<const $n: u32>)?(self, $($arg: [$type; 2]),*) -> [$out; 2] {
                // SAFETY: `self` exists only where `run` was entered, so the processor has the instructions.
                unsafe {
                    [
                        { $(let $arg = $arg[0];)* $body },
                        { $(let $arg = $arg[1];)* $body },
                    ]
                }
            }
        )*
    };
}

/// Methods that are one expression of intrinsics.
macro_rules! methods {
    ($(fn $name:ident$(<const $n:ident: u32>)?($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {
        $(
            #[inline(always)]
            fn $name$(<const $n: u32>)?(self, $($arg: $type),*) -> $out {
                // SAFETY: `self` exists only where `run` was entered, so the processor has the instructions; the
                // offsets lie within the arrays, and loads and stores need no alignment.
                unsafe { $body }
            }
        )*
    };
}

/// What [`Lanes`] does in registers, by `pairwise` for both or by `methods` for one.
macro_rules! in_registers {
    ($by:ident) => {
        $by! {
            fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
            fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
            fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
            fn fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
            fn to_f32(v: __m256i) -> __m256 = _mm256_cvtepi32_ps(v);
            fn add_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
            fn sub_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
            fn and(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
            fn or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
            fn shl<const N: u32>(a: __m256i) -> __m256i = _mm256_sll_epi32(a, _mm_cvtsi32_si128(N as i32));
            fn sar<const N: u32>(a: __m256i) -> __m256i = _mm256_sra_epi32(a, _mm_cvtsi32_si128(N as i32));
            fn dot_u7(acc: __m256i, w: __m256i, a: __m256i) -> __m256i = D::dot_u7(acc, w, a);
            fn dot_i16(acc: __m256i, a: __m256i, b: __m256i) -> __m256i =
                _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
            fn dot_u8(acc: __m256i, w: __m256i, a: __m256i) -> __m256i = D::dot_u8(acc, w, a);
        }
    };
}

impl<D: Dots> Lanes for Avx2<D> {
    type F = [__m256; 2];
    type I = [__m256i; 2];

    const CENTRED: bool = D::CENTRED;

    methods! {
        fn prefetch(line: *const [u8; 64]) -> () = _mm_prefetch::<_MM_HINT_T0>(line.cast());
        fn prefetch_later(line: *const [u8; 64]) -> () = _mm_prefetch::<_MM_HINT_T1>(line.cast());

        fn splat(x: f32) -> [__m256; 2] = [_mm256_set1_ps(x); 2];
        fn load(x: &[f32; LANES]) -> [__m256; 2] =
            [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))];
        fn store(v: [__m256; 2], out: &mut [f32; LANES]) -> () = {
            _mm256_storeu_ps(out.as_mut_ptr(), v[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), v[1]);
        };
        fn load_f16(x: &[u8; 32]) -> [__m256; 2] = [
            _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().add(16).cast())),
        ];
        fn splat_i32(x: i32) -> [__m256i; 2] = [_mm256_set1_epi32(x); 2];
        fn load_bytes(x: &[u8; 64]) -> [__m256i; 2] = [
            _mm256_loadu_si256(x.as_ptr().cast()),
            _mm256_loadu_si256(x.as_ptr().add(32).cast()),
        ];
        fn shr_by(a: [__m256i; 2], n: u32) -> [__m256i; 2] =
            [_mm256_srl_epi32(a[0], _mm_cvtsi32_si128(n as i32)), _mm256_srl_epi32(a[1], _mm_cvtsi32_si128(n as i32))];
    }

    in_registers!(pairwise);

    #[inline(always)]
    fn dots<const N: usize>(
        self,
        acc: [__m256i; 2],
        w: [[__m256i; 2]; N],
        a: [i32; N],
        max: i32,
    ) -> [__m256i; 2] {
        let half = Half::<D>(0, PhantomData);
        [
            half.dots(acc[0], column(&w, 0), a, max),
            half.dots(acc[1], column(&w, 1), a, max),
        ]
    }
}

/// One register of each pair.
#[inline(always)]
fn column<const N: usize>(pairs: &[[__m256i; 2]; N], at: usize) -> [__m256i; N] {
    let mut column = [pairs[0][at]; N];
    for (out, pair) in column.iter_mut().zip(pairs) {
        *out = pair[at];
    }
    column
}

impl<D: Dots> Lanes for Half<D> {
    type F = __m256;
    type I = __m256i;

    const CENTRED: bool = D::CENTRED;

    #[inline(always)]
    fn prefetch(self, line: *const [u8; 64]) {
        if self.0 == 0 {
            // SAFETY: the processor has SSE; an address is never read.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
        }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> __m256 {
        // SAFETY: `self` exists only where `run` was entered, so the processor has the instructions; 8 values from 0 or
        // 8 lie within the array, and loads need no alignment.
        unsafe { _mm256_loadu_ps(x.as_ptr().add(self.0)) }
    }
    #[inline(always)]
    fn store(self, v: __m256, out: &mut [f32; LANES]) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(self.0), v) }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 32]) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().add(2 * self.0).cast())) }
    }
    #[inline(always)]
    fn load_bytes(self, x: &[u8; 64]) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_loadu_si256(x.as_ptr().add(4 * self.0).cast()) }
    }

    methods! {
        fn splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        fn splat_i32(x: i32) -> __m256i = _mm256_set1_epi32(x);
        fn shr_by(a: __m256i, n: u32) -> __m256i = _mm256_srl_epi32(a, _mm_cvtsi32_si128(n as i32));
    }

    in_registers!(methods);

    #[inline(always)]
    fn dots<const N: usize>(self, acc: __m256i, w: [__m256i; N], a: [i32; N], max: i32) -> __m256i {
        let mut splats = [self.splat_i32(0); N];
        for (splat, a) in splats.iter_mut().zip(a) {
            *splat = self.splat_i32(a);
        }
        // SAFETY: `self` exists only where `run` was entered, so the processor has the instructions.
        unsafe { D::dots(acc, w, splats, max) }
    }
}

impl<D: Dots> Simd for Avx2<D> {
    const WIDE: bool = false;
    const HELD: bool = true;
    const HALVES: bool = true;

    #[inline(always)]
    fn in_halves(self, code: &mut impl OnLanes) {
        for first in [0, 8] {
            code.run(Half::<D>(first, PhantomData));
        }
    }

    methods! {
        fn store_f16(v: [__m256; 2], out: &mut [u8; 32]) -> () = {
            let halves = [
                _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v[0]),
                _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v[1]),
            ];
            _mm_storeu_si128(out.as_mut_ptr().cast(), halves[0]);
            _mm_storeu_si128(out.as_mut_ptr().add(16).cast(), halves[1]);
        };
        fn load_bf16(x: &[u8; 32]) -> [__m256; 2] = [
            bf16(_mm_loadu_si128(x.as_ptr().cast())),
            bf16(_mm_loadu_si128(x.as_ptr().add(16).cast())),
        ];
        fn sum(v: [__m256; 2]) -> f32 = sum(_mm256_add_ps(v[0], v[1]));
        fn max_lane(v: [__m256; 2]) -> f32 = {
            let v = _mm256_max_ps(v[0], v[1]);
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        };
        fn store_bytes(v: [__m256i; 2], out: &mut [u8; 64]) -> () = {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), v[0]);
            _mm256_storeu_si256(out.as_mut_ptr().add(32).cast(), v[1]);
        };
        fn widen_u8(x: &[u8; LANES]) -> [__m256i; 2] = {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            [_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(x, x))]
        };
        fn widen_i8(x: &[u8; LANES]) -> [__m256i; 2] = {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            [_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(x, x))]
        };
        fn narrow_i8(v: [__m256i; 2], out: &mut [i8; LANES]) -> () = {
            let mut lanes = [0i32; LANES];
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), v[0]);
            _mm256_storeu_si256(lanes.as_mut_ptr().add(8).cast(), v[1]);
            for (out, lane) in out.iter_mut().zip(&lanes) {
                *out = *lane as i8;
            }
        };
        fn narrow_i16(v: [__m256i; 2], out: &mut [u8; 2 * LANES]) -> () = {
            // Packed within each half of a register: the middle two quarters change places.
            let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(v[0], v[1]));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), halves);
        };
    }

    pairwise! {
        fn div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fn select_negative(x: __m256, a: __m256, b: __m256) -> __m256 = _mm256_blendv_ps(b, a, x);
        fn to_bits(v: __m256) -> __m256i = _mm256_castps_si256(v);
        fn of_bits(v: __m256i) -> __m256 = _mm256_castsi256_ps(v);
        fn to_i32(v: __m256) -> __m256i = _mm256_cvtps_epi32(v);
        fn shr<const N: u32>(a: __m256i) -> __m256i = _mm256_srl_epi32(a, _mm_cvtsi32_si128(N as i32));
    }
}
