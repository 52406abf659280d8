//! The folder of models, looked at again and again: what has changed there is taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_hub::catalog::{Catalog, Stamp};
use hearth_hub::{Entry, Location};

use super::{LoadRequest, Manager};
use crate::events::Reason;
use crate::house::{House, Slot, Stage};

/// The time between two looks. What has changed since the last but one, and not since the last, is taken.
const INTERVAL: Duration = Duration::from_secs(2);

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The files of each model, and of each version, at the last look.
    files: BTreeMap<String, Stamp>,
    /// What the last look failed at.
    problem: Option<String>,
}

/// What is to be done.
#[derive(Debug, Default)]
struct Work {
    /// Versions that requests will get once they are loaded.
    loads: Vec<Entry>,
    /// Loaded models with what their files have become.
    replacements: Vec<Entry>,
}

impl Manager {
    /// Looks at the models again and again, until the manager goes.
    pub async fn watch(self: Arc<Self>) {
        let (weak, clock) = (Arc::downgrade(&self), self.clock.clone());
        let mut seen = Seen::default();
        drop(self);
        loop {
            let Some(manager) = weak.upgrade() else {
                return;
            };
            if manager.lock().closed {
                return;
            }
            manager.look_again(&mut seen).await;
            drop(manager);
            clock.sleep_until(Some(clock.now() + INTERVAL)).await;
        }
    }

    /// Takes what has changed and has been still since the last look; begins to load it.
    pub(crate) async fn look_again(self: &Arc<Self>, seen: &mut Seen) {
        let entries = match self.look(Catalog::entries).await {
            Ok(entries) => {
                seen.problem = None;
                entries
            }
            Err(error) => {
                let problem = error.to_string();
                if seen.problem.as_ref() != Some(&problem) {
                    tracing::warn!(
                        problem,
                        "the models cannot be looked at; they stay as they are"
                    );
                }
                seen.problem = Some(problem);
                return;
            }
        };
        let work = self.compare(seen, &entries);
        for entry in work.loads {
            tracing::info!(
                model = entry.name,
                "a new version is loaded before requests go to it"
            );
            // Why it fails is told where it does.
            let _ = self.load_entry(&entry, LoadRequest::default());
        }
        for entry in work.replacements {
            let (manager, name) = (Arc::clone(self), Arc::<str>::from(entry.name.as_str()));
            tokio::spawn(async move {
                if let Err(error) = manager.replace(&name, entry).await {
                    manager.keep_former(&name, error);
                }
            });
        }
    }

    /// Sees what is new, and begins to unload what is gone.
    fn compare(self: &Arc<Self>, seen: &mut Seen, entries: &[Entry]) -> Work {
        let mut work = Work::default();
        let mut house = self.lock();
        if house.closed {
            return work;
        }
        let is_still = |entry: &Entry| seen.files.get(&entry.name) == Some(&entry.stamp);
        house.routes.retain(|model, _| {
            let entry = entries.iter().find(|entry| entry.name == *model);
            entry.is_some_and(|entry| !entry.versions.is_empty())
        });
        for model in entries.iter().filter(|entry| !entry.versions.is_empty()) {
            let known = |version: &&Entry| {
                is_still(version) || house.slots.contains_key(version.name.as_str())
            };
            let versions: Vec<Entry> = model.versions.iter().filter(known).cloned().collect();
            let settled = Entry {
                versions,
                ..model.clone()
            };
            if settled.versions.is_empty() {
                continue;
            }
            house.forget_lacks(&settled.versions);
            self.choose(&mut house, &settled);
            let next = house.next_version(&model.name);
            let next = settled
                .versions
                .iter()
                .find(|own| Some(own.name.as_str()) == next.as_deref());
            let is_there = |own: &&Entry| {
                let slot = house.slots.get(own.name.as_str());
                slot.is_none_or(|slot| matches!(slot.stage, Stage::NotLoaded))
            };
            work.loads.extend(next.filter(is_there).cloned());
        }
        let loadable = loadable(entries);
        for (name, entry) in &loadable {
            let has_room = house.has_room_by_now(name);
            let Some(slot) = house.slots.get_mut(*name) else {
                continue;
            };
            if slot.entry.stamp == entry.stamp {
                if matches!(slot.stage, Stage::Loaded(_)) && !slot.replacing {
                    // They are again what is loaded, whatever was wrong with them meanwhile.
                    (slot.error, slot.tried) = (None, None);
                }
                continue;
            }
            match slot.stage {
                Stage::NotLoaded => {
                    self.slot(&mut house, entry);
                }
                Stage::Loaded(_) if is_still(entry) && !slot.replacing => {
                    let tried = slot.tried.replace(entry.stamp.clone());
                    if has_room || tried.as_ref() != Some(&entry.stamp) {
                        slot.replacing = true;
                        work.replacements.push((*entry).clone());
                    }
                }
                _ => {}
            }
        }
        let is_gone = |house: &House, slot: &Slot| {
            let name = &*slot.name;
            let is_waiting =
                house.is_current(slot) && house.next_version(slot.entry.model()).is_some();
            matches!(slot.stage, Stage::Loaded(_))
                && matches!(slot.entry.location, Location::Path(_))
                && !loadable.contains_key(name)
                && !seen.files.contains_key(name)
                && !is_waiting
        };
        let gone = house.slots.values().filter(|slot| is_gone(&house, slot));
        let gone: Vec<Arc<str>> = gone.map(|slot| Arc::clone(&slot.name)).collect();
        for name in gone {
            if let Some(slot) = house.slots.get_mut(&name) {
                self.begin_unload(slot, Reason::Removed, false);
            }
        }
        drop(house);
        seen.files = loadable
            .into_iter()
            .map(|(name, entry)| (name.to_owned(), entry.stamp.clone()))
            .collect();
        work
    }
}

/// What can be loaded, by the names of the slots.
fn loadable(entries: &[Entry]) -> BTreeMap<&str, &Entry> {
    let each = entries
        .iter()
        .flat_map(|entry| match entry.versions.as_slice() {
            [] => std::slice::from_ref(entry),
            versions => versions,
        });
    each.map(|entry| (entry.name.as_str(), entry)).collect()
}
