//! Admission: inference requests are let in or refused at the door, before their body is read.
//!
//! A [`Ticket`] is taken from a fixed number and held until the last byte of the answer has been sent,
//! or the client has gone. Tickets are also what the counters of `/health` are made from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::turns::Turn;

/// The door.
#[derive(Debug)]
pub struct Admission {
    limit: usize,
    active: AtomicUsize,
    bytes_limit: usize,
    bytes: AtomicUsize,
    finished: AtomicU64,
    busy_micros: AtomicU64,
}

/// What the door has counted since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counters {
    /// Requests that are inside now.
    pub active: usize,
    /// Requests that have left, whatever their answer was.
    pub processed: u64,
    /// Mean time from admission to the end of the answer, in seconds; `None` before the first.
    pub mean_seconds: Option<f64>,
}

impl Admission {
    /// A door that lets `limit` requests be inside at a time, with bodies of `bytes_limit` bytes together.
    pub fn new(limit: usize, bytes_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            active: AtomicUsize::new(0),
            bytes_limit,
            bytes: AtomicUsize::new(0),
            finished: AtomicU64::new(0),
            busy_micros: AtomicU64::new(0),
        })
    }

    /// Lets one request in, or answers `None` when the house is full.
    pub fn enter(self: &Arc<Self>) -> Option<Ticket> {
        let entered = self
            .active
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |active| {
                (active < self.limit).then_some(active + 1)
            });
        entered.ok().map(|_| Ticket {
            door: Arc::clone(self),
            entered: Instant::now(),
            bytes: AtomicUsize::new(0),
            turn: None,
            is_counted: true,
        })
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        let processed = self.finished.load(Ordering::Acquire);
        let busy = Duration::from_micros(self.busy_micros.load(Ordering::Acquire));
        Counters {
            active: self.active.load(Ordering::Acquire),
            processed,
            mean_seconds: (processed > 0).then(|| busy.as_secs_f64() / processed as f64),
        }
    }

    /// How many requests may be inside.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

/// One request's place inside; dropping it gives the place back.
#[derive(Debug)]
pub struct Ticket {
    door: Arc<Admission>,
    entered: Instant,
    bytes: AtomicUsize,
    turn: Option<Turn>,
    is_counted: bool,
}

impl Ticket {
    /// When the request was let in. Deadlines count from here.
    pub fn entered(&self) -> Instant {
        self.entered
    }

    /// Leaves the request out of what is counted: it will come in again.
    pub fn discount(&mut self) {
        self.is_counted = false;
    }

    /// Holds the request's turn until it leaves.
    pub fn hold(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    /// Gives the request's turn to the next: what is done elsewhere takes nothing of this machine.
    pub fn pass_turn(&mut self) {
        self.turn = None;
    }

    /// The room for all bodies together, in bytes.
    pub fn room(&self) -> usize {
        self.door.bytes_limit
    }

    /// Makes room for `bytes` more of the request's body, which it holds until it leaves. Answers whether
    /// there was room.
    pub fn make_room(&self, bytes: usize) -> bool {
        let door = &self.door;
        let held = door
            .bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                held.checked_add(bytes)
                    .filter(|&sum| sum <= door.bytes_limit)
            });
        if held.is_ok() {
            self.bytes.fetch_add(bytes, Ordering::AcqRel);
        }
        held.is_ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let micros = u64::try_from(self.entered.elapsed().as_micros()).unwrap_or(u64::MAX);
        if self.is_counted {
            self.door.busy_micros.fetch_add(micros, Ordering::AcqRel);
            self.door.finished.fetch_add(1, Ordering::AcqRel);
        }
        let bytes = self.bytes.load(Ordering::Acquire);
        self.door.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.door.active.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::ClientId;
    use crate::turns::Turns;
    use futures_util::FutureExt;
    use std::net::Ipv4Addr;

    #[test]
    fn a_full_house_refuses_and_a_place_given_back_is_taken_again() {
        let door = Admission::new(2, 100);
        assert_eq!(
            door.counters(),
            Counters {
                active: 0,
                processed: 0,
                mean_seconds: None
            }
        );
        let first = door.enter().expect("there is room");
        let second = door.enter().expect("there is room");
        assert!(door.enter().is_none());
        drop(first);
        let third = door.enter().expect("there is room again");
        assert_eq!(door.counters().active, 2);
        drop((second, third));
        let counters = door.counters();
        assert_eq!((counters.active, counters.processed), (0, 3));
        assert!(counters.mean_seconds.is_some_and(|mean| mean >= 0.0));
    }

    #[tokio::test]
    async fn a_turn_that_is_passed_is_the_next_ones() {
        let client = ClientId::of_address(Ipv4Addr::LOCALHOST.into());
        let (door, turns) = (Admission::new(1, 0), Turns::new(1));
        let mut ticket = door.enter().expect("there is room");
        ticket.hold(turns.take(&client).await);
        let mut next = Box::pin(turns.take(&client));
        assert!((&mut next).now_or_never().is_none());
        ticket.pass_turn();
        assert!(next.now_or_never().is_some());
        assert_eq!(door.counters().active, 1);
    }

    #[test]
    fn bodies_share_their_room_and_give_it_back() {
        let door = Admission::new(2, 100);
        let first = door.enter().expect("there is room");
        let second = door.enter().expect("there is room");
        assert!(first.make_room(60) && second.make_room(40));
        assert!(!second.make_room(1));
        assert!(!second.make_room(usize::MAX));
        drop(first);
        assert!(second.make_room(60));
        drop(second);
        assert_eq!(door.bytes.load(Ordering::Acquire), 0);
    }
}
