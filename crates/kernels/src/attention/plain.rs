//! Keys and values in single or half precision.

use super::cache::Shape;
use super::heads::Heads;
use super::store::{Store, Widen};
use super::widened;
use crate::Tier;
use crate::memory::{Buffer, Plain, bytes_of, bytes_of_mut};
use crate::simd::{LANES, Simd, load_part};

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

/// Blocks of such elements.
pub(super) struct PlainBlocks<E: Element> {
    keys: Buffer<E>,
    values: Buffer<E>,
}

impl<E: Element> PlainBlocks<E> {
    /// Writes a token's key to column `offset` of a transposed tile.
    #[inline(always)]
    fn write_key<S: Simd>(&mut self, s: S, shape: Shape, tile: usize, offset: usize, k: &[f32]) {
        let stride = shape.key_stride();
        let keys = &mut self.keys[tile * shape.keys_len()..][..shape.keys_len()];
        for (k, rows) in k.chunks(LANES).zip(keys.chunks_mut(stride * LANES)) {
            let mut lanes = [E::zeroed(); LANES];
            E::store(s, load_part(s, k, 0.0), &mut lanes);
            for (row, lane) in rows.chunks_exact_mut(stride).zip(lanes) {
                row[offset] = lane;
            }
        }
    }
}

impl<E: Element> Store for PlainBlocks<E> {
    fn new(shape: Shape) -> Option<PlainBlocks<E>> {
        Some(PlainBlocks {
            keys: Buffer::zeroed(shape.of_all_tiles(shape.keys()?)?)?,
            values: Buffer::zeroed(shape.of_all_tiles(shape.values()?)?)?,
        })
    }

    fn parts(&self) -> [&[u8]; 4] {
        [bytes_of(&self.keys), bytes_of(&self.values), &[], &[]]
    }

    fn parts_mut(&mut self) -> [&mut [u8]; 4] {
        let (keys, values) = (bytes_of_mut(&mut self.keys), bytes_of_mut(&mut self.values));
        [keys, values, &mut [], &mut []]
    }

    #[inline(always)]
    fn write<S: Simd>(
        &mut self,
        s: S,
        shape: Shape,
        tile: usize,
        offset: usize,
        k: &[f32],
        v: &[f32],
    ) {
        self.write_key(s, shape, tile, offset, k);
        let stride = shape.value_stride();
        let row = &mut self.values[tile * shape.values_len() + offset * stride..][..stride];
        for (v, out) in v.chunks(LANES).zip(row.as_chunks_mut().0) {
            E::store(s, load_part(s, v, 0.0), out);
        }
    }

    fn attend(heads: &Heads<Self>, tier: Tier) {
        widened::attend(heads, tier);
    }
}

impl<E: Element> Widen for PlainBlocks<E> {
    #[inline(always)]
    fn read_keys<S: Simd>(
        &self,
        s: S,
        shape: Shape,
        tile: usize,
        at: usize,
        out: &mut [f32],
        stride: usize,
    ) {
        let keys = &self.keys[tile * shape.keys_len()..][..shape.keys_len()];
        let rows = keys.chunks_exact(shape.key_stride());
        for (keys, out) in rows.zip(out.chunks_mut(stride)) {
            let keys = keys[at..].first_chunk();
            let out = out.first_chunk_mut();
            s.store(
                E::load(s, keys.expect("rows are whole vectors; this is a bug")),
                out.expect("rows are whole vectors; this is a bug"),
            );
        }
    }

    #[inline(always)]
    fn read_values<S: Simd>(
        &self,
        s: S,
        shape: Shape,
        tile: usize,
        offset: usize,
        out: &mut [f32],
    ) {
        let start = tile * shape.values_len() + offset * shape.value_stride();
        let values = &self.values[start..][..out.len()];
        for (values, out) in values.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
            s.store(E::load(s, values), out);
        }
    }
}
