//! `/v1/models/{model_id}/{load,unload,status}`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use hearth_runtime::LoadRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::caller::Caller;
use crate::quantities::{datetime, size};
use crate::residency;
use crate::state::App;
use crate::waiting::allow;

/// A model that has been loaded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::Loaded)]
pub struct Loaded {
    /// Always `success`.
    #[schema(example = "success")]
    status: &'static str,
    /// The same as a sentence.
    #[schema(example = "Model loaded successfully")]
    message: &'static str,
    /// The model.
    #[schema(example = "ember")]
    model_id: String,
    /// The format of its files.
    #[schema(example = "gguf")]
    backend: String,
    /// Memory that it takes, its caches included.
    #[schema(example = "4.2GB")]
    memory_usage: String,
}

/// Loads a model and answers when it is loaded.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/load", tag = "inferno", operation_id = "inferno_model_load",
    params(("model_id" = String, Path, description = "The model", example = "ember")),
    responses((status = 200, description = "It is loaded", body = Loaded), Errors)
)]
pub async fn load(
    State(app): State<App>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Loaded>, ApiError> {
    let Path(model_id) = name?;
    allow(&app, &caller, &model_id)?;
    let entry = app.runtime.model(&model_id).await?;
    let loading = app.runtime.load(&model_id, LoadRequest::default()).await?;
    loading.wait().await?;
    let status = app.runtime.status(&model_id).await?;
    Ok(Json(Loaded {
        status: "success",
        message: "Model loaded successfully",
        model_id,
        backend: entry.format.to_string(),
        memory_usage: size(status.memory_bytes),
    }))
}

/// A model that is not loaded any more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::Unloaded)]
pub struct Unloaded {
    /// Always `success`.
    #[schema(example = "success")]
    status: &'static str,
    /// The same as a sentence.
    #[schema(example = "Model unloaded successfully")]
    message: &'static str,
    /// The model.
    #[schema(example = "ember")]
    model_id: String,
}

/// Unloads a model once the requests in progress have ended.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/unload", tag = "inferno", operation_id = "inferno_model_unload",
    params(("model_id" = String, Path, description = "The model", example = "ember")),
    responses((status = 200, description = "It is not loaded any more", body = Unloaded), Errors)
)]
pub async fn unload(
    State(app): State<App>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Unloaded>, ApiError> {
    let Path(model_id) = name?;
    Ok(Json(Unloaded {
        status: "success",
        message: residency::unload(&app, &caller, &model_id).await?,
        model_id,
    }))
}

/// A model's state and measurements.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::ModelStatus)]
pub struct ModelStatusAnswer {
    /// The model.
    #[schema(example = "ember")]
    model_id: String,
    /// `loaded`, `loading` or `not_loaded`.
    status: &'static str,
    /// The format of its files.
    #[schema(example = "gguf")]
    backend: String,
    /// Memory that it takes now.
    #[schema(example = "4.2GB")]
    memory_usage: String,
    /// Measurements since the server began.
    metrics: ModelFigures,
}

/// Measurements since the server began.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::ModelFigures)]
pub struct ModelFigures {
    /// Requests that have ended.
    total_requests: u64,
    /// Mean time from a request's arrival to the end of its answer, in milliseconds; null before the first.
    avg_latency_ms: Option<f64>,
    /// Tokens written a second while requests were at work; null before the first.
    tokens_per_second: Option<f64>,
    /// When it was last asked for anything; null before the first request.
    #[schema(format = DateTime)]
    last_used: Option<String>,
}

/// Tells a model's state.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/status", tag = "inferno", operation_id = "inferno_model_status",
    params(("model_id" = String, Path, description = "The model", example = "ember")),
    responses((status = 200, description = "Its state", body = ModelStatusAnswer), Errors)
)]
pub async fn status(
    State(app): State<App>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelStatusAnswer>, ApiError> {
    let Path(model_id) = name?;
    allow(&app, &caller, &model_id)?;
    let entry = app.runtime.model(&model_id).await?;
    let status = app.runtime.status(&model_id).await?;
    Ok(Json(ModelStatusAnswer {
        model_id,
        status: residency::word(status.state),
        backend: entry.format.to_string(),
        memory_usage: size(status.memory_bytes),
        metrics: ModelFigures {
            total_requests: status.metrics.requests,
            avg_latency_ms: status.metrics.latency.mean().map(|seconds| seconds * 1e3),
            tokens_per_second: status.metrics.tokens_per_second,
            last_used: status.last_used.map(datetime),
        },
    }))
}
