//! `GET /health`: one answer for all dialects that define it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hearth_runtime::LoadedModel;
use serde::Serialize;
use utoipa::ToSchema;

use crate::dialects::framework::error::Errors;
use crate::quantities::{duration, size, unix_seconds};
use crate::settings::Service;
use crate::state::App;

/// How the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All is well.
    Healthy,
    /// Requests are taken, but the engine of a loaded model does not run.
    Degraded,
    /// No requests are taken, or there is no model.
    Unhealthy,
}

impl Condition {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What the condition is made from.
#[derive(Debug, Clone, Copy)]
struct Checks {
    accepts: bool,
    has_models: bool,
    engines_run: bool,
}

impl Checks {
    async fn of(app: &App) -> Self {
        let models = app.runtime.models().await;
        Self {
            accepts: !app.is_stopping(),
            has_models: models.is_ok_and(|models| !models.is_empty()),
            engines_run: app.runtime.loaded().iter().all(|engine| engine.running),
        }
    }

    fn condition(self) -> Condition {
        match (self.accepts && self.has_models, self.engines_run) {
            (false, _) => Condition::Unhealthy,
            (true, false) => Condition::Degraded,
            (true, true) => Condition::Healthy,
        }
    }
}

impl App {
    /// How the server does.
    pub async fn health(&self) -> Condition {
        Checks::of(self).await.condition()
    }
}

/// The state of server, engines and machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
pub struct Health {
    /// Whether requests are taken: false exactly when `status` is `unhealthy`.
    healthy: bool,
    /// `healthy`, `degraded` or `unhealthy`.
    #[schema(example = "healthy")]
    status: &'static str,
    /// The server's version.
    version: &'static str,
    /// Now, as Unix time in seconds.
    timestamp: f64,
    /// How long the server has been running, in seconds.
    uptime: f64,
    /// What the condition is made from.
    checks: HealthChecks,
    /// Requests for inference.
    engine_stats: EngineStats,
    /// Loading on demand.
    autoscaler: Autoscaler,
    /// Upstream services.
    api_status: ApiStatus,
    /// The names of the models that are loaded.
    models_loaded: Vec<String>,
    /// The machine.
    system: Machine,
}

/// What the condition is made from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthChecks)]
pub struct HealthChecks {
    /// Requests are taken, and every loaded engine runs.
    inference_engine: bool,
    /// There is a model that is loaded or can be.
    model: bool,
    /// There is something to compute on.
    device: bool,
}

/// Requests for inference.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthEngineStats)]
pub struct EngineStats {
    /// Those that have ended.
    requests_processed: u64,
    /// Mean time from admission to the end of the answer, in seconds; null before the first.
    avg_processing_time: Option<f64>,
    /// Those that are at work.
    active_requests: usize,
    /// The engines of the loaded models.
    #[schema(value_type = BTreeMap<String, Object>)]
    engines: BTreeMap<String, LoadedModel>,
}

/// Loading on demand.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthAutoscaler)]
pub struct Autoscaler {
    /// Whether models can be loaded.
    healthy: bool,
}

/// Upstream services: `connected`, `disconnected` or `not_configured`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiStatus)]
pub struct ApiStatus {
    /// Those of the kind openai.
    openai: &'static str,
    /// Those of the kind baseten.
    baseten: &'static str,
}

/// The machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthSystem)]
pub struct Machine {
    /// Use of all processors, in percent.
    cpu_usage: f32,
    /// Memory in use.
    #[schema(example = "8.5GB")]
    memory_usage: String,
    /// Use of the first GPU, in percent; null without one.
    gpu_usage: Option<f64>,
    /// How long the server has been running.
    #[schema(example = "2h 15m 30s")]
    uptime: String,
}

/// Tells the state of server, engines and machine; 503 exactly when `status` is `unhealthy`.
#[utoipa::path(
    get, path = "/health", tag = "framework", operation_id = "health",
    responses(
        (status = 200, description = "Requests are taken", body = Health),
        Errors,
        (status = 503, description = "Requests are not taken", body = Health),
    )
)]
pub async fn health(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let reading = app.meter.read().await;
    let gpu = app.hardware.utilization().await;
    let counters = app.admission.counters();
    let checks = Checks::of(&app).await;
    let condition = checks.condition();
    let code = match condition {
        Condition::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    let upstreams = app.upstreams();
    let (openai, baseten) = tokio::join!(
        upstreams.status(Service::OpenAi),
        upstreams.status(Service::Baseten),
    );
    let uptime = app.started.elapsed();
    let engines: BTreeMap<String, LoadedModel> = app
        .runtime
        .loaded()
        .into_iter()
        .map(|model| (model.name.clone(), model))
        .collect();
    let body = Health {
        healthy: condition != Condition::Unhealthy,
        status: condition.word(),
        version: env!("CARGO_PKG_VERSION"),
        timestamp: unix_seconds(),
        uptime: uptime.as_secs_f64(),
        checks: HealthChecks {
            inference_engine: checks.accepts && checks.engines_run,
            model: checks.has_models,
            // The processor is the device, and it is computing this answer.
            device: true,
        },
        models_loaded: engines.keys().cloned().collect(),
        engine_stats: EngineStats {
            requests_processed: counters.processed,
            avg_processing_time: counters.mean_seconds,
            active_requests: counters.active,
            engines,
        },
        // What scales here is loading on demand, which works as long as requests are accepted.
        autoscaler: Autoscaler {
            healthy: checks.accepts,
        },
        api_status: ApiStatus { openai, baseten },
        system: Machine {
            cpu_usage: reading.cpu_percent,
            memory_usage: size(reading.memory_used),
            gpu_usage: gpu.map(|share| share * 100.0),
            uptime: duration(uptime),
        },
    };
    (code, Json(body))
}
