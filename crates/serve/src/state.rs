//! What every handler shares.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hearth_runtime::Runtime;

use crate::admission::Admission;
use crate::config::ServeConfig;
use crate::hardware::Hardware;
use crate::limits::{Limits, Rules};
use crate::meter::Meter;
use crate::metrics::Metrics;

/// The server's state, cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The parts of [`App`].
pub struct Shared {
    /// The models.
    pub runtime: Arc<Runtime>,
    config: Arc<ServeConfig>,
    /// The door for inference requests.
    pub admission: Arc<Admission>,
    /// What clients may use and have used.
    pub limits: Arc<Limits>,
    /// What has been counted and timed.
    pub metrics: Metrics,
    /// The measurements of the machine.
    pub meter: Meter,
    /// The GPUs of the machine.
    pub hardware: Hardware,
    address: OnceLock<SocketAddr>,
    /// When the server started.
    pub started: Instant,
    stopping: AtomicBool,
}

impl App {
    /// The state of a server that starts now.
    pub fn new(runtime: Arc<Runtime>, config: ServeConfig) -> Self {
        Self(Arc::new(Shared {
            runtime,
            admission: Admission::new(
                config.max_requests,
                config.bodies_limit.max(config.body_limit),
            ),
            limits: Arc::new(Limits::new(Rules {
                requests_per_minute: config.announced_rate,
                ..Rules::default()
            })),
            metrics: Metrics::default(),
            meter: Meter::new(),
            hardware: Hardware::new(),
            address: OnceLock::new(),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            config: Arc::new(config),
        }))
    }

    /// The settings in force. What can change while the server runs does, so a request takes them once.
    pub fn settings(&self) -> Arc<ServeConfig> {
        Arc::clone(&self.config)
    }

    /// Notes the address that the server listens on.
    pub fn listens_on(&self, address: SocketAddr) {
        // A server listens once.
        let _ = self.address.set(address);
    }

    /// The address that the server listens on; the one that it was told to before it does.
    pub fn address(&self) -> SocketAddr {
        let told = || SocketAddr::new(self.config.host, self.config.port);
        self.address.get().copied().unwrap_or_else(told)
    }

    /// Notes that the server has been told to stop: no inference request is admitted from here on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the server has been told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
