//! Checking the chain.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{GENESIS, files, hash_of};

/// A line of the record, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub sequence: u64,
    /// The hash that it says the line before has.
    pub previous: String,
    /// The hash that it says it has.
    pub hash: String,
    /// The hash that it has.
    pub computed: String,
}

impl Line {
    /// Takes a line apart, without its newline; `None` if it is none of a record.
    pub fn read(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let hash = text("hash")?;
        let end = format!(",\"hash\":\"{hash}\"}}");
        let mut before = line.strip_suffix(end.as_bytes())?.to_vec();
        before.push(b'}');
        Some(Self {
            sequence: value.get("seq")?.as_u64()?,
            previous: text("prev")?,
            computed: hash_of(&before),
            hash,
        })
    }
}

/// A record that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The numbers of its first and last line; `None` of an empty one.
    pub lines: Option<(u64, u64)>,
    /// The hash of its last line.
    pub last_hash: String,
}

/// Where a record is broken.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A file cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not as it was written.
    #[error("{}, line {number}: {what}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's place in the file, from 1.
        number: usize,
        /// What is wrong.
        what: String,
    },
}

/// Checks the record in `folder`. Files that were thrown out by age leave a chain that begins later; then
/// its beginning is taken as it is.
///
/// # Errors
/// The first line that is not as it was written.
pub fn verify(folder: &Path) -> Result<Verified, Broken> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Broken::Unreadable { path, source }
    };
    let mut first = None;
    let mut last: Option<Line> = None;
    for path in files(folder).map_err(unreadable(folder))? {
        let file = File::open(&path).map_err(unreadable(&path))?;
        for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
            let line = line.map_err(unreadable(&path))?;
            let broken = |what: String| Broken::Line {
                path: path.clone(),
                number: number + 1,
                what,
            };
            let line =
                Line::read(&line).ok_or_else(|| broken("this is no line of a record".into()))?;
            check(&line, last.as_ref()).map_err(broken)?;
            first.get_or_insert(line.sequence);
            last = Some(line);
        }
    }
    let ends = first.zip(last.as_ref().map(|line| line.sequence));
    Ok(Verified {
        lines: ends,
        last_hash: last.map_or_else(|| GENESIS.to_owned(), |line| line.hash),
    })
}

/// What is wrong with a line that comes after `last`.
fn check(line: &Line, last: Option<&Line>) -> Result<(), String> {
    if line.computed != line.hash {
        return Err("its hash is not that of its text: it was changed".into());
    }
    match last {
        Some(last) if line.sequence != last.sequence + 1 => Err(format!(
            "it has number {}, after {}: lines are missing or were put in",
            line.sequence, last.sequence
        )),
        Some(last) if line.previous != last.hash => {
            Err("it does not follow the line before it: one of them was replaced".into())
        }
        None if line.sequence == 1 && line.previous != GENESIS => {
            Err("it is the first, and says that another came before".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use crate::settings::Bytes;

    fn settings(size: u64, files: usize) -> Settings {
        Settings {
            audit_size: Bytes(size),
            audit_files: files,
            ..Settings::default()
        }
    }

    fn record(lines: u64, settings: &Settings) -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a folder");
        let audit = Audit::of(settings, home.path()).expect("a record");
        for number in 0..lines {
            audit.event(
                Event::new("test")
                    .with("number", number)
                    .with("text", "\"}\n,\"hash\":\"x"),
            );
        }
        home
    }

    fn change(home: &Path, change: impl Fn(&str) -> String) -> Result<Verified, Broken> {
        let path = home.join("audit").join(name_of(1));
        let text = fs::read_to_string(&path).expect("the file");
        fs::write(&path, change(&text)).expect("the file");
        verify(&home.join("audit"))
    }

    #[test]
    fn a_record_is_whole_and_is_gone_on_with() {
        let settings = settings(1 << 20, 9);
        let home = record(3, &settings);
        let folder = home.path().join("audit");
        assert_eq!(verify(&folder).expect("whole").lines, Some((1, 3)));
        Audit::of(&settings, home.path())
            .expect("the same record")
            .event(Event::new("later"));
        assert_eq!(verify(&folder).expect("whole").lines, Some((1, 4)));
    }

    #[test]
    fn what_was_changed_removed_or_put_in_is_found() {
        let settings = settings(1 << 20, 9);
        for (name, edit) in [
            (
                "changed",
                (|text: &str| text.replacen("\"number\":1", "\"number\":7", 1))
                    as fn(&str) -> String,
            ),
            ("removed", |text| {
                text.lines()
                    .enumerate()
                    .filter(|(at, _)| *at != 1)
                    .map(|(_, line)| format!("{line}\n"))
                    .collect()
            }),
            ("the first removed", |text| {
                text.lines()
                    .skip(1)
                    .map(|line| format!("{line}\n"))
                    .collect::<String>()
                    .replacen("\"seq\":2", "\"seq\":1", 1)
            }),
            ("swapped", |text| {
                let mut lines: Vec<&str> = text.lines().collect();
                lines.swap(0, 1);
                lines.join("\n") + "\n"
            }),
            ("doubled", |text| {
                text.lines()
                    .flat_map(|line| [line, line])
                    .map(|line| format!("{line}\n"))
                    .collect()
            }),
            ("no JSON", |text| format!("{text}nonsense\n")),
            ("with more members", |text| {
                text.replacen("{\"seq\"", "{\"user\":\"x\",\"seq\"", 1)
            }),
        ] {
            let home = record(3, &settings);
            assert!(change(home.path(), edit).is_err(), "{name}");
        }
    }

    #[test]
    fn files_follow_each_other_and_the_oldest_are_thrown_out() {
        let settings = settings(600, 3);
        let home = record(20, &settings);
        let folder = home.path().join("audit");
        assert_eq!(files(&folder).expect("the folder").len(), 3);
        let (first, last) = verify(&folder).expect("whole").lines.expect("lines");
        assert!(first > 1 && last == 20, "{first} {last}");
        Audit::of(&settings, home.path())
            .expect("the same record")
            .event(Event::new("later"));
        assert_eq!(verify(&folder).expect("whole").lines.expect("lines").1, 21);
    }

    #[test]
    fn a_line_that_a_crash_cut_short_is_told() {
        let settings = settings(1 << 20, 9);
        let home = record(2, &settings);
        let path = home.path().join("audit").join(name_of(1));
        let text = fs::read_to_string(&path).expect("the file");
        fs::write(&path, format!("{text}{{\"seq\":3,\"ti")).expect("the file");
        drop(Audit::of(&settings, home.path()).expect("the same record"));
        let text = fs::read_to_string(&path).expect("the file");
        assert!(
            text.lines()
                .last()
                .is_some_and(|line| line.contains("torn_line")),
            "{text}"
        );
        assert_eq!(
            verify(&home.path().join("audit")).expect("whole").lines,
            Some((1, 3))
        );
    }

    #[test]
    fn two_processes_keep_a_record_each() {
        let settings = settings(1 << 20, 9);
        let home = tempfile::tempdir().expect("a folder");
        let audits = [(), ()].map(|()| Audit::of(&settings, home.path()).expect("a record"));
        for audit in &audits {
            audit.event(Event::new("test"));
            audit.flush();
        }
        for folder in ["audit", "audit-2"] {
            assert_eq!(
                verify(&home.path().join(folder)).expect("whole").lines,
                Some((1, 1))
            );
        }
    }
}
