//! Files beside weights, which are small: settings, indices, tokenizers.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// Reads a whole file of up to `most` bytes. A larger one is refused before any of it is read, and one that grows meanwhile,
/// or that says nothing of its size, is not read further.
///
/// # Errors
/// It can't be read, is no regular file, or is larger.
pub(crate) fn read_small(path: &Path, most: u64) -> Result<Vec<u8>> {
    let io = |e| Error::io(path, e);
    // Asked before it is opened, where a pipe would wait for somebody to write.
    let meta = std::fs::metadata(path).map_err(io)?;
    if !meta.is_file() {
        return Err(io(std::io::Error::other("not a regular file")));
    }
    let too_large = |bytes: String| {
        let problem = format!("{bytes} bytes, of which {most} are the most");
        Error::field(path.display().to_string(), "size", problem)
    };
    if meta.len() > most {
        return Err(too_large(meta.len().to_string()));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    let file = File::open(path).map_err(io)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > most {
        return Err(too_large(format!("more than {most}")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.json");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_small(&path, 5).unwrap(), b"12345");
        let problem = |path: &Path, most| read_small(path, most).unwrap_err().to_string();
        assert!(problem(&path, 4).contains("size: 5 bytes, of which 4 are the most"));
        // A hole of a terabyte takes no room on the disk, and would take all memory.
        let huge = dir.path().join("huge.json");
        File::create(&huge).unwrap().set_len(1 << 40).unwrap();
        assert!(problem(&huge, 1 << 20).contains("1099511627776 bytes"));
        assert!(problem(dir.path(), 4).contains("not a regular file"));
    }
}
