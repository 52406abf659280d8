//! How far a load is, measured, for all who wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::Error;
use crate::clock::Clock;

/// What a load is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadState {
    /// It waits until there is memory for the model.
    Queued,
    /// It reads the weights and puts them into the order in which they are computed with.
    Reading,
    /// The weights are there; caches are allocated and engines started.
    Starting,
    /// It is done.
    Loaded,
    /// It has failed.
    Failed,
    /// It was ended before it was done.
    Cancelled,
}

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LoadProgress {
    /// What it is doing.
    pub state: LoadState,
    /// Share of the bytes that have been read, 0 to 1.
    pub progress: f64,
    /// Bytes of weights that have been read.
    pub bytes: u64,
    /// Bytes of all weights; 0 until the headers have been read.
    pub bytes_total: u64,
    /// Seconds until it is done, at the rate so far; `None` while nothing has been read.
    pub eta: Option<f64>,
    /// Seconds since it was asked for, until now or its end.
    pub elapsed: f64,
}

#[derive(Debug, Clone)]
struct Snapshot {
    state: LoadState,
    bytes: u64,
    total: u64,
    /// When the first byte was read.
    reading: Option<Instant>,
    ended: Option<Instant>,
    outcome: Option<Result<(), Error>>,
}

/// The loading side.
#[derive(Debug)]
pub(crate) struct Report {
    model: Arc<str>,
    clock: Clock,
    began: Instant,
    cancelled: AtomicBool,
    tell: watch::Sender<Snapshot>,
}

impl Report {
    /// A load that begins now.
    pub fn new(model: Arc<str>, clock: Clock) -> Arc<Self> {
        let snapshot = Snapshot {
            state: LoadState::Queued,
            bytes: 0,
            total: 0,
            reading: None,
            ended: None,
            outcome: None,
        };
        Arc::new(Self {
            model,
            began: clock.now(),
            clock,
            cancelled: AtomicBool::new(false),
            tell: watch::Sender::new(snapshot),
        })
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// A view for those who wait.
    pub fn follow(self: &Arc<Self>) -> Loading {
        Loading {
            report: Arc::clone(self),
            told: self.tell.subscribe(),
        }
    }

    /// There is memory; `total` bytes of weights are read from now on.
    pub fn reading(&self, total: u64) {
        let now = self.clock.now();
        self.tell.send_modify(|snapshot| {
            (snapshot.state, snapshot.total) = (LoadState::Reading, total);
            snapshot.reading = Some(now);
        });
    }

    /// So many bytes have been read. Answers whether to read on.
    pub fn loaded(&self, bytes: u64) -> bool {
        self.tell.send_modify(|snapshot| snapshot.bytes = bytes);
        !self.is_cancelled()
    }

    /// All weights are there.
    pub fn starting(&self) {
        self.tell.send_modify(|snapshot| {
            (snapshot.state, snapshot.bytes) = (LoadState::Starting, snapshot.total);
        });
    }

    /// It is over.
    pub fn end(&self, outcome: Result<(), Error>) {
        let now = self.clock.now();
        self.tell.send_modify(|snapshot| {
            snapshot.state = match &outcome {
                Ok(()) => LoadState::Loaded,
                Err(Error::Cancelled | Error::Unloaded { .. }) => LoadState::Cancelled,
                Err(_) => LoadState::Failed,
            };
            snapshot.ended = Some(now);
            snapshot.outcome = Some(outcome);
        });
    }

    /// Asks the load to end; the next tensor is not read any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether it was asked to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// How far it is.
    pub fn progress(&self) -> LoadProgress {
        let snapshot = self.tell.borrow().clone();
        let now = snapshot.ended.unwrap_or_else(|| self.clock.now());
        let progress = match (snapshot.state, snapshot.total) {
            (LoadState::Loaded, _) => 1.0,
            (_, 0) => 0.0,
            (_, total) => (snapshot.bytes as f64 / total as f64).min(1.0),
        };
        let eta = match (snapshot.state, snapshot.reading) {
            (LoadState::Loaded, _) => Some(0.0),
            (LoadState::Reading | LoadState::Starting, Some(since)) if progress > 0.0 => {
                let spent = now.saturating_duration_since(since).as_secs_f64();
                Some(spent * (1.0 - progress) / progress)
            }
            _ => None,
        };
        LoadProgress {
            state: snapshot.state,
            progress,
            bytes: snapshot.bytes,
            bytes_total: snapshot.total,
            eta,
            elapsed: now.saturating_duration_since(self.began).as_secs_f64(),
        }
    }
}

/// A load that others follow. Clones follow the same one; it goes on if all of them are dropped.
#[derive(Debug, Clone)]
pub struct Loading {
    report: Arc<Report>,
    told: watch::Receiver<Snapshot>,
}

impl Loading {
    /// The model's name.
    pub fn model(&self) -> &str {
        self.report.model()
    }

    /// How far it is.
    pub fn progress(&self) -> LoadProgress {
        self.report.progress()
    }

    /// How far it is once that has changed since the last call; after its end, nothing changes any more.
    pub async fn changed(&mut self) -> LoadProgress {
        let over = self.told.borrow().ended.is_some() && !self.told.has_changed().unwrap_or(false);
        if over || self.told.changed().await.is_err() {
            return std::future::pending().await;
        }
        self.report.progress()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why the model could not be loaded.
    pub async fn wait(mut self) -> Result<(), Error> {
        let ended = self.told.wait_for(|snapshot| snapshot.outcome.is_some());
        match ended.await.as_deref() {
            Ok(Snapshot {
                outcome: Some(outcome),
                ..
            }) => outcome.clone(),
            // The report outlives this view.
            _ => Err(Error::ShuttingDown),
        }
    }

    /// The time until its end, as soon as it can be told, waiting for that at most `patience`; zero once it is loaded.
    /// `None` where it cannot be told by then, or has failed.
    pub async fn estimate(&mut self, patience: Duration) -> Option<Duration> {
        let tells = self.told.wait_for(|snapshot| {
            snapshot.outcome.is_some() || (snapshot.bytes > 0 && snapshot.total > 0)
        });
        // Out of patience, what is known by now counts.
        let _ = tokio::time::timeout(patience, tells).await;
        self.progress().eta.map(Duration::from_secs_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn progress_is_measured_from_bytes() {
        let clock = Clock::manual();
        let report = Report::new("m".into(), clock.clone());
        let mut loading = report.follow();
        let queued = loading.progress();
        assert_eq!((queued.state, queued.eta), (LoadState::Queued, None));
        clock.advance(Duration::from_secs(1));
        report.reading(1000);
        clock.advance(Duration::from_secs(2));
        assert!(report.loaded(250));
        let progress = loading.changed().await;
        let expected = LoadProgress {
            state: LoadState::Reading,
            progress: 0.25,
            bytes: 250,
            bytes_total: 1000,
            eta: Some(6.0),
            elapsed: 3.0,
        };
        assert_eq!(progress, expected);
        let estimate = loading.estimate(Duration::ZERO).await;
        assert_eq!(estimate, Some(Duration::from_secs(6)));
        report.starting();
        assert_eq!(loading.changed().await.progress, 1.0);
        report.end(Ok(()));
        clock.advance(Duration::from_secs(10));
        let done = loading.changed().await;
        assert_eq!(
            (done.state, done.eta, done.elapsed),
            (LoadState::Loaded, Some(0.0), 3.0)
        );
        assert_eq!(loading.wait().await, Ok(()));
    }

    #[tokio::test]
    async fn a_load_that_is_ended_early_reads_no_further() {
        let report = Report::new("m".into(), Clock::manual());
        let loading = report.follow();
        report.cancel();
        assert!(!report.loaded(1));
        report.end(Err(Error::Cancelled));
        assert_eq!(loading.progress().state, LoadState::Cancelled);
        assert_eq!(loading.wait().await, Err(Error::Cancelled));
    }
}
