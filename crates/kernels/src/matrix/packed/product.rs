//! Integer products of packed weights with quantized activations.
//!
//! For 16 rows and some tokens at once, a group's weights are unpacked once and multiplied with each token's bytes, four
//! of which are broadcast to all rows. The sums of a group are integers, exact in any order; they are scaled and added
//! to f32 sums group by group in the order of the columns, whatever number of tokens is computed together.

use super::format::{self, Format};
use super::layout::{Line, ROWS};
use crate::DType;
use crate::matrix::quantized::{QuantBlock, Quantized, Tile};
use crate::pool::SharedMut;
use crate::simd::{Kernel, LANES, Simd};

/// The product of some groups of 16 rows with all tokens.
pub(super) struct Rows<'a> {
    pub dtype: DType,
    /// The lines of the groups of rows, one after the other.
    pub lines: &'a [Line],
    /// The lines of a group of rows.
    pub group_lines: usize,
    /// Blocks of a row.
    pub blocks: usize,
    pub x: &'a Quantized,
    /// The first row.
    pub first: usize,
    /// The matrix's rows.
    pub rows: usize,
    /// `[tokens, rows]`
    pub out: &'a SharedMut<f32>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.dtype {
            DType::Q4_0 => self.product::<S, format::Q4_0>(s),
            DType::Q4_1 => self.product::<S, format::Q4_1>(s),
            DType::Q5_0 => self.product::<S, format::Q5_0>(s),
            DType::Q5_1 => self.product::<S, format::Q5_1>(s),
            DType::Q8_0 => self.product::<S, format::Q8_0>(s),
            DType::Q2_K => self.product::<S, format::Q2K>(s),
            DType::Q3_K => self.product::<S, format::Q3K>(s),
            DType::Q4_K => self.product::<S, format::Q4K>(s),
            DType::Q5_K => self.product::<S, format::Q5K>(s),
            DType::Q6_K => self.product::<S, format::Q6K>(s),
            DType::F32 | DType::F16 | DType::BF16 => {
                unreachable!("only block types are packed; this is a bug")
            }
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn product<S: Simd, F: Format>(&self, s: S) {
        for tile in self.x.tiles() {
            for (i, lines) in self.lines.chunks_exact(self.group_lines).enumerate() {
                let row = self.first + i * ROWS;
                let mut t = 0;
                while t < tile.tokens {
                    t += match (tile.tokens - t, S::WIDE) {
                        (12.., true) => self.tokens::<S, F, 12>(s, lines, row, &tile, t),
                        (4.., true) => self.tokens::<S, F, 4>(s, lines, row, &tile, t),
                        (2.., false) => self.tokens::<S, F, 2>(s, lines, row, &tile, t),
                        _ => self.tokens::<S, F, 1>(s, lines, row, &tile, t),
                    };
                }
            }
        }
    }

    /// The product of 16 rows with `T` tokens of a tile from its token `t`; returns `T`.
    #[inline(always)]
    fn tokens<S: Simd, F: Format, const T: usize>(
        &self,
        s: S,
        lines: &[Line],
        row: usize,
        tile: &Tile,
        t: usize,
    ) -> usize {
        let sums = sums::<S, F, T>(s, lines, self.blocks, &tile.blocks[t..], tile.tokens);
        let count = ROWS.min(self.rows - row);
        for (i, sum) in sums.into_iter().enumerate() {
            // SAFETY: these rows belong to this task alone.
            let out = unsafe {
                self.out
                    .range((tile.first + t + i) * self.rows + row, count)
            };
            match out.first_chunk_mut::<LANES>() {
                Some(out) => s.store(sum, out),
                None => crate::simd::store_part(s, sum, out),
            }
        }
        T
    }
}

/// The sums of 16 rows for `T` tokens, whose blocks are `T` of every `stride` of `x`.
#[inline(always)]
fn sums<S: Simd, F: Format, const T: usize>(
    s: S,
    lines: &[Line],
    blocks: usize,
    x: &[QuantBlock],
    stride: usize,
) -> [S::F; T] {
    let (words, halves) = lines.split_at(blocks * F::WORDS);
    let halves = halves.as_flattened().as_chunks::<{ 2 * LANES }>().0;
    assert!(!F::HALF || halves.len() >= blocks);
    let x_blocks = blocks * F::GROUPS * F::WIDTH / 32;
    assert!(blocks == 0 || x.len() >= (x_blocks - 1) * stride + T);
    let mut acc = [s.splat(0.0); T];
    for (b, words) in words.chunks_exact(F::WORDS).enumerate() {
        let half = if F::HALF { &halves[b] } else { &[0; 2 * LANES] };
        let header = F::header(s, words, half);
        for group in 0..F::GROUPS {
            let at = (b * F::GROUPS + group) * F::WIDTH / 32;
            // SAFETY: `at` is below the number of blocks, so by the check above `T` blocks lie there.
            let x: &[QuantBlock; T] = unsafe { &*x.as_ptr().add(at * stride).cast() };
            let mut dots: [S::I; T] =
                std::array::from_fn(|t| s.splat_i32(F::correction(&x[t], group)));
            for pair in 0..F::WIDTH / 8 {
                let w = F::weights(s, words, group, pair);
                let [first, second] = match F::WIDTH {
                    32 => [4 * pair, 16 + 4 * pair],
                    _ => [16 * (group % 2) + 8 * pair, 16 * (group % 2) + 8 * pair + 4],
                };
                for (dot, x) in dots.iter_mut().zip(x) {
                    for (w, at) in w.into_iter().zip([first, second]) {
                        let x = s.splat_i32(x.four(at));
                        *dot = if F::WIDE {
                            s.dot_u8(*dot, w, x)
                        } else {
                            s.dot_u7(*dot, w, x)
                        };
                    }
                }
            }
            let scale = F::scale(s, &header, group);
            for ((acc, dot), x) in acc.iter_mut().zip(dots).zip(x) {
                *acc = s.fma(s.to_f32(dot), s.mul(scale, s.splat(x.scale)), *acc);
            }
            if F::MINS {
                let min = F::min(s, &header, group);
                for (acc, x) in acc.iter_mut().zip(x) {
                    let sum = match (F::WIDTH, group % 2) {
                        (32, _) => x.sum,
                        (_, 0) => x.first_sum,
                        _ => x.sum - x.first_sum,
                    };
                    *acc = s.fma(min, s.splat(sum), *acc);
                }
            }
        }
    }
    acc
}
