//! Products of many tokens where registers are few.
//!
//! The weights of a group stay in registers while the tokens pass by one after the other, whose sums wait in the
//! first-level cache. Each token's sums are added in the same order as in registers.

use std::marker::PhantomData;

use super::format::Format;
use super::layout::Line;
use super::product::{Ahead, EachBlock, Piece};
use crate::matrix::quantized::{QuantBlock, TILE};
use crate::simd::{LANES, Lanes, OnLanes};

/// The product of a piece with all tokens of its tile.
pub(super) struct Held<'a, F> {
    piece: Piece<'a>,
    sums: &'a mut [[f32; LANES]; TILE],
    format: PhantomData<F>,
}

impl<'a, F: Format> Held<'a, F> {
    /// What adds the products to `sums`; a row's first block overwrites them.
    pub(super) fn new(piece: Piece<'a>, sums: &'a mut [[f32; LANES]; TILE]) -> Self {
        let format = PhantomData;
        Held {
            piece,
            sums,
            format,
        }
    }
}

impl<F: Format> OnLanes for Held<'_, F> {
    #[inline(always)]
    fn run<S: Lanes>(&mut self, s: S) {
        let sums = &mut self.sums[..self.piece.tile.tokens];
        if self.piece.part.start == 0 {
            for sum in &mut *sums {
                s.store(s.splat(0.0), sum);
            }
        }
        self.piece.each_block::<S, F>(s, &mut InMemory { sums });
    }
}

/// The sums of a tile's tokens.
struct InMemory<'a> {
    sums: &'a mut [[f32; LANES]],
}

impl<S: Lanes, F: Format> EachBlock<S, F> for InMemory<'_> {
    #[inline(always)]
    fn add(&mut self, s: S, words: &[Line], header: &F::Header<S>, x: &[QuantBlock], ahead: Ahead) {
        if F::GROUPS == 1 {
            ahead.of_group::<S, F>(s, words, 0);
            add_block::<S, F>(s, words, header, x, self.sums);
        } else {
            add_superblock::<S, F>(s, words, header, x, ahead, self.sums);
        }
    }
}

#[inline(always)]
fn add_block<S: Lanes, F: Format>(
    s: S,
    words: &[Line],
    header: &F::Header<S>,
    x: &[QuantBlock],
    sums: &mut [[f32; LANES]],
) {
    let w = fours::<S, F>(s, words, 0, 0);
    let scale = F::scale(s, header, 0, 0);
    for (x, sum) in x.iter().zip(sums) {
        let dot = s.to_f32(dot::<S, F>(s, &w, 0, x));
        let mut acc = s.fma(dot, s.mul(scale, s.splat(x.scale)), s.load(sum));
        if F::MINS {
            acc = s.fma(F::min(s, header), s.splat(x.sum), acc);
        }
        s.store(acc, sum);
    }
}

#[inline(always)]
fn add_superblock<S: Lanes, F: Format>(
    s: S,
    words: &[Line],
    header: &F::Header<S>,
    x: &[QuantBlock],
    ahead: Ahead,
    sums: &mut [[f32; LANES]],
) {
    let tokens = sums.len();
    let mut room = [[0.0; LANES]; TILE];
    let of_block = &mut room[..tokens];
    // No loop, so that shifts are by constant numbers.
    add_group::<S, F>(s, words, header, 0, x, ahead, of_block);
    add_group::<S, F>(s, words, header, 1, x, ahead, of_block);
    add_group::<S, F>(s, words, header, 2, x, ahead, of_block);
    add_group::<S, F>(s, words, header, 3, x, ahead, of_block);
    add_group::<S, F>(s, words, header, 4, x, ahead, of_block);
    add_group::<S, F>(s, words, header, 5, x, ahead, of_block);
    add_group::<S, F>(s, words, header, 6, x, ahead, of_block);
    add_group::<S, F>(s, words, header, 7, x, ahead, of_block);
    let (factor, minus) = (F::factor(s, header), F::min(s, header));
    let mut pairs = [s.splat_i32(0); 8];
    let step = 3 - F::PARTS;
    if F::MINS {
        for (i, pair) in pairs[..8 / step].iter_mut().enumerate() {
            *pair = F::min_pair(s, header, i * step);
        }
    }
    for (t, (of_block, sum)) in of_block.iter().zip(sums).enumerate() {
        let mut of_block = s.mul(s.load(of_block), factor);
        if F::MINS {
            let mut min = s.splat_i32(0);
            for (i, pair) in pairs[..8 / step].iter().enumerate() {
                let x = &x[i * step * tokens + t];
                let parts = if F::PARTS == 2 { x.halves } else { x.pair };
                min = s.dot_i16(min, *pair, s.splat_i32(parts));
            }
            of_block = s.fma(s.to_f32(min), minus, of_block);
        }
        s.store(s.fma(of_block, s.splat(x[t].scale), s.load(sum)), sum);
    }
}

/// Adds the products of a group of a superblock, times its parts' whole-numbered scales; those of the first group
/// overwrite the sums.
#[inline(always)]
fn add_group<S: Lanes, F: Format>(
    s: S,
    words: &[Line],
    header: &F::Header<S>,
    group: usize,
    x: &[QuantBlock],
    ahead: Ahead,
    sums: &mut [[f32; LANES]],
) {
    ahead.of_group::<S, F>(s, words, group);
    for part in 0..F::PARTS {
        let w = fours::<S, F>(s, words, group, part);
        let scale = F::scale(s, header, group, part);
        for (x, sum) in x[group * sums.len()..].iter().zip(&mut *sums) {
            let before = match group + part {
                0 => s.splat(0.0),
                _ => s.load(sum),
            };
            let dot = s.to_f32(dot::<S, F>(s, &w, part, x));
            s.store(s.fma(dot, scale, before), sum);
        }
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
