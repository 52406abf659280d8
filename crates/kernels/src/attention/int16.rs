//! Keys and values as whole numbers of 14 bits, one scale a token and head.

use super::cache::Shape;
use super::heads::{CHUNK, Heads};
use super::online::Place;
use super::plain::Half;
use super::store::Store;
use super::whole;
use crate::Tier;
use crate::memory::{Buffer, bytes_of, bytes_of_mut};
use crate::simd::{LANES, Simd, load_part};

/// The largest magnitude of a key or value.
pub(super) const LARGEST: i32 = 8191;

/// Two whole numbers of 16 bits, as the products take them.
pub(super) type Pair = [u8; 4];

/// Blocks of whole numbers and their scales, in the upper half of single precision: what a scale is rounded to is what
/// values are divided by, so its few digits cost nothing but a little of the range.
pub(super) struct Int16Blocks {
    /// `[D / 2, key_stride]` a tile: two neighbouring dimensions of a token.
    keys: Buffer<Pair>,
    /// `[block_size / 2, value_stride]` a tile: a dimension of two neighbouring tokens.
    values: Buffer<Pair>,
    /// `[key_stride]` a tile.
    key_scales: Buffer<Half>,
    /// `[key_stride]` a tile.
    value_scales: Buffer<Half>,
}

/// Rows of a tile's keys.
pub(super) fn key_rows(shape: Shape) -> usize {
    shape.head_dim.div_ceil(2)
}

/// Rows of a tile's values.
fn value_rows(shape: Shape) -> usize {
    shape.block_size.div_ceil(2)
}

/// Sixteen positions of one head, or fewer where a block ends.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    /// From the first position's first dimensions on.
    pub keys: &'a [Pair],
    /// From the first two positions' first dimension on.
    pub values: &'a [Pair],
    pub key_scales: &'a [u8; 2 * LANES],
    pub value_scales: &'a [u8; 2 * LANES],
    pub place: Place,
}

impl Columns<'_> {
    pub(super) const NONE: Columns<'static> = Columns {
        keys: &[],
        values: &[],
        key_scales: &[0; 2 * LANES],
        value_scales: &[0; 2 * LANES],
        place: Place {
            position: 0,
            count: 0,
        },
    };
}

/// 16 scales of a row.
fn scales(row: &[Half], at: usize) -> &[u8; 2 * LANES] {
    row[at..at + LANES]
        .as_flattened()
        .first_chunk()
        .expect("16 scales; this is a bug")
}

impl Int16Blocks {
    /// The positions from `position` on that lie `offset`, a multiple of 16, into the block of tile `tile`.
    pub(super) fn columns(
        &self,
        shape: Shape,
        tile: usize,
        offset: usize,
        position: usize,
    ) -> Columns<'_> {
        let (key_stride, value_stride) = (shape.key_stride(), shape.value_stride());
        let keys = key_rows(shape) * key_stride;
        let values = value_rows(shape) * value_stride;
        let row = tile * key_stride..(tile + 1) * key_stride;
        Columns {
            keys: &self.keys[tile * keys..][..keys][offset..],
            values: &self.values[tile * values..][..values][offset / 2 * value_stride..],
            key_scales: scales(&self.key_scales[row.clone()], offset),
            value_scales: scales(&self.value_scales[row], offset),
            place: Place {
                position,
                count: LANES.min(shape.block_size - offset),
            },
        }
    }
}

/// The scale of a head's key or value, and what its values are multiplied by.
#[inline(always)]
fn scale<S: Simd>(s: S, x: &[f32]) -> (Half, S::F) {
    let zero = s.splat(0.0);
    let (mut largest, mut probe) = (zero, zero);
    for x in x.chunks(LANES) {
        let x = load_part(s, x, 0.0);
        largest = s.max(s.max(x, s.sub(zero, x)), largest);
        // 0, or NaN where a value is not finite, which a maximum may lose.
        probe = s.fma(x, zero, probe);
    }
    let scale = s.max_lane(largest) / LARGEST as f32 + s.sum(probe);
    if scale.is_nan() {
        return (half::bf16::NAN.to_le_bytes(), zero);
    }
    // Rounded up, so that no value becomes larger than the largest.
    let rounded = f32::from_bits(scale.to_bits().saturating_add(0xFFFF) & 0xFFFF_0000);
    let inverse = match rounded {
        scale if scale >= f32::MIN_POSITIVE => s.splat(1.0 / scale),
        _ => zero,
    };
    (half::bf16::from_f32(rounded).to_le_bytes(), inverse)
}

/// 16 values, or fewer, as whole numbers.
#[inline(always)]
fn whole_numbers<S: Simd>(s: S, x: &[f32], inverse: S::F) -> [[u8; 2]; LANES] {
    let largest = s.splat(LARGEST as f32);
    let x = s.mul(load_part(s, x, 0.0), inverse);
    let x = s.min(s.max(x, s.sub(s.splat(0.0), largest)), largest);
    let mut numbers = [[0; 2]; LANES];
    s.narrow_i16(
        s.to_i32(x),
        numbers
            .as_flattened_mut()
            .first_chunk_mut()
            .expect("32 bytes; this is a bug"),
    );
    numbers
}

/// Writes the first or second number of a pair.
#[inline(always)]
fn put(pair: &mut Pair, index: usize, number: [u8; 2]) {
    pair.as_chunks_mut().0[index % 2] = number;
}

impl Store for Int16Blocks {
    fn new(shape: Shape) -> Option<Int16Blocks> {
        let key_stride = shape.padded_block()?;
        let value_stride = shape.head_dim.checked_next_multiple_of(LANES)?;
        let keys = key_rows(shape).checked_mul(key_stride)?;
        let values = value_rows(shape).checked_mul(value_stride)?;
        Some(Int16Blocks {
            keys: Buffer::zeroed(shape.of_all_tiles(keys)?)?,
            values: Buffer::zeroed(shape.of_all_tiles(values)?)?,
            key_scales: Buffer::zeroed(shape.of_all_tiles(key_stride)?)?,
            value_scales: Buffer::zeroed(shape.of_all_tiles(key_stride)?)?,
        })
    }

    fn parts(&self) -> [&[u8]; 4] {
        [
            bytes_of(&self.keys),
            bytes_of(&self.values),
            bytes_of(&self.key_scales),
            bytes_of(&self.value_scales),
        ]
    }

    fn parts_mut(&mut self) -> [&mut [u8]; 4] {
        [
            bytes_of_mut(&mut self.keys),
            bytes_of_mut(&mut self.values),
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
        let (key, inverse) = scale(s, k);
        self.key_scales[tile * key_stride + offset] = key;
        let rows = &mut self.keys[tile * key_rows(shape) * key_stride..];
        let rows = rows.chunks_mut(LANES / 2 * key_stride);
        for (k, rows) in k.chunks(LANES).zip(rows) {
            let numbers = whole_numbers(s, k, inverse);
            for (d, number) in numbers[..k.len()].iter().enumerate() {
                put(&mut rows[d / 2 * key_stride + offset], d, *number);
            }
        }
        let (value, inverse) = scale(s, v);
        self.value_scales[tile * key_stride + offset] = value;
        let row = tile * value_rows(shape) + offset / 2;
        let row = &mut self.values[row * value_stride..][..value_stride];
        for (v, pairs) in v.chunks(LANES).zip(row.chunks_exact_mut(LANES)) {
            let numbers = whole_numbers(s, v, inverse);
            for (pair, number) in pairs.iter_mut().zip(numbers) {
                put(pair, offset, number);
            }
        }
    }

    /// Whole blocks, each padded to whole vectors, or parts of a larger one: two positions that share a pair are in the same
    /// chunk.
    fn chunk_end(shape: Shape, start: usize) -> usize {
        let size = shape.block_size;
        if size <= CHUNK {
            start + CHUNK / shape.key_stride() * size
        } else {
            (start + CHUNK).min((start / size + 1) * size)
        }
    }

    fn attend(heads: &Heads<Int16Blocks>, tier: Tier) {
        whole::attend(heads, tier);
    }
}
