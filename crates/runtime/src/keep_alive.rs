//! How long a model stays in memory once nobody uses it.

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

/// How long an idle model stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// Until it is unloaded by hand, or has to make room for another.
    Forever,
    /// For this long; for no time at all, it goes with its last request.
    For(Duration),
}

/// A keep-alive time that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a number of seconds or a time such as \"5m\", \"1h30m\" or \"500ms\"; 0 unloads at once, a negative one never"
)]
pub struct KeepAliveError;

/// Longer times are as good as for ever, and would overflow sums of times.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl KeepAlive {
    /// From seconds; a negative number is for ever.
    ///
    /// # Errors
    /// Where the number is not finite.
    pub fn from_seconds(seconds: f64) -> Result<Self, KeepAliveError> {
        if !seconds.is_finite() {
            return Err(KeepAliveError);
        }
        if seconds < 0.0 {
            return Ok(Self::Forever);
        }
        Ok(Self::of(
            Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST),
        ))
    }

    /// From a request's field: a number of seconds, or a text.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn from_json(value: &Value) -> Result<Self, KeepAliveError> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) => Self::from_seconds(number.as_f64().ok_or(KeepAliveError)?),
            _ => Err(KeepAliveError),
        }
    }

    fn of(time: Duration) -> Self {
        match time < LONGEST {
            true => Self::For(time),
            false => Self::Forever,
        }
    }
}

impl FromStr for KeepAlive {
    type Err = KeepAliveError;

    /// Reads seconds (`300`), or numbers with units (`5m`, `1h30m`, `1.5s`, `500ms`); what begins with a minus is for
    /// ever.
    fn from_str(text: &str) -> Result<Self, KeepAliveError> {
        let text = text.trim();
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut seconds = 0.0;
        let mut first = true;
        while !rest.is_empty() || first {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let number: f64 = number.parse().map_err(|_| KeepAliveError)?;
            let unit_end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let unit_seconds = match unit {
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                // A bare number, which nothing follows.
                "" if first => 1.0,
                _ => return Err(KeepAliveError),
            };
            seconds += number * unit_seconds;
            (rest, first) = (tail, false);
        }
        match negative {
            true => Ok(Self::Forever),
            false => Self::from_seconds(seconds),
        }
    }
}

impl std::fmt::Display for KeepAlive {
    /// As [`FromStr`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Forever => f.write_str("-1"),
            Self::For(time) => write!(f, "{}s", time.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_and_numbers() {
        let seconds = |s: f64| KeepAlive::For(Duration::from_secs_f64(s));
        for (text, expected) in [
            ("0", seconds(0.0)),
            ("300", seconds(300.0)),
            ("5m", seconds(300.0)),
            (" 1h30m ", seconds(5400.0)),
            ("1.5s", seconds(1.5)),
            ("500ms", seconds(0.5)),
            ("2d", seconds(172_800.0)),
            ("-1", KeepAlive::Forever),
            ("-5m", KeepAlive::Forever),
            ("99999999999999999999d", KeepAlive::Forever),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
            assert_eq!(expected.to_string().parse(), Ok(expected), "{expected}");
        }
        for bad in [
            "", "-", "m", "5x", "5 m", "1h30", "1..2s", "nan", "inf", "1e3", "é", "5é",
        ] {
            assert_eq!(bad.parse::<KeepAlive>(), Err(KeepAliveError), "{bad:?}");
        }
        assert_eq!(KeepAlive::from_json(&json!(0)), Ok(seconds(0.0)));
        assert_eq!(KeepAlive::from_json(&json!(-1)), Ok(KeepAlive::Forever));
        assert_eq!(KeepAlive::from_json(&json!("5m")), Ok(seconds(300.0)));
        assert_eq!(KeepAlive::from_json(&json!(1e300)), Ok(KeepAlive::Forever));
        for bad in [json!(null), json!(true), json!([5])] {
            assert_eq!(KeepAlive::from_json(&bad), Err(KeepAliveError));
        }
    }
}
