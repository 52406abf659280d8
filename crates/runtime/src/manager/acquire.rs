//! From a request to its place at an instance, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use hearth_hub::Entry;
use tokio::sync::oneshot;

use super::keeper::{Due, due};
use super::{Manager, earlier, retry_after};
use crate::Error;
use crate::engine::{Engine, ModelKind};
use crate::events::ModelState;
use crate::house::{House, Seat, Slot, Stage};
use crate::keep_alive::KeepAlive;
use crate::meter::{Meter, Outcome};
use crate::progress::Report;
use crate::queue::Place;

/// What a request asks of the runtime besides its model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ask {
    /// 0 to 10, higher is served first; a level is worth half a minute of waiting. The model's setting where this is
    /// `None`.
    pub priority: Option<u8>,
    /// When to give up waiting.
    pub deadline: Option<Instant>,
    /// How long the model stays once it is idle, from now on until another request says otherwise or it is unloaded.
    pub keep_alive: Option<KeepAlive>,
    /// How long to wait for a model that is being loaded; the runtime's setting where this is `None`.
    pub load_wait: Option<Duration>,
}

/// When to come back for a model whose load cannot be timed yet.
const UNTIMED: Duration = Duration::from_secs(10);

impl Manager {
    /// A place for a request at an instance of the model `name`, which is loaded if need be. `wanted` is the kind that
    /// the request needs.
    pub async fn acquire(
        self: &Arc<Self>,
        name: &str,
        wanted: ModelKind,
        ask: Ask,
    ) -> Result<Hold, Error> {
        let asked = self.clock.now();
        self.start_keeper();
        let mut joined = self.join(self.resolve_known(name), wanted, ask, asked)?;
        let mut tried: Vec<Arc<str>> = Vec::new();
        loop {
            let mut waiting = match joined {
                Joined::Seated(hold) => return Ok(hold),
                Joined::Waiting(waiting) => waiting,
                Joined::Unknown => {
                    let entry = self.find(name).await?;
                    joined = self.join_entry(&entry, wanted, ask, asked)?;
                    continue;
                }
            };
            let error = match waiting.wait(ask).await {
                Ok(seat) => return Ok(waiting.seated(seat)),
                Err(error) => error,
            };
            // Of several versions another one may do.
            tried.push(Arc::clone(&waiting.name));
            drop(waiting);
            let Some(entry) = self.other_version(name, &tried).await else {
                return Err(error);
            };
            joined = self.join_entry(&entry, wanted, ask, asked)?;
        }
    }

    /// The version that a request for `name` gets now, after those that it was given could not be loaded.
    async fn other_version(&self, name: &str, tried: &[Arc<str>]) -> Option<Entry> {
        {
            let house = self.lock();
            let slot = house.slots.get(tried.last()?)?;
            if slot.state() != ModelState::Failed || slot.entry.version_of.is_none() {
                return None;
            }
        }
        let entry = self.find(name).await.ok()?;
        let chosen = self.choose(&mut self.lock(), &entry);
        let is_new = tried.iter().all(|slot| **slot != *chosen.name);
        is_new.then_some(chosen)
    }

    /// Joins what the catalog has just said of a model.
    fn join_entry(
        self: &Arc<Self>,
        entry: &Entry,
        wanted: ModelKind,
        ask: Ask,
        asked: Instant,
    ) -> Result<Joined, Error> {
        if let Some(kind) = self.kind(entry) {
            check_kind(&entry.name, kind, wanted)?;
        }
        let mut house = self.lock();
        if house.closed {
            return Err(Error::ShuttingDown);
        }
        let chosen = self.choose(&mut house, entry);
        let name = Arc::clone(&self.slot(&mut house, &chosen).name);
        self.join_slot(&mut house, &name, wanted, ask, asked)
    }

    /// Joins a model that is loaded, or on its way; others have to be looked up first.
    fn join(
        self: &Arc<Self>,
        name: &str,
        wanted: ModelKind,
        ask: Ask,
        asked: Instant,
    ) -> Result<Joined, Error> {
        let mut house = self.lock();
        if house.closed {
            return Err(Error::ShuttingDown);
        }
        let version = house.current(name);
        match house.slots.get(version.as_deref().unwrap_or(name)) {
            Some(slot) if !matches!(slot.stage, Stage::NotLoaded) => {
                let name = Arc::clone(&slot.name);
                self.join_slot(&mut house, &name, wanted, ask, asked)
            }
            _ => Ok(Joined::Unknown),
        }
    }

    fn join_slot(
        self: &Arc<Self>,
        house: &mut House,
        name: &Arc<str>,
        wanted: ModelKind,
        ask: Ask,
        at: Instant,
    ) -> Result<Joined, Error> {
        let slot = house.slots.get_mut(name).expect("a slot; this is a bug");
        let kind = match slot.loaded() {
            Some(loaded) => Some(loaded.kind),
            None => self.kind(&slot.entry),
        };
        if let Some(kind) = kind {
            check_kind(name, kind, wanted)?;
        }
        if let Some(keep_alive) = ask.keep_alive {
            slot.keep_alive = keep_alive;
        }
        let priority = ask.priority.unwrap_or(slot.settings.priority);
        let asked = Asked { at, priority };
        if let Some(seat) = slot.sit(at) {
            return Ok(Joined::Seated(self.hold(slot, seat, asked)));
        }
        let (tell, told) = oneshot::channel();
        let Some(place) = slot.queue.push(priority, at, tell) else {
            let error = self.overloaded(slot);
            self.turned_away(&slot.meter, Outcome::Refused, at);
            return Err(error);
        };
        let meter = Arc::clone(&slot.meter);
        if matches!(slot.stage, Stage::NotLoaded) {
            self.begin_load(slot, false);
        }
        // Whoever waits may be a reason to start another instance.
        self.wake_keeper();
        Ok(Joined::Waiting(Waiting {
            manager: Arc::clone(self),
            name: Arc::clone(name),
            meter,
            place,
            told,
            asked,
            outcome: Outcome::Cancelled,
            over: false,
        }))
    }

    fn overloaded(&self, slot: &Slot) -> Error {
        let waiting = slot.queue.len();
        let at_once = slot.loaded().map_or(1, |loaded| loaded.staying().max(1)) * slot.concurrency;
        // As long as it takes to serve all who wait, so many at a time.
        let seconds = slot.meter.mean_latency().unwrap_or(1.0) * waiting as f64 / at_once as f64;
        Error::Overloaded {
            message: format!(
                "{waiting} requests wait for model '{}', as many as may",
                slot.name
            ),
            retry_after: retry_after(Duration::try_from_secs_f64(seconds).unwrap_or(UNTIMED)),
        }
    }

    fn hold(self: &Arc<Self>, slot: &Slot, seat: Seat, asked: Asked) -> Hold {
        let now = self.clock.now();
        slot.meter.begin(asked.at, now, self.clock.date(now));
        Hold {
            manager: Arc::clone(self),
            name: Arc::clone(&slot.name),
            meter: Arc::clone(&slot.meter),
            instance: seat.instance,
            engine: seat.engine,
            asked,
            marks: AtomicU8::new(0),
        }
    }

    /// Counts a request that had no instance.
    fn turned_away(&self, meter: &Meter, outcome: Outcome, asked: Instant) {
        meter.turn_away(outcome);
        self.record(outcome, asked);
    }

    /// Adds a request's end to the series.
    fn record(&self, outcome: Outcome, asked: Instant) {
        let now = self.clock.now();
        let seconds = now.saturating_duration_since(asked).as_secs_f64();
        self.recorder().note(now, |sample| {
            sample.requests += 1;
            sample.failed += u64::from(outcome == Outcome::Failed);
            sample.latency_sum += seconds;
        });
    }
}

fn check_kind(name: &str, kind: ModelKind, wanted: ModelKind) -> Result<(), Error> {
    match kind == wanted {
        true => Ok(()),
        false => Err(Error::invalid(
            "model",
            format!("model '{name}' {}; it {}", kind.does(), wanted.does_not()),
        )),
    }
}

/// How a request came.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    priority: u8,
}

enum Joined {
    Seated(Hold),
    Waiting(Waiting),
    /// The catalog has to be asked.
    Unknown,
}

/// A request in a queue; dropping it leaves the queue.
struct Waiting {
    manager: Arc<Manager>,
    name: Arc<str>,
    meter: Arc<Meter>,
    place: Place,
    told: oneshot::Receiver<Result<Seat, Error>>,
    asked: Asked,
    /// How it counts if it is dropped now.
    outcome: Outcome,
    over: bool,
}

impl Waiting {
    async fn wait(&mut self, ask: Ask) -> Result<Seat, Error> {
        let clock = self.manager.clock.clone();
        let load_wait = ask.load_wait.unwrap_or(self.manager.config.load_wait);
        let mut patience = self.asked.at.checked_add(load_wait);
        loop {
            tokio::select! {
                biased;
                told = &mut self.told => {
                    // Whoever tells an error has taken this request out of the queue.
                    let told = told.unwrap_or(Err(Error::ShuttingDown));
                    if told.is_err() {
                        self.outcome = Outcome::Failed;
                    }
                    return told;
                }
                () = clock.sleep_until(earlier(ask.deadline, patience)) => {}
            }
            let now = clock.now();
            if ask.deadline.is_some_and(|deadline| deadline <= now) {
                self.outcome = Outcome::Failed;
                return Err(Error::Deadline);
            }
            if let Some(error) = self.still_loading() {
                self.outcome = Outcome::Refused;
                return Err(error);
            }
            // It is loaded, and only busy.
            patience = None;
        }
    }

    /// What is told to who does not want to wait for a load any longer; `None` where it is not for a load.
    fn still_loading(&self) -> Option<Error> {
        let house = self.manager.lock();
        let progress = match &house.slots.get(&self.name)?.stage {
            Stage::Loading { report, .. } => report.progress(),
            // The load has yet to begin.
            Stage::Unloading { .. } => {
                Report::new(Arc::clone(&self.name), self.manager.clock.clone()).progress()
            }
            _ => return None,
        };
        let eta = progress.eta.map_or(UNTIMED, Duration::from_secs_f64);
        Some(Error::Loading {
            model: self.name.to_string(),
            progress,
            retry_after: retry_after(eta),
        })
    }

    fn seated(mut self, seat: Seat) -> Hold {
        self.over = true;
        let house = self.manager.lock();
        let slot = house
            .slots
            .get(&self.name)
            .expect("slots stay; this is a bug");
        self.manager.hold(slot, seat, self.asked)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut house = self.manager.lock();
        let Some(slot) = house.slots.get_mut(&self.name) else {
            return;
        };
        slot.queue.remove(self.place);
        // A seat may have been given in this moment.
        if let Ok(Ok(seat)) = self.told.try_recv() {
            let now = self.manager.clock.now();
            slot.leave(seat.instance, now);
            slot.serve(now);
        }
        let unwanted = matches!(slot.stage, Stage::Loading { .. }) && !slot.is_wanted();
        drop(house);
        self.manager
            .turned_away(&self.meter, self.outcome, self.asked.at);
        if unwanted {
            self.manager.note_change();
        }
    }
}

/// A request's place at an instance; dropping it gives the place back, and counts how the request ended.
pub(crate) struct Hold {
    manager: Arc<Manager>,
    name: Arc<str>,
    meter: Arc<Meter>,
    instance: u64,
    engine: Arc<dyn Engine>,
    asked: Asked,
    marks: AtomicU8,
}

/// What has happened to a request; one with none of these never asked its model for anything.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    Answered = 1,
    Failed = 2,
    Refused = 4,
    Cancelled = 8,
}

impl Hold {
    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// The priority by which it had its place.
    pub fn priority(&self) -> u8 {
        self.asked.priority
    }

    pub fn mark(&self, mark: Mark) {
        self.marks.fetch_or(mark as u8, Ordering::AcqRel);
    }

    /// Marks a failure by whose it is, and answers what it is called. What an engine says that was cut may be said of
    /// its model alone.
    pub fn failed(&self, error: Error) -> Error {
        let error = match error {
            Error::ShuttingDown if !self.manager.lock().closed => Error::Unloaded {
                model: self.name.to_string(),
            },
            other => other,
        };
        self.mark(match &error {
            Error::InvalidInput { .. }
            | Error::Unsupported { .. }
            | Error::ContextLength { .. }
            | Error::Overloaded { .. } => Mark::Refused,
            Error::Cancelled => Mark::Cancelled,
            _ => Mark::Failed,
        });
        error
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Counts tokens, which also go to the series.
    pub fn count_tokens(&self, tokens_in: u64, tokens_out: u64) {
        self.meter.count(|metrics| {
            metrics.tokens_in += tokens_in;
            metrics.tokens_out += tokens_out;
        });
        self.manager
            .recorder()
            .note(self.manager.clock.now(), |sample| {
                sample.tokens_in += tokens_in;
                sample.tokens_out += tokens_out;
            });
    }

    fn outcome(&self) -> Outcome {
        let marks = self.marks.load(Ordering::Acquire);
        let has = |mark: Mark| marks & mark as u8 != 0;
        match () {
            () if has(Mark::Failed) => Outcome::Failed,
            () if has(Mark::Refused) => Outcome::Refused,
            () if has(Mark::Cancelled) => Outcome::Cancelled,
            () if has(Mark::Answered) => Outcome::Succeeded,
            () => Outcome::Refused,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let manager = &self.manager;
        let (now, outcome) = (manager.clock.now(), self.outcome());
        self.meter
            .end(self.asked.at, now, manager.clock.date(now), outcome);
        manager.record(outcome, self.asked.at);
        let mut house = manager.lock();
        let keeper_wakes = house.keeper_wakes;
        let Some(slot) = house.slots.get_mut(&self.name) else {
            return;
        };
        let idle = slot.leave(self.instance, now);
        slot.serve(now);
        let leaving = matches!(slot.stage, Stage::Unloading { .. })
            || slot
                .loaded()
                .is_some_and(|loaded| loaded.instances.iter().any(|i| i.leaving));
        // The keeper sleeps until something is due; what is due before that has to wake it.
        let early = match due(slot, now) {
            Due::Nothing(then) => {
                then.is_some_and(|then| keeper_wakes.is_none_or(|wakes| then < wakes))
            }
            _ => true,
        };
        drop(house);
        if idle || leaving {
            manager.changed.notify_waiters();
        }
        if early {
            manager.wake_keeper();
        }
    }
}
