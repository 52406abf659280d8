//! The 16 lanes as four registers of NEON.
//!
//! Products of bytes are the dot products of Armv8.2 (`sdot`) or, signed with unsigned, of the 8-bit matrix extension
//! (`usdot`). Their intrinsics, and those of half precision, are not in stable Rust, so these few instructions are
//! written out.

use std::arch::aarch64::*;
use std::arch::asm;
use std::marker::PhantomData;

use super::{Kernel, LANES, Lanes, Simd};

/// NEON with dot products; `D` says which.
#[derive(Clone, Copy)]
pub(super) struct Neon<D: Dots>(PhantomData<D>);

/// How signed bytes are multiplied with unsigned ones.
pub(super) trait Dots: Copy + Send + Sync + 'static {
    /// Adds to each lane of `acc` the products of its four bytes.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn dot_u8(acc: int32x4_t, w: int32x4_t, a: int32x4_t) -> int32x4_t;
}

/// With `sdot` alone.
#[derive(Clone, Copy)]
pub(super) struct Signed;

/// With `usdot`.
#[derive(Clone, Copy)]
pub(super) struct Mixed;

/// Runs a kernel with NEON and dot products switched on.
///
/// # Safety
/// The processor has them.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Neon::<Signed>(PhantomData))
}

/// Runs a kernel with NEON, dot products and 8-bit matrix products switched on.
///
/// # Safety
/// The processor has them.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) unsafe fn run_i8mm<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Neon::<Mixed>(PhantomData))
}

/// The products of signed bytes.
///
/// # Safety
/// The processor has dot products.
#[inline(always)]
unsafe fn sdot(mut acc: int32x4_t, w: int32x4_t, a: int32x4_t) -> int32x4_t {
    // SAFETY: the instruction reads and writes registers alone, and is there by this function's contract.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {acc:v}.4s, {w:v}.16b, {a:v}.16b",
            acc = inout(vreg) acc,
            w = in(vreg) w,
            a = in(vreg) a,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

impl Dots for Signed {
    #[inline(always)]
    unsafe fn dot_u8(acc: int32x4_t, w: int32x4_t, a: int32x4_t) -> int32x4_t {
        // SAFETY: by this function's contract.
        unsafe {
            // Weights less 128 are signed; what was taken off is added for all of the activations.
            let signed = veorq_s32(w, vdupq_n_s32(i32::from_ne_bytes([0x80; 4])));
            let ones = sdot(vdupq_n_s32(0), vdupq_n_s32(0x0101_0101), a);
            sdot(vaddq_s32(acc, vshlq_n_s32::<7>(ones)), signed, a)
        }
    }
}

impl Dots for Mixed {
    #[inline(always)]
    unsafe fn dot_u8(mut acc: int32x4_t, w: int32x4_t, a: int32x4_t) -> int32x4_t {
        // SAFETY: the instruction reads and writes registers alone, and is there by this function's contract.
        unsafe {
            asm!(
                ".arch_extension i8mm",
                "usdot {acc:v}.4s, {w:v}.16b, {a:v}.16b",
                acc = inout(vreg) acc,
                w = in(vreg) w,
                a = in(vreg) a,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        acc
    }
}

/// Eight halves to singles.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn widen_f16(halves: uint16x8_t) -> [float32x4_t; 2] {
    let (low, high): (float32x4_t, float32x4_t);
    // SAFETY: the instructions read and write registers alone, and are part of NEON.
    unsafe {
        asm!(
            "fcvtl {low:v}.4s, {halves:v}.4h",
            "fcvtl2 {high:v}.4s, {halves:v}.8h",
            halves = in(vreg) halves,
            low = out(vreg) low,
            high = lateout(vreg) high,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [low, high]
}

/// Four singles to halves, rounded to nearest even.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn narrow_f16(singles: float32x4_t) -> uint16x4_t {
    let halves: uint16x4_t;
    // SAFETY: the instruction reads and writes registers alone, and is part of NEON.
    unsafe {
        asm!(
            "fcvtn {halves:v}.4h, {singles:v}.4s",
            singles = in(vreg) singles,
            halves = lateout(vreg) halves,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    halves
}

/// Sixteen bytes to lanes, zero-extended.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn widen_bytes(x: uint8x16_t) -> [uint32x4_t; 4] {
    // SAFETY: by this function's contract.
    unsafe {
        let (low, high) = (vmovl_u8(vget_low_u8(x)), vmovl_high_u8(x));
        [
            vmovl_u16(vget_low_u16(low)),
            vmovl_high_u16(low),
            vmovl_u16(vget_low_u16(high)),
            vmovl_high_u16(high),
        ]
    }
}

/// Methods that apply the same intrinsics to all four registers.
macro_rules! each {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: [$type; 4]),*) -> [$out; 4] {
                // SAFETY: `self` exists only where `run` was entered, so the processor has the instructions.
                unsafe {
                    [
                        { $(let $arg = $arg[0];)* $body },
                        { $(let $arg = $arg[1];)* $body },
                        { $(let $arg = $arg[2];)* $body },
                        { $(let $arg = $arg[3];)* $body },
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

/// A left shift of all registers; to the right where `n` is negative, with the sign.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn shift(v: [int32x4_t; 4], n: i32) -> [int32x4_t; 4] {
    // SAFETY: by this function's contract.
    unsafe {
        let n = vdupq_n_s32(n);
        [
            vshlq_s32(v[0], n),
            vshlq_s32(v[1], n),
            vshlq_s32(v[2], n),
            vshlq_s32(v[3], n),
        ]
    }
}

/// A shift to the right of all registers; zeros come in.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn shift_right(v: [int32x4_t; 4], n: u32) -> [int32x4_t; 4] {
    // SAFETY: by this function's contract.
    unsafe {
        let n = vdupq_n_s32(-(n as i32));
        let one = |v| vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(v), n));
        [one(v[0]), one(v[1]), one(v[2]), one(v[3])]
    }
}

impl<D: Dots> Lanes for Neon<D> {
    type F = [float32x4_t; 4];
    type I = [int32x4_t; 4];

    methods! {
        fn prefetch(line: *const [u8; 64]) -> () =
            asm!("prfm pldl1keep, [{}]", in(reg) line, options(nostack, preserves_flags));
        fn splat(x: f32) -> [float32x4_t; 4] = [vdupq_n_f32(x); 4];
        fn load(x: &[f32; LANES]) -> [float32x4_t; 4] = {
            let x = x.as_ptr();
            [vld1q_f32(x), vld1q_f32(x.add(4)), vld1q_f32(x.add(8)), vld1q_f32(x.add(12))]
        };
        fn store(v: [float32x4_t; 4], out: &mut [f32; LANES]) -> () = {
            let out = out.as_mut_ptr();
            vst1q_f32(out, v[0]);
            vst1q_f32(out.add(4), v[1]);
            vst1q_f32(out.add(8), v[2]);
            vst1q_f32(out.add(12), v[3]);
        };
        fn load_f16(x: &[u8; 32]) -> [float32x4_t; 4] = {
            let halves = |at| vreinterpretq_u16_u8(vld1q_u8(x.as_ptr().add(at)));
            let ([a, b], [c, d]) = (widen_f16(halves(0)), widen_f16(halves(16)));
            [a, b, c, d]
        };
        fn splat_i32(x: i32) -> [int32x4_t; 4] = [vdupq_n_s32(x); 4];
        fn load_bytes(x: &[u8; 64]) -> [int32x4_t; 4] = {
            let load = |at| vreinterpretq_s32_u8(vld1q_u8(x.as_ptr().add(at)));
            [load(0), load(16), load(32), load(48)]
        };
        fn shl<const N: u32>(a: [int32x4_t; 4]) -> [int32x4_t; 4] = shift(a, N as i32);
        fn shr_by(a: [int32x4_t; 4], n: u32) -> [int32x4_t; 4] = shift_right(a, n);
        fn sar<const N: u32>(a: [int32x4_t; 4]) -> [int32x4_t; 4] = shift(a, -(N as i32));
    }

    each! {
        fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        fn to_f32(v: int32x4_t) -> float32x4_t = vcvtq_f32_s32(v);
        fn add_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vaddq_s32(a, b);
        fn sub_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vsubq_s32(a, b);
        fn and(a: int32x4_t, b: int32x4_t) -> int32x4_t = vandq_s32(a, b);
        fn or(a: int32x4_t, b: int32x4_t) -> int32x4_t = vorrq_s32(a, b);
        // Bytes of at most 127 are the same signed or not.
        fn dot_u7(acc: int32x4_t, w: int32x4_t, a: int32x4_t) -> int32x4_t = sdot(acc, w, a);
        fn dot_i16(acc: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t = {
            let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
            vaddq_s32(acc, vpaddq_s32(low, vmull_high_s16(a, b)))
        };
        fn dot_u8(acc: int32x4_t, w: int32x4_t, a: int32x4_t) -> int32x4_t = D::dot_u8(acc, w, a);
    }
}

impl<D: Dots> Simd for Neon<D> {
    // 32 registers of 4 lanes: two rows of sums beside what they are made of.
    const WIDE: bool = false;

    methods! {
        fn store_f16(v: [float32x4_t; 4], out: &mut [u8; 32]) -> () = {
            let out = out.as_mut_ptr();
            vst1_u8(out, vreinterpret_u8_u16(narrow_f16(v[0])));
            vst1_u8(out.add(8), vreinterpret_u8_u16(narrow_f16(v[1])));
            vst1_u8(out.add(16), vreinterpret_u8_u16(narrow_f16(v[2])));
            vst1_u8(out.add(24), vreinterpret_u8_u16(narrow_f16(v[3])));
        };
        fn load_bf16(x: &[u8; 32]) -> [float32x4_t; 4] = {
            let wide = |at| {
                let halves = vreinterpret_u16_u8(vld1_u8(x.as_ptr().add(at)));
                vreinterpretq_f32_u32(vshll_n_u16::<16>(halves))
            };
            [wide(0), wide(8), wide(16), wide(24)]
        };
        fn sum(v: [float32x4_t; 4]) -> f32 = {
            let v = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
            let v = vadd_f32(vget_low_f32(v), vget_high_f32(v));
            vget_lane_f32::<0>(v) + vget_lane_f32::<1>(v)
        };
        fn max_lane(v: [float32x4_t; 4]) -> f32 =
            vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(v[0], v[1]), vmaxnmq_f32(v[2], v[3])));
        fn store_bytes(v: [int32x4_t; 4], out: &mut [u8; 64]) -> () = {
            let out = out.as_mut_ptr();
            vst1q_u8(out, vreinterpretq_u8_s32(v[0]));
            vst1q_u8(out.add(16), vreinterpretq_u8_s32(v[1]));
            vst1q_u8(out.add(32), vreinterpretq_u8_s32(v[2]));
            vst1q_u8(out.add(48), vreinterpretq_u8_s32(v[3]));
        };
        fn widen_u8(x: &[u8; LANES]) -> [int32x4_t; 4] = {
            let [a, b, c, d] = widen_bytes(vld1q_u8(x.as_ptr()));
            [
                vreinterpretq_s32_u32(a),
                vreinterpretq_s32_u32(b),
                vreinterpretq_s32_u32(c),
                vreinterpretq_s32_u32(d),
            ]
        };
        fn widen_i8(x: &[u8; LANES]) -> [int32x4_t; 4] = {
            let x = vreinterpretq_s8_u8(vld1q_u8(x.as_ptr()));
            let (low, high) = (vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x));
            [
                vmovl_s16(vget_low_s16(low)),
                vmovl_high_s16(low),
                vmovl_s16(vget_low_s16(high)),
                vmovl_high_s16(high),
            ]
        };
        fn narrow_i8(v: [int32x4_t; 4], out: &mut [i8; LANES]) -> () = {
            let low = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]));
            let high = vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]));
            vst1q_s8(out.as_mut_ptr(), vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
        };
        fn narrow_i16(v: [int32x4_t; 4], out: &mut [u8; 2 * LANES]) -> () = {
            let low = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]));
            let high = vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]));
            vst1q_u8(out.as_mut_ptr(), vreinterpretq_u8_s16(low));
            vst1q_u8(out.as_mut_ptr().add(16), vreinterpretq_u8_s16(high));
        };
        fn shr<const N: u32>(a: [int32x4_t; 4]) -> [int32x4_t; 4] = shift_right(a, N);
    }

    each! {
        fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcgtq_f32(a, b), a, b);
        fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcltq_f32(a, b), a, b);
        fn select_negative(x: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t =
            vbslq_f32(vreinterpretq_u32_s32(vshrq_n_s32::<31>(vreinterpretq_s32_f32(x))), a, b);
        fn to_bits(v: float32x4_t) -> int32x4_t = vreinterpretq_s32_f32(v);
        fn of_bits(v: int32x4_t) -> float32x4_t = vreinterpretq_f32_s32(v);
        fn to_i32(v: float32x4_t) -> int32x4_t = vcvtnq_s32_f32(v);
    }
}
