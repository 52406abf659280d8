//! From flags, environment and files to settings, and where each value came from.
//!
//! The strongest first: flags, environment, `.env`, `hearth.toml`, the files that the API's documents name
//! (`config.yaml`, `auth.yaml`, `inferno.toml`), defaults. Whatever no setting knows is an error. `models.json` lists
//! models that can be fetched, and is no setting.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::entry::Fault;
use super::models::{self, MODEL_TABLE};
use super::table::{self, Setting, Settings, TABLE};
use super::value::Raw;
use super::{offer, upstream};

/// Where settings are looked for.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// What flags said, by the flag's name.
    pub flags: Vec<(String, Raw)>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// A file to be read in the place of `hearth.toml`; it has to be there.
    pub file: Option<PathBuf>,
    /// Folders in which the files are looked for; of each the first that is found is read.
    pub folders: Vec<PathBuf>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// A key of a file.
    File(PathBuf, String),
    /// A variable of a `.env` file.
    DotEnv(PathBuf, String),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, key) => write!(f, "{} in {}", key, path.display()),
            Self::DotEnv(path, name) => write!(f, "{} in {}", name, path.display()),
            Self::Environment(name) => write!(f, "{name} in the environment"),
            Self::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

/// Why settings cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not written in its language.
    #[error("{}: {message}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        message: String,
    },
    /// No setting is called so.
    #[error("{place}: there is no setting '{name}'{}", suggest(.suggestion))]
    Unknown {
        /// Where it stands.
        place: String,
        /// What it is called.
        name: String,
        /// The nearest name that there is.
        suggestion: Option<String>,
    },
    /// The value is not what the setting takes. The value itself is not told, since it may be a secret.
    #[error("{origin}: {key} takes {expected}")]
    Invalid {
        /// Where it stands.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// An entry `[[upstream]]`, or one of `models.json`, is not as expected. The value itself is not told, as above.
    #[error("{}: {place} takes {expected}", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry and its field.
        place: String,
        /// What it takes.
        expected: String,
    },
}

impl ConfigError {
    fn entry(path: &Path, fault: Fault) -> Self {
        match fault {
            Fault::Unknown(name, nearest) => Self::Unknown {
                place: path.display().to_string(),
                name,
                suggestion: nearest.map(str::to_owned),
            },
            Fault::Invalid(place, expected) => Self::Entry {
                path: path.to_owned(),
                place,
                expected,
            },
        }
    }
}

fn suggest(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |nearest| {
        format!("; did you mean '{nearest}'?")
    })
}

/// Settings, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    origins: BTreeMap<&'static str, Origin>,
    /// The file `models.json`, which lists the models that can be fetched, where there is one.
    pub models_json: Option<PathBuf>,
    /// The file with the entries `[[upstream]]`, where there are any.
    pub upstreams_file: Option<PathBuf>,
}

/// What the tables of single models begin with.
const MODELS: &str = "models.";

/// The key of the services on other machines.
pub const UPSTREAM: &str = "upstream";

/// Variables of ours that are no settings: they hold before there are any.
const NO_SETTINGS: [&str; 5] = [
    "HEARTH_HOME",
    "HEARTH_LOG",
    "HEARTH_CPU",
    "HEARTH_CONFIG",
    "HEARTH_ONNXRUNTIME",
];

impl Loaded {
    /// Where the value of `setting` came from.
    pub fn origin(&self, setting: &Setting) -> &Origin {
        self.origins.get(setting.key).unwrap_or(&Origin::Default)
    }

    fn put(
        &mut self,
        setting: &'static Setting,
        raw: &Raw,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        if !(setting.set)(&mut self.settings, raw) {
            return Err(ConfigError::Invalid {
                origin,
                key: setting.key,
                expected: setting.expected,
            });
        }
        self.origins.insert(setting.key, origin);
        Ok(())
    }

    /// Puts what a file says; `prefix` is the table that the whole file is about.
    fn put_file(&mut self, path: &Path, prefix: &str) -> Result<(), ConfigError> {
        let tree = read_tree(path)?;
        self.put_tree(path, prefix, "", &tree)
    }

    /// Puts the models that `models.json` lists.
    fn put_offers(&mut self, path: PathBuf) -> Result<(), ConfigError> {
        let offers = offer::read(&read_tree(&path)?);
        self.settings.offers = offers.map_err(|fault| ConfigError::entry(&path, fault))?;
        self.models_json = Some(path);
        Ok(())
    }

    fn put_tree(
        &mut self,
        path: &Path,
        prefix: &str,
        key: &str,
        tree: &Json,
    ) -> Result<(), ConfigError> {
        let Json::Object(members) = tree else {
            let message = match key {
                "" => "expected a table of settings".to_owned(),
                key => format!("'{key}' is a table of settings"),
            };
            return Err(ConfigError::Malformed {
                path: path.to_owned(),
                message,
            });
        };
        for (name, value) in members {
            let key = join(key, name);
            if prefix.is_empty() && key == UPSTREAM {
                let entries = upstream::read(value);
                self.settings.upstreams =
                    entries.map_err(|fault| ConfigError::entry(path, fault))?;
                self.upstreams_file = Some(path.to_owned());
                continue;
            }
            // `auth.yaml` is about authentication, so its keys need not say so.
            let full = [key.clone(), join(prefix, &key)];
            if let Some(setting) = full.iter().find_map(|key| table::find(key)) {
                if value.is_null() {
                    continue;
                }
                let origin = Origin::File(path.to_owned(), key);
                let raw = raw_of(value).ok_or_else(|| ConfigError::Invalid {
                    origin: origin.clone(),
                    key: setting.key,
                    expected: setting.expected,
                })?;
                self.put(setting, &raw, origin)?;
            } else if full.iter().any(|key| is_table(key)) {
                self.put_tree(path, prefix, &key, value)?;
            } else if let (Some(model), Json::Object(members)) = (key.strip_prefix(MODELS), value) {
                self.put_model(path, model, members)?;
            } else {
                let keys = TABLE.iter().flat_map(|setting| {
                    let short = setting
                        .key
                        .strip_prefix(prefix)
                        .and_then(|key| key.strip_prefix('.'));
                    setting
                        .also
                        .iter()
                        .copied()
                        .chain([short.filter(|_| !prefix.is_empty()).unwrap_or(setting.key)])
                });
                let keys = keys.chain([UPSTREAM]);
                return Err(ConfigError::Unknown {
                    place: path.display().to_string(),
                    suggestion: table::nearest(&key, keys).map(str::to_owned),
                    name: key,
                });
            }
        }
        Ok(())
    }

    /// Puts what a file says about one model.
    fn put_model(
        &mut self,
        path: &Path,
        model: &str,
        members: &serde_json::Map<String, Json>,
    ) -> Result<(), ConfigError> {
        for (key, value) in members {
            let place = format!("{MODELS}{model}.{key}");
            let Some(setting) = models::find(key) else {
                let keys = MODEL_TABLE.iter().map(|setting| setting.key);
                return Err(ConfigError::Unknown {
                    place: path.display().to_string(),
                    suggestion: table::nearest(key, keys).map(str::to_owned),
                    name: place,
                });
            };
            if value.is_null() {
                continue;
            }
            let origin = Origin::File(path.to_owned(), place);
            let models = &mut self.settings.models;
            let put = |raw| models.put(model, setting, &raw, origin.clone());
            if !raw_of(value).is_some_and(put) {
                return Err(ConfigError::Invalid {
                    origin,
                    key: setting.key,
                    expected: setting.expected,
                });
            }
        }
        Ok(())
    }

    fn put_environment<'v>(
        &mut self,
        variables: impl Iterator<Item = (&'v str, &'v str)>,
        place: &str,
        origin: impl Fn(&str) -> Origin,
    ) -> Result<(), ConfigError> {
        let variables: BTreeMap<&str, &str> =
            variables.filter(|(_, value)| !value.is_empty()).collect();
        for setting in TABLE {
            // The strongest of a setting's variables is read last.
            for &name in setting.env.iter().rev() {
                if let Some(value) = variables.get(name) {
                    self.put(setting, &Raw::Text((*value).to_owned()), origin(name))?;
                }
            }
        }
        let known = || TABLE.iter().flat_map(|setting| setting.env.iter().copied());
        for &name in variables.keys().filter(|name| name.starts_with("HEARTH_")) {
            if !NO_SETTINGS.contains(&name) && !known().any(|own| own == name) {
                return Err(ConfigError::Unknown {
                    place: place.to_owned(),
                    name: name.to_owned(),
                    suggestion: table::nearest(name, known()).map(str::to_owned),
                });
            }
        }
        Ok(())
    }
}

impl Sources {
    /// Reads all of them.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut loaded = self.load_all()?;
        if let Some(path) = &loaded.upstreams_file {
            upstream::complete(&mut loaded.settings)
                .map_err(|fault| ConfigError::entry(path, fault))?;
        }
        Ok(loaded)
    }

    fn load_all(&self) -> Result<Loaded, ConfigError> {
        let mut loaded = Loaded {
            settings: Settings::default(),
            origins: BTreeMap::new(),
            models_json: None,
            upstreams_file: None,
        };
        if let Some(path) = self.look("models.json") {
            loaded.put_offers(path)?;
        }
        for (name, prefix) in [("inferno.toml", ""), ("config.yaml", "")] {
            if let Some(path) = self.look(name) {
                loaded.put_file(&path, prefix)?;
            }
        }
        let main = self.file.clone().or_else(|| self.look("hearth.toml"));
        let dot_env = self
            .look(".env")
            .map(|path| read_dot_env(&path))
            .transpose()?;

        // The authentication file is read only where authentication is on, which stronger sources decide.
        let mut stronger = loaded.clone();
        self.put_strong(&mut stronger, main.as_deref(), dot_env.as_ref())?;
        if let Some(path) = self.look("auth.yaml") {
            let mut with_file = loaded.clone();
            with_file.put_file(&path, "auth")?;
            let own_word = with_file.settings.auth;
            let decided = *stronger.origin(auth_setting()) != Origin::Default;
            let is_on = match decided {
                true => stronger.settings.auth,
                false => own_word,
            };
            if is_on {
                self.put_strong(&mut with_file, main.as_deref(), dot_env.as_ref())?;
                return Ok(with_file);
            }
        }
        Ok(stronger)
    }

    /// What is stronger than the documents' files.
    fn put_strong(
        &self,
        loaded: &mut Loaded,
        main: Option<&Path>,
        dot_env: Option<&DotEnv>,
    ) -> Result<(), ConfigError> {
        if let Some(path) = main {
            loaded.put_file(path, "")?;
        }
        if let Some(DotEnv { path, variables }) = dot_env {
            let place = path.display().to_string();
            let origin = |name: &str| Origin::DotEnv(path.clone(), name.to_owned());
            loaded.put_environment(pairs(variables), &place, origin)?;
        }
        let origin = |name: &str| Origin::Environment(name.to_owned());
        loaded.put_environment(pairs(&self.environment), "the environment", origin)?;
        for setting in TABLE {
            let given = self
                .flags
                .iter()
                .find(|(flag, _)| Some(flag.as_str()) == setting.flag);
            if let Some((flag, raw)) = given {
                loaded.put(setting, raw, Origin::Flag(flag.clone()))?;
            }
        }
        Ok(())
    }

    fn look(&self, name: &str) -> Option<PathBuf> {
        let paths = self.folders.iter().map(|folder| folder.join(name));
        paths.into_iter().find(|path| path.is_file())
    }
}

fn auth_setting() -> &'static Setting {
    table::find("auth.enabled").expect("the table has it; this is a bug")
}

fn pairs(variables: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

fn join(table: &str, key: &str) -> String {
    match table {
        "" => key.to_owned(),
        table => format!("{table}.{key}"),
    }
}

/// Whether settings lie below `key`.
fn is_table(key: &str) -> bool {
    let below = |own: &str| {
        own.strip_prefix(key)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    TABLE
        .iter()
        .any(|setting| below(setting.key) || setting.also.iter().any(|own| below(own)))
}

/// A file as a tree.
fn read_tree(path: &Path) -> Result<Json, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// A text as a tree, by the language that its file's name tells.
fn parse(path: &Path, text: &str) -> Result<Json, ConfigError> {
    let end = path.extension().and_then(|end| end.to_str());
    let parsed = match end {
        Some("json") => serde_json::from_str(text).map_err(|error| error.to_string()),
        // An empty file says nothing.
        Some("yaml" | "yml") if text.trim().is_empty() => Ok(Json::Object(serde_json::Map::new())),
        Some("yaml" | "yml") => serde_yaml_ng::from_str(text).map_err(|error| error.to_string()),
        _ => toml::from_str(text)
            .map_err(|error: toml::de::Error| error.message().to_owned() + &line_of(&error, text)),
    };
    parsed.map_err(|message| ConfigError::Malformed {
        path: path.to_owned(),
        message,
    })
}

/// The line of an error. The line itself is not shown: it may hold a secret.
fn line_of(error: &toml::de::Error, text: &str) -> String {
    let start = error.span().map(|span| span.start);
    let before = start.and_then(|start| text.get(..start));
    before.map_or_else(String::new, |before| {
        format!(" in line {}", before.matches('\n').count() + 1)
    })
}

fn raw_of(value: &Json) -> Option<Raw> {
    let scalar = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Json::Array(items) => items
            .iter()
            .map(scalar)
            .collect::<Option<_>>()
            .map(Raw::List),
        Json::Object(members) => {
            let pairs = members
                .iter()
                .map(|(name, value)| Some((name.clone(), scalar(value)?)));
            pairs.collect::<Option<_>>().map(Raw::Table)
        }
        value => scalar(value).map(Raw::Text),
    }
}

/// A `.env` file.
struct DotEnv {
    path: PathBuf,
    variables: Vec<(String, String)>,
}

/// Reads `NAME=value` lines; `export` before, quotes around and comments are understood.
fn read_dot_env(path: &Path) -> Result<DotEnv, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            let message = format!("line {} is no NAME=value", number + 1);
            return Err(ConfigError::Malformed {
                path: path.to_owned(),
                message,
            });
        };
        let value = value.trim();
        let quoted = ['"', '\''].into_iter().find_map(|quote| {
            value
                .strip_prefix(quote)?
                .split_once(quote)
                .map(|(inside, _)| inside)
        });
        let value = quoted.unwrap_or_else(|| value.split(" #").next().unwrap_or_default().trim());
        variables.push((name.trim().to_owned(), value.to_owned()));
    }
    Ok(DotEnv {
        path: path.to_owned(),
        variables,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::LogLevel;

    fn sources(files: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let folders = vec![folder.path().to_owned()];
        (
            folder,
            Sources {
                folders,
                ..Sources::default()
            },
        )
    }

    fn origin(loaded: &Loaded, key: &str) -> String {
        let origin = loaded
            .origin(table::find(key).expect("a setting"))
            .to_string();
        // Without the folder, which is another each time.
        origin
            .split_once(" in /")
            .map_or(origin.clone(), |(key, path)| {
                format!("{key} in {}", path.rsplit('/').next().unwrap_or_default())
            })
    }

    #[test]
    fn the_strongest_source_decides() {
        let files = [
            (
                "config.yaml",
                "server:\n  port: 1001\nlogs: {level: debug}\n",
            ),
            (
                "inferno.toml",
                "[security]\nrate_limit = 50\nburst_limit = 5\n",
            ),
            (
                "hearth.toml",
                "[server]\nport = 1002\nenvironment = 'test'\n",
            ),
            (
                ".env",
                "# ours\nexport HEARTH_PORT=1003\nOTHER=1\nBATCH_SIZE=\"8\" # mine\n",
            ),
        ];
        let (_folder, mut sources) = sources(&files);
        let loaded = sources.load().expect("all is well");
        assert_eq!(
            (
                loaded.settings.port,
                origin(&loaded, "server.port").as_str()
            ),
            (1003, "HEARTH_PORT in .env")
        );
        assert_eq!(loaded.settings.log_level, LogLevel::Debug);
        assert_eq!(
            (loaded.settings.rate_limit, loaded.settings.burst_limit),
            (Some(50), Some(5))
        );
        assert_eq!(
            origin(&loaded, "limits.burst"),
            "security.burst_limit in inferno.toml"
        );
        assert_eq!(loaded.settings.max_sequences, 8);
        assert_eq!(loaded.settings.environment, "test");

        sources.environment = vec![
            ("HEARTH_PORT".into(), "1004".into()),
            ("PATH".into(), "/bin".into()),
        ];
        let loaded = sources.load().expect("all is well");
        assert_eq!(
            (
                loaded.settings.port,
                origin(&loaded, "server.port").as_str()
            ),
            (1004, "HEARTH_PORT in the environment")
        );
        sources.flags = vec![("port".into(), Raw::Text("1005".into()))];
        let loaded = sources.load().expect("all is well");
        assert_eq!(
            (
                loaded.settings.port,
                origin(&loaded, "server.port").as_str()
            ),
            (1005, "--port")
        );
        assert_eq!(origin(&loaded, "server.host"), "default");
    }

    #[test]
    fn our_variable_is_stronger_than_the_documented_one() {
        let (_folder, mut sources) = sources(&[]);
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        sources.environment = vec![
            set("ENABLE_AUTH", "true"),
            set("LOG_LEVEL", "ERROR"),
            set("HEARTH_LOG_LEVEL", "DEBUG"),
        ];
        let settings = sources.load().expect("all is well").settings;
        assert!(settings.auth);
        assert_eq!(settings.log_level, LogLevel::Debug);
    }

    #[test]
    fn the_file_about_authentication_is_read_only_where_it_is_on() {
        let closed = ("auth.yaml", "registration: false\n");
        let (_folder, mut sources) = sources(&[closed]);
        assert!(sources.load().expect("all is well").settings.registration);
        sources.environment = vec![("ENABLE_AUTH".into(), "true".into())];
        assert!(!sources.load().expect("all is well").settings.registration);

        let (_folder, mut sources) =
            super::tests::sources(&[("auth.yaml", "enabled: true\nregistration: false\n")]);
        let settings = sources.load().expect("all is well").settings;
        assert!(settings.auth && !settings.registration);
        sources.environment = vec![("ENABLE_AUTH".into(), "false".into())];
        let settings = sources.load().expect("all is well").settings;
        assert!(!settings.auth && settings.registration);
    }

    #[test]
    fn what_no_setting_knows_is_an_error_with_the_nearest() {
        for (name, text, words) in [
            (
                "hearth.toml",
                "[server]\nprot = 1\n",
                &["server.prot", "'server.port'"][..],
            ),
            (
                "hearth.toml",
                "[severs]\nport = 1\n",
                &["severs", "hearth.toml"],
            ),
            (
                "inferno.toml",
                "[security]\nrate_limits = 1\n",
                &["'security.rate_limit'"],
            ),
            ("config.yaml", "logs: {levels: INFO}\n", &["'logs.level'"]),
            (".env", "HEARTH_PROT=1\n", &["HEARTH_PROT", "'HEARTH_PORT'"]),
            (
                "auth.yaml",
                "enabled: true\nregistratoin: false\n",
                &["'registration'"],
            ),
            (
                "hearth.toml",
                "[server]\nport = 99999\n",
                &["server.port", "a whole number"],
            ),
            (
                "hearth.toml",
                "[server]\nport = [1]\n",
                &["server.port", "a whole number"],
            ),
            ("hearth.toml", "server = 1\n", &["'server' is a table"]),
            ("hearth.toml", "[server\n", &["hearth.toml", "line 1"]),
            ("config.yaml", "a: [\n", &["config.yaml"]),
            (
                ".env",
                "DEVICE=cuda\n",
                &["DEVICE", "engine.device", "auto or cpu"],
            ),
            (".env", "HEARTH_BATCH_SIZE=4\n", &["HEARTH_BATCH_SIZE"]),
            (
                "hearth.toml",
                "[[upstream]]\nname = 'far'\nbase_url = 'http://far.example'\n",
                &["upstream[0].base_url", "https"],
            ),
            (
                "hearth.toml",
                "[[upstream]]\nname = 'far'\nbase_urls = ''\n",
                &["upstream[0].base_urls", "'base_url'"],
            ),
            (
                "hearth.toml",
                "[[upstream]]\nname = 'far'\nbase_url = 'https://far.example'\n",
                &["upstream[0].models", "at least one"],
            ),
            (
                "hearth.toml",
                "[[upstreams]]\nname = 'far'\n",
                &["'upstream'"],
            ),
            (".env", "nonsense\n", &["line 1"]),
        ] {
            let (_folder, sources) = sources(&[(name, text)]);
            let error = sources.load().expect_err(text).to_string();
            for word in words {
                assert!(error.contains(word), "{text:?}: {error}");
            }
        }
        let (_folder, mut sources) = sources(&[]);
        sources.environment = vec![("HEARTH_HOME".into(), "/x".into())];
        assert!(sources.load().is_ok());
        sources.environment = vec![("HEARTH_RATELIMIT".into(), "1".into())];
        assert!(
            sources
                .load()
                .expect_err("a slip")
                .to_string()
                .contains("'HEARTH_RATE_LIMIT'")
        );
    }

    #[test]
    fn models_have_tables_of_their_own() {
        let files = [
            (
                "config.yaml",
                "models: {keep_alive: 1m, ember: {priority: 7, pinned: true}}\n",
            ),
            (
                "hearth.toml",
                "[models]\nqueue_limit = 9\n[models.'llama-3.2']\nkeep_alive = 0\n[models.ember]\npinned = false\n",
            ),
        ];
        let (_folder, sources) = sources(&files);
        let settings = sources.load().expect("all is well").settings;
        let models = settings.model_settings();
        assert_eq!(models.keys().collect::<Vec<_>>(), ["ember", "llama-3.2"]);
        let ember = &models["ember"];
        assert_eq!((ember.priority, ember.pinned), (7, false));
        let (keep, none) = (ember.keep_alive, models["llama-3.2"].keep_alive);
        assert_eq!(
            (keep.to_string(), none.to_string()),
            ("60s".into(), "0s".into())
        );
        assert!(models.values().all(|model| model.queue_limit == 9));
        let origin = settings
            .models
            .origin("ember", models::find("pinned").expect("it is there"));
        let origin = origin.expect("a file says so").to_string();
        assert!(origin.starts_with("models.ember.pinned in ") && origin.ends_with("hearth.toml"));
    }

    #[test]
    fn slips_in_a_models_table_are_told() {
        for (text, words) in [
            (
                "[models.ember]\nkeepalive = '5m'\n",
                &["'models.ember.keepalive'", "'keep_alive'"][..],
            ),
            (
                "[models.ember]\npriority = 11\n",
                &["models.ember.priority", "0 to 10"],
            ),
            (
                "[models.ember]\ninstances = 0\n",
                &["models.ember.instances", "1 or more"],
            ),
            ("[models.ember.x]\ny = 1\n", &["'models.ember.x'"]),
            ("[models]\nember = 'pinned'\n", &["'models.ember'"]),
            (
                "[models]\ndispatch = 'random'\n",
                &["models.dispatch", "round_robin"],
            ),
        ] {
            let (_folder, sources) = sources(&[("hearth.toml", text)]);
            let error = sources.load().expect_err(text).to_string();
            for word in words {
                assert!(error.contains(word), "{text:?}: {error}");
            }
        }
    }

    #[test]
    fn a_service_elsewhere_is_told_its_model_by_the_environment() {
        let entry =
            "[[upstream]]\nname = 'far'\nservice = 'baseten'\nbase_url = 'https://far.example'\n";
        let variables = "MODEL_ID=voice\nBASETEN_API_KEY=bk-1\n";
        let (_folder, sources) = sources(&[("hearth.toml", entry), (".env", variables)]);
        let settings = sources.load().expect("all is well").settings;
        let models: Vec<&String> = settings.upstreams[0].models.keys().collect();
        assert_eq!(models, ["voice"]);
        let key = settings.baseten_key.as_ref().map(|key| key.expose());
        assert_eq!(key, Some("bk-1"));
    }

    #[test]
    fn a_wrong_secret_is_not_told() {
        let (_folder, sources) = sources(&[("hearth.toml", "[auth]\nsecret = ['hunter2']\n")]);
        let error = sources.load().expect_err("a list is no secret").to_string();
        assert!(
            error.contains("auth.secret") && !error.contains("hunter2"),
            "{error}"
        );
        let (_folder, sources) =
            super::tests::sources(&[("hearth.toml", "[auth]\nsecret = hunter2\n")]);
        let error = sources.load().expect_err("no TOML").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
