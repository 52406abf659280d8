//! `GET /status`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Errors;
use crate::quantities::{percent, size};
use crate::settings::Service;
use crate::state::App;

/// The server's state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = voice::Status)]
pub struct Status {
    /// Requests that are at work.
    active_requests: usize,
    /// Files of audio that are kept.
    cache_size: usize,
    /// Memory in use on the machine.
    #[schema(example = "500.0MB")]
    memory_usage: String,
    /// Use of all processors.
    #[schema(example = "25%")]
    cpu_usage: String,
    /// What was asked of upstream services.
    api_usage: ApiUsage,
}

/// What was asked of upstream services: nothing where there are none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = voice::ApiUsage)]
pub struct ApiUsage {
    /// Of those of the kind openai.
    openai: Usage,
    /// Of those of the kind baseten.
    baseten: Usage,
}

/// What was asked of the upstream services of a kind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = voice::UpstreamUsage)]
pub struct Usage {
    /// Requests, those that were made again included.
    requests: u64,
    /// Tokens, in and out, as far as the services told of them.
    tokens: u64,
}

impl Usage {
    fn of(app: &App, kind: Service) -> Self {
        let (requests, tokens) = app.upstreams().usage(kind);
        Self { requests, tokens }
    }
}

/// Tells how the server does.
#[utoipa::path(
    get, path = "/status", tag = "voice", operation_id = "voice_status",
    responses((status = 200, description = "The server's state", body = Status), Errors)
)]
pub async fn show(State(app): State<App>) -> Json<Status> {
    let reading = app.meter.read().await;
    Json(Status {
        active_requests: app.admission.counters().active,
        cache_size: 0,
        memory_usage: size(reading.memory_used),
        cpu_usage: percent(f64::from(reading.cpu_percent) / 100.0),
        api_usage: ApiUsage {
            openai: Usage::of(&app, Service::OpenAi),
            baseten: Usage::of(&app, Service::Baseten),
        },
    })
}
