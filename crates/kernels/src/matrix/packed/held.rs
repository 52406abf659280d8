//! Products of several tokens.
//!
//! The weights of a group stay in registers while the tokens pass by, whose sums wait in the first-level cache. Each
//! token's sums are added in the same order as in registers. The groups of a superblock are a loop where they can be: scales
//! that are read from memory count little beside several tokens, and less is compiled.

use std::marker::PhantomData;

use super::format::Format;
use super::layout::Line;
use super::product::{Ahead, EachBlock, PAIR, Piece, Sums, dot_four};
use crate::matrix::quantized::{QuantBlock, TILE};
use crate::simd::{LANES, Lanes, OnLanes};

/// The product of `G` groups of a piece with all tokens of its tile.
pub(super) struct Held<'a, F, const G: usize> {
    piece: Piece<'a>,
    /// The first group.
    group: usize,
    sums: &'a mut Sums,
    format: PhantomData<F>,
}

impl<'a, F: Format, const G: usize> Held<'a, F, G> {
    /// What adds the products to `sums`; a row's first block overwrites them.
    pub(super) fn new(piece: Piece<'a>, group: usize, sums: &'a mut Sums) -> Self {
        let format = PhantomData;
        Held {
            piece,
            group,
            sums,
            format,
        }
    }
}

impl<F: Format, const G: usize> OnLanes for Held<'_, F, G> {
    #[inline(always)]
    fn run<S: Lanes>(&mut self, s: S) {
        let sums = &mut self.sums[..self.piece.tile.tokens];
        let mut of_block = [[[0.0; LANES]; PAIR]; TILE];
        let of_block = &mut of_block[..sums.len()];
        let first = self.group;
        if self.piece.part.start == 0 {
            for sum in sums.iter_mut().flat_map(|sums| &mut sums[first..first + G]) {
                s.store(s.splat(0.0), sum);
            }
        }
        let mut to = InMemory {
            first,
            sums,
            of_block,
        };
        self.piece.each_block::<S, F, G>(s, first, 0, &mut to);
    }
}

/// The sums of a tile's tokens.
struct InMemory<'a> {
    /// The first group.
    first: usize,
    sums: &'a mut [[[f32; LANES]; PAIR]],
    /// Those of a superblock; zeros between them.
    of_block: &'a mut [[[f32; LANES]; PAIR]],
}

impl<S: Lanes, F: Format, const G: usize> EachBlock<S, F, G> for InMemory<'_> {
    #[inline(always)]
    fn add(
        &mut self,
        s: S,
        words: &[&[Line]; G],
        headers: &[F::Header<S>; G],
        x: &[QuantBlock],
        ahead: Ahead,
    ) {
        let first = self.first;
        if F::GROUPS == 1 {
            let group = Group::<S, G>::new::<F>(s, words, headers, 0, ahead);
            return group.add_all::<F>(s, x, self.sums, first);
        }
        let tokens = self.sums.len();
        for half in 0..2 {
            let group = half * (F::GROUPS / 2);
            if S::UNROLLED && F::COMMON {
                // Shifts are constant where it is known which of four groups it is.
                self.add_group::<S, F, G>(s, words, headers, group, x, ahead);
                self.add_group::<S, F, G>(s, words, headers, group + 1, x, ahead);
                self.add_group::<S, F, G>(s, words, headers, group + 2, x, ahead);
                self.add_group::<S, F, G>(s, words, headers, group + 3, x, ahead);
            } else {
                for group in group..group + F::GROUPS / 2 {
                    self.add_group::<S, F, G>(s, words, headers, group, x, ahead);
                }
            }
        }
        let step = 3 - F::PARTS;
        for (g, header) in headers.iter().enumerate() {
            let (factor, minus) = (F::factor(s, header), F::min(s, header));
            let mut pairs = [s.splat_i32(0); 8];
            if F::MINS {
                for (i, pair) in pairs[..8 / step].iter_mut().enumerate() {
                    *pair = F::min_pair(s, header, i * step);
                }
            }
            let sums = self.of_block.iter_mut().zip(&mut *self.sums);
            for (t, (of_block, sums)) in sums.enumerate() {
                let (of_block, sum) = (&mut of_block[first + g], &mut sums[first + g]);
                let mut product = s.mul(s.load(of_block), factor);
                s.store(s.splat(0.0), of_block);
                if F::MINS {
                    let mut min = s.splat_i32(0);
                    for (i, pair) in pairs[..8 / step].iter().enumerate() {
                        let x = &x[i * step * tokens + t];
                        let parts = if F::PARTS == 2 { x.halves } else { x.pair };
                        min = s.dot_i16(min, *pair, s.splat_i32(parts));
                    }
                    product = s.fma(s.to_f32(min), minus, product);
                }
                s.store(s.fma(product, s.splat(x[t].scale), s.load(sum)), sum);
            }
        }
    }
}

impl InMemory<'_> {
    /// Adds the products of a group of a superblock.
    #[inline(always)]
    fn add_group<S: Lanes, F: Format, const G: usize>(
        &mut self,
        s: S,
        words: &[&[Line]; G],
        headers: &[F::Header<S>; G],
        group: usize,
        x: &[QuantBlock],
        ahead: Ahead,
    ) {
        let x = &x[group * self.sums.len()..];
        let group = Group::<S, G>::new::<F>(s, words, headers, group, ahead);
        group.add_all::<F>(s, x, self.of_block, self.first);
    }
}

/// The weights of a group of columns in the order of their values, four to a vector, and what their products are multiplied
/// by: those of `G` groups of rows.
struct Group<S: Lanes, const G: usize> {
    w: [[S::I; 8]; G],
    /// A factor of each part: of a superblock its whole-numbered share.
    scales: [[S::F; 2]; G],
    /// Of a block of one group.
    mins: [S::F; G],
}

impl<S: Lanes, const G: usize> Group<S, G> {
    #[inline(always)]
    fn new<F: Format>(
        s: S,
        words: &[&[Line]; G],
        headers: &[F::Header<S>; G],
        group: usize,
        ahead: Ahead,
    ) -> Self {
        let mut this = Group {
            w: [[s.splat_i32(0); 8]; G],
            scales: [[s.splat(0.0); 2]; G],
            mins: [s.splat(0.0); G],
        };
        for (g, (words, header)) in words.iter().zip(headers).enumerate() {
            ahead.of_group::<S, F>(s, words, group);
            this.w[g] = fours::<S, F>(s, words, group, 0);
            this.scales[g][0] = F::scale(s, header, group, 0);
            if F::PARTS == 2 {
                let last = fours::<S, F>(s, words, group, 1);
                this.w[g][4..].copy_from_slice(&last[..4]);
                this.scales[g][1] = F::scale(s, header, group, 1);
            }
            if F::GROUPS == 1 && F::MINS {
                this.mins[g] = F::min(s, header);
            }
        }
        this
    }

    /// Adds the products with all tokens to their sums.
    #[inline(always)]
    fn add_all<F: Format>(
        &self,
        s: S,
        x: &[QuantBlock],
        sums: &mut [[[f32; LANES]; PAIR]],
        first: usize,
    ) {
        let mut x = &x[..sums.len()];
        let mut sums = sums;
        if S::FOURS {
            let (fours, others) = x.as_chunks::<4>();
            let (fours_sums, others_sums) = sums.as_chunks_mut();
            for (x, sums) in fours.iter().zip(fours_sums) {
                self.add::<F, 4>(s, x, sums, first);
            }
            (x, sums) = (others, others_sums);
        }
        for (x, sums) in x.as_chunks().0.iter().zip(sums.as_chunks_mut().0) {
            self.add::<F, 1>(s, x, sums, first);
        }
    }

    /// Adds the products with `T` tokens.
    #[inline(always)]
    fn add<F: Format, const T: usize>(
        &self,
        s: S,
        x: &[QuantBlock; T],
        sums: &mut [[[f32; LANES]; PAIR]; T],
        first: usize,
    ) {
        // Constant where it can be, so that nothing is checked.
        let first = if G == PAIR { 0 } else { first };
        for part in 0..F::PARTS {
            let dots = self.dots::<F, T>(s, part, x);
            for ((dots, x), sums) in dots.iter().zip(x).zip(&mut *sums) {
                for (g, dot) in dots.iter().enumerate() {
                    let mut scale = self.scales[g][part];
                    if F::GROUPS == 1 {
                        scale = s.mul(scale, s.splat(x.scale));
                    }
                    let sum = &mut sums[first + g];
                    let mut acc = s.fma(s.to_f32(*dot), scale, s.load(sum));
                    if F::GROUPS == 1 && F::MINS {
                        acc = s.fma(self.mins[g], s.splat(x.sum), acc);
                    }
                    s.store(acc, sum);
                }
            }
        }
    }

    /// The integer products of a part.
    #[inline(always)]
    fn dots<F: Format, const T: usize>(
        &self,
        s: S,
        part: usize,
        x: &[QuantBlock; T],
    ) -> [[S::I; G]; T] {
        let mut dots = [[s.splat_i32(0); G]; T];
        let (count, at) = (8 / F::PARTS, part * 8 / F::PARTS);
        if !S::FOURS {
            for (dots, x) in dots.iter_mut().zip(x) {
                for (g, sum) in dots.iter_mut().enumerate() {
                    let mut w = [s.splat_i32(0); 8];
                    w[..count].copy_from_slice(&self.w[g][at..at + count]);
                    *sum = dot::<S, F>(s, &w, part, x);
                }
            }
            return dots;
        }
        for (dots, x) in dots.iter_mut().zip(x) {
            *dots = [s.splat_i32(F::correction(x, part)); G];
        }
        for i in at..at + count {
            for (dots, x) in dots.iter_mut().zip(x) {
                let x = x.four(4 * i);
                for (g, dot) in dots.iter_mut().enumerate() {
                    *dot = dot_four::<S, F>(s, *dot, self.w[g][i], x);
                }
            }
        }
        dots
    }
}

/// The fours of a part's weights in their order: eight, or of 16 values the first four.
#[inline(always)]
pub(super) fn fours<S: Lanes, F: Format>(
    s: S,
    words: &[Line],
    group: usize,
    part: usize,
) -> [S::I; 8] {
    let mut fours = [s.splat_i32(0); 8];
    for pair in 0..4 / F::PARTS {
        let [first, second] = F::weights(s, words, group, part, pair);
        let at = match F::PARTS {
            1 => [pair, 4 + pair],
            _ => [2 * pair, 2 * pair + 1],
        };
        (fours[at[0]], fours[at[1]]) = (first, second);
    }
    fours
}

/// The integer products of a part's weights with a token.
#[inline(always)]
pub(super) fn dot<S: Lanes, F: Format>(s: S, w: &[S::I; 8], part: usize, x: &QuantBlock) -> S::I {
    let start = match F::MAX {
        128.. if S::CENTRED => 0,
        _ => F::correction(x, part),
    };
    let start = s.splat_i32(start);
    let mut a = [0; 8];
    for (i, a) in a[..8 / F::PARTS].iter_mut().enumerate() {
        *a = x.four(16 * part + 4 * i);
    }
    if F::PARTS == 2 {
        let ([w, ..], [a, ..]) = (w.as_chunks().0, a.as_chunks().0) else {
            unreachable!("8 are two times 4; this is a bug")
        };
        return s.dots::<4>(start, *w, *a, F::MAX);
    }
    s.dots(start, *w, a, F::MAX)
}
