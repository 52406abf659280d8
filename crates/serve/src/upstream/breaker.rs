//! A circuit breaker: a service that fails again and again is left alone for a while, then tried with one
//! call, whose outcome decides.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Failures in a row after which the circuit opens.
pub const OPENS_AFTER: u32 = 5;

/// How long it stays open before a call is let through on trial.
pub const STAYS_OPEN: Duration = Duration::from_secs(30);

/// After which time it is worth asking again how a trial went.
const TRIAL: Duration = Duration::from_secs(1);

/// The breaker of a service. It starts closed.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Clone, Copy)]
enum State {
    /// Calls pass.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// No call passes until then; the next one after it is on trial.
    Open { until: Instant },
    /// One call is on trial; the others wait for its outcome.
    HalfOpen { since: Instant },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Lets a call pass.
    ///
    /// # Errors
    /// After which time it is worth another try, if it may not.
    pub fn enter(&self, now: Instant) -> Result<Permit<'_>, Duration> {
        let mut state = self.lock();
        let is_trial = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now < until => return Err(until - now),
            State::HalfOpen { .. } => return Err(TRIAL),
            State::Open { .. } => {
                *state = State::HalfOpen { since: now };
                true
            }
        };
        Ok(Permit {
            breaker: self,
            is_trial,
        })
    }

    /// Notes that a call failed.
    pub fn failed(&self, now: Instant) {
        let mut state = self.lock();
        *state = match *state {
            State::Closed { failures } if failures + 1 < OPENS_AFTER => State::Closed {
                failures: failures + 1,
            },
            State::Open { until } => State::Open { until },
            State::Closed { .. } | State::HalfOpen { .. } => State::Open {
                until: now + STAYS_OPEN,
            },
        };
    }

    /// Whether calls pass without a trial.
    pub fn is_closed(&self) -> bool {
        matches!(*self.lock(), State::Closed { .. })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let Self(state) = self;
        state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A call that was let through. Dropped without an outcome, as when its client goes away, it leaves the
/// trial to the next one.
#[derive(Debug)]
pub struct Permit<'b> {
    breaker: &'b Breaker,
    is_trial: bool,
}

impl Permit<'_> {
    /// The service answered.
    pub fn succeeded(mut self) {
        self.is_trial = false;
        *self.breaker.lock() = State::default();
    }

    /// The service failed.
    pub fn failed(mut self, now: Instant) {
        self.is_trial = false;
        self.breaker.failed(now);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_trial {
            return;
        }
        let mut state = self.breaker.lock();
        if let State::HalfOpen { since } = *state {
            *state = State::Open { until: since };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(breaker: &Breaker, now: Instant) -> Permit<'_> {
        breaker.enter(now).expect("the call passes")
    }

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..OPENS_AFTER {
            assert!(breaker.is_closed());
            pass(&breaker, now).failed(now);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_trial_closes_it() {
        let now = Instant::now();
        let breaker = opened(now);
        assert_eq!(breaker.enter(now).expect_err("open"), STAYS_OPEN);
        let soon = now + STAYS_OPEN - Duration::from_secs(1);
        assert_eq!(
            breaker.enter(soon).expect_err("open"),
            Duration::from_secs(1)
        );
        let later = now + STAYS_OPEN;
        let trial = pass(&breaker, later);
        assert!(breaker.enter(later).is_err(), "one call is on trial");
        trial.succeeded();
        assert!(breaker.is_closed());
        pass(&breaker, later).succeeded();
    }

    #[test]
    fn a_trial_that_fails_opens_it_again_and_one_that_vanishes_is_another_calls() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + STAYS_OPEN;
        pass(&breaker, later).failed(later);
        assert_eq!(breaker.enter(later).expect_err("open"), STAYS_OPEN);
        let later = later + STAYS_OPEN;
        drop(pass(&breaker, later));
        pass(&breaker, later).succeeded();
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_success_forgets_failures_and_a_call_that_vanishes_changes_nothing() {
        let now = Instant::now();
        let breaker = Breaker::default();
        for _ in 0..3 * OPENS_AFTER {
            pass(&breaker, now).failed(now);
            drop(pass(&breaker, now));
            pass(&breaker, now).succeeded();
        }
        assert!(breaker.is_closed());
    }
}
