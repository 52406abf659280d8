//! Times, counted in buckets of fixed bounds, so that percentiles can be told without keeping every time.
//!
//! Each power of two is cut into [`PARTS`] equal parts, as in an HDR histogram: a percentile is off by an eighth at
//! most, over the whole range.

use std::time::Duration;

/// Buckets of each power of two.
const PARTS: usize = 8;
/// The range is 2^LOW to 2^HIGH seconds, 61 microseconds to 2.3 hours; what lies outside goes to the ends.
const LOW: i32 = -14;
const HIGH: i32 = 13;
const BUCKETS: usize = (HIGH - LOW) as usize * PARTS + 1;

/// Counted times, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Empty until the first time.
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            count: 0,
            sum: 0.0,
        }
    }
}

/// The upper bound of a bucket in seconds.
fn bound(bucket: usize) -> f64 {
    let (octave, part) = (bucket / PARTS, bucket % PARTS);
    2f64.powi(LOW + octave as i32) * (1.0 + part as f64 / PARTS as f64)
}

/// The first bucket whose bound is not below `seconds`.
fn bucket_of(seconds: f64) -> usize {
    let (mut low, mut high) = (0, BUCKETS - 1);
    while low < high {
        let middle = (low + high) / 2;
        match bound(middle) < seconds {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

impl Histogram {
    /// Counts a time.
    pub(crate) fn record(&mut self, time: Duration) {
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS];
        }
        let seconds = time.as_secs_f64();
        self.buckets[bucket_of(seconds)] += 1;
        self.count += 1;
        self.sum += seconds;
    }

    /// Adds what another has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS];
        }
        let pairs = self.buckets.iter_mut().zip(&other.buckets);
        pairs.for_each(|(own, other)| *own += other);
        self.count += other.count;
        self.sum += other.sum;
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Their mean in seconds; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The time in seconds that a share `q` of all times, 0 to 1, does not exceed: the upper bound of its bucket.
    /// `None` without any.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = (q.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        reached.map(bound)
    }

    /// The powers of two as upper bounds in seconds, each with the number of times that do not exceed it. Times above
    /// the last are in [`Histogram::count`] alone.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut seen = 0;
        (0..BUCKETS - 1).filter_map(move |bucket| {
            seen += self.buckets.get(bucket).copied().unwrap_or(0);
            bucket.is_multiple_of(PARTS).then(|| (bound(bucket), seen))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_off_by_an_eighth_at_most() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.mean()), (None, None));
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        for (q, exact) in [
            (0.0, 0.001),
            (0.5, 0.5),
            (0.95, 0.95),
            (0.99, 0.99),
            (1.0, 1.0),
        ] {
            let told = histogram.quantile(q).expect("a thousand times");
            assert!(told >= exact && told <= exact * 1.125 + 1e-9, "{q}: {told}");
        }
        assert_eq!(histogram.count(), 1000);
        assert!((histogram.mean().unwrap() - 0.5005).abs() < 1e-9);
    }

    #[test]
    fn buckets_are_cumulative_and_the_ends_take_what_lies_outside() {
        let mut histogram = Histogram::default();
        for time in [0, 1, 3, 1 << 40] {
            histogram.record(Duration::from_secs(time));
        }
        let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        let at = |bound: f64| buckets.iter().find(|b| b.0 == bound).expect("a bound").1;
        assert_eq!((at(0.5), at(1.0), at(2.0), at(4.0)), (1, 2, 2, 3));
        assert_eq!(buckets.last(), Some(&(4096.0, 3)));
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!(
            (twice.count(), twice.quantile(0.5)),
            (8, histogram.quantile(0.5))
        );
    }
}
