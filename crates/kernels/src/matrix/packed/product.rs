//! Integer products of packed weights with quantized activations.
//!
//! For 16 rows and some tokens at once, a group's weights are unpacked once and multiplied with each token's bytes, four
//! of which are broadcast to all rows. The sums of a group are integers, exact in any order; they are scaled and added
//! to f32 sums group by group in the order of the columns, whatever number of tokens is computed together.
//!
//! Where there are several tiles of tokens, the columns are cut so that a tile's activations stay in the first-level
//! cache while all groups of rows of the task pass by; the sums wait in memory meanwhile.

use std::ops::Range;

use super::format::{self, Format};
use super::layout::{Line, ROWS};
use crate::DType;
use crate::matrix::quantized::{QuantBlock, Quantized, TILE, Tile};
use crate::pool::SharedMut;
use crate::simd::{Kernel, LANES, Simd};

/// Columns that are multiplied before the next rows take their turn, where there are several tiles.
const CHUNK_COLS: usize = 512;

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
    /// Room for the sums of a tile of tokens and each group of rows.
    pub sums: &'a mut [[[f32; LANES]; TILE]],
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
    fn product<S: Simd, F: Format>(self, s: S) {
        let Rows {
            lines,
            group_lines,
            blocks,
            x,
            first,
            rows,
            sums,
            out,
            ..
        } = self;
        let several = x.tiles().nth(1).is_some();
        let chunk = if several {
            CHUNK_COLS / (F::GROUPS * 32)
        } else {
            blocks
        };
        for tile in x.tiles() {
            for begin in (0..blocks).step_by(chunk.max(1)) {
                let part = begin..blocks.min(begin + chunk);
                for (lines, sums) in lines.chunks_exact(group_lines).zip(&mut *sums) {
                    let mut t = 0;
                    while t < tile.tokens {
                        let part = part.clone();
                        t += match (tile.tokens - t, S::WIDE) {
                            (12.., true) => add::<S, F, 12>(s, lines, blocks, part, &tile, t, sums),
                            (8.., true) => add::<S, F, 8>(s, lines, blocks, part, &tile, t, sums),
                            (4.., true) => add::<S, F, 4>(s, lines, blocks, part, &tile, t, sums),
                            (2.., false) => add::<S, F, 2>(s, lines, blocks, part, &tile, t, sums),
                            _ => add::<S, F, 1>(s, lines, blocks, part, &tile, t, sums),
                        };
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                let row = first + i * ROWS;
                let count = ROWS.min(rows - row);
                for (t, sum) in sums[..tile.tokens].iter().enumerate() {
                    // SAFETY: these rows belong to this task alone.
                    let out = unsafe { out.range((tile.first + t) * rows + row, count) };
                    out.copy_from_slice(&sum[..count]);
                }
            }
        }
    }
}

/// Adds the products of 16 rows with the tokens from `t` to their sums, block by block of `part`; the first block
/// overwrites the sums. Returns `T`, the number of tokens.
#[inline(always)]
fn add<S: Simd, F: Format, const T: usize>(
    s: S,
    lines: &[Line],
    blocks: usize,
    part: Range<usize>,
    tile: &Tile,
    t: usize,
    sums: &mut [[f32; LANES]; TILE],
) -> usize {
    let (words, halves) = lines.split_at(blocks * F::WORDS);
    let halves = halves.as_flattened().as_chunks::<{ 2 * LANES }>().0;
    let (x, stride) = (&tile.blocks[t..], tile.tokens);
    let x_end = part.end * F::GROUPS;
    assert!(part.end <= blocks && (!F::HALF || halves.len() >= blocks));
    assert!(part.is_empty() || x.len() >= (x_end - 1) * stride + T);
    let mut acc = [s.splat(0.0); T];
    if part.start > 0 {
        for (acc, sum) in acc.iter_mut().zip(&sums[t..]) {
            *acc = s.load(sum);
        }
    }
    let words = &words[part.start * F::WORDS..part.end * F::WORDS];
    for (b, words) in part.zip(words.chunks_exact(F::WORDS)) {
        let half = if F::HALF { &halves[b] } else { &[0; 2 * LANES] };
        let header = F::header(s, words, half);
        for group in 0..F::GROUPS {
            let at = b * F::GROUPS + group;
            // SAFETY: `at` is below the number of groups, so by the check above `T` blocks lie there.
            let x: &[QuantBlock; T] = unsafe { &*x.as_ptr().add(at * stride).cast() };
            add_part::<S, F, T, 0>(s, words, &header, group, x, &mut acc);
            if F::PARTS == 2 {
                add_part::<S, F, T, 1>(s, words, &header, group, x, &mut acc);
            }
        }
    }
    for (acc, sum) in acc.iter().zip(&mut sums[t..]) {
        s.store(*acc, sum);
    }
    T
}

/// Adds the products of one part of a group.
#[inline(always)]
fn add_part<S: Simd, F: Format, const T: usize, const PART: usize>(
    s: S,
    words: &[Line],
    header: &F::Header<S>,
    group: usize,
    x: &[QuantBlock; T],
    acc: &mut [S::F; T],
) {
    let mut dots = [s.splat_i32(0); T];
    for (dot, x) in dots.iter_mut().zip(x) {
        *dot = s.splat_i32(F::correction(x, PART));
    }
    for pair in 0..4 / F::PARTS {
        let w = F::weights(s, words, group, PART, pair);
        let [first, second] = match F::PARTS {
            1 => [4 * pair, 16 + 4 * pair],
            _ => [16 * PART + 8 * pair, 16 * PART + 8 * pair + 4],
        };
        for (dot, x) in dots.iter_mut().zip(x) {
            *dot = dot_four::<S, F>(s, *dot, w[0], x.four(first));
            *dot = dot_four::<S, F>(s, *dot, w[1], x.four(second));
        }
    }
    let scale = F::scale(s, header, group, PART);
    for ((acc, dot), x) in acc.iter_mut().zip(&dots).zip(x) {
        *acc = s.fma(s.to_f32(*dot), s.mul(scale, s.splat(x.scale)), *acc);
    }
    if F::MINS {
        let min = F::min(s, header, group, PART);
        for (acc, x) in acc.iter_mut().zip(x) {
            let sum = match (F::PARTS, PART) {
                (1, _) => x.sum,
                (_, 0) => x.first_sum,
                _ => x.last_sum,
            };
            *acc = s.fma(min, s.splat(sum), *acc);
        }
    }
}

/// Adds the products of four weights of each row with four activations.
#[inline(always)]
fn dot_four<S: Simd, F: Format>(s: S, dot: S::I, w: S::I, x: i32) -> S::I {
    let x = s.splat_i32(x);
    if F::WIDE {
        s.dot_u8(dot, w, x)
    } else {
        s.dot_u7(dot, w, x)
    }
}
