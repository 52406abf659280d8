//! The record of who did what: JSON lines, each chained to the one before by its hash.
//!
//! A line ends with the hash of all that stands before in it, and that holds the hash of the line before.
//! So no line can be changed, removed or put between others without breaking the chain, save at its very
//! end: whoever wants to know of lines cut off there keeps the last hash elsewhere.

mod change;
mod verify;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub use change::Change;
pub use verify::{Broken, Verified, verify};

use crate::caller::{Caller, Means};
use crate::fields::Fields;
use crate::settings::Settings;
use crate::writer::{Batch, Writer};

/// What the first line has in the place of the hash of the one before.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Folders that several processes with one home may take, one each.
const MOST_FOLDERS: usize = 16;

/// Something that somebody did.
#[derive(Debug, Clone)]
pub struct Event {
    kind: &'static str,
    members: Map<String, Value>,
}

impl Event {
    /// Something of this kind.
    pub fn new(kind: &'static str) -> Self {
        Self {
            kind,
            members: Map::new(),
        }
    }

    /// Who did it, and from where.
    #[must_use]
    pub fn by(self, caller: &Caller) -> Self {
        let event = self
            .with("user_id", caller.user_id())
            .with("username", caller.username())
            .with("address", caller.address().to_string());
        match caller.means() {
            Means::Key { id, .. } => event.with("key", id.as_str()),
            Means::Token { session, .. } => event.with("session", session.as_str()),
            Means::Local | Means::Anonymous => event,
        }
    }

    /// With what was left for its line.
    #[must_use]
    pub fn noted(self, note: &Note) -> Self {
        match &*note.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(prompt) => self.with("prompt", prompt.clone()),
            None => self,
        }
    }

    /// More about it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }
}

/// Where a handler leaves what the line of its request is to have besides.
#[derive(Debug, Clone, Default)]
pub struct Note(Arc<Mutex<Option<Value>>>);

impl Note {
    /// Leaves the prompt of a request, whatever its dialect calls it; what is left later takes the place of what was.
    pub fn prompt(&self, fields: &Fields) {
        let names = ["messages", "prompt", "input", "inputs", "message", "text"];
        let found = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), fields.get(name)?.clone())));
        let members: Map<String, Value> = found.collect();
        if !members.is_empty() {
            let mut prompt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *prompt = Some(Value::Object(members));
        }
    }
}

/// Events that may wait to be written; one more waits until there is room.
const MOST_WAITING: usize = 1024;

/// The record, written by a thread of its own. Nothing is kept where the settings say so.
#[derive(Debug)]
pub struct Audit(Option<Writer<Entry>>);

/// An event and when it came.
type Entry = (DateTime<Utc>, Event);

impl Audit {
    /// No record.
    pub fn none() -> Self {
        Self(None)
    }

    /// The record in `home`, gone on with where it ended.
    ///
    /// # Errors
    /// Those of the file system; a last line that is whole and no line of a record.
    pub fn of(settings: &Settings, home: &Path) -> io::Result<Self> {
        if !settings.audit {
            return Ok(Self(None));
        }
        let mut chain = Chain::open(home, settings.audit_size.0, settings.audit_files)?;
        let write = move |batch: &mut Batch<Entry>| chain.write(&batch.items);
        Ok(Self(Some(Writer::start("audit", MOST_WAITING, write)?)))
    }

    /// Hands an event over to be written, and waits where many are waiting already: none is passed over. One
    /// that cannot be written is told in the log.
    pub fn event(&self, event: Event) {
        let Some(writer) = &self.0 else {
            return;
        };
        let kind = event.kind;
        if !writer.put((Utc::now(), event)) {
            tracing::error!(kind, "the audit log is not written any more");
        }
    }

    /// Waits until all events so far are written.
    pub fn flush(&self) {
        if let Some(writer) = &self.0 {
            writer.flush();
        }
    }
}

/// The end of the chain.
#[derive(Debug)]
struct Chain {
    folder: PathBuf,
    /// Held as long as this process writes here.
    _lock: File,
    file: File,
    size: u64,
    next: u64,
    last_hash: String,
    most_bytes: u64,
    most_files: usize,
}

impl Chain {
    fn open(home: &Path, most_bytes: u64, most_files: usize) -> io::Result<Self> {
        let (folder, lock) = free_folder(home)?;
        let newest = files(&folder)?.pop();
        let path = newest.unwrap_or_else(|| folder.join(name_of(1)));
        let file = crate::private::open(&path)?;
        let text = fs::read(&path)?;
        // A line without its end is one that a crash cut short.
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |place| place + 1);
        file.set_len(whole as u64)?;
        let last = text[..whole]
            .split(|byte| *byte == b'\n')
            .rev()
            .find(|line| !line.is_empty());
        let (next, last_hash) = match last {
            Some(line) => {
                let line = verify::Line::read(line).ok_or_else(|| {
                    let message = format!("{}: the last line is none of a record", path.display());
                    io::Error::new(io::ErrorKind::InvalidData, message)
                })?;
                (line.sequence + 1, line.hash)
            }
            None => match first_of(&path) {
                // Set aside just before the end: the chain goes on from the file before.
                Some(first) if first > 1 => before(&folder, &path)?,
                _ => (1, GENESIS.to_owned()),
            },
        };
        let mut chain = Self {
            folder,
            _lock: lock,
            file,
            size: whole as u64,
            next,
            last_hash,
            most_bytes,
            most_files,
        };
        if whole < text.len() {
            let event = Event::new("torn_line").with("bytes", text.len() - whole);
            chain.append(&[(Utc::now(), event)])?;
        }
        Ok(chain)
    }

    /// Appends events; tells in the log of those that cannot be.
    fn write(&mut self, events: &[Entry]) {
        let first = self.next;
        if let Err(error) = self.append(events) {
            let lost = events.len() as u64 - (self.next - first);
            tracing::error!(%error, lost, "the audit log cannot be written");
        }
    }

    fn append(&mut self, events: &[Entry]) -> io::Result<()> {
        let mut lines = Lines {
            text: String::new(),
            next: self.next,
            last_hash: self.last_hash.clone(),
        };
        for (at, event) in events {
            if self.size + lines.text.len() as u64 >= self.most_bytes {
                self.put(&mut lines)?;
                self.rotate()?;
            }
            lines.add(*at, event);
        }
        self.put(&mut lines)
    }

    /// Writes lines in one piece. Where that fails, the record ends as it did.
    fn put(&mut self, lines: &mut Lines) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines.text.as_bytes()) {
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size += lines.text.len() as u64;
        self.next = lines.next;
        self.last_hash.clone_from(&lines.last_hash);
        lines.text.clear();
        Ok(())
    }

    /// Begins another file, named by its first line's number; the oldest beyond `most_files` are removed.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = crate::private::open(&self.folder.join(name_of(self.next)))?;
        self.size = 0;
        let files = files(&self.folder)?;
        for oldest in &files[..files.len().saturating_sub(self.most_files.max(1))] {
            fs::remove_file(oldest)?;
        }
        Ok(())
    }
}

/// Lines that go on with the chain, and its end after them.
struct Lines {
    text: String,
    next: u64,
    last_hash: String,
}

impl Lines {
    fn add(&mut self, at: DateTime<Utc>, event: &Event) {
        let mut line = Map::new();
        line.insert("seq".into(), json!(self.next));
        let time = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        line.insert("time".into(), json!(time));
        line.insert("event".into(), json!(event.kind));
        line.extend(event.members.clone());
        line.insert("prev".into(), json!(self.last_hash));
        let text = Value::Object(line).to_string();
        let hash = hash_of(text.as_bytes());
        let open = text.strip_suffix('}').unwrap_or(&text);
        self.text += &format!("{open},\"hash\":\"{hash}\"}}\n");
        self.next += 1;
        self.last_hash = hash;
    }
}

/// The hash of a line's text, as it is before its hash is put in.
fn hash_of(text: &[u8]) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The folder of the record in `home`, the first that no other process writes to, and its lock.
fn free_folder(home: &Path) -> io::Result<(PathBuf, File)> {
    for number in 1..=MOST_FOLDERS {
        let folder = home.join(match number {
            1 => "audit".to_owned(),
            number => format!("audit-{number}"),
        });
        crate::private::folder(&folder)?;
        let lock = crate::private::open(&folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => return Ok((folder, lock)),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "too many servers share one home",
    ))
}

/// The files of a record, in order.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if first_of(&path).is_some() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The name of the file whose first line is number `first`.
fn name_of(first: u64) -> String {
    format!("audit-{first:012}.jsonl")
}

/// The number of a file's first line, by its name.
fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("audit-")?
        .strip_suffix(".jsonl")?
        .parse()
        .ok()
}

/// The next number and the last hash at the end of the file before `path`.
fn before(folder: &Path, path: &Path) -> io::Result<(u64, String)> {
    let files = files(folder)?;
    let before = files.iter().rev().find(|file| file.as_path() < path);
    let text = before.map_or(Ok(Vec::new()), fs::read)?;
    let last = text
        .split(|byte| *byte == b'\n')
        .rev()
        .find_map(verify::Line::read);
    last.map(|line| (line.sequence + 1, line.hash))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the record has lost its end"))
}
