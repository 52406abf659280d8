//! `GET /health`: one answer for all dialects that define it.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, System};

use crate::quantities::{duration, size};
use crate::state::App;

/// Measures the machine. Processor use is a mean over the time between two looks, so the meter keeps
/// the last one.
#[derive(Debug)]
pub struct Meter(Mutex<Look>);

#[derive(Debug)]
struct Look {
    system: System,
    at: Instant,
}

/// What the meter reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Use of all processors since the last look, in percent of the whole machine.
    pub cpu_percent: f32,
    /// Memory in use on the machine, in bytes.
    pub memory_bytes: u64,
}

impl Meter {
    /// A meter whose first look is now.
    pub fn new() -> Self {
        let mut system = System::new();
        system.refresh_cpu_usage();
        Self(Mutex::new(Look {
            system,
            at: Instant::now(),
        }))
    }

    /// How long to wait until processor use can be told at all; zero from the first reading on.
    fn not_before(&self) -> Duration {
        let look = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match look.system.global_cpu_usage() {
            0.0 => MINIMUM_CPU_UPDATE_INTERVAL.saturating_sub(look.at.elapsed()),
            _ => Duration::ZERO,
        }
    }

    /// Reads the machine; looks closer together than the system can tell apart give the last figure.
    fn read(&self) -> Reading {
        let mut look = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if look.at.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL {
            look.system.refresh_cpu_usage();
            look.at = Instant::now();
        }
        look.system.refresh_memory();
        Reading {
            cpu_percent: look.system.global_cpu_usage(),
            memory_bytes: look.system.used_memory(),
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers with the state of server, engines and machine; 503 exactly when `status` is `unhealthy`.
pub async fn health(State(app): State<App>) -> (StatusCode, Json<Value>) {
    tokio::time::sleep(app.meter.not_before()).await;
    let reading = app.meter.read();
    let counters = app.admission.counters();
    let engines = app.runtime.loaded();
    let engines_run = engines.iter().all(|engine| engine.running);
    let has_models = app
        .runtime
        .models()
        .await
        .is_ok_and(|models| !models.is_empty());
    let accepts = !app.is_stopping();

    let status = match (accepts && has_models, engines_run) {
        (false, _) => "unhealthy",
        (true, false) => "degraded",
        (true, true) => "healthy",
    };
    let code = match status {
        "unhealthy" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    let uptime = app.started.elapsed();
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    let figures: Map<String, Value> = engines
        .iter()
        .map(|engine| (engine.name.clone(), json!(engine)))
        .collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let body = json!({
        "healthy": status != "unhealthy",
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": now.as_secs_f64(),
        "uptime": uptime.as_secs_f64(),
        "checks": {
            "inference_engine": accepts && engines_run,
            "model": has_models,
            // The processor is the device, and it is computing this answer.
            "device": true,
        },
        "engine_stats": {
            "requests_processed": counters.processed,
            "avg_processing_time": counters.mean_seconds,
            "active_requests": counters.active,
            "engines": figures,
        },
        // What scales here is loading on demand, which works as long as requests are accepted.
        "autoscaler": {"healthy": accepts},
        "api_status": {"openai": "not_configured", "baseten": "not_configured"},
        "models_loaded": names,
        "system": {
            "cpu_usage": reading.cpu_percent,
            "memory_usage": size(reading.memory_bytes),
            "gpu_usage": null,
            "uptime": duration(uptime),
        },
    });
    (code, Json(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_reads_this_machine() {
        let meter = Meter::new();
        std::thread::sleep(meter.not_before());
        let reading = meter.read();
        assert!((0.0..=100.0).contains(&reading.cpu_percent), "{reading:?}");
        assert!(reading.memory_bytes > 1 << 20, "{reading:?}");
    }
}
