//! What orchestrators ask: whether the process is alive, and whether it takes requests.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::dialects::framework::error::Errors;
use crate::state::App;

/// Alive, since it answers.
#[utoipa::path(
    get, path = "/health/live", tag = "framework", operation_id = "live",
    responses((status = 200, description = "The process is alive", body = Object), Errors)
)]
pub async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Ready, unless the server has been told to stop or an engine of a loaded model has ended.
#[utoipa::path(
    get, path = "/health/ready", tag = "framework", operation_id = "ready",
    responses((status = 200, description = "Requests are taken", body = Object), Errors)
)]
pub async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    match is_ready(&app) {
        true => (StatusCode::OK, Json(json!({"status": "ready"}))),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "not_ready"})),
        ),
    }
}

/// Whether the server takes requests.
pub fn is_ready(app: &App) -> bool {
    !app.is_stopping() && app.runtime.loaded().iter().all(|engine| engine.running)
}
