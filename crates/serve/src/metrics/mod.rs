//! One registry of measurements, behind `/metrics` and every figure that an answer tells.
//!
//! A [`Measure`] follows one request; what it saw is counted here when the request has ended. Figures
//! that somebody else keeps (the machine, the engines) are read when they are asked for.

mod histogram;
mod measure;
mod prometheus;
mod rate;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

pub use histogram::{Histogram, Snapshot};
pub use measure::Measure;
pub use prometheus::{__path_metrics, metrics};
pub use rate::Rate;

/// What is counted for requests to one endpoint with one model.
#[derive(Debug, Default)]
pub struct Series {
    succeeded: AtomicU64,
    failed: AtomicU64,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
    /// Time in which `tokens_out` were written, in microseconds.
    writing_micros: AtomicU64,
    /// Unix time in seconds of the last end; 0 before the first.
    last_used: AtomicU64,
    /// From the request's arrival to its last byte.
    pub duration: Histogram,
    /// From the request's arrival to its first token.
    pub first_token: Histogram,
    /// Mean time of a token after the first, one count a request.
    pub per_token: Histogram,
}

/// What is told of a request when it has ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Whether it was answered well.
    pub succeeded: bool,
    /// How long it took.
    pub duration: Duration,
    /// How long its first token took.
    pub first_token: Option<Duration>,
    /// How long all tokens after the first took together.
    pub writing: Option<Duration>,
    /// Tokens of its prompt.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
}

/// The labels of a [`Series`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    /// The model; empty where the request ended before its model was known.
    pub model: Arc<str>,
    /// The endpoint.
    pub endpoint: &'static str,
}

/// Figures of several series together.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Requests that have ended.
    pub count: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Tokens of prompts.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Time to the end of the answer.
    pub duration: Snapshot,
    /// Time to the first token.
    pub first_token: Snapshot,
    /// Tokens a second while writing; `None` before the first.
    pub tokens_per_second: Option<f64>,
    /// When the last request ended.
    pub last_used: Option<SystemTime>,
}

impl Summary {
    /// The share of requests that failed; `None` of none.
    pub fn error_rate(&self) -> Option<f64> {
        (self.count > 0).then(|| self.failed as f64 / self.count as f64)
    }

    /// Mean time to the end of the answer in seconds; `None` of none.
    pub fn mean_seconds(&self) -> Option<f64> {
        self.duration.mean()
    }

    /// The time in seconds that a share `rank` (0 to 1) of the requests did not pass; `None` of none.
    pub fn percentile_seconds(&self, rank: f64) -> Option<f64> {
        self.duration.percentile(rank)
    }
}

/// Requests of all families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Requests that have been answered.
    pub total: u64,
    /// Those whose answer was none of failure.
    pub success: u64,
    /// The others.
    pub failed: u64,
    /// How many there were in the last minute.
    pub last_minute: u64,
}

/// The registry.
#[derive(Debug, Default)]
pub struct Metrics {
    series: RwLock<HashMap<Labels, Arc<Series>>>,
    /// By family, endpoint and status, every answered request.
    answers: RwLock<HashMap<(&'static str, u16), Arc<AtomicU64>>>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    all: Rate,
    inference: Rate,
    /// Requests turned away because their client had used up what it is allowed.
    pub limited: AtomicU64,
    /// Requests turned away because their credential was missing or wrong.
    pub unauthenticated: AtomicU64,
    /// Connections that are open.
    pub connections: AtomicU64,
}

impl Metrics {
    /// Counts an answer of any endpoint.
    pub fn answered(&self, endpoint: &'static str, status: u16) {
        let counter = match status {
            ..400 => &self.succeeded,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.all.add(1);
        get_or_insert(&self.answers, (endpoint, status)).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request for inference that has ended.
    pub fn ended(&self, labels: Labels, outcome: &Outcome) {
        let series = get_or_insert(&self.series, labels);
        let counter = match outcome.succeeded {
            true => &series.succeeded,
            false => &series.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        series
            .tokens_in
            .fetch_add(outcome.tokens_in, Ordering::Relaxed);
        series
            .tokens_out
            .fetch_add(outcome.tokens_out, Ordering::Relaxed);
        series.duration.observe(outcome.duration);
        if let Some(first_token) = outcome.first_token {
            series.first_token.observe(first_token);
        }
        if let (Some(writing), 2..) = (outcome.writing, outcome.tokens_out) {
            let micros = u64::try_from(writing.as_micros()).unwrap_or(u64::MAX);
            series.writing_micros.fetch_add(micros, Ordering::Relaxed);
            let steps = u32::try_from(outcome.tokens_out - 1).unwrap_or(u32::MAX);
            series.per_token.observe(writing / steps);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        series
            .last_used
            .store(now.unwrap_or_default().as_secs(), Ordering::Relaxed);
        self.inference.add(1);
    }

    /// Requests of all families.
    pub fn requests(&self) -> Totals {
        let (success, failed) = (
            self.succeeded.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        );
        Totals {
            total: success + failed,
            success,
            failed,
            last_minute: self.all.last_minute(),
        }
    }

    /// Requests for inference a second, over the last minute.
    pub fn inference_per_second(&self) -> f64 {
        self.inference.per_second()
    }

    /// All requests for inference.
    pub fn inference(&self) -> Summary {
        self.summary(|_| true)
    }

    /// The requests for one model.
    pub fn model(&self, model: &str) -> Summary {
        self.summary(|labels| &*labels.model == model)
    }

    /// The requests to one endpoint.
    pub fn endpoint(&self, endpoint: &str) -> Summary {
        self.summary(|labels| labels.endpoint == endpoint)
    }

    /// The requests to one endpoint, by model.
    pub fn models_of(&self, endpoint: &str) -> Vec<(Arc<str>, Summary)> {
        let models = self.series().into_iter().map(|(labels, _)| labels);
        let own = models.filter(|labels| labels.endpoint == endpoint && !labels.model.is_empty());
        own.map(|own| {
            let summary = self.summary(|labels| *labels == own);
            (own.model, summary)
        })
        .collect()
    }

    /// Every series, in the order of its labels.
    pub fn series(&self) -> Vec<(Labels, Arc<Series>)> {
        let series = self
            .series
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut all: Vec<_> = series
            .iter()
            .map(|(labels, series)| (labels.clone(), Arc::clone(series)))
            .collect();
        all.sort_by(|one, two| one.0.cmp(&two.0));
        all
    }

    /// Answers by endpoint and status.
    pub fn answers(&self) -> Vec<((&'static str, u16), u64)> {
        let answers = self
            .answers
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut all: Vec<_> = answers
            .iter()
            .map(|(labels, count)| (*labels, count.load(Ordering::Relaxed)))
            .collect();
        all.sort_unstable();
        all
    }

    fn summary(&self, wanted: impl Fn(&Labels) -> bool) -> Summary {
        let mut sum = Summary::default();
        let (mut written, mut micros, mut last_used) = (0, 0, 0);
        for (labels, series) in self.series() {
            if !wanted(&labels) {
                continue;
            }
            let [succeeded, failed] = series.requests();
            let [tokens_in, tokens_out] = series.tokens();
            sum.count += succeeded + failed;
            sum.failed += failed;
            sum.tokens_in += tokens_in;
            sum.tokens_out += tokens_out;
            sum.duration.add(&series.duration.snapshot());
            sum.first_token.add(&series.first_token.snapshot());
            let writing = series.writing_micros.load(Ordering::Relaxed);
            if writing > 0 {
                // The first token of each request is no part of the time in which it was written.
                written += tokens_out.saturating_sub(series.per_token.snapshot().count());
                micros += writing;
            }
            last_used = last_used.max(series.last_used.load(Ordering::Relaxed));
        }
        sum.tokens_per_second = (micros > 0).then(|| written as f64 / (micros as f64 / 1e6));
        sum.last_used =
            (last_used > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(last_used));
        sum
    }
}

impl Series {
    /// Requests answered well, and failed ones.
    pub fn requests(&self) -> [u64; 2] {
        [&self.succeeded, &self.failed].map(|count| count.load(Ordering::Relaxed))
    }

    /// Tokens in and out.
    pub fn tokens(&self) -> [u64; 2] {
        [&self.tokens_in, &self.tokens_out].map(|count| count.load(Ordering::Relaxed))
    }
}

/// The entry of `key`, made if it is not there.
fn get_or_insert<K, V>(map: &RwLock<HashMap<K, Arc<V>>>, key: K) -> Arc<V>
where
    K: std::hash::Hash + Eq,
    V: Default,
{
    let found = map
        .read()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .get(&key)
        .cloned();
    found.unwrap_or_else(|| {
        let mut map = map.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        Arc::clone(map.entry(key).or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(model: &str, endpoint: &'static str) -> Labels {
        Labels {
            model: model.into(),
            endpoint,
        }
    }

    #[test]
    fn requests_are_counted_by_model_and_endpoint() {
        let metrics = Metrics::default();
        let good = Outcome {
            succeeded: true,
            duration: Duration::from_secs(3),
            first_token: Some(Duration::from_secs(1)),
            writing: Some(Duration::from_secs(2)),
            tokens_in: 7,
            tokens_out: 5,
        };
        let bad = Outcome {
            duration: Duration::from_secs(1),
            ..Outcome::default()
        };
        metrics.ended(labels("a", "chat"), &good);
        metrics.ended(labels("a", "completions"), &bad);
        metrics.ended(labels("b", "chat"), &good);

        let a = metrics.model("a");
        assert_eq!((a.count, a.failed, a.tokens_in, a.tokens_out), (2, 1, 7, 5));
        assert_eq!((a.mean_seconds(), a.error_rate()), (Some(2.0), Some(0.5)));
        assert_eq!(
            a.tokens_per_second,
            Some(2.0),
            "four tokens after the first in two seconds"
        );
        assert!(a.last_used.is_some());
        assert_eq!(metrics.endpoint("chat").count, 2);
        assert_eq!(metrics.inference().count, 3);
        let none = metrics.model("c");
        assert_eq!(
            (none.count, none.mean_seconds(), none.error_rate()),
            (0, None, None)
        );
        assert!(none.last_used.is_none() && none.tokens_per_second.is_none());
        let names: Vec<_> = metrics
            .models_of("chat")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["a".into(), "b".into()]);
    }

    #[test]
    fn totals_are_the_sum_of_good_and_bad() {
        let metrics = Metrics::default();
        for status in [200, 101, 404, 503] {
            metrics.answered("health", status);
        }
        let totals = metrics.requests();
        assert_eq!((totals.total, totals.success, totals.failed), (4, 2, 2));
        assert_eq!(totals.last_minute, 4);
        assert_eq!(metrics.answers().len(), 4);
    }
}
