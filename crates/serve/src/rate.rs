//! The request counter behind the `X-RateLimit` headers.
//!
//! Requests are counted for each client address in windows of a minute that begin with the first
//! request. Nothing is refused here: the built-in limit is announced only, so a client past it reads
//! zero remaining and is served all the same.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const WINDOW: Duration = Duration::from_secs(60);

/// Past this many addresses, ended windows are thrown out before a new one is begun.
const SWEEP_ABOVE: usize = 1024;

/// Counts requests by client address.
#[derive(Debug)]
pub struct RateCounter {
    limit: u32,
    windows: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    ends: SystemTime,
    used: u32,
}

/// Where a client stands after a request has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests allowed in the window.
    pub limit: u32,
    /// Requests left in the window.
    pub remaining: u32,
    /// Unix time in seconds at which the window ends.
    pub reset: u64,
}

impl RateCounter {
    /// A counter that announces `limit` requests a minute.
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            windows: Mutex::new(HashMap::new()),
        }
    }

    /// Counts one request of `client` at the time `now`.
    pub fn count(&self, client: IpAddr, now: SystemTime) -> Standing {
        let mut windows = self
            .windows
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if windows.len() >= SWEEP_ABOVE && !windows.contains_key(&client) {
            windows.retain(|_, window| window.ends > now);
        }
        let window = windows.entry(client).or_insert(Window {
            ends: now + WINDOW,
            used: 0,
        });
        // A clock that was set back would otherwise keep a window open for as long.
        if window.ends <= now || window.ends > now + WINDOW {
            *window = Window {
                ends: now + WINDOW,
                used: 0,
            };
        }
        window.used = window.used.saturating_add(1);
        let reset = window.ends.duration_since(UNIX_EPOCH).unwrap_or_default();
        Standing {
            limit: self.limit,
            remaining: self.limit.saturating_sub(window.used),
            // Rounded up, so that the window has ended when a client comes back at that second.
            reset: reset.as_secs() + u64::from(reset.subsec_nanos() > 0),
        }
    }
}

impl Standing {
    /// Writes the three headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let entries = [
            ("x-ratelimit-limit", u64::from(self.limit)),
            ("x-ratelimit-remaining", u64::from(self.remaining)),
            ("x-ratelimit-reset", self.reset),
        ];
        for (name, value) in entries {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn addresses_are_counted_apart_and_windows_end() {
        let counter = RateCounter::new(2);
        let [one, two] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
        assert_eq!(
            counter.count(one, at(100)),
            Standing {
                limit: 2,
                remaining: 1,
                reset: 160
            }
        );
        assert_eq!(
            counter.count(one, at(110)),
            Standing {
                limit: 2,
                remaining: 0,
                reset: 160
            }
        );
        assert_eq!(
            counter.count(one, at(159)),
            Standing {
                limit: 2,
                remaining: 0,
                reset: 160
            }
        );
        assert_eq!(
            counter.count(two, at(120)),
            Standing {
                limit: 2,
                remaining: 1,
                reset: 180
            }
        );
        assert_eq!(
            counter.count(one, at(160)),
            Standing {
                limit: 2,
                remaining: 1,
                reset: 220
            }
        );
    }

    #[test]
    fn a_clock_set_back_begins_a_new_window() {
        let counter = RateCounter::new(9);
        let client = IpAddr::from(Ipv4Addr::LOCALHOST);
        counter.count(client, at(100_000));
        assert_eq!(counter.count(client, at(500)).reset, 560);
    }

    #[test]
    fn ended_windows_are_thrown_out() {
        let counter = RateCounter::new(9);
        for number in 0..2 * SWEEP_ABOVE as u32 {
            counter.count(
                IpAddr::from(Ipv4Addr::from_bits(number)),
                at(100 * u64::from(number)),
            );
        }
        let kept = counter
            .windows
            .lock()
            .expect("no test panics while counting")
            .len();
        assert!(kept <= SWEEP_ABOVE, "{kept} windows are kept");
    }
}
