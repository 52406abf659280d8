//! `hearth serve`: the HTTP server.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use hearth_hub::{Entry, Kind, Location};
use hearth_kernels::KvDType;
use hearth_runtime::{EngineConfig, KeepAlive, ModelSettings, PageStore, Runtime, RuntimeConfig};
use hearth_serve::{ServeConfig, Server};

use crate::interrupt;
use crate::models::Models;

/// Serve models over HTTP to OpenAI's clients and others.
///
/// Serves the built-in models, those of the models folder, and those given with --model; each is loaded when it is first
/// asked for, and goes when nobody has used it for a while. Ctrl-C lets running requests finish; a second one ends at once.
#[derive(clap::Args)]
pub struct Args {
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", env = "HEARTH_HOST", default_value = "127.0.0.1", value_parser = host)]
    host: IpAddr,
    /// The port to listen on; 0 lets the system choose.
    #[arg(long, value_name = "PORT", env = "HEARTH_PORT", default_value_t = 8000)]
    port: u16,
    /// Allow an address that other machines reach. There are no users or keys yet: whoever reaches it can use it.
    #[arg(long)]
    allow_remote: bool,
    /// Serve the GGUF file or Hugging Face folder PATH as NAME; can be repeated.
    #[arg(long = "model", value_name = "NAME=PATH", value_parser = named)]
    named: Vec<(String, PathBuf)>,
    /// Threads to compute on [default: one a core].
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    /// Memory for the keys and values of each text model, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = EngineConfig::default().cache_bytes >> 20,
          value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    cache: u64,
    /// Disk for what text models have read and written when they are unloaded or the server stops, in MiB, so that
    /// conversations go on later without being computed again; kept in cache/kv of $HEARTH_HOME or ~/.hearth. 0 for none.
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u64).range(..=1 << 24))]
    cache_disk: u64,
    /// Memory for all loaded models together, for example 8GB; idle models make room for others [default: 90 % of what
    /// is free].
    #[arg(long, value_name = "SIZE", env = "HEARTH_MEMORY", value_parser = memory)]
    memory: Option<u64>,
    /// How long a model stays in memory once nobody uses it, for example 30m; 0 unloads at once, -1 never.
    #[arg(
        long,
        value_name = "TIME",
        env = "HEARTH_KEEP_ALIVE",
        default_value = "5m",
        allow_hyphen_values = true
    )]
    keep_alive: KeepAlive,
    /// Answer to NAME as MODEL, for example gpt-4o=ember; can be repeated.
    #[arg(long = "alias", value_name = "NAME=MODEL", value_parser = alias)]
    aliases: Vec<(String, String)>,
    /// The type that keys and values are kept in: f16, q8_0 (half the memory, a little less exact) or f32.
    #[arg(long, value_name = "TYPE", default_value_t = EngineConfig::default().kv_dtype)]
    cache_type: KvDType,
    /// Most sequences that a text model writes at once; others wait.
    #[arg(long, value_name = "N", default_value_t = EngineConfig::default().max_sequences)]
    max_sequences: usize,
    /// Web page origins that may call the server, for example https://chat.example; can be repeated.
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    allowed_origins: Vec<String>,
    #[command(flatten)]
    models: Models,
}

/// An IP address, or `localhost`.
fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text
            .parse()
            .map_err(|_| "give an IP address, for example 127.0.0.1 or 0.0.0.0".to_owned()),
    }
}

/// `NAME=PATH`.
fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err("give NAME=PATH, for example --model my-llama=/models/llama.gguf".to_owned()),
    }
}

/// `NAME=MODEL`.
fn alias(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, model)) if !name.is_empty() && !model.is_empty() => {
            Ok((name.to_owned(), model.to_owned()))
        }
        _ => Err("give NAME=MODEL, for example --alias gpt-4o=ember".to_owned()),
    }
}

/// Bytes, with or without a unit: `8GB`, `512MiB`, `1.5G`.
fn memory(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024f64.powi(2),
        "g" | "gib" => 1024f64.powi(3),
        "t" | "tib" => 1024f64.powi(4),
        _ => 0.0,
    };
    match number.parse::<f64>() {
        Ok(number) if number * factor >= 1.0 => Ok((number * factor) as u64),
        _ => Err("give a size, for example 8GB or 512MiB".to_owned()),
    }
}

pub fn run(args: Args) -> Result<()> {
    crate::log_to_stderr("info");
    if !args.host.is_loopback() && !args.allow_remote {
        bail!(
            "other machines reach {}, and there are no users or keys yet, so whoever reaches it could use the models; \
             say --allow-remote if that is meant, or leave --host out",
            args.host
        );
    }
    let models_dir = args.models.dir()?;
    let catalog = args.models.catalog(args.named)?;
    let entries = catalog.entries()?;
    let engine = EngineConfig {
        cache_bytes: args.cache << 20,
        kv_dtype: args.cache_type,
        max_sequences: args.max_sequences,
        ..EngineConfig::default()
    };
    let pages = pages(&args.models, args.cache_disk)?;
    let config = RuntimeConfig {
        pages,
        threads: args.threads.map(Into::into),
        engine,
        memory: args.memory,
        aliases: args.aliases.into_iter().collect(),
        defaults: ModelSettings {
            keep_alive: args.keep_alive,
            ..ModelSettings::default()
        },
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(catalog, config);
    let config = ServeConfig {
        host: args.host,
        port: args.port,
        allowed_origins: args.allowed_origins,
        models_dir: Some(models_dir),
        max_sequences: args.max_sequences,
        ..ServeConfig::default()
    };
    let port = args.port;
    let event_loop = tokio::runtime::Runtime::new().context("cannot start the event loop")?;
    event_loop.block_on(async move {
        let server = Server::bind(config, runtime)
            .await
            .map_err(|error| next_step(error, port))?;
        greet(server.local_addr()?, &entries)?;
        server.run(stop_signal()).await?;
        Ok(())
    })
}

/// Where computed prefixes are kept, `mib` at most. A server does without where it can't have the folder.
fn pages(models: &Models, mib: u64) -> Result<Option<Arc<PageStore>>> {
    if mib == 0 {
        return Ok(None);
    }
    let folder = models.home()?.join("cache").join("kv");
    match PageStore::open(&folder, mib << 20) {
        Ok(store) => Ok(Some(Arc::new(store))),
        Err(error) => {
            tracing::warn!("conversations are not kept on disk: {error}");
            Ok(None)
        }
    }
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

/// What to do about an address that cannot be had.
fn next_step(error: std::io::Error, port: u16) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => {
            let other = port.checked_add(1).unwrap_or(8000);
            anyhow!(
                "{error}; stop the program that uses it, or choose another port: --port {other}"
            )
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
fn greet(address: SocketAddr, entries: &[Entry]) -> Result<()> {
    let usable = |entry: &&Entry| !matches!(entry.kind, Kind::Unknown(_));
    let names: Vec<&str> = entries
        .iter()
        .filter(usable)
        .map(|entry| entry.name.as_str())
        .collect();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Hearth {} listening on http://{address}",
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
            "try: curl http://{}/v1/chat/completions -H 'Content-Type: application/json' -d '{}'",
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
    fn addresses_and_names_are_checked() {
        assert_eq!(host("localhost"), Ok(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(host("::1"), Ok(Ipv6Addr::LOCALHOST.into()));
        assert!(host("example.org").is_err());
        assert_eq!(
            named("a=/b=c.gguf"),
            Ok(("a".to_owned(), "/b=c.gguf".into()))
        );
        for bad in ["", "a", "a=", "=b"] {
            assert!(named(bad).is_err() && alias(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("8GB", 8_000_000_000),
            ("512 MiB", 512 << 20),
            ("1.5g", 3 << 29),
            ("4096", 4096),
        ] {
            assert_eq!(memory(text), Ok(bytes));
        }
        for bad in ["", "0", "GB", "-1GB", "8 parsecs", "1.2.3"] {
            assert!(memory(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_client_is_told_an_address_that_it_can_reach() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reach("[::]:80"), "[::1]:80");
        assert_eq!(reach("10.1.2.3:80"), "10.1.2.3:80");
    }
}
