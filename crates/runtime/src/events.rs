//! What happens to models, told to whoever listens and kept for a while.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::progress::{LoadProgress, LoadState};

/// Events that are kept.
const KEPT: usize = 1000;
/// Events that a listener may be behind.
const BEHIND: usize = 1024;

/// Where a model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// It takes requests.
    Loaded,
    /// It is being loaded, or waits for memory.
    Loading,
    /// Its running requests are finished, or its memory is being freed.
    Unloading,
    /// A request would load it.
    NotLoaded,
    /// The last load failed; a request would try again.
    Failed,
}

/// Why a model is unloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Somebody asked for it.
    Asked,
    /// Nobody used it for as long as it was to be kept.
    Idle,
    /// Another model needs the memory.
    Evicted {
        /// That model.
        for_model: String,
    },
    /// It is to be loaded in another way.
    Reloaded,
    /// Its engine has failed.
    Broken,
    /// Its files are no longer there, or no longer to be served.
    Removed,
    /// The server ends.
    Shutdown,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// A load began.
    Loading,
    /// A load went on.
    Progress(LoadProgress),
    /// A model was loaded.
    Loaded {
        /// From the beginning of the load, waiting for memory included.
        load_time: Duration,
        /// Bytes that it takes.
        memory_bytes: u64,
        /// Instances started.
        instances: usize,
    },
    /// A load failed.
    LoadFailed {
        /// Why.
        error: String,
    },
    /// A load was ended: the model was unloaded meanwhile, or nobody wanted it any more.
    LoadCancelled,
    /// A model takes no more requests and will be unloaded when those that run have ended.
    Unloading {
        /// Why.
        reason: Reason,
    },
    /// A model's memory is free.
    Unloaded {
        /// Why.
        reason: Reason,
        /// Bytes that it took.
        freed_bytes: u64,
    },
    /// A loaded model has another number of instances.
    Scaled {
        /// Instances now.
        instances: usize,
    },
    /// A model was pinned, or no longer is.
    Pinned(bool),
}

/// Something that happened to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEvent {
    /// When.
    pub at: SystemTime,
    /// To which.
    pub model: String,
    /// What.
    pub change: Change,
    /// Where the model stands after it.
    pub state: ModelState,
}

impl ModelEvent {
    /// How far the model's load is, 0 to 1; 1 where it is loaded, 0 where it is not.
    pub fn progress(&self) -> f64 {
        match (&self.change, self.state) {
            (Change::Progress(progress), _) => progress.progress,
            (_, ModelState::Loaded) => 1.0,
            _ => 0.0,
        }
    }

    /// Seconds until it is loaded; `None` where that cannot be told or it is not being loaded.
    pub fn eta(&self) -> Option<f64> {
        match &self.change {
            Change::Progress(progress) => progress.eta,
            _ => None,
        }
    }
}

/// The events of this process.
#[derive(Debug)]
pub(crate) struct Events {
    tell: broadcast::Sender<ModelEvent>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<ModelEvent>,
    count: u64,
}

impl Events {
    pub fn new() -> Self {
        Self {
            tell: broadcast::Sender::new(BEHIND),
            kept: Mutex::default(),
        }
    }

    /// Tells of an event. Progress is told but not kept.
    pub fn publish(&self, event: ModelEvent) {
        if !matches!(event.change, Change::Progress(_)) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.events.len() == KEPT {
                kept.events.pop_front();
            }
            kept.events.push_back(event.clone());
            kept.count += 1;
        }
        // Without listeners there is nobody to tell.
        let _ = self.tell.send(event);
    }

    pub fn listen(&self) -> EventStream {
        EventStream {
            events: self.tell.subscribe(),
            lost: 0,
        }
    }

    /// The events that are kept, oldest first.
    pub fn history(&self) -> Vec<ModelEvent> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.events.iter().cloned().collect()
    }

    /// How many there were, and when the last was.
    pub fn count(&self) -> (u64, Option<SystemTime>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.count, kept.events.back().map(|event| event.at))
    }
}

/// Events from the time on at which it was made.
#[derive(Debug)]
pub struct EventStream {
    events: broadcast::Receiver<ModelEvent>,
    lost: u64,
}

impl EventStream {
    /// The next event; `None` when the runtime has ended. A listener that falls far behind loses the oldest.
    pub async fn next(&mut self) -> Option<ModelEvent> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(lost)) => self.lost += lost,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// How many events were lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// Whether a change of progress is worth an event: another state, or a percent more.
pub(crate) fn is_news(before: &LoadProgress, now: &LoadProgress) -> bool {
    before.state != now.state
        || (now.state == LoadState::Reading && now.progress - before.progress >= 0.01)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> ModelEvent {
        ModelEvent {
            at: SystemTime::UNIX_EPOCH,
            model: number.to_string(),
            change: Change::Loading,
            state: ModelState::Loading,
        }
    }

    #[tokio::test]
    async fn listeners_hear_what_comes_and_the_history_is_bounded() {
        let events = Events::new();
        events.publish(event(0));
        let mut listener = events.listen();
        for number in 1..=KEPT {
            events.publish(event(number));
        }
        assert_eq!(listener.next().await, Some(event(1)));
        let history = events.history();
        assert_eq!((history.len(), history[0].model.as_str()), (KEPT, "1"));
        assert_eq!(events.count().0, KEPT as u64 + 1);
        for number in 0..2 * BEHIND {
            events.publish(event(number));
        }
        assert!(listener.next().await.is_some() && listener.lost() > 0);
        drop(events);
        while listener.next().await.is_some() {}
    }
}
