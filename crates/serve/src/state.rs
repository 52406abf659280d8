//! What every handler shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hearth_runtime::Runtime;

use crate::admission::Admission;
use crate::config::ServeConfig;
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
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            config: Arc::new(config),
        }))
    }

    /// The settings in force. What can change while the server runs does, so a request takes them once.
    pub fn settings(&self) -> Arc<ServeConfig> {
        Arc::clone(&self.config)
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
