//! What is so now, for those who look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hearth_hub::Entry;
use hearth_llm::ModelInfo;
use serde::Serialize;

use super::Manager;
use crate::Error;
use crate::engine::ModelKind;
use crate::events::{ModelState, Reason};
use crate::figures::{EngineFigures, Figures};
use crate::histogram::Histogram;
use crate::house::{House, Slot, Stage};
use crate::keep_alive::KeepAlive;
use crate::meter::ModelMetrics;
use crate::network::NetworkUses;
use crate::progress::LoadProgress;
use crate::series::Series;
use crate::strategy::Strategy;

/// A loaded model's state, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadedModel {
    /// The model's name.
    #[serde(skip)]
    pub name: String,
    /// What it is for.
    pub kind: ModelKind,
    /// Whether its engines take requests.
    pub running: bool,
    /// The counters of its engines, summed.
    #[serde(flatten)]
    pub figures: Option<Figures>,
}

impl LoadedModel {
    /// The counters of a text model.
    pub fn text(&self) -> Option<&EngineFigures> {
        match &self.figures {
            Some(Figures::Text(figures)) => Some(figures),
            _ => None,
        }
    }
}

/// Where a model stands, and what was counted of it; or a version of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelStatus {
    /// The name by which requests ask for it.
    pub name: String,
    /// The model's name, which all of its versions have in common.
    pub model: String,
    /// Which version it is; of several together the one that is told of.
    pub version: u64,
    /// What it is for; `None` where that cannot be told.
    pub kind: Option<ModelKind>,
    /// Where it stands.
    pub state: ModelState,
    /// Why the last load failed, where it did; of a model that is loaded, the load of what its files have become.
    pub error: Option<String>,
    /// How far its load is, while it is being loaded.
    pub progress: Option<LoadProgress>,
    /// It stays whether it is used or not.
    pub pinned: bool,
    /// Bytes that the budget counts for it; 0 while it is not loaded.
    pub memory_bytes: u64,
    /// Where it computes, or would.
    pub device: &'static str,
    /// What it says about itself; `None` while it is not loaded.
    pub info: Option<ModelInfo>,
    /// What a network takes and gives besides tensors; `None` for others, and while it is not loaded.
    pub network: Option<Arc<NetworkUses>>,
    /// Whether its weights are quantized; `None` while it is not loaded.
    pub quantized: Option<bool>,
    /// When it was loaded.
    pub loaded_at: Option<SystemTime>,
    /// Since then.
    pub uptime: Option<Duration>,
    /// How long the load took that it is here by.
    pub load_time: Option<Duration>,
    /// When a request was last admitted or ended.
    pub last_used: Option<SystemTime>,
    /// When it is unloaded if nobody uses it until then; `None` while it is used, or where it stays.
    pub expires_in: Option<Duration>,
    /// Its instances.
    pub instances: Vec<InstanceStatus>,
    /// Requests that are at work.
    pub in_flight: usize,
    /// Requests that wait for an instance.
    pub waiting: usize,
    /// What was counted since the process began.
    pub metrics: ModelMetrics,
}

/// An instance of a loaded model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstanceStatus {
    /// Its number, never used twice.
    pub id: u64,
    /// Requests that it works on.
    pub in_flight: usize,
    /// Requests that it was given.
    pub requests: u64,
    /// Whether its engine takes requests.
    pub healthy: bool,
    /// Bytes that it takes besides the weights.
    pub memory_bytes: u64,
    /// Its engine's counters.
    pub figures: Option<Figures>,
}

/// The runtime as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeStats {
    /// Bytes that all models together may take.
    pub memory_budget: u64,
    /// Bytes that they take.
    pub memory_used: u64,
    /// Whether there is a model that would be unloaded for being idle.
    pub scale_to_zero: bool,
    /// Models that are not loaded because they were idle.
    pub models_scaled_to_zero: usize,
    /// Times that a model was unloaded for being idle.
    pub scale_to_zero_events: u64,
    /// Loads that a request began and waited for.
    pub scale_from_zero: Histogram,
    /// Loads that have ended.
    pub loads: u64,
    /// Those that succeeded.
    pub successful_loads: u64,
    /// Those that failed.
    pub failed_loads: u64,
    /// Those that were ended because the model was unloaded meanwhile, or nobody wanted it any more.
    pub cancelled_loads: u64,
    /// The times of those that succeeded.
    pub load_time: Histogram,
    /// Loads that are under way.
    pub active_loads: usize,
    /// Times that a model had to make room for another.
    pub evictions: u64,
    /// Times that a model was unloaded, for whatever reason.
    pub unloads: u64,
    /// How requests are spread over instances, unless a model's settings say otherwise.
    pub strategy: Strategy,
    /// Instances of the models that are loaded.
    pub instances: BTreeMap<String, usize>,
    /// Models that stay whether they are used or not.
    pub pinned: Vec<String>,
    /// Requests that are at work.
    pub active_requests: usize,
    /// Requests that wait for an instance.
    pub queue_depth: usize,
    /// What was counted of all models together.
    pub metrics: ModelMetrics,
    /// When something last happened to a model, or one was used.
    pub last_activity: Option<SystemTime>,
    /// Events so far.
    pub events: u64,
    /// Whether requests are taken and all engines run.
    pub healthy: bool,
}

impl Manager {
    pub fn loaded(&self) -> Vec<LoadedModel> {
        let house = self.lock();
        let loaded = house.slots.values().filter_map(|slot| {
            let loaded = slot.loaded()?;
            Some(LoadedModel {
                name: slot.name.to_string(),
                kind: loaded.kind,
                running: !loaded.is_broken(),
                figures: loaded
                    .instances
                    .iter()
                    .filter_map(|instance| instance.engine.figures())
                    .reduce(Figures::plus),
            })
        });
        loaded.collect()
    }

    pub async fn status(&self, name: &str) -> Result<ModelStatus, Error> {
        let entry = self.find(name).await?;
        Ok(self.view_together(&self.lock(), &entry))
    }

    pub async fn version_statuses(&self, name: &str) -> Result<Vec<ModelStatus>, Error> {
        let entry = self.find(name).await?;
        Ok(self.view_each(&self.lock(), &entry))
    }

    pub async fn statuses(&self) -> Result<Vec<ModelStatus>, Error> {
        let entries = self.look(hearth_hub::Catalog::entries).await?;
        let house = self.lock();
        let statuses = entries
            .iter()
            .map(|entry| self.view_together(&house, entry));
        Ok(statuses.collect())
    }

    pub async fn all_version_statuses(&self) -> Result<Vec<ModelStatus>, Error> {
        let entries = self.look(hearth_hub::Catalog::entries).await?;
        let house = self.lock();
        let statuses = entries
            .iter()
            .flat_map(|entry| self.view_each(&house, entry));
        Ok(statuses.collect())
    }

    /// A model, or each of its versions.
    fn view_each(&self, house: &House, entry: &Entry) -> Vec<ModelStatus> {
        let parts = self.parts(house, entry);
        parts.iter().map(|part| self.view(house, part)).collect()
    }

    /// A model; several versions together.
    fn view_together(&self, house: &House, entry: &Entry) -> ModelStatus {
        let each = self.view_each(house, entry);
        let is_loaded = |status: &ModelStatus| status.state == ModelState::Loaded;
        let may_load = |status: &ModelStatus| status.state != ModelState::Failed;
        let told = each.iter().position(is_loaded);
        let told = told.or_else(|| each.iter().position(may_load));
        let name = entry.name.clone();
        match each.len() {
            1 => ModelStatus {
                name,
                ..each[0].clone()
            },
            _ => together(name, each, told.unwrap_or(0)),
        }
    }

    fn view(&self, house: &House, entry: &Entry) -> ModelStatus {
        let now = self.clock.now();
        let is_network = || entry.is_network().then_some(ModelKind::Network);
        let kind = self.kind(entry).or_else(is_network);
        let problem = match &entry.kind {
            hearth_hub::Kind::Unknown(problem) if entry.is_network() => Some(problem.clone()),
            _ => None,
        };
        match house.slots.get(entry.name.as_str()) {
            Some(slot) => ModelStatus {
                kind: slot.loaded().map(|loaded| loaded.kind).or(kind),
                model: entry.model().to_owned(),
                version: entry.version(),
                ..self.slot_status(slot, now)
            },
            // Nobody has asked for it yet.
            None => ModelStatus {
                name: entry.name.clone(),
                model: entry.model().to_owned(),
                version: entry.version(),
                kind,
                state: match problem {
                    Some(_) => ModelState::Failed,
                    None => ModelState::NotLoaded,
                },
                error: problem,
                progress: None,
                pinned: self.settings(entry).pinned,
                memory_bytes: 0,
                device: DEVICE,
                info: None,
                network: None,
                quantized: None,
                loaded_at: None,
                uptime: None,
                load_time: None,
                last_used: None,
                expires_in: None,
                instances: Vec::new(),
                in_flight: 0,
                waiting: 0,
                metrics: ModelMetrics::default(),
            },
        }
    }

    fn slot_status(&self, slot: &Slot, now: std::time::Instant) -> ModelStatus {
        let loaded = slot.loaded();
        let metrics = slot.meter.metrics(now);
        let instances = loaded.map_or(&[][..], |loaded| &loaded.instances);
        let instances = instances.iter().map(|instance| InstanceStatus {
            id: instance.id,
            in_flight: instance.in_flight,
            requests: instance.served,
            healthy: instance.engine.health().is_ok(),
            memory_bytes: instance.bytes,
            figures: instance.engine.figures(),
        });
        ModelStatus {
            name: slot.name.to_string(),
            model: slot.entry.model().to_owned(),
            version: slot.entry.version(),
            kind: None,
            state: slot.state(),
            error: slot.error.as_ref().map(Error::to_string),
            progress: match &slot.stage {
                Stage::Loading { report, .. } => Some(report.progress()),
                _ => None,
            },
            pinned: slot.pinned,
            memory_bytes: slot.held,
            device: DEVICE,
            info: loaded.and_then(|loaded| loaded.weights.info().cloned()),
            network: loaded.and_then(|loaded| {
                let mut instances = loaded.instances.iter();
                let instance = instances.find(|instance| !instance.leaving)?;
                Some(Arc::clone(Arc::clone(&instance.engine).network()?.uses()))
            }),
            quantized: loaded.map(|loaded| loaded.is_quantized()),
            loaded_at: loaded.map(|loaded| self.clock.date(loaded.since)),
            uptime: loaded.map(|loaded| now.saturating_duration_since(loaded.since)),
            load_time: loaded.map(|loaded| loaded.load_time),
            last_used: metrics.last_used,
            expires_in: slot.expires().map(|at| at.saturating_duration_since(now)),
            instances: instances.collect(),
            in_flight: loaded.map_or(0, |loaded| loaded.in_flight()),
            waiting: slot.queue.len(),
            metrics,
        }
    }

    pub fn stats(&self) -> RuntimeStats {
        let now = self.clock.now();
        let (events, last_event) = self.events.count();
        let house = self.lock();
        let slots = || house.slots.values();
        let mut metrics = ModelMetrics::default();
        slots().for_each(|slot| metrics.add(&slot.meter.metrics(now)));
        let loaded = || slots().filter_map(|slot| Some((slot, slot.loaded()?)));
        let finite = |keep_alive: &KeepAlive| *keep_alive != KeepAlive::Forever;
        let defaults = &self.config.defaults;
        let scale_to_zero = finite(&defaults.keep_alive)
            || self.config.models.values().any(|m| finite(&m.keep_alive));
        let pinned = slots().filter(|slot| slot.pinned);
        RuntimeStats {
            memory_budget: house.budget,
            memory_used: house.used(),
            scale_to_zero,
            models_scaled_to_zero: slots()
                .filter(|slot| matches!(slot.stage, Stage::NotLoaded))
                .filter(|slot| slot.left == Some(Reason::Idle))
                .count(),
            scale_to_zero_events: house.totals.scale_to_zero_events,
            scale_from_zero: house.totals.scale_from_zero.clone(),
            loads: metrics.loads,
            successful_loads: metrics.loads - metrics.failed_loads - metrics.cancelled_loads,
            failed_loads: metrics.failed_loads,
            cancelled_loads: metrics.cancelled_loads,
            load_time: metrics.load_time.clone(),
            active_loads: slots()
                .filter(|slot| matches!(slot.stage, Stage::Loading { .. }))
                .count(),
            evictions: house.totals.evictions,
            unloads: metrics.unloads,
            strategy: defaults.strategy,
            instances: loaded()
                .map(|(slot, loaded)| (slot.name.to_string(), loaded.staying()))
                .collect(),
            pinned: pinned.map(|slot| slot.name.to_string()).collect(),
            active_requests: loaded().map(|(_, loaded)| loaded.in_flight()).sum(),
            queue_depth: slots().map(|slot| slot.queue.len()).sum(),
            last_activity: last_event.max(metrics.last_used),
            events,
            healthy: !house.closed && loaded().all(|(_, loaded)| !loaded.is_broken()),
            metrics,
        }
    }

    pub fn series(&self, window: Duration) -> Series {
        self.recorder().series(self.clock.now(), window)
    }

    pub fn metrics(&self, name: &str) -> Option<ModelMetrics> {
        let name = self.resolve(name);
        let mut house = self.lock();
        let version = house.current(name);
        let slot = house.slots.get(version.as_deref().unwrap_or(name))?;
        Some(slot.meter.metrics(self.clock.now()))
    }
}

/// Versions of a network as one: sums, and for the rest what is so of the one at `told`.
fn together(name: String, each: Vec<ModelStatus>, told: usize) -> ModelStatus {
    let mut metrics = ModelMetrics::default();
    each.iter().for_each(|status| metrics.add(&status.metrics));
    let sum = |of: fn(&ModelStatus) -> usize| each.iter().map(of).sum();
    ModelStatus {
        name,
        pinned: each.iter().any(|status| status.pinned),
        memory_bytes: each.iter().map(|status| status.memory_bytes).sum(),
        last_used: each.iter().filter_map(|status| status.last_used).max(),
        in_flight: sum(|status| status.in_flight),
        waiting: sum(|status| status.waiting),
        instances: each
            .iter()
            .flat_map(|status| status.instances.clone())
            .collect(),
        metrics,
        ..each[told].clone()
    }
}

/// Where models compute.
const DEVICE: &str = "cpu";
