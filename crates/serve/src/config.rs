//! What the server is told at its start.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the HTTP server.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The address to listen on; 127.0.0.1 unless told otherwise.
    pub host: IpAddr,
    /// The port to listen on; 0 lets the system choose one. 8000 unless told otherwise.
    pub port: u16,
    /// Largest request body in bytes; above it the answer is 413. 100 MB unless told otherwise.
    pub body_limit: usize,
    /// Most bytes of all bodies together that are in work; a body that would pass it is answered 503.
    /// 256 MB unless told otherwise, and never less than `body_limit`.
    pub bodies_limit: usize,
    /// How long a client may take to send its body.
    pub body_timeout: Duration,
    /// How many inference requests may be in work or waiting; one more is answered 503 before its body
    /// is read.
    pub max_requests: usize,
    /// How long running requests may go on once the server has been told to stop.
    pub grace: Duration,
    /// After how much silence a comment is sent in an event stream, so that proxies keep it open.
    pub keep_alive: Duration,
    /// Requests a minute that the `X-RateLimit` headers announce for each client address. The limit is
    /// announced only: without authentication every caller is the administrator.
    pub announced_rate: u32,
    /// Origins besides the loopback ones whose web pages may use the server, such as
    /// `https://chat.example.org`.
    pub allowed_origins: Vec<String>,
    /// The folder of models, where there is one.
    pub models_dir: Option<PathBuf>,
    /// Most sequences that a text model writes at once, as the engines were told.
    pub max_sequences: usize,
    /// Inputs that are computed at once where a request does not say.
    pub batch_size: usize,
    /// The operator's word for this installation.
    pub environment: String,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8000,
            body_limit: 100 << 20,
            bodies_limit: 256 << 20,
            body_timeout: Duration::from_secs(60),
            max_requests: 256,
            grace: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            announced_rate: 1000,
            allowed_origins: Vec::new(),
            models_dir: None,
            max_sequences: hearth_runtime::EngineConfig::default().max_sequences,
            batch_size: 4,
            environment: "development".to_owned(),
        }
    }
}
