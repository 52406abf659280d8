//! `GET /api/v1/status`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Errors;
use crate::quantities::{duration, percent, size};
use crate::state::App;

/// The server's state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::Status)]
pub struct Status {
    /// `healthy`, `degraded` or `unhealthy`.
    status: &'static str,
    /// How long the server has been running.
    #[schema(example = "24h 12m 0s")]
    uptime: String,
    /// Models that are loaded.
    active_models: usize,
    /// The machine's memory.
    memory_usage: Memory,
    /// The first GPU; null without one.
    gpu_usage: Option<Gpu>,
    /// Requests to all families since the server began.
    requests: Requests,
}

/// The machine's memory.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::Memory)]
pub struct Memory {
    /// All of it.
    #[schema(example = "8.0GB")]
    total: String,
    /// What is in use.
    #[schema(example = "6.0GB")]
    used: String,
    /// What can still be had.
    #[schema(example = "2.0GB")]
    free: String,
}

/// A GPU's memory and load.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::Gpu)]
pub struct Gpu {
    /// All of its memory.
    total: String,
    /// What is in use.
    used: String,
    /// What can still be had.
    free: String,
    /// How busy it is; null where the driver does not tell.
    #[schema(example = "60%")]
    utilization: Option<String>,
}

/// Requests to all families since the server began.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::Requests)]
pub struct Requests {
    /// Those that have been answered.
    total: u64,
    /// Those whose answer was none of failure.
    success: u64,
    /// The others.
    failed: u64,
    /// How many there were in the last minute.
    #[schema(example = "10/minute")]
    rate: String,
}

/// Tells how the server does.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "tursi", operation_id = "tursi_status",
    responses((status = 200, description = "The server's state", body = Status), Errors)
)]
pub async fn show(State(app): State<App>) -> Json<Status> {
    let reading = app.meter.read().await;
    let requests = app.metrics.requests();
    let gpus = app.hardware.gpus().await;
    let gpu_usage = gpus.first().and_then(|gpu| {
        let free = gpu.available_bytes?;
        Some(Gpu {
            total: size(gpu.memory_bytes),
            used: size(gpu.memory_bytes.saturating_sub(free)),
            free: size(free),
            utilization: gpu.utilization.map(percent),
        })
    });
    Json(Status {
        status: app.health().await.word(),
        uptime: duration(app.started.elapsed()),
        active_models: app.runtime.loaded().len(),
        memory_usage: Memory {
            total: size(reading.memory_total),
            used: size(reading.memory_used),
            free: size(reading.memory_available),
        },
        gpu_usage,
        requests: Requests {
            total: requests.total,
            success: requests.success,
            failed: requests.failed,
            rate: format!("{}/minute", requests.last_minute),
        },
    })
}
