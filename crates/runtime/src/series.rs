//! What happened when: counters by second for the last hour, by minute for the last day.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longest window that is kept.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(86_400);
/// Most samples of a series.
const MOST_SAMPLES: u64 = 60;

/// What ended within a stretch of time, over all models.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Requests that ended, however they did.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Tokens taken in by them.
    pub tokens_in: u64,
    /// Tokens generated for them.
    pub tokens_out: u64,
    /// Their times from asking to the end of the answer, summed, in seconds.
    pub latency_sum: f64,
    /// Bytes that the memory budget counted at the end of the stretch.
    pub memory_bytes: u64,
}

impl Sample {
    /// The mean time of a request in seconds; `None` where none ended.
    pub fn mean_latency(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.latency_sum / self.requests as f64)
    }

    fn add(&mut self, later: &Self) {
        self.requests += later.requests;
        self.failed += later.failed;
        self.tokens_in += later.tokens_in;
        self.tokens_out += later.tokens_out;
        self.latency_sum += later.latency_sum;
        self.memory_bytes = later.memory_bytes;
    }
}

/// Equally long stretches up to now, oldest first; the last is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The length of a stretch.
    pub step: Duration,
    /// One for each.
    pub samples: Vec<Sample>,
}

impl Series {
    /// Requests a second in each stretch.
    pub fn requests_per_second(&self) -> Vec<f64> {
        let seconds = self.step.as_secs_f64();
        let rates = self.samples.iter().map(|s| s.requests as f64 / seconds);
        rates.collect()
    }

    /// All stretches as one.
    pub fn total(&self) -> Sample {
        let mut total = Sample::default();
        self.samples.iter().for_each(|sample| total.add(sample));
        total
    }
}

/// Samples of one length.
#[derive(Debug)]
struct Ring {
    step: Duration,
    capacity: u64,
    samples: VecDeque<Sample>,
    /// The number of the newest since the start.
    newest: u64,
}

impl Ring {
    fn new(step: Duration, capacity: u64) -> Self {
        Self {
            step,
            capacity,
            samples: VecDeque::from([Sample::default()]),
            newest: 0,
        }
    }

    /// The sample under way, after the time since the start.
    fn at(&mut self, elapsed: Duration) -> &mut Sample {
        let number = (elapsed.as_nanos() / self.step.as_nanos()) as u64;
        let memory_bytes = self.samples.back().map_or(0, |sample| sample.memory_bytes);
        let idle = Sample {
            memory_bytes,
            ..Sample::default()
        };
        let missing = number.saturating_sub(self.newest).min(self.capacity);
        for _ in 0..missing {
            if self.samples.len() as u64 >= self.capacity {
                self.samples.pop_front();
            }
            self.samples.push_back(idle);
        }
        self.newest = self.newest.max(number);
        self.samples
            .back_mut()
            .expect("there is one from the start; this is a bug")
    }

    /// The last `count` groups of `size` samples.
    fn series(&self, count: u64, size: u64) -> Series {
        let mut samples = vec![Sample::default(); count as usize];
        let from_newest = self.samples.iter().rev().enumerate();
        for (age, sample) in from_newest.take((count * size) as usize) {
            let group = &mut samples[count as usize - 1 - age / size as usize];
            // Going back in time, the first seen is the newest.
            let memory_bytes = match (age as u64).is_multiple_of(size) {
                true => sample.memory_bytes,
                false => group.memory_bytes,
            };
            group.add(sample);
            group.memory_bytes = memory_bytes;
        }
        Series {
            step: self.step * size as u32,
            samples,
        }
    }
}

/// The samples of this process.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    seconds: Ring,
    minutes: Ring,
}

impl Recorder {
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            seconds: Ring::new(Duration::from_secs(1), 3600),
            minutes: Ring::new(Duration::from_secs(60), 1440),
        }
    }

    /// Changes the samples of `now`.
    pub fn note(&mut self, now: Instant, change: impl Fn(&mut Sample)) {
        let elapsed = now.saturating_duration_since(self.start);
        change(self.seconds.at(elapsed));
        change(self.minutes.at(elapsed));
    }

    /// The last `window`, in at most [`MOST_SAMPLES`] stretches of whole seconds.
    pub fn series(&mut self, now: Instant, window: Duration) -> Series {
        self.note(now, |_| {});
        let window = window.clamp(Duration::from_secs(1), LONGEST_WINDOW);
        let ring = match window <= self.seconds.step * self.seconds.capacity as u32 {
            true => &self.seconds,
            false => &self.minutes,
        };
        let samples = (window.as_secs_f64() / ring.step.as_secs_f64()).ceil() as u64;
        let size = samples.div_ceil(MOST_SAMPLES);
        ring.series(samples.div_ceil(size), size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn samples_fall_into_their_stretch() {
        let start = Instant::now();
        let mut recorder = Recorder::new(start);
        for at in [0, 1, 1, 9, 10, 299] {
            recorder.note(start + second(at), |sample| {
                sample.requests += 1;
                sample.memory_bytes = at;
            });
        }
        let now = start + second(299);
        let series = recorder.series(now, second(300));
        assert_eq!((series.step, series.samples.len()), (second(5), 60));
        let requests: Vec<u64> = series.samples.iter().map(|s| s.requests).collect();
        assert_eq!((requests[0], requests[1], requests[2]), (3, 1, 1));
        assert_eq!((requests[59], series.total().requests), (1, 6));
        let memory: Vec<u64> = series.samples.iter().map(|s| s.memory_bytes).collect();
        assert_eq!(
            (memory[0], memory[1], memory[58], memory[59]),
            (1, 9, 10, 299)
        );
        assert_eq!(series.requests_per_second()[0], 0.6);
        // A short window sees the newest alone.
        assert_eq!(recorder.series(now, second(1)).samples.len(), 1);
        assert_eq!(recorder.series(now, second(10)).total().requests, 1);
    }

    #[test]
    fn old_samples_go_and_long_windows_are_counted_in_minutes() {
        let start = Instant::now();
        let mut recorder = Recorder::new(start);
        recorder.note(start, |sample| sample.requests += 1);
        let later = start + second(7200);
        assert_eq!(recorder.series(later, second(3600)).total().requests, 0);
        let day = recorder.series(later, LONGEST_WINDOW);
        assert_eq!((day.step, day.samples.len()), (second(24 * 60), 60));
        assert_eq!(day.total().requests, 1);
        let next_week = start + second(7 * 86_400);
        assert_eq!(
            recorder.series(next_week, LONGEST_WINDOW).total().requests,
            0
        );
    }
}
