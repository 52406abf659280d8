//! From a loaded model to free memory.

use std::sync::Arc;

use hearth_hub::Entry;
use hearth_hub::catalog::RemoveError;
use hearth_llm::engine::Shutdown;

use super::{Manager, blocking};
use crate::Error;
use crate::events::{Change, Reason};
use crate::house::{Slot, Stage};

impl Manager {
    /// Unloads a model and waits until its memory is free; a load that is under way is ended. Running requests are
    /// finished first, or cut by `force`. Of a network with several versions all go. Answers whether there was anything to
    /// unload.
    pub async fn unload(self: &Arc<Self>, name: &str, force: bool) -> Result<bool, Error> {
        let entry = self.find(name).await?;
        self.unload_all(&entry, force).await
    }

    async fn unload_all(self: &Arc<Self>, entry: &Entry, force: bool) -> Result<bool, Error> {
        let parts = self.parts(&self.lock(), entry);
        let pinned = |part: &Entry| {
            let house = self.lock();
            let slot = house.slots.get(part.name.as_str());
            slot.is_some_and(|slot| slot.pinned && !matches!(slot.stage, Stage::NotLoaded))
        };
        if let Some(part) = { parts.iter() }.find(|part| pinned(part)) {
            return Err(is_pinned(&part.name));
        }
        let mut any = false;
        for part in parts {
            any |= self.unload_entry(&part, force).await?;
        }
        Ok(any)
    }

    /// Unloads a model and removes its files, which have to lie in the folder of models. Running requests are finished
    /// first.
    pub async fn delete(self: &Arc<Self>, name: &str) -> Result<(), Error> {
        let entry = self.find(name).await?;
        if entry.name != name {
            let message = format!(
                "'{name}' is another name of model '{}'; give that",
                entry.name
            );
            return Err(Error::Conflict { message });
        }
        if let Some(model) = &entry.version_of {
            let message =
                format!("'{name}' is a version of model '{model}', which is deleted as a whole");
            return Err(Error::Conflict { message });
        }
        {
            let house = self.lock();
            let slots = self.parts(&house, &entry).into_iter();
            let mut slots = slots.filter_map(|part| house.slots.get(part.name.as_str()));
            if slots.any(|slot| slot.pinned) || self.config.settings(name).pinned {
                return Err(is_pinned(name));
            }
        }
        let (catalog, model) = (self.catalog.clone(), entry.name.clone());
        let look = move || catalog.removable(&model).map_err(not_removed);
        let files = blocking("looking for a model's files", look).await?;
        self.unload_all(&entry, false).await?;
        let remove = move || files.remove().map_err(not_removed);
        blocking("deleting a model", remove).await?;
        // From here on it cannot be loaded; it may have been just before.
        self.unload_all(&entry, false).await?;
        Ok(())
    }

    async fn unload_entry(self: &Arc<Self>, entry: &Entry, force: bool) -> Result<bool, Error> {
        let (name, departures) = {
            let mut house = self.lock();
            let slot = self.slot(&mut house, entry);
            if slot.pinned && !matches!(slot.stage, Stage::NotLoaded) {
                return Err(is_pinned(&slot.name));
            }
            match &mut slot.stage {
                Stage::NotLoaded => return Ok(false),
                Stage::Loading { report, .. } => {
                    report.cancel();
                    let model = slot.name.to_string();
                    slot.refuse_all(&Error::Unloaded { model });
                }
                Stage::Loaded(_) => self.begin_unload(slot, Reason::Asked, force),
                Stage::Unloading { force: cut, .. } => *cut |= force,
            }
            (Arc::clone(&slot.name), slot.departures)
        };
        self.note_change();
        self.until(|house| {
            let slot = house.slots.get(&name).expect("slots stay; this is a bug");
            let gone = match &slot.stage {
                Stage::NotLoaded => true,
                // Another load may have followed at once.
                Stage::Loading { report, .. } => {
                    !report.is_cancelled() && slot.departures > departures
                }
                _ => slot.departures > departures,
            };
            gone.then_some(())
        })
        .await;
        Ok(true)
    }

    /// A loaded model takes no more requests, and goes once its running ones have ended.
    pub(super) fn begin_unload(self: &Arc<Self>, slot: &mut Slot, reason: Reason, force: bool) {
        let stage = std::mem::replace(&mut slot.stage, Stage::NotLoaded);
        let Stage::Loaded(loaded) = stage else {
            slot.stage = stage;
            return;
        };
        // What a request comes to say from now on is said of the next load.
        slot.keep_alive = slot.settings.keep_alive;
        slot.stage = Stage::Unloading {
            loaded: Some(loaded),
            reason: reason.clone(),
            force,
            then: None,
        };
        self.publish(slot, Change::Unloading { reason });
        tokio::spawn(Arc::clone(self).run_unload(Arc::clone(&slot.name)));
    }

    async fn run_unload(self: Arc<Self>, name: Arc<str>) {
        let (loaded, force) = self
            .until(|house| {
                let slot = house.slots.get_mut(&name)?;
                let Stage::Unloading { loaded, force, .. } = &mut slot.stage else {
                    unreachable!("it stays so until its memory is free");
                };
                let force = *force;
                let ready = loaded
                    .as_ref()
                    .is_some_and(|l| l.changing == 0 && (force || l.in_flight() == 0));
                ready.then(|| (loaded.take().expect("it is there; this is a bug"), force))
            })
            .await;
        let free = move || {
            let how = match force {
                true => Shutdown::Abort,
                false => Shutdown::Drain,
            };
            for instance in &loaded.instances {
                instance.engine.shutdown(how);
            }
            // The weights go with the last that hold them.
            drop(loaded);
            Ok(())
        };
        if let Err(error) = blocking("unloading a model", free).await {
            tracing::error!(model = &*name, %error, "unloading");
        }
        self.end_unload(&name);
    }

    fn end_unload(self: &Arc<Self>, name: &Arc<str>) {
        let mut house = self.lock();
        let house = &mut *house;
        let slot = house
            .slots
            .get_mut(name)
            .expect("slots stay; this is a bug");
        let stage = std::mem::replace(&mut slot.stage, Stage::NotLoaded);
        let Stage::Unloading { reason, then, .. } = stage else {
            unreachable!("it stays so until here");
        };
        let freed_bytes = std::mem::take(&mut slot.held);
        slot.departures += 1;
        slot.left = Some(reason.clone());
        slot.meter.count(|metrics| metrics.unloads += 1);
        if reason == Reason::Idle {
            house.totals.scale_to_zero_events += 1;
        }
        tracing::info!(model = &**name, freed_bytes, ?reason, "unloaded");
        self.publish(
            slot,
            Change::Unloaded {
                reason,
                freed_bytes,
            },
        );
        match then {
            _ if house.closed => {
                slot.refuse_all(&Error::ShuttingDown);
                if let Some(report) = then {
                    report.end(Err(Error::ShuttingDown));
                }
            }
            Some(report) => {
                self.begin_reported_load(slot, report, true);
            }
            None => {
                slot.quantize = slot.settings.quantize;
                slot.instances = slot.settings.min_instances.max(1);
                // Who came meanwhile is served by a new load.
                if !slot.queue.is_empty() {
                    self.begin_load(slot, false);
                }
            }
        }
        self.note_memory(house);
        self.note_change();
    }

    /// Has a model stay whether it is used or not, or no longer.
    pub async fn pin(self: &Arc<Self>, name: &str, pinned: bool) -> Result<(), Error> {
        let entry = self.find(name).await?;
        {
            let mut house = self.lock();
            let entry = self.choose(&mut house, &entry);
            let slot = self.slot(&mut house, &entry);
            if slot.pinned == pinned {
                return Ok(());
            }
            slot.pinned = pinned;
            self.publish(slot, Change::Pinned(pinned));
        }
        self.note_change();
        Ok(())
    }

    /// Takes no more requests and ends all engines as told; answers when they have ended.
    pub async fn shutdown(&self, how: Shutdown) {
        let engines: Vec<_> = {
            let mut house = self.lock();
            house.closed = true;
            let mut engines = Vec::new();
            for slot in house.slots.values_mut() {
                slot.refuse_all(&Error::ShuttingDown);
                if let Stage::Loading { report, .. } = &slot.stage {
                    report.cancel();
                }
                if let Some(loaded) = slot.loaded() {
                    let own = loaded.instances.iter();
                    engines.extend(own.map(|i| (Arc::clone(&slot.name), Arc::clone(&i.engine))));
                }
            }
            engines
        };
        self.note_change();
        let ending = engines.into_iter().map(|(name, engine)| {
            let ended = tokio::task::spawn_blocking(move || engine.shutdown(how));
            (name, ended)
        });
        // All are begun before the first is waited for.
        for (name, ended) in ending.collect::<Vec<_>>() {
            if let Err(error) = ended.await {
                tracing::error!(model = &*name, %error, "an engine could not be ended");
            }
        }
    }
}

fn is_pinned(name: &str) -> Error {
    Error::Conflict {
        message: format!("model '{name}' is pinned; unpin it first"),
    }
}

fn not_removed(error: RemoveError) -> Error {
    let message = error.to_string();
    match error {
        RemoveError::BuiltIn { .. } | RemoveError::Outside { .. } => Error::Conflict { message },
        RemoveError::NotFound { model } => Error::NotFound {
            model,
            available: Vec::new(),
        },
        _ => Error::Internal { message },
    }
}
