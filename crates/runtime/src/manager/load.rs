//! From a model's files to its instances.

use std::sync::Arc;
use std::time::Duration;

use hearth_hub::Entry;
use hearth_llm::LoadObserver;

use super::announce::Announcer;
use super::{Manager, blocking};
use crate::budget::{Holder, Plan, Standing, Wanted, plan};
use crate::engine::{Backend, Engine, Job, ModelKind, Need, Quantize, Weights};
use crate::events::{Change, Reason};
use crate::house::{Claim, House, Loaded, Slot, Stage};
use crate::progress::{Loading, Report};
use crate::{Error, machine};

/// How long a load lets others have the memory that it waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a load is asked for by hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadRequest {
    /// How small the weights are made; as the settings say where this is `None`.
    pub quantize: Option<Quantize>,
    /// Instances to start; as the settings say where this is `None`. A loaded model keeps those that it has.
    pub instances: Option<usize>,
}

/// What a load has put into memory.
pub(super) struct Parts {
    pub kind: ModelKind,
    pub weights: Arc<dyn Weights>,
    pub engines: Vec<Arc<dyn Engine>>,
    pub quantize: Quantize,
    pub instance_bytes: u64,
}

/// Reads a model's weights, for which there is memory, and starts its instances. `starting` is called in between.
pub(super) async fn make(
    what: &str,
    backend: Arc<dyn Backend>,
    job: Arc<Job>,
    need: Need,
    instances: usize,
    observer: Arc<dyn LoadObserver + Send>,
    starting: impl FnOnce(),
) -> Result<Parts, Error> {
    let (kind, quantize) = (backend.kind(), job.quantize);
    let read = move || backend.load(&job, need, &*observer);
    let weights: Arc<dyn Weights> = blocking(what, read).await?.into();
    starting();
    let engines = {
        let weights = Arc::clone(&weights);
        let start = move || (0..instances).map(|_| weights.start()).collect();
        blocking(what, start).await?
    };
    Ok(Parts {
        kind,
        engines,
        weights,
        quantize,
        instance_bytes: need.instance(),
    })
}

impl Parts {
    /// Ends and frees all of it.
    pub async fn end(self) -> Result<(), Error> {
        let end = move || {
            // The engines go before the weights that they hold too.
            drop(self.engines);
            drop(self.weights);
            Ok(())
        };
        blocking("ending an engine", end).await
    }
}

impl Manager {
    /// Loads a model, or joins its load. A model that is loaded as asked gives a load that is done; one that is loaded
    /// otherwise is loaded anew when its requests have ended. A request that does not say how to make the weights is
    /// for the model as it is, or as it is going to be.
    pub async fn load(
        self: &Arc<Self>,
        name: &str,
        request: LoadRequest,
    ) -> Result<Loading, Error> {
        self.check_load(request)?;
        let entry = self.find(name).await?;
        let chosen = self.choose(&mut self.lock(), &entry);
        self.load_entry(&chosen, request)
    }

    /// Loads all versions of a network, the newest first, as [`Self::load`] does; of another model the one.
    pub async fn load_versions(
        self: &Arc<Self>,
        name: &str,
        request: LoadRequest,
    ) -> Result<Vec<Loading>, Error> {
        self.check_load(request)?;
        let entry = self.find(name).await?;
        let versions = match entry.versions.as_slice() {
            [] => std::slice::from_ref(&entry),
            versions => versions,
        };
        versions
            .iter()
            .map(|version| self.load_entry(version, request))
            .collect()
    }

    fn check_load(&self, request: LoadRequest) -> Result<(), Error> {
        if let Some(quantize) = request.quantize {
            quantize.target()?;
        }
        match request.instances {
            Some(instances) => self.check_instances("instances", instances),
            None => Ok(()),
        }
    }

    /// Loads what has no versions, or is one.
    pub(super) fn load_entry(
        self: &Arc<Self>,
        entry: &Entry,
        request: LoadRequest,
    ) -> Result<Loading, Error> {
        self.start_keeper();
        let mut house = self.lock();
        if house.closed {
            return Err(Error::ShuttingDown);
        }
        let slot = self.slot(&mut house, entry);
        let quantize = request.quantize.unwrap_or(slot.settings.quantize);
        if let Some(instances) = request.instances {
            slot.instances = instances.max(1);
        }
        let name = Arc::clone(&slot.name);
        let clock = self.clock.clone();
        match &mut slot.stage {
            Stage::NotLoaded => {
                slot.quantize = quantize;
                Ok(self.begin_load(slot, true))
            }
            Stage::Loading { report, asked, .. } => {
                if request.quantize.is_some_and(|asked| slot.quantize != asked) {
                    return Err(Error::Conflict {
                        message: format!(
                            "model '{name}' is being loaded in another way; wait for that, or unload it"
                        ),
                    });
                }
                *asked = true;
                Ok(report.follow())
            }
            Stage::Loaded(loaded) if request.quantize.is_none_or(|q| loaded.is_made(q)) => {
                let report = Report::new(name, clock);
                report.end(Ok(()));
                Ok(report.follow())
            }
            Stage::Loaded(_) => {
                slot.quantize = quantize;
                self.begin_unload(slot, Reason::Reloaded, false);
                let Stage::Unloading { then, .. } = &mut slot.stage else {
                    unreachable!("it was just begun");
                };
                let report = Report::new(name, clock);
                *then = Some(Arc::clone(&report));
                Ok(report.follow())
            }
            Stage::Unloading { then, .. } => {
                if then.is_none() || request.quantize.is_some() {
                    slot.quantize = quantize;
                }
                let report = then.get_or_insert_with(|| Report::new(name, clock));
                Ok(report.follow())
            }
        }
    }

    /// The load of a model that is under way, if one is.
    pub fn loading(&self, name: &str) -> Option<Loading> {
        let name = self.resolve(name);
        let mut house = self.lock();
        let version = house.current(name);
        match &house.slots.get(version.as_deref().unwrap_or(name))?.stage {
            Stage::Loading { report, .. } => Some(report.follow()),
            Stage::Unloading {
                then: Some(report), ..
            } => Some(report.follow()),
            _ => None,
        }
    }

    /// Begins to load a model that is not. `asked`: not for a request.
    pub(super) fn begin_load(self: &Arc<Self>, slot: &mut Slot, asked: bool) -> Loading {
        let report = Report::new(Arc::clone(&slot.name), self.clock.clone());
        self.begin_reported_load(slot, report, asked)
    }

    pub(super) fn begin_reported_load(
        self: &Arc<Self>,
        slot: &mut Slot,
        report: Arc<Report>,
        asked: bool,
    ) -> Loading {
        let loading = report.follow();
        slot.stage = Stage::Loading {
            report: Arc::clone(&report),
            asked,
            on_demand: !asked,
        };
        self.publish(slot, Change::Loading);
        tokio::spawn(Arc::clone(self).run_load(Arc::clone(&slot.name), report));
        loading
    }

    async fn run_load(self: Arc<Self>, name: Arc<str>, report: Arc<Report>) {
        let outcome = self.read(&name, &report).await;
        self.end_load(&name, &report, outcome).await;
    }

    /// All of a load that takes time, for requests that wait or somebody who asked.
    async fn read(self: &Arc<Self>, name: &Arc<str>, report: &Arc<Report>) -> Result<Parts, Error> {
        let what = format!("loading '{name}'");
        let announcer = Announcer::new(Arc::clone(self), Arc::clone(report));
        let announcer = Arc::new(announcer);
        let (job, backend, instances) = {
            let house = self.lock();
            let slot = house.slots.get(name).expect("slots stay; this is a bug");
            let job = Job {
                entry: slot.entry.clone(),
                quantize: slot.quantize,
                budget: house.available(name),
            };
            (job, Arc::clone(self.backend(&slot.entry)), slot.instances)
        };
        let job = Arc::new(job);
        let need = {
            let (backend, job) = (Arc::clone(&backend), Arc::clone(&job));
            blocking(&what, move || backend.predict(&job)).await?
        };
        self.reserve(name, need.total(instances), Some(report))
            .await?;
        announcer.reading(need.read);
        let observer: Arc<dyn LoadObserver + Send> = announcer.clone();
        let starting = || announcer.starting();
        make(&what, backend, job, need, instances, observer, starting).await
    }

    async fn end_load(
        self: &Arc<Self>,
        name: &Arc<str>,
        report: &Arc<Report>,
        outcome: Result<Parts, Error>,
    ) {
        let outcome = match outcome {
            Ok(parts) => self.settle(name, report, parts).await,
            Err(error) => Err(error),
        };
        let outcome = outcome.map_err(|error| match error {
            Error::Cancelled if self.lock().closed => Error::ShuttingDown,
            Error::Cancelled if report.is_cancelled() => Error::Unloaded {
                model: name.to_string(),
            },
            other => other,
        });
        if let Err(error) = &outcome {
            self.give_up(name, error);
        }
        report.end(outcome);
        self.note_change();
    }

    /// Puts a loaded model into its place, unless it is not wanted there any more.
    async fn settle(&self, name: &Arc<str>, report: &Report, parts: Parts) -> Result<(), Error> {
        let (parts, closed) = {
            let mut house = self.lock();
            if !house.closed && !report.is_cancelled() {
                self.place(&mut house, name, report, parts);
                return Ok(());
            }
            (parts, house.closed)
        };
        parts.end().await?;
        Err(match closed {
            true => Error::ShuttingDown,
            false => Error::Cancelled,
        })
    }

    fn place(&self, house: &mut House, name: &Arc<str>, report: &Report, parts: Parts) {
        let now = self.clock.now();
        let engines = parts.engines.into_iter();
        let instances = engines.map(|engine| house.instance(engine, now)).collect();
        let load_time = now.saturating_duration_since(report.began());
        let house = &mut *house;
        let slot = house
            .slots
            .get_mut(name)
            .expect("slots stay; this is a bug");
        let loaded = Loaded {
            kind: parts.kind,
            weights: parts.weights,
            quantize: parts.quantize,
            instance_bytes: parts.instance_bytes,
            instances,
            turn: 0,
            since: now,
            load_time,
            last_used: now,
            changing: 0,
        };
        let memory_bytes = loaded.memory_bytes();
        let instances = loaded.instances.len();
        slot.held = memory_bytes;
        if let Stage::Loading {
            on_demand: true, ..
        } = slot.stage
        {
            house.totals.scale_from_zero.record(load_time);
        }
        slot.stage = Stage::Loaded(loaded);
        (slot.error, slot.left) = (None, None);
        self.tell_loaded(slot, load_time, memory_bytes, instances);
        slot.queue.restart_wait(now);
        slot.serve(now);
        self.note_memory(house);
    }

    /// Counts a load that has put a model into its place, and tells of it.
    pub(super) fn tell_loaded(
        &self,
        slot: &Slot,
        load_time: Duration,
        memory_bytes: u64,
        instances: usize,
    ) {
        slot.meter.count(|metrics| {
            metrics.loads += 1;
            metrics.load_time.record(load_time);
        });
        tracing::info!(
            model = &*slot.name,
            seconds = load_time.as_secs_f64(),
            memory_bytes,
            "loaded"
        );
        self.publish(
            slot,
            Change::Loaded {
                load_time,
                memory_bytes,
                instances,
            },
        );
    }

    /// Ends a load that has failed or was cancelled, and tells all who wait for it.
    fn give_up(self: &Arc<Self>, name: &Arc<str>, error: &Error) {
        let mut house = self.lock();
        let closed = house.closed;
        let slot = house
            .slots
            .get_mut(name)
            .expect("slots stay; this is a bug");
        slot.held = 0;
        slot.departures += 1;
        slot.stage = Stage::NotLoaded;
        slot.quantize = slot.settings.quantize;
        let cancelled = matches!(
            error,
            Error::Cancelled | Error::Unloaded { .. } | Error::ShuttingDown
        );
        slot.meter.count(|metrics| {
            metrics.loads += 1;
            match cancelled {
                true => metrics.cancelled_loads += 1,
                false => metrics.failed_loads += 1,
            }
        });
        if cancelled {
            slot.error = None;
            tracing::info!(model = &**name, "a load was ended: {error}");
            self.publish(slot, Change::LoadCancelled);
        } else {
            slot.error = Some(error.clone());
            tracing::warn!(model = &**name, %error, "not loaded");
            self.publish(
                slot,
                Change::LoadFailed {
                    error: error.to_string(),
                },
            );
        }
        // Those whose load was cancelled were told so; who came since is served by a new one.
        match cancelled && !closed {
            true if !slot.queue.is_empty() => {
                self.begin_load(slot, false);
            }
            _ => slot.refuse_all(error),
        }
        self.note_memory(&house);
    }

    /// Takes `bytes` more of the budget for the model `name`, as soon as they are there. Idle models have to go for that.
    /// With a `report` it is the model's load, which waits for busy ones too, until nobody wants it any more. At first
    /// others who wait do not hold it up, nor it them: whoever fits first goes first. After [`PATIENCE`] it is its turn:
    /// what others load has to leave room for it, and busy models take no more requests and go when those that they have
    /// are answered.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        name: &Arc<str>,
        bytes: u64,
        report: Option<&Report>,
    ) -> Result<(), Error> {
        let due = report.map(|_| self.clock.now() + PATIENCE);
        if let Some(due) = due {
            self.lock().claims.push(Claim {
                model: Arc::clone(name),
                bytes,
                due,
            });
        }
        let taken = tokio::select! {
            biased;
            taken = self.until(|house| self.take(house, name, bytes, report)) => taken,
            () = self.clock.sleep_until(due) => {
                self.until(|house| self.take(house, name, bytes, report)).await
            }
        };
        if due.is_some() {
            self.lock().claims.retain(|claim| claim.model != *name);
            self.note_change();
        }
        taken
    }

    /// Takes memory for `reserve` if it is there, or makes room; `None` where it has to be waited for.
    fn take(
        self: &Arc<Self>,
        house: &mut House,
        name: &Arc<str>,
        bytes: u64,
        report: Option<&Report>,
    ) -> Option<Result<(), Error>> {
        if house.closed {
            return Some(Err(Error::ShuttingDown));
        }
        let slot = house.slots.get(name).expect("slots stay; this is a bug");
        if report.is_some_and(|report| report.is_cancelled() || !slot.is_wanted()) {
            return Some(Err(Error::Cancelled));
        }
        let (drain, claimed) = match house.claim(self.clock.now()) {
            Some(claim) if claim.model == *name => (true, 0),
            claim => (false, claim.map_or(0, |claim| claim.bytes)),
        };
        let wanted = Wanted {
            budget: house.budget.saturating_sub(slot.held),
            need: bytes,
            claimed,
            drain,
        };
        match plan(wanted, &house.holders(name)) {
            Plan::Fits => {
                let slot = house
                    .slots
                    .get_mut(name)
                    .expect("slots stay; this is a bug");
                slot.held = slot.held.saturating_add(bytes);
                self.note_memory(house);
                Some(Ok(()))
            }
            Plan::Never => Some(Err(self.does_not_fit(house, name, bytes))),
            Plan::Soon => None,
            // A model that waits for more memory cannot give any, so it must not wait for others that do the same.
            Plan::Busy if report.is_none() => Some(Err(self.does_not_fit(house, name, bytes))),
            Plan::Busy => None,
            Plan::Evict(victims) => {
                for victim in victims {
                    house.totals.evictions += 1;
                    let slot = house.slots.get_mut(victim.as_str());
                    let slot = slot.expect("it holds memory; this is a bug");
                    let reason = Reason::Evicted {
                        for_model: name.to_string(),
                    };
                    self.begin_unload(slot, reason, false);
                }
                None
            }
        }
    }

    /// What is needed, what there is, and who has it.
    fn does_not_fit(&self, house: &House, name: &Arc<str>, needed: u64) -> Error {
        let budget = house.budget;
        let staying = |holder: &Holder| {
            matches!(
                holder.standing,
                Standing::Pinned | Standing::InUse(_) | Standing::Loading
            )
        };
        let others = house.holders(name).into_iter().filter(staying);
        let mut holding: Vec<(String, u64)> = others.map(|h| (h.name, h.bytes)).collect();
        if let Some(claim) = house
            .claim(self.clock.now())
            .filter(|claim| claim.model != *name)
        {
            holding.push((claim.model.to_string(), claim.bytes));
        }
        let own = house.slots.get(name).map_or(0, |slot| slot.held);
        if own > 0 {
            holding.push((name.to_string(), own));
        }
        let mut message = format!(
            "model '{name}' needs {}, but all models together may take {}",
            machine::size(needed),
            machine::size(budget)
        );
        let parts: Vec<String> = holding
            .iter()
            .map(|(name, bytes)| format!("'{name}' {}", machine::size(*bytes)))
            .collect();
        if !parts.is_empty() {
            message += &format!(
                ", and what cannot be unloaded now holds {}",
                parts.join(", ")
            );
        }
        Error::InsufficientMemory {
            message,
            needed,
            budget,
            holders: holding.into_iter().map(|(name, _)| name).collect(),
        }
    }
}
