//! `/api/v1/models`: which models there are and what they do, loading and unloading.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use hearth_runtime::{LoadRequest, LoadState, ModelState, ModelStatus, Quantize};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::caller::Caller;
use crate::extract::admit_optional;
use crate::fields::{FieldError, Fields};
use crate::quantities::{datetime, duration, measured, percent, size};
use crate::residency;
use crate::state::App;
use crate::waiting::allow;

/// How long a load is watched before its remaining time is told.
const WATCHED: Duration = Duration::from_millis(500);

/// All models.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::Models)]
pub struct Models {
    /// Every installed model of every kind.
    models: Vec<Model>,
}

/// A model. What only a loaded one has is left out while it is not loaded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::Model)]
pub struct Model {
    /// The name by which requests ask for it.
    #[schema(example = "ember")]
    name: String,
    /// `loaded`, `loading` or `not_loaded`.
    status: &'static str,
    /// Whether its weights are stored in fewer bits than 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantized: Option<bool>,
    /// Memory that it takes, its caches included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "500.0MB")]
    memory_usage: Option<String>,
    /// How long it has been loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2h 30m 5s")]
    uptime: Option<String>,
}

impl From<ModelStatus> for Model {
    fn from(status: ModelStatus) -> Self {
        let loaded = status.state == ModelState::Loaded;
        Self {
            name: status.name,
            status: residency::word(status.state),
            quantized: status.quantized.filter(|_| loaded),
            memory_usage: loaded.then(|| size(status.memory_bytes)),
            uptime: status.uptime.filter(|_| loaded).map(duration),
        }
    }
}

/// Lists all models with their state.
#[utoipa::path(
    get, path = "/api/v1/models", tag = "tursi", operation_id = "tursi_models",
    responses((status = 200, description = "All installed models", body = Models), Errors)
)]
pub async fn list(State(app): State<App>) -> Result<Json<Models>, ApiError> {
    let statuses = app.runtime.statuses().await?;
    let models = statuses.into_iter().map(Model::from).collect();
    Ok(Json(Models { models }))
}

/// How a model is to be loaded. All of it may be left out, and so may the body.
#[derive(Debug, Clone, Copy, PartialEq, ToSchema)]
#[schema(as = tursi::LoadOptions)]
pub struct LoadOptions {
    /// Whether to store the weights in fewer bits than their file does; as configured if left out.
    #[schema(example = true)]
    quantize: Option<bool>,
    /// To how many bits: 8 or 4.
    #[schema(example = 8, default = 8, minimum = 4, maximum = 8, multiple_of = 4)]
    bits: Option<u8>,
    /// When to quantize. Both words mean the same here: once, while loading. `dynamic` is the default.
    #[schema(inline)]
    #[allow(dead_code, reason = "both mean the same")]
    mode: Option<Mode>,
}

/// When weights are quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Mode {
    /// The documented value.
    Dynamic,
    /// The other value.
    Static,
}

impl LoadOptions {
    fn read(fields: &Fields) -> Result<Self, FieldError> {
        let bits = match fields.integer("bits", 4..=8)? {
            None => None,
            Some(8) => Some(8),
            Some(4) => Some(4),
            Some(other) => return Err(FieldError::invalid("bits", "4 or 8", &other.into())),
        };
        let mode = match fields.string("mode")? {
            None => None,
            Some("dynamic") => Some(Mode::Dynamic),
            Some("static") => Some(Mode::Static),
            Some(other) => {
                let expected = "\"dynamic\" or \"static\"";
                return Err(FieldError::invalid("mode", expected, &other.into()));
            }
        };
        Ok(Self {
            quantize: fields.boolean("quantize")?,
            bits,
            mode,
        })
    }

    fn quantize(self) -> Option<Quantize> {
        match (self.quantize, self.bits) {
            (Some(false), _) => Some(Quantize::No),
            (Some(true), bits) => Some(Quantize::Bits(bits.unwrap_or(8))),
            (None, bits) => bits.map(Quantize::Bits),
        }
    }
}

/// What became of a request to load a model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::LoadAnswer)]
pub struct LoadAnswer {
    /// `loading`, or `loaded` if it already is, as asked.
    status: &'static str,
    /// The same as a sentence.
    #[schema(example = "Model loading initiated")]
    message: &'static str,
    /// How long it will still take; null where nothing tells yet.
    #[schema(example = "30s")]
    estimated_time: Option<String>,
}

/// Begins to load a model, and answers at once. Requests for it wait until it is loaded.
#[utoipa::path(
    post, path = "/api/v1/models/{model_name}/load", tag = "tursi", operation_id = "tursi_model_load",
    params(("model_name" = String, Path, description = "The model", example = "ember")),
    request_body(
        content = Option<LoadOptions>, description = "How to load it; may be left out",
        example = json!({"quantize": true, "bits": 8, "mode": "dynamic"})
    ),
    responses((status = 200, description = "It is being loaded, or is loaded", body = LoadAnswer), Errors)
)]
pub async fn load(
    State(app): State<App>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<LoadAnswer>, ApiError> {
    let Path(name) = name?;
    let (_ticket, fields) = admit_optional(&app, request).await?;
    let options = LoadOptions::read(&fields)?;
    allow(&app, &caller, &name)?;
    let request = LoadRequest {
        quantize: options.quantize(),
        ..LoadRequest::default()
    };
    let mut loading = app.runtime.load(&name, request).await?;
    if loading.progress().state == LoadState::Loaded {
        return Ok(Json(LoadAnswer {
            status: "loaded",
            message: "Model is loaded",
            estimated_time: Some(measured(Duration::ZERO)),
        }));
    }
    let remaining = loading.estimate(WATCHED).await;
    match loading.progress().state {
        LoadState::Failed | LoadState::Cancelled => {
            loading.wait().await?;
        }
        _ => {}
    }
    // The mean of its earlier loads says more than nothing.
    let known = || {
        let before = app.runtime.metrics(&name)?.load_time.mean()?;
        Duration::try_from_secs_f64(before).ok()
    };
    Ok(Json(LoadAnswer {
        status: "loading",
        message: "Model loading initiated",
        estimated_time: remaining.or_else(known).map(measured),
    }))
}

/// What became of a request to unload a model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::UnloadAnswer)]
pub struct UnloadAnswer {
    /// Always `success`.
    #[schema(example = "success")]
    status: &'static str,
    /// The same as a sentence.
    #[schema(example = "Model unloaded successfully")]
    message: &'static str,
}

/// Unloads a model once the requests in progress have ended.
#[utoipa::path(
    post, path = "/api/v1/models/{model_name}/unload", tag = "tursi", operation_id = "tursi_model_unload",
    params(("model_name" = String, Path, description = "The model", example = "ember")),
    responses((status = 200, description = "It is not loaded any more", body = UnloadAnswer), Errors)
)]
pub async fn unload(
    State(app): State<App>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<UnloadAnswer>, ApiError> {
    let Path(name) = name?;
    Ok(Json(UnloadAnswer {
        status: "success",
        message: residency::unload(&app, &caller, &name).await?,
    }))
}

/// A model's measurements.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::MetricsAnswer)]
pub struct MetricsAnswer {
    /// The model.
    #[schema(example = "ember")]
    name: String,
    /// The measurements, since the server began.
    metrics: ModelMetrics,
}

/// Measurements since the server began.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::ModelMetrics)]
pub struct ModelMetrics {
    /// Requests that have ended.
    requests_total: u64,
    /// Tokens written.
    tokens_generated: u64,
    /// Mean time from a request's arrival to the end of its answer; null before the first.
    #[schema(example = "1.5s")]
    average_generation_time: Option<String>,
    /// Memory that it takes now.
    #[schema(example = "500.0MB")]
    memory_usage: String,
    /// When it was loaded; null while it is not.
    #[schema(format = DateTime)]
    load_time: Option<String>,
    /// The share of requests that failed; null before the first.
    #[schema(example = "0.1%")]
    error_rate: Option<String>,
}

/// Tells what was measured of a model.
#[utoipa::path(
    get, path = "/api/v1/models/{model_name}/metrics", tag = "tursi", operation_id = "tursi_model_metrics",
    params(("model_name" = String, Path, description = "The model", example = "ember")),
    responses((status = 200, description = "Its measurements", body = MetricsAnswer), Errors)
)]
pub async fn metrics(
    State(app): State<App>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<MetricsAnswer>, ApiError> {
    let Path(name) = name?;
    allow(&app, &caller, &name)?;
    let status = app.runtime.status(&name).await?;
    let counted = &status.metrics;
    let metrics = ModelMetrics {
        requests_total: counted.requests,
        tokens_generated: counted.tokens_out,
        average_generation_time: counted.latency.mean().map(|seconds| {
            let time = Duration::try_from_secs_f64(seconds);
            measured(time.unwrap_or_default())
        }),
        memory_usage: size(status.memory_bytes),
        load_time: status.loaded_at.map(datetime),
        error_rate: (counted.requests > 0)
            .then(|| percent(counted.failed as f64 / counted.requests as f64)),
    };
    Ok(Json(MetricsAnswer { name, metrics }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(body: Value) -> Result<Option<Quantize>, FieldError> {
        let Value::Object(body) = body else {
            panic!("not an object")
        };
        LoadOptions::read(&Fields::new(body)).map(LoadOptions::quantize)
    }

    #[test]
    fn how_to_quantize() {
        for (body, expected) in [
            (json!({}), None),
            (json!({"quantize": null, "mode": "static"}), None),
            (
                json!({"quantize": true, "bits": 8, "mode": "dynamic"}),
                Some(Quantize::Bits(8)),
            ),
            (json!({"quantize": true}), Some(Quantize::Bits(8))),
            (json!({"bits": 4}), Some(Quantize::Bits(4))),
            (json!({"quantize": false, "bits": 8}), Some(Quantize::No)),
        ] {
            assert_eq!(read(body.clone()), Ok(expected), "{body}");
        }
    }

    #[test]
    fn wrong_options_are_refused_by_name() {
        for (body, field) in [
            (json!({"quantize": true, "bits": 7}), "bits"),
            (json!({"bits": "8"}), "bits"),
            (json!({"mode": "sideways"}), "mode"),
            (json!({"mode": 1}), "mode"),
            (json!({"quantize": "yes"}), "quantize"),
        ] {
            assert_eq!(read(body).expect_err(field).field, field);
        }
    }
}
