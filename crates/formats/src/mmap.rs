//! Files as memory: mapped, or compiled into the program.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use hearth_kernels::{Bytes, Storage};
use memmap2::{Mmap, UncheckedAdvice};

use crate::{Error, Result};

struct MappedFile {
    map: Mmap,
}

impl Storage for MappedFile {
    fn bytes(&self) -> &[u8] {
        &self.map
    }

    fn release(&self, range: Range<usize>) {
        let range = range.start.min(self.map.len())..range.end.min(self.map.len());
        if range.is_empty() {
            return;
        }
        // SAFETY: `DontNeed` drops pages of the process's own memory; on a read-only mapping of a file no page was ever
        // written, so the next access reads the same bytes from the file again. The range is inside the mapping.
        // The advice may be refused; then the pages merely stay.
        let _ = unsafe {
            self.map.unchecked_advise_range(
                UncheckedAdvice::DontNeed,
                range.start,
                range.end - range.start,
            )
        };
    }
}

/// Maps a whole file, read-only.
///
/// # Errors
/// It can't be read, or is no regular file.
pub fn map_file(path: &Path) -> Result<Bytes> {
    let io = |e| Error::io(path, e);
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(io(std::io::Error::other("not a regular file")));
    }
    if meta.len() == 0 {
        return Ok(Bytes::from(Vec::new()));
    }
    // SAFETY: the mapping is read-only and private to this process. Like every program that maps its models, this rests
    // on nobody shortening or rewriting the file while it is in use; Hearth itself never writes a file in place, it
    // renames a finished one over the old, which leaves mappings of the old one intact.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    let len = map.len();
    Ok(Bytes::new(Arc::new(MappedFile { map }), 0..len))
}

/// Data of the program itself, as it is.
pub(crate) fn static_data(data: &'static [u8]) -> Bytes {
    Bytes::new(Arc::new(data), 0..data.len())
}
