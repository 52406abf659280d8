//! Keys and values in 8 bits: 32 dimensions of a token share a scale in half precision, as in the block type Q8_0.

use super::cache::Shape;
use super::heads::Heads;
use super::plain::Half;
use super::store::{Store, Widen};
use super::widened;
use crate::Tier;
use crate::memory::{Buffer, bytes_of, bytes_of_mut};
use crate::simd::{LANES, Simd, load_part};

/// Dimensions that share a scale.
pub(super) const GROUP: usize = 32;

/// Blocks of bytes and scales.
pub(super) struct Int8Blocks {
    /// `[D, key_stride]` a tile.
    keys: Buffer<u8>,
    /// `[block_size, value_stride]` a tile.
    values: Buffer<u8>,
    /// `[D / 32, key_stride]` a tile.
    key_scales: Buffer<Half>,
    /// `[block_size, D / 32]` a tile.
    value_scales: Buffer<Half>,
}

/// The groups of a head, the last of which may be shorter.
fn groups(shape: Shape) -> usize {
    shape.head_dim.div_ceil(GROUP)
}

/// Up to 32 values as bytes, and their scale.
#[inline(always)]
fn quantize<S: Simd>(s: S, x: &[f32]) -> ([[i8; LANES]; 2], Half) {
    let zero = s.splat(0.0);
    let (first, last) = x.split_at(x.len().min(LANES));
    let x = [load_part(s, first, 0.0), load_part(s, last, 0.0)];
    let sizes = [
        s.max(s.sub(zero, x[0]), x[0]),
        s.max(s.sub(zero, x[1]), x[1]),
    ];
    let largest = s.max_lane(s.max(sizes[0], sizes[1]));
    // 0, or NaN where a value is not finite, which a maximum may lose.
    let probe = s.sum(s.add(s.mul(x[0], zero), s.mul(x[1], zero)));
    // Rounded before values are divided by it, so that its rounding is made up for.
    let scale = half::f16::from_f32(largest / 127.0 + probe);
    let inverse = match scale.to_f32() {
        scale if scale > 0.0 => s.splat(1.0 / scale),
        _ => zero,
    };
    let mut bytes = [[0; LANES]; 2];
    for (bytes, x) in bytes.iter_mut().zip(x) {
        // Of a scale that is rounded down to little more than nothing, more than 127.
        let x = s.min(s.max(s.mul(x, inverse), s.splat(-127.0)), s.splat(127.0));
        s.narrow_i8(s.to_i32(x), bytes);
    }
    (bytes, scale.to_le_bytes())
}

impl Store for Int8Blocks {
    fn new(shape: Shape) -> Option<Int8Blocks> {
        let key_scales = groups(shape).checked_mul(shape.padded_block()?)?;
        let value_scales = groups(shape).checked_mul(shape.block_size)?;
        Some(Int8Blocks {
            keys: Buffer::zeroed(shape.of_all_tiles(shape.keys()?)?)?,
            values: Buffer::zeroed(shape.of_all_tiles(shape.values()?)?)?,
            key_scales: Buffer::zeroed(shape.of_all_tiles(key_scales)?)?,
            value_scales: Buffer::zeroed(shape.of_all_tiles(value_scales)?)?,
        })
    }

    fn parts(&self) -> [&[u8]; 4] {
        [
            &self.keys,
            &self.values,
            bytes_of(&self.key_scales),
            bytes_of(&self.value_scales),
        ]
    }

    fn parts_mut(&mut self) -> [&mut [u8]; 4] {
        [
            &mut self.keys,
            &mut self.values,
            bytes_of_mut(&mut self.key_scales),
            bytes_of_mut(&mut self.value_scales),
        ]
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
        let (key_stride, value_stride) = (shape.key_stride(), shape.value_stride());
        let groups = groups(shape);
        let keys = &mut self.keys[tile * shape.keys_len()..][..shape.keys_len()];
        let scales = &mut self.key_scales[tile * groups * key_stride..][..groups * key_stride];
        for (g, k) in k.chunks(GROUP).enumerate() {
            let (bytes, scale) = quantize(s, k);
            scales[g * key_stride + offset] = scale;
            let rows = keys[g * GROUP * key_stride..].chunks_exact_mut(key_stride);
            for (row, byte) in rows.zip(&bytes.as_flattened()[..k.len()]) {
                row[offset] = *byte as u8;
            }
        }
        let values = &mut self.values[tile * shape.values_len() + offset * value_stride..];
        let scales = &mut self.value_scales[(tile * shape.block_size + offset) * groups..];
        let rows = values[..value_stride].chunks_mut(GROUP);
        for ((v, row), out) in v.chunks(GROUP).zip(rows).zip(scales) {
            let (bytes, scale) = quantize(s, v);
            *out = scale;
            for (out, byte) in row.iter_mut().zip(bytes.as_flattened()) {
                *out = *byte as u8;
            }
        }
    }

    fn attend(heads: &Heads<Self>, tier: Tier) {
        widened::attend(heads, tier);
    }
}

impl Widen for Int8Blocks {
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
        let (key_stride, groups) = (shape.key_stride(), groups(shape));
        let keys = &self.keys[tile * shape.keys_len()..][..shape.keys_len()];
        let scales = &self.key_scales[tile * groups * key_stride..][..groups * key_stride];
        let rows = keys.chunks(GROUP * key_stride);
        let outs = out.chunks_mut(GROUP * stride);
        for ((keys, scales), out) in rows.zip(scales.chunks_exact(key_stride)).zip(outs) {
            let scales = scales[at..at + LANES].as_flattened().first_chunk();
            let scale = s.load_f16(scales.expect("rows are whole vectors; this is a bug"));
            for (keys, out) in keys.chunks_exact(key_stride).zip(out.chunks_mut(stride)) {
                let keys = keys[at..].first_chunk();
                let keys = s.widen_i8(keys.expect("rows are whole vectors; this is a bug"));
                let out = out.first_chunk_mut();
                s.store(
                    s.mul(s.to_f32(keys), scale),
                    out.expect("rows are whole vectors; this is a bug"),
                );
            }
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
        let (stride, groups) = (shape.value_stride(), groups(shape));
        let values = &self.values[tile * shape.values_len() + offset * stride..][..out.len()];
        let scales = &self.value_scales[(tile * shape.block_size + offset) * groups..];
        let rows = values.chunks_exact(stride).zip(scales.chunks_exact(groups));
        for ((values, scales), out) in rows.zip(out.chunks_exact_mut(stride)) {
            let values = values.as_chunks().0.iter();
            for (i, (values, out)) in values.zip(out.as_chunks_mut().0).enumerate() {
                let scale = half::f16::from_le_bytes(scales[i * LANES / GROUP]).to_f32();
                s.store(s.mul(s.to_f32(s.widen_i8(values)), s.splat(scale)), out);
            }
        }
    }
}
