//! A file that is set aside when it has grown, or at midnight, and begun anew.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chrono::{DateTime, Local, NaiveDate};

use crate::private;

/// When a file is set aside and how many of those are kept.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// At which size, in bytes.
    pub size: u64,
    /// How many that were set aside are kept.
    pub keep: usize,
}

/// A log file. Those that were set aside have its name and a number, the newest 1.
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    rotation: Rotation,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    day: NaiveDate,
}

impl Open {
    /// Writes all of `bytes`, which are empty then.
    fn write(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        bytes.clear();
        Ok(())
    }
}

impl Rotating {
    /// Opens the file for appending, made if it is not there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: PathBuf, rotation: Rotation) -> io::Result<Self> {
        let open = Mutex::new(open(&path)?);
        Ok(Self {
            path,
            rotation,
            open,
        })
    }

    /// Appends lines, in one piece where they go into one file.
    ///
    /// # Errors
    /// Those of the file system. A file that cannot be set aside goes on being written.
    pub fn append<'l>(&self, lines: impl Iterator<Item = &'l str>) -> io::Result<()> {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let today = Local::now().date_naive();
        let mut bytes = Vec::new();
        for line in lines {
            let size = open.size + bytes.len() as u64;
            let is_full = size > 0 && size + line.len() as u64 >= self.rotation.size;
            if is_full || open.day != today {
                open.write(&mut bytes)?;
                if let Ok(new) = self.rotate() {
                    *open = new;
                }
            }
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        open.write(&mut bytes)
    }

    /// Empties the file; writing goes on. Answers how many bytes it had.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn clear(&self) -> io::Result<u64> {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let size = open.file.metadata()?.len();
        // The file is open for appending, so the next line comes at its new end.
        open.file.set_len(0)?;
        open.size = 0;
        Ok(size)
    }

    /// Sets the file aside and opens a new one.
    fn rotate(&self) -> io::Result<Open> {
        for number in (1..self.rotation.keep).rev() {
            let from = numbered(&self.path, number);
            if from.exists() {
                fs::rename(from, numbered(&self.path, number + 1))?;
            }
        }
        match self.rotation.keep {
            0 => fs::remove_file(&self.path)?,
            _ => fs::rename(&self.path, numbered(&self.path, 1))?,
        }
        open(&self.path)
    }
}

/// The file that was set aside as number `number`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn open(path: &Path) -> io::Result<Open> {
    let file = private::open(path)?;
    let metadata = file.metadata()?;
    let now = Local::now();
    // A file of yesterday is set aside before today's first line.
    let written = metadata.modified().map_or(now, DateTime::<Local>::from);
    Ok(Open {
        file,
        size: metadata.len(),
        day: if metadata.len() == 0 {
            now.date_naive()
        } else {
            written.date_naive()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).expect("the folder").map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(&path).expect("text"))
        });
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_set_aside_and_the_oldest_are_thrown_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Rotating::open(folder.path().join("x.log"), Rotation { size: 10, keep: 2 })
            .expect("a file");
        let lines = [
            "one",
            "two",
            "three",
            "four",
            "a line longer than the size",
            "six",
        ];
        let (first, rest) = lines.split_at(3);
        log.append(first.iter().copied()).expect("there is room");
        log.append(rest.iter().copied()).expect("there is room");
        let expected = [
            ("x.log", "six\n"),
            ("x.log.1", "a line longer than the size\n"),
            ("x.log.2", "four\n"),
        ];
        assert_eq!(
            names(folder.path()),
            expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
        );
    }

    #[test]
    fn a_cleared_file_is_written_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Rotating::open(
            folder.path().join("x.log"),
            Rotation {
                size: 1000,
                keep: 2,
            },
        )
        .expect("a file");
        log.append(["one"].into_iter()).expect("there is room");
        assert_eq!(log.clear().expect("it is open"), 4);
        log.append(["two"].into_iter()).expect("there is room");
        assert_eq!(
            names(folder.path()),
            [("x.log".to_owned(), "two\n".to_owned())]
        );
    }

    #[test]
    fn a_file_of_another_day_is_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.log");
        fs::write(&path, "old\n").expect("a file");
        let file = File::options().write(true).open(&path).expect("the file");
        let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(24 * 3600);
        file.set_modified(yesterday)
            .expect("the file system keeps times");
        let log = Rotating::open(
            path,
            Rotation {
                size: 1000,
                keep: 2,
            },
        )
        .expect("a file");
        log.append(["new"].into_iter()).expect("there is room");
        let expected = [("x.log", "new\n"), ("x.log.1", "old\n")];
        assert_eq!(
            names(folder.path()),
            expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
        );
    }
}
