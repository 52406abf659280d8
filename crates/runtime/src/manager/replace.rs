//! A loaded model whose files have changed: what they have become takes the place of what they were.

use std::sync::Arc;

use hearth_hub::Entry;
use hearth_llm::LoadObserver;

use super::load::{Parts, make};
use super::{Manager, blocking};
use crate::Error;
use crate::engine::{Job, Weights};
use crate::events::Change;
use crate::house::Stage;

/// Nobody waits for the load, so nobody ends it.
struct Unobserved;

impl LoadObserver for Unobserved {
    fn loaded(&self, _bytes: u64) -> bool {
        true
    }
}

/// What had the place before.
struct Former {
    weights: Arc<dyn Weights>,
    /// The numbers of its instances.
    instances: Vec<u64>,
}

impl Manager {
    /// Loads what the files of the loaded model `name` have become beside it, and gives that its place: requests that come
    /// from then on get the new one, those at work end with the old one, which then goes. Where the new one cannot be
    /// loaded, or there is no memory for both, the old one stays, and the reason is told.
    ///
    /// # Errors
    /// Why the new one has not the place.
    pub(super) async fn replace(
        self: &Arc<Self>,
        name: &Arc<str>,
        entry: Entry,
    ) -> Result<(), Error> {
        let Some((job, instances)) = self.begin_replacing(name, entry.clone()) else {
            self.end_replacing(name);
            return Ok(());
        };
        let began = self.clock.now();
        let mut reserved = 0;
        let made = self
            .make_replacement(name, job, instances, &mut reserved)
            .await;
        let outcome = match made {
            Ok(parts) => match self.exchange(name, entry, parts, reserved, began) {
                Ok(former) => {
                    self.end_replacing(name);
                    self.note_change();
                    self.end_former(name, former).await;
                    Ok(())
                }
                // Meanwhile the model was told to go.
                Err(parts) => {
                    let ended = parts.end().await;
                    self.give_back(name, reserved);
                    self.end_replacing(name);
                    ended
                }
            },
            Err(error) => {
                self.give_back(name, reserved);
                self.end_replacing(name);
                Err(error)
            }
        };
        self.end_change(name);
        outcome
    }

    fn end_replacing(&self, name: &Arc<str>) {
        if let Some(slot) = self.lock().slots.get_mut(name) {
            slot.replacing = false;
        }
    }

    /// What is to be loaded and how often; `None` where the model is not loaded any more.
    fn begin_replacing(&self, name: &Arc<str>, entry: Entry) -> Option<(Arc<Job>, usize)> {
        let mut house = self.lock();
        let budget = house.available(name);
        let closed = house.closed;
        let slot = house.slots.get_mut(name)?;
        let Stage::Loaded(loaded) = &mut slot.stage else {
            return None;
        };
        if closed {
            return None;
        }
        // It stays until this is over, and so does its memory.
        let budget = budget.saturating_sub(slot.held);
        loaded.changing += 1;
        let staying = loaded.staying().max(1);
        let wanted = self.settings(&entry).min_instances;
        let instances = match wanted == slot.settings.min_instances {
            true => staying,
            false => wanted.max(1),
        };
        let job = Job {
            entry,
            quantize: loaded.quantize,
            budget,
        };
        Some((Arc::new(job), instances))
    }

    async fn make_replacement(
        self: &Arc<Self>,
        name: &Arc<str>,
        job: Arc<Job>,
        instances: usize,
        reserved: &mut u64,
    ) -> Result<Parts, Error> {
        let what = format!("loading '{name}' anew");
        let backend = Arc::clone(self.backend(&job.entry));
        let need = {
            let (backend, job) = (Arc::clone(&backend), Arc::clone(&job));
            blocking(&what, move || backend.predict(&job)).await?
        };
        let bytes = need.total(instances);
        self.reserve(name, bytes, None).await?;
        *reserved = bytes;
        make(
            &what,
            backend,
            job,
            need,
            instances,
            Arc::new(Unobserved),
            || {},
        )
        .await
    }

    /// Puts the new one into its place; the parts come back where the model is not loaded any more.
    fn exchange(
        &self,
        name: &Arc<str>,
        entry: Entry,
        parts: Parts,
        reserved: u64,
        began: std::time::Instant,
    ) -> Result<Former, Parts> {
        let now = self.clock.now();
        let mut house = self.lock();
        let house = &mut *house;
        let is_loaded = |house: &crate::house::House| {
            let slot = house.slots.get(name);
            slot.is_some_and(|slot| matches!(slot.stage, Stage::Loaded(_)))
        };
        if house.closed || !is_loaded(house) {
            return Err(parts);
        }
        let engines = parts.engines.into_iter();
        let new: Vec<_> = engines.map(|engine| house.instance(engine, now)).collect();
        let slot = house
            .slots
            .get_mut(name)
            .expect("it is loaded; this is a bug");
        let Stage::Loaded(loaded) = &mut slot.stage else {
            unreachable!("it is loaded");
        };
        let own = new.iter().map(|instance| instance.bytes);
        let memory_bytes = own.fold(parts.weights.memory_bytes(), u64::saturating_add);
        let former = loaded.instances.iter_mut().filter(|old| !old.leaving);
        let former = former.map(|old| {
            old.leaving = true;
            old.id
        });
        let former: Vec<u64> = former.collect();
        loaded.changing += former.len();
        let instances = new.len();
        loaded.instances.extend(new);
        let weights = std::mem::replace(&mut loaded.weights, parts.weights);
        loaded.kind = parts.kind;
        loaded.instance_bytes = parts.instance_bytes;
        loaded.since = now;
        loaded.load_time = now.saturating_duration_since(began);
        let load_time = loaded.load_time;
        slot.held = slot
            .held
            .saturating_sub(reserved)
            .saturating_add(memory_bytes);
        slot.settings.min_instances = self.settings(&entry).min_instances;
        slot.entry = entry;
        slot.error = None;
        self.tell_loaded(slot, load_time, memory_bytes, instances);
        slot.serve(now);
        self.note_memory(house);
        Ok(Former {
            weights,
            instances: former,
        })
    }

    /// Ends what had the place, when its requests have ended.
    async fn end_former(self: &Arc<Self>, name: &Arc<str>, former: Former) {
        self.retire(name, former.instances).await;
        let bytes = former.weights.memory_bytes();
        let weights = former.weights;
        let free = move || {
            drop(weights);
            Ok(())
        };
        if let Err(error) = blocking("freeing a model", free).await {
            tracing::error!(model = &**name, %error, "freeing what was replaced");
        }
        self.give_back(name, bytes);
    }

    /// Memory that the model held is free.
    fn give_back(&self, name: &Arc<str>, bytes: u64) {
        let mut house = self.lock();
        if let Some(slot) = house.slots.get_mut(name) {
            slot.held = slot.held.saturating_sub(bytes);
        }
        self.note_memory(&house);
    }

    /// The files of a loaded model have become what cannot be loaded.
    pub(super) fn keep_former(&self, name: &Arc<str>, error: Error) {
        let mut house = self.lock();
        let Some(slot) = house.slots.get_mut(name) else {
            return;
        };
        let message = error.to_string();
        if slot.error.as_ref().map(Error::to_string).as_ref() == Some(&message) {
            return;
        }
        tracing::warn!(
            model = &**name,
            error = message,
            "its files have changed and are not taken; what is loaded stays"
        );
        slot.meter.count(|metrics| {
            metrics.loads += 1;
            metrics.failed_loads += 1;
        });
        slot.error = Some(error);
        self.publish(slot, Change::LoadFailed { error: message });
    }
}
