//! Reading log files: which there are, and lines from either end.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::NAMES;

/// A log file.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// When it was made, where the file system tells.
    pub created: Option<SystemTime>,
}

/// The log files in `folder`: those that are written and those that were set aside.
///
/// # Errors
/// Those of the file system.
pub fn list(folder: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let metadata = entry.metadata()?;
        if !is_log(&name) || !metadata.is_file() {
            continue;
        }
        files.push(LogFile {
            name,
            path: entry.path(),
            size: metadata.len(),
            modified: metadata.modified()?,
            created: metadata.created().ok(),
        });
    }
    files.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(files)
}

/// Whether a log file can be called so: one of ours, with a number if it was set aside.
fn is_log(name: &str) -> bool {
    NAMES.iter().any(|own| match name.strip_prefix(own) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        }),
        None => false,
    })
}

impl LogFile {
    /// How many lines it has.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn count_lines(&self) -> io::Result<u64> {
        let mut file = File::open(&self.path)?;
        let mut piece = vec![0; PIECE];
        let mut count = 0;
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(count),
                length => count += newlines(&piece[..length]).count() as u64,
            }
        }
    }

    /// The first lines, at most `most`, with their newlines.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn head(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut reader = BufReader::new(File::open(&self.path)?);
        let mut text = Vec::new();
        for _ in 0..most {
            if reader.read_until(b'\n', &mut text)? == 0 {
                break;
            }
        }
        Ok(text)
    }

    /// The last lines, at most `most`, the oldest first. Reads no more of the file than they take.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn tail(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        let mut start = file.metadata()?.len();
        let mut text = Vec::new();
        while start > 0 {
            let length = start.min(PIECE as u64);
            start -= length;
            file.seek(SeekFrom::Start(start))?;
            let mut piece = vec![0; length as usize];
            file.read_exact(&mut piece)?;
            piece.extend_from_slice(&text);
            text = piece;
            // The last newline ends the last line; the one before `most` lines begins them.
            let body = text.strip_suffix(b"\n").unwrap_or(&text);
            let found = newlines(body).count();
            if found >= most {
                let cut = newlines(body)
                    .nth(found - most)
                    .map_or(0, |place| place + 1);
                return Ok(text.split_off(cut));
            }
        }
        Ok(text)
    }
}

/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

fn newlines(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, LogFile) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("server.log"), text).expect("a file");
        let file = list(folder.path()).expect("the folder").remove(0);
        (folder, file)
    }

    #[test]
    fn lines_from_either_end() {
        let (_folder, file) = file("one\ntwo\nthree\n");
        assert_eq!(file.count_lines().expect("the file"), 3);
        let text =
            |bytes: io::Result<Vec<u8>>| String::from_utf8(bytes.expect("the file")).expect("text");
        assert_eq!(text(file.tail(2)), "two\nthree\n");
        assert_eq!(text(file.tail(3)), "one\ntwo\nthree\n");
        assert_eq!(text(file.tail(99)), "one\ntwo\nthree\n");
        assert_eq!(text(file.head(1)), "one\n");
        assert_eq!(text(file.head(99)), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_long_file_is_read_from_its_end() {
        let lines: Vec<String> = (0..50_000)
            .map(|number| format!("line {number}\n"))
            .collect();
        let (_folder, file) = file(&lines.concat());
        for most in [1, 4_000, 49_999, 50_000, 50_001] {
            let expected = lines[lines.len().saturating_sub(most)..].concat();
            assert!(
                file.tail(most).expect("the file") == expected.as_bytes(),
                "{most}"
            );
        }
        assert_eq!(file.count_lines().expect("the file"), 50_000);
    }

    #[test]
    fn other_files_are_no_logs() {
        for name in [
            "server.log",
            "api_requests.log",
            "server.log.1",
            "api_requests.log.12",
        ] {
            assert!(is_log(name), "{name}");
        }
        for name in [
            "server.log.",
            "server.log.x",
            "server.log.1.gz",
            "../server.log",
            "xserver.log",
            "state.db",
            "",
        ] {
            assert!(!is_log(name), "{name}");
        }
    }
}
