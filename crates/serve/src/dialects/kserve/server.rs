//! `/v2` and `/v2/health`: the server.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Errors;
use crate::probes::is_ready;
use crate::state::App;

/// What is served besides the protocol itself, in Triton's words.
const EXTENSIONS: [&str; 8] = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
];

/// The server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::Server)]
pub struct Server {
    /// Always `hearth`.
    #[schema(example = "hearth")]
    name: &'static str,
    /// The server's version.
    version: &'static str,
    /// What is served besides the protocol itself.
    #[schema(value_type = Vec<String>)]
    extensions: [&'static str; EXTENSIONS.len()],
}

/// Tells what the server is.
#[utoipa::path(
    get, path = "/v2", tag = "kserve", operation_id = "kserve_server",
    responses((status = 200, description = "The server", body = Server), Errors)
)]
pub async fn metadata() -> Json<Server> {
    Json(Server {
        name: "hearth",
        version: env!("CARGO_PKG_VERSION"),
        extensions: EXTENSIONS,
    })
}

/// Whether the server lives.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::Live)]
pub struct Live {
    /// Always true.
    live: bool,
}

/// Alive, since it answers.
#[utoipa::path(
    get, path = "/v2/health/live", tag = "kserve", operation_id = "kserve_live",
    responses((status = 200, description = "The process is alive", body = Live), Errors)
)]
pub async fn live() -> Json<Live> {
    Json(Live { live: true })
}

/// Whether the server takes requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::Ready)]
pub struct Ready {
    /// False with the status 503.
    ready: bool,
}

/// Ready, unless the server has been told to stop or an engine of a loaded model has ended.
#[utoipa::path(
    get, path = "/v2/health/ready", tag = "kserve", operation_id = "kserve_ready",
    responses((status = 200, description = "Requests are taken", body = Ready), Errors)
)]
pub async fn ready(State(app): State<App>) -> (StatusCode, Json<Ready>) {
    let ready = is_ready(&app);
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Ready { ready }))
}
