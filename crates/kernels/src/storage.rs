//! Where tensor bytes live: owned memory, a mapped file, a part of the program itself.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// Memory that holds tensor data and outlives everything that reads it.
pub trait Storage: Send + Sync {
    /// All bytes of the storage. Every call returns the same memory with the same length.
    fn bytes(&self) -> &[u8];

    /// A hint that `range` was copied elsewhere and is unlikely to be read again soon.
    ///
    /// A mapped file drops those pages from the process, so that a matrix that was repacked is not held twice. The
    /// bytes stay readable: a later read brings them back.
    fn release(&self, range: Range<usize>) {
        let _ = range;
    }
}

impl Storage for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Storage for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A cheaply clonable range of a [`Storage`].
#[derive(Clone)]
pub struct Bytes {
    storage: Arc<dyn Storage>,
    range: Range<usize>,
}

impl Bytes {
    /// The bytes `range` of `storage`.
    ///
    /// # Panics
    /// If the range does not lie within the storage.
    pub fn new(storage: Arc<dyn Storage>, range: Range<usize>) -> Bytes {
        let len = storage.bytes().len();
        assert!(
            range.start <= range.end && range.end <= len,
            "range {range:?} lies outside a storage of {len} bytes"
        );
        Bytes { storage, range }
    }

    /// A part of this range, sharing the storage; `range` counts from this range's start.
    ///
    /// # Panics
    /// If the range does not lie within this one.
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(
            range.start <= range.end && range.end <= self.range.len(),
            "range {range:?} lies outside of {} bytes",
            self.range.len()
        );
        let start = self.range.start + range.start;
        Bytes {
            storage: Arc::clone(&self.storage),
            range: start..start + range.len(),
        }
    }

    /// Tells the storage that these bytes were copied elsewhere; see [`Storage::release`].
    pub fn release(&self) {
        self.storage.release(self.range.clone());
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage.bytes()[self.range.clone()]
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        let range = 0..bytes.len();
        Bytes {
            storage: Arc::new(bytes),
            range,
        }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({:?})", self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn slices_share_the_storage() {
        let all = Bytes::from(vec![1, 2, 3, 4, 5]);
        let part = all.slice(1..4).slice(1..3);
        assert_eq!(&*part, &[3, 4]);
        assert_eq!(all.slice(5..5).len(), 0);
    }

    #[test]
    #[should_panic(expected = "lies outside")]
    fn a_slice_beyond_the_end_is_refused() {
        Bytes::from(vec![1, 2, 3]).slice(1..3).slice(0..3);
    }

    #[test]
    fn release_names_the_range_within_the_storage() {
        struct Recording(Vec<u8>, Mutex<Vec<Range<usize>>>);
        impl Storage for Recording {
            fn bytes(&self) -> &[u8] {
                &self.0
            }
            fn release(&self, range: Range<usize>) {
                self.1.lock().unwrap().push(range);
            }
        }
        let storage = Arc::new(Recording(vec![0; 10], Mutex::default()));
        Bytes::new(storage.clone(), 2..9).slice(1..4).release();
        assert_eq!(*storage.1.lock().unwrap(), *std::slice::from_ref(&(3..6)));
    }
}
