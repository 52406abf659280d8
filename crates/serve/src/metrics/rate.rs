//! How often something happens: counts of the last minute, second by second.

use std::sync::Mutex;
use std::time::Instant;

/// How far back is looked, in seconds.
pub const WINDOW_SECONDS: u64 = 60;

/// Counts events of the last minute.
#[derive(Debug)]
pub struct Rate {
    began: Instant,
    /// For each second modulo the window: which second it is, and its count.
    slots: Mutex<[(u64, u64); WINDOW_SECONDS as usize]>,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            slots: Mutex::new([(0, 0); WINDOW_SECONDS as usize]),
        }
    }
}

impl Rate {
    /// Counts `count` events that happen now.
    pub fn add(&self, count: u64) {
        self.add_at(self.began.elapsed().as_secs(), count);
    }

    /// How many happened in the last minute.
    pub fn last_minute(&self) -> u64 {
        self.at(self.began.elapsed().as_secs())
    }

    /// Mean events a second over the last minute, or over the time since the start if that is shorter.
    pub fn per_second(&self) -> f64 {
        let seconds = self
            .began
            .elapsed()
            .as_secs_f64()
            .clamp(1.0, WINDOW_SECONDS as f64);
        self.last_minute() as f64 / seconds
    }

    fn add_at(&self, second: u64, count: u64) {
        let mut slots = self
            .slots
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let slot = &mut slots[(second % WINDOW_SECONDS) as usize];
        if slot.0 == second {
            slot.1 += count;
        } else {
            *slot = (second, count);
        }
    }

    fn at(&self, second: u64) -> u64 {
        let slots = self
            .slots
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let recent = slots
            .iter()
            .filter(|(slot, _)| second.saturating_sub(*slot) < WINDOW_SECONDS);
        recent.map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let rate = Rate::default();
        rate.add_at(0, 2);
        rate.add_at(30, 3);
        assert_eq!((rate.at(30), rate.at(59)), (5, 5));
        assert_eq!((rate.at(60), rate.at(89), rate.at(90)), (3, 3, 0));
        rate.add_at(60, 1);
        assert_eq!(rate.at(61), 4, "the second before in the same slot is gone");
    }
}
