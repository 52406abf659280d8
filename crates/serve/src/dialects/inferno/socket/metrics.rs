//! `subscribe_metrics`: measurements at an interval.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::outbox::Outbox;
use crate::caller::{Caller, Denied, Permission};
use crate::fields::{FieldError, Fields};
use crate::problem::Problem;
use crate::quantities::timestamp;
use crate::state::App;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Metric {
    /// Use of the processors, in percent.
    Cpu,
    /// Memory in use, in percent.
    Memory,
    /// Use of the first GPU, in percent; null without one.
    Gpu,
    /// Requests for inference that ended, a second, over the last minute.
    InferenceRate,
}

const ALL: [(&str, Metric); 4] = [
    ("cpu", Metric::Cpu),
    ("memory", Metric::Memory),
    ("gpu", Metric::Gpu),
    ("inference_rate", Metric::InferenceRate),
];

/// What to measure, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    interval: Duration,
    metrics: Vec<Metric>,
}

impl Subscription {
    /// Reads a subscription, which takes the permission to read measurements.
    pub fn read(caller: &Caller, data: &Fields) -> Result<Self, Problem> {
        if !caller.may(Permission::Monitoring) {
            return Err(Denied::Permission(Permission::Monitoring).into());
        }
        Ok(Self::fields(data)?)
    }

    fn fields(data: &Fields) -> Result<Self, FieldError> {
        let millis = data.integer("interval", 100..=3_600_000)?.unwrap_or(1000);
        let expected = "an array of cpu, memory, gpu, inference_rate";
        let metric = |name: &Value| {
            let known = ALL.iter().find(|(own, _)| name == own);
            known
                .map(|&(_, metric)| metric)
                .ok_or_else(|| FieldError::invalid("metrics", expected, name))
        };
        let metrics = match data.get("metrics") {
            None => ALL.map(|(_, metric)| metric).to_vec(),
            Some(Value::Array(names)) if !names.is_empty() => {
                names.iter().map(metric).collect::<Result<_, _>>()?
            }
            Some(other) => return Err(FieldError::invalid("metrics", expected, other)),
        };
        Ok(Self {
            interval: Duration::from_millis(millis.unsigned_abs()),
            metrics,
        })
    }

    fn wants(&self, metric: Metric) -> bool {
        self.metrics.contains(&metric)
    }
}

/// Tells measurements until the client has gone. What a client does not read in time is passed over.
pub async fn run(app: App, outbox: Outbox, id: String, subscription: Subscription) {
    let mut ticks = interval(subscription.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let update = measure(&app, &subscription).await;
        if outbox.offer("metrics_update", &id, update).is_err() {
            return;
        }
    }
}

async fn measure(app: &App, subscription: &Subscription) -> Value {
    let mut data = Map::new();
    data.insert("timestamp".into(), timestamp().into());
    if subscription.wants(Metric::Cpu) || subscription.wants(Metric::Memory) {
        let reading = app.meter.read().await;
        if subscription.wants(Metric::Cpu) {
            data.insert("cpu".into(), json!(reading.cpu_percent));
        }
        if subscription.wants(Metric::Memory) {
            let share = reading.memory_used as f64 / reading.memory_total.max(1) as f64;
            data.insert("memory".into(), json!(share * 100.0));
        }
    }
    if subscription.wants(Metric::Gpu) {
        let utilization = app.hardware.utilization().await;
        data.insert("gpu".into(), json!(utilization.map(|share| share * 100.0)));
    }
    if subscription.wants(Metric::InferenceRate) {
        let rate = app.metrics.inference_per_second();
        data.insert("inference_rate".into(), json!(rate));
    }
    Value::Object(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: Value) -> Result<Subscription, FieldError> {
        let Value::Object(data) = data else {
            panic!("not an object")
        };
        Subscription::fields(&Fields::new(data))
    }

    #[test]
    fn subscriptions() {
        let all = read(json!({})).expect("all right");
        assert_eq!((all.interval.as_millis(), all.metrics.len()), (1000, 4));
        let one = read(json!({"interval": 250, "metrics": ["cpu"]})).expect("all right");
        assert_eq!(one.metrics, [Metric::Cpu]);
        for (data, field) in [
            (json!({"interval": 99}), "interval"),
            (json!({"interval": 3_600_001}), "interval"),
            (json!({"interval": "often"}), "interval"),
            (json!({"metrics": []}), "metrics"),
            (json!({"metrics": ["fan"]}), "metrics"),
            (json!({"metrics": "cpu"}), "metrics"),
        ] {
            assert_eq!(read(data).expect_err(field).field, field);
        }
    }
}
