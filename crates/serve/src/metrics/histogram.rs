//! A histogram of durations: coarse buckets for Prometheus, fine ones for percentiles.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets that Prometheus is told, in seconds.
pub const BOUNDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 600.0,
];

/// Fine buckets divide each doubling of the time in this many parts, so a percentile is right to an
/// eighth of itself.
const PARTS: u32 = 8;

/// Doublings from one microsecond up; the last fine bucket takes all that is longer than nine hours.
const DOUBLINGS: u32 = 35;

const FINE: usize = (PARTS * DOUBLINGS) as usize;

/// Counts durations.
#[derive(Debug)]
pub struct Histogram {
    coarse: [AtomicU64; BOUNDS.len() + 1],
    fine: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            coarse: std::array::from_fn(|_| AtomicU64::new(0)),
            fine: (0..FINE).map(|_| AtomicU64::new(0)).collect(),
            sum_micros: AtomicU64::new(0),
        }
    }
}

/// What a histogram held at one moment. Several are added up by [`Snapshot::add`].
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    coarse: Vec<u64>,
    fine: Vec<u64>,
    /// The sum of all durations in seconds.
    pub sum_seconds: f64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            coarse: vec![0; BOUNDS.len() + 1],
            fine: vec![0; FINE],
            sum_seconds: 0.0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let coarse = BOUNDS.partition_point(|&bound| bound < seconds);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.coarse[coarse].fetch_add(1, Ordering::Relaxed);
        self.fine[fine_bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Snapshot {
        let read = |counts: &[AtomicU64]| {
            let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
            counts.collect()
        };
        Snapshot {
            coarse: read(&self.coarse),
            fine: read(&self.fine),
            sum_seconds: self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

impl Snapshot {
    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.coarse.iter().sum()
    }

    /// Their mean in seconds; `None` of none.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_seconds / count as f64)
    }

    /// The duration in seconds that a share `rank` (0 to 1) of all did not pass; `None` of none.
    pub fn percentile(&self, rank: f64) -> Option<f64> {
        let total: u64 = self.fine.iter().sum();
        let wanted = ((total as f64 * rank).ceil() as u64).clamp(1, total.max(1));
        let mut below = 0;
        for (bucket, &count) in self.fine.iter().enumerate() {
            if count > 0 && below + count >= wanted {
                // Within a bucket the durations are taken to lie evenly.
                let (low, high) = fine_range(bucket);
                let share = (wanted - below) as f64 / count as f64;
                return Some((low + (high - low) * share) / 1e6);
            }
            below += count;
        }
        None
    }

    /// Counts up to each of [`BOUNDS`], then all: the buckets as Prometheus has them.
    pub fn cumulative(&self) -> Vec<u64> {
        let mut sum = 0;
        let running = self.coarse.iter().map(|count| {
            sum += count;
            sum
        });
        running.collect()
    }

    /// Adds the durations of another.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in [
            (&mut self.coarse, &other.coarse),
            (&mut self.fine, &other.fine),
        ] {
            for (own, more) in own.iter_mut().zip(more) {
                *own += more;
            }
        }
        self.sum_seconds += other.sum_seconds;
    }
}

/// The fine bucket of a duration.
fn fine_bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let doubling = micros.ilog2();
    // The bits below the highest one say how far between this doubling and the next it is.
    let part = ((micros as u128 * u128::from(PARTS)) >> doubling) as u32 - PARTS;
    ((doubling * PARTS + part) as usize).min(FINE - 1)
}

/// The bounds of a fine bucket in microseconds.
fn fine_range(bucket: usize) -> (f64, f64) {
    let (doubling, part) = (bucket as u32 / PARTS, bucket as u32 % PARTS);
    let start = f64::from(doubling).exp2();
    let step = start / f64::from(PARTS);
    let low = start + step * f64::from(part);
    (low, low + step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_mean_and_no_percentiles() {
        let empty = Histogram::default().snapshot();
        assert_eq!(
            (empty.count(), empty.mean(), empty.percentile(0.5)),
            (0, None, None)
        );
    }

    #[test]
    fn percentiles_are_right_to_an_eighth() {
        let histogram = Histogram::default();
        for millis in 1..=1000 {
            histogram.observe(Duration::from_millis(millis));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 1000);
        assert!((snapshot.mean().expect("a thousand") - 0.5005).abs() < 1e-6);
        for (rank, seconds) in [(0.5, 0.5), (0.95, 0.95), (0.99, 0.99), (1.0, 1.0)] {
            let found = snapshot.percentile(rank).expect("a thousand");
            assert!((found / seconds - 1.0).abs() < 0.125, "{rank}: {found}");
        }
    }

    #[test]
    fn bounds_belong_to_the_bucket_below() {
        let histogram = Histogram::default();
        for micros in [100_000, 100_001, 500_000, 0] {
            histogram.observe(Duration::from_micros(micros));
        }
        let cumulative = histogram.snapshot().cumulative();
        let up_to = |bound: f64| {
            let place = BOUNDS.iter().position(|&own| own == bound);
            cumulative[place.expect("a bound")]
        };
        assert_eq!((up_to(0.001), up_to(0.1), up_to(0.5)), (1, 2, 4));
        assert_eq!(cumulative.last(), Some(&4));
    }

    #[test]
    fn every_duration_has_a_bucket_that_holds_it() {
        for micros in (0..40)
            .map(|shift| 1_u64 << shift)
            .chain([3, 999, u64::MAX])
        {
            let bucket = fine_bucket(micros);
            let (low, high) = fine_range(bucket);
            let inside = low <= micros as f64 && (micros as f64) < high;
            assert!(inside || bucket == FINE - 1, "{micros} in {low}..{high}");
        }
        histogram_takes(Duration::MAX);
    }

    fn histogram_takes(duration: Duration) {
        let histogram = Histogram::default();
        histogram.observe(duration);
        assert_eq!(histogram.snapshot().count(), 1);
    }

    #[test]
    fn snapshots_add_up() {
        let (one, two) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_secs(1));
        two.observe(Duration::from_secs(3));
        let mut both = one.snapshot();
        both.add(&two.snapshot());
        assert_eq!((both.count(), both.mean()), (2, Some(2.0)));
    }
}
