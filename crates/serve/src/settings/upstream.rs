//! The entries `[[upstream]]` of a file of settings: services on other machines that serve models too.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use axum::http::Uri;
use serde_json::Value as Json;

use super::entry::{Entry, Fault};
use super::table::Settings;
use super::value::{Value, words};
use super::{Names, Secret};

/// The names that an entry may have.
const FIELDS: [&str; 8] = [
    "name",
    "service",
    "base_url",
    "key",
    "models",
    "aliases",
    "timeout",
    "allow_http",
];

/// How long a service may take where its entry does not say.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The longest that it may be allowed.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

words!(
    /// Whose service it is, which decides the limits that the server keeps towards it and the header in which a
    /// request may bring a key of its own.
    Service, "openai, baseten or other",
    /// OpenAI's, or one that has its limits: `X-OpenAI-Key`.
    OpenAi = "openai",
    /// Baseten's: `X-Baseten-Key`.
    Baseten = "baseten",
    /// One of the operator's own, without limits; requests bring no key.
    Other = "other"
);

/// A service on another machine that serves models over OpenAI's API.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// What the operator calls it.
    pub name: String,
    /// Whose it is.
    pub service: Service,
    /// Where its API lies, without a slash at the end: `https://api.openai.com/v1`.
    pub base_url: String,
    /// The key for it.
    pub key: Option<Secret>,
    /// Its models: the name that requests here use, and its own name for it.
    pub models: Names,
    /// How long it may take to begin its answer and to go on with it, and to give an answer that is not streamed.
    pub timeout: Duration,
}

/// Reads all entries of a file.
pub fn read(entries: &Json) -> Result<Vec<Upstream>, Fault> {
    let expected = "a list of tables, each written [[upstream]]";
    let Some(items) = entries.as_array() else {
        return Err(Fault::invalid("upstream", expected));
    };
    let entries = items.iter().enumerate().map(|(index, item)| {
        let place = format!("upstream[{index}]");
        match item.as_object() {
            Some(fields) => Entry { place, fields }.read(),
            None => Err(Fault::invalid(place, "a table")),
        }
    });
    entries.collect()
}

/// Gives the service of speech the model that `MODEL_ID` names, where its entry names none, and refuses names that
/// would stand for two things.
pub fn complete(settings: &mut Settings) -> Result<(), Fault> {
    let (mut names, mut taken) = (HashSet::new(), HashSet::new());
    taken.extend(
        settings
            .aliases
            .keys()
            .chain(settings.named_models.keys())
            .cloned(),
    );
    for (index, upstream) in settings.upstreams.iter_mut().enumerate() {
        let place = |field: &str| format!("upstream[{index}].{field}");
        if !names.insert(upstream.name.clone()) {
            return Err(Fault::invalid(place("name"), "a name of its own"));
        }
        if upstream.models.is_empty() {
            let model = settings.upstream_model.clone();
            let Some(model) = model.filter(|_| upstream.service == Service::Baseten) else {
                let expected = "at least one model, there or in 'aliases'";
                return Err(Fault::invalid(place("models"), expected));
            };
            upstream.models.insert(model.clone(), model);
        }
        for model in upstream.models.keys() {
            if !taken.insert(model.clone()) {
                let expected = format!("names that nothing else has; there is another '{model}'");
                return Err(Fault::invalid(place("models"), expected));
            }
        }
    }
    Ok(())
}

impl Entry<'_> {
    fn read(self) -> Result<Upstream, Fault> {
        self.check_names(&FIELDS)?;
        let name: String = self.required("name")?;
        if !is_name(&name) {
            let expected = "1 to 64 letters, digits and characters of '._-'";
            return Err(Fault::invalid(self.place("name"), expected));
        }
        Ok(Upstream {
            name,
            service: self.value("service")?.unwrap_or(Service::OpenAi),
            base_url: self.base_url()?,
            key: self.value("key")?,
            models: self.models()?,
            timeout: self.timeout()?,
        })
    }

    fn timeout(&self) -> Result<Duration, Fault> {
        let timeout = self.value("timeout")?.unwrap_or(TIMEOUT);
        match timeout.is_zero() || timeout > LONGEST_TIMEOUT {
            true => Err(Fault::invalid(
                self.place("timeout"),
                "a time such as 30s, up to 1d",
            )),
            false => Ok(timeout),
        }
    }

    /// An `https` address; `http` on this machine, or where it is allowed.
    fn base_url(&self) -> Result<String, Fault> {
        let text: String = self.required("base_url")?;
        let expected =
            "an address such as https://api.openai.com/v1, without user, query or fragment";
        let invalid = || Fault::invalid(self.place("base_url"), expected);
        let url: Uri = text.parse().map_err(|_| invalid())?;
        let host = url.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(invalid)?;
        let has_user = url
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'));
        if has_user || url.query().is_some() || text.contains('#') {
            return Err(invalid());
        }
        let allows_http = self.value("allow_http")?.unwrap_or(false);
        match url.scheme_str() {
            Some("https") => {}
            Some("http") => {
                if !is_loopback(host) && !allows_http {
                    let expected = "an https address, or 'allow_http = true' where keys and prompts may pass unencrypted";
                    return Err(Fault::invalid(self.place("base_url"), expected));
                }
            }
            _ => return Err(invalid()),
        }
        Ok(text.trim_end_matches('/').to_owned())
    }

    /// The models by the service's own names, then those that have another name here.
    fn models(&self) -> Result<Names, Fault> {
        let mut names = Names::new();
        let expected = "a list of names";
        let invalid = || Fault::invalid(self.place("models"), expected);
        if let Some(models) = self.get("models") {
            for model in models.as_array().ok_or_else(invalid)? {
                let model = model.as_str().filter(|name| is_model(name));
                let model = model.ok_or_else(invalid)?;
                names.insert(model.to_owned(), model.to_owned());
            }
        }
        let expected = "a table of names that 'models' does not have, each NAME = 'MODEL'";
        let invalid = || Fault::invalid(self.place("aliases"), expected);
        if let Some(aliases) = self.get("aliases") {
            for (name, model) in aliases.as_object().ok_or_else(invalid)? {
                let model = model
                    .as_str()
                    .filter(|model| is_model(name) && is_model(model));
                let model = model.ok_or_else(invalid)?;
                if names.insert(name.clone(), model.to_owned()).is_some() {
                    return Err(invalid());
                }
            }
        }
        Ok(names)
    }
}

fn is_name(text: &str) -> bool {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    (1..=64).contains(&text.len()) && text.chars().all(is_good)
}

fn is_model(text: &str) -> bool {
    (1..=256).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether `host` is this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_local = address
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback());
    is_local || host.eq_ignore_ascii_case("localhost")
}

/// The entry as it stands in a file, its key hidden.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name = {:?}", self.name)?;
        writeln!(f, "service = {:?}", self.service.word())?;
        writeln!(f, "base_url = {:?}", self.base_url)?;
        if let Some(key) = &self.key {
            writeln!(f, "key = \"{key}\"")?;
        }
        writeln!(f, "timeout = {:?}", self.timeout.show().unwrap_or_default())?;
        let aliases = self
            .models
            .iter()
            .map(|(name, model)| format!("{name:?} = {model:?}"));
        writeln!(
            f,
            "aliases = {{ {} }}",
            aliases.collect::<Vec<_>>().join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(change: Json) -> Result<Upstream, Fault> {
        let mut entry =
            json!({"name": "far", "base_url": "https://far.example/v1/", "models": ["big"]});
        let (Some(fields), Json::Object(change)) = (entry.as_object_mut(), change) else {
            panic!("not objects")
        };
        fields.extend(change);
        read(&json!([entry])).map(|mut entries| entries.remove(0))
    }

    #[test]
    fn an_entry_is_read() {
        let entry = one(json!({
            "service": "other", "key": "sk-1", "timeout": "30s", "aliases": {"fast": "small-2026"},
        }));
        let entry = entry.expect("all is well");
        assert_eq!(entry.base_url, "https://far.example/v1");
        assert_eq!(
            (entry.service, entry.timeout),
            (Service::Other, Duration::from_secs(30))
        );
        let models = [("big", "big"), ("fast", "small-2026")];
        let models = models.map(|(name, model)| (name.to_owned(), model.to_owned()));
        assert_eq!(entry.models, Names::from(models));
        assert!(!entry.to_string().contains("sk-1") && !format!("{entry:?}").contains("sk-1"));
        let plain = one(json!({})).expect("the rest is not needed");
        assert_eq!((plain.service, plain.timeout), (Service::OpenAi, TIMEOUT));
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for (change, field) in [
            (json!({"name": null}), "name"),
            (json!({"name": "a b"}), "name"),
            (json!({"service": "openia"}), "service"),
            (json!({"base_url": "far.example"}), "base_url"),
            (json!({"base_url": "ftp://far.example"}), "base_url"),
            (json!({"base_url": "https://me:pw@far.example"}), "base_url"),
            (
                json!({"base_url": "https://far.example/v1?key=1"}),
                "base_url",
            ),
            (json!({"base_url": "http://far.example/v1"}), "base_url"),
            (
                json!({"base_url": "http://127.0.0.1.example/v1"}),
                "base_url",
            ),
            (json!({"models": "big"}), "models"),
            (json!({"models": [1]}), "models"),
            (json!({"aliases": ["big"]}), "aliases"),
            (json!({"aliases": {"big": "other"}}), "aliases"),
            (json!({"timeout": "soon"}), "timeout"),
            (json!({"timeout": 0}), "timeout"),
            (json!({"timeout": "2d"}), "timeout"),
            (json!({"allow_http": "perhaps"}), "allow_http"),
            (json!({"key": ["sk-1"]}), "key"),
        ] {
            let Err(Fault::Invalid(place, expected)) = one(change.clone()) else {
                panic!("{change}")
            };
            assert_eq!(place, format!("upstream[0].{field}"), "{change}");
            assert!(!expected.contains("sk-1"));
        }
        let unknown = Fault::Unknown("upstream[0].modles".into(), Some("models"));
        assert_eq!(one(json!({"modles": []})), Err(unknown));
        for url in [
            "http://127.0.0.1:9/v1",
            "http://[::1]:9",
            "http://localhost:9/v1",
        ] {
            assert!(one(json!({"base_url": url})).is_ok(), "{url}");
        }
        assert!(one(json!({"base_url": "http://far.example", "allow_http": true})).is_ok());
    }

    #[test]
    fn names_stand_for_one_thing() {
        let complete = |entries: Json, model: Option<&str>| {
            let mut settings = Settings {
                upstreams: read(&entries).expect("all is well"),
                upstream_model: model.map(str::to_owned),
                ..Settings::default()
            };
            settings.aliases.insert("taken".into(), "ember".into());
            complete(&mut settings).map(|()| settings.upstreams)
        };
        let entry = |name: &str, service: &str, models: &[&str]| json!({"name": name, "service": service, "base_url": "https://far.example", "models": models});
        for entries in [
            json!([entry("a", "openai", &["taken"])]),
            json!([entry("a", "openai", &["x"]), entry("b", "openai", &["x"])]),
            json!([entry("a", "openai", &["x"]), entry("a", "openai", &["y"])]),
            json!([entry("a", "openai", &[])]),
            json!([entry("a", "baseten", &[])]),
        ] {
            assert!(complete(entries.clone(), None).is_err(), "{entries}");
        }
        let told = complete(json!([entry("a", "baseten", &[])]), Some("voice"));
        let told = told.expect("the variable names the model");
        assert_eq!(
            told[0].models,
            Names::from([("voice".into(), "voice".into())])
        );
    }
}
