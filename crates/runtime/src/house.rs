//! All that the runtime knows of its models, behind one lock that is never held across work or waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_hub::Entry;
use hearth_hub::catalog::Stamp;
use hearth_kernels::DType;
use tokio::sync::oneshot;

use crate::Error;
use crate::budget::{Holder, Standing};
use crate::config::ModelSettings;
use crate::engine::{Engine, ModelKind, Quantize, Weights};
use crate::events::{ModelState, Reason};
use crate::histogram::Histogram;
use crate::keep_alive::KeepAlive;
use crate::manager::Route;
use crate::meter::Meter;
use crate::progress::Report;
use crate::queue::Queue;

/// A level of priority is worth this much waiting.
const PRIORITY_STEP: Duration = Duration::from_secs(30);

/// All models that were ever asked for.
pub(crate) struct House {
    /// Bytes that they may take together.
    pub budget: u64,
    /// No request is taken any more.
    pub closed: bool,
    pub slots: BTreeMap<Arc<str>, Slot>,
    /// Names that were found to be aliases.
    pub aliases: BTreeSet<String>,
    /// Where requests for networks with several versions go.
    pub routes: BTreeMap<String, Route>,
    pub totals: Totals,
    /// Loads that wait for memory, the first first.
    pub claims: Vec<Claim>,
    /// When the keeper looks next.
    pub keeper_wakes: Option<Instant>,
    next_instance: u64,
}

/// A load that waits for memory.
pub(crate) struct Claim {
    pub model: Arc<str>,
    /// Bytes that it needs.
    pub bytes: u64,
    /// From when on others do not go first any more.
    pub due: Instant,
}

/// Counters over all models.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub scale_to_zero_events: u64,
    pub evictions: u64,
    /// Loads that a request began and waited for.
    pub scale_from_zero: Histogram,
}

/// Somebody who waits for a model.
pub(crate) type Waiter = oneshot::Sender<Result<Seat, Error>>;

/// A place at an instance. Whoever has it gives it back with [`Slot::leave`].
pub(crate) struct Seat {
    pub instance: u64,
    pub engine: Arc<dyn Engine>,
}

/// A model.
pub(crate) struct Slot {
    pub name: Arc<str>,
    pub entry: Entry,
    pub settings: ModelSettings,
    pub concurrency: usize,
    pub pinned: bool,
    pub keep_alive: KeepAlive,
    /// How the next load makes the weights.
    pub quantize: Quantize,
    /// Instances that the next load starts.
    pub instances: usize,
    pub queue: Queue<Waiter>,
    pub stage: Stage,
    /// Bytes that the budget counts for it.
    pub held: u64,
    pub meter: Arc<Meter>,
    /// Why the last load failed, if it did; of a model that is loaded, the load of what its files have become.
    pub error: Option<Error>,
    /// Why it was last unloaded.
    pub left: Option<Reason>,
    /// How often it was unloaded, or its load ended before it was loaded.
    pub departures: u64,
    /// What its files have become is being loaded in its place.
    pub replacing: bool,
    /// The files that were last tried in its place.
    pub tried: Option<Stamp>,
}

/// Where a model stands.
pub(crate) enum Stage {
    NotLoaded,
    Loading {
        report: Arc<Report>,
        /// Somebody asked for the load itself; else it is wanted as long as requests wait.
        asked: bool,
        /// A request began it.
        on_demand: bool,
    },
    Loaded(Loaded),
    Unloading {
        /// What is to be freed; `None` once that is under way.
        loaded: Option<Loaded>,
        reason: Reason,
        /// Running requests are cut.
        force: bool,
        /// The load that comes after, where one was asked for.
        then: Option<Arc<Report>>,
    },
}

/// A model in memory.
pub(crate) struct Loaded {
    pub kind: ModelKind,
    pub weights: Arc<dyn Weights>,
    pub quantize: Quantize,
    /// Bytes that another instance is expected to take.
    pub instance_bytes: u64,
    pub instances: Vec<Instance>,
    pub turn: usize,
    pub since: Instant,
    pub load_time: Duration,
    pub last_used: Instant,
    /// Instances that are being started or ended.
    pub changing: usize,
}

/// An engine over a model's weights.
pub(crate) struct Instance {
    pub id: u64,
    pub engine: Arc<dyn Engine>,
    pub bytes: u64,
    pub in_flight: usize,
    pub served: u64,
    pub idle_since: Instant,
    /// It takes no more requests and will be ended.
    pub leaving: bool,
}

impl House {
    pub fn new(budget: u64) -> Self {
        Self {
            budget,
            closed: false,
            slots: BTreeMap::new(),
            aliases: BTreeSet::new(),
            routes: BTreeMap::new(),
            totals: Totals::default(),
            claims: Vec::new(),
            keeper_wakes: None,
            next_instance: 0,
        }
    }

    /// Bytes that all models take.
    pub fn used(&self) -> u64 {
        let held = self.slots.values().map(|slot| slot.held);
        held.fold(0, u64::saturating_add)
    }

    /// The load whose turn it is to get memory, where one has waited for so long.
    pub fn claim(&self, now: Instant) -> Option<&Claim> {
        self.claims.first().filter(|claim| claim.due <= now)
    }

    /// An instance with `engine`.
    pub fn instance(&mut self, engine: Arc<dyn Engine>, now: Instant) -> Instance {
        self.next_instance += 1;
        Instance {
            id: self.next_instance,
            bytes: engine.memory_bytes(),
            engine,
            in_flight: 0,
            served: 0,
            idle_since: now,
            leaving: false,
        }
    }

    /// Bytes that the model `name` may have at most: all but those of pinned models.
    pub fn available(&self, name: &str) -> u64 {
        let pinned = self.holders(name).into_iter();
        let pinned = pinned.filter(|holder| holder.standing == Standing::Pinned);
        let pinned = pinned.fold(0u64, |sum, holder| sum.saturating_add(holder.bytes));
        self.budget.saturating_sub(pinned)
    }

    /// The models that hold memory, all but `besides`.
    pub fn holders(&self, besides: &str) -> Vec<Holder> {
        let others = self.slots.values().filter(|slot| &*slot.name != besides);
        let holding = others.filter(|slot| slot.held > 0);
        holding
            .map(|slot| Holder {
                name: slot.name.to_string(),
                bytes: slot.held,
                standing: slot.standing(),
            })
            .collect()
    }
}

impl Slot {
    pub fn new(entry: Entry, settings: ModelSettings, concurrency: usize, start: Instant) -> Self {
        Self {
            name: entry.name.as_str().into(),
            entry,
            concurrency: settings.concurrency.unwrap_or(concurrency).max(1),
            pinned: settings.pinned,
            keep_alive: settings.keep_alive,
            quantize: settings.quantize,
            instances: settings.min_instances.max(1),
            queue: Queue::new(settings.queue_limit, PRIORITY_STEP, start),
            stage: Stage::NotLoaded,
            held: 0,
            meter: Arc::default(),
            error: None,
            left: None,
            departures: 0,
            replacing: false,
            tried: None,
            settings,
        }
    }

    /// The state as others see it.
    pub fn state(&self) -> ModelState {
        match (&self.stage, &self.error) {
            (Stage::NotLoaded, None) => ModelState::NotLoaded,
            (Stage::NotLoaded, Some(_)) => ModelState::Failed,
            (Stage::Loading { .. }, _) => ModelState::Loading,
            (Stage::Loaded(_), _) => ModelState::Loaded,
            (Stage::Unloading { .. }, _) => ModelState::Unloading,
        }
    }

    /// What the budget may do about it.
    fn standing(&self) -> Standing {
        match &self.stage {
            Stage::Unloading { .. } => Standing::Leaving,
            _ if self.pinned => Standing::Pinned,
            Stage::Loaded(loaded) => match loaded.idle_since() {
                Some(since) if self.queue.is_empty() => Standing::Idle(since),
                _ => Standing::InUse(loaded.last_used),
            },
            Stage::Loading { .. } | Stage::NotLoaded => Standing::Loading,
        }
    }

    /// Whether anybody wants the load that is under way.
    pub fn is_wanted(&self) -> bool {
        let asked = matches!(self.stage, Stage::Loading { asked: true, .. });
        asked || !self.queue.is_empty()
    }

    /// The loaded model, also where it waits for its last requests.
    pub fn loaded(&self) -> Option<&Loaded> {
        match &self.stage {
            Stage::Loaded(loaded) => Some(loaded),
            Stage::Unloading { loaded, .. } => loaded.as_ref(),
            _ => None,
        }
    }

    pub fn loaded_mut(&mut self) -> Option<&mut Loaded> {
        match &mut self.stage {
            Stage::Loaded(loaded) => Some(loaded),
            Stage::Unloading { loaded, .. } => loaded.as_mut(),
            _ => None,
        }
    }

    /// A place for a request that comes now, if nobody waits and an instance is free.
    pub fn sit(&mut self, now: Instant) -> Option<Seat> {
        match self.queue.is_empty() {
            true => self.take_seat(now),
            false => None,
        }
    }

    fn take_seat(&mut self, now: Instant) -> Option<Seat> {
        let Stage::Loaded(loaded) = &mut self.stage else {
            return None;
        };
        let full = self.concurrency;
        let in_flight: Vec<usize> = loaded
            .instances
            .iter()
            .map(|instance| {
                if instance.leaving {
                    full
                } else {
                    instance.in_flight
                }
            })
            .collect();
        let strategy = self.settings.strategy;
        let index = strategy.pick(&in_flight, full, &mut loaded.turn)?;
        let instance = &mut loaded.instances[index];
        instance.in_flight += 1;
        instance.served += 1;
        loaded.last_used = now;
        Some(Seat {
            instance: instance.id,
            engine: Arc::clone(&instance.engine),
        })
    }

    /// Gives those who wait their places, as long as there are any.
    pub fn serve(&mut self, now: Instant) {
        while !self.queue.is_empty() {
            let Some(seat) = self.take_seat(now) else {
                return;
            };
            let id = seat.instance;
            let waiter = self.queue.pop();
            let taken = waiter.is_some_and(|waiter| waiter.send(Ok(seat)).is_ok());
            if !taken {
                self.leave(id, now);
            }
        }
    }

    /// Gives a place back. Answers whether the model is idle now.
    pub fn leave(&mut self, id: u64, now: Instant) -> bool {
        let Some(loaded) = self.loaded_mut() else {
            return false;
        };
        loaded.last_used = now;
        let mut instances = loaded.instances.iter_mut();
        // An instance that was cut is no longer there.
        if let Some(instance) = instances.find(|instance| instance.id == id) {
            instance.in_flight -= 1;
            instance.idle_since = now;
        }
        loaded.in_flight() == 0
    }

    /// Tells all who wait that they wait in vain.
    pub fn refuse_all(&mut self, error: &Error) {
        for waiter in self.queue.drain() {
            // Who has gone need not be told.
            let _ = waiter.send(Err(error.clone()));
        }
    }

    /// When it is unloaded for being idle, if nothing happens until then.
    pub fn expires(&self) -> Option<Instant> {
        let Stage::Loaded(loaded) = &self.stage else {
            return None;
        };
        match self.keep_alive {
            KeepAlive::For(time) if !self.pinned && self.queue.is_empty() => {
                loaded.idle_since().and_then(|idle| idle.checked_add(time))
            }
            _ => None,
        }
    }
}

impl Loaded {
    /// Requests that are at work.
    pub fn in_flight(&self) -> usize {
        self.instances.iter().map(|i| i.in_flight).sum()
    }

    /// Since when nobody has used it; `None` while somebody does.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.in_flight() == 0 && self.changing == 0).then_some(self.last_used)
    }

    /// Instances that stay.
    pub fn staying(&self) -> usize {
        self.instances.iter().filter(|i| !i.leaving).count()
    }

    pub fn memory_bytes(&self) -> u64 {
        let instances = self.instances.iter().map(|i| i.bytes);
        instances.fold(self.weights.memory_bytes(), u64::saturating_add)
    }

    /// Whether the weights are as small as `quantize` wants them, and no smaller than need be.
    pub fn is_made(&self, quantize: Quantize) -> bool {
        // A block's scales take up to a bit more for each weight.
        let stored_within = |bits: u8| {
            self.stored_bits()
                .is_some_and(|b| b < f64::from(bits) + 1.0)
        };
        match (self.quantize, quantize) {
            (made, wanted) if made == wanted => true,
            (Quantize::Bits(made), Quantize::Bits(wanted)) => {
                made < wanted || stored_within(wanted)
            }
            (_, Quantize::Bits(wanted)) => stored_within(wanted),
            (Quantize::Bits(made), Quantize::No) => stored_within(made),
            (Quantize::No, Quantize::No) => true,
        }
    }

    /// Bits that most weights take in the model's files.
    fn stored_bits(&self) -> Option<f64> {
        let name = &self.weights.info()?.quantization;
        let dtype = DType::ALL.into_iter().find(|dtype| dtype.name() == name)?;
        Some(dtype.block_bytes() as f64 * 8.0 / dtype.block_len() as f64)
    }

    /// Whether the weights are quantized, in their files or since.
    pub fn is_quantized(&self) -> bool {
        self.quantize != Quantize::No || self.stored_bits().is_some_and(|bits| bits < 16.0)
    }

    /// Whether an engine has failed.
    pub fn is_broken(&self) -> bool {
        self.instances.iter().any(|i| i.engine.health().is_err())
    }
}
