//! Settings: one table of them, and the sources that they are read from.

mod entry;
mod load;
mod models;
mod offer;
mod secret;
mod table;
mod upstream;
mod value;

pub use load::{ConfigError, Loaded, Origin, Sources, UPSTREAM};
pub use models::{MODEL_TABLE, ModelChoices, ModelSetting, Models};
pub use offer::{Offer, SPEECH, Source, Speech};
pub use secret::Secret;
pub use table::{Setting, Settings, TABLE};
pub use upstream::{Service, Upstream};
pub use value::{Bytes, CacheType, Device, LogLevel, Names, Priority, Raw, Value, read_duration};

use crate::limits::Rules;

impl Settings {
    /// What clients may use. The built-in limits are enforced while authentication is on; a limit that the
    /// operator sets is enforced always.
    pub fn rules(&self) -> Rules {
        let built_in = Rules::default();
        Rules {
            requests_per_minute: self.rate_limit.unwrap_or(built_in.requests_per_minute),
            burst: self.burst_limit.unwrap_or(built_in.burst),
            enforced: self.auth || self.rate_limit.is_some() || self.burst_limit.is_some(),
            tokens_per_minute: self.tokens_per_minute,
            tokens_per_day: self.tokens_per_day,
            concurrent: self.concurrent_requests,
        }
    }

    /// Takes from `new` what can change while the server runs. Gives the keys that did, and those that
    /// differ and cannot.
    pub fn renew(&mut self, new: &Self) -> (Vec<&'static str>, Vec<&'static str>) {
        let (mut changed, mut kept) = (Vec::new(), Vec::new());
        for setting in TABLE {
            if setting.live {
                if (setting.copy)(self, new) {
                    changed.push(setting.key);
                }
            } else if (setting.copy)(&mut self.clone(), new) {
                kept.push(setting.key);
            }
        }
        if self.models != new.models {
            kept.push("models");
        }
        if self.upstreams != new.upstreams {
            self.upstreams.clone_from(&new.upstreams);
            changed.push(UPSTREAM);
        }
        if self.offers != new.offers {
            self.offers.clone_from(&new.offers);
            changed.push("models.json");
        }
        (changed, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_does_and_the_rest_stays() {
        let mut settings = Settings::default();
        let new = Settings {
            port: 1,
            rate_limit: Some(5),
            log_level: LogLevel::Debug,
            upstreams: vec![Upstream {
                name: "far".into(),
                service: Service::Other,
                base_url: "https://far.example".into(),
                key: None,
                models: Names::new(),
                timeout: std::time::Duration::from_secs(1),
            }],
            ..Settings::default()
        };
        let (changed, kept) = settings.renew(&new);
        assert_eq!(
            changed,
            ["limits.requests_per_minute", "logs.level", "upstream"]
        );
        assert_eq!(kept, ["server.port"]);
        assert_eq!((settings.port, settings.rate_limit), (8000, Some(5)));
        assert!(settings.rules().enforced);
        assert_eq!(settings.upstreams, new.upstreams);
    }

    #[test]
    fn built_in_limits_are_enforced_with_authentication_only() {
        assert!(!Settings::default().rules().enforced);
        let settings = Settings {
            auth: true,
            ..Settings::default()
        };
        let rules = settings.rules();
        assert_eq!(
            (rules.requests_per_minute, rules.burst, rules.enforced),
            (1000, 100, true)
        );
    }
}
