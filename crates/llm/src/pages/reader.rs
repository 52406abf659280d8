//! The thread that reads pages, so that the one that computes never waits for a disk.

use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use super::file::Page;
use super::store::{Shared, Wanted};

/// Pages to read, and whom to tell.
pub(super) struct Job {
    pub pages: Vec<Wanted>,
    pub reply: Box<dyn FnOnce(Vec<Page>) + Send>,
}

/// Looks through the folder, then reads what it is asked for, until nobody can ask any more.
pub(super) fn run(shared: &Shared, jobs: &Receiver<Job>) {
    if let Err(error) = shared.scan() {
        tracing::warn!(%error, "the KV pages on disk can't be listed");
    }
    shared.note_scanned();
    while let Ok(job) = jobs.recv() {
        let now = SystemTime::now();
        let pages = job.pages.iter();
        let sound = pages.map_while(|wanted| shared.load(wanted, now)).collect();
        (job.reply)(sound);
    }
}
