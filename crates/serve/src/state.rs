//! What every handler shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hearth_runtime::Runtime;

use crate::admission::Admission;
use crate::config::ServeConfig;
use crate::health::Meter;
use crate::rate::RateCounter;

/// The server's state, cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The parts of [`App`].
pub struct Shared {
    /// The models.
    pub runtime: Arc<Runtime>,
    /// The settings.
    pub config: ServeConfig,
    /// The door for inference requests.
    pub admission: Arc<Admission>,
    /// The counter behind the `X-RateLimit` headers.
    pub rate: RateCounter,
    /// The measurements of `/health`.
    pub meter: Meter,
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
            rate: RateCounter::new(config.announced_rate),
            meter: Meter::new(),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            config,
        }))
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
