//! The types that keys and values are kept in.

use crate::memory::Plain;
use crate::simd::{LANES, Simd};

/// A stored key or value.
pub(super) trait Element: Plain {
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::F;
    fn store<S: Simd>(s: S, v: S::F, out: &mut [Self; LANES]);
}

/// Half precision, little-endian.
pub(super) type Half = [u8; 2];

impl Element for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[f32; LANES]) -> S::F {
        s.load(x)
    }

    #[inline(always)]
    fn store<S: Simd>(s: S, v: S::F, out: &mut [f32; LANES]) {
        s.store(v, out);
    }
}

impl Element for Half {
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Half; LANES]) -> S::F {
        s.load_f16(
            x.as_flattened()
                .first_chunk()
                .expect("32 bytes; this is a bug"),
        )
    }

    #[inline(always)]
    fn store<S: Simd>(s: S, v: S::F, out: &mut [Half; LANES]) {
        let out = out.as_flattened_mut().first_chunk_mut();
        s.store_f16(v, out.expect("32 bytes; this is a bug"));
    }
}
