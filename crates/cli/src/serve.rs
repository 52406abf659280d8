//! `hearth serve`: the HTTP server.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use hearth_hub::{Entry, Kind, Location};
use hearth_kernels::KvDType;
use hearth_runtime::{EngineConfig, PageStore, Runtime, RuntimeConfig};
use hearth_serve::logs::{Console, LogLayer, Logs};
use hearth_serve::settings::{LogLevel, Settings, Sources};
use hearth_serve::{Handle, Server, StartError, show_logs};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::flags::{self, SettingFlags};
use crate::models::Models;
use crate::{holder, interrupt};

/// Serve models over HTTP to OpenAI's clients and others.
///
/// Serves the built-in models, those of the models folder, and those given with --model; each is loaded when it is first
/// asked for, and goes when nobody has used it for a while. Ctrl-C lets running requests finish; a second one ends at once. SIGHUP reads the settings again, and what
/// can change while the server runs does. 'hearth config --explain' shows all settings.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: SettingFlags,
}

pub fn run(args: Args) -> Result<()> {
    let sources = args.flags.sources()?;
    let mut settings = sources.load()?.settings;
    let home = flags::home()?;
    let (levels, _written) = start_logs(&settings, &home)?;
    if !settings.host.is_loopback() && !settings.auth && !settings.allow_remote {
        bail!(
            "other machines reach {}, and authentication is off, so whoever reaches it could use everything; turn it on \
             with --auth, or say --allow-remote if that is meant, or leave --host out",
            settings.host
        );
    }
    let models = Models::of(settings.models_dir.clone());
    settings.models_dir = Some(models.dir()?);
    let catalog = models.catalog(named(&settings))?;
    let entries = catalog.entries()?;
    for (name, _) in settings.models.iter() {
        let has_name = |entry: &Entry| {
            entry.name == name || entry.versions.iter().any(|version| version.name == name)
        };
        if !entries.iter().any(has_name) {
            tracing::warn!("there are settings for a model '{name}', but no such model");
        }
    }
    // The settings name the types that there are.
    let kv_dtype: KvDType = settings
        .cache_type
        .word()
        .parse()
        .map_err(anyhow::Error::msg)?;
    let default = EngineConfig::default();
    let engine = EngineConfig {
        cache_bytes: settings
            .cache_mib
            .map_or(default.cache_bytes, |mib| mib.saturating_mul(1 << 20)),
        kv_dtype,
        max_sequences: settings.max_sequences,
        ..default
    };
    let pages = pages(&home, settings.cache_disk_mib);
    let config = RuntimeConfig {
        pages,
        threads: settings.threads,
        engine,
        memory: settings.memory.map(|bytes| bytes.0),
        aliases: settings.aliases.clone(),
        load_wait: settings.load_wait,
        max_instances: settings.instances_limit.get(),
        defaults: settings.model_defaults(),
        models: settings.model_settings(),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(catalog, config);
    let port = settings.port;
    let event_loop = tokio::runtime::Runtime::new().context("cannot start the event loop")?;
    event_loop.block_on(async move {
        let server = Server::bind(settings, &home, runtime)
            .await
            .map_err(|error| next_step(error, port))?;
        greet(server.local_addr()?, server.is_tls(), &entries)?;
        let handle = server.handle();
        if let Some(token) = handle.setup_token().await? {
            println!(
                "there is no administrator yet: 'hearth user add --admin NAME', or POST /auth/register with\n  \
                 \"setup_token\": \"{token}\""
            );
        }
        tokio::spawn(renew_at_hangup(handle, sources, levels));
        server.run(stop_signal()).await;
        Ok(())
    })
}

/// Where computed prefixes are kept, `mib` at most. A server does without where it can't have the folder.
fn pages(home: &Path, mib: u64) -> Option<Arc<PageStore>> {
    if mib == 0 {
        return None;
    }
    match PageStore::open(&home.join("cache").join("kv"), mib.saturating_mul(1 << 20)) {
        Ok(store) => Some(Arc::new(store)),
        Err(error) => {
            tracing::warn!("conversations are not kept on disk: {error}");
            None
        }
    }
}

/// The models that are given by name.
fn named(settings: &Settings) -> Vec<(String, std::path::PathBuf)> {
    let pairs = settings.named_models.iter();
    pairs
        .map(|(name, path)| (name.clone(), path.into()))
        .collect()
}

/// Changes from which level up lines are kept.
struct Levels {
    files: reload::Handle<LevelFilter, Registry>,
    stderr: Option<reload::Handle<EnvFilter, Registry>>,
}

impl Levels {
    fn set(&self, level: LogLevel) {
        // Fails only when logging has ended.
        let _ = self.files.reload(filter(level));
        if let Some(stderr) = &self.stderr {
            let _ = stderr.reload(EnvFilter::default().add_directive(filter(level).into()));
        }
    }
}

/// Sends log lines to files and to stderr. Where there can be no files, to stderr alone. On stderr the lines are those
/// of HEARTH_LOG (a level, or `module=level` pairs) where it is given.
fn start_logs(settings: &Settings, home: &Path) -> Result<(Levels, Written)> {
    let logs = Logs::open(settings, home).map(Arc::new);
    let console = Console::start().context("cannot write to standard error")?;
    let (level, files) = reload::Layer::new(filter(settings.log_level));
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if let Ok(logs) = &logs {
        layers.push(LogLayer(Arc::clone(logs)).with_filter(level).boxed());
    }
    let own = EnvFilter::try_from_env("HEARTH_LOG").ok();
    let has_own = own.is_some();
    let common = || EnvFilter::default().add_directive(filter(settings.log_level).into());
    let (level, stderr) = reload::Layer::new(own.unwrap_or_else(common));
    let lines = console.clone();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || lines.clone())
        .with_target(false);
    layers.push(lines.with_filter(level).boxed());
    tracing_subscriber::registry().with(layers).init();
    let written = Written {
        logs: logs.as_ref().ok().cloned(),
        console,
    };
    match logs {
        Ok(logs) => show_logs(logs),
        Err(error) => tracing::warn!(%error, "no log files are written"),
    }
    let levels = Levels {
        files,
        stderr: (!has_own).then_some(stderr),
    };
    Ok((levels, written))
}

/// Sees to it, when it is dropped, that all log lines are written.
struct Written {
    logs: Option<Arc<Logs>>,
    console: Console,
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Some(logs) = &self.logs {
            logs.flush();
        }
        self.console.flush();
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

/// Reads the settings again at each SIGHUP. Wrong ones change nothing.
async fn renew_at_hangup(server: Handle, sources: Sources, levels: Levels) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return;
        };
        while hangup.recv().await.is_some() {
            match sources.load() {
                Err(error) => tracing::error!(%error, "the settings stay as they were"),
                Ok(mut loaded) => {
                    let models = Models::of(loaded.settings.models_dir.clone());
                    loaded.settings.models_dir = models.dir().ok();
                    let (changed, kept) = server.reload(&loaded.settings);
                    levels.set(loaded.settings.log_level);
                    tracing::info!(?changed, "the settings were read again");
                    if !kept.is_empty() {
                        tracing::warn!(?kept, "these take a new start");
                    }
                }
            }
        }
    }
    #[cfg(not(unix))]
    let _ = (server, sources, levels);
}

/// Ready at the first Ctrl-C or SIGTERM; the second ends the process.
async fn stop_signal() {
    if interrupt::next().await.is_err() {
        // Nobody tells us of signals; they keep their defaults.
        std::future::pending::<()>().await;
    }
    eprintln!("stopping; running requests may finish, Ctrl-C ends them");
    tokio::spawn(interrupt::exit_at_next());
}

/// What to do about a server that cannot be had.
fn next_step(error: StartError, port: u16) -> anyhow::Error {
    let StartError::Bind { source, .. } = &error else {
        return error.into();
    };
    match source.kind() {
        ErrorKind::AddrInUse => {
            let other = port.checked_add(1).unwrap_or(8000);
            let who = holder::of(port).map_or_else(
                || "the program that uses it".to_owned(),
                |(name, pid)| format!("{name} (process {pid}), which uses it"),
            );
            anyhow!("{error}; stop {who}, or choose another port: --port {other}")
        }
        ErrorKind::PermissionDenied => {
            anyhow!("{error}; ports below 1024 are often reserved, choose another: --port 8000")
        }
        ErrorKind::AddrNotAvailable => {
            anyhow!("{error}; --host takes an address of this machine, or 0.0.0.0 for all of them")
        }
        _ => error.into(),
    }
}

/// Says where the server is, what it serves and how to try it.
fn greet(address: SocketAddr, tls: bool, entries: &[Entry]) -> Result<()> {
    let scheme = if tls { "https" } else { "http" };
    let usable = |entry: &&Entry| !matches!(entry.kind, Kind::Unknown(_));
    let names: Vec<&str> = entries
        .iter()
        .filter(usable)
        .map(|entry| entry.name.as_str())
        .collect();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Hearth {} listening on {scheme}://{address}",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "models: {}", names.join(", "))?;
    for entry in entries {
        if let Kind::Unknown(reason) = &entry.kind {
            writeln!(out, "not usable: {}: {reason}", entry.name)?;
        }
    }
    // A model that the user brought, rather than a built-in one.
    let text: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Text)
        .collect();
    let own = text
        .iter()
        .find(|entry| entry.location != Location::BuiltIn);
    if let Some(entry) = own.or(text.first()) {
        let body = serde_json::json!({
            "model": entry.name,
            "messages": [{"role": "user", "content": "Hello!"}],
        });
        writeln!(
            out,
            "try: curl {scheme}://{}/v1/chat/completions -H 'Content-Type: application/json' -d '{}'",
            reachable(address),
            body.to_string().replace('\'', "'\\''"),
        )?;
    }
    Ok(())
}

/// The address that a client on this machine can use.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_an_address_that_it_can_reach() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reach("[::]:80"), "[::1]:80");
        assert_eq!(reach("10.1.2.3:80"), "10.1.2.3:80");
    }
}
