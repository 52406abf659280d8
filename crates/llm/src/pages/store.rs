//! The folder of pages and its budget.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::ModelIdentity;
use super::file::{self, Page};
use super::hash::PageHash;
use super::index::Index;
use super::reader::{self, Job};

const EXTENSION: &str = "kv";
const TEMPORARY: &str = "tmp";
/// Held locked by the process that owns the folder.
const LOCK: &str = "lock";

/// Why a folder can't be used for pages.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageStoreError {
    /// The folder, or something in it, can't be made or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process uses it.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// What a store holds and has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageStats {
    /// Pages in the folder.
    pub pages: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes that they may have.
    pub budget_bytes: u64,
    /// Pages read for an engine.
    pub read: u64,
    /// Pages written.
    pub written: u64,
    /// Pages removed for others' sake.
    pub evicted: u64,
    /// Pages removed because they were not sound.
    pub damaged: u64,
}

/// A folder of pages, shared by the engines of a process.
pub struct PageStore {
    shared: Arc<Shared>,
    /// `None` only while it is being dropped.
    jobs: Option<Sender<Job>>,
    reader: Option<JoinHandle<()>>,
    /// Keeps the lock.
    _lock: File,
}

/// The pages of one model in a store.
#[derive(Clone, Debug)]
pub struct ModelPages {
    pub(crate) store: Arc<PageStore>,
    pub(crate) model: ModelIdentity,
}

/// A page to be read.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub hash: PageHash,
    /// The chain before it.
    pub before: PageHash,
    pub tokens: Box<[u32]>,
    pub data_len: usize,
    /// How many blocks come before it.
    pub depth: usize,
}

/// What the reader's thread and all handles see.
pub(super) struct Shared {
    folder: PathBuf,
    budget_bytes: u64,
    index: Mutex<Index>,
    /// Whether the folder has been looked through.
    scanned: Mutex<bool>,
    scan_ended: Condvar,
    read: AtomicU64,
    written: AtomicU64,
    evicted: AtomicU64,
    damaged: AtomicU64,
}

impl fmt::Debug for PageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageStore")
            .field("folder", &self.shared.folder)
            .field("budget_bytes", &self.shared.budget_bytes)
            .finish_non_exhaustive()
    }
}

impl PageStore {
    /// Opens `folder`, which is made if need be, for pages of up to `budget_bytes` bytes together. What is there already
    /// is looked through in the background.
    ///
    /// # Errors
    /// The folder can't be made, read or locked, or another process has it.
    pub fn open(folder: &Path, budget_bytes: u64) -> Result<Self, PageStoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PageStoreError::Io { path, source }
        };
        make_private_folder(folder).map_err(failed(folder))?;
        let path = folder.join(LOCK);
        let lock = private_file()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let path = folder.to_owned();
                return Err(PageStoreError::InUse { path });
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(&path)(source)),
        }
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            budget_bytes,
            index: Mutex::default(),
            scanned: Mutex::new(false),
            scan_ended: Condvar::new(),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        });
        let (jobs, receiver) = channel();
        let reader = std::thread::Builder::new()
            .name("pages".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || reader::run(&shared, &receiver)
            })
            .map_err(failed(folder))?;
        Ok(Self {
            shared,
            jobs: Some(jobs),
            reader: Some(reader),
            _lock: lock,
        })
    }

    /// The pages of `model`.
    pub fn of_model(self: &Arc<Self>, model: ModelIdentity) -> ModelPages {
        ModelPages {
            store: Arc::clone(self),
            model,
        }
    }

    /// What it holds and has done.
    pub fn stats(&self) -> PageStats {
        self.shared.stats()
    }

    /// How many of `hashes` are there, from the first on without a gap. Waits for the folder to be looked through.
    pub(crate) fn run_of<'a>(&self, hashes: impl IntoIterator<Item = &'a PageHash>) -> usize {
        self.shared.wait_for_scan();
        let index = self.shared.index();
        let found = hashes.into_iter().take_while(|hash| index.contains(hash));
        found.count()
    }

    /// Reads pages in the background and hands over those, from the first on, that are there and sound.
    pub(crate) fn read(&self, pages: Vec<Wanted>, reply: impl FnOnce(Vec<Page>) + Send + 'static) {
        let reply = Box::new(reply);
        if let Some(jobs) = &self.jobs
            && let Err(unsent) = jobs.send(Job { pages, reply })
        {
            // The thread has panicked; nothing is found any more.
            (unsent.0.reply)(Vec::new());
        }
    }

    /// Writes the page of `tokens` behind `before`, `depth` blocks from the start, or notes its use where it is there.
    /// Other pages go for it if they were used before `now`. False where there is no room for it.
    ///
    /// # Errors
    /// The file can't be written; nothing is left of it then.
    pub(crate) fn write(
        &self,
        before: &PageHash,
        tokens: &[u32],
        depth: usize,
        now: SystemTime,
        data: impl FnOnce() -> Vec<u8>,
    ) -> io::Result<bool> {
        self.shared.wait_for_scan();
        self.shared.write(before, tokens, depth, now, data)
    }
}

impl Drop for PageStore {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(reader) = self.reader.take() {
            // It ends when it has done what it was asked; a panic of its own has been reported by then.
            let _ = reader.join();
        }
    }
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, hash: &PageHash) -> PathBuf {
        let name = hash.to_string();
        let folder = self.folder.join(&name[..2]);
        folder.join(name).with_extension(EXTENSION)
    }

    fn stats(&self) -> PageStats {
        let index = self.index();
        PageStats {
            pages: index.len(),
            bytes: index.bytes(),
            budget_bytes: self.budget_bytes,
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }

    fn wait_for_scan(&self) {
        let scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.scan_ended.wait_while(scanned, |scanned| !*scanned);
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }

    pub fn note_scanned(&self) {
        *self.scanned.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.scan_ended.notify_all();
    }

    /// Looks through the folder: takes in pages, removes what a process that was killed left half written.
    pub fn scan(&self) -> io::Result<()> {
        for folder in fs::read_dir(&self.folder)?.flatten() {
            let Ok(files) = fs::read_dir(folder.path()) else {
                continue;
            };
            for file in files.flatten() {
                let path = file.path();
                let extension = path.extension().and_then(|e| e.to_str());
                let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("");
                match (extension, stem.parse::<PageHash>(), file.metadata()) {
                    (Some(EXTENSION), Ok(hash), Ok(meta)) if meta.is_file() => {
                        let used = meta.modified().unwrap_or(UNIX_EPOCH);
                        self.index().insert(hash, meta.len(), nanos(used));
                    }
                    (Some(TEMPORARY), ..) => drop(fs::remove_file(&path)),
                    _ => {}
                }
            }
        }
        self.make_room(0, u64::MAX);
        Ok(())
    }

    /// Removes the pages used least recently, before `stamp`, until `bytes` more fit. False where they still don't.
    fn make_room(&self, bytes: u64, stamp: u64) -> bool {
        let mut gone = Vec::new();
        let mut index = self.index();
        while index.bytes().saturating_add(bytes) > self.budget_bytes {
            match index.pop_before(stamp) {
                Some(hash) => gone.push(hash),
                None => break,
            }
        }
        let fits = index.bytes().saturating_add(bytes) <= self.budget_bytes;
        drop(index);
        for hash in &gone {
            self.evicted.fetch_add(1, Ordering::Relaxed);
            self.remove_file(hash);
        }
        fits
    }

    fn remove_file(&self, hash: &PageHash) {
        let path = self.path(hash);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a KV page can't be removed");
        }
    }

    /// Reads one page. `None` where it is not there or not sound; it is forgotten then.
    pub fn load(&self, wanted: &Wanted, now: SystemTime) -> Option<Page> {
        let path = self.path(&wanted.hash);
        let read = fs::read(&path);
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "a KV page can't be read");
                }
                self.index().remove(&wanted.hash);
                return None;
            }
        };
        match file::decode(bytes, &wanted.before, &wanted.tokens, wanted.data_len) {
            Ok(page) => {
                self.read.fetch_add(1, Ordering::Relaxed);
                self.touch(&wanted.hash, stamp(now, wanted.depth));
                Some(page)
            }
            Err(unsound) => {
                tracing::warn!(path = %path.display(), "a KV page is removed: {unsound}");
                self.damaged.fetch_add(1, Ordering::Relaxed);
                self.index().remove(&wanted.hash);
                self.remove_file(&wanted.hash);
                None
            }
        }
    }

    /// Notes a use, in the file too, for the next process.
    fn touch(&self, hash: &PageHash, stamp: SystemTime) -> bool {
        if !self.index().touch(hash, nanos(stamp)) {
            return false;
        }
        // Where that fails the page only goes earlier than it might.
        if let Ok(file) = File::open(self.path(hash)) {
            let _ = file.set_modified(stamp);
        }
        true
    }

    fn write(
        &self,
        before: &PageHash,
        tokens: &[u32],
        depth: usize,
        now: SystemTime,
        data: impl FnOnce() -> Vec<u8>,
    ) -> io::Result<bool> {
        let hash = before.then(tokens);
        let used = stamp(now, depth);
        if self.touch(&hash, used) {
            return Ok(true);
        }
        let bytes = file::encode(before, tokens, &data());
        // What is written now has later stamps than this, however deep it is.
        let older = nanos(now).saturating_sub(u64::from(u32::MAX));
        if !self.make_room(bytes.len() as u64, older) {
            return Ok(false);
        }
        let path = self.path(&hash);
        if let Some(folder) = path.parent() {
            make_private_folder(folder)?;
        }
        let temporary = path.with_extension(TEMPORARY);
        let written = write_file(&temporary, &bytes, used);
        let renamed = written.and_then(|()| fs::rename(&temporary, &path));
        if let Err(error) = renamed {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        self.index().insert(hash, bytes.len() as u64, nanos(used));
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }
}

fn write_file(path: &Path, bytes: &[u8], used: SystemTime) -> io::Result<()> {
    let mut file = private_file().create(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.set_modified(used)
}

/// The use at `now` of a page `depth` blocks from the start: of one use the beginning counts as the latest, so that it
/// goes last.
fn stamp(now: SystemTime, depth: usize) -> SystemTime {
    now - Duration::from_micros(depth as u64)
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// For writing, readable by its owner alone.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a folder that only its owner can look into; one that is there becomes so.
fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    if !folder.is_dir() {
        return builder.create(folder);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mut permissions = fs::metadata(folder)?.permissions();
        if permissions.mode() & 0o777 != 0o700 {
            permissions.set_mode(0o700);
            fs::set_permissions(folder, permissions)?;
        }
    }
    Ok(())
}
