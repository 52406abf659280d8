//! `GET /health`: one answer for all dialects that define it.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::quantities::{duration, size};
use crate::state::App;

/// Answers with the state of server, engines and machine; 503 exactly when `status` is `unhealthy`.
pub async fn health(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let reading = app.meter.read().await;
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
            "memory_usage": size(reading.memory_used),
            "gpu_usage": null,
            "uptime": duration(uptime),
        },
    });
    (code, Json(body))
}
