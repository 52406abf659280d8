//! Attention in whole numbers.
//!
//! Keys and values of 14 bits meet queries and weights of up to 16 bits in exact products of 32-bit sums. A query is
//! scaled so that the sum of its magnitudes, times the largest key, stays within 32 bits, and so are each chunk's
//! weights, the scales of the values in them: so no sum overflows, whatever the keys and values are, and a query of few
//! large values, or a chunk with few large weights, keeps more digits. A chunk's weights have a scale of their own, so
//! that many small ones beside a large one of another chunk are not lost. What is summed over chunks is in f32.
//!
//! Chunks, and what a query carries from one to the next, are as in [`widened`](super::widened); scores are in powers of
//! two. A weight of 0 keeps a position that is not seen out of a sum, whatever is there.

use super::heads::{CHUNK, Heads, MOST_QUERIES, Piece, Query};
use super::int16::{Columns, Int16Blocks, LARGEST, Pair, key_rows};
use crate::memory::bytes_of_mut;
use crate::simd::{self, Kernel, LANES, Simd, load_part, math, store_part};
use crate::softmax::largest;
use crate::{Tier, scratch};

/// Vectors of positions in a chunk.
const VECTORS: usize = CHUNK / LANES;
/// The most queries that are computed at once.
const TILE: usize = 4;
/// What the magnitudes of a query's numbers, or of a chunk's weights, may add up to; with their rounding, by half each,
/// and that of their sum, the product with the largest key or value is still below 2^31.
const BUDGET: f32 = 262_000.0;
const _: () = assert!((BUDGET as i64 + 110 + CHUNK as i64 / 2) * (LARGEST as i64) < 1 << 31);
/// The largest magnitude of a query's number or of a weight.
const MOST: f32 = 32767.0;

/// Computes and writes the outputs of all queries.
pub(super) fn attend(heads: &Heads<Int16Blocks>, tier: Tier) {
    let count = heads.queries.len();
    assert!(count <= MOST_QUERIES);
    let (pairs, stride) = (key_rows(heads.shape), heads.shape.value_stride());
    let weights = TILE * CHUNK / 2;
    let len = count * (pairs + stride + LANES) + TILE * CHUNK + weights;
    scratch::with(len, |scratch| {
        let (q, rest) = scratch.split_at_mut(count * pairs);
        let (sums, rest) = rest.split_at_mut(count * stride);
        let (totals, rest) = rest.split_at_mut(count * LANES);
        let (scores, weights) = rest.split_at_mut(TILE * CHUNK);
        simd::run(
            tier,
            Attend {
                heads,
                q: bytes_of_mut(q).as_chunks_mut().0,
                sums,
                totals: totals.as_chunks_mut().0,
                scores,
                weights: bytes_of_mut(weights).as_chunks_mut().0,
            },
        );
    });
}

struct Attend<'a> {
    heads: &'a Heads<'a, Int16Blocks>,
    /// `[queries, D / 2]`
    q: &'a mut [Pair],
    /// The weighted values so far, `[queries, value_stride]`.
    sums: &'a mut [f32],
    /// The sums of the weights so far, by their position's place in a vector: `[queries, 16]`.
    totals: &'a mut [[f32; LANES]],
    /// A chunk's scores of a tile of queries, `[TILE, CHUNK]`.
    scores: &'a mut [f32],
    /// A chunk's weights of a tile of queries, `[TILE, CHUNK / 2]`.
    weights: &'a mut [Pair],
}

/// What a query carries from chunk to chunk beside its sums.
#[derive(Clone, Copy, Default)]
struct Carry {
    /// What a product of whole numbers and a key's scale make a score by.
    scale: f32,
    /// The largest score so far.
    max: f32,
    /// Whether the query sees any of the chunk.
    sees: bool,
    /// What earlier sums are multiplied by, as they were made with a smaller `max`.
    rescale: f32,
    /// What a chunk's product is multiplied by.
    step: f32,
}

impl Kernel for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Attend {
            heads,
            q,
            sums,
            totals,
            scores,
            weights,
        } = self;
        let (pairs, stride) = (key_rows(heads.shape), heads.shape.value_stride());
        let head_dim = heads.shape.head_dim;
        let mut carries = [Carry::default(); MOST_QUERIES];
        let carries = &mut carries[..heads.queries.len()];
        let rows = q.chunks_exact_mut(pairs);
        for ((query, carry), out) in heads.queries.iter().zip(&mut *carries).zip(rows) {
            carry.max = f32::NEG_INFINITY;
            carry.scale = heads.scale
                * std::f32::consts::LOG2_E
                * quantize(s, &heads.q[query.at..][..head_dim], out);
        }
        sums.fill(0.0);
        totals.as_flattened_mut().fill(0.0);
        let mut next = heads.piece(0, 0);
        if let Some(piece) = &next {
            heads.prefetch(s, piece);
        }
        while let Some(piece) = next {
            next = heads.piece(piece.index + 1, piece.start);
            if let Some(next) = &next
                && !heads.same(&piece, next)
            {
                heads.prefetch(s, next);
            }
            let (columns, count) = columns_of(heads, &piece);
            let chunk = Chunk {
                columns: &columns[..count],
                key_stride: heads.shape.key_stride(),
                value_stride: stride,
                pairs,
            };
            let (mut first, end) = (piece.run.first, piece.run.first + piece.run.count);
            while first < end {
                let tile = Tile {
                    queries: &heads.queries[first..end],
                    carries: &mut carries[first..end],
                    q: &q[first * pairs..],
                    sums: &mut sums[first * stride..],
                    totals: &mut totals[first..end],
                    scores,
                    weights,
                };
                first += match (S::PAIRS, end - first) {
                    (true, 4..) => chunk.attend::<S, 4>(s, tile),
                    (true, 2..) => chunk.attend::<S, 2>(s, tile),
                    _ => chunk.attend::<S, 1>(s, tile),
                };
            }
        }
        let rows = sums.chunks_exact(stride).zip(&*totals);
        for (query, (sums, total)) in heads.queries.iter().zip(rows) {
            let scale = s.splat(1.0 / s.sum(s.load(total)));
            // SAFETY: each query's output is written by one task, and the range does not overlap another query's.
            let out = unsafe { heads.out.range(query.at, head_dim) };
            for (out, sum) in out.chunks_mut(LANES).zip(sums.as_chunks().0) {
                store_part(s, s.mul(s.load(sum), scale), out);
            }
        }
    }
}

/// Writes a query as whole numbers and returns their scale.
#[inline(always)]
fn quantize<S: Simd>(s: S, x: &[f32], out: &mut [Pair]) -> f32 {
    let zero = s.splat(0.0);
    let (mut most, mut sum) = (zero, zero);
    for x in x.chunks(LANES) {
        let x = load_part(s, x, 0.0);
        let size = s.max(s.sub(zero, x), x);
        most = s.max(size, most);
        sum = s.add(sum, size);
    }
    let budget = (BUDGET - x.len() as f32 / 2.0).max(1.0);
    let (step, inverse) = step(s.max_lane(most), s.sum(sum) / budget);
    let inverse = s.splat(inverse);
    for (x, out) in x.chunks(LANES).zip(out.chunks_mut(LANES / 2)) {
        let mut numbers = [0; 2 * LANES];
        s.narrow_i16(s.to_i32(s.mul(load_part(s, x, 0.0), inverse)), &mut numbers);
        for (out, pair) in out.iter_mut().zip(numbers.as_chunks().0) {
            *out = *pair;
        }
    }
    step
}

/// The scale of numbers of which the largest is `most`, and whose sum asks for at least `least`, and its inverse.
///
/// NaN where `least` is; an inverse of 0 where numbers are too small to be divided by their scale.
#[inline(always)]
fn step(most: f32, least: f32) -> (f32, f32) {
    let most = most / MOST;
    let step = if most > least { most } else { least };
    let inverse = if step >= f32::MIN_POSITIVE {
        1.0 / step
    } else {
        0.0
    };
    (step, inverse)
}

/// The positions of a piece in vectors of 16, and how many there are.
fn columns_of<'a>(
    heads: &Heads<'a, Int16Blocks>,
    piece: &Piece,
) -> ([Columns<'a>; VECTORS], usize) {
    let shape = heads.shape;
    let mut columns = [Columns::NONE; VECTORS];
    let (mut count, mut position) = (0, piece.start);
    while position < piece.end {
        let (block, offset) = (position / shape.block_size, position % shape.block_size);
        let tile = piece.run.table[block] as usize * shape.kv_heads + heads.head;
        columns[count] = heads.blocks.columns(shape, tile, offset, position);
        position += columns[count].count;
        count += 1;
    }
    (columns, count)
}

/// A chunk's keys and values.
struct Chunk<'a> {
    columns: &'a [Columns<'a>],
    key_stride: usize,
    value_stride: usize,
    /// Pairs of a key or query.
    pairs: usize,
}

/// What belongs to some queries, from the first on.
struct Tile<'a> {
    queries: &'a [Query],
    carries: &'a mut [Carry],
    q: &'a [Pair],
    sums: &'a mut [f32],
    totals: &'a mut [[f32; LANES]],
    scores: &'a mut [f32],
    weights: &'a mut [Pair],
}

impl Chunk<'_> {
    /// The part of the chunk in the sums of the first `N` queries; returns `N`.
    #[inline(always)]
    fn attend<S: Simd, const N: usize>(&self, s: S, tile: Tile) -> usize {
        let Tile {
            queries,
            carries,
            q,
            sums,
            totals,
            scores,
            weights,
        } = tile;
        let carries = &mut carries[..N];
        let mut v = 0;
        while v < self.columns.len() {
            v += match (S::WIDE, self.columns.len() - v) {
                (true, VECTORS..) => self.score::<S, N, VECTORS>(s, v, q, carries, scores),
                _ => self.score::<S, N, 1>(s, v, q, carries, scores),
            };
        }
        let rows = scores
            .chunks_exact_mut(CHUNK)
            .zip(weights.chunks_exact_mut(CHUNK / 2));
        let queries = queries.iter().zip(&mut *carries).zip(totals);
        for (((query, carry), total), (scores, weights)) in queries.zip(rows) {
            self.weigh(s, query.visible, carry, total, scores, weights);
        }
        let mut d = 0;
        while d < self.value_stride {
            d += match (S::WIDE, (self.value_stride - d) / LANES) {
                (true, 4..) => self.add::<S, N, 4>(s, d, carries, weights, sums),
                _ => self.add::<S, N, 1>(s, d, carries, weights, sums),
            };
        }
        N
    }

    /// The scores of `N` queries on `V` vectors of keys from `first`; returns `V`.
    #[inline(always)]
    fn score<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        first: usize,
        q: &[Pair],
        carries: &[Carry],
        scores: &mut [f32],
    ) -> usize {
        let (pairs, stride) = (self.pairs, self.key_stride);
        let columns: &[Columns; V] = self.columns[first..]
            .first_chunk()
            .expect("there are V vectors; this is a bug");
        for columns in columns {
            assert!(columns.keys.len() >= (pairs - 1) * stride + LANES);
        }
        assert!(q.len() >= N * pairs && carries.len() == N);
        let mut acc = [[s.splat_i32(0); V]; N];
        for d in 0..pairs {
            let mut key = [s.splat_i32(0); V];
            for (key, columns) in key.iter_mut().zip(columns) {
                // SAFETY: by the check above, row `d` of the keys has 16 pairs.
                *key = s.load_bytes(unsafe { &*columns.keys.as_ptr().add(d * stride).cast() });
            }
            for (n, acc) in acc.iter_mut().enumerate() {
                // SAFETY: by the check above there are `pairs` pairs of each query.
                let pair = unsafe { *q.get_unchecked(n * pairs + d) };
                let pair = s.splat_i32(i32::from_ne_bytes(pair));
                for (acc, key) in acc.iter_mut().zip(&key) {
                    *acc = s.dot_i16(*acc, pair, *key);
                }
            }
        }
        for (v, columns) in columns.iter().enumerate() {
            let scale = s.load_bf16(columns.key_scales);
            let rows = scores.chunks_exact_mut(CHUNK);
            for ((acc, carry), scores) in acc.iter().zip(carries).zip(rows) {
                let score = s.mul(s.to_f32(acc[v]), s.mul(scale, s.splat(carry.scale)));
                s.store(score, &mut scores.as_chunks_mut().0[first + v]);
            }
        }
        V
    }

    /// Turns the scores of a query, which sees the positions before `visible`, into weights.
    #[inline(always)]
    fn weigh<S: Simd>(
        &self,
        s: S,
        visible: usize,
        carry: &mut Carry,
        total: &mut [f32; LANES],
        scores: &mut [f32],
        weights: &mut [Pair],
    ) {
        let scores = &mut scores.as_chunks_mut().0[..self.columns.len()];
        carry.sees = false;
        for (columns, scores) in self.columns.iter().zip(&mut *scores) {
            let seen = columns.seen(visible);
            carry.sees |= seen > 0;
            if seen < LANES {
                let hidden = s.splat(f32::NEG_INFINITY);
                s.store(first_lanes(s, seen, s.load(scores), hidden), scores);
            }
        }
        if !carry.sees {
            weights.fill([0; 4]);
            return;
        }
        let max = carry.max.max(largest(s, scores.as_flattened()));
        carry.rescale = 1.0;
        if max > carry.max {
            let mut lanes = [0.0; LANES];
            s.store(math::exp2_below_0(s, s.splat(carry.max - max)), &mut lanes);
            carry.rescale = lanes[0];
            carry.max = max;
        }
        let zero = s.splat(0.0);
        let (mut sum, mut most) = (zero, zero);
        let mut all = s.mul(s.load(total), s.splat(carry.rescale));
        for (columns, scores) in self.columns.iter().zip(&mut *scores) {
            let mut weight = math::exp2_below_0(s, s.sub(s.load(scores), s.splat(max)));
            let mut scaled = s.mul(weight, s.load_bf16(columns.value_scales));
            let seen = columns.seen(visible);
            if seen < LANES {
                weight = first_lanes(s, seen, weight, zero);
                scaled = first_lanes(s, seen, scaled, zero);
            }
            all = s.add(all, weight);
            sum = s.add(sum, scaled);
            most = s.max(most, scaled);
            s.store(scaled, scores);
        }
        s.store(all, total);
        let (step, inverse) = step(s.max_lane(most), s.sum(sum) / BUDGET);
        carry.step = step;
        let inverse = s.splat(inverse);
        let outs = weights.as_chunks_mut::<{ LANES / 2 }>().0;
        for (scores, out) in scores.iter().zip(outs) {
            let out = out.as_flattened_mut().first_chunk_mut();
            s.narrow_i16(
                s.to_i32(s.mul(s.load(scores), inverse)),
                out.expect("32 bytes; this is a bug"),
            );
        }
    }

    /// Adds the `V` vectors of weighted values from dimension `d` to the rescaled sums of `N` queries; returns the number of
    /// dimensions.
    #[inline(always)]
    fn add<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        d: usize,
        carries: &[Carry],
        weights: &[Pair],
        sums: &mut [f32],
    ) -> usize {
        let stride = self.value_stride;
        assert!(d + V * LANES <= stride && weights.len() >= N * CHUNK / 2);
        assert!(self.columns.len() <= VECTORS && carries.len() == N);
        let mut acc = [[s.splat_i32(0); V]; N];
        for (index, columns) in self.columns.iter().enumerate() {
            let rows = columns.count.div_ceil(2);
            assert!(rows <= LANES / 2 && columns.values.len() >= rows * stride);
            let at = index * LANES / 2;
            if rows == LANES / 2 {
                // Of a known number, so that the loop is unrolled.
                for row in 0..LANES / 2 {
                    // SAFETY: by the checks above.
                    unsafe { self.add_row(s, &mut acc, columns, row, d, weights, at) };
                }
            } else {
                for row in 0..rows {
                    // SAFETY: by the checks above.
                    unsafe { self.add_row(s, &mut acc, columns, row, d, weights, at) };
                }
            }
        }
        let rows = sums.chunks_exact_mut(stride);
        for ((acc, carry), sums) in acc.iter().zip(carries).zip(rows) {
            // What a query does not see leaves its sums as they are, down to the sign of a zero.
            if carry.sees {
                let (rescale, step) = (s.splat(carry.rescale), s.splat(carry.step));
                for (acc, sum) in acc.iter().zip(sums[d..].as_chunks_mut().0) {
                    let before = s.mul(s.load(sum), rescale);
                    s.store(s.fma(s.to_f32(*acc), step, before), sum);
                }
            }
        }
        V * LANES
    }

    /// Adds the `V` vectors of weighted values from dimension `d` of two positions, whose weights are the pair at `at + row`
    /// of each query.
    ///
    /// # Safety
    /// The columns have a row `row` of values and `V` vectors from `d` in it; there are `CHUNK / 2` weights for each
    /// query, more than `at + row`.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn add_row<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        acc: &mut [[S::I; V]; N],
        columns: &Columns,
        row: usize,
        d: usize,
        weights: &[Pair],
        at: usize,
    ) {
        let mut value = [s.splat_i32(0); V];
        for (v, value) in value.iter_mut().enumerate() {
            let at = row * self.value_stride + d + v * LANES;
            // SAFETY: by this function's contract.
            *value = s.load_bytes(unsafe { &*columns.values.as_ptr().add(at).cast() });
        }
        for (n, acc) in acc.iter_mut().enumerate() {
            // SAFETY: by this function's contract.
            let pair = unsafe { *weights.get_unchecked(n * (CHUNK / 2) + at + row) };
            let pair = s.splat_i32(i32::from_ne_bytes(pair));
            for (acc, value) in acc.iter_mut().zip(&value) {
                *acc = s.dot_i16(*acc, pair, *value);
            }
        }
    }
}

/// The first `count` lanes of `a`, the others of `b`.
#[inline(always)]
fn first_lanes<S: Simd>(s: S, count: usize, a: S::F, b: S::F) -> S::F {
    let lanes = [
        0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
    ];
    s.select_negative(s.sub(s.load(&lanes), s.splat(count as f32)), a, b)
}
