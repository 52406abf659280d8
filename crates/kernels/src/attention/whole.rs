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

use super::ahead::Ahead;
use super::heads::{CHUNK, Heads, MOST_QUERIES, Piece, Query, TILE};
use super::int16::{Columns, Int16Blocks, LARGEST, Pair, key_rows};
use super::online::{Carry, Places, VECTORS, weigh};
use crate::memory::bytes_of_mut;
use crate::simd::{self, Kernel, LANES, Simd, load_part};
use crate::{Tier, scratch};

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
        let mut carries = [Carry::NEW; MOST_QUERIES];
        let mut scales = [0.0; MOST_QUERIES];
        let rows = q.chunks_exact_mut(pairs);
        for ((query, scale), out) in heads.queries.iter().zip(&mut scales).zip(rows) {
            *scale = heads.scale
                * std::f32::consts::LOG2_E
                * quantize(s, &heads.q[query.at..][..head_dim], out);
        }
        sums.fill(0.0);
        totals.as_flattened_mut().fill(0.0);
        let mut columns = [Columns::NONE; VECTORS];
        let (mut places, mut value_scales) = (Places::NONE, [[0.0; LANES]; VECTORS]);
        let mut count = 0;
        let mut pieces = heads.pieces();
        while let Some((piece, again)) = pieces.next(heads) {
            if !again {
                (columns, count) = columns_of(heads, &piece);
                places = Places::NONE;
                for (columns, scales) in columns[..count].iter().zip(&mut value_scales) {
                    places.push(columns.place);
                    s.store(s.load_bf16(columns.value_scales), scales);
                }
            }
            let chunk = Chunk {
                columns: &columns[..count],
                places: &places,
                value_scales: &value_scales[..count],
                key_stride: heads.shape.key_stride(),
                value_stride: stride,
                pairs,
            };
            let (mut first, end) = (piece.run.first, piece.run.first + piece.run.count);
            while first < end {
                let tile = Tile {
                    queries: &heads.queries[first..end],
                    scales: &scales[first..end],
                    carries: &mut carries[first..end],
                    q: &q[first * pairs..],
                    sums: &mut sums[first * stride..],
                    ahead: &mut pieces.ahead,
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
            heads.finish(s, query, sums, s.sum(s.load(total)));
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
        position += columns[count].place.count;
        count += 1;
    }
    (columns, count)
}

/// A chunk's keys and values.
struct Chunk<'a> {
    columns: &'a [Columns<'a>],
    places: &'a Places,
    value_scales: &'a [[f32; LANES]],
    key_stride: usize,
    value_stride: usize,
    /// Pairs of a key or query.
    pairs: usize,
}

/// What belongs to some queries, from the first on.
struct Tile<'a, 'b> {
    ahead: &'a mut Ahead<'b>,
    queries: &'a [Query],
    /// What a product of whole numbers and a key's scale make a score by.
    scales: &'a [f32],
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
            ahead,
            queries,
            scales,
            carries,
            q,
            sums,
            totals,
            scores,
            weights,
        } = tile;
        ahead.some(s);
        let mut v = 0;
        while v < self.columns.len() {
            v += match (S::WIDE, self.columns.len() - v) {
                (true, VECTORS..) => self.score::<S, N, VECTORS>(s, v, q, scales, scores),
                _ => self.score::<S, N, 1>(s, v, q, scales, scores),
            };
        }
        ahead.some(s);
        weigh::<S, N>(s, self.places, queries, carries, totals, scores);
        let steps = self.round::<S, N>(s, queries, scores, weights);
        ahead.some(s);
        let mut d = 0;
        while d < self.value_stride {
            d += match (S::WIDE, (self.value_stride - d) / LANES) {
                (true, 4..) => self.add::<S, N, 4>(s, d, carries, steps, weights, sums),
                _ => self.add::<S, N, 1>(s, d, carries, steps, weights, sums),
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
        scales: &[f32],
        scores: &mut [f32],
    ) -> usize {
        let (pairs, stride) = (self.pairs, self.key_stride);
        let columns: &[Columns; V] = self.columns[first..]
            .first_chunk()
            .expect("there are V vectors; this is a bug");
        for columns in columns {
            assert!(columns.keys.len() >= (pairs - 1) * stride + LANES);
        }
        assert!(q.len() >= N * pairs);
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
            let key_scale = s.load_bf16(columns.key_scales);
            let rows = scores.chunks_exact_mut(CHUNK);
            for ((acc, scale), scores) in acc.iter().zip(scales).zip(rows) {
                let score = s.mul(s.to_f32(acc[v]), s.mul(key_scale, s.splat(*scale)));
                s.store(score, &mut scores.as_chunks_mut().0[first + v]);
            }
        }
        V
    }

    /// Makes the weights of `N` queries, times the values' scales, whole numbers; returns what each query's products are
    /// multiplied by, or `None` for one that sees nothing of the chunk.
    #[inline(always)]
    fn round<S: Simd, const N: usize>(
        &self,
        s: S,
        queries: &[Query],
        scores: &mut [f32],
        weights: &mut [Pair],
    ) -> [Option<f32>; N] {
        let zero = s.splat(0.0);
        let rows = scores.as_chunks_mut::<CHUNK>().0;
        let rows = &mut rows[..N];
        let (mut sums, mut most) = ([zero; N], [zero; N]);
        let found = sums.iter_mut().zip(&mut most);
        for ((query, scores), (sum, most)) in queries.iter().zip(&mut *rows).zip(found) {
            let scores = scores.as_chunks_mut().0.iter_mut();
            for (v, (scores, scales)) in scores.zip(self.value_scales).enumerate() {
                // The scale of a value that is not seen may be anything.
                let scaled = s.mul(s.load(scores), s.load(scales));
                let scaled = self.places.seen_of(s, v, query.visible, scaled);
                *sum = s.add(*sum, scaled);
                *most = s.max(*most, scaled);
                s.store(scaled, scores);
            }
        }
        let mut steps = [None; N];
        let mut inverses = [0.0; N];
        let found = sums.into_iter().zip(most).zip(&mut inverses);
        for (((sum, most), inverse), (out, query)) in found.zip(steps.iter_mut().zip(queries)) {
            let step;
            (step, *inverse) = self::step(s.max_lane(most), s.sum(sum) / BUDGET);
            *out = (query.visible > self.places.start()).then_some(step);
        }
        let outs = weights.as_chunks_mut::<{ CHUNK / 2 }>().0;
        for ((scores, out), inverse) in rows.iter().zip(outs).zip(inverses) {
            let inverse = s.splat(inverse);
            let scores = &scores.as_chunks().0[..self.columns.len()];
            for (scores, out) in scores.iter().zip(out.as_chunks_mut::<{ LANES / 2 }>().0) {
                let out = out.as_flattened_mut().first_chunk_mut();
                s.narrow_i16(
                    s.to_i32(s.mul(s.load(scores), inverse)),
                    out.expect("32 bytes; this is a bug"),
                );
            }
        }
        steps
    }

    /// Adds the `V` vectors of weighted values from dimension `d` to the rescaled sums of `N` queries; returns the number of
    /// dimensions.
    #[inline(always)]
    fn add<S: Simd, const N: usize, const V: usize>(
        &self,
        s: S,
        d: usize,
        carries: &[Carry],
        steps: [Option<f32>; N],
        weights: &[Pair],
        sums: &mut [f32],
    ) -> usize {
        let stride = self.value_stride;
        assert!(d + V * LANES <= stride && weights.len() >= N * CHUNK / 2);
        assert!(self.columns.len() <= VECTORS);
        let mut acc = [[s.splat_i32(0); V]; N];
        for (index, columns) in self.columns.iter().enumerate() {
            let rows = columns.place.count.div_ceil(2);
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
        for (((acc, carry), step), sums) in acc.iter().zip(carries).zip(steps).zip(rows) {
            // What a query does not see leaves its sums as they are, down to the sign of a zero.
            if let Some(step) = step {
                let (rescale, step) = (s.splat(carry.rescale), s.splat(step));
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
