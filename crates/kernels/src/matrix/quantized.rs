//! Activations in 8 bits.
//!
//! Each 32 values of a row share a scale, their largest magnitude over 127, and are rounded to multiples of it. What a
//! product needs of them beside the bytes is kept with them: weights are stored unsigned, so a product is too large by
//! the zero point times the activations' sum, and minima are multiplied by that sum.

use crate::Pool;
use crate::Tier;
use crate::pool::SharedMut;
use crate::norm::RmsNorm;
use crate::scratch;
use crate::simd::{self, Kernel, LANES, Simd};

/// Values that share a scale.
pub(super) const BLOCK: usize = 32;

/// 32 activations of one row.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default)]
pub(super) struct QuantBlock {
    pub q: [i8; BLOCK],
    /// What a quantized value is multiplied by; NaN where a value was not finite.
    pub scale: f32,
    /// The quantized values' sum times -8, -128.
    pub minus_8: i32,
    pub minus_128: i32,
    /// The sums of the first and the last 16 values times -32.
    pub halves_minus_32: [i32; 2],
    /// The quantized values' sum times the scale.
    pub sum: f32,
    /// The sums of the first and the last 16 values times the scale.
    pub first_sum: f32,
    pub last_sum: f32,
}

impl QuantBlock {
    /// Four quantized values as one number.
    #[inline(always)]
    pub(super) fn four(&self, at: usize) -> i32 {
        let four: &[i8; 4] = self.q[at..]
            .first_chunk()
            .expect("within the block; this is a bug");
        i32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8])
    }
}

/// Rows of activations whose blocks lie interleaved: `[block, token]` within a tile of tokens.
#[derive(Default)]
pub(super) struct Quantized {
    blocks: Vec<QuantBlock>,
    tokens: usize,
    /// Blocks of a row.
    row: usize,
}

/// Tokens that lie interleaved.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    /// The first token.
    pub first: usize,
    /// The number of tokens.
    pub tokens: usize,
    /// `[row blocks, tokens]`
    pub blocks: &'a [QuantBlock],
}

/// The largest tile.
pub(super) const TILE: usize = 12;

/// The size of the tile at `first` of `tokens`: a full one, or the largest power of two that is left.
fn tile_at(first: usize, tokens: usize) -> usize {
    match tokens - first {
        TILE.. => TILE,
        left => 1 << left.ilog2(),
    }
}

impl Quantized {
    /// The tiles, in the order of their tokens.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        let mut first = 0;
        std::iter::from_fn(move || {
            (first < self.tokens).then(|| {
                let tokens = tile_at(first, self.tokens);
                let blocks = &self.blocks[first * self.row..][..tokens * self.row];
                first += tokens;
                Tile {
                    first: first - tokens,
                    tokens,
                    blocks,
                }
            })
        })
    }

    /// Replaces the content by `tokens` rows of `cols` values (whole blocks).
    pub(super) fn fill(
        &mut self,
        tier: Tier,
        pool: &Pool,
        cols: usize,
        tokens: usize,
        source: Source,
    ) {
        assert!(cols.is_multiple_of(BLOCK));
        (self.tokens, self.row) = (tokens, cols / BLOCK);
        self.blocks.resize(tokens * self.row, QuantBlock::default());
        let blocks_per_row = self.row;
        let out = SharedMut::new(&mut self.blocks);
        // A few thousand values are worth a task.
        let per_task = (16 * 1024usize)
            .div_ceil(cols.max(1))
            .next_multiple_of(TILE);
        pool.run(tokens.div_ceil(per_task), |task| {
            let mut first = task * per_task;
            let end = (first + per_task).min(tokens);
            while first < end {
                let n = tile_at(first, tokens);
                // SAFETY: tasks begin at whole tiles, so a tile belongs to one task.
                let blocks = unsafe { out.range(first * blocks_per_row, n * blocks_per_row) };
                for t in 0..n {
                    scratch::with(cols, |buffer| {
                        let x = source.row(tier, first + t, buffer);
                        let blocks = &mut blocks[t.min(blocks_per_row * n)..];
                        let stride = n;
                        simd::run(tier, Quantize { x, stride, blocks });
                    });
                }
                first += n;
            }
        });
    }
}

/// What rows are made of.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// They are there, one every `stride` values.
    Rows { x: &'a [f32], stride: usize },
    /// The norms of rows that lie one after the other.
    RmsNorm {
        x: &'a [f32],
        weight: &'a [f32],
        eps: f32,
    },
}

impl Source<'_> {
    /// Row `t`, of as many values as the buffer has room for.
    fn row<'s>(&'s self, tier: Tier, t: usize, buffer: &'s mut [f32]) -> &'s [f32] {
        let cols = buffer.len();
        match *self {
            Source::Rows { x, stride } => &x[t * stride..][..cols],
            Source::RmsNorm { x, weight, eps } => {
                let x = &x[t * cols..][..cols];
                let out = &mut *buffer;
                simd::run(
                    tier,
                    RmsNorm {
                        x,
                        weight,
                        eps,
                        out,
                    },
                );
                buffer
            }
        }
    }
}

/// Quantizes a row.
struct Quantize<'a> {
    x: &'a [f32],
    /// The distance of the row's blocks.
    stride: usize,
    blocks: &'a mut [QuantBlock],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let blocks = self.blocks.iter_mut().step_by(self.stride);
        for (x, block) in self.x.as_chunks::<BLOCK>().0.iter().zip(blocks) {
            quantize(s, x, block);
        }
    }
}

#[inline(always)]
fn quantize<S: Simd>(s: S, x: &[f32; BLOCK], block: &mut QuantBlock) {
    let zero = s.splat(0.0);
    let halves = x.as_chunks::<LANES>().0;
    let x = [s.load(&halves[0]), s.load(&halves[1])];
    let sizes = [
        s.max(s.sub(zero, x[0]), x[0]),
        s.max(s.sub(zero, x[1]), x[1]),
    ];
    let largest = s.max_lane(s.max(sizes[0], sizes[1]));
    // 0, or NaN where a value is not finite, which a maximum may lose.
    let probe = s.sum(s.add(s.mul(x[0], zero), s.mul(x[1], zero)));
    let mut scale = largest / 127.0;
    let mut inverse = 127.0 / largest;
    if scale < f32::MIN_POSITIVE {
        // Too small to be told from zeros.
        (scale, inverse) = (0.0, 0.0);
    }
    block.scale = scale + probe;
    let inverse = s.splat(inverse);
    let q = [
        s.to_i32(s.mul(x[0], inverse)),
        s.to_i32(s.mul(x[1], inverse)),
    ];
    let bytes = block.q.as_chunks_mut::<LANES>().0;
    s.narrow_i8(q[0], &mut bytes[0]);
    s.narrow_i8(q[1], &mut bytes[1]);
    // Sums of small integers are exact.
    let sums = [s.sum(s.to_f32(q[0])), s.sum(s.to_f32(q[1]))];
    let [first, last] = sums.map(|sum| sum as i32);
    let all = first.wrapping_add(last);
    block.minus_8 = all.wrapping_mul(-8);
    block.minus_128 = all.wrapping_mul(-128);
    block.halves_minus_32 = [first.wrapping_mul(-32), last.wrapping_mul(-32)];
    block.sum = all as f32 * block.scale;
    block.first_sum = sums[0] * block.scale;
    block.last_sum = sums[1] * block.scale;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn values_come_back_within_half_a_step_and_tiers_agree() {
        let pool = Pool::new(2);
        let mut random = Random::new(30);
        for tokens in [1, 2, 7, 12, 13, 31, 150] {
            let cols = 96;
            let mut x = random.normals(tokens * cols);
            x[..32].fill(0.0);
            x[32] = 1e-42;
            x[64..96].fill(3e38);
            let mut first: Option<Vec<(usize, [i8; 32], u32)>> = None;
            for tier in Tier::available() {
                let mut quantized = Quantized::default();
                let (x, stride) = (&x[..], cols);
                quantized.fill(tier, &pool, cols, tokens, Source::Rows { x, stride });
                let mut all = Vec::new();
                for tile in quantized.tiles() {
                    for (i, block) in tile.blocks.iter().enumerate() {
                        let (token, at) = (tile.first + i % tile.tokens, i / tile.tokens);
                        let x = &x[token * cols + at * BLOCK..][..BLOCK];
                        for (x, q) in x.iter().zip(block.q) {
                            let error = (x - f32::from(q) * block.scale).abs();
                            assert!(
                                error <= block.scale * 0.50001 + 2e-36,
                                "{x} as {q} * {}",
                                block.scale
                            );
                        }
                        let sum: i32 = block.q.iter().map(|q| i32::from(*q)).sum();
                        let half: i32 = block.q[..16].iter().map(|q| i32::from(*q)).sum();
                        assert_eq!([block.minus_8, block.minus_128], [-8 * sum, -128 * sum]);
                        assert_eq!(block.halves_minus_32, [-32 * half, -32 * (sum - half)]);
                        assert_eq!(block.sum, sum as f32 * block.scale);
                        assert_eq!(block.first_sum, half as f32 * block.scale);
                        all.push((token * 3 + at, block.q, block.scale.to_bits()));
                    }
                }
                assert_eq!(all.len(), tokens * 3);
                all.sort();
                assert_eq!(first.get_or_insert(all.clone()), &all, "{tier}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_marks_its_block() {
        for tier in Tier::available() {
            for (at, value) in [(0, f32::NAN), (17, f32::INFINITY), (31, f32::NEG_INFINITY)] {
                let mut x = [1.0; 64];
                x[at] = value;
                let mut quantized = Quantized::default();
                let source = Source::Rows { x: &x, stride: 64 };
                quantized.fill(tier, &Pool::new(1), 64, 1, source);
                let tile = quantized.tiles().next().unwrap();
                assert!(tile.blocks[0].scale.is_nan() && tile.blocks[1].scale == 1.0 / 127.0);
            }
        }
    }
}
