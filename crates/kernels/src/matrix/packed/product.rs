//! Integer products of packed weights with quantized activations.
//!
//! For 16 rows and some tokens at once, a group's weights are unpacked once and multiplied with each token's bytes, four
//! of which are broadcast to all rows. The sums of a group are integers, exact in any order; they are scaled and added
//! to f32 sums group by group in the order of the columns, whatever number of tokens is computed together.
//!
//! Where there are many tokens, the columns are cut so that a tile's activations stay in the first-level
//! cache while all groups of rows of the task pass by; the sums wait in memory meanwhile.

use std::marker::PhantomData;
use std::ops::Range;

use super::format::{self, Format};
use super::held::{Held, dot, fours};
use super::layout::{Line, block_line};
use crate::matrix::quantized::{QuantBlock, TILE, Tile};
use crate::simd::{self, Kernel, LANES, Lanes, OnLanes, Simd};
use crate::{DType, Tier, cpu};

/// Groups of rows whose sums lie together.
pub(super) const PAIR: usize = 2;

/// For each token of a tile, the sums of a pair of groups of rows.
pub(super) type Sums = [[[f32; LANES]; PAIR]; TILE];

/// Blocks of activations that stay in the first-level cache while all rows of a task pass by.
const CACHED: usize = 256;

/// Columns of a piece whose weights are still in the first-level cache when they are multiplied in a second half.
const HALF_COLS: usize = 512;

/// How far ahead lines that follow in memory are called into the cache, where they are: with 8 lanes, and with 16.
const LINES_AHEAD: [isize; 2] = [24, 36];

/// What stands for the line of f16 of blocks that have none outside of their words.
const NO_HALVES: &Line = &[0; 64];

/// The product of some groups of 16 rows with the tokens of a tile.
pub(super) struct TileProduct<'a> {
    /// The lines of the groups of rows, one after the other.
    pub lines: &'a [Line],
    /// The lines of a group of rows.
    pub group_lines: usize,
    /// Blocks of a row.
    pub blocks: usize,
    pub tile: Tile<'a>,
    /// Overwritten: a tile's sums for each pair of groups of rows. Where the last has one group, those of the other have no
    /// meaning.
    pub sums: &'a mut [Sums],
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
            sums,
        } = self.0;
        let groups = lines.len() / group_lines;
        assert!(sums.len() == groups.div_ceil(PAIR));
        // The columns are cut so that activations that are used again stay in the first-level cache.
        let chunk = match tile.tokens {
            1 => blocks,
            tokens => (CACHED / (tokens * F::GROUPS))
                .max(1)
                .next_multiple_of(8 / F::GROUPS),
        };
        // Weights that follow in memory the processor foresees by itself. It looks but a few of them ahead where each takes
        // many instructions, and some are slower at it than when they are asked.
        let is_asked = S::HALVES || S::HELD && (tile.tokens > 1 || cpu::is_to_be_asked());
        for begin in (0..blocks).step_by(chunk) {
            let part = begin..blocks.min(begin + chunk);
            for (pair, sums) in sums.iter_mut().enumerate() {
                let first = pair * PAIR * group_lines;
                let end = lines.len().min(first + PAIR * group_lines);
                // What is multiplied next is called into the cache meanwhile. Where not all columns are multiplied at once it
                // is these columns of the next rows, or the next columns of the first rows, or what follows the last rows.
                let ahead = if chunk >= blocks {
                    Ahead(is_asked.then_some(LINES_AHEAD[usize::from(!S::HALVES)]))
                } else {
                    let next = match (end < lines.len(), part.end < blocks) {
                        (true, _) => end + lines_to::<F>(begin),
                        (false, true) => lines_to::<F>(part.end),
                        (false, false) => end,
                    };
                    Ahead(Some(
                        next as isize - (first + lines_to::<F>(begin)) as isize,
                    ))
                };
                let piece = Piece {
                    lines: &lines[first..end],
                    group_lines,
                    blocks,
                    part: part.clone(),
                    ahead,
                    tile: &tile,
                };
                let groups = (end - first) / group_lines;
                if !S::HELD || tile.tokens == 1 {
                    for group in 0..groups {
                        let mut t = 0;
                        while t < tile.tokens {
                            t += match !S::HELD && S::PAIRS && tile.tokens - t > 1 {
                                true => piece.add::<S, F, 2>(s, group, t, sums),
                                false => piece.add::<S, F, 1>(s, group, t, sums),
                            };
                        }
                    }
                } else if S::HALVES {
                    let step = (HALF_COLS / (F::GROUPS * 32)).max(2);
                    for group in 0..groups {
                        for begin in part.clone().step_by(step) {
                            let part = begin..part.end.min(begin + step);
                            let piece = Piece { part, ..piece };
                            s.in_halves(&mut Held::<F, 1>::new(piece, group, sums));
                        }
                    }
                } else {
                    Held::<F, PAIR>::new(piece, 0, sums).run(s);
                }
            }
        }
    }
}

/// The lines from a row's beginning to block `b`.
#[inline(always)]
const fn lines_to<F: Format>(b: usize) -> usize {
    match F::HALF {
        true => block_line(F::WORDS, b),
        false => b * F::WORDS,
    }
}

/// How many lines before their products weights are called into the cache, if they are: those of a group of columns at a
/// time, as more at once would have to wait for each other.
#[derive(Clone, Copy)]
pub(super) struct Ahead(Option<isize>);

impl Ahead {
    #[inline(always)]
    fn call<S: Lanes>(self, s: S, lines: &[Line]) {
        if let Ahead(Some(distance)) = self {
            for line in lines {
                s.prefetch(std::ptr::from_ref(line).wrapping_offset(distance));
            }
        }
    }

    /// Before the products of a group of columns.
    #[inline(always)]
    pub(super) fn of_group<S: Lanes, F: Format>(self, s: S, words: &[Line], group: usize) {
        let lines = group * F::WORDS / F::GROUPS..(group + 1) * F::WORDS / F::GROUPS;
        self.call(s, &words[lines]);
    }
}

/// Some blocks of one or two groups of 16 rows.
pub(super) struct Piece<'a> {
    /// The groups' lines.
    lines: &'a [Line],
    /// The lines of a group.
    group_lines: usize,
    /// Blocks of a row.
    blocks: usize,
    pub part: Range<usize>,
    ahead: Ahead,
    pub tile: &'a Tile<'a>,
}

/// What is done with each block of a piece.
pub(super) trait EachBlock<S: Lanes, F: Format, const G: usize> {
    /// `words` are the block's lines of each group; `x` begins with its activations, for the next tokens of the tile.
    fn add(
        &mut self,
        s: S,
        words: &[&[Line]; G],
        headers: &[F::Header<S>; G],
        x: &[QuantBlock],
        ahead: Ahead,
    );
}

impl Piece<'_> {
    /// Adds the products of a group of rows with the `T` tokens from `t` to their sums, block by block; a row's first block
    /// overwrites the sums. Returns `T`.
    #[inline(always)]
    fn add<S: Simd, F: Format, const T: usize>(
        &self,
        s: S,
        group: usize,
        t: usize,
        sums: &mut Sums,
    ) -> usize {
        let mut acc = [s.splat(0.0); T];
        if self.part.start > 0 {
            for (acc, sum) in acc.iter_mut().zip(&sums[t..]) {
                *acc = s.load(&sum[group]);
            }
        }
        let (stride, end) = (self.tile.tokens, self.part.end * F::GROUPS);
        assert!(self.part.is_empty() || self.tile.blocks.len() >= (end - 1) * stride + t + T);
        let mut sum = InRegisters { acc, stride };
        self.each_block::<S, F, 1>(s, group, t, &mut sum);
        for (acc, sum) in sum.acc.iter().zip(&mut sums[t..]) {
            s.store(*acc, &mut sum[group]);
        }
        T
    }

    /// Takes the blocks of the `G` groups from `group` one after the other, with the activations of the tokens from `t`.
    #[inline(always)]
    pub(super) fn each_block<S: Lanes, F: Format, const G: usize>(
        &self,
        s: S,
        group: usize,
        t: usize,
        to: &mut impl EachBlock<S, F, G>,
    ) {
        let Piece {
            blocks,
            ref part,
            ahead,
            tile,
            ..
        } = *self;
        let x = &tile.blocks[t..];
        assert!(part.end <= blocks);
        assert!(part.is_empty() || x.len() >= (part.end * F::GROUPS - 1) * tile.tokens);
        let last = self.lines.len() / self.group_lines - 1;
        let mut groups = [&self.lines[..0]; G];
        for (g, lines) in groups.iter_mut().enumerate() {
            // Where there is one group too few, the last stands in: its sums are not looked at.
            let group = (group + g).min(last);
            *lines = &self.lines[group * self.group_lines..][..self.group_lines];
        }
        let mut first = part.start;
        while first < part.end {
            // Two blocks at a time, as their f16 share a line.
            let count = (part.end - first).min(2 - first % 2);
            let mut pairs = groups;
            let mut halves = [NO_HALVES; G];
            for (lines, half) in pairs.iter_mut().zip(&mut halves) {
                if F::HALF {
                    *half = &lines[lines_to::<F>(blocks.min(first / 2 * 2 + 2) - 1) + F::WORDS];
                }
                *lines = &lines[lines_to::<F>(first)..][..count * F::WORDS];
                if F::HALF {
                    ahead.call(s, std::slice::from_ref(*half));
                }
            }
            for i in 0..count {
                let mut words = pairs;
                for words in &mut words {
                    *words = &words[i * F::WORDS..][..F::WORDS];
                }
                let of = (first + i) % 2;
                let header = F::header(s, words[0], &halves[0].as_chunks().0[of]);
                let mut headers = [header; G];
                let others = headers.iter_mut().zip(&words).zip(&halves).skip(1);
                for ((header, words), half) in others {
                    *header = F::header(s, words, &half.as_chunks().0[of]);
                }
                // SAFETY: `first + i` is below the number of blocks, so by the check above its activations lie there.
                let x = unsafe { x.get_unchecked((first + i) * F::GROUPS * tile.tokens..) };
                to.add(s, &words, &headers, x, ahead);
            }
            first += count;
        }
    }
}

/// The sums of `T` tokens in registers.
struct InRegisters<S: Lanes, const T: usize> {
    acc: [S::F; T],
    /// Tokens of the tile.
    stride: usize,
}

impl<S: Lanes, F: Format, const T: usize> EachBlock<S, F, 1> for InRegisters<S, T> {
    #[inline(always)]
    fn add(
        &mut self,
        s: S,
        [words]: &[&[Line]; 1],
        [header]: &[F::Header<S>; 1],
        x: &[QuantBlock],
        ahead: Ahead,
    ) {
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
    if S::UNROLLED {
        // No loop: compilers do not unroll one of this size, and without constant groups shifts are variable and scales lie
        // in memory, where reading them back right after they were written stalls.
        add_group::<S, F, T>(s, words, header, 0, x, ahead, &mut sums);
        add_group::<S, F, T>(s, words, header, 1, x, ahead, &mut sums);
        add_group::<S, F, T>(s, words, header, 2, x, ahead, &mut sums);
        add_group::<S, F, T>(s, words, header, 3, x, ahead, &mut sums);
        add_group::<S, F, T>(s, words, header, 4, x, ahead, &mut sums);
        add_group::<S, F, T>(s, words, header, 5, x, ahead, &mut sums);
        add_group::<S, F, T>(s, words, header, 6, x, ahead, &mut sums);
        add_group::<S, F, T>(s, words, header, 7, x, ahead, &mut sums);
    } else {
        for group in 0..F::GROUPS {
            add_group::<S, F, T>(s, words, header, group, x, ahead, &mut sums);
        }
    }
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
pub(super) fn dot_four<S: Lanes, F: Format>(s: S, dot: S::I, w: S::I, x: i32) -> S::I {
    let x = s.splat_i32(x);
    if F::MAX > 127 {
        s.dot_u8(dot, w, x)
    } else {
        s.dot_u7(dot, w, x)
    }
}
