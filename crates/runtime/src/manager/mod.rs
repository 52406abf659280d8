//! The manager of all models: one house, and the work that changes it.

mod acquire;
mod announce;
mod keeper;
mod load;
mod replace;
mod scale;
mod unload;
mod versions;
mod views;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hearth_hub::catalog::{Catalog, CatalogError, Entry, Kind};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{ModelSettings, RuntimeConfig};
use crate::engine::{Backend, ModelKind};
use crate::events::{Change, Events, ModelEvent};
use crate::house::{House, Slot, Stage};
use crate::series::Recorder;
use crate::{Error, machine};

pub use acquire::Ask;
pub(crate) use acquire::{Hold, Mark};
pub use load::LoadRequest;
pub(crate) use versions::Route;
pub use views::{InstanceStatus, LoadedModel, ModelStatus, RuntimeStats};
#[cfg(test)]
pub(crate) use watch::Seen;

/// What all parts of the runtime share.
pub(crate) struct Manager {
    pub catalog: Catalog,
    pub config: Arc<RuntimeConfig>,
    pub backends: Vec<Arc<dyn Backend>>,
    pub clock: Clock,
    pub events: Events,
    house: Mutex<House>,
    /// Told whenever something that somebody may wait for has changed: memory became free, a model idle.
    changed: Notify,
    keeper: OnceLock<Arc<Notify>>,
    recorder: Mutex<Recorder>,
}

impl Manager {
    pub fn new(
        catalog: Catalog,
        config: Arc<RuntimeConfig>,
        backends: Vec<Arc<dyn Backend>>,
        clock: Clock,
    ) -> Arc<Self> {
        let budget = config.memory.unwrap_or_else(machine::default_budget);
        Arc::new(Self {
            catalog,
            config,
            backends,
            events: Events::new(),
            house: Mutex::new(House::new(budget)),
            changed: Notify::new(),
            keeper: OnceLock::new(),
            recorder: Mutex::new(Recorder::new(clock.start())),
            clock,
        })
    }

    pub fn lock(&self) -> MutexGuard<'_, House> {
        self.house.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name that an alias stands for; other names are their own. A model's own name wins over an alias.
    pub fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        match self.config.aliases.get(name) {
            Some(target) if !self.lock().slots.contains_key(name) => target,
            _ => name,
        }
    }

    /// As [`Manager::resolve`], for aliases that have been looked up before: only then is it certain that no model has such a
    /// name.
    fn resolve_known<'a>(&'a self, name: &'a str) -> &'a str {
        match self.config.aliases.get(name) {
            Some(target) if self.lock().aliases.contains(name) => target,
            _ => name,
        }
    }

    /// The model called `name`, which may be an alias.
    ///
    /// # Errors
    /// [`Error::NotFound`], which lists the names there are.
    pub async fn find(&self, name: &str) -> Result<Entry, Error> {
        let model = name.to_owned();
        let target = self.config.aliases.get(name).cloned();
        let found = self.look(move |catalog| match catalog.find(&model)? {
            None => target.map_or(Ok(None), |target| catalog.find(&target)),
            found => Ok(found),
        });
        match found.await? {
            Some(entry) => {
                if entry.name != name {
                    self.lock().aliases.insert(name.to_owned());
                }
                Ok(entry)
            }
            None => {
                let entries = self.look(Catalog::entries).await?;
                let mut available: Vec<String> =
                    entries.into_iter().map(|entry| entry.name).collect();
                let aliases = self.config.aliases.iter();
                let aliases = aliases.filter(|(alias, target)| {
                    available.contains(target) && !available.contains(alias)
                });
                let aliases: Vec<String> = aliases.map(|(alias, _)| alias.clone()).collect();
                available.extend(aliases);
                Err(Error::NotFound {
                    model: name.to_owned(),
                    available,
                })
            }
        }
    }

    /// Asks the catalog, which looks at folders and files, on a blocking thread.
    pub async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, Error> {
        let catalog = self.catalog.clone();
        blocking("looking for the models", move || {
            question(&catalog).map_err(|error| Error::Internal {
                message: format!("the models: {error}"),
            })
        })
        .await
    }

    /// Who loads a model.
    pub fn backend(&self, entry: &Entry) -> &Arc<dyn Backend> {
        let takes = |backend: &&Arc<dyn Backend>| backend.takes(entry);
        let found = self.backends.iter().find(takes);
        found.unwrap_or_else(|| {
            self.backends
                .first()
                .expect("there is a backend; this is a bug")
        })
    }

    /// What a model is for, as far as its headers tell.
    pub fn kind(&self, entry: &Entry) -> Option<ModelKind> {
        match entry.kind {
            Kind::Unknown(_) => None,
            _ => Some(self.backend(entry).kind()),
        }
    }

    /// The model's slot, made where there is none yet. A slot whose model is not loaded takes the entry's news.
    fn slot<'a>(&self, house: &'a mut House, entry: &Entry) -> &'a mut Slot {
        let name = entry.name.as_str();
        if !house.slots.contains_key(name) {
            let settings = self.settings(entry);
            let concurrency = self.backend(entry).concurrency();
            let slot = Slot::new(entry.clone(), settings, concurrency, self.clock.start());
            house.slots.insert(Arc::clone(&slot.name), slot);
        }
        let slot = house
            .slots
            .get_mut(name)
            .expect("it was put there; this is a bug");
        if matches!(slot.stage, Stage::NotLoaded) {
            if slot.entry.stamp != entry.stamp {
                // What was wrong may be so no more.
                slot.error = None;
                slot.settings.min_instances = self.settings(entry).min_instances;
                slot.instances = slot.settings.min_instances.max(1);
            }
            slot.entry = entry.clone();
        }
        slot
    }

    /// A model's settings; a version's own, or else its model's, of which only the version that requests get is pinned.
    fn settings(&self, entry: &Entry) -> ModelSettings {
        let own = self.config.models.get(&entry.name);
        let settings = own.unwrap_or_else(|| self.config.settings(entry.model()));
        let is_pinned = own.is_some() || entry.version_of.is_none();
        let is_own = own.is_some() || self.config.models.contains_key(entry.model());
        // Settings of the model itself go before what its files say.
        let instances = entry.instances.filter(|_| !is_own);
        ModelSettings {
            pinned: settings.pinned && is_pinned,
            min_instances: instances.unwrap_or(settings.min_instances),
            ..settings.clone()
        }
    }

    /// Tells of a change of a slot, after it.
    fn publish(&self, slot: &Slot, change: Change) {
        self.events.publish(ModelEvent {
            at: self.clock.date(self.clock.now()),
            model: slot.name.to_string(),
            change,
            state: slot.state(),
        });
    }

    /// Notes how much memory is held, after a change of it.
    fn note_memory(&self, house: &House) {
        let used = house.used();
        self.recorder()
            .note(self.clock.now(), |sample| sample.memory_bytes = used);
    }

    /// Wakes all who wait for a change, and the keeper.
    fn note_change(&self) {
        self.changed.notify_waiters();
        self.wake_keeper();
    }

    /// Waits until `look` gives something, looking again after each change. `look` must not wait.
    async fn until<T>(&self, mut look: impl FnMut(&mut House) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(seen) = look(&mut self.lock()) {
                return seen;
            }
            changed.await;
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // It finds nothing to keep, and ends.
        self.wake_keeper();
    }
}

/// Runs work on a blocking thread; a panic in it is an error that says what was done.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => {
                let text = panic.downcast_ref::<&str>().copied();
                let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                let cause = text.unwrap_or("no message");
                Err(Error::Internal {
                    message: format!("{what} panicked: {cause}"),
                })
            }
            // The thread pool drops what it has not begun when it ends.
            Err(_) => Err(Error::ShuttingDown),
        },
    }
}

/// When somebody who was turned away may come back: `time`, within bounds that make sense.
fn retry_after(time: Duration) -> Duration {
    time.clamp(Duration::from_secs(1), Duration::from_secs(60))
}

/// The earlier of two times that may not be there.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
