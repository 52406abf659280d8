//! Attention in f32, to which keys and values of all types are widened.
//!
//! Each score is a sum over the dimensions in their order and each output one over the positions in theirs, so nothing
//! depends on which queries are computed together.

use std::ops::Range;

use super::ahead::Ahead;
use super::cache::Shape;
use super::heads::{CHUNK, Heads, MOST_QUERIES, Piece, Query, TILE};
use super::online::{Carry, Place, Places, VECTORS, weigh};
use super::store::{Store, Widen};
use crate::simd::{self, Kernel, LANES, Simd};
use crate::{Tier, scratch};

/// The distance of rows of keys: no power of two, or they would all fall on the same lines of the cache, and room before
/// and behind a chunk, as whole vectors of a block are copied, the first and last of which may reach over it.
const ROW: usize = CHUNK + 2 * LANES;
/// Where a chunk's keys begin in their rows.
const KEYS: usize = LANES;

/// Computes and writes the outputs of all queries.
pub(super) fn attend<B: Widen>(heads: &Heads<B>, tier: Tier) {
    let (shape, count) = (heads.shape, heads.queries.len());
    let stride = shape.value_stride();
    assert!(count <= MOST_QUERIES);
    let keys = shape.head_dim * ROW;
    let len = keys + CHUNK * stride + TILE * CHUNK + count * (stride + LANES);
    scratch::with(len, |scratch| {
        let (keys, rest) = scratch.split_at_mut(keys);
        let (values, rest) = rest.split_at_mut(CHUNK * stride);
        let (scores, rest) = rest.split_at_mut(TILE * CHUNK);
        let (sums, totals) = rest.split_at_mut(count * stride);
        simd::run(
            tier,
            Attend {
                heads,
                keys,
                values,
                scores,
                sums,
                totals: totals.as_chunks_mut().0,
            },
        );
    });
}

struct Attend<'a, B: Widen> {
    heads: &'a Heads<'a, B>,
    /// A chunk's keys, `[D, ROW]` from `KEYS` on.
    keys: &'a mut [f32],
    /// A chunk's values, `[CHUNK, value_stride]`.
    values: &'a mut [f32],
    /// A chunk's scores, and then weights, of a tile of queries, `[TILE, CHUNK]`.
    scores: &'a mut [f32],
    /// The weighted values so far, `[queries, value_stride]`.
    sums: &'a mut [f32],
    /// The sums of the weights so far, by their position's place in a vector: `[queries, 16]`.
    totals: &'a mut [[f32; LANES]],
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
            totals,
        } = self;
        let stride = heads.shape.value_stride();
        let mut carries = [Carry::NEW; MOST_QUERIES];
        sums.fill(0.0);
        totals.as_flattened_mut().fill(0.0);
        let mut places = Places::NONE;
        let mut pieces = heads.pieces();
        while let Some((piece, again)) = pieces.next(heads) {
            let Piece {
                run, start, end, ..
            } = piece;
            if !again {
                heads.read(s, &piece, keys, values);
                places = Places::NONE;
                for position in (start..end).step_by(LANES) {
                    let count = LANES.min(end - position);
                    places.push(Place { position, count });
                }
            }
            let chunk = Chunk {
                q: heads.q,
                head_dim: heads.shape.head_dim,
                scale: heads.scale * std::f32::consts::LOG2_E,
                places: &places,
                start,
                end,
                keys,
                values,
                stride,
            };
            let (mut first, last) = (run.first, run.first + run.count);
            while first < last {
                let tile = Tile {
                    queries: &heads.queries[first..last],
                    carries: &mut carries[first..last],
                    sums: &mut sums[first * stride..],
                    ahead: &mut pieces.ahead,
                    totals: &mut totals[first..last],
                    scores,
                };
                first += match (S::PAIRS, last - first) {
                    (true, TILE..) => chunk.attend::<S, TILE>(s, tile),
                    _ => chunk.attend::<S, 1>(s, tile),
                };
            }
        }
        let rows = sums.chunks_exact(stride).zip(&*totals);
        for (query, (sums, total)) in heads.queries.iter().zip(rows) {
            heads.finish(s, query, sums, s.sum(s.load(total)));
        }
    }
}

impl<B: Widen> Heads<'_, B> {
    /// Copies a piece's keys, `[D, ROW]` from `KEYS` on, and values, `[positions, value_stride]`.
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
            // From the vector on in which the first key lies. What lies past the block's end is overwritten by the next block, or
            // seen by no query.
            let before = offset % LANES;
            for column in (0..before + count).step_by(LANES) {
                let out = &mut keys[KEYS + at + column - before..];
                self.blocks
                    .read_keys(s, self.shape, tile, offset - before + column, out, ROW);
            }
            let out = &mut values[at * stride..][..count * stride];
            self.blocks.read_values(s, self.shape, tile, offset, out);
            position += count;
        }
    }
}

/// A chunk's keys and values.
struct Chunk<'a> {
    q: &'a [f32],
    head_dim: usize,
    /// What a product of a query and a key is multiplied by.
    scale: f32,
    places: &'a Places,
    start: usize,
    end: usize,
    keys: &'a [f32],
    values: &'a [f32],
    stride: usize,
}

/// What belongs to some queries, from the first on.
struct Tile<'a, 'b> {
    ahead: &'a mut Ahead<'b>,
    queries: &'a [Query],
    carries: &'a mut [Carry],
    sums: &'a mut [f32],
    totals: &'a mut [[f32; LANES]],
    scores: &'a mut [f32],
}

impl Chunk<'_> {
    /// The part of the chunk in the sums of the first `N` queries; returns `N`.
    #[inline(always)]
    fn attend<S: Simd, const N: usize>(&self, s: S, tile: Tile) -> usize {
        let Tile {
            ahead,
            queries,
            carries,
            sums,
            totals,
            scores,
        } = tile;
        let vectors = (self.end - self.start).div_ceil(LANES);
        ahead.some(s);
        let mut v = 0;
        while v < vectors {
            // Rows have room for the vectors of a whole chunk.
            v += match (S::WIDE, v, vectors) {
                (true, 0, 3..) => self.score::<S, N, VECTORS>(s, queries, 0, scores),
                _ => self.score::<S, N, 1>(s, queries, v, scores),
            };
        }
        ahead.some(s);
        weigh::<S, N>(s, self.places, queries, carries, totals, scores);
        let mut seen = [0; N];
        for (seen, query) in seen.iter_mut().zip(queries) {
            *seen = query.visible.clamp(self.start, self.end) - self.start;
        }
        ahead.some(s);
        let mut d = 0;
        while d < self.stride {
            d += match (S::WIDE, (self.stride - d) / LANES) {
                (true, 4..) => self.add::<S, N, 4>(s, d, seen, carries, scores, sums),
                _ => self.add::<S, N, 1>(s, d, seen, carries, scores, sums),
            };
        }
        N
    }

    /// The scores of the first `N` queries on `V` vectors of keys from vector `first` of the chunk; returns `V`.
    #[inline(always)]
    fn score<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        queries: &[Query],
        first: usize,
        scores: &mut [f32],
    ) -> usize {
        let (keys, head_dim) = (self.keys, self.head_dim);
        assert!(first + V <= VECTORS && keys.len() >= head_dim * ROW);
        let mut q = [&self.q[..0]; N];
        for (q, query) in q.iter_mut().zip(queries) {
            *q = &self.q[query.at..][..head_dim];
        }
        assert!(queries.len() >= N);
        let mut acc = [[s.splat(0.0); V]; N];
        for d in 0..head_dim {
            let mut key = [s.splat(0.0); V];
            for (v, key) in key.iter_mut().enumerate() {
                // SAFETY: by the check above a row of `ROW` values has `V` vectors of keys from `first`, and there is a row
                // for each `d`.
                *key = s.load(unsafe {
                    &*keys
                        .as_ptr()
                        .add(d * ROW + KEYS + (first + v) * LANES)
                        .cast::<[f32; LANES]>()
                });
            }
            for (acc, q) in acc.iter_mut().zip(&q) {
                // SAFETY: each `q` has `head_dim` values, as there are `N` queries.
                let q = s.splat(unsafe { *q.get_unchecked(d) });
                for (acc, key) in acc.iter_mut().zip(&key) {
                    *acc = s.fma(q, *key, *acc);
                }
            }
        }
        let scale = s.splat(self.scale);
        for (acc, row) in acc.iter().zip(scores.chunks_exact_mut(CHUNK)) {
            for (acc, out) in acc.iter().zip(&mut row.as_chunks_mut().0[first..]) {
                s.store(s.mul(*acc, scale), out);
            }
        }
        V
    }

    /// Adds the `V` vectors of weighted values from dimension `d` to the rescaled sums of the first `N` queries, of which
    /// each has `seen` so many positions of the chunk; returns the number of dimensions.
    #[inline(always)]
    fn add<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        d: usize,
        seen: [usize; N],
        carries: &[Carry],
        weights: &[f32],
        sums: &mut [f32],
    ) -> usize {
        let mut common = CHUNK;
        for seen in seen {
            common = common.min(seen);
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
        self.add_positions::<S, N, V>(s, &mut acc, weights, 0..common, d);
        let rows = sums.chunks_exact_mut(self.stride);
        let rows = rows.zip(weights.chunks_exact(CHUNK)).zip(seen);
        for (acc, ((sums, weights), seen)) in acc.iter().zip(rows) {
            // A later query sees more positions: those it sums alone, as a value that an earlier query does not see
            // must not touch it, not even times 0.
            let mut alone = [*acc];
            if seen > common {
                self.add_positions::<S, 1, V>(s, &mut alone, weights, common..seen, d);
            }
            for (acc, out) in alone[0].iter().zip(sums[d..].as_chunks_mut().0) {
                s.store(*acc, out);
            }
        }
        V * LANES
    }

    /// Adds the values of some positions of the chunk, weighted for `N` queries.
    #[inline(always)]
    fn add_positions<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        acc: &mut [[S::F; V]; N],
        weights: &[f32],
        positions: Range<usize>,
        d: usize,
    ) {
        let (values, stride) = (self.values, self.stride);
        assert!(positions.end <= CHUNK && weights.len() >= N * CHUNK);
        assert!(values.len() >= CHUNK * stride && d + V * LANES <= stride);
        for position in positions {
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
                // SAFETY: there are `CHUNK` weights, more than positions, for each query, as checked above.
                let weight = s.splat(unsafe { *weights.get_unchecked(i * CHUNK + position) });
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
