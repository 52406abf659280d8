//! The attention of some queries on one head's keys and values: the work of a task.
//!
//! Scores of a query on all its keys are computed first, then their softmax, then the sum of the values. Each score is
//! a sum over the dimensions in their order, each output a sum over the positions in their order, so neither depends
//! on which queries are computed together.

use super::cache::{Blocks, Shape};
use super::element::Element;
use crate::pool::SharedMut;
use crate::simd::{self, Kernel, LANES, Simd, load_part, store_part};
use crate::softmax::exp_in_place;
use crate::{Tier, scratch};

/// Queries whose scores are computed together.
const SCORE_ROWS: usize = 8;
/// Queries whose values are summed together.
const VALUE_ROWS: usize = 4;

/// The keys and values of one sequence and head.
#[derive(Clone, Copy)]
pub(super) struct Context<'a, E: Element> {
    pub blocks: &'a Blocks<E>,
    pub shape: Shape,
    pub table: &'a [u32],
    pub head: usize,
}

impl<E: Element> Context<'_, E> {
    fn tile(&self, block: usize) -> usize {
        self.table[block] as usize * self.shape.kv_heads + self.head
    }

    /// The transposed keys of a block.
    #[inline(always)]
    fn keys(&self, block: usize) -> &[E] {
        &self.blocks.keys[self.tile(block) * self.shape.keys_len()..][..self.shape.keys_len()]
    }

    /// The values of a block.
    #[inline(always)]
    fn values(&self, block: usize) -> &[E] {
        &self.blocks.values[self.tile(block) * self.shape.values_len()..][..self.shape.values_len()]
    }
}

/// A query: where it begins in `q` and `out`, and how many positions it sees.
#[derive(Clone, Copy, Default)]
pub(super) struct Query {
    pub at: usize,
    pub visible: usize,
}

/// Queries on the same keys and values.
pub(super) struct Heads<'a, E: Element> {
    pub context: Context<'a, E>,
    pub q: &'a [f32],
    pub scale: f32,
    pub queries: &'a [Query],
    pub out: &'a SharedMut<f32>,
}

impl<E: Element> Heads<'_, E> {
    /// Computes and writes the outputs of all queries.
    pub(super) fn attend(&self, tier: Tier) {
        let Shape { block_size, .. } = self.context.shape;
        let most = self
            .queries
            .iter()
            .map(|query| query.visible)
            .max()
            .unwrap_or(0);
        let row_len = most.div_ceil(block_size) * self.context.shape.key_stride();
        scratch::with(self.queries.len() * row_len, |scores| {
            simd::run(
                tier,
                Attend {
                    heads: self,
                    row_len,
                    scores,
                },
            );
        });
    }
}

struct Attend<'a, E: Element> {
    heads: &'a Heads<'a, E>,
    row_len: usize,
    /// A row of scores for each query.
    scores: &'a mut [f32],
}

impl<E: Element> Kernel for Attend<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Attend {
            heads,
            row_len,
            scores,
        } = self;
        let count = heads.queries.len();
        let mut first = 0;
        while first < count {
            let rows = &mut scores[first * row_len..];
            first += match count - first {
                SCORE_ROWS.. => heads.scores::<S, SCORE_ROWS>(s, first, row_len, rows),
                _ => heads.scores::<S, 1>(s, first, row_len, rows),
            };
        }
        let mut first = 0;
        while first < count {
            let rows = &mut scores[first * row_len..];
            first += match count - first {
                VALUE_ROWS.. => heads.values::<S, VALUE_ROWS>(s, first, row_len, rows),
                _ => heads.values::<S, 1>(s, first, row_len, rows),
            };
        }
    }
}

impl<E: Element> Heads<'_, E> {
    /// Writes the scaled scores of `N` queries, in the order of positions, to their rows of `scores`; returns `N`.
    #[inline(always)]
    fn scores<S: Simd, const N: usize>(
        &self,
        s: S,
        first: usize,
        row_len: usize,
        scores: &mut [f32],
    ) -> usize {
        let Shape {
            block_size,
            head_dim,
            ..
        } = self.context.shape;
        let queries = &self.queries[first..first + N];
        let q: [&[f32]; N] = std::array::from_fn(|i| &self.q[queries[i].at..][..head_dim]);
        let stride = self.context.shape.key_stride();
        let most = queries.iter().map(|query| query.visible).max().unwrap_or(0);
        let scale = s.splat(self.scale);
        assert!(q.iter().all(|q| q.len() == head_dim) && scores.len() >= N * row_len);
        for block in 0..most.div_ceil(block_size) {
            let keys = self.context.keys(block);
            for at in (0..block_size).step_by(LANES) {
                let mut acc = [s.splat(0.0); N];
                for (d, keys) in keys.chunks_exact(stride).enumerate() {
                    let keys = keys[at..]
                        .first_chunk()
                        .expect("rows are whole vectors; this is a bug");
                    let keys = E::load(s, keys);
                    for (acc, q) in acc.iter_mut().zip(&q) {
                        // SAFETY: there are as many rows of keys as dimensions, and each `q` has all dimensions.
                        let q = unsafe { *q.get_unchecked(d) };
                        *acc = s.fma(s.splat(q), keys, *acc);
                    }
                }
                // Positions follow one another without the padding of blocks. The lanes past a block's end are
                // overwritten by the next block, or lie beyond what the query sees.
                let position = block * block_size + at;
                for (acc, row) in acc.iter().zip(scores.chunks_exact_mut(row_len)) {
                    let out = row[position..].first_chunk_mut();
                    s.store(
                        s.mul(*acc, scale),
                        out.expect("rows have room for all blocks; this is a bug"),
                    );
                }
            }
        }
        N
    }

    /// Turns the scores of `N` queries into weights, and writes the sums of the values so weighted; returns `N`.
    #[inline(always)]
    fn values<S: Simd, const N: usize>(
        &self,
        s: S,
        first: usize,
        row_len: usize,
        scores: &mut [f32],
    ) -> usize {
        let mut scales = [0.0; N];
        let queries = &self.queries[first..first + N];
        for ((row, query), scale) in scores
            .chunks_exact_mut(row_len)
            .zip(queries)
            .zip(&mut scales)
        {
            *scale = 1.0 / exp_in_place(s, &mut row[..query.visible]);
        }
        let stride = self.context.shape.value_stride();
        let mut d = 0;
        while d < stride {
            d += LANES
                * match (stride - d) / LANES {
                    4.. if S::WIDE => {
                        self.value_columns::<S, N, 4>(s, scores, row_len, queries, &scales, d)
                    }
                    2.. => self.value_columns::<S, N, 2>(s, scores, row_len, queries, &scales, d),
                    _ => self.value_columns::<S, N, 1>(s, scores, row_len, queries, &scales, d),
                };
        }
        N
    }

    /// The `V` vectors from dimension `d` of [`Heads::values`]; returns `V`.
    #[inline(always)]
    fn value_columns<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        weights: &[f32],
        row_len: usize,
        queries: &[Query],
        scales: &[f32],
        d: usize,
    ) -> usize {
        let common = queries[..N]
            .iter()
            .map(|query| query.visible)
            .min()
            .unwrap_or(0);
        let mut acc = [[s.splat(0.0); V]; N];
        let rows: [&[f32]; N] = std::array::from_fn(|i| &weights[i * row_len..][..row_len]);
        self.add_values(s, &mut acc, &rows, 0..common, d);
        for (i, acc) in acc.iter().enumerate() {
            // A later query sees more positions: those it sums alone, as a value that an earlier query does not see
            // must not touch it, not even times 0.
            let mut alone = [*acc];
            self.add_values(s, &mut alone, &[rows[i]], common..queries[i].visible, d);
            let end = self.context.shape.head_dim.min(d + V * LANES);
            // SAFETY: each query's output is written by one task, and the range does not overlap another query's.
            let out = unsafe { self.out.range(queries[i].at + d, end - d) };
            for (out, acc) in out.chunks_mut(LANES).zip(&alone[0]) {
                store_part(s, s.mul(*acc, s.splat(scales[i])), out);
            }
        }
        V
    }

    /// Adds the weighted values of some positions.
    #[inline(always)]
    fn add_values<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        acc: &mut [[S::F; V]; N],
        weights: &[&[f32]; N],
        positions: std::ops::Range<usize>,
        d: usize,
    ) {
        let Shape { block_size, .. } = self.context.shape;
        let stride = self.context.shape.value_stride();
        assert!(weights.iter().all(|w| w.len() >= positions.end) && d + V * LANES <= stride);
        let mut position = positions.start;
        while position < positions.end {
            let (block, offset) = (position / block_size, position % block_size);
            let count = (block_size - offset).min(positions.end - position);
            let rows = &self.context.values(block)[offset * stride..][..count * stride];
            for (i, row) in rows.chunks_exact(stride).enumerate() {
                let row = row[d..].as_chunks::<LANES>().0;
                let mut values = [s.splat(0.0); V];
                for (v, value) in values.iter_mut().enumerate() {
                    // SAFETY: `V` vectors from `d` lie within a row, as checked above.
                    *value = E::load(s, unsafe { row.get_unchecked(v) });
                }
                for (acc, weights) in acc.iter_mut().zip(weights) {
                    // SAFETY: `position + i` is below the end of the positions, which the weights reach.
                    let weight = s.splat(unsafe { *weights.get_unchecked(position + i) });
                    for (acc, value) in acc.iter_mut().zip(&values) {
                        *acc = s.fma(weight, *value, *acc);
                    }
                }
            }
            position += count;
        }
    }
}

/// Copies keys and values of one head (`D` values every `width`, from `at`) to a block of its own.
pub(super) struct Gather<'a> {
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub at: usize,
    pub width: usize,
    pub blocks: &'a mut Blocks<f32>,
    pub shape: Shape,
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Shape {
            block_size,
            head_dim,
            ..
        } = self.shape;
        for token in 0..block_size {
            let row = self.at + token * self.width;
            super::cache::write_key(
                s,
                &self.k[row..][..head_dim],
                &mut self.blocks.keys,
                self.shape.key_stride(),
                token,
            );
            let stride = self.shape.value_stride();
            let out = &mut self.blocks.values[token * stride..][..stride];
            for (out, v) in out
                .chunks_mut(LANES)
                .zip(self.v[row..][..head_dim].chunks(LANES))
            {
                store_part(s, load_part(s, v, 0.0), out);
            }
        }
    }
}
