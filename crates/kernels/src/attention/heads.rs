//! The work of a task: some queries on one head's keys and values.
//!
//! Keys and values are taken up in chunks of some tens of positions and met by all queries of the task that see them
//! while they are in the cache, those of other sequences that begin with the same blocks included; each query carries its
//! largest score so far, the sum of its weights and the weighted values from chunk to chunk (the online softmax of
//! Milakov and Gimelshein 2018, in the blocks of Dao et al. 2022). Chunks begin at the same positions for every query,
//! and a query does the same with each of them whatever other queries there are.

use super::ahead::Ahead;
use super::cache::Shape;
use super::store::Store;
use crate::Tier;
use crate::pool::SharedMut;
use crate::simd::{LANES, Simd, store_part};

/// The most queries of a task.
pub(super) const MOST_QUERIES: usize = 64;
/// The most queries that are computed at once.
pub(super) const TILE: usize = 4;
/// The most positions of a chunk.
pub(super) const CHUNK: usize = 64;

/// A query: where it begins in `q` and `out`, and how many positions it sees.
#[derive(Clone, Copy, Default)]
pub(super) struct Query {
    pub at: usize,
    pub visible: usize,
}

/// The queries of one sequence in a task: `count` of them from `first`, of which the last sees `seen` positions.
#[derive(Clone, Copy, Default)]
pub(super) struct Run<'a> {
    pub table: &'a [u32],
    pub first: usize,
    pub count: usize,
    pub seen: usize,
}

/// Up to [`MOST_QUERIES`] queries of some sequences on one head of keys and values.
pub(super) struct Heads<'a, B: Store> {
    pub blocks: &'a B,
    pub shape: Shape,
    pub head: usize,
    pub q: &'a [f32],
    pub scale: f32,
    pub runs: &'a [Run<'a>],
    pub queries: &'a [Query],
    pub out: &'a SharedMut<f32>,
}

/// A chunk of a sequence's keys and values.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub run: Run<'a>,
    /// The run's place among the runs.
    pub index: usize,
    pub start: usize,
    pub end: usize,
}

/// The pieces of a task, chunk by chunk and in each run by run.
pub(super) struct Pieces<'a> {
    held: Option<Piece<'a>>,
    next: Option<Piece<'a>>,
    /// What the next one needs.
    pub ahead: Ahead<'a>,
}

impl<'a> Pieces<'a> {
    /// The next piece, and whether its keys and values are those of the piece before.
    pub(super) fn next<B: Store>(&mut self, heads: &Heads<'a, B>) -> Option<(Piece<'a>, bool)> {
        let piece = self.next?;
        let again = self.held.is_some_and(|held| heads.same(&held, &piece));
        self.next = heads.piece(piece.index + 1, piece.start);
        if let Some(next) = &self.next
            && !heads.same(&piece, next)
        {
            let (blocks, size) = (heads.blocks_of(next), heads.shape.block_size);
            self.ahead.aim(blocks, size, piece.run.count.div_ceil(TILE));
        }
        self.held = Some(piece);
        Some((piece, again))
    }
}

impl<'a, B: Store> Heads<'a, B> {
    /// Computes and writes the outputs of all queries.
    pub(super) fn attend(&self, tier: Tier) {
        B::attend(self, tier);
    }

    /// All pieces, from the first on.
    pub(super) fn pieces(&self) -> Pieces<'a> {
        Pieces {
            held: None,
            next: self.piece(0, 0),
            ahead: Ahead::new(self.blocks, self.shape, self.head),
        }
    }

    /// Writes a query's output: its weighted values, divided by the sum of its weights.
    #[inline(always)]
    pub(super) fn finish<S: Simd>(&self, s: S, query: &Query, sums: &[f32], weight: f32) {
        let scale = s.splat(1.0 / weight);
        // SAFETY: each query's output is written by one task, and the range does not overlap another query's.
        let out = unsafe { self.out.range(query.at, self.shape.head_dim) };
        for (out, sum) in out.chunks_mut(LANES).zip(sums.as_chunks().0) {
            store_part(s, s.mul(s.load(sum), scale), out);
        }
    }

    /// The first piece of the chunk at `start` from the run `index` on, or else of the chunks behind it.
    fn piece(&self, mut index: usize, mut start: usize) -> Option<Piece<'a>> {
        let most = self.runs.iter().map(|run| run.seen).max().unwrap_or(0);
        while start < most {
            while let Some(run) = self.runs.get(index) {
                if start < run.seen {
                    return Some(Piece {
                        run: *run,
                        index,
                        start,
                        end: B::chunk_end(self.shape, start).min(run.seen),
                    });
                }
                index += 1;
            }
            (index, start) = (0, B::chunk_end(self.shape, start));
        }
        None
    }

    /// The blocks that a piece lies in.
    fn blocks_of(&self, piece: &Piece<'a>) -> &'a [u32] {
        let size = self.shape.block_size;
        &piece.run.table[piece.start / size..piece.end.div_ceil(size)]
    }

    /// Whether two pieces are the same keys and values, as of sequences that begin with the same blocks.
    fn same(&self, a: &Piece, b: &Piece) -> bool {
        (a.start, a.end) == (b.start, b.end) && self.blocks_of(a) == self.blocks_of(b)
    }
}
