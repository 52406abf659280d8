//! Which block of the KV cache belongs to whom.
//!
//! The cache is cut into blocks of a fixed number of tokens (Kwon et al. 2023,
//! arXiv:2309.06180). A sequence owns a table of blocks; a block may be in several tables and is
//! counted. A full block whose contents are known is registered in a chain: its key is its
//! predecessor's identity and its own tokens, and its identity stands for all tokens from the
//! sequence's first on, on which alone its contents depend (positions follow from the chain, the
//! model and the cache's type are the same for all). Keys are compared whole, so no collision of
//! hashes can hand one prompt's blocks to another.
//!
//! A registered block that nobody holds stays findable until its place is needed, the least
//! recently used first. Tables are released from their end, so a block is never given up before
//! those that continue it.

use std::collections::{BTreeMap, HashMap};

/// Identity of a chain of full blocks; equal for equal tokens as long as one of them is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Chain(u64);

impl Chain {
    /// The chain of no blocks, before a sequence's first.
    pub const ROOT: Chain = Chain(0);
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    before: Chain,
    tokens: Box<[u32]>,
}

/// A registered block, as [`BlockManager::find`] and [`BlockManager::register`] answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cached {
    pub block: u32,
    /// The chain that ends with this block.
    pub chain: Chain,
}

/// What a block's holder must do before writing into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writable {
    /// Nothing, it is the only holder.
    Own,
    /// Copy the old block's contents to `to`, which it holds now in place of the old one.
    Copy { to: u32 },
}

#[derive(Debug, Default)]
struct Block {
    holders: u32,
    /// Set while registered.
    key: Option<Key>,
    /// When it was last released; its place in `unheld`.
    released: u64,
}

/// Counters of the manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BlockCounts {
    pub total: usize,
    /// Held by at least one sequence.
    pub used: usize,
    /// Held by none, kept for their contents.
    pub cached: usize,
    pub evictions: u64,
}

/// Hands out blocks `0..total`.
#[derive(Debug)]
pub(super) struct BlockManager {
    blocks: Vec<Block>,
    /// Blocks with neither holder nor contents.
    free: Vec<u32>,
    /// Registered blocks without a holder, by the time of their release.
    unheld: BTreeMap<u64, u32>,
    registered: HashMap<Key, Cached>,
    /// Counts releases.
    clock: u64,
    last_chain: u64,
    evictions: u64,
}

impl BlockManager {
    pub fn new(total: usize) -> Self {
        let total = u32::try_from(total).expect("blocks are numbered in u32, this is a bug");
        Self {
            blocks: (0..total).map(|_| Block::default()).collect(),
            free: (0..total).rev().collect(),
            unheld: BTreeMap::new(),
            registered: HashMap::new(),
            clock: 0,
            last_chain: 0,
            evictions: 0,
        }
    }

    /// Blocks that [`allocate`](Self::allocate) can give.
    pub fn available(&self) -> usize {
        self.free.len() + self.unheld.len()
    }

    pub fn counts(&self) -> BlockCounts {
        BlockCounts {
            total: self.blocks.len(),
            used: self.blocks.len() - self.available(),
            cached: self.unheld.len(),
            evictions: self.evictions,
        }
    }

    /// Whether anybody holds a block.
    pub fn held(&self, id: u32) -> bool {
        self.blocks[id as usize].holders > 0
    }

    /// A block for the caller alone, at the expense of the cached one that was used least
    /// recently where none is free.
    pub fn allocate(&mut self) -> Option<u32> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let (_, id) = self.unheld.pop_first()?;
                let key = self.blocks[id as usize].key.take();
                self.registered
                    .remove(&key.expect("an unheld block is registered, else this is a bug"));
                self.evictions += 1;
                id
            }
        };
        self.blocks[id as usize].holders = 1;
        Some(id)
    }

    /// One holder more for a block that is held or registered.
    pub fn retain(&mut self, id: u32) {
        let block = &mut self.blocks[id as usize];
        if block.holders == 0 {
            let unheld = self.unheld.remove(&block.released);
            assert_eq!(unheld, Some(id), "retained a free block, this is a bug");
        }
        block.holders += 1;
    }

    /// One holder less.
    pub fn release(&mut self, id: u32) {
        let block = &mut self.blocks[id as usize];
        assert!(
            block.holders > 0,
            "released a block that nobody holds, this is a bug"
        );
        block.holders -= 1;
        if block.holders > 0 {
            return;
        }
        if block.key.is_some() {
            self.clock += 1;
            block.released = self.clock;
            self.unheld.insert(self.clock, id);
        } else {
            self.free.push(id);
        }
    }

    /// Releases a whole table, its last block first.
    pub fn release_table(&mut self, table: &mut Vec<u32>) {
        while let Some(id) = table.pop() {
            self.release(id);
        }
    }

    /// The registered block that holds `tokens` after `before`. Nobody's hold changes.
    pub fn find(&self, before: Chain, tokens: &[u32]) -> Option<Cached> {
        let key = Key {
            before,
            tokens: tokens.into(),
        };
        self.registered.get(&key).copied()
    }

    /// Makes a held block, whose contents are computed, findable. Where the same contents are
    /// registered already, the answer is that other block, and this one stays as it is.
    pub fn register(&mut self, id: u32, before: Chain, tokens: &[u32]) -> Cached {
        let key = Key {
            before,
            tokens: tokens.into(),
        };
        if let Some(&cached) = self.registered.get(&key) {
            return cached;
        }
        let block = &mut self.blocks[id as usize];
        assert!(
            block.holders > 0 && block.key.is_none(),
            "registered a free block, or one twice; this is a bug"
        );
        block.key = Some(key.clone());
        self.last_chain += 1;
        let cached = Cached {
            block: id,
            chain: Chain(self.last_chain),
        };
        self.registered.insert(key, cached);
        cached
    }

    /// The registered blocks that nobody holds, the most recently used first, each with the chain before it, its tokens
    /// and its own chain. A block comes after the one that it continues.
    pub fn unheld(&self) -> impl Iterator<Item = (u32, Chain, &[u32], Chain)> {
        self.unheld.values().rev().map(|&id| {
            let key = self.blocks[id as usize].key.as_ref();
            let key = key.expect("an unheld block is registered, else this is a bug");
            (id, key.before, &*key.tokens, self.registered[key].chain)
        })
    }

    /// Lets the caller write into a block that it holds: a block that others hold, or find, is
    /// exchanged for a new one. `None` where no block is available; nothing has changed then.
    pub fn make_writable(&mut self, id: u32) -> Option<Writable> {
        let block = &self.blocks[id as usize];
        if block.holders == 1 && block.key.is_none() {
            return Some(Writable::Own);
        }
        let to = self.allocate()?;
        self.release(id);
        Some(Writable::Copy { to })
    }
}

#[cfg(test)]
mod tests;
