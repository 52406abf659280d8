//! What each client may use: requests a minute and at once in a burst, tokens a minute and a day,
//! requests for inference in work at a time.
//!
//! A client is an API key, a user, or an address. Requests are counted when they come, tokens when they
//! have been spent: a client that overdraws its tokens waits until they have grown back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::caller::ClientId;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Past this many clients, those of whom nothing needs to be remembered are forgotten before another is
/// taken up.
const SWEEP_ABOVE: usize = 4096;

/// What a client may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Requests a minute.
    pub requests_per_minute: u32,
    /// Requests that may come at once; they grow back at the rate of `requests_per_minute`.
    pub burst: u32,
    /// Whether the two above are enforced, and not only announced.
    pub enforced: bool,
    /// Tokens in and out a minute.
    pub tokens_per_minute: Option<u64>,
    /// Tokens in and out a day.
    pub tokens_per_day: Option<u64>,
    /// Requests for inference in work at a time.
    pub concurrent: Option<usize>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            requests_per_minute: 1000,
            burst: 100,
            enforced: false,
            tokens_per_minute: None,
            tokens_per_day: None,
            concurrent: None,
        }
    }
}

/// Counts what clients use.
#[derive(Debug)]
pub struct Limits {
    rules: RwLock<Arc<Rules>>,
    accounts: Mutex<HashMap<ClientId, Account>>,
}

/// Where a client stands after a request has been counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Requests allowed in the window.
    pub limit: u32,
    /// Requests left in the window.
    pub remaining: u32,
    /// Unix time in seconds at which the window ends.
    pub reset: u64,
    /// Why the request is refused, if it is.
    pub excess: Option<Excess>,
}

/// A limit that was passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the limit of {limit} {what} is used up; try again in {} s", crate::family::whole_seconds(*.retry_after))]
pub struct Excess {
    /// The limit.
    pub limit: u64,
    /// What it counts.
    pub what: &'static str,
    /// After which time it is worth another try.
    pub retry_after: Duration,
}

/// What a client has used.
#[derive(Debug)]
struct Account {
    window_ends: Instant,
    requests: u32,
    burst: Bucket,
    tokens: Bucket,
    day_ends: Instant,
    tokens_of_day: u64,
    in_work: usize,
}

/// What is left of something that grows back. Below zero it is owed.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// Lets it grow until `now`, at `rate` a second up to `capacity`.
    fn grow(&mut self, now: Instant, rate: f64, capacity: f64) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + seconds * rate).min(capacity);
        self.at = now;
    }

    /// How long until `wanted` are there, at `rate` a second.
    fn wait(&self, wanted: f64, rate: f64) -> Duration {
        let seconds = ((wanted - self.left) / rate).clamp(0.0, DAY.as_secs_f64());
        Duration::from_secs_f64(seconds)
    }
}

impl Account {
    fn new(rules: &Rules, now: Instant) -> Self {
        let full = |left: f64| Bucket { left, at: now };
        Self {
            window_ends: now + MINUTE,
            requests: 0,
            burst: full(f64::from(rules.burst)),
            tokens: full(rules.tokens_per_minute.unwrap_or(0) as f64),
            day_ends: now + DAY,
            tokens_of_day: 0,
            in_work: 0,
        }
    }

    fn turn_pages(&mut self, now: Instant) {
        if self.window_ends <= now {
            (self.window_ends, self.requests) = (now + MINUTE, 0);
        }
        if self.day_ends <= now {
            (self.day_ends, self.tokens_of_day) = (now + DAY, 0);
        }
    }

    /// Whether forgetting it would make no difference.
    fn is_blank(&self, rules: &Rules, now: Instant) -> bool {
        let owes = rules.tokens_per_minute.is_some() && self.tokens.at + MINUTE > now;
        let counts_day =
            rules.tokens_per_day.is_some() && self.tokens_of_day > 0 && self.day_ends > now;
        self.window_ends <= now && self.in_work == 0 && !owes && !counts_day
    }
}

impl Limits {
    /// Nothing is used yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules: RwLock::new(Arc::new(rules)),
            accounts: Mutex::default(),
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        let rules = self.rules.read();
        Arc::clone(&rules.unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Puts other rules in force; what clients have used stays counted.
    pub fn set_rules(&self, rules: Rules) {
        let held = self.rules.write();
        *held.unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(rules);
    }

    /// Counts one request of `client`. A request that is refused is not counted against the limits, so
    /// that a client which knocks in vain is let in when its time has come.
    pub fn count(&self, client: &ClientId) -> Standing {
        let now = Instant::now();
        let standing = self.count_at(client, now);
        Standing {
            reset: unix_time_of(now, standing.reset),
            ..standing
        }
    }

    /// As [`Self::count`]; `reset` is in milliseconds from `now`.
    fn count_at(&self, client: &ClientId, now: Instant) -> Standing {
        let rules = self.rules();
        self.with(client, &rules, now, |account| {
            account.turn_pages(now);
            let excess = rules
                .enforced
                .then(|| account.request_excess(&rules, now))
                .flatten();
            let excess = excess.or_else(|| account.token_excess(&rules, now));
            if excess.is_none() {
                account.requests = account.requests.saturating_add(1);
                account.burst.left -= 1.0;
            }
            let until = account.window_ends.saturating_duration_since(now);
            Standing {
                limit: rules.requests_per_minute,
                remaining: rules.requests_per_minute.saturating_sub(account.requests),
                reset: u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
                excess,
            }
        })
    }

    /// Charges tokens that `client` has used.
    pub fn spend(&self, client: &ClientId, tokens: u64) {
        let rules = self.rules();
        if tokens == 0 || (rules.tokens_per_minute, rules.tokens_per_day) == (None, None) {
            return;
        }
        let now = Instant::now();
        self.with(client, &rules, now, |account| {
            account.turn_pages(now);
            account.grow_tokens(&rules, now);
            account.tokens.left -= tokens as f64;
            account.tokens_of_day = account.tokens_of_day.saturating_add(tokens);
        });
    }

    /// Takes one of the client's places for requests in work.
    ///
    /// # Errors
    /// All of them are taken.
    pub fn hold(self: &Arc<Self>, client: &ClientId) -> Result<Place, Excess> {
        let rules = self.rules();
        let most = rules.concurrent.unwrap_or(usize::MAX);
        let taken = self.with(client, &rules, Instant::now(), |account| {
            let free = account.in_work < most;
            account.in_work += usize::from(free);
            free
        });
        match taken {
            true => Ok(Place {
                limits: Arc::clone(self),
                client: client.clone(),
            }),
            false => Err(Excess {
                limit: most as u64,
                what: "requests at a time",
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    fn with<T>(
        &self,
        client: &ClientId,
        rules: &Rules,
        now: Instant,
        work: impl FnOnce(&mut Account) -> T,
    ) -> T {
        let accounts = self.accounts.lock();
        let mut accounts = accounts.unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(account) = accounts.get_mut(client) {
            return work(account);
        }
        if accounts.len() >= SWEEP_ABOVE {
            accounts.retain(|_, account| !account.is_blank(rules, now));
        }
        let account = accounts.entry(client.clone());
        work(account.or_insert_with(|| Account::new(rules, now)))
    }
}

impl Account {
    /// The limit on requests that one more would pass.
    fn request_excess(&mut self, rules: &Rules, now: Instant) -> Option<Excess> {
        let rate = f64::from(rules.requests_per_minute) / 60.0;
        self.burst.grow(now, rate, f64::from(rules.burst));
        if self.requests >= rules.requests_per_minute {
            return Some(Excess {
                limit: rules.requests_per_minute.into(),
                what: "requests a minute",
                retry_after: self.window_ends.saturating_duration_since(now),
            });
        }
        (self.burst.left < 1.0).then(|| Excess {
            limit: rules.burst.into(),
            what: "requests at once",
            retry_after: self.burst.wait(1.0, rate),
        })
    }

    /// The limit on tokens that is used up.
    fn token_excess(&mut self, rules: &Rules, now: Instant) -> Option<Excess> {
        self.grow_tokens(rules, now);
        if let Some(limit) = rules.tokens_per_day
            && self.tokens_of_day >= limit
        {
            return Some(Excess {
                limit,
                what: "tokens a day",
                retry_after: self.day_ends.saturating_duration_since(now),
            });
        }
        let limit = rules.tokens_per_minute?;
        (self.tokens.left < 1.0).then(|| Excess {
            limit,
            what: "tokens a minute",
            retry_after: self.tokens.wait(1.0, limit as f64 / 60.0),
        })
    }

    fn grow_tokens(&mut self, rules: &Rules, now: Instant) {
        if let Some(limit) = rules.tokens_per_minute {
            self.tokens.grow(now, limit as f64 / 60.0, limit as f64);
        }
    }
}

/// One of a client's places for requests in work; dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    limits: Arc<Limits>,
    client: ClientId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let accounts = self.limits.accounts.lock();
        let mut accounts = accounts.unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(account) = accounts.get_mut(&self.client) {
            account.in_work = account.in_work.saturating_sub(1);
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

/// Unix time in seconds of the moment `millis` after `now`, rounded up, so that the window has ended when
/// a client comes back at that second.
fn unix_time_of(now: Instant, millis: u64) -> u64 {
    let since = Duration::from_millis(millis).saturating_sub(now.elapsed());
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let moment = unix + since;
    moment.as_secs() + u64::from(moment.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn client(last: u8) -> ClientId {
        ClientId::of_address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
    }

    fn rules(requests_per_minute: u32, burst: u32) -> Rules {
        Rules {
            requests_per_minute,
            burst,
            enforced: true,
            ..Rules::default()
        }
    }

    #[test]
    fn clients_are_counted_apart_and_windows_end() {
        let limits = Limits::new(rules(2, 2));
        let now = Instant::now();
        let remaining = |client: &ClientId, after: u64| {
            let standing = limits.count_at(client, now + Duration::from_secs(after));
            (standing.remaining, standing.excess.is_some())
        };
        assert_eq!(remaining(&client(1), 0), (1, false));
        assert_eq!(remaining(&client(1), 1), (0, false));
        assert_eq!(remaining(&client(1), 59), (0, true));
        assert_eq!(remaining(&client(2), 59), (1, false));
        assert_eq!(remaining(&client(1), 60), (1, false));
    }

    #[test]
    fn an_announced_limit_refuses_nobody() {
        let limits = Limits::new(Rules {
            enforced: false,
            ..rules(1, 1)
        });
        for remaining in [0, 0, 0] {
            let standing = limits.count(&client(1));
            assert_eq!((standing.remaining, standing.excess), (remaining, None));
        }
    }

    #[test]
    fn a_burst_grows_back() {
        let limits = Limits::new(rules(60, 3));
        let now = Instant::now();
        let excess = |millis: u64| {
            limits
                .count_at(&client(1), now + Duration::from_millis(millis))
                .excess
        };
        assert_eq!((excess(0), excess(0), excess(0)), (None, None, None));
        let refused = excess(500).expect("three were there");
        assert_eq!((refused.limit, refused.what), (3, "requests at once"));
        assert_eq!(refused.retry_after, Duration::from_millis(500));
        assert_eq!(excess(1000), None);
        assert!(excess(1100).is_some());
    }

    #[test]
    fn tokens_are_charged_when_spent() {
        let limits = Limits::new(Rules {
            tokens_per_minute: Some(600),
            tokens_per_day: Some(10_000),
            ..Rules::default()
        });
        let one = client(1);
        let now = Instant::now();
        let after = |seconds: u64| {
            limits
                .count_at(&one, now + Duration::from_secs(seconds))
                .excess
        };
        assert_eq!(after(0), None);
        limits.spend(&one, 1200);
        let owing = after(1).expect("600 are owed");
        assert_eq!((owing.limit, owing.what), (600, "tokens a minute"));
        assert!(owing.retry_after > Duration::from_secs(55), "{owing:?}");
        assert_eq!(after(90), None);
        limits.spend(&one, 9_000);
        let day = after(3600).expect("the day's tokens are used up");
        assert_eq!((day.limit, day.what), (10_000, "tokens a day"));
        assert_eq!(after(24 * 3600 + 1), None);
        assert_eq!(limits.count(&client(2)).excess, None);
    }

    #[test]
    fn places_are_given_back() {
        let limits = Arc::new(Limits::new(Rules {
            concurrent: Some(1),
            ..Rules::default()
        }));
        let held = limits.hold(&client(1)).expect("one is free");
        assert!(limits.hold(&client(1)).is_err());
        assert!(limits.hold(&client(2)).is_ok());
        drop(held);
        assert!(limits.hold(&client(1)).is_ok());
    }

    #[test]
    fn clients_that_left_are_forgotten() {
        let limits = Limits::new(rules(9, 9));
        let now = Instant::now();
        for number in 0..2 * SWEEP_ABOVE as u32 {
            let client = ClientId::of_address(IpAddr::V4(Ipv4Addr::from_bits(number)));
            limits.count_at(&client, now + Duration::from_secs(100 * u64::from(number)));
        }
        let kept = limits
            .accounts
            .lock()
            .expect("no test panics while counting")
            .len();
        assert!(kept <= SWEEP_ABOVE, "{kept} clients are kept");
    }
}
