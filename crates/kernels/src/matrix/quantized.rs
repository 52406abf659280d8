//! Activations in 8 bits.
//!
//! Some values of a row share a scale, their largest magnitude over 127, and are rounded to multiples of it: 32, or the
//! 256 of a superblock, whose products are then sums of integers times integer scales. What a product needs of them beside the bytes is kept with them: weights are stored unsigned, so a product is too large by
//! the zero point times the activations' sum, and minima are multiplied by that sum.

use std::ops::Range;

use crate::Pool;
use crate::Tier;
use crate::norm::RmsNorm;
use crate::pool::SharedMut;
use crate::scratch;
use crate::simd::{self, Kernel, Simd};

/// Values of a block.
pub(super) const BLOCK: usize = 32;

/// Which values share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scales {
    /// The 32 of a block.
    Blocks,
    /// 256: eight blocks.
    Superblocks,
}

impl Scales {
    /// Both, in the order of their numbers.
    pub(super) const ALL: [Scales; 2] = [Scales::Blocks, Scales::Superblocks];

    /// Blocks that share a scale.
    const fn blocks(self) -> usize {
        match self {
            Scales::Blocks => 1,
            Scales::Superblocks => 8,
        }
    }
}

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
    /// Two sums of quantized values, in 16 bits each: of this block, and of the next of its superblock.
    pub pair: i32,
    /// Of the first and of the last 16 values.
    pub halves: i32,
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
pub(super) const TILE: usize = 32;

/// The tokens of the tile that token `t` of `tokens` is in: all have about the same size.
fn tile_of(t: usize, tokens: usize) -> Range<usize> {
    let tiles = tokens.div_ceil(TILE);
    let first = |tile: usize| tile * tokens / tiles;
    let tile = t * tiles / tokens;
    // Where the division was not exact, `t` may be of the next.
    let tile = tile + usize::from(t >= first(tile + 1));
    first(tile)..first(tile + 1)
}

impl Quantized {
    /// The tiles, in the order of their tokens.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            (next < self.tokens).then(|| {
                let tokens = tile_of(next, self.tokens);
                next = tokens.end;
                Tile {
                    first: tokens.start,
                    tokens: tokens.len(),
                    blocks: &self.blocks[tokens.start * self.row..tokens.end * self.row],
                }
            })
        })
    }

    /// Replaces the content by `tokens` rows of `cols` values (whole blocks, or superblocks).
    pub(super) fn fill(
        &mut self,
        tier: Tier,
        pool: &Pool,
        scales: Scales,
        [tokens, cols]: [usize; 2],
        source: Source,
    ) {
        assert!(cols.is_multiple_of(BLOCK * scales.blocks()));
        (self.tokens, self.row) = (tokens, cols / BLOCK);
        self.blocks.resize(tokens * self.row, QuantBlock::default());
        let row = self.row;
        let out = SharedMut::new(&mut self.blocks);
        // A few thousand values are worth a task.
        let per_task = (16 * 1024usize).div_ceil(cols.max(1));
        pool.run(tokens.div_ceil(per_task), |task| {
            for t in task * per_task..tokens.min((task + 1) * per_task) {
                let tile = tile_of(t, tokens);
                scratch::with(cols, |buffer| {
                    let quantize = Quantize {
                        x: source.row(tier, t, buffer),
                        scales,
                        first: tile.start * row + (t - tile.start),
                        stride: tile.len(),
                        blocks: &out,
                    };
                    simd::run(tier, quantize);
                });
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
    scales: Scales,
    /// The row's first block.
    first: usize,
    /// The distance of the row's blocks.
    stride: usize,
    /// Those of all rows; nobody else uses this row's.
    blocks: &'a SharedMut<QuantBlock>,
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.scales {
            Scales::Blocks => self.quantize::<S, 1>(s),
            Scales::Superblocks => self.quantize::<S, 8>(s),
        }
    }
}

impl Quantize<'_> {
    /// `N` blocks share a scale.
    #[inline(always)]
    fn quantize<S: Simd, const N: usize>(self, s: S) {
        let mut at = self.first;
        for x in self.x.as_chunks::<BLOCK>().0.as_chunks::<N>().0 {
            let zero = s.splat(0.0);
            let (mut largest, mut probe) = (zero, zero);
            for half in x.as_flattened().as_chunks().0 {
                let x = s.load(half);
                largest = s.max(s.max(s.sub(zero, x), x), largest);
                probe = s.add(probe, s.mul(x, zero));
            }
            let largest = s.max_lane(largest);
            let mut scale = largest / 127.0;
            let mut inverse = 127.0 / largest;
            if scale < f32::MIN_POSITIVE {
                // Too small to be told from zeros.
                (scale, inverse) = (0.0, 0.0);
            }
            // 0, or NaN where a value is not finite, which a maximum may lose.
            scale += s.sum(probe);
            let inverse = s.splat(inverse);
            let mut later = 0;
            for (i, x) in x.iter().enumerate().rev() {
                // SAFETY: the row's blocks are this call's alone.
                let block = unsafe { &mut self.blocks.range(at + i * self.stride, 1)[0] };
                block.scale = scale;
                let mut sums = [0; 2];
                let halves = x.as_chunks().0.iter().zip(block.q.as_chunks_mut().0);
                for ((x, bytes), sum) in halves.zip(&mut sums) {
                    let q = s.to_i32(s.mul(s.load(x), inverse));
                    s.narrow_i8(q, bytes);
                    // Sums of small integers are exact.
                    *sum = s.sum(s.to_f32(q)) as i32;
                }
                let [first, last] = sums;
                let all = first.wrapping_add(last);
                block.minus_8 = all.wrapping_mul(-8);
                block.minus_128 = all.wrapping_mul(-128);
                block.halves_minus_32 = [first.wrapping_mul(-32), last.wrapping_mul(-32)];
                block.sum = all as f32 * scale;
                block.pair = pair(all, later);
                block.halves = pair(first, last);
                later = all;
            }
            at += N * self.stride;
        }
    }
}

/// Two numbers of 16 bits in one.
#[inline(always)]
fn pair(low: i32, high: i32) -> i32 {
    low & 0xFFFF | high << 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn values_come_back_within_half_a_step_and_tiers_agree() {
        let pool = Pool::new(2);
        let mut random = Random::new(30);
        let kinds = [(Scales::Blocks, 96), (Scales::Superblocks, 512)];
        for (tokens, (scales, cols)) in [1, 2, 7, 31, 32, 33, 65, 150]
            .into_iter()
            .flat_map(|t| kinds.map(|k| (t, k)))
        {
            let row = cols / 32;
            let mut x = random.normals(tokens * cols);
            x[..32].fill(0.0);
            x[32] = 1e-42;
            x[64..96].fill(3e38);
            let mut first: Option<Vec<(usize, [i8; 32], u32)>> = None;
            for tier in Tier::available() {
                let mut quantized = Quantized::default();
                let (x, stride) = (&x[..], cols);
                let source = Source::Rows { x, stride };
                quantized.fill(tier, &pool, scales, [tokens, cols], source);
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
                        assert_eq!(block.halves, pair(half, sum - half));
                        assert_eq!(block.pair as i16 as i32, sum);
                        if scales == Scales::Superblocks && at % 8 < 7 {
                            let next = &tile.blocks[i + tile.tokens];
                            assert_eq!(block.pair >> 16, next.pair as i16 as i32);
                        }
                        all.push((token * row + at, block.q, block.scale.to_bits()));
                    }
                }
                assert_eq!(all.len(), tokens * row);
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
                quantized.fill(tier, &Pool::new(1), Scales::Blocks, [1, 64], source);
                let tile = quantized.tiles().next().unwrap();
                assert!(tile.blocks[0].scale.is_nan() && tile.blocks[1].scale == 1.0 / 127.0);
            }
        }
    }
}
