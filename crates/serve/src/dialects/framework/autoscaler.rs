//! `/autoscaler/*`: how models come and go, measured, and the levers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use hearth_runtime::{LoadRequest, split_version};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use super::query::{Params, Raw};
use crate::caller::Caller;
use crate::fields::FieldError;
use crate::network::versioned;
use crate::problem::Problem;
use crate::quantities::{megabytes, unix_seconds};
use crate::state::App;
use crate::waiting::allow;

/// What was measured of models coming and going, since the server began.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AutoscalerStats)]
pub struct Stats {
    /// Unloading what is idle.
    zero_scaler: ZeroScaler,
    /// Loading.
    model_loader: ModelLoader,
    /// Requests.
    performance: Performance,
    /// The autoscaler itself.
    health: StatsHealth,
}

/// Unloading what is idle.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ZeroScaler)]
pub struct ZeroScaler {
    /// Whether some model is unloaded when it is idle.
    enabled: bool,
    /// Models that are unloaded now because they were idle.
    models_scaled_to_zero: usize,
    /// How often a model was unloaded because it was idle.
    scale_to_zero_events: u64,
    /// Mean time of the loads that a request waited for, in seconds; null before the first.
    avg_scale_up_time: Option<f64>,
    /// Models that are kept loaded.
    preloaded_models: Vec<String>,
}

/// Loading.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ModelLoader)]
pub struct ModelLoader {
    /// Loads that have ended.
    total_load_requests: u64,
    /// Those that ended well.
    successful_loads: u64,
    /// The others.
    failed_loads: u64,
    /// Mean time of a load, in seconds; null before the first.
    avg_load_time: Option<f64>,
    /// Which instance takes a request.
    #[schema(example = "least_connections")]
    load_balancing_strategy: String,
    /// Instances of each loaded model.
    active_instances: BTreeMap<String, usize>,
}

/// Requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AutoscalerPerformance)]
pub struct Performance {
    /// Requests for inference that ended, a second, over the last minute.
    predictions_per_second: f64,
    /// Mean time to the end of an answer, in seconds; null before the first.
    avg_response_time: Option<f64>,
    /// Requests that wait.
    queue_depth: usize,
    /// Memory that loaded models take, in MiB.
    memory_usage_mb: f64,
}

/// The autoscaler itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AutoscalerStatsHealth)]
pub struct StatsHealth {
    /// Whether every loaded model takes requests.
    healthy: bool,
    /// When that was looked at, as Unix time in seconds: now.
    last_health_check: f64,
}

/// Tells what was measured of models coming and going.
#[utoipa::path(
    get, path = "/autoscaler/stats", tag = "framework", operation_id = "autoscaler_stats",
    responses((status = 200, description = "The measurements", body = Stats), Errors)
)]
pub async fn stats(State(app): State<App>) -> Json<Stats> {
    let stats = app.runtime.stats();
    Json(Stats {
        zero_scaler: ZeroScaler {
            enabled: stats.scale_to_zero,
            models_scaled_to_zero: stats.models_scaled_to_zero,
            scale_to_zero_events: stats.scale_to_zero_events,
            avg_scale_up_time: stats.scale_from_zero.mean(),
            preloaded_models: stats.pinned,
        },
        model_loader: ModelLoader {
            total_load_requests: stats.successful_loads + stats.failed_loads,
            successful_loads: stats.successful_loads,
            failed_loads: stats.failed_loads,
            avg_load_time: stats.load_time.mean(),
            load_balancing_strategy: stats.strategy.to_string(),
            active_instances: stats.instances,
        },
        performance: Performance {
            predictions_per_second: app.metrics.inference_per_second(),
            avg_response_time: stats.metrics.latency.mean(),
            queue_depth: stats.queue_depth,
            memory_usage_mb: megabytes(stats.memory_used),
        },
        health: StatsHealth {
            healthy: stats.healthy,
            last_health_check: unix_seconds(),
        },
    })
}

/// Whether models can come and go.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AutoscalerHealth)]
pub struct Health {
    /// Whether all components are well.
    healthy: bool,
    /// The components.
    components: Components,
    /// Now, as Unix time in seconds.
    timestamp: f64,
}

/// The autoscaler's components.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AutoscalerComponents)]
pub struct Components {
    /// Unloading what is idle.
    zero_scaler: ZeroScalerHealth,
    /// Loading.
    model_loader: LoaderHealth,
    /// Counting.
    metrics_collector: CollectorHealth,
}

/// How unloading does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ZeroScalerHealth)]
pub struct ZeroScalerHealth {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// When a model last came or went, or else when the server began, as Unix time in seconds.
    last_activity: f64,
}

/// How loading does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::LoaderHealth)]
pub struct LoaderHealth {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// Loads under way.
    active_loaders: usize,
}

/// How counting does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::CollectorHealth)]
pub struct CollectorHealth {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// Events of models that were counted.
    events_processed: u64,
}

/// Tells whether models can come and go.
#[utoipa::path(
    get, path = "/autoscaler/health", tag = "framework", operation_id = "autoscaler_health",
    responses((status = 200, description = "The components", body = Health), Errors)
)]
pub async fn health(State(app): State<App>) -> Json<Health> {
    let stats = app.runtime.stats();
    let status = match stats.healthy {
        true => "healthy",
        false => "unhealthy",
    };
    let began = || SystemTime::now() - app.started.elapsed();
    let active = stats.last_activity.unwrap_or_else(began);
    let since = active.duration_since(SystemTime::UNIX_EPOCH);
    Json(Health {
        healthy: stats.healthy,
        components: Components {
            zero_scaler: ZeroScalerHealth {
                status,
                last_activity: since.unwrap_or_default().as_secs_f64(),
            },
            model_loader: LoaderHealth {
                status,
                active_loaders: stats.active_loads,
            },
            metrics_collector: CollectorHealth {
                // Counting is a part of what is counted.
                status: "healthy",
                events_processed: stats.events,
            },
        },
        timestamp: unix_seconds(),
    })
}

/// A change of a model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::VersionChange)]
pub struct VersionChange {
    /// Always true.
    success: bool,
    /// The same as a sentence.
    #[schema(example = "Successfully loaded ember:v1")]
    message: String,
    /// The model.
    #[schema(example = "ember")]
    model_name: String,
    /// Its version.
    #[schema(example = "v1")]
    version: String,
}

/// What a request wants to change.
struct Asked {
    /// The model.
    model: String,
    /// The name of the version that was asked for; the model's own where none was.
    named: String,
    /// That version, or else the newest, as this dialect writes them.
    version: String,
}

impl Asked {
    /// Once the caller may use the model and it has the version that was asked for.
    async fn read(app: &App, caller: &Caller, query: Raw) -> Result<Self, Problem> {
        let params = Params::new(query)?;
        let model = params.required("model_name")?.to_owned();
        allow(app, caller, &model)?;
        let newest = app.runtime.model(&model).await?.versions.into_iter().next();
        let newest = newest.map_or(1, |version| version.number);
        let asked = params.text("version");
        let number = asked.map(|version| version.strip_prefix('v').unwrap_or(version));
        Ok(Self {
            named: versioned(app, &model, number).await?.into_owned(),
            version: number.map_or_else(|| format!("v{newest}"), |number| format!("v{number}")),
            model,
        })
    }

    fn changed(self, how: &str) -> VersionChange {
        VersionChange {
            success: true,
            message: format!("Successfully {how} {}:{}", self.model, self.version),
            model_name: self.model,
            version: self.version,
        }
    }
}

/// Loads a model and answers when it is loaded.
#[utoipa::path(
    post, path = "/autoscaler/load", tag = "framework", operation_id = "autoscaler_load",
    params(
        ("model_name" = String, Query, description = "The model", min_length = 1, example = "ember"),
        ("version" = Option<String>, Query, description = "Its version, `v1` unless it has several; the newest where none is named"),
    ),
    responses((status = 200, description = "It is loaded", body = VersionChange), Errors)
)]
pub async fn load(
    State(app): State<App>,
    caller: Caller,
    query: Raw,
) -> Result<Json<VersionChange>, ApiError> {
    let mut asked = Asked::read(&app, &caller, query).await?;
    let loading = app.runtime.load(&asked.named, LoadRequest::default());
    let loading = loading.await?;
    // Where none was named it need not be the newest, which may be one that cannot be loaded.
    if let Some((_, number)) = split_version(loading.model()).filter(|_| asked.named == asked.model)
    {
        asked.version = format!("v{number}");
    }
    loading.wait().await?;
    Ok(Json(asked.changed("loaded")))
}

/// Unloads a model once the requests in progress have ended.
#[utoipa::path(
    delete, path = "/autoscaler/unload", tag = "framework", operation_id = "autoscaler_unload",
    params(
        ("model_name" = String, Query, description = "The model", min_length = 1, example = "ember"),
        ("version" = Option<String>, Query, description = "Its version, `v1` unless it has several; all of them where none is named"),
    ),
    responses((status = 200, description = "It is not loaded any more", body = VersionChange), Errors)
)]
pub async fn unload(
    State(app): State<App>,
    caller: Caller,
    query: Raw,
) -> Result<Json<VersionChange>, ApiError> {
    let asked = Asked::read(&app, &caller, query).await?;
    app.runtime.unload(&asked.named, false).await?;
    Ok(Json(asked.changed("unloaded")))
}

/// A model with its instances.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Scaled)]
pub struct Scaled {
    /// Always true.
    success: bool,
    /// The same as a sentence.
    #[schema(example = "Successfully scaled ember to 3 instances")]
    message: String,
    /// The model.
    #[schema(example = "ember")]
    model_name: String,
    /// The instances that it has now.
    target_instances: usize,
}

/// Gives a model as many instances as asked for; 0 unloads it.
#[utoipa::path(
    post, path = "/autoscaler/scale", tag = "framework", operation_id = "autoscaler_scale",
    params(
        ("model_name" = String, Query, description = "The model", min_length = 1, example = "ember"),
        ("target_instances" = u32, Query, description = "How many instances", maximum = 16, example = 3),
    ),
    responses((status = 200, description = "It has that many instances", body = Scaled), Errors)
)]
pub async fn scale(
    State(app): State<App>,
    caller: Caller,
    query: Raw,
) -> Result<Json<Scaled>, ApiError> {
    let params = Params::new(query)?;
    let model_name = params.required("model_name")?.to_owned();
    let most = i64::try_from(app.runtime.max_instances()).unwrap_or(i64::MAX);
    let target = params.integer("target_instances", 0..=most)?;
    let target = target
        .and_then(|target| usize::try_from(target).ok())
        .ok_or_else(|| FieldError::missing("target_instances", "an integer"))?;
    allow(&app, &caller, &model_name)?;
    let target_instances = app.runtime.scale(&model_name, target).await?;
    let plural = if target_instances == 1 { "" } else { "s" };
    Ok(Json(Scaled {
        success: true,
        message: format!("Successfully scaled {model_name} to {target_instances} instance{plural}"),
        model_name,
        target_instances,
    }))
}

/// Measurements over a window.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AutoscalerMetrics)]
pub struct MetricsAnswer {
    /// The measurements.
    metrics: Metrics,
    /// The window, in seconds.
    window_seconds: u64,
    /// Now, as Unix time in seconds.
    timestamp: f64,
}

/// The counters, and series over the window.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AutoscalerMetricsBody)]
pub struct Metrics {
    /// Unloading what is idle.
    zero_scaler: ZeroScalerMetrics,
    /// Loading.
    model_loader: LoaderMetrics,
    /// Equally spaced samples over the window, oldest first.
    detailed_metrics: Detailed,
}

/// Unloading what is idle.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ZeroScalerMetrics)]
pub struct ZeroScalerMetrics {
    /// Whether some model is unloaded when it is idle.
    enabled: bool,
    /// Models that are unloaded now because they were idle.
    models_scaled_to_zero: usize,
    /// How often a model was unloaded because it was idle.
    scale_events: u64,
}

/// Loading.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::LoaderMetrics)]
pub struct LoaderMetrics {
    /// Loads that have ended.
    total_loads: u64,
    /// The share of them that ended well; null before the first.
    success_rate: Option<f64>,
    /// Mean time of a load, in seconds; null before the first.
    avg_load_time: Option<f64>,
}

/// Equally spaced samples over the window, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::DetailedMetrics)]
pub struct Detailed {
    /// Requests that ended, a second.
    prediction_rate: Vec<f64>,
    /// Mean time to the end of an answer, in seconds, of those samples in which any ended.
    response_times: Vec<f64>,
    /// Memory that loaded models took, in MiB.
    memory_usage: Vec<f64>,
    /// The time between two samples, in seconds.
    step_seconds: f64,
}

/// Tells measurements over a window.
#[utoipa::path(
    get, path = "/autoscaler/metrics", tag = "framework", operation_id = "autoscaler_metrics",
    params(("window_seconds" = Option<u32>, Query, description = "The window, up to now, 1 to 86400; 300 unless told otherwise", minimum = 1, maximum = 86400)),
    responses((status = 200, description = "The measurements", body = MetricsAnswer), Errors)
)]
pub async fn metrics(State(app): State<App>, query: Raw) -> Result<Json<MetricsAnswer>, ApiError> {
    let params = Params::new(query)?;
    let window = params.integer("window_seconds", 1..=86_400)?.unwrap_or(300);
    let window_seconds = window.unsigned_abs();
    let stats = app.runtime.stats();
    let series = app.runtime.series(Duration::from_secs(window_seconds));
    let loads = stats.successful_loads + stats.failed_loads;
    let samples = &series.samples;
    Ok(Json(MetricsAnswer {
        metrics: Metrics {
            zero_scaler: ZeroScalerMetrics {
                enabled: stats.scale_to_zero,
                models_scaled_to_zero: stats.models_scaled_to_zero,
                scale_events: stats.scale_to_zero_events,
            },
            model_loader: LoaderMetrics {
                total_loads: loads,
                success_rate: (loads > 0).then(|| stats.successful_loads as f64 / loads as f64),
                avg_load_time: stats.load_time.mean(),
            },
            detailed_metrics: Detailed {
                prediction_rate: series.requests_per_second(),
                response_times: samples
                    .iter()
                    .filter_map(hearth_runtime::Sample::mean_latency)
                    .collect(),
                memory_usage: samples
                    .iter()
                    .map(|sample| megabytes(sample.memory_bytes))
                    .collect(),
                step_seconds: series.step.as_secs_f64(),
            },
        },
        window_seconds,
        timestamp: unix_seconds(),
    }))
}
