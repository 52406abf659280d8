//! Integer products of packed weights with quantized activations.
//!
//! For 16 rows and some tokens at once, a group's weights are unpacked once and multiplied with each token's bytes, four
//! of which are broadcast to all rows. The sums of a group are integers, exact in any order; they are scaled and added
//! to f32 sums group by group in the order of the columns, whatever number of tokens is computed together.
//!
//! Where there are several tiles of tokens, the columns are cut so that a tile's activations stay in the first-level
//! cache while all groups of rows of the task pass by; the sums wait in memory meanwhile.

use std::marker::PhantomData;
use std::ops::Range;

use super::format::{self, Format};
use super::held::{Held, dot, fours};
use super::layout::{Line, block_line};
use crate::matrix::quantized::{QuantBlock, TILE, Tile};
use crate::simd::{self, Kernel, LANES, Lanes, Simd};
use crate::{DType, Tier};

/// Columns that are multiplied before the next rows take their turn, where there are several tiles.
const CHUNK_COLS: usize = 512;

/// How far ahead lines that follow in memory are called into the cache, where they are.
const LINES_AHEAD: isize = 24;

/// What stands for the f16 of blocks that have none outside of their words.
const NO_HALVES: &[[u8; 2 * LANES]] = &[[0; 2 * LANES]; 2];

/// The product of some groups of 16 rows with the tokens of a tile.
pub(super) struct TileProduct<'a> {
    /// The lines of the groups of rows, one after the other.
    pub lines: &'a [Line],
    /// The lines of a group of rows.
    pub group_lines: usize,
    /// Blocks of a row.
    pub blocks: usize,
    pub tile: Tile<'a>,
    /// Whether other tiles are multiplied with the same weights.
    pub several: bool,
    /// Overwritten: a tile's sums for each group of rows.
    pub sums: &'a mut [[[f32; LANES]; TILE]],
}

impl TileProduct<'_> {
    /// Computes the sums; weights are of type `dtype`.
    ///
    /// Each type is a kernel of its own: one for all would be a function of a size that compilers take minutes for.
    pub(super) fn run(self, tier: Tier, dtype: DType) {
        match dtype {
            DType::Q4_0 => self.run_as::<format::Q4_0>(tier),
            DType::Q4_1 => self.run_as::<format::Q4_1>(tier),
            DType::Q5_0 => self.run_as::<format::Q5_0>(tier),
            DType::Q5_1 => self.run_as::<format::Q5_1>(tier),
            DType::Q8_0 => self.run_as::<format::Q8_0>(tier),
            DType::Q2_K => self.run_as::<format::Q2K>(tier),
            DType::Q3_K => self.run_as::<format::Q3K>(tier),
            DType::Q4_K => self.run_as::<format::Q4K>(tier),
            DType::Q5_K => self.run_as::<format::Q5K>(tier),
            DType::Q6_K => self.run_as::<format::Q6K>(tier),
            DType::F32 | DType::F16 | DType::BF16 => {
                unreachable!("only block types are packed; this is a bug")
            }
        }
    }

    fn run_as<F: Format>(self, tier: Tier) {
        simd::run(tier, Of::<F>(self, PhantomData));
    }
}

/// A product with weights of format `F`.
struct Of<'a, F>(TileProduct<'a>, PhantomData<F>);

impl<F: Format> Kernel for Of<'_, F> {
    type Output = ();
    const MULTIPLIES_BYTES: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let TileProduct {
            lines,
            group_lines,
            blocks,
            tile,
            several,
            sums,
        } = self.0;
        // What is multiplied next is called into the cache meanwhile where it does not follow in memory: these columns of
        // the next rows. Weights that are read one after the other the processor foresees by itself, farther ahead than it
        // could be asked to; unless a line takes so many instructions that it looks but a few lines ahead.
        let (chunk, ahead) = if several {
            let chunk = CHUNK_COLS / (F::GROUPS * 32);
            (chunk.max(1), Ahead::Blocks(group_lines as isize))
        } else if S::HALVES {
            (blocks, Ahead::Groups(LINES_AHEAD))
        } else {
            (blocks, Ahead::Nothing)
        };
        for begin in (0..blocks).step_by(chunk) {
            let part = begin..blocks.min(begin + chunk);
            for (lines, sums) in lines.chunks_exact(group_lines).zip(&mut *sums) {
                let mut t = 0;
                while t < tile.tokens {
                    let piece = Piece {
                        lines,
                        blocks,
                        part: part.clone(),
                        ahead,
                        tile: &tile,
                        t,
                    };
                    t += if S::HALVES && tile.tokens > 1 {
                        // In pieces whose second half of rows is still in the first-level cache.
                        let step = (CHUNK_COLS / (F::GROUPS * 32)).max(2);
                        for begin in part.clone().step_by(step) {
                            let part = begin..part.end.min(begin + step);
                            let piece = Piece { part, ..piece };
                            s.in_halves(&mut Held::<F>::new(piece, sums));
                        }
                        tile.tokens
                    } else if S::WIDE {
                        match tile.tokens - t {
                            12.. => piece.add::<S, F, 12>(s, sums),
                            8.. => piece.add::<S, F, 8>(s, sums),
                            4.. => piece.add::<S, F, 4>(s, sums),
                            2.. => piece.add::<S, F, 2>(s, sums),
                            _ => piece.add::<S, F, 1>(s, sums),
                        }
                    } else if S::PAIRS {
                        match tile.tokens - t {
                            2.. => piece.add::<S, F, 2>(s, sums),
                            _ => piece.add::<S, F, 1>(s, sums),
                        }
                    } else {
                        piece.add::<S, F, 1>(s, sums)
                    };
                }
            }
        }
    }
}

/// What is called into the cache: the lines at this distance from those of a block, all at once, or from those of each of
/// its groups in turn.
#[derive(Clone, Copy)]
pub(super) enum Ahead {
    Nothing,
    Blocks(isize),
    Groups(isize),
}

impl Ahead {
    #[inline(always)]
    fn call<S: Lanes>(s: S, lines: &[Line], distance: isize) {
        for line in lines {
            s.prefetch(std::ptr::from_ref(line).wrapping_offset(distance));
        }
    }

    /// Before the products of a group, where groups are called in turn.
    #[inline(always)]
    pub(super) fn of_group<S: Lanes, F: Format>(self, s: S, words: &[Line], group: usize) {
        if let Ahead::Groups(distance) = self {
            let lines = group * F::WORDS / F::GROUPS..(group + 1) * F::WORDS / F::GROUPS;
            Ahead::call(s, &words[lines], distance);
        }
    }
}

/// Some blocks of 16 rows and the tokens from `t`.
pub(super) struct Piece<'a> {
    lines: &'a [Line],
    blocks: usize,
    pub part: Range<usize>,
    ahead: Ahead,
    pub tile: &'a Tile<'a>,
    t: usize,
}

/// What is done with each block of a piece.
pub(super) trait EachBlock<S: Lanes, F: Format> {
    /// `words` are the block's lines; `x` begins with its activations, for the next tokens of the tile.
    fn add(&mut self, s: S, words: &[Line], header: &F::Header<S>, x: &[QuantBlock], ahead: Ahead);
}

impl Piece<'_> {
    /// Adds the products with `T` tokens to their sums, block by block; a row's first block overwrites the sums. Returns
    /// `T`.
    #[inline(always)]
    fn add<S: Simd, F: Format, const T: usize>(
        self,
        s: S,
        sums: &mut [[f32; LANES]; TILE],
    ) -> usize {
        let mut acc = [s.splat(0.0); T];
        if self.part.start > 0 {
            for (acc, sum) in acc.iter_mut().zip(&sums[self.t..]) {
                *acc = s.load(sum);
            }
        }
        let (stride, end) = (self.tile.tokens, self.part.end * F::GROUPS);
        assert!(self.part.is_empty() || self.tile.blocks.len() >= (end - 1) * stride + self.t + T);
        let mut sum = InRegisters { acc, stride };
        self.each_block::<S, F>(s, &mut sum);
        for (acc, sum) in sum.acc.iter().zip(&mut sums[self.t..]) {
            s.store(*acc, sum);
        }
        T
    }

    #[inline(always)]
    pub(super) fn each_block<S: Lanes, F: Format>(&self, s: S, to: &mut impl EachBlock<S, F>) {
        let Piece {
            lines,
            blocks,
            ref part,
            ahead,
            tile,
            t,
        } = *self;
        let x = &tile.blocks[t..];
        assert!(part.end <= blocks);
        assert!(part.start % 2 == 0 && (part.end % 2 == 0 || part.end == blocks));
        assert!(part.is_empty() || x.len() >= (part.end * F::GROUPS - 1) * tile.tokens);
        // Two blocks at a time, as their f16 share a line.
        for first in part.clone().step_by(2) {
            let count = (part.end - first).min(2);
            let (lines, halves) = if F::HALF {
                let lines = &lines[block_line(F::WORDS, first)..][..count * F::WORDS + 1];
                (
                    lines,
                    lines[count * F::WORDS].as_chunks::<{ 2 * LANES }>().0,
                )
            } else {
                (&lines[first * F::WORDS..][..count * F::WORDS], NO_HALVES)
            };
            match ahead {
                Ahead::Nothing => {}
                Ahead::Blocks(distance) => Ahead::call(s, lines, distance),
                // The others when it is their groups' turn.
                Ahead::Groups(distance) => Ahead::call(s, &lines[count * F::WORDS..], distance),
            }
            for (i, half) in halves[..count].iter().enumerate() {
                let words = &lines[i * F::WORDS..][..F::WORDS];
                let header = F::header(s, words, half);
                // SAFETY: `first + i` is below the number of blocks, so by the check above its activations lie there.
                let x = unsafe { x.get_unchecked((first + i) * F::GROUPS * tile.tokens..) };
                to.add(s, words, &header, x, ahead);
            }
        }
    }
}

/// The sums of `T` tokens in registers.
struct InRegisters<S: Lanes, const T: usize> {
    acc: [S::F; T],
    /// Tokens of the tile.
    stride: usize,
}

impl<S: Lanes, F: Format, const T: usize> EachBlock<S, F> for InRegisters<S, T> {
    #[inline(always)]
    fn add(&mut self, s: S, words: &[Line], header: &F::Header<S>, x: &[QuantBlock], ahead: Ahead) {
        // SAFETY: made by `Piece::add`, which checked that each block of the piece has `T` tokens' activations.
        let x = unsafe { Activations::<T>::new(x, self.stride) };
        if F::GROUPS == 1 {
            ahead.of_group::<S, F>(s, words, 0);
            add_block::<S, F, T>(s, words, header, x.block(0), &mut self.acc);
        } else {
            add_superblock::<S, F, T>(s, words, header, x, ahead, &mut self.acc);
        }
    }
}

/// The activations of `T` tokens that a block of weights is multiplied with.
#[derive(Clone, Copy)]
struct Activations<'a, const T: usize> {
    blocks: &'a [QuantBlock],
    stride: usize,
}

impl<'a, const T: usize> Activations<'a, T> {
    /// Those of as many groups as a block of weights has.
    ///
    /// # Safety
    /// In each of these groups, `stride` blocks apart, there are `T` blocks.
    #[inline(always)]
    unsafe fn new(blocks: &'a [QuantBlock], stride: usize) -> Activations<'a, T> {
        Activations { blocks, stride }
    }

    /// A group's. It must be one of the block of weights.
    #[inline(always)]
    fn block(&self, group: usize) -> &'a [QuantBlock; T] {
        // SAFETY: by the contract of `new`.
        unsafe { &*self.blocks.as_ptr().add(group * self.stride).cast() }
    }
}

/// Adds the products of a block of 32 weights, whose activations have a scale of their own.
#[inline(always)]
fn add_block<S: Lanes, F: Format, const T: usize>(
    s: S,
    words: &[Line],
    header: &F::Header<S>,
    x: &[QuantBlock; T],
    acc: &mut [S::F; T],
) {
    let dots = dots::<S, F, T, 0>(s, words, 0, x);
    let scale = F::scale(s, header, 0, 0);
    for ((acc, dot), x) in acc.iter_mut().zip(&dots).zip(x) {
        *acc = s.fma(s.to_f32(*dot), s.mul(scale, s.splat(x.scale)), *acc);
    }
    if F::MINS {
        let min = F::min(s, header);
        for (acc, x) in acc.iter_mut().zip(x) {
            *acc = s.fma(min, s.splat(x.sum), *acc);
        }
    }
}

/// Adds the products of a superblock of 256 weights. Its parts' scales and minima are integers times one number each, and
/// its activations have one scale, so that both numbers are multiplied only once.
#[inline(always)]
fn add_superblock<S: Lanes, F: Format, const T: usize>(
    s: S,
    words: &[Line],
    header: &F::Header<S>,
    x: Activations<T>,
    ahead: Ahead,
    acc: &mut [S::F; T],
) {
    let mut sums = [s.splat(0.0); T];
    // No loop: compilers do not unroll one of this size, and without constant groups shifts are variable and scales lie in
    // memory, where reading them back right after they were written stalls.
    add_group::<S, F, T>(s, words, header, 0, x, ahead, &mut sums);
    add_group::<S, F, T>(s, words, header, 1, x, ahead, &mut sums);
    add_group::<S, F, T>(s, words, header, 2, x, ahead, &mut sums);
    add_group::<S, F, T>(s, words, header, 3, x, ahead, &mut sums);
    add_group::<S, F, T>(s, words, header, 4, x, ahead, &mut sums);
    add_group::<S, F, T>(s, words, header, 5, x, ahead, &mut sums);
    add_group::<S, F, T>(s, words, header, 6, x, ahead, &mut sums);
    add_group::<S, F, T>(s, words, header, 7, x, ahead, &mut sums);
    let factor = F::factor(s, header);
    for sum in &mut sums {
        *sum = s.mul(*sum, factor);
    }
    if F::MINS {
        let mut mins = [s.splat_i32(0); T];
        // Two parts' minima at once: of one group, or of two.
        for group in (0..F::GROUPS).step_by(3 - F::PARTS) {
            let pair = F::min_pair(s, header, group);
            for (min, x) in mins.iter_mut().zip(x.block(group)) {
                let parts = if F::PARTS == 2 { x.halves } else { x.pair };
                *min = s.dot_i16(*min, pair, s.splat_i32(parts));
            }
        }
        let factor = F::min(s, header);
        for (sum, min) in sums.iter_mut().zip(&mins) {
            *sum = s.fma(s.to_f32(*min), factor, *sum);
        }
    }
    for ((acc, sum), x) in acc.iter_mut().zip(&sums).zip(x.block(0)) {
        *acc = s.fma(*sum, s.splat(x.scale), *acc);
    }
}

/// Adds the products of a group of a superblock, times its parts' whole-numbered scales.
#[inline(always)]
fn add_group<S: Lanes, F: Format, const T: usize>(
    s: S,
    words: &[Line],
    header: &F::Header<S>,
    group: usize,
    x: Activations<T>,
    ahead: Ahead,
    sums: &mut [S::F; T],
) {
    ahead.of_group::<S, F>(s, words, group);
    let x = x.block(group);
    let parts = dots::<S, F, T, 0>(s, words, group, x);
    let scale = F::scale(s, header, group, 0);
    for (sum, dot) in sums.iter_mut().zip(&parts) {
        *sum = s.fma(s.to_f32(*dot), scale, *sum);
    }
    if F::PARTS == 2 {
        let parts = dots::<S, F, T, 1>(s, words, group, x);
        let scale = F::scale(s, header, group, 1);
        for (sum, dot) in sums.iter_mut().zip(&parts) {
            *sum = s.fma(s.to_f32(*dot), scale, *sum);
        }
    }
}

/// The integer products of one part of a group.
#[inline(always)]
fn dots<S: Lanes, F: Format, const T: usize, const PART: usize>(
    s: S,
    words: &[Line],
    group: usize,
    x: &[QuantBlock; T],
) -> [S::I; T] {
    let mut dots = [s.splat_i32(0); T];
    if T == 1 {
        let fours = fours::<S, F>(s, words, group, PART);
        dots[0] = dot::<S, F>(s, &fours, PART, &x[0]);
        return dots;
    }
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
    dots
}

/// Adds the products of four weights of each row with four activations.
#[inline(always)]
fn dot_four<S: Lanes, F: Format>(s: S, dot: S::I, w: S::I, x: i32) -> S::I {
    let x = s.splat_i32(x);
    if F::MAX > 127 {
        s.dot_u8(dot, w, x)
    } else {
        s.dot_u7(dot, w, x)
    }
}
