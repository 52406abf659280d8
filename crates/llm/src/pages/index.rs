//! Which pages there are, and which goes next.

use std::collections::{BTreeSet, HashMap};

use super::hash::PageHash;

#[derive(Clone, Copy, Debug)]
struct Entry {
    bytes: u64,
    stamp: u64,
}

/// The pages in the folder by hash and by their last use.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<PageHash, Entry>,
    /// By the time of the last use; equal times by hash.
    by_use: BTreeSet<(u64, PageHash)>,
    bytes: u64,
}

impl Index {
    pub fn contains(&self, hash: &PageHash) -> bool {
        self.entries.contains_key(hash)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all pages together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a page of `bytes` bytes that was last used at `stamp`, in nanoseconds of Unix time.
    pub fn insert(&mut self, hash: PageHash, bytes: u64, stamp: u64) {
        self.remove(&hash);
        self.entries.insert(hash, Entry { bytes, stamp });
        self.by_use.insert((stamp, hash));
        self.bytes += bytes;
    }

    pub fn remove(&mut self, hash: &PageHash) {
        if let Some(entry) = self.entries.remove(hash) {
            self.by_use.remove(&(entry.stamp, *hash));
            self.bytes -= entry.bytes;
        }
    }

    /// Notes a use at `stamp`. False where there is no such page.
    pub fn touch(&mut self, hash: &PageHash, stamp: u64) -> bool {
        let Some(entry) = self.entries.get_mut(hash) else {
            return false;
        };
        self.by_use.remove(&(entry.stamp, *hash));
        entry.stamp = stamp;
        self.by_use.insert((stamp, *hash));
        true
    }

    /// Takes out the page that was used least recently, if that was before `stamp`.
    pub fn pop_before(&mut self, stamp: u64) -> Option<PageHash> {
        let &(used, hash) = self.by_use.first()?;
        if used >= stamp {
            return None;
        }
        self.remove(&hash);
        Some(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(i: u32) -> PageHash {
        format!("{i:064x}").parse().unwrap()
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut index = Index::default();
        for i in 0..3 {
            index.insert(hash(i), 10, u64::from(i));
        }
        assert_eq!((index.len(), index.bytes()), (3, 30));
        assert!(index.touch(&hash(0), 3));
        assert!(!index.touch(&hash(9), 3));
        assert_eq!(index.pop_before(u64::MAX), Some(hash(1)));
        assert_eq!(index.pop_before(2), None);
        assert_eq!(index.pop_before(3), Some(hash(2)));
        assert_eq!((index.len(), index.bytes()), (1, 10));
        index.insert(hash(0), 25, 1);
        assert_eq!((index.len(), index.bytes()), (1, 25));
        index.remove(&hash(0));
        assert_eq!((index.pop_before(u64::MAX), index.bytes()), (None, 0));
    }
}
