//! Quantities as the API documents write them in text: sizes, times, shares, rates, moments.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};

/// Bytes as text in binary units with one decimal: `4.2GB`. Nothing is `0MB`.
pub fn size(bytes: u64) -> String {
    if bytes == 0 {
        return "0MB".to_owned();
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KB", "MB", "GB", "TB"] {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" {
        format!("{bytes}B")
    } else {
        format!("{value:.1}{unit}")
    }
}

/// Bytes in binary megabytes.
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes in binary gigabytes.
pub fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// A time as text in days, hours, minutes and whole seconds, without leading zero parts: `2h 15m 30s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
    ];
    let mut text = String::new();
    for (number, unit) in parts {
        if number > 0 || !text.is_empty() {
            text += &format!("{number}{unit} ");
        }
    }
    text + &format!("{}s", seconds % 60)
}

/// A time that was measured, to the millisecond where it is below a minute: `1.234s`.
pub fn measured(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{}s", time.as_millis() as f64 / 1e3)
    } else {
        duration(time)
    }
}

/// A share of 0 to 1 as text with at most one decimal: `0.1%`.
pub fn percent(share: f64) -> String {
    format!("{}%", (share * 1e3).round() / 10.0)
}

/// A moment as ISO 8601 in UTC, to the second.
pub fn datetime(moment: SystemTime) -> String {
    DateTime::<Utc>::from(moment).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Now, as ISO 8601 in UTC.
pub fn timestamp() -> String {
    datetime(SystemTime::now())
}

/// Now, as Unix time in seconds.
pub fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0MB"),
            (1023, "1023B"),
            (1024, "1.0KB"),
            (16_058_624, "15.3MB"),
            ((1 << 30) - 1, "1.0GB"),
            (9 << 40, "9.0TB"),
            (u64::MAX, "16777216.0TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (8130, "2h 15m 30s"),
            (86_400, "1d 0h 0m 0s"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        for (millis, text) in [(0, "0s"), (1, "0.001s"), (1200, "1.2s"), (61_234, "1m 1s")] {
            assert_eq!(measured(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn shares_and_moments() {
        for (share, text) in [(0.0, "0%"), (0.25, "25%"), (0.001, "0.1%"), (1.0, "100%")] {
            assert_eq!(percent(share), text);
        }
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_705_314_600);
        assert_eq!(datetime(moment), "2024-01-15T10:30:00Z");
    }
}
