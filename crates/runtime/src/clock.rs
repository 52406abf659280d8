//! The time, which tests hold in their hands.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

/// Tells the time and waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    start: Instant,
    start_date: SystemTime,
    /// How far a clock in somebody's hands has been moved.
    manual: Option<Arc<watch::Sender<Duration>>>,
}

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self {
            start: Instant::now(),
            start_date: SystemTime::now(),
            manual: None,
        }
    }

    /// One that stands still until it is moved.
    #[cfg(test)]
    pub fn manual() -> Self {
        Self {
            manual: Some(Arc::new(watch::Sender::new(Duration::ZERO))),
            ..Self::system()
        }
    }

    /// Moves a clock that stands still.
    #[cfg(test)]
    pub fn advance(&self, time: Duration) {
        let manual = self.manual.as_ref().expect("a manual clock");
        manual.send_modify(|moved| *moved += time);
    }

    /// Now.
    pub fn now(&self) -> Instant {
        match &self.manual {
            None => Instant::now(),
            Some(moved) => self.start + *moved.borrow(),
        }
    }

    /// The date of an instant.
    pub fn date(&self, at: Instant) -> SystemTime {
        self.start_date + at.saturating_duration_since(self.start)
    }

    /// When the clock was made.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Waits until `at`; for ever where it is `None`.
    pub async fn sleep_until(&self, at: Option<Instant>) {
        let Some(at) = at else {
            return std::future::pending().await;
        };
        match &self.manual {
            None => tokio::time::sleep_until(at.into()).await,
            Some(moved) => {
                let mut moved = moved.subscribe();
                let reached = moved.wait_for(|moved| self.start + *moved >= at);
                // This clock keeps the sender, so it is not closed.
                let _ = reached.await;
            }
        }
    }
}
