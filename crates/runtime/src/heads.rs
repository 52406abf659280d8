//! How many weights models have, as the heads of their files tell: read once for each state of a file.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use hearth_hub::catalog::{Entry, Stamp};

use crate::backends::network_parameters;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<HashMap<String, Head>>);

/// The head of a model's files, and by what it is known that they are still the same.
#[derive(Debug, Clone)]
struct Head {
    stamp: Stamp,
    parameters: Option<u64>,
}

impl Head {
    fn read(entry: &Entry) -> Self {
        let parameters = match entry.is_network() {
            true => network_parameters(entry),
            false => entry.open().ok().map(|checkpoint| checkpoint.parameters()),
        };
        Self {
            stamp: entry.stamp.clone(),
            parameters,
        }
    }

    fn is_of(&self, entry: &Entry) -> bool {
        self.stamp == entry.stamp
    }
}

impl Heads {
    /// The numbers of weights of `entries`, by their names; those that do not tell are left out. Reads files.
    pub fn parameters(&self, entries: &[Entry]) -> BTreeMap<String, u64> {
        let Self(known) = self;
        let before = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let heads = entries.iter().map(|entry| {
            let old = before.get(&entry.name).filter(|head| head.is_of(entry));
            let head = old.cloned().unwrap_or_else(|| Head::read(entry));
            (entry.name.clone(), head)
        });
        let heads: HashMap<String, Head> = heads.collect();
        let told = heads.iter();
        let told = told.filter_map(|(name, head)| Some((name.clone(), head.parameters?)));
        let told = told.collect();
        *known.lock().unwrap_or_else(PoisonError::into_inner) = heads;
        told
    }
}
