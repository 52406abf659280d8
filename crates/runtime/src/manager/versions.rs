//! Which version of a network a request gets that names none.

use std::sync::Arc;

use hearth_hub::Entry;
use hearth_hub::catalog::{Stamp, split_version};

use super::Manager;
use crate::Error;
use crate::budget::{Plan, Wanted, plan};
use crate::house::{House, Slot, Stage};

/// Where requests for a network with several versions go.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// The versions that there are.
    versions: Vec<u64>,
    /// The slot of the one that requests get.
    current: Option<Arc<str>>,
    /// The slot of the one that requests get as soon as it is loaded; until then they get the one that is.
    next: Option<Arc<str>>,
}

impl House {
    /// The slot of the version that requests for the network `model` get; `None` where that has to be looked up.
    pub(super) fn current(&mut self, model: &str) -> Option<Arc<str>> {
        let route = self.routes.get(model)?;
        if let Some(next) = route.next.clone().filter(|next| self.takes(next)) {
            self.hand_over(model, next);
        }
        self.routes.get(model)?.current.clone()
    }

    /// The slot that is to be loaded so that requests for `model` get it, where there is one.
    pub(super) fn next_version(&self, model: &str) -> Option<Arc<str>> {
        self.routes.get(model)?.next.clone()
    }

    /// Whether the slot has the requests of its model that name no version.
    pub(super) fn is_current(&self, slot: &Slot) -> bool {
        let model = slot.entry.version_of.as_deref();
        let route = model.and_then(|model| self.routes.get(model));
        route.is_some_and(|route| route.current.as_ref() == Some(&slot.name))
    }

    /// Whether a slot takes requests.
    fn takes(&self, name: &str) -> bool {
        let slot = self.slots.get(name);
        slot.is_some_and(|slot| matches!(slot.stage, Stage::Loaded(_)))
    }

    /// From now on requests for `model` get `to`, which stays for as long as the one before it would have.
    fn hand_over(&mut self, model: &str, to: Arc<str>) {
        let route = self.routes.entry(model.to_owned()).or_default();
        route.next = None;
        let Some(from) = route
            .current
            .replace(Arc::clone(&to))
            .filter(|from| *from != to)
        else {
            return;
        };
        tracing::info!(
            model,
            from = &*from,
            to = &*to,
            "requests go to another version"
        );
        let before = self.slots.get_mut(&from).map(|slot| {
            let pinned = std::mem::take(&mut slot.pinned);
            (pinned, slot.keep_alive)
        });
        if let (Some((pinned, keep_alive)), Some(slot)) = (before, self.slots.get_mut(&to)) {
            slot.pinned |= pinned;
            slot.keep_alive = keep_alive;
        }
    }

    /// Lets those of `versions` be tried again whose last load had not enough memory, where there would be enough by now.
    pub(super) fn forget_lacks(&mut self, versions: &[Entry]) {
        for version in versions {
            let has_room = self.has_room_by_now(&version.name);
            let slot = self.slots.get_mut(version.name.as_str());
            if let Some(slot) = slot.filter(|slot| matches!(slot.stage, Stage::NotLoaded))
                && has_room
            {
                slot.error = None;
            }
        }
    }

    /// Whether the memory is there by now that the last load for a slot lacked because others held it, beside what it holds; false
    /// where it lacked none, or where waiting does not help: what the system refuses is not told by the budget.
    pub(crate) fn has_room_by_now(&self, name: &str) -> bool {
        let slot = self.slots.get(name);
        let Some((
            slot,
            Some(Error::InsufficientMemory {
                needed, holders, ..
            }),
        )) = slot.map(|slot| (slot, &slot.error))
        else {
            return false;
        };
        if holders.is_empty() {
            return false;
        }
        let wanted = Wanted {
            budget: self.budget.saturating_sub(slot.held),
            need: *needed,
            claimed: 0,
            drain: false,
        };
        let room = plan(wanted, &self.holders(name));
        matches!(room, Plan::Fits | Plan::Evict(_))
    }

    /// Whether the last load of these very files has failed.
    fn has_failed(&self, version: &Entry) -> bool {
        let slot = self.slots.get(version.name.as_str());
        slot.is_some_and(|slot| slot.has_failed(&version.stamp))
    }
}

impl Slot {
    /// Whether the last load was of these files, and failed.
    pub(super) fn has_failed(&self, stamp: &Stamp) -> bool {
        let is_tried = self.entry.stamp == *stamp;
        matches!(self.stage, Stage::NotLoaded) && self.error.is_some() && is_tried
    }
}

impl Manager {
    /// What a request for `entry` gets: itself, or of several versions the newest that can be loaded. While that is not loaded
    /// and another one is that has taken requests so far, it is the other one.
    pub(super) fn choose(&self, house: &mut House, entry: &Entry) -> Entry {
        let Some(newest) = entry.versions.first() else {
            return entry.clone();
        };
        let sound = entry.versions.iter().find(|own| !house.has_failed(own));
        let best = sound.unwrap_or(newest);
        let model = entry.name.as_str();
        let current = house.current(model);
        let route = house.routes.entry(model.to_owned()).or_default();
        route.versions = entry.versions.iter().map(Entry::version).collect();
        let is_first = current.is_none();
        let other = current.filter(|current| **current != *best.name);
        if let Some(other) = other.filter(|other| house.takes(other) && !house.takes(&best.name))
            && let Some(slot) = house.slots.get(&other)
        {
            let entry = slot.entry.clone();
            let next = Some(best.name.as_str().into());
            house.routes.entry(model.to_owned()).or_default().next = next;
            return entry;
        }
        let name = Arc::clone(&self.slot(house, best).name);
        house.hand_over(model, name);
        if is_first && self.config.settings(model).pinned {
            self.slot(house, best).pinned = true;
        }
        best.clone()
    }

    /// What has a slot, or may have one, of a model: itself, or its versions, those among them that are still there although
    /// their files are not.
    pub(super) fn parts(&self, house: &House, entry: &Entry) -> Vec<Entry> {
        if entry.versions.is_empty() {
            return vec![entry.clone()];
        }
        let is_listed = |name: &str| entry.versions.iter().any(|version| version.name == name);
        let left = house.slots.values().filter(|slot| {
            let is_own = slot.entry.version_of.as_ref() == Some(&entry.name);
            is_own && !matches!(slot.stage, Stage::NotLoaded) && !is_listed(&slot.name)
        });
        let left = left.map(|slot| slot.entry.clone());
        entry.versions.iter().cloned().chain(left).collect()
    }

    /// Whether `name` is that of a version of a network that was seen to have it, and of which network.
    pub fn version_of(&self, name: &str) -> Option<String> {
        let (model, version) = split_version(name)?;
        let house = self.lock();
        let route = house.routes.get(model)?;
        route.versions.contains(&version).then(|| model.to_owned())
    }

    /// Looks which versions the network `model` has, so that [`Self::version_of`] knows them.
    pub async fn note_versions(&self, model: &str) {
        // What cannot be looked up has none.
        let Ok(entry) = self.find(model).await else {
            return;
        };
        if !entry.versions.is_empty() {
            let versions = entry.versions.iter().map(Entry::version).collect();
            let mut house = self.lock();
            house.routes.entry(entry.name).or_default().versions = versions;
        }
    }

    /// The versions that a network has, the newest first, as of the last look at its folder; `None` where nobody has looked.
    pub fn known_versions(&self, name: &str) -> Option<Vec<u64>> {
        let name = self.resolve(name);
        let house = self.lock();
        match house.routes.get(name) {
            Some(route) => Some(route.versions.clone()).filter(|own| !own.is_empty()),
            None => {
                let slot = house.slots.get(name).filter(|slot| slot.loaded().is_some());
                slot.map(|slot| vec![slot.entry.version()])
            }
        }
    }

    /// The slot of a version, where it is loaded.
    pub fn loaded_version(&self, model: &str, version: u64) -> Option<String> {
        let house = self.lock();
        let named = hearth_hub::catalog::version_name(model, version);
        let is_it = |slot: &&Slot| slot.loaded().is_some() && slot.entry.version() == version;
        let slot = house.slots.get(named.as_str()).filter(is_it);
        let slot = slot.or_else(|| house.slots.get(model).filter(is_it));
        slot.map(|slot| slot.name.to_string())
    }
}
