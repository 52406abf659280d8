//! Values by name, each made once, however many ask for it at the same time.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::Error;

/// The outcome of a making, once there is one.
type Outcome<T> = Option<Result<T, Error>>;

/// Values by name.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    slots: Mutex<HashMap<String, Slot<T>>>,
}

#[derive(Debug)]
enum Slot<T> {
    Making(watch::Receiver<Outcome<T>>),
    Ready(T),
}

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    /// Nothing made yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            slots: Mutex::new(HashMap::new()),
        })
    }

    /// The value of `name`, made by `make` on a blocking thread if there is none.
    ///
    /// Whoever asks meanwhile waits for the same making. It goes on if those who wait go away. A failure
    /// is told to all who wait, and the next to ask tries again.
    pub async fn get(
        self: &Arc<Self>,
        name: &str,
        make: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut outcome = match self.join(name, make) {
            Slot::Ready(value) => return Ok(value),
            Slot::Making(outcome) => outcome,
        };
        let told = outcome.wait_for(Option::is_some).await;
        match told.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // The thread pool drops what it has not begun when it ends.
            Ok(None) | Err(_) => Err(Error::ShuttingDown),
        }
    }

    /// The value of `name`, if it is ready.
    pub fn peek(&self, name: &str) -> Option<T> {
        match self.lock().get(name) {
            Some(Slot::Ready(value)) => Some(value.clone()),
            _ => None,
        }
    }

    /// What is ready, in the order of the names.
    pub fn ready(&self) -> Vec<(String, T)> {
        let slots = self.lock();
        let ready = slots.iter().filter_map(|(name, slot)| match slot {
            Slot::Ready(value) => Some((name.clone(), value.clone())),
            Slot::Making(_) => None,
        });
        let mut ready: Vec<_> = ready.collect();
        ready.sort_by(|(a, _), (b, _)| a.cmp(b));
        ready
    }

    /// What there is under `name`; where there is nothing, its making is begun.
    fn join(
        self: &Arc<Self>,
        name: &str,
        make: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Slot<T> {
        let mut slots = self.lock();
        match slots.get(name) {
            Some(Slot::Ready(value)) => return Slot::Ready(value.clone()),
            Some(Slot::Making(outcome)) if outcome.has_changed().is_ok() => {
                return Slot::Making(outcome.clone());
            }
            // Nothing, or a making whose thread never ran.
            _ => {}
        }
        let (tell, outcome) = watch::channel(None);
        slots.insert(name.to_owned(), Slot::Making(outcome.clone()));
        let (house, name) = (Arc::clone(self), name.to_owned());
        tokio::task::spawn_blocking(move || {
            let made = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|panic| {
                let cause = panic_text(&*panic);
                Err(Error::Internal {
                    message: format!("loading '{name}' panicked: {cause}"),
                })
            });
            let mut slots = house.lock();
            match &made {
                Ok(value) => slots.insert(name, Slot::Ready(value.clone())),
                Err(_) => slots.remove(&name),
            };
            drop(slots);
            tell.send_replace(Some(made));
        });
        Slot::Making(outcome)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot<T>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn failure() -> Error {
        Error::Internal {
            message: "the file is broken".into(),
        }
    }

    #[tokio::test]
    async fn many_wait_for_one_making() {
        let house = SingleFlight::new();
        let makings = Arc::new(AtomicUsize::new(0));
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let ask = || {
            let (house, makings, gate) =
                (Arc::clone(&house), Arc::clone(&makings), Arc::clone(&gate));
            tokio::spawn(async move {
                let make = move || {
                    gate.lock()
                        .expect("nobody panics with it")
                        .recv()
                        .expect("opened below");
                    Ok(makings.fetch_add(1, Ordering::SeqCst))
                };
                house.get("a", make).await
            })
        };
        let asked: Vec<_> = (0..8).map(|_| ask()).collect();
        assert!(house.ready().is_empty());
        open.send(()).expect("somebody makes it");
        for answer in asked {
            assert_eq!(answer.await.expect("no panic"), Ok(0));
        }
        assert_eq!(house.ready(), [("a".to_owned(), 0)]);
        // Ready by now, so nothing is made.
        assert_eq!(house.get("a", || Err(failure())).await, Ok(0));
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_and_the_next_tries_again() {
        let house = SingleFlight::<u32>::new();
        let (open, gate) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let house = Arc::clone(&house);
            async move {
                let make = move || {
                    gate.recv().expect("opened below");
                    Err(failure())
                };
                house.get("a", make).await
            }
        });
        while !matches!(house.lock().get("a"), Some(Slot::Making(_))) {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let house = Arc::clone(&house);
            async move { house.get("a", || Ok(1)).await }
        });
        tokio::task::yield_now().await;
        open.send(()).expect("the first is making");
        assert_eq!(first.await.expect("no panic"), Err(failure()));
        assert_eq!(second.await.expect("no panic"), Err(failure()));
        assert_eq!(house.get("a", || Ok(2)).await, Ok(2));
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let house = SingleFlight::<u32>::new();
        let told = house.get("a", || panic!("out of luck")).await;
        let message = "loading 'a' panicked: out of luck".to_owned();
        assert_eq!(told, Err(Error::Internal { message }));
        assert_eq!(house.get("a", || Ok(1)).await, Ok(1));
    }

    #[tokio::test]
    async fn the_making_outlives_those_who_asked() {
        let house = SingleFlight::new();
        let (open, gate) = mpsc::channel::<()>();
        let asked = house.get("a", move || {
            gate.recv().expect("opened below");
            Ok(5)
        });
        // Polled once, then dropped, as when a client hangs up.
        assert!(
            tokio::time::timeout(std::time::Duration::ZERO, asked)
                .await
                .is_err()
        );
        open.send(()).expect("the making goes on");
        assert_eq!(house.get("a", || Err(failure())).await, Ok(5));
    }
}
