//! Attention in f32, to which keys and values of all types are widened.
//!
//! Each score is a sum over the dimensions in their order and each output one over the positions in theirs, so nothing
//! depends on which queries are computed together.

use super::cache::Shape;
use super::heads::{CHUNK, Heads, MOST_QUERIES, Piece, Query};
use super::store::{Store, Widen};
use crate::simd::{self, Kernel, LANES, Simd, store_part};
use crate::softmax::{exp_below, largest};
use crate::{Tier, scratch};

/// The distance of rows of keys and scores: room for a block's last vector, and no power of two, or they would all fall
/// on the same lines of the cache.
const ROW: usize = CHUNK + LANES;

/// Computes and writes the outputs of all queries.
pub(super) fn attend<B: Widen>(heads: &Heads<B>, tier: Tier) {
    let (shape, count) = (heads.shape, heads.queries.len());
    let stride = shape.value_stride();
    assert!(count <= MOST_QUERIES);
    let keys = shape.head_dim * ROW;
    let len = keys + CHUNK * stride + count * (ROW + stride);
    scratch::with(len, |scratch| {
        let (keys, rest) = scratch.split_at_mut(keys);
        let (values, rest) = rest.split_at_mut(CHUNK * stride);
        let (scores, sums) = rest.split_at_mut(count * ROW);
        simd::run(
            tier,
            Attend {
                heads,
                keys,
                values,
                scores,
                sums,
            },
        );
    });
}

struct Attend<'a, B: Widen> {
    heads: &'a Heads<'a, B>,
    /// A chunk's keys, `[D, ROW]`.
    keys: &'a mut [f32],
    /// A chunk's values, `[CHUNK, value_stride]`.
    values: &'a mut [f32],
    /// A chunk's scores, `[queries, ROW]`.
    scores: &'a mut [f32],
    /// The weighted values so far, `[queries, value_stride]`.
    sums: &'a mut [f32],
}

/// What a query carries from chunk to chunk beside its weighted values.
#[derive(Clone, Copy)]
struct Carry {
    /// The largest score so far.
    max: f32,
    /// The sum of the weights so far.
    weight: f32,
    /// The positions of the chunk that the query sees.
    visible: usize,
    /// What earlier weights are multiplied by, as they were made with a smaller `max`.
    rescale: f32,
}

impl<B: Widen> Kernel for Attend<'_, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Attend {
            heads,
            keys,
            values,
            scores,
            sums,
        } = self;
        let shape = heads.shape;
        let (queries, stride) = (heads.queries, shape.value_stride());
        let mut carries = [Carry {
            max: f32::NEG_INFINITY,
            weight: 0.0,
            visible: 0,
            rescale: 0.0,
        }; MOST_QUERIES];
        let carries = &mut carries[..queries.len()];
        sums.fill(0.0);
        let mut held = None;
        let mut next = heads.piece(0, 0);
        if let Some(piece) = &next {
            heads.prefetch(s, piece);
        }
        while let Some(piece) = next {
            if !held.is_some_and(|held| heads.same(&held, &piece)) {
                heads.read(s, &piece, keys, values);
            }
            held = next;
            next = heads.piece(piece.index + 1, piece.start);
            if let Some(next) = &next
                && !heads.same(&piece, next)
            {
                heads.prefetch(s, next);
            }
            let Piece {
                run, start, end, ..
            } = piece;
            let queries = &queries[run.first..][..run.count];
            let carries = &mut carries[run.first..][..run.count];
            heads.scores(s, queries, end - start, keys, scores);
            let rows = scores.chunks_exact_mut(ROW);
            for ((query, carry), scores) in queries.iter().zip(&mut *carries).zip(rows) {
                carry.visible = query.visible.clamp(start, end) - start;
                weigh(s, &mut scores[..carry.visible], carry);
            }
            let sums = &mut sums[run.first * stride..];
            add_values(s, carries, scores, values, sums, stride);
        }
        let rows = sums.chunks_exact(stride);
        for ((query, carry), sums) in queries.iter().zip(&*carries).zip(rows) {
            let scale = s.splat(1.0 / carry.weight);
            // SAFETY: each query's output is written by one task, and the range does not overlap another query's.
            let out = unsafe { heads.out.range(query.at, shape.head_dim) };
            for (out, sum) in out.chunks_mut(LANES).zip(sums.as_chunks().0) {
                store_part(s, s.mul(s.load(sum), scale), out);
            }
        }
    }
}

/// Turns the scores that a query sees into weights.
#[inline(always)]
fn weigh<S: Simd>(s: S, scores: &mut [f32], carry: &mut Carry) {
    carry.rescale = 1.0;
    if scores.is_empty() {
        return;
    }
    let max = carry.max.max(largest(s, scores));
    if max > carry.max {
        carry.rescale = exp(s, carry.max - max);
        carry.max = max;
    }
    carry.weight = carry.weight * carry.rescale + exp_below(s, scores, max);
}

/// `exp(x)` of one number.
#[inline(always)]
fn exp<S: Simd>(s: S, x: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(crate::simd::math::exp(s, s.splat(x)), &mut lanes);
    lanes[0]
}

impl<B: Widen> Heads<'_, B> {
    /// Copies a piece's keys, `[D, ROW]`, and values, `[positions, value_stride]`.
    #[inline(always)]
    fn read<S: Simd>(&self, s: S, piece: &Piece, keys: &mut [f32], values: &mut [f32]) {
        let Shape {
            block_size,
            kv_heads,
            ..
        } = self.shape;
        let stride = self.shape.value_stride();
        let mut position = piece.start;
        while position < piece.end {
            let (block, offset) = (position / block_size, position % block_size);
            let count = (block_size - offset).min(piece.end - position);
            let tile = piece.run.table[block] as usize * kv_heads + self.head;
            let at = position - piece.start;
            for column in (0..count).step_by(LANES) {
                // What lies past the block's end is overwritten by the next block, or seen by no query.
                let out = &mut keys[at + column..];
                self.blocks
                    .read_keys(s, self.shape, tile, offset + column, out, ROW);
            }
            let out = &mut values[at * stride..][..count * stride];
            self.blocks.read_values(s, self.shape, tile, offset, out);
            position += count;
        }
    }

    /// Writes the scaled scores of `queries` on a chunk of `positions`.
    #[inline(always)]
    fn scores<S: Simd>(
        &self,
        s: S,
        queries: &[Query],
        positions: usize,
        keys: &[f32],
        scores: &mut [f32],
    ) {
        let vectors = positions.div_ceil(LANES);
        let mut first = 0;
        while first < queries.len() {
            let left = queries.len() - first;
            let queries = &queries[first..];
            let scores = &mut scores[first * ROW..];
            let mut v = 0;
            let mut done = 1;
            while v < vectors {
                let at = v * LANES;
                if S::WIDE {
                    (done, v) = match (left, vectors - v) {
                        (4.., 3..) => (4, v + self.score::<S, 4, 4>(s, queries, at, keys, scores)),
                        (4.., _) => (4, v + self.score::<S, 4, 1>(s, queries, at, keys, scores)),
                        (_, 3..) => (1, v + self.score::<S, 1, 4>(s, queries, at, keys, scores)),
                        _ => (1, v + self.score::<S, 1, 1>(s, queries, at, keys, scores)),
                    };
                } else if S::PAIRS {
                    (done, v) = match left {
                        4.. => (4, v + self.score::<S, 4, 1>(s, queries, at, keys, scores)),
                        _ => (1, v + self.score::<S, 1, 1>(s, queries, at, keys, scores)),
                    };
                } else {
                    v += self.score::<S, 1, 1>(s, queries, at, keys, scores);
                }
            }
            first += done;
        }
    }

    /// The scores of the first `N` queries on `V` vectors of keys from position `at` of the chunk; returns `V`.
    #[inline(always)]
    fn score<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        queries: &[Query],
        at: usize,
        keys: &[f32],
        scores: &mut [f32],
    ) -> usize {
        let head_dim = self.shape.head_dim;
        assert!(at + V * LANES <= ROW && keys.len() >= head_dim * ROW && scores.len() >= N * ROW);
        let mut q = [&self.q[..0]; N];
        for (q, query) in q.iter_mut().zip(queries) {
            *q = &self.q[query.at..][..head_dim];
        }
        let mut acc = [[s.splat(0.0); V]; N];
        for d in 0..head_dim {
            let mut key = [s.splat(0.0); V];
            for (v, key) in key.iter_mut().enumerate() {
                // SAFETY: by the check above a row of `ROW` keys has `V` vectors from `at`, and there is one for each `d`.
                *key = s.load(unsafe {
                    &*keys
                        .as_ptr()
                        .add(d * ROW + at + v * LANES)
                        .cast::<[f32; LANES]>()
                });
            }
            for (acc, q) in acc.iter_mut().zip(&q) {
                // SAFETY: each `q` has `head_dim` values.
                let q = s.splat(unsafe { *q.get_unchecked(d) });
                for (acc, key) in acc.iter_mut().zip(&key) {
                    *acc = s.fma(q, *key, *acc);
                }
            }
        }
        let scale = s.splat(self.scale);
        for (acc, row) in acc.iter().zip(scores.chunks_exact_mut(ROW)) {
            let outs = row[at..].as_chunks_mut().0;
            for (acc, out) in acc.iter().zip(outs) {
                s.store(s.mul(*acc, scale), out);
            }
        }
        V
    }
}

/// Adds a chunk's values, weighted, to the rescaled sums of all queries.
#[inline(always)]
fn add_values<S: Simd>(
    s: S,
    carries: &[Carry],
    weights: &[f32],
    values: &[f32],
    sums: &mut [f32],
    stride: usize,
) {
    let mut first = 0;
    while first < carries.len() {
        let left = carries.len() - first;
        let weights = &weights[first * ROW..];
        let sums = &mut sums[first * stride..];
        let carries = &carries[first..];
        let chunk = Weighted {
            carries,
            weights,
            values,
            stride,
        };
        let mut d = 0;
        let mut done = 1;
        while d < stride {
            let vectors = (stride - d) / LANES;
            if S::WIDE {
                (done, d) = match (left, vectors) {
                    (4.., 4..) => (4, d + chunk.add::<S, 4, 4>(s, d, sums)),
                    (4.., _) => (4, d + chunk.add::<S, 4, 1>(s, d, sums)),
                    (_, 4..) => (1, d + chunk.add::<S, 1, 4>(s, d, sums)),
                    _ => (1, d + chunk.add::<S, 1, 1>(s, d, sums)),
                };
            } else if S::PAIRS {
                (done, d) = match left {
                    4.. => (4, d + chunk.add::<S, 4, 1>(s, d, sums)),
                    _ => (1, d + chunk.add::<S, 1, 1>(s, d, sums)),
                };
            } else {
                d += chunk.add::<S, 1, 1>(s, d, sums);
            }
        }
        first += done;
    }
}

/// Values and the weights of some queries.
struct Weighted<'a> {
    carries: &'a [Carry],
    weights: &'a [f32],
    values: &'a [f32],
    stride: usize,
}

impl Weighted<'_> {
    /// Adds the `V` vectors from dimension `d` for `N` queries; returns the number of dimensions.
    #[inline(always)]
    fn add<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        d: usize,
        sums: &mut [f32],
    ) -> usize {
        let carries = &self.carries[..N];
        let mut common = CHUNK;
        for carry in carries {
            common = common.min(carry.visible);
        }
        let mut acc = [[s.splat(0.0); V]; N];
        for ((acc, sums), carry) in acc
            .iter_mut()
            .zip(sums.chunks_exact(self.stride))
            .zip(carries)
        {
            let rescale = s.splat(carry.rescale);
            for (acc, sum) in acc.iter_mut().zip(sums[d..].as_chunks().0) {
                *acc = s.mul(s.load(sum), rescale);
            }
        }
        self.add_positions::<S, N, V>(s, &mut acc, 0, 0, common, d);
        let rows = sums.chunks_exact_mut(self.stride);
        for (i, (acc, sums)) in acc.iter().zip(rows).enumerate() {
            // A later query sees more positions: those it sums alone, as a value that an earlier query does not see
            // must not touch it, not even times 0.
            let mut alone = [*acc];
            self.add_positions::<S, 1, V>(s, &mut alone, i, common, carries[i].visible, d);
            for (acc, out) in alone[0].iter().zip(sums[d..].as_chunks_mut().0) {
                s.store(*acc, out);
            }
        }
        V * LANES
    }

    /// Adds the weighted values of the positions `begin..end` for the `N` queries from `first`.
    #[inline(always)]
    fn add_positions<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        acc: &mut [[S::F; V]; N],
        first: usize,
        begin: usize,
        end: usize,
        d: usize,
    ) {
        let Weighted {
            weights,
            values,
            stride,
            ..
        } = *self;
        assert!(end <= CHUNK && values.len() >= CHUNK * stride && d + V * LANES <= stride);
        assert!(weights.len() >= (first + N) * ROW);
        for position in begin..end {
            let mut value = [s.splat(0.0); V];
            for (v, value) in value.iter_mut().enumerate() {
                // SAFETY: `V` vectors from `d` lie within a row, and there are rows for all positions of a chunk, as
                // checked above.
                *value = s.load(unsafe {
                    &*values
                        .as_ptr()
                        .add(position * stride + d + v * LANES)
                        .cast::<[f32; LANES]>()
                });
            }
            for (i, acc) in acc.iter_mut().enumerate() {
                // SAFETY: there are `ROW` weights, more than positions, for each query, as checked above.
                let weight =
                    s.splat(unsafe { *weights.get_unchecked((first + i) * ROW + position) });
                for (acc, value) in acc.iter_mut().zip(&value) {
                    *acc = s.fma(weight, *value, *acc);
                }
            }
        }
    }
}

/// Copies keys and values of one head (`D` values every `width`, from `at`) to a block of its own.
pub(super) struct Gather<'a, B: Store> {
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub at: usize,
    pub width: usize,
    pub blocks: &'a mut B,
    pub shape: Shape,
}

impl<B: Store> Kernel for Gather<'_, B> {
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
            let (k, v) = (&self.k[row..][..head_dim], &self.v[row..][..head_dim]);
            self.blocks.write(s, self.shape, 0, token, k, v);
        }
    }
}
