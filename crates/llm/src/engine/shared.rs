//! What an engine's handle and its thread both see.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{EngineError, EngineStats};

/// Bounds of the time after which a refused caller is told to come back.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The state of an engine's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Open,
    ShutDown,
    /// It panicked, saying this.
    Failed(String),
}

#[derive(Debug)]
struct State {
    status: Status,
    admitted: usize,
    stats: EngineStats,
    last_end: Option<Instant>,
    /// Running mean of the time between two requests' ends.
    interval: Duration,
}

/// Admission, health and counters.
#[derive(Debug)]
pub(crate) struct Shared {
    limit: usize,
    state: Mutex<State>,
}

/// A request's place among those admitted, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Shared>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lock().admitted -= 1;
    }
}

impl Shared {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::new(State {
                status: Status::Open,
                admitted: 0,
                stats: EngineStats::default(),
                last_end: None,
                interval: Duration::ZERO,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one request.
    pub fn admit(self: &Arc<Self>) -> Result<Permit, EngineError> {
        let mut state = self.lock();
        state.health()?;
        if state.admitted >= self.limit {
            return Err(EngineError::QueueFull {
                limit: self.limit,
                retry_after: state.interval.clamp(RETRY_AFTER.0, RETRY_AFTER.1),
            });
        }
        state.admitted += 1;
        Ok(Permit(Arc::clone(self)))
    }

    /// A request has ended: estimates how often that happens.
    pub fn note_end(&self, now: Instant) {
        let mut state = self.lock();
        if let Some(last) = state.last_end {
            let interval = now.saturating_duration_since(last).min(RETRY_AFTER.1);
            state.interval = (state.interval * 7 + interval) / 8;
        }
        state.last_end = Some(now);
    }

    pub fn health(&self) -> Result<(), EngineError> {
        self.lock().health()
    }

    /// Why nothing comes from the thread any more.
    pub fn stopped(&self) -> EngineError {
        self.health().err().unwrap_or(EngineError::ShuttingDown)
    }

    pub fn set_status(&self, status: Status) {
        self.lock().status = status;
    }

    /// Takes no more requests.
    pub fn close(&self) {
        let mut state = self.lock();
        if state.status == Status::Open {
            state.status = Status::ShutDown;
        }
    }

    pub fn set_stats(&self, stats: EngineStats) {
        self.lock().stats = stats;
    }

    pub fn stats(&self) -> EngineStats {
        self.lock().stats
    }
}

impl State {
    fn health(&self) -> Result<(), EngineError> {
        match &self.status {
            Status::Open => Ok(()),
            Status::ShutDown => Err(EngineError::ShuttingDown),
            Status::Failed(message) => Err(EngineError::Unhealthy {
                message: message.clone(),
            }),
        }
    }
}
