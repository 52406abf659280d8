//! Tells listeners how far a load is.

use std::sync::{Arc, Mutex, PoisonError};

use hearth_llm::LoadObserver;

use super::Manager;
use crate::events::{Change, ModelEvent, ModelState, is_news};
use crate::progress::{LoadProgress, Report};

/// Reports a load's progress, and publishes what is news of it before the load goes on: whoever listened before hears
/// each step, in order, and none after the load's end.
pub(super) struct Announcer {
    manager: Arc<Manager>,
    report: Arc<Report>,
    /// What was told last.
    told: Mutex<LoadProgress>,
}

impl Announcer {
    /// For the load of `report`, whose beginning has been told.
    pub fn new(manager: Arc<Manager>, report: Arc<Report>) -> Self {
        Self {
            manager,
            told: Mutex::new(report.progress()),
            report,
        }
    }

    /// There is memory; `total` bytes of weights are read from now on.
    pub fn reading(&self, total: u64) {
        self.report.reading(total);
        self.tell();
    }

    /// All weights are there.
    pub fn starting(&self) {
        self.report.starting();
        self.tell();
    }

    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.report.progress();
        if !is_news(&told, &now) {
            return;
        }
        self.manager.events.publish(ModelEvent {
            at: self.manager.clock.date(self.manager.clock.now()),
            model: self.report.model().to_owned(),
            change: Change::Progress(now),
            state: ModelState::Loading,
        });
        *told = now;
    }
}

impl LoadObserver for Announcer {
    fn loaded(&self, bytes: u64) -> bool {
        let go_on = self.report.loaded(bytes);
        self.tell();
        go_on
    }
}
