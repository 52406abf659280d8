//! Guessing passwords is made slow, for each account and for each address.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Failures that cost nothing, since people mistype.
const FREE: u32 = 5;

/// Longest wait after a failure; also how long after its last failure a name is forgotten.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Past this many names, those that would be forgotten anyway are thrown out.
const SWEEP_ABOVE: usize = 4096;

/// Counts failures.
#[derive(Debug, Default)]
pub struct Slowdown(Mutex<HashMap<String, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// Until when nothing is tried: after the free ones a second, two, four, and so on.
    fn until(self) -> Instant {
        let wait = match self.count.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(beyond) => Duration::from_secs(1 << beyond.min(20)).min(LONGEST),
        };
        self.last + wait
    }
}

impl Slowdown {
    /// How long one who tries as one of `names` has to wait.
    ///
    /// # Errors
    /// The wait.
    pub fn check(&self, names: &[String]) -> Result<(), Duration> {
        self.check_at(names, Instant::now())
    }

    fn check_at(&self, names: &[String], now: Instant) -> Result<(), Duration> {
        let failures = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let waits = names.iter().filter_map(|name| failures.get(name));
        let wait = waits
            .map(|own| own.until().saturating_duration_since(now))
            .max();
        match wait {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    /// Notes a failure of each of `names`.
    pub fn failed(&self, names: &[String]) {
        self.failed_at(names, Instant::now());
    }

    fn failed_at(&self, names: &[String], now: Instant) {
        let mut failures = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if failures.len() >= SWEEP_ABOVE {
            failures.retain(|_, own| own.last + LONGEST > now);
        }
        for name in names {
            let own = failures.entry(name.clone()).or_insert(Failures {
                count: 0,
                last: now,
            });
            if own.last + LONGEST <= now {
                own.count = 0;
            }
            own.count = own.count.saturating_add(1);
            own.last = now;
        }
    }

    /// Forgets the failures of `name`, who has shown who he is.
    pub fn succeeded(&self, name: &str) {
        let mut failures = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        failures.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let slowdown = Slowdown::default();
        let names = ["account".to_owned(), "address".to_owned()];
        let start = Instant::now();
        for _ in 0..FREE - 1 {
            slowdown.failed_at(&names, start);
        }
        assert_eq!(slowdown.check_at(&names, start), Ok(()));
        for seconds in [1, 2, 4, 8] {
            slowdown.failed_at(&names[..1], start);
            assert_eq!(
                slowdown.check_at(&names, start),
                Err(Duration::from_secs(seconds))
            );
        }
        assert_eq!(slowdown.check_at(&names[1..], start), Ok(()));
        for _ in 0..100 {
            slowdown.failed_at(&names, start);
        }
        assert_eq!(slowdown.check_at(&names, start), Err(LONGEST));
        assert_eq!(slowdown.check_at(&names, start + LONGEST), Ok(()));
        slowdown.succeeded("account");
        assert!(slowdown.check_at(&names[..1], start).is_ok());
    }
}
