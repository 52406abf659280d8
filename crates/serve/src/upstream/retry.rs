//! When to try again: after what the service says, else after a time that doubles and is blurred by chance,
//! so that clients which failed together do not come back together.

use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use axum::http::header::RETRY_AFTER;
use chrono::DateTime;

/// How often a call that failed is made again.
const RETRIES: u32 = 2;

/// The wait before the first retry, where the service does not say.
const FIRST: Duration = Duration::from_millis(250);

/// The longest wait that a request is held for. Where a service asks for more, the client is told so.
const LONGEST: Duration = Duration::from_secs(8);

/// How long to wait before retry number `retry`, counted from 0; `None` if there is none. `told` is what
/// the service asked for, and `chance` is between 0 and 1.
pub fn wait(retry: u32, told: Option<Duration>, chance: f64) -> Option<Duration> {
    if retry >= RETRIES {
        return None;
    }
    let wait = told.unwrap_or_else(|| (FIRST * 2_u32.pow(retry)).mul_f64(0.5 + chance / 2.0));
    (wait <= LONGEST).then_some(wait)
}

/// A number between 0 and 1 by chance; 1 where the system has none.
pub fn chance() -> f64 {
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}

/// The time that `Retry-After` asks for: seconds, or a date.
pub fn told(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::from(DateTime::parse_from_rfc2822(text).ok()?);
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_blurred() {
        let millis = |retry, chance| wait(retry, None, chance).map(|wait| wait.as_millis());
        assert_eq!((millis(0, 0.0), millis(0, 1.0)), (Some(125), Some(250)));
        assert_eq!((millis(1, 0.0), millis(1, 1.0)), (Some(250), Some(500)));
        assert_eq!(millis(2, 0.0), None);
        assert!((0.0..=1.0).contains(&chance()));
    }

    #[test]
    fn what_the_service_asks_for_is_obeyed_within_bounds() {
        let second = Duration::from_secs(1);
        assert_eq!(wait(0, Some(3 * second), 0.0), Some(3 * second));
        assert_eq!(wait(0, Some(Duration::ZERO), 1.0), Some(Duration::ZERO));
        assert_eq!(wait(0, Some(60 * second), 0.0), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // date -ud 'Wed, 21 Oct 2015 07:28:00 GMT' +%s
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480 - 90);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a value"));
            told(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(90));
        assert_eq!(read("Wed, 21 Oct 2009 07:28:00 GMT"), Some(0));
        assert_eq!((read("soon"), read("-1")), (None, None));
        assert_eq!(told(&HeaderMap::new(), now), None);
    }
}
