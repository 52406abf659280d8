//! The types that settings have: how each is read and shown.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use hearth_runtime::{KeepAlive, MAX_PRIORITY, Quantize, Strategy};

use super::Secret;

/// A value as a source gives it, before its setting has read it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Text of a flag or the environment; a number, a truth value or a text of a file.
    Text(String),
    /// A list of a file, or a flag that was given several times.
    List(Vec<String>),
    /// A table of a file.
    Table(Vec<(String, String)>),
}

/// A type that a setting can have.
pub trait Value: Sized {
    /// What is expected, for errors and help, such as `a number`.
    const EXPECTED: &'static str;

    /// How a flag of it is written in help, such as `N`; none for those that need no value.
    const PLACEHOLDER: Option<&'static str> = Some("VALUE");

    /// Whether a flag of it can be given several times.
    const REPEATS: bool = false;

    /// Reads a text.
    fn read(text: &str) -> Option<Self>;

    /// Reads a value of a source; `None` if it is not as expected.
    fn take(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => Self::read(text.trim()),
            Raw::List(_) | Raw::Table(_) => None,
        }
    }

    /// The text of which [`Self::read`] makes this value; `None` where nothing is set.
    fn show(&self) -> Option<String>;
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl Value for $number {
            const EXPECTED: &'static str = "a whole number";
            const PLACEHOLDER: Option<&'static str> = Some("N");

            fn read(text: &str) -> Option<Self> {
                text.replace('_', "").parse().ok()
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )+};
}

numbers!(u16, u32, u64, usize);

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    const PLACEHOLDER: Option<&'static str> = None;

    fn read(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "a text";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::new(text))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";
    const PLACEHOLDER: Option<&'static str> = Some("PATH");

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }

    fn show(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl Value for IpAddr {
    const EXPECTED: &'static str = "an IP address, for example 127.0.0.1 or 0.0.0.0";
    const PLACEHOLDER: Option<&'static str> = Some("ADDRESS");

    fn read(text: &str) -> Option<Self> {
        match text {
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            _ => text.parse().ok(),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a time such as 30s, 5m, 12h or 30d";
    const PLACEHOLDER: Option<&'static str> = Some("TIME");

    fn read(text: &str) -> Option<Self> {
        read_duration(text)
    }

    fn show(&self) -> Option<String> {
        Some(show_duration(*self))
    }
}

impl Value for KeepAlive {
    const EXPECTED: &'static str = "a time such as 5m; 0 for no time, -1 for ever";
    const PLACEHOLDER: Option<&'static str> = Some("TIME");

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Forever => "-1".to_owned(),
            Self::For(time) => show_duration(*time),
        })
    }
}

impl Value for NonZeroUsize {
    const EXPECTED: &'static str = "a whole number, 1 or more";
    const PLACEHOLDER: Option<&'static str> = Some("N");

    fn read(text: &str) -> Option<Self> {
        Self::new(usize::read(text)?)
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// The priority of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority(pub u8);

impl Value for Priority {
    const EXPECTED: &'static str = "a whole number from 0 to 10";
    const PLACEHOLDER: Option<&'static str> = Some("N");

    fn read(text: &str) -> Option<Self> {
        let number = text.parse().ok()?;
        (number <= MAX_PRIORITY).then_some(Self(number))
    }

    fn show(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

impl Value for Strategy {
    const EXPECTED: &'static str = "least_connections or round_robin";
    const PLACEHOLDER: Option<&'static str> = Some("STRATEGY");

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> Option<String> {
        Some(self.name().to_owned())
    }
}

impl Value for Quantize {
    const EXPECTED: &'static str = "none, 8 or 4";
    const PLACEHOLDER: Option<&'static str> = Some("BITS");

    fn read(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::No),
            "8" => Some(Self::Bits(8)),
            "4" => Some(Self::Bits(4)),
            _ => None,
        }
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::No => "none".to_owned(),
            Self::Bits(bits) => bits.to_string(),
        })
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Bytes {
    /// As a length in memory.
    pub fn length(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Units of bytes, each 1024 of the one before.
const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];

impl Value for Bytes {
    const EXPECTED: &'static str = "a size such as 512MB or 8GB";
    const PLACEHOLDER: Option<&'static str> = Some("SIZE");

    fn read(text: &str) -> Option<Self> {
        let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        let unit = unit.trim().to_ascii_uppercase().replace("IB", "B");
        let power = match unit.as_str() {
            "" => 0,
            unit => UNITS
                .iter()
                .position(|own| *own == unit || own.trim_end_matches('B') == unit)?,
        };
        let bytes = number.parse::<f64>().ok()? * 1024_f64.powi(power as i32);
        (bytes.is_finite() && bytes < u64::MAX as f64).then_some(Self(bytes as u64))
    }

    fn show(&self) -> Option<String> {
        let mut power = 0;
        while power + 1 < UNITS.len()
            && self.0 != 0
            && self.0.is_multiple_of(1 << (10 * (power + 1)))
        {
            power += 1;
        }
        Some(format!("{}{}", self.0 >> (10 * power), UNITS[power]))
    }
}

impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const PLACEHOLDER: Option<&'static str> = T::PLACEHOLDER;
    const REPEATS: bool = T::REPEATS;

    fn read(text: &str) -> Option<Self> {
        T::read(text).map(Some)
    }

    fn take(raw: &Raw) -> Option<Self> {
        T::take(raw).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Value::show)
    }
}

impl Value for Vec<String> {
    const EXPECTED: &'static str = "a list";
    const REPEATS: bool = true;

    fn read(text: &str) -> Option<Self> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        Some(parts.map(str::to_owned).collect())
    }

    fn take(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => Self::read(text),
            Raw::List(parts) => Some(parts.clone()),
            Raw::Table(_) => None,
        }
    }

    fn show(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.join(", "))
    }
}

/// Names that stand for something: `NAME=VALUE`.
pub type Names = BTreeMap<String, String>;

impl Value for Names {
    const EXPECTED: &'static str = "NAME=VALUE";
    const PLACEHOLDER: Option<&'static str> = Some("NAME=VALUE");
    const REPEATS: bool = true;

    fn read(text: &str) -> Option<Self> {
        let parts: Vec<String> = Value::read(text)?;
        Self::take(&Raw::List(parts))
    }

    fn take(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => Self::read(text),
            Raw::List(parts) => {
                let pairs = parts.iter().map(|part| {
                    let (name, value) = part.split_once('=')?;
                    let is_whole = !name.is_empty() && !value.is_empty();
                    is_whole.then(|| (name.to_owned(), value.to_owned()))
                });
                pairs.collect()
            }
            Raw::Table(pairs) => Some(pairs.iter().cloned().collect()),
        }
    }

    fn show(&self) -> Option<String> {
        let pairs: Vec<String> = self
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.show()
    }
}

macro_rules! words {
    ($(#[$attribute:meta])* $type:ident, $expected:literal, $($(#[$doc:meta])* $variant:ident = $word:literal),+) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$doc])* $variant,)+
        }

        impl $type {
            /// The word for it.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Option<Self> {
                [$(Self::$variant),+].into_iter().find(|own| own.word().eq_ignore_ascii_case(text))
            }

            fn show(&self) -> Option<String> {
                Some(self.word().to_owned())
            }
        }
    };
}

pub(super) use words;

words!(
    /// From which level up log lines are kept.
    LogLevel, "DEBUG, INFO, WARNING or ERROR",
    /// Everything.
    Debug = "DEBUG",
    /// What happens.
    Info = "INFO",
    /// What is not as it should be.
    Warning = "WARNING",
    /// What failed.
    Error = "ERROR"
);

words!(
    /// The type that keys and values are kept in.
    CacheType, "f16, q16, q8_0 or f32",
    /// Half precision.
    F16 = "f16",
    /// Whole numbers of 14 bits, with a scale for each token and head.
    Q16 = "q16",
    /// Eight bits, with a scale for each 32 values.
    Q8 = "q8_0",
    /// Single precision.
    F32 = "f32"
);

words!(
    /// What models run on.
    Device, "auto or cpu; this version computes on the processor only",
    /// The best that can be used, which is the processor.
    Auto = "auto",
    /// The processor.
    Cpu = "cpu"
);

/// `30s`, `5m`, `12h`, `30d`, several of them (`1h30m`), or a number of seconds.
pub fn read_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..]
            .find(|letter: char| letter.is_ascii_digit())
            .map_or(rest.len(), |place| end + place);
        let part = match &rest[end..unit_end] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        sum = sum.checked_add(part)?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(sum)
}

fn show_duration(duration: Duration) -> String {
    if duration.subsec_nanos() > 0 {
        return format!("{}ms", duration.as_millis());
    }
    let seconds = duration.as_secs();
    for (unit, size) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds > 0 && seconds.is_multiple_of(size) {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        fn there_and_back<T: Value + PartialEq + std::fmt::Debug>(texts: &[(&str, &str)]) {
            for (text, shown) in texts {
                let value = T::read(text).unwrap_or_else(|| panic!("{text} is read"));
                assert_eq!(value.show().as_deref(), Some(*shown));
                assert_eq!(T::read(shown), Some(value));
            }
        }
        there_and_back::<u32>(&[("1_000", "1000")]);
        there_and_back::<bool>(&[("TRUE", "true"), ("off", "false")]);
        there_and_back::<IpAddr>(&[("localhost", "127.0.0.1"), ("::1", "::1")]);
        there_and_back::<Duration>(&[
            ("90", "90s"),
            ("1h30m", "90m"),
            ("30d", "30d"),
            ("250ms", "250ms"),
            ("0", "0s"),
        ]);
        there_and_back::<Bytes>(&[
            ("512MB", "512MB"),
            ("1.5 GiB", "1536MB"),
            ("8g", "8GB"),
            ("0", "0B"),
            ("1023", "1023B"),
        ]);
        there_and_back::<LogLevel>(&[("warning", "WARNING")]);
        there_and_back::<Names>(&[("a=b,c=d", "a=b, c=d")]);
        there_and_back::<KeepAlive>(&[("5m", "5m"), ("-1", "-1"), ("0", "0s"), ("1h30m", "90m")]);
        there_and_back::<NonZeroUsize>(&[("3", "3")]);
        there_and_back::<Priority>(&[("0", "0"), ("10", "10")]);
        there_and_back::<Strategy>(&[("round_robin", "round_robin")]);
        there_and_back::<Quantize>(&[("none", "none"), ("8", "8"), ("4", "4")]);
        there_and_back::<Option<u16>>(&[("7", "7")]);
    }

    #[test]
    fn what_is_not_as_expected_is_not_read() {
        assert_eq!(u16::read("65536"), None);
        assert_eq!(u32::read("-1"), None);
        assert_eq!(bool::read("perhaps"), None);
        assert_eq!(NonZeroUsize::read("0"), None);
        assert_eq!(Priority::read("11"), None);
        assert_eq!(Strategy::read("random"), None);
        assert_eq!(Quantize::read("5"), None);
        assert_eq!(IpAddr::read("example.org"), None);
        for text in [
            "",
            "30x",
            "d",
            "-1",
            "1e99",
            "99999999999999999999d",
            "5m x",
        ] {
            assert_eq!(Duration::read(text), None, "{text}");
        }
        for text in ["", "MB", "1QB", "1e9", "-1MB"] {
            assert_eq!(Bytes::read(text), None, "{text}");
        }
        for text in ["a", "=b", "a="] {
            assert_eq!(Names::read(text), None, "{text}");
        }
        assert_eq!(u16::take(&Raw::List(vec!["1".into()])), None);
    }
}
