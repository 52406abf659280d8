//! What happens by itself: idle models go, waiting requests get another instance, failed engines are replaced.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Manager, earlier};
use crate::clock::Clock;
use crate::events::Reason;
use crate::house::{Slot, Stage};

/// How long an instance beyond the least number has to be idle before it ends.
const SURPLUS_IDLE: Duration = Duration::from_secs(60);

/// What is to be done about a model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Unload(Reason),
    Grow,
    Shrink,
    /// Nothing, but perhaps then.
    Nothing(Option<Instant>),
}

impl Manager {
    /// Starts the keeper, once. It ends with the manager.
    pub(super) fn start_keeper(self: &Arc<Self>) {
        self.keeper.get_or_init(|| {
            let wake = Arc::new(Notify::new());
            let keeper = keep(Arc::downgrade(self), Arc::clone(&wake), self.clock.clone());
            tokio::spawn(keeper);
            wake
        });
    }

    /// Has the keeper look again.
    pub(super) fn wake_keeper(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.notify_one();
        }
    }

    /// Does what is due, and answers when to look again.
    fn tend(self: &Arc<Self>) -> Option<Instant> {
        let now = self.clock.now();
        let mut house = self.lock();
        let mut next = None;
        if !house.closed {
            for slot in house.slots.values_mut() {
                match due(slot, now) {
                    Due::Unload(reason) => self.begin_unload(slot, reason, false),
                    Due::Grow => {
                        // The next one is due only after another such wait.
                        slot.queue.restart_wait(now);
                        let (manager, name) = (Arc::clone(self), Arc::clone(&slot.name));
                        tokio::spawn(async move {
                            if let Err(error) = manager.grow(&name).await {
                                tracing::warn!(model = &*name, %error, "no further instance");
                            }
                        });
                    }
                    Due::Shrink => {
                        let (manager, name) = (Arc::clone(self), Arc::clone(&slot.name));
                        tokio::spawn(async move { manager.shrink(&name, 1).await });
                    }
                    Due::Nothing(then) => next = earlier(next, then),
                }
            }
        }
        house.keeper_wakes = next;
        next
    }
}

async fn keep(manager: Weak<Manager>, wake: Arc<Notify>, clock: Clock) {
    loop {
        let next = match manager.upgrade() {
            Some(manager) => manager.tend(),
            None => return,
        };
        tokio::select! {
            () = wake.notified() => {}
            () = clock.sleep_until(next) => {}
        }
    }
}

pub(super) fn due(slot: &Slot, now: Instant) -> Due {
    let Stage::Loaded(loaded) = &slot.stage else {
        return Due::Nothing(None);
    };
    if loaded.is_broken() {
        return Due::Unload(Reason::Broken);
    }
    let expires = slot.expires();
    if expires.is_some_and(|at| at <= now) {
        return Due::Unload(Reason::Idle);
    }
    if loaded.changing > 0 {
        // Its end is a reason to look again.
        return Due::Nothing(expires);
    }
    let settings = &slot.settings;
    let (count, mut next) = (loaded.staying(), expires);
    if let (Some(after), Some(since)) = (settings.scale_up_after, slot.queue.waiting_since())
        && count < settings.max_instances
    {
        match since + after {
            at if at <= now => return Due::Grow,
            at => next = earlier(next, Some(at)),
        }
    }
    // What was scaled up by hand stays.
    if settings.scale_up_after.is_some() && count > settings.min_instances.max(1) {
        let idle = loaded.instances.iter().filter(|i| i.in_flight == 0);
        let ends = idle
            .map(|instance| instance.idle_since + SURPLUS_IDLE)
            .min();
        match ends {
            Some(at) if at <= now => return Due::Shrink,
            at => next = earlier(next, at),
        }
    }
    Due::Nothing(next)
}
