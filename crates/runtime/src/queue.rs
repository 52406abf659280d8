//! Who waits for a model, in the order in which they are served.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A waiter's place, by which it leaves the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Nanoseconds since the queue began at which a request of priority 0 would have had to come for the same turn.
    turn: i128,
    number: u64,
}

/// A bounded queue. Higher priorities are served first, up to a point: a level is worth [`Queue::step`] of waiting, so
/// that low ones are not starved.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    limit: usize,
    step: Duration,
    start: Instant,
    next: u64,
    waiting: BTreeMap<Place, T>,
    /// Since when it has not been empty.
    since: Option<Instant>,
}

impl<T> Queue<T> {
    /// An empty queue for `limit` waiters.
    pub fn new(limit: usize, step: Duration, start: Instant) -> Self {
        Self {
            limit,
            step,
            start,
            next: 0,
            waiting: BTreeMap::new(),
            since: None,
        }
    }

    /// Lets somebody wait; `None` where the queue is full.
    pub fn push(&mut self, priority: u8, now: Instant, waiter: T) -> Option<Place> {
        if self.waiting.len() >= self.limit {
            return None;
        }
        let arrival = now.saturating_duration_since(self.start).as_nanos() as i128;
        let ahead = self.step.as_nanos() as i128 * i128::from(priority);
        let place = Place {
            turn: arrival - ahead,
            number: self.next,
        };
        self.next += 1;
        self.waiting.insert(place, waiter);
        self.since.get_or_insert(now);
        Some(place)
    }

    /// Whoever is next.
    pub fn pop(&mut self) -> Option<T> {
        let first = self.waiting.pop_first().map(|(_, waiter)| waiter);
        self.note_length();
        first
    }

    /// Somebody leaves without being served; `None` where it was served already.
    pub fn remove(&mut self, place: Place) -> Option<T> {
        let left = self.waiting.remove(&place);
        self.note_length();
        left
    }

    /// All who wait, in their order; the queue is empty then.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.since = None;
        std::mem::take(&mut self.waiting).into_values()
    }

    fn note_length(&mut self) {
        if self.waiting.is_empty() {
            self.since = None;
        }
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Since when somebody has been waiting without a break.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.since
    }

    /// From now on it begins to count anew how long somebody has been waiting.
    pub fn restart_wait(&mut self, now: Instant) {
        self.since = (!self.waiting.is_empty()).then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priorities_first_then_arrival() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut queue = Queue::new(8, 30 * second, start);
        for (priority, name) in [(0, "a"), (5, "b"), (10, "c"), (5, "d")] {
            queue.push(priority, start, name).expect("there is room");
        }
        // Thirty-one seconds later, one level does not make up for the wait, two do.
        queue.push(1, start + 31 * second, "e").expect("room");
        queue.push(2, start + 31 * second, "f").expect("room");
        let served: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(served, ["c", "b", "d", "f", "a", "e"]);
    }

    #[test]
    fn a_full_queue_refuses_and_who_leaves_makes_room() {
        let now = Instant::now();
        let mut queue = Queue::new(2, Duration::ZERO, now);
        let first = queue.push(5, now, 1).expect("room");
        queue.push(5, now, 2).expect("room");
        assert_eq!(queue.push(10, now, 3), None);
        assert_eq!((queue.remove(first), queue.remove(first)), (Some(1), None));
        assert!(queue.push(5, now, 4).is_some());
        assert_eq!(queue.drain().collect::<Vec<_>>(), [2, 4]);
        assert!(queue.is_empty() && queue.waiting_since().is_none());
    }

    #[test]
    fn how_long_somebody_has_been_waiting() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = Queue::new(2, Duration::ZERO, now);
        assert_eq!(queue.waiting_since(), None);
        queue.push(5, now, 1);
        queue.push(5, later, 2);
        queue.pop();
        assert_eq!(queue.waiting_since(), Some(now));
        queue.restart_wait(later);
        assert_eq!(queue.waiting_since(), Some(later));
        queue.pop();
        assert_eq!(queue.waiting_since(), None);
    }
}
