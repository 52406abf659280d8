//! A conversation comes back: blocks from and to the [pages](crate::pages) on disk.
//!
//! A request whose tokens begin with pages waits until they are in the cache; then it finds them there as it finds
//! what others computed. They are read piece by piece on the pages' own thread, one request after the other, while the
//! rest goes on. When the engine ends, what the cache still holds is written, the most recently used first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use super::blocks::Chain;
use super::scheduler::Scheduler;
use super::sequence::Rank;
use crate::cache::KvCache;
use crate::pages::{Page, PageHash, PageStore, Wanted};

/// Bytes that are read, and copied into the cache between two steps, at a time.
const PIECE_BYTES: usize = 8 << 20;
/// How long a request waits for the disk before it is computed after all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often callers and deadlines are looked after while all requests wait for the disk.
const STALLED_CHECK: Duration = Duration::from_millis(5);
/// How long an engine that ends may write.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// The pages that an engine uses.
pub(super) struct Resume {
    store: Arc<PageStore>,
    root: PageHash,
    block_size: usize,
    block_bytes: usize,
    pieces: (Sender<Piece>, Receiver<Piece>),
    waiting: VecDeque<Load>,
    /// Whether a piece is on its way.
    reading: bool,
    /// Counts pieces, to tell one that comes too late.
    piece: u64,
    counts: ResumeCounts,
}

/// Counters of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResumeCounts {
    pub blocks_read: u64,
    pub blocks_written: u64,
}

/// A waiting sequence with the hashes of its full blocks.
struct Load {
    rank: Rank,
    hashes: Vec<PageHash>,
    since: Instant,
}

/// Consecutive blocks of a sequence, read.
struct Piece {
    number: u64,
    rank: Rank,
    first: usize,
    pages: Vec<Page>,
}

impl Resume {
    /// For an engine whose chains begin at `root`.
    pub fn new(store: Arc<PageStore>, root: PageHash, cache: &KvCache) -> Self {
        Self {
            store,
            root,
            block_size: cache.block_size(),
            block_bytes: cache.block_bytes(),
            pieces: channel(),
            waiting: VecDeque::new(),
            reading: false,
            piece: 0,
            counts: ResumeCounts::default(),
        }
    }

    pub fn counts(&self) -> ResumeCounts {
        self.counts
    }

    /// Takes note of a sequence that now waits, which is held back where pages go further than the cache.
    pub fn look<W>(&mut self, rank: Rank, scheduler: &mut Scheduler<W>) {
        let cached = scheduler.cached_blocks(rank);
        let Some(sequence) = scheduler.waiting_mut(rank) else {
            return;
        };
        let limit = sequence.tokens.len().min(sequence.match_limit);
        let mut hash = self.root;
        let blocks = sequence.tokens[..limit].chunks_exact(self.block_size);
        let hashes: Vec<PageHash> = blocks
            .map(|tokens| {
                hash = hash.then(tokens);
                hash
            })
            .collect();
        if self.store.run_of(&hashes[cached..]) > 0 {
            sequence.loading = true;
            self.waiting.push_back(Load {
                rank,
                hashes,
                since: Instant::now(),
            });
        }
    }

    /// Asks for the next piece, where none is on its way, and lets sequences go for which nothing is left to read.
    fn advance<W>(&mut self, scheduler: &mut Scheduler<W>) {
        while let Some(load) = self.waiting.front() {
            let stuck = load.since.elapsed() >= PATIENCE;
            if self.reading && !stuck {
                return;
            }
            let wanted = match stuck {
                true => Vec::new(),
                false => self.next_piece(load, scheduler),
            };
            let rank = load.rank;
            if wanted.is_empty() {
                self.waiting.pop_front();
                if let Some(sequence) = scheduler.waiting_mut(rank) {
                    sequence.loading = false;
                }
                continue;
            }
            self.ask(rank, wanted);
            return;
        }
    }

    /// The pages behind what the cache holds of a sequence, as many as make a piece and have room.
    fn next_piece<W>(&self, load: &Load, scheduler: &mut Scheduler<W>) -> Vec<Wanted> {
        let first = scheduler.cached_blocks(load.rank);
        let room = scheduler.blocks.available().saturating_sub(first);
        let most = (PIECE_BYTES / self.block_bytes).max(1).min(room);
        let Some(sequence) = scheduler.waiting_mut(load.rank) else {
            return Vec::new();
        };
        let behind = load.hashes.get(first..).unwrap_or_default();
        let there = self.store.run_of(behind.iter().take(most));
        (first..first + there)
            .map(|i| Wanted {
                hash: load.hashes[i],
                before: i.checked_sub(1).map_or(self.root, |i| load.hashes[i]),
                tokens: sequence.tokens[i * self.block_size..][..self.block_size].into(),
                data_len: self.block_bytes,
                depth: i,
            })
            .collect()
    }

    fn ask(&mut self, rank: Rank, wanted: Vec<Wanted>) {
        self.piece += 1;
        self.reading = true;
        let (number, first) = (self.piece, wanted[0].depth);
        let pieces = self.pieces.0.clone();
        self.store.read(wanted, move |pages| {
            // An engine that has ended wants nothing any more.
            let _ = pieces.send(Piece {
                number,
                rank,
                first,
                pages,
            });
        });
    }

    /// Takes in what was read and asks for more. Where nothing else can be done it waits for that, though not for long, as
    /// requests may come or end.
    pub fn step<W>(&mut self, scheduler: &mut Scheduler<W>, cache: &mut KvCache) {
        self.advance(scheduler);
        if scheduler.is_idle() || !scheduler.is_stalled() {
            if let Ok(piece) = self.pieces.1.try_recv() {
                self.take(piece, scheduler, cache);
                self.advance(scheduler);
            }
            return;
        }
        while scheduler.is_stalled() {
            let Ok(piece) = self.pieces.1.recv_timeout(STALLED_CHECK) else {
                return;
            };
            self.take(piece, scheduler, cache);
            self.advance(scheduler);
        }
    }

    /// Copies a piece into the cache.
    fn take<W>(&mut self, piece: Piece, scheduler: &mut Scheduler<W>, cache: &mut KvCache) {
        if piece.number != self.piece {
            return;
        }
        self.reading = false;
        let pages = &piece.pages;
        let mut read = 0;
        let fill = |block, i: usize| {
            cache.import_block(block, pages[i].data());
            read += 1;
        };
        let cached = scheduler.insert_blocks(piece.rank, piece.first, pages.len(), fill);
        self.counts.blocks_read += read;
        if cached < piece.first + pages.len().max(1)
            && let Some(load) = self.waiting.front_mut()
            && load.rank == piece.rank
        {
            // The rest has no room, or is not sound: it is computed.
            load.hashes.clear();
        }
    }

    /// Writes what the cache holds and nobody uses, for as long as an engine that ends may take.
    pub fn keep<W>(&mut self, scheduler: &Scheduler<W>, cache: &KvCache) {
        let (begin, now) = (Instant::now(), SystemTime::now());
        let mut chains = HashMap::from([(Chain::ROOT, (self.root, 0))]);
        for (block, before, tokens, chain) in scheduler.blocks.unheld() {
            let Some(&(hash, depth)) = chains.get(&before) else {
                continue;
            };
            if begin.elapsed() >= WRITE_TIME {
                tracing::warn!("not all KV pages could be written in time");
                return;
            }
            let data = || {
                let mut bytes = Vec::new();
                cache.export_block(block, &mut bytes);
                bytes
            };
            match self.store.write(&hash, tokens, depth, now, data) {
                Ok(true) => self.counts.blocks_written += 1,
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "KV pages can't be written");
                    return;
                }
            }
            chains.insert(chain, (hash.then(tokens), depth + 1));
        }
    }
}
