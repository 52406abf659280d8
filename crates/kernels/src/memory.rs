//! Large zeroed memory whose allocation may fail.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};

/// Allocations from this size on are placed on, and asked to use, large pages.
const LARGE_PAGE: usize = 2 << 20;

/// Plain data: any bytes are a value, and zeros are the default.
///
/// # Safety
/// The type has no padding, no invalid bit patterns and nothing to drop.
pub(crate) unsafe trait Plain: Copy + Send + Sync {
    /// The value of all zero bits.
    fn zeroed() -> Self {
        // SAFETY: any bytes are a value, by the trait's contract.
        unsafe { std::mem::zeroed() }
    }
}
// SAFETY: numbers are.
unsafe impl Plain for u8 {}
// SAFETY: numbers are.
unsafe impl Plain for f32 {}
// SAFETY: arrays of plain data are.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// The bytes of plain data as they lie in memory.
pub(crate) fn bytes_of<T: Plain>(data: &[T]) -> &[u8] {
    // SAFETY: plain data has no padding, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), size_of_val(data)) }
}

/// The bytes of plain data, to be written.
pub(crate) fn bytes_of_mut<T: Plain>(data: &mut [T]) -> &mut [u8] {
    // SAFETY: as above; any bytes are a value of plain data, and the slice is borrowed for writing.
    unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast(), size_of_val(data)) }
}

/// A boxed slice at a multiple of 64 bytes, zeroed by the system where it is fresh memory.
///
/// Large ones are mapped for themselves and ask for large pages before the first of them is touched: an allocator that
/// writes the zeros would have taken small pages by then, and reading weights at the speed of memory needs large ones.
pub(crate) struct Buffer<T: Plain> {
    start: *mut T,
    len: usize,
    memory: Memory,
}

/// Where a buffer's memory comes from, and so where it goes.
enum Memory {
    Allocated(Layout),
    #[cfg(target_os = "linux")]
    Mapped {
        size: usize,
    },
}

// SAFETY: a `Buffer` owns its memory, and `T` may be shared and sent.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    /// `len` zeros, or `None` where the size overflows or there is no memory.
    pub(crate) fn zeroed(len: usize) -> Option<Buffer<T>> {
        let size = len.checked_mul(size_of::<T>())?;
        #[cfg(target_os = "linux")]
        if size >= LARGE_PAGE {
            return Buffer::mapped(len, size);
        }
        // An allocation must not be empty.
        let layout = Layout::from_size_align(size.max(1), 64).ok()?;
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return None;
        }
        Some(Buffer {
            start: start.cast(),
            len,
            memory: Memory::Allocated(layout),
        })
    }

    #[cfg(target_os = "linux")]
    fn mapped(len: usize, size: usize) -> Option<Buffer<T>> {
        /// Of small pages, in which mappings are cut; larger than some systems', never smaller.
        const PAGE: usize = 64 << 10;
        let size = size.checked_next_multiple_of(PAGE)?;
        let reserved = size.checked_add(LARGE_PAGE)?;
        // SAFETY: a new private mapping that no file backs; it aliases nothing.
        let reservation = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                reserved,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if reservation == libc::MAP_FAILED {
            return None;
        }
        // What lies before and behind goes back, or a large page could reach beyond the buffer and take its memory.
        let before = reservation.addr().wrapping_neg() % LARGE_PAGE;
        let start = reservation.wrapping_byte_add(before);
        let end = start.wrapping_byte_add(size);
        // SAFETY: both ranges are whole pages of the reservation, outside of `start..end`. The advice changes no
        // content; it may fail, which costs only speed.
        unsafe {
            if before > 0 {
                libc::munmap(reservation, before);
            }
            if before < LARGE_PAGE {
                libc::munmap(end, LARGE_PAGE - before);
            }
            libc::madvise(start, size, libc::MADV_HUGEPAGE);
        }
        Some(Buffer {
            start: start.cast(),
            len,
            memory: Memory::Mapped { size },
        })
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values of plain data were allocated or mapped, aligned to at least 64 bytes and zeroed.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        match self.memory {
            // SAFETY: allocated with this layout by `zeroed`.
            Memory::Allocated(layout) => unsafe { dealloc(self.start.cast(), layout) },
            #[cfg(target_os = "linux")]
            // SAFETY: mapped by `mapped`, and nothing borrows it any more.
            Memory::Mapped { size } => unsafe {
                libc::munmap(self.start.cast(), size);
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zeroed_aligned_and_may_be_refused() {
        for len in [0, 1, 1000, LARGE_PAGE / 4, LARGE_PAGE + 1] {
            let mut buffer = Buffer::<f32>::zeroed(len).unwrap();
            assert_eq!(buffer.len(), len);
            assert!(buffer.as_ptr().addr().is_multiple_of(64));
            assert!(buffer.iter().all(|v| *v == 0.0));
            buffer.fill(1.0);
        }
        assert!(Buffer::<f32>::zeroed(usize::MAX / 2).is_none());
        assert!(Buffer::<f32>::zeroed(1 << 60).is_none());
    }
}
