//! `GET /ping`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Errors;
use crate::probes::is_ready;
use crate::state::App;

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = torchserve::Ping)]
pub struct Ping {
    /// `Healthy`, or `Unhealthy` with the status 503.
    #[schema(example = "Healthy")]
    status: &'static str,
}

/// Healthy, unless the server has been told to stop or an engine of a loaded model has ended.
#[utoipa::path(
    get, path = "/ping", tag = "torchserve", operation_id = "torchserve_ping",
    responses((status = 200, description = "Requests are taken", body = Ping), Errors)
)]
pub async fn ping(State(app): State<App>) -> (StatusCode, Json<Ping>) {
    let (code, status) = match is_ready(&app) {
        true => (StatusCode::OK, "Healthy"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy"),
    };
    (code, Json(Ping { status }))
}
