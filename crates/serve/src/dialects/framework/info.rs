//! `GET /` and `GET /info`: what this is and what it can do.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use sysinfo::System;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::quantities::{gigabytes, timestamp};
use crate::state::App;

/// The name that the server gives itself.
const NAME: &str = "Hearth";

/// What this server is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Root)]
pub struct Root {
    /// What it is, in a line.
    #[schema(example = "Hearth: a self-hosted AI server")]
    message: &'static str,
    /// Its version.
    version: &'static str,
    /// Always `running`.
    #[schema(example = "running")]
    status: &'static str,
    /// Now, as ISO 8601.
    #[schema(format = DateTime)]
    timestamp: String,
    /// The word that the operator gave this installation.
    #[schema(example = "development")]
    environment: String,
    /// What speech it has.
    tts_support: SpeechSupport,
    /// Paths to begin with, by purpose.
    #[schema(value_type = Object)]
    endpoints: Value,
}

/// What speech there is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::SpeechSupport)]
pub struct SpeechSupport {
    /// Whether there is any.
    enabled: bool,
    /// The speech models that this build can run.
    supported_models: Vec<String>,
    /// What they can do.
    features: Vec<String>,
}

/// Tells what this server is and where to go on.
#[utoipa::path(
    get, path = "/", tag = "framework", operation_id = "root",
    responses((status = 200, description = "What this server is", body = Root), Errors)
)]
pub async fn root(State(app): State<App>) -> Json<Root> {
    Json(Root {
        message: "Hearth: a self-hosted AI server",
        version: env!("CARGO_PKG_VERSION"),
        status: "running",
        timestamp: timestamp(),
        environment: app.settings().environment.clone(),
        tts_support: SpeechSupport {
            enabled: false,
            supported_models: Vec::new(),
            features: Vec::new(),
        },
        endpoints: json!({
            "inference": {
                "predict": "/predict",
                "model_specific": "/{model_name}/predict",
                "batch": "/predict/batch",
            },
            "audio": {"synthesize": "/tts/synthesize", "transcribe": "/stt/transcribe"},
            "openai": {
                "chat": "/v1/chat/completions",
                "completions": "/v1/completions",
                "embeddings": "/v1/embeddings",
                "models": "/v1/models",
                "websocket": "/ws",
            },
            "tursi": {"generate": "/api/v1/generate", "models": "/api/v1/models", "status": "/api/v1/status"},
            "voice": {"voices": "/voices", "status": "/status"},
            "documentation": {"openapi": "/openapi.json", "docs": "/docs", "redoc": "/redoc"},
        }),
    })
}

/// What the server runs on, and with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Info)]
pub struct Info {
    /// The server's name.
    #[schema(example = "Hearth")]
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// `healthy`, `degraded` or `unhealthy`.
    status: &'static str,
    /// The word that the operator gave this installation.
    environment: String,
    /// Now, as ISO 8601.
    #[schema(format = DateTime)]
    timestamp: String,
    /// How long the server has been running, in seconds.
    uptime: f64,
    /// The machine.
    system: Machine,
    /// What models are computed on.
    device: Device,
    /// The models.
    models: Models,
    /// The families of endpoints.
    api_families: [&'static str; 4],
    /// What the server can do.
    features: &'static [&'static str],
}

/// The machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Machine)]
pub struct Machine {
    /// The operating system.
    #[schema(example = "linux")]
    os: &'static str,
    /// The kind of processor.
    #[schema(example = "x86_64")]
    architecture: &'static str,
    /// Processors that programs can use.
    cpu_count: usize,
    /// All of its memory, in GiB.
    memory_total_gb: f64,
    /// Memory that can still be had, in GiB.
    memory_available_gb: f64,
}

/// What models are computed on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Device)]
pub struct Device {
    /// `cpu`.
    #[schema(example = "cpu")]
    device_type: &'static str,
    /// Its number.
    device_id: u32,
    /// Its name.
    device_name: String,
}

/// The models.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::InfoModels)]
pub struct Models {
    /// Models that are installed.
    total: usize,
    /// The names of those that are loaded.
    loaded: Vec<String>,
}

/// What the server can do, in words for programs.
pub const FEATURES: &[&str] = &[
    "text_generation",
    "chat",
    "embeddings",
    "streaming",
    "websocket",
    "batch_processing",
    "continuous_batching",
    "prefix_caching",
    "load_on_demand",
    "scale_to_zero",
    "model_caching",
];

/// The name of the processor.
pub async fn processor_name() -> String {
    let name = tokio::task::spawn_blocking(|| {
        let mut system = System::new();
        system.refresh_cpu_all();
        let brand = system
            .cpus()
            .first()
            .map(|cpu| cpu.brand().trim().to_owned());
        brand.filter(|brand| !brand.is_empty())
    });
    let name = name.await.ok().flatten();
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Tells what the server runs on, and with.
#[utoipa::path(
    get, path = "/info", tag = "framework", operation_id = "info",
    responses((status = 200, description = "What the server runs on", body = Info), Errors)
)]
pub async fn info(State(app): State<App>) -> Result<Json<Info>, ApiError> {
    let reading = app.meter.read().await;
    let loaded = app.runtime.loaded().into_iter().map(|model| model.name);
    Ok(Json(Info {
        name: NAME,
        version: env!("CARGO_PKG_VERSION"),
        status: app.health().await.word(),
        environment: app.settings().environment.clone(),
        timestamp: timestamp(),
        uptime: app.started.elapsed().as_secs_f64(),
        system: Machine {
            os: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            cpu_count: std::thread::available_parallelism().map_or(1, usize::from),
            memory_total_gb: gigabytes(reading.memory_total),
            memory_available_gb: gigabytes(reading.memory_available),
        },
        device: Device {
            device_type: "cpu",
            device_id: 0,
            device_name: processor_name().await,
        },
        models: Models {
            total: app.runtime.statuses().await?.len(),
            loaded: loaded.collect(),
        },
        api_families: ["framework", "voice", "tursi", "inferno"],
        features: FEATURES,
    }))
}
