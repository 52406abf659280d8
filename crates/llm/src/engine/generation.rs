//! The caller's end of a request.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use super::Gate;
use super::event::Event;

/// The events of one request. Dropping it cancels the request, whose blocks are free before the
/// engine's next step.
///
/// The events wait here, so that a slow reader holds up nobody; there are at most as many as
/// tokens.
pub struct Generation {
    events: UnboundedReceiver<Event>,
    gate: Arc<Gate>,
    seed: u64,
    ended: bool,
}

impl Generation {
    pub(super) fn new(events: UnboundedReceiver<Event>, gate: Arc<Gate>, seed: u64) -> Self {
        Self {
            events,
            gate,
            seed,
            ended: false,
        }
    }

    /// The seed of the draws: the request's, or the random one that it was given.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().await;
        Some(self.note(event))
    }

    /// As [`next`](Self::next), blocking the thread.
    ///
    /// # Panics
    /// Within an asynchronous task.
    pub fn blocking_next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.events.blocking_recv();
        Some(self.note(event))
    }

    fn note(&mut self, event: Option<Event>) -> Event {
        // An engine that ended while the request was on its way to it says nothing.
        let event = event.unwrap_or_else(|| Event::Failed(self.gate.stopped()));
        self.ended = event.is_last();
        event
    }
}
