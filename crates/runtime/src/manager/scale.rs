//! More and fewer instances of a loaded model.

use std::sync::Arc;

use hearth_llm::engine::Shutdown;

use super::{Manager, blocking};
use crate::Error;
use crate::events::Change;
use crate::house::Stage;
use crate::manager::load::LoadRequest;

impl Manager {
    /// Gives a model so many instances, and answers how many it has then; 0 unloads it. One that is not loaded is.
    pub async fn scale(self: &Arc<Self>, name: &str, wanted: usize) -> Result<usize, Error> {
        self.check_instances("target_instances", wanted)?;
        if wanted == 0 {
            self.unload(name, false).await?;
            return Ok(0);
        }
        let request = LoadRequest {
            instances: Some(wanted),
            ..LoadRequest::default()
        };
        let loading = self.load(name, request).await?;
        let name: Arc<str> = loading.model().into();
        loading.wait().await?;
        loop {
            match self.instances(&name) {
                // It was unloaded again meanwhile.
                None => return Ok(0),
                Some(now) if now < wanted => self.grow(&name).await?,
                Some(now) if now > wanted => self.shrink(&name, now - wanted).await,
                Some(now) => return Ok(now),
            }
        }
    }

    pub(super) fn check_instances(&self, param: &str, instances: usize) -> Result<(), Error> {
        let most = self.config.max_instances;
        match instances <= most {
            true => Ok(()),
            false => Err(Error::invalid(
                param,
                format!("{param}: expected 0 to {most}, got {instances}"),
            )),
        }
    }

    /// The instances of a loaded model.
    fn instances(&self, name: &Arc<str>) -> Option<usize> {
        match &self.lock().slots.get(name)?.stage {
            Stage::Loaded(loaded) => Some(loaded.staying()),
            _ => None,
        }
    }

    /// Starts another instance. A model that is no longer loaded is left as it is.
    pub(super) async fn grow(self: &Arc<Self>, name: &Arc<str>) -> Result<(), Error> {
        let (weights, bytes) = {
            let mut house = self.lock();
            if house.closed {
                return Err(Error::ShuttingDown);
            }
            let slot = house
                .slots
                .get_mut(name)
                .expect("slots stay; this is a bug");
            let Stage::Loaded(loaded) = &mut slot.stage else {
                return Ok(());
            };
            loaded.changing += 1;
            (Arc::clone(&loaded.weights), loaded.instance_bytes)
        };
        let reserved = self.reserve(name, bytes, None).await;
        let has_room = reserved.is_ok();
        let started = match reserved {
            Ok(()) => {
                let start = move || weights.start();
                blocking("starting an instance", start).await
            }
            Err(error) => {
                drop(weights);
                Err(error)
            }
        };
        let now = self.clock.now();
        let left_over = {
            let mut house = self.lock();
            let closed = house.closed;
            let instance = started.map(|engine| house.instance(engine, now));
            let slot = house
                .slots
                .get_mut(name)
                .expect("slots stay; this is a bug");
            let mut freed = if has_room { bytes } else { 0 };
            let outcome = match (instance, &mut slot.stage) {
                (Ok(instance), Stage::Loaded(loaded)) if !closed => {
                    freed = freed.saturating_sub(instance.bytes);
                    slot.held = slot
                        .held
                        .saturating_add(instance.bytes.saturating_sub(bytes));
                    loaded.instances.push(instance);
                    Ok(None)
                }
                // It is on its way out, or all are.
                (Ok(instance), _) => Ok(Some(instance.engine)),
                (Err(error), _) => Err(error),
            };
            slot.held = slot.held.saturating_sub(freed);
            if let Ok(None) = outcome {
                let instances = slot.loaded().map_or(0, |loaded| loaded.staying());
                self.publish(slot, Change::Scaled { instances });
                slot.serve(now);
                slot.queue.restart_wait(now);
            }
            self.note_memory(&house);
            outcome
        };
        let outcome = match left_over {
            Ok(Some(engine)) => {
                let ended = self.end_engine(engine).await;
                ended.and(match self.lock().closed {
                    true => Err(Error::ShuttingDown),
                    false => Ok(()),
                })
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.end_change(name);
        outcome
    }

    /// Ends `count` instances, those with the fewest requests, when their requests have ended.
    pub(super) async fn shrink(self: &Arc<Self>, name: &Arc<str>, count: usize) {
        let ids: Vec<u64> = {
            let mut house = self.lock();
            let slot = house
                .slots
                .get_mut(name)
                .expect("slots stay; this is a bug");
            let Stage::Loaded(loaded) = &mut slot.stage else {
                return;
            };
            let mut staying: Vec<_> = loaded.instances.iter_mut().filter(|i| !i.leaving).collect();
            staying.sort_by_key(|instance| (instance.in_flight, std::cmp::Reverse(instance.id)));
            let leaving = staying.into_iter().take(count);
            let ids = leaving.map(|instance| {
                instance.leaving = true;
                instance.id
            });
            let ids: Vec<u64> = ids.collect();
            loaded.changing += ids.len();
            let instances = loaded.staying();
            self.publish(slot, Change::Scaled { instances });
            ids
        };
        self.retire(name, ids).await;
    }

    /// Ends the instances of these numbers, which take no more requests, when those that they have are answered. Each is a
    /// change that is under way.
    pub(super) async fn retire(self: &Arc<Self>, name: &Arc<str>, ids: Vec<u64>) {
        for id in ids {
            let taken = self
                .until(|house| {
                    let slot = house.slots.get_mut(name)?;
                    let loaded = slot.loaded_mut()?;
                    let at = loaded.instances.iter().position(|i| i.id == id)?;
                    (loaded.instances[at].in_flight == 0).then(|| loaded.instances.remove(at))
                })
                .await;
            if let Err(error) = self.end_engine(taken.engine).await {
                tracing::error!(model = &**name, %error, "ending an instance");
            }
            {
                let mut house = self.lock();
                let slot = house
                    .slots
                    .get_mut(name)
                    .expect("slots stay; this is a bug");
                slot.held = slot.held.saturating_sub(taken.bytes);
                self.note_memory(&house);
            }
            self.end_change(name);
        }
    }

    pub(super) async fn end_engine(
        &self,
        engine: Arc<dyn crate::engine::Engine>,
    ) -> Result<(), Error> {
        let end = move || {
            engine.shutdown(Shutdown::Drain);
            Ok(())
        };
        blocking("ending an instance", end).await
    }

    /// A change of a model's instances is over, so that it may be unloaded.
    pub(super) fn end_change(&self, name: &Arc<str>) {
        if let Some(loaded) = self
            .lock()
            .slots
            .get_mut(name)
            .and_then(|slot| slot.loaded_mut())
        {
            loaded.changing -= 1;
        }
        self.note_change();
    }
}
