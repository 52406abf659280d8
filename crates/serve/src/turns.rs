//! Whose turn it is: so many requests run at a time, and those that wait are taken from each client in turn, so
//! that one with a thousand requests does not stand before one with a single one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::caller::ClientId;

/// The turns that there are.
#[derive(Debug)]
pub struct Turns {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    waiting: HashMap<ClientId, VecDeque<oneshot::Sender<Turn>>>,
    /// The clients that wait, each once, the next first.
    order: VecDeque<ClientId>,
}

/// A turn; dropping it gives it to the next.
#[derive(Debug)]
pub struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// `most` turns at a time, at least one.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            state: Mutex::default(),
        })
    }

    /// Waits for a turn. Whoever stops waiting loses nothing but his place.
    pub async fn take(self: &Arc<Self>, client: &ClientId) -> Turn {
        let receiver = {
            let mut state = self.state();
            if state.taken < self.most {
                state.taken += 1;
                return Turn(Some(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            let waiting = state.waiting.entry(client.clone()).or_default();
            waiting.push_back(sender);
            if waiting.len() == 1 {
                state.order.push_back(client.clone());
            }
            receiver
        };
        // The sender is kept until it has sent; without one there is nobody to wait for.
        receiver.await.unwrap_or(Turn(None))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.state().waiting.values().map(VecDeque::len).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Gives a turn to the next who still waits, or keeps it for whoever comes.
    fn pass_on(self: &Arc<Self>) {
        let mut state = self.state();
        while let Some(client) = state.order.pop_front() {
            let Some(waiting) = state.waiting.get_mut(&client) else {
                continue;
            };
            let next = waiting.pop_front();
            match waiting.is_empty() {
                true => drop(state.waiting.remove(&client)),
                false => state.order.push_back(client),
            }
            let Some(next) = next else {
                continue;
            };
            match next.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // He has gone; his turn is no turn, so that dropping it here gives nothing away.
                Err(mut turn) => turn.0 = None,
            }
        }
        state.taken -= 1;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::net::{IpAddr, Ipv4Addr};

    fn client(last: u8) -> ClientId {
        ClientId::of_address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
    }

    #[tokio::test]
    async fn clients_are_served_in_turn() {
        let turns = Turns::new(1);
        let (busy, other) = (client(1), client(2));
        let first = turns.take(&busy).await;
        let mut waiting: Vec<_> = [&busy, &busy, &busy, &other]
            .into_iter()
            .map(|client| Box::pin(turns.take(client)))
            .collect();
        for waits in &mut waiting {
            assert!(waits.now_or_never().is_none());
        }
        assert_eq!(turns.waiting(), 4);
        drop(first);
        // The busy client came first, then the other, and only then the busy one's next.
        for served in [0, 3, 1, 2] {
            for (number, waits) in waiting.iter_mut().enumerate() {
                if number == served {
                    drop(waits.now_or_never().expect("it is his turn"));
                }
            }
        }
        assert_eq!(turns.waiting(), 0);
        assert!(
            turns.take(&other).now_or_never().is_some(),
            "nobody is left"
        );
    }

    #[tokio::test]
    async fn whoever_goes_away_loses_no_turn_for_others() {
        let turns = Turns::new(1);
        let first = turns.take(&client(1)).await;
        let (one, two) = (client(1), client(2));
        let mut gone = Box::pin(turns.take(&one));
        assert!((&mut gone).now_or_never().is_none());
        let mut late = Box::pin(turns.take(&two));
        assert!((&mut late).now_or_never().is_none());
        drop(gone);
        drop(first);
        // Served, and gone before he looked.
        drop(late);
        assert!(turns.take(&client(3)).now_or_never().is_some());
    }
}
