//! The 16 lanes as arrays: the definition that the other tiers are tested against.
//!
//! Most operations are calls: spelled out for each lane wherever they stand they would be most of what is compiled here, for
//! processors that are hardly met. The arithmetic on singles is not: compilers make vectors of it, and a call takes four times as long.

use super::{Kernel, LANES, Lanes, Simd};

/// Portable code.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

/// Runs a kernel as portable code. A call, so that it is compiled once wherever it is called from.
#[inline(never)]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Scalar)
}

#[inline(always)]
fn map2<A: Copy, B: Copy, C>(a: [A; LANES], b: [B; LANES], f: impl Fn(A, B) -> C) -> [C; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Lanes for Scalar {
    type F = [f32; LANES];
    type I = [i32; LANES];

    const UNROLLED: bool = false;

    #[inline(always)]
    fn prefetch(self, _line: *const [u8; 64]) {}
    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        *x
    }
    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; LANES]) {
        *out = v;
    }
    #[inline(never)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::F {
        std::array::from_fn(|i| half::f16::from_le_bytes([x[2 * i], x[2 * i + 1]]).to_f32())
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(never)]
    fn to_f32(self, v: Self::I) -> Self::F {
        v.map(|x| x as f32)
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        [x; LANES]
    }
    #[inline(never)]
    fn load_bytes(self, x: &[u8; 64]) -> Self::I {
        std::array::from_fn(|i| {
            i32::from_le_bytes([x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]])
        })
    }
    #[inline(never)]
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I {
        map2(a, b, i32::wrapping_add)
    }
    #[inline(never)]
    fn sub_i32(self, a: Self::I, b: Self::I) -> Self::I {
        map2(a, b, i32::wrapping_sub)
    }
    #[inline(never)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        map2(a, b, |a, b| a & b)
    }
    #[inline(never)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        map2(a, b, |a, b| a | b)
    }
    #[inline(never)]
    fn shl<const N: u32>(self, a: Self::I) -> Self::I {
        a.map(|a| a << N)
    }
    #[inline(never)]
    fn shr_by(self, a: Self::I, n: u32) -> Self::I {
        a.map(|a| (a as u32 >> n) as i32)
    }
    #[inline(never)]
    fn sar<const N: u32>(self, a: Self::I) -> Self::I {
        a.map(|a| a >> N)
    }
    #[inline(always)]
    fn dot_u7(self, acc: Self::I, w: Self::I, a: Self::I) -> Self::I {
        self.dot_u8(acc, w, a)
    }
    #[inline(never)]
    fn dot_i16(self, acc: Self::I, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| {
            let high = (a[i] >> 16) * (b[i] >> 16);
            acc[i] + i32::from(a[i] as i16) * i32::from(b[i] as i16) + high
        })
    }
    #[inline(never)]
    fn dot_u8(self, acc: Self::I, w: Self::I, a: Self::I) -> Self::I {
        std::array::from_fn(|i| {
            let products = w[i].to_le_bytes().into_iter().zip(a[i].to_le_bytes());
            acc[i]
                + products
                    .map(|(w, a)| i32::from(w) * i32::from(a as i8))
                    .sum::<i32>()
        })
    }
}

impl Simd for Scalar {
    const WIDE: bool = false;
    const PAIRS: bool = false;

    #[inline(never)]
    fn store_f16(self, v: Self::F, out: &mut [u8; 2 * LANES]) {
        for (out, v) in out.as_chunks_mut::<2>().0.iter_mut().zip(v) {
            *out = half::f16::from_f32(v).to_le_bytes();
        }
    }
    #[inline(never)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::F {
        std::array::from_fn(|i| {
            f32::from_bits(u32::from(u16::from_le_bytes([x[2 * i], x[2 * i + 1]])) << 16)
        })
    }
    #[inline(never)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(never)]
    fn sum(self, v: Self::F) -> f32 {
        let mut lanes = v;
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }
    #[inline(never)]
    fn max_lane(self, v: Self::F) -> f32 {
        v.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(never)]
    fn select_negative(self, x: Self::F, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| if x[i].is_sign_negative() { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn to_bits(self, v: Self::F) -> Self::I {
        v.map(|x| x.to_bits() as i32)
    }
    #[inline(always)]
    fn of_bits(self, v: Self::I) -> Self::F {
        v.map(|x| f32::from_bits(x as u32))
    }
    #[inline(never)]
    fn to_i32(self, v: Self::F) -> Self::I {
        v.map(|x| x.round_ties_even() as i32)
    }
    #[inline(never)]
    fn store_bytes(self, v: Self::I, out: &mut [u8; 64]) {
        for (out, v) in out.as_chunks_mut::<4>().0.iter_mut().zip(v) {
            *out = v.to_le_bytes();
        }
    }
    #[inline(never)]
    fn widen_u8(self, x: &[u8; LANES]) -> Self::I {
        x.map(i32::from)
    }
    #[inline(never)]
    fn widen_i8(self, x: &[u8; LANES]) -> Self::I {
        x.map(|b| i32::from(b as i8))
    }
    #[inline(never)]
    fn narrow_i8(self, v: Self::I, out: &mut [i8; LANES]) {
        *out = v.map(|x| x as i8);
    }
    #[inline(never)]
    fn narrow_i16(self, v: Self::I, out: &mut [u8; 2 * LANES]) {
        for (out, x) in out.as_chunks_mut().0.iter_mut().zip(v) {
            *out = (x as i16).to_ne_bytes();
        }
    }
    #[inline(never)]
    fn shr<const N: u32>(self, a: Self::I) -> Self::I {
        a.map(|a| (a as u32 >> N) as i32)
    }
}
