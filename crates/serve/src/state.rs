//! What every handler shares.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Instant;

use hearth_runtime::Runtime;

use crate::admission::Admission;
use crate::audit::Audit;
use crate::auth::Auth;
use crate::hardware::Hardware;
use crate::limits::Limits;
use crate::logs::Logs;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::settings::{Settings, UPSTREAM};
use crate::traces::Traces;
use crate::turns::Turns;
use crate::upstream::{Model, Upstreams};

/// The server's state, cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The parts of [`App`].
pub struct Shared {
    /// The models.
    pub runtime: Arc<Runtime>,
    /// The accounts.
    pub auth: Auth,
    /// The record of who did what.
    pub audit: Audit,
    /// The spans of requests.
    pub traces: Traces,
    /// The log files, where there are any.
    pub logs: Option<Arc<Logs>>,
    /// The door for inference requests.
    pub admission: Arc<Admission>,
    /// Whose turn it is among those inside.
    pub turns: Arc<Turns>,
    /// What clients may use and have used.
    pub limits: Arc<Limits>,
    /// What has been counted and timed.
    pub metrics: Metrics,
    /// The measurements of the machine.
    pub meter: Meter,
    /// The GPUs of the machine.
    pub hardware: Hardware,
    /// When the server started.
    pub started: Instant,
    address: SocketAddr,
    /// The folder of the server's own files.
    pub home: PathBuf,
    settings: RwLock<Arc<Settings>>,
    upstreams: RwLock<Arc<Upstreams>>,
    stopping: AtomicBool,
}

/// The log files of this process, which are opened before there is a server.
static LOGS: OnceLock<Arc<Logs>> = OnceLock::new();

/// Tells servers of this process which log files are written. The first call holds.
pub fn show_logs(logs: Arc<Logs>) {
    let _ = LOGS.set(logs);
}

impl App {
    /// The state of a server that starts now.
    pub fn new(
        runtime: Arc<Runtime>,
        settings: Settings,
        address: SocketAddr,
        home: &Path,
        auth: Auth,
        audit: Audit,
        traces: Traces,
    ) -> Self {
        let (body, bodies) = (settings.body_limit.length(), settings.bodies_limit.length());
        Self(Arc::new(Shared {
            runtime,
            upstreams: RwLock::new(Arc::new(Upstreams::of(&settings))),
            auth,
            audit,
            traces,
            logs: LOGS.get().cloned(),
            admission: Admission::new(settings.max_requests, bodies.max(body)),
            turns: Turns::new(settings.max_active),
            limits: Arc::new(Limits::new(settings.rules())),
            metrics: Metrics::default(),
            meter: Meter::new(),
            hardware: Hardware::new(),
            started: Instant::now(),
            address,
            home: home.to_owned(),
            settings: RwLock::new(Arc::new(settings)),
            stopping: AtomicBool::new(false),
        }))
    }

    /// The settings in force. What can change while the server runs does, so a request takes them once.
    pub fn settings(&self) -> Arc<Settings> {
        let settings = self.settings.read();
        Arc::clone(&settings.unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// The services on other machines that serve models too. They can change, so a request takes them once.
    pub fn upstreams(&self) -> Arc<Upstreams> {
        let upstreams = self.upstreams.read();
        Arc::clone(&upstreams.unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Puts what can change of `new` in force. Gives the keys of settings that changed, and of those that
    /// differ and need a new start.
    pub fn reload(&self, new: &Settings) -> (Vec<&'static str>, Vec<&'static str>) {
        let mut settings = (*self.settings()).clone();
        let outcome = settings.renew(new);
        self.limits.set_rules(settings.rules());
        if outcome.0.contains(&UPSTREAM) {
            let renewed = Arc::new(self.upstreams().renewed(&settings));
            let held = self.upstreams.write();
            *held.unwrap_or_else(|poisoned| poisoned.into_inner()) = renewed;
        }
        let held = self.settings.write();
        *held.unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(settings);
        outcome
    }

    /// The model called `name`, also as an alias, if a service on another machine serves it.
    pub fn upstream_model(&self, name: &str) -> Option<Model> {
        let upstreams = self.upstreams();
        if upstreams.services().is_empty() {
            return None;
        }
        let model = upstreams.find(name).cloned();
        model.or_else(|| upstreams.find(&self.runtime.resolve(name)).cloned())
    }

    /// The address that the server listens on, with the port that the system chose if it was asked to.
    pub fn address(&self) -> SocketAddr {
        self.address
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
