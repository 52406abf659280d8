//! The softmax of scores that come chunk by chunk.
//!
//! Each step is done for all queries of a tile before the next one, so that they do not wait for one another's results.

use super::heads::{CHUNK, Query};
use crate::simd::{LANES, Simd, math};

/// Vectors of positions in a chunk.
pub(super) const VECTORS: usize = CHUNK / LANES;

/// What a query carries from chunk to chunk beside its sums.
#[derive(Clone, Copy)]
pub(super) struct Carry {
    /// The largest score so far.
    pub max: f32,
    /// What earlier sums are multiplied by, as they were made with a smaller `max`.
    pub rescale: f32,
}

impl Carry {
    pub(super) const NEW: Carry = Carry {
        max: f32::NEG_INFINITY,
        rescale: 1.0,
    };
}

/// The positions of a vector: `count` of them, at most 16, from `position` on.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub position: usize,
    pub count: usize,
}

impl Place {
    /// How many of the positions lie before `visible`.
    #[inline(always)]
    fn seen(&self, visible: usize) -> usize {
        visible.saturating_sub(self.position).min(self.count)
    }
}

/// The positions of a chunk's vectors.
#[derive(Clone, Copy)]
pub(super) struct Places {
    vectors: [Place; VECTORS],
    count: usize,
    /// A query that sees all positions before this one sees all lanes of all vectors.
    end: usize,
}

impl Places {
    pub(super) const NONE: Places = Places {
        vectors: [Place {
            position: 0,
            count: 0,
        }; VECTORS],
        count: 0,
        end: 0,
    };

    #[inline(always)]
    pub(super) fn push(&mut self, place: Place) {
        self.vectors[self.count] = place;
        self.count += 1;
        self.end = match place.count {
            LANES => self.end.max(place.position + LANES),
            _ => usize::MAX,
        };
    }

    /// The chunk's first position.
    #[inline(always)]
    pub(super) fn start(&self) -> usize {
        self.vectors[0].position
    }

    /// What belongs to the vector `v`, of which a query sees the positions before `visible`: 0 for the others.
    #[inline(always)]
    pub(super) fn seen_of<S: Simd>(&self, s: S, v: usize, visible: usize, x: S::F) -> S::F {
        if visible >= self.end {
            return x;
        }
        first_lanes(s, self.vectors[v].seen(visible), x, s.splat(0.0))
    }

    #[inline(always)]
    fn vectors(&self) -> &[Place] {
        &self.vectors[..self.count]
    }
}

/// Turns the scores of the first `N` queries on a chunk, `[N, CHUNK]`, in powers of two, into weights: 0 for what a query
/// does not see. They are added to `totals` by their place in a vector.
#[inline(always)]
pub(super) fn weigh<S: Simd, const N: usize>(
    s: S,
    places: &Places,
    queries: &[Query],
    carries: &mut [Carry],
    totals: &mut [[f32; LANES]],
    scores: &mut [f32],
) {
    let (queries, carries, totals) = (&queries[..N], &mut carries[..N], &mut totals[..N]);
    let rows = scores.as_chunks_mut::<CHUNK>().0;
    let rows = &mut rows[..N];
    let hidden = s.splat(f32::NEG_INFINITY);
    let mut largest = [hidden; N];
    for ((query, scores), largest) in queries.iter().zip(&mut *rows).zip(&mut largest) {
        let scores = &mut scores.as_chunks_mut().0[..places.count];
        if query.visible < places.end {
            for (place, scores) in places.vectors().iter().zip(&mut *scores) {
                let seen = place.seen(query.visible);
                s.store(first_lanes(s, seen, s.load(scores), hidden), scores);
            }
        }
        for scores in scores {
            // A score that is not a number is passed over here, and is found in the weights.
            *largest = s.max(s.load(scores), *largest);
        }
    }
    for (largest, carry) in largest.into_iter().zip(&mut *carries) {
        let largest = s.max_lane(largest);
        carry.rescale = 1.0;
        if largest > carry.max {
            let mut lanes = [0.0; LANES];
            let less = s.splat(carry.max - largest);
            s.store(math::exp2_below_0(s, less), &mut lanes);
            (carry.rescale, carry.max) = (lanes[0], largest);
        }
    }
    for (((query, scores), carry), total) in queries.iter().zip(rows).zip(carries).zip(totals) {
        let scores = &mut scores.as_chunks_mut().0[..places.count];
        let max = s.splat(carry.max);
        let mut sum = s.mul(s.load(total), s.splat(carry.rescale));
        for (v, scores) in scores.iter_mut().enumerate() {
            let weight = math::exp2_below_0(s, s.sub(s.load(scores), max));
            let weight = places.seen_of(s, v, query.visible, weight);
            sum = s.add(sum, weight);
            s.store(weight, scores);
        }
        s.store(sum, total);
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
