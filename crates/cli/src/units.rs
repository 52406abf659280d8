//! Numbers as people read them.

use std::time::Duration;

/// Bytes in decimal units: `1.2 GB`.
pub fn bytes(n: u64) -> String {
    scaled(n as f64, &[" B", " kB", " MB", " GB", " TB"])
}

/// A count in decimal units: `1.2B`.
pub fn count(n: u64) -> String {
    scaled(n as f64, &["", "K", "M", "B", "T"])
}

/// A rate in decimal units: `1.2 GB/s` for the unit `B/s`.
pub fn rate(per_second: f64, unit: &str) -> String {
    scaled(per_second, &[" ", " k", " M", " G", " T"]) + unit
}

/// A span of time with three digits: `412 ms`, `1.32 s`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 {
        format!("{} ms", digits(seconds * 1e3))
    } else {
        format!("{} s", digits(seconds))
    }
}

/// Events a second with three digits; `-` where no time passed.
pub fn per_second(events: usize, time: Duration) -> String {
    if time.is_zero() {
        return "-".to_owned();
    }
    digits(events as f64 / time.as_secs_f64())
}

/// About three digits, without an exponent.
pub fn digits(x: f64) -> String {
    match x.abs() {
        ..9.995 => format!("{x:.2}"),
        ..99.95 => format!("{x:.1}"),
        _ => format!("{x:.0}"),
    }
}

fn scaled(mut x: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while x >= 999.5 && unit + 1 < units.len() {
        x /= 1000.0;
        unit += 1;
    }
    let number = if unit == 0 {
        format!("{x:.0}")
    } else {
        digits(x)
    };
    format!("{number}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_about_three_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1.00 kB");
        assert_eq!(bytes(123_456_789), "123 MB");
        assert_eq!(count(1_234_000_000), "1.23B");
        assert_eq!(count(999_999), "1.00M");
        assert_eq!(rate(2.5e10, "B/s"), "25.0 GB/s");
        assert_eq!(span(Duration::from_millis(412)), "412 ms");
        assert_eq!(span(Duration::from_millis(13_250)), "13.2 s");
        assert_eq!(per_second(10, Duration::from_secs(4)), "2.50");
        assert_eq!(per_second(10, Duration::ZERO), "-");
    }
}
