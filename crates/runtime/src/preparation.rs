//! Work that comes before the engine's: templates and tokenizers, on blocking threads.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::Error;

/// Runs a few pieces of work at a time away from the asynchronous tasks; the others wait.
#[derive(Debug, Clone)]
pub(crate) struct Preparation(Arc<Semaphore>);

impl Preparation {
    /// Runs at most `threads` pieces at a time.
    pub fn new(threads: usize) -> Self {
        Self(Arc::new(Semaphore::new(threads.max(1))))
    }

    /// Runs `work` when there is a place for it. Work that has begun goes on if nobody waits any more,
    /// and keeps its place until it is done.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.0).acquire_owned().await;
        let place = place.expect("the semaphore is never closed; this is a bug");
        let work = move || {
            let outcome = work();
            drop(place);
            outcome
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => Err(Error::Internal {
                message: "preparing the prompt panicked".into(),
            }),
            Err(_) => Err(Error::ShuttingDown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn no_more_than_so_many_at_a_time() {
        let preparation = Preparation::new(2);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let pieces: Vec<_> = (0..16)
            .map(|number| {
                let (preparation, running, most) =
                    (preparation.clone(), running.clone(), most.clone());
                tokio::spawn(async move {
                    let work = move || {
                        let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        Ok(number)
                    };
                    preparation.run(work).await
                })
            })
            .collect();
        for (number, piece) in pieces.into_iter().enumerate() {
            assert_eq!(piece.await.expect("no panic"), Ok(number));
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_its_place_back() {
        let preparation = Preparation::new(1);
        let failed = preparation.run::<()>(|| panic!("out of luck")).await;
        assert!(matches!(failed, Err(Error::Internal { .. })));
        assert_eq!(preparation.run(|| Ok(1)).await, Ok(1));
    }
}
