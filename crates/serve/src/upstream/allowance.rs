//! What the server allows itself towards a service: requests a second and a minute, tokens a minute or an
//! hour, counted over the time just gone, so that no window of that length ever holds more.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::limits::Excess;
use crate::settings::Service;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// At most so many within a time.
#[derive(Debug, Clone, Copy)]
struct Rule {
    what: &'static str,
    most: u64,
    within: Duration,
}

/// The limits of a service, as the API's documents give them.
#[derive(Debug, Clone, Copy)]
struct Rules {
    requests: &'static [Rule],
    tokens: &'static [Rule],
}

const fn rule(most: u64, what: &'static str, within: Duration) -> Rule {
    Rule { what, most, within }
}

/// Those of OpenAI.
const OPENAI: Rules = Rules {
    requests: &[
        rule(3, "requests a second to the service", SECOND),
        rule(3_000, "requests a minute to the service", MINUTE),
    ],
    tokens: &[rule(200_000, "tokens a minute of the service", MINUTE)],
};

/// Those of Baseten.
const BASETEN: Rules = Rules {
    requests: &[
        rule(10, "requests a second to the service", SECOND),
        rule(1_000, "requests a minute to the service", MINUTE),
    ],
    tokens: &[rule(100_000, "tokens an hour of the service", HOUR)],
};

/// Those of a service of the operator's own.
const NONE: Rules = Rules {
    requests: &[],
    tokens: &[],
};

impl Rules {
    fn of(service: Service) -> Self {
        match service {
            Service::OpenAi => OPENAI,
            Service::Baseten => BASETEN,
            Service::Other => NONE,
        }
    }

    /// How long a request has to be remembered.
    fn longest(self) -> Duration {
        let rules = self.requests.iter().chain(self.tokens);
        rules.map(|rule| rule.within).max().unwrap_or_default()
    }
}

/// Counts the requests to a service and their tokens.
#[derive(Debug)]
pub struct Allowance {
    rules: Rules,
    spent: Mutex<Spent>,
}

/// A request that was counted.
#[derive(Debug, Clone, Copy)]
struct Request {
    at: Instant,
    /// 1; 0 where it never reached the service.
    count: u64,
    tokens: u64,
}

/// The requests within the longest time that a rule looks back, the oldest first.
#[derive(Debug, Default)]
struct Spent {
    requests: VecDeque<Request>,
    /// How many have been forgotten, by which those left are numbered.
    forgotten: u64,
}

impl Allowance {
    /// Nothing is used yet.
    pub fn of(service: Service) -> Self {
        Self {
            rules: Rules::of(service),
            spent: Mutex::default(),
        }
    }

    /// Counts a request that takes about `tokens`; gives the number by which [`Self::settle`] knows it.
    ///
    /// # Errors
    /// A rule that it would break.
    pub fn take(&self, tokens: u64, now: Instant) -> Result<u64, Excess> {
        let mut spent = self.lock();
        spent.forget(self.rules.longest(), now);
        for rule in self.rules.requests {
            spent.check(rule, now, 1, |request| request.count)?;
        }
        for rule in self.rules.tokens {
            spent.check(rule, now, tokens, |request| request.tokens)?;
        }
        let number = spent.forgotten + spent.requests.len() as u64;
        if !self.rules.longest().is_zero() {
            spent.requests.push_back(Request {
                at: now,
                count: 1,
                tokens,
            });
        }
        Ok(number)
    }

    /// Counts `tokens` for the request of this number, in the place of what was guessed.
    pub fn settle(&self, number: u64, tokens: u64) {
        self.change(number, |request| request.tokens = tokens);
    }

    /// Takes the request of this number back, which never reached the service.
    pub fn take_back(&self, number: u64) {
        self.change(number, |request| (request.count, request.tokens) = (0, 0));
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Request)) {
        let mut spent = self.lock();
        let index = number.checked_sub(spent.forgotten);
        let index = index.and_then(|index| usize::try_from(index).ok());
        if let Some(request) = index.and_then(|index| spent.requests.get_mut(index)) {
            change(request);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        let spent = self.spent.lock();
        spent.unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Spent {
    fn forget(&mut self, longest: Duration, now: Instant) {
        let is_old = |request: &Request| now.saturating_duration_since(request.at) >= longest;
        while self.requests.front().is_some_and(is_old) {
            self.requests.pop_front();
            self.forgotten += 1;
        }
    }

    /// Whether `more` can be had under `rule`, each request counting its `cost`. More than the rule's whole
    /// measure can be had where nothing else is: it could never be had otherwise.
    fn check(
        &self,
        rule: &Rule,
        now: Instant,
        more: u64,
        cost: impl Fn(&Request) -> u64,
    ) -> Result<(), Excess> {
        let ends = |request: &Request| (request.at + rule.within).saturating_duration_since(now);
        let recent = self.requests.iter();
        let recent = recent.filter(|request| !ends(request).is_zero());
        // What a service says of its tokens may be any number.
        let sum = |sum: u64, request: &Request| sum.saturating_add(cost(request));
        let mut used = recent.clone().fold(0, sum);
        let mut wait = Duration::ZERO;
        for request in recent {
            if used == 0 || used.saturating_add(more) <= rule.most {
                break;
            }
            used = used.saturating_sub(cost(request));
            wait = ends(request);
        }
        match wait.is_zero() {
            true => Ok(()),
            false => Err(Excess {
                limit: rule.most,
                what: rule.what,
                retry_after: wait,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(allowance: &Allowance, tokens: u64, now: Instant) -> Option<(&'static str, Duration)> {
        let excess = allowance.take(tokens, now).err()?;
        Some((excess.what, excess.retry_after))
    }

    #[test]
    fn no_second_holds_more_requests_than_it_may() {
        let now = Instant::now();
        let at = |millis: u64| now + Duration::from_millis(millis);
        let allowance = Allowance::of(Service::OpenAi);
        for millis in [0, 100, 900] {
            assert_eq!(wait(&allowance, 1, at(millis)), None);
        }
        let what = "requests a second to the service";
        let left = Duration::from_millis(50);
        assert_eq!(wait(&allowance, 1, at(950)), Some((what, left)));
        assert_eq!(wait(&allowance, 1, at(1000)), None);
        let left = Duration::from_millis(50);
        assert_eq!(wait(&allowance, 1, at(1050)), Some((what, left)));
    }

    #[test]
    fn an_hour_holds_no_more_tokens_than_it_may() {
        let now = Instant::now();
        let allowance = Allowance::of(Service::Baseten);
        for index in 0..600 {
            assert_eq!(wait(&allowance, 100, now + index * SECOND / 10), None);
        }
        let later = now + 61 * SECOND;
        let what = "tokens an hour of the service";
        let first = HOUR - 61 * SECOND;
        assert_eq!(wait(&allowance, 40_001, later), Some((what, first)));
        assert_eq!(
            wait(&allowance, 40_101, later),
            Some((what, first + SECOND / 10))
        );
        assert_eq!(wait(&allowance, 40_000, later), None);
    }

    #[test]
    fn what_was_guessed_is_settled() {
        let now = Instant::now();
        let allowance = Allowance::of(Service::OpenAi);
        let number = allowance.take(150_000, now).expect("nothing is used");
        assert!(wait(&allowance, 60_000, now + SECOND).is_some());
        allowance.settle(number, 10);
        assert_eq!(wait(&allowance, 60_000, now + SECOND), None);
        allowance.settle(number, u64::MAX);
        assert!(wait(&allowance, 1, now + 2 * SECOND).is_some());
        assert_eq!(wait(&allowance, 1, now + MINUTE), None);
        allowance.settle(number, 5);
        assert_eq!(
            wait(&allowance, 1_000_000, now + 3 * MINUTE),
            None,
            "alone it may"
        );
    }

    #[test]
    fn what_never_reached_the_service_is_taken_back() {
        let now = Instant::now();
        let allowance = Allowance::of(Service::OpenAi);
        for _ in 0..10 {
            let number = allowance.take(150_000, now).expect("nothing is used");
            allowance.take_back(number);
        }
    }

    #[test]
    fn a_service_of_ones_own_has_no_limits() {
        let now = Instant::now();
        let allowance = Allowance::of(Service::Other);
        for _ in 0..10_000 {
            assert_eq!(wait(&allowance, u64::MAX, now), None);
        }
    }
}
