//! The table of settings. Flags, environment, files, their documentation and `hearth config` are made from
//! it, so a setting is one entry here and nothing else.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use hearth_runtime::{EngineConfig, KeepAlive, ModelSettings, Quantize, RuntimeConfig, Strategy};

use super::offer::Offer;
use super::upstream::Upstream;
use super::value::{Bytes, CacheType, Device, LogLevel, Names, Priority, Raw, Value};
use super::{Models, Secret};

/// What is known of a setting.
pub struct Setting {
    /// Its place in `hearth.toml`: table and key, with a dot between.
    pub key: &'static str,
    /// Other places that it may have in a file.
    pub also: &'static [&'static str],
    /// The environment's variables, the strongest first.
    pub env: &'static [&'static str],
    /// The flag, without its dashes; some have none.
    pub flag: Option<&'static str>,
    /// Whether it changes while the server runs.
    pub live: bool,
    /// What it does.
    pub doc: &'static str,
    /// What its value has to be.
    pub expected: &'static str,
    /// How its flag's value is called; none where the flag needs no value.
    pub placeholder: Option<&'static str>,
    /// Whether its flag can be given several times.
    pub repeats: bool,
    /// Reads a value into the settings; false if it is not as expected.
    pub set: fn(&mut Settings, &Raw) -> bool,
    /// The value as text; `None` where nothing is set. Of a secret only that it is there.
    pub show: fn(&Settings) -> Option<String>,
    /// Takes the value from other settings; whether that made a difference.
    pub copy: fn(&mut Settings, &Settings) -> bool,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr,
       $key:literal $(| $also:literal)*, env [$($env:literal),*] $(=> $flag:literal)? $(+ $live:ident)?;)+) => {
        /// All settings, each with its value.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $type,)+
            /// Settings of single models.
            pub models: Models,
            /// The services on other machines that serve models too, which are no row of the table: the entries
            /// `[[upstream]]` of a file.
            pub upstreams: Vec<Upstream>,
            /// `models.json`.
            pub offers: Vec<Offer>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)+ models: Models::default(), upstreams: Vec::new(), offers: Vec::new() }
            }
        }

        /// Every setting.
        pub static TABLE: &[Setting] = &[$(Setting {
            key: $key,
            also: &[$($also),*],
            env: &[$($env),*],
            flag: settings!(@flag $($flag)?),
            live: settings!(@live $($live)?),
            doc: concat!($($doc),+),
            expected: <$type as Value>::EXPECTED,
            placeholder: <$type as Value>::PLACEHOLDER,
            repeats: <$type as Value>::REPEATS,
            set: |settings, raw| match <$type as Value>::take(raw) {
                Some(value) => {
                    settings.$name = value;
                    true
                }
                None => false,
            },
            show: |settings| settings.$name.show(),
            copy: |settings, from| {
                let differs = settings.$name != from.$name;
                settings.$name.clone_from(&from.$name);
                differs
            },
        }),+];
    };
    (@flag) => { None };
    (@flag $flag:literal) => { Some($flag) };
    (@live) => { false };
    (@live live) => { true };
}

settings! {
    /// The address to listen on.
    host: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST), "server.host", env ["HEARTH_HOST"] => "host";
    /// The port to listen on; 0 lets the system choose.
    port: u16 = 8000, "server.port", env ["HEARTH_PORT"] => "port";
    /// Allow an address that other machines reach while authentication is off: whoever reaches it can use everything.
    allow_remote: bool = false, "server.allow_remote", env ["HEARTH_ALLOW_REMOTE"] => "allow-remote";
    /// What the server calls its surroundings, as GET / tells it.
    environment: String = "development".to_owned(), "server.environment", env ["HEARTH_ENVIRONMENT"];
    /// Web page origins besides loopback ones that may call the server, for example https://chat.example; can be repeated.
    allowed_origins: Vec<String> = Vec::new(), "server.allowed_origins", env ["HEARTH_ALLOWED_ORIGINS"] => "allow-origin" + live;
    /// Send headers that keep pages from framing the answers or guessing their type, and browsers from leaving TLS.
    security_headers: bool = true, "server.security_headers", env ["HEARTH_SECURITY_HEADERS"] + live;
    /// Largest request body; above it the answer is 413.
    body_limit: Bytes = Bytes(100 << 20), "server.body_limit", env ["HEARTH_BODY_LIMIT"] + live;
    /// Most bytes of all bodies together that are in work; a body that would pass it is answered 503.
    bodies_limit: Bytes = Bytes(256 << 20), "server.bodies_limit", env ["HEARTH_BODIES_LIMIT"];
    /// How long a client may take to send its body.
    body_timeout: Duration = Duration::from_secs(60), "server.body_timeout", env ["HEARTH_BODY_TIMEOUT"] + live;
    /// How long a client may take to send the head of a request.
    header_timeout: Duration = Duration::from_secs(15), "server.header_timeout", env ["HEARTH_HEADER_TIMEOUT"];
    /// How long a client may take none of what is sent to it before its connection is closed.
    write_timeout: Duration = Duration::from_secs(60), "server.write_timeout", env ["HEARTH_WRITE_TIMEOUT"];
    /// Most connections at a time; others wait to be accepted.
    max_connections: usize = 4096, "server.max_connections", env ["HEARTH_MAX_CONNECTIONS"];
    /// Most requests for inference in work or waiting; one more is answered 503 before its body is read.
    max_requests: usize = 256, "server.max_requests", env ["HEARTH_MAX_REQUESTS"];
    /// Most requests for inference that run at a time; the others wait, and are taken from each client in turn.
    max_active: usize = 64, "server.max_active", env ["HEARTH_MAX_ACTIVE"];
    /// How long running requests may go on once the server has been told to stop.
    grace: Duration = Duration::from_secs(30), "server.grace", env ["HEARTH_GRACE"];
    /// After how much silence a comment is sent in an event stream, so that proxies keep it open.
    keep_alive: Duration = Duration::from_secs(15), "server.stream_keep_alive", env ["HEARTH_STREAM_KEEP_ALIVE"] + live;

    /// The file with the server's certificate chain (PEM); with it and the key the server speaks HTTPS.
    tls_certificate: Option<PathBuf> = None, "tls.certificate", env ["HEARTH_TLS_CERTIFICATE"] => "tls-cert";
    /// The file with the certificate's private key (PEM).
    tls_key: Option<PathBuf> = None, "tls.key", env ["HEARTH_TLS_KEY"] => "tls-key";

    /// Where traces are sent: the address of an OpenTelemetry collector that takes OTLP over HTTP, such as http://127.0.0.1:4318 [default: nowhere].
    traces_endpoint: Option<String> = None, "traces.endpoint", env ["HEARTH_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

    /// Ask for a token or an API key.
    auth: bool = false, "auth.enabled", env ["HEARTH_AUTH", "ENABLE_AUTH"] => "auth";
    /// Let people make accounts for themselves.
    registration: bool = true, "auth.registration", env ["HEARTH_REGISTRATION"] + live;
    /// How long a session's token is good for.
    token_lifetime: Duration = Duration::from_secs(3600), "auth.token_lifetime", env ["HEARTH_TOKEN_LIFETIME"] + live;
    /// How long a session can be renewed.
    refresh_lifetime: Duration = Duration::from_secs(30 * 86_400), "auth.refresh_lifetime", env ["HEARTH_REFRESH_LIFETIME"] + live;
    /// What session tokens are signed with; made at the first start and kept in the database unless it is given here.
    auth_secret: Option<Secret> = None, "auth.secret", env ["HEARTH_AUTH_SECRET"];
    /// Where users and keys are kept: a URL such as postgres://user:password@host/hearth [default: the file state.db in hearth's home].
    database: Option<Secret> = None, "state.database", env ["HEARTH_DATABASE_URL"];

    /// Requests a minute for each key or address [default: 1000, enforced while authentication is on].
    rate_limit: Option<u32> = None, "limits.requests_per_minute" | "security.rate_limit", env ["HEARTH_RATE_LIMIT"] => "rate-limit" + live;
    /// Requests that each may send at once [default: 100, enforced while authentication is on].
    burst_limit: Option<u32> = None, "limits.burst" | "security.burst_limit", env ["HEARTH_BURST_LIMIT"] => "burst-limit" + live;
    /// Tokens a minute, in and out, for each.
    tokens_per_minute: Option<u64> = None, "limits.tokens_per_minute", env ["HEARTH_TOKENS_PER_MINUTE"] + live;
    /// Tokens a day, in and out, for each.
    tokens_per_day: Option<u64> = None, "limits.tokens_per_day", env ["HEARTH_TOKENS_PER_DAY"] + live;
    /// Requests for inference that each may have in work at a time.
    concurrent_requests: Option<usize> = None, "limits.concurrent_requests", env ["HEARTH_CONCURRENT_REQUESTS"] + live;

    /// From which level up log lines are kept: DEBUG, INFO, WARNING or ERROR.
    log_level: LogLevel = LogLevel::Info, "logs.level", env ["HEARTH_LOG_LEVEL", "LOG_LEVEL"] => "log-level" + live;
    /// Where log files are written [default: the folder logs in hearth's home].
    log_directory: Option<PathBuf> = None, "logs.directory", env ["HEARTH_LOG_DIRECTORY"];
    /// At which size a log file is set aside and a new one begun; it is at midnight as well.
    log_size: Bytes = Bytes(10 << 20), "logs.max_size", env ["HEARTH_LOG_SIZE"];
    /// How many files that were set aside are kept of each log.
    log_files: usize = 7, "logs.keep", env ["HEARTH_LOG_FILES"];
    /// Keep a chained record of who did what.
    audit: bool = true, "audit.enabled", env ["HEARTH_AUDIT"];
    /// At which size a file of the record is full and another is begun.
    audit_size: Bytes = Bytes(64 << 20), "audit.max_size", env ["HEARTH_AUDIT_SIZE"];
    /// How many files of the record are kept.
    audit_files: usize = 100, "audit.keep", env ["HEARTH_AUDIT_FILES"];
    /// Write prompts into the record too.
    audit_prompts: bool = false, "audit.prompts", env ["HEARTH_AUDIT_PROMPTS"] + live;

    /// The folder of models [default: the folder models in hearth's home].
    models_dir: Option<PathBuf> = None, "models.directory", env ["HEARTH_MODELS_DIR"] => "models-dir";
    /// Serve the GGUF file or Hugging Face folder PATH as NAME: NAME=PATH; can be repeated.
    named_models: Names = Names::new(), "models.files", env ["HEARTH_MODELS"] => "model";
    /// Memory for all loaded models together, for example 8GB; idle models make room for others [default: 90 % of what is free].
    memory: Option<Bytes> = None, "models.memory", env ["HEARTH_MEMORY"] => "memory";
    /// How long a model stays in memory once nobody uses it, for example 30m; 0 unloads at once, -1 never.
    model_keep_alive: KeepAlive = ModelSettings::default().keep_alive, "models.keep_alive", env ["HEARTH_KEEP_ALIVE"] => "keep-alive";
    /// How long a request waits for a model that is being loaded; then it is answered 503, and told how far the load is.
    load_wait: Duration = RuntimeConfig::default().load_wait, "models.load_wait", env ["HEARTH_LOAD_WAIT"] => "load-wait";
    /// Which of a model's instances takes a request: least_connections, or round_robin for each in turn.
    dispatch: Strategy = Strategy::LeastConnections, "models.dispatch", env ["HEARTH_DISPATCH"] => "dispatch";
    /// Instances that are started when a model is loaded; they share the weights.
    instances: NonZeroUsize = NonZeroUsize::MIN, "models.instances", env ["HEARTH_INSTANCES"];
    /// Instances that a model may grow to by itself while requests wait.
    max_instances: NonZeroUsize = NonZeroUsize::MIN, "models.max_instances", env ["HEARTH_MAX_INSTANCES"];
    /// How long requests have to wait for an instance before another is started, where max_instances allows one; it ends when it has been idle for a minute.
    scale_up_after: Duration = Duration::from_secs(10), "models.scale_up_after", env ["HEARTH_SCALE_UP_AFTER"];
    /// Most instances that a model may be given by hand.
    instances_limit: NonZeroUsize = NonZeroUsize::new(RuntimeConfig::default().max_instances).unwrap_or(NonZeroUsize::MIN), "models.instances_limit", env ["HEARTH_INSTANCES_LIMIT"];
    /// Requests that an instance works on at a time [default: as many as its engine computes at once].
    concurrency: Option<NonZeroUsize> = None, "models.concurrency", env ["HEARTH_CONCURRENCY"];
    /// Requests that may wait for a model; one more is answered 503 with Retry-After.
    queue_limit: NonZeroUsize = NonZeroUsize::new(ModelSettings::default().queue_limit).unwrap_or(NonZeroUsize::MIN), "models.queue_limit", env ["HEARTH_QUEUE_LIMIT"];
    /// The priority of requests that name none, 0 to 10; higher ones are served first.
    priority: Priority = Priority(ModelSettings::default().priority), "models.priority", env ["HEARTH_PRIORITY"];
    /// How small weights are made when a model is loaded: none for as they are stored, 8 or 4 bits.
    quantize: Quantize = Quantize::No, "models.quantize", env ["HEARTH_QUANTIZE"];
    /// Answer to NAME as MODEL, for example gpt-4o=ember: NAME=MODEL; can be repeated.
    aliases: Names = Names::new(), "models.aliases", env ["HEARTH_ALIASES"] => "alias";
    /// Threads to compute on [default: one a core].
    threads: Option<usize> = None, "engine.threads", env ["HEARTH_THREADS"] => "threads";
    /// Memory for the keys and values of each text model, in MiB [default: 1024].
    cache_mib: Option<u64> = None, "engine.cache_mib", env ["HEARTH_CACHE_MIB"] => "cache";
    /// Disk for what text models have read and written when they are unloaded or the server stops, in MiB, so that conversations go on later without being computed again; kept in cache/kv of hearth's home. 0 for none.
    cache_disk_mib: u64 = 2048, "engine.cache_disk_mib", env ["HEARTH_CACHE_DISK_MIB"] => "cache-disk";
    /// The type that keys and values are kept in: f16, q16 (whole numbers of about the same size, faster on x86-64), q8_0 (half the memory, a little less exact) or f32.
    cache_type: CacheType = CacheType::F16, "engine.cache_type", env ["HEARTH_CACHE_TYPE"] => "cache-type";
    /// Most sequences that a text model writes at once; others wait.
    max_sequences: usize = EngineConfig::default().max_sequences, "engine.max_sequences", env ["HEARTH_MAX_SEQUENCES", "BATCH_SIZE"] => "max-sequences";
    /// What models run on: auto or cpu, which are the same so far.
    device: Device = Device::Auto, "engine.device", env ["HEARTH_DEVICE", "DEVICE"];

    /// The key for upstream services of the kind openai, where neither a request nor their entry brings one.
    openai_key: Option<Secret> = None, "services.openai_key", env ["HEARTH_OPENAI_API_KEY", "OPENAI_API_KEY"] + live;
    /// The key for upstream services of the kind baseten, where neither a request nor their entry brings one.
    baseten_key: Option<Secret> = None, "services.baseten_key", env ["HEARTH_BASETEN_API_KEY", "BASETEN_API_KEY"] + live;
    /// The model that is asked of an upstream service of the kind baseten whose entry names none.
    upstream_model: Option<String> = None, "services.model_id", env ["HEARTH_MODEL_ID", "MODEL_ID"] + live;
}

/// The setting at `key`, by its first place or another.
pub fn find(key: &str) -> Option<&'static Setting> {
    TABLE
        .iter()
        .find(|setting| setting.key == key || setting.also.contains(&key))
}

/// The one of `names` that is nearest to `name`, if any is near.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = names.map(|own| (strsim::jaro_winkler(name, own), own));
    let best = scored.max_by(|one, two| one.0.total_cmp(&two.0))?;
    (best.0 > 0.75).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nothing_is_there_twice() {
        let mut seen = HashSet::new();
        for setting in TABLE {
            let places = setting.also.iter().chain([&setting.key]);
            let names = places.chain(setting.env).copied();
            for name in names.chain(setting.flag) {
                assert!(seen.insert(name.to_owned()), "{name}");
            }
        }
    }

    #[test]
    fn every_setting_is_documented_and_has_a_variable_of_ours() {
        for setting in TABLE {
            assert!(
                setting.doc.trim_end().ends_with(['.', ']']),
                "{}: {}",
                setting.key,
                setting.doc
            );
            assert!(setting.env[0].starts_with("HEARTH_"), "{}", setting.key);
            assert_eq!(setting.key.split('.').count(), 2, "{}", setting.key);
        }
    }

    #[test]
    fn defaults_are_read_back_as_they_are_shown() {
        let mut settings = Settings::default();
        for setting in TABLE {
            if let Some(text) = (setting.show)(&settings) {
                assert!(
                    (setting.set)(&mut settings, &Raw::Text(text)),
                    "{}",
                    setting.key
                );
            }
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_slip_finds_its_setting() {
        let keys = || TABLE.iter().map(|setting| setting.key);
        assert_eq!(nearest("server.prot", keys()), Some("server.port"));
        assert_eq!(nearest("auth.enable", keys()), Some("auth.enabled"));
        assert_eq!(nearest("zzz", keys()), None);
    }
}
