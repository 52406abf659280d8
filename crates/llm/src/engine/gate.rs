//! The door of a thread that computes: who is admitted, and whether it is well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::EngineError;

/// Bounds of the time after which a refused caller is told to come back.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The state of the thread.
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
    last_end: Option<Instant>,
    /// Running mean of the time between two requests' ends.
    interval: Duration,
}

/// Admission and health, seen by the handle and by the thread.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: usize,
    state: Mutex<State>,
}

/// A request's place among those admitted, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Gate>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lock().admitted -= 1;
    }
}

impl Gate {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::new(State {
                status: Status::Open,
                admitted: 0,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let gate = Arc::new(Gate::new(2));
        let first = gate.admit().unwrap();
        let _second = gate.admit().unwrap();
        let Err(EngineError::QueueFull { limit, retry_after }) = gate.admit() else {
            panic!("a third was admitted");
        };
        assert_eq!((limit, retry_after), (2, RETRY_AFTER.0));
        drop(first);
        gate.admit().unwrap();
    }

    #[test]
    fn retry_after_follows_the_time_between_ends() {
        let gate = Arc::new(Gate::new(0));
        let start = Instant::now();
        for i in 0..100 {
            gate.note_end(start + Duration::from_secs(10 * i));
        }
        let Err(EngineError::QueueFull { retry_after, .. }) = gate.admit() else {
            panic!("admitted to no places");
        };
        assert!(retry_after.abs_diff(Duration::from_secs(10)) < Duration::from_millis(10));
    }

    #[test]
    fn a_closed_gate_says_why() {
        let gate = Arc::new(Gate::new(1));
        assert_eq!(gate.health(), Ok(()));
        gate.close();
        assert_eq!(gate.admit().err(), Some(EngineError::ShuttingDown));
        let message = "index out of bounds".to_owned();
        gate.set_status(Status::Failed(message.clone()));
        gate.close();
        assert_eq!(gate.health(), Err(EngineError::Unhealthy { message }));
    }
}
