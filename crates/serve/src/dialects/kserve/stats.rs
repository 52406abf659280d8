//! `/v2/models/{model_name}/stats`: what was counted, in Triton's words.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use hearth_runtime::{Figures, ModelKind, ModelState, ModelStatus, RunFigures};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::caller::Caller;
use crate::network::statuses;
use crate::state::App;
use crate::waiting::permit;

/// What was counted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::Statistics)]
pub struct Statistics {
    /// By network and version.
    model_stats: Vec<ModelStatistics>,
}

/// What was counted of a version of a network. Requests count since the server began, runs since the network was loaded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::ModelStatistics)]
pub struct ModelStatistics {
    /// The network.
    #[schema(example = "example")]
    name: String,
    /// Its version.
    #[schema(example = "1")]
    version: String,
    /// When it was last used, as Unix time in milliseconds; left out before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_inference: Option<u64>,
    /// Inputs that ran.
    inference_count: u64,
    /// Runs, each of one input or several.
    execution_count: u64,
    /// Times.
    inference_stats: InferenceStatistics,
    /// The runs by how many inputs they had.
    batch_stats: Vec<BatchStatistics>,
}

/// Times of requests and runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::InferenceStatistics)]
pub struct InferenceStatistics {
    /// Requests that were answered, with their times from the beginning to the end.
    success: Times,
    /// Requests that failed; their times are not kept.
    fail: Count,
    /// Requests, or pieces of large ones, with the time that they waited for a run.
    queue: Times,
    /// Runs, with the time in which inputs were put together.
    compute_input: Times,
    /// Runs, with the time that the runtime took.
    compute_infer: Times,
    /// Runs, with the time in which outputs were taken apart.
    compute_output: Times,
}

/// Runs with so many inputs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::BatchStatistics)]
pub struct BatchStatistics {
    /// How many inputs each had.
    batch_size: usize,
    /// The time in which inputs were put together.
    compute_input: Times,
    /// The time that the runtime took.
    compute_infer: Times,
    /// The time in which outputs were taken apart.
    compute_output: Times,
}

/// How often, and how long together.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = kserve::Times)]
pub struct Times {
    /// How often.
    count: u64,
    /// How long together, in nanoseconds.
    ns: u64,
}

/// How often.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::Count)]
pub struct Count {
    /// How often.
    count: u64,
}

impl Times {
    fn new(count: u64, time: Duration) -> Self {
        Self {
            count,
            ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Of joining, running and splitting.
    fn of_runs(runs: &RunFigures) -> [Self; 3] {
        [runs.join_time, runs.run_time, runs.split_time].map(|time| Self::new(runs.count, time))
    }
}

impl From<ModelStatus> for ModelStatistics {
    fn from(status: ModelStatus) -> Self {
        let figures = status.instances.iter().filter_map(|i| match &i.figures {
            Some(Figures::Network(figures)) => Some(figures),
            _ => None,
        });
        let (mut inputs, mut batches, mut queued) = (0, 0, (0, Duration::ZERO));
        let mut sizes: BTreeMap<usize, RunFigures> = BTreeMap::new();
        for instance in figures {
            inputs += instance.inputs;
            batches += instance.batches;
            queued.0 += instance.queued;
            queued.1 += instance.queue_time;
            for (size, runs) in &instance.sizes {
                sizes.entry(*size).or_default().add(*runs);
            }
        }
        let mut all = RunFigures::default();
        sizes.values().for_each(|runs| all.add(*runs));
        let [compute_input, compute_infer, compute_output] = Times::of_runs(&all);
        let answered = &status.metrics.latency;
        let answering = Duration::try_from_secs_f64(answered.sum()).unwrap_or_default();
        let used = status
            .last_used
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let batch_stats = sizes.iter().map(|(batch_size, runs)| {
            let [compute_input, compute_infer, compute_output] = Times::of_runs(runs);
            BatchStatistics {
                batch_size: *batch_size,
                compute_input,
                compute_infer,
                compute_output,
            }
        });
        Self {
            name: status.model,
            version: status.version.to_string(),
            last_inference: used.and_then(|at| u64::try_from(at.as_millis()).ok()),
            inference_count: inputs,
            execution_count: batches,
            inference_stats: InferenceStatistics {
                success: Times::new(answered.count(), answering),
                fail: Count {
                    count: status.metrics.failed,
                },
                queue: Times::new(queued.0, queued.1),
                compute_input,
                compute_infer,
                compute_output,
            },
            batch_stats: batch_stats.collect(),
        }
    }
}

/// Tells what was counted of all networks that are loaded.
#[utoipa::path(
    get, path = "/v2/models/stats", tag = "kserve", operation_id = "kserve_stats",
    responses((status = 200, description = "What was counted", body = Statistics), Errors)
)]
pub async fn all(State(app): State<App>, caller: Caller) -> Result<Json<Statistics>, ApiError> {
    let statuses = app.runtime.all_version_statuses().await?.into_iter();
    let networks = statuses.filter(|status| {
        status.kind == Some(ModelKind::Network)
            && status.state == ModelState::Loaded
            && permit(&app, &caller, &status.model).is_ok()
    });
    Ok(Json(Statistics {
        model_stats: networks.map(ModelStatistics::from).collect(),
    }))
}

/// Tells what was counted of a network, of each of its versions.
#[utoipa::path(
    get, path = "/v2/models/{model_name}/stats", tag = "kserve", operation_id = "kserve_model_stats",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    responses((status = 200, description = "What was counted", body = Statistics), Errors)
)]
pub async fn stats(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Statistics>, ApiError> {
    let Path(name) = path?;
    of_one(&app, &caller, name, None).await
}

/// Tells what was counted of a version of a network.
#[utoipa::path(
    get, path = "/v2/models/{model_name}/versions/{model_version}/stats", tag = "kserve",
    operation_id = "kserve_model_version_stats",
    params(
        ("model_name" = String, Path, description = "The network", example = "example"),
        ("model_version" = String, Path, description = "Its version", example = "1"),
    ),
    responses((status = 200, description = "What was counted", body = Statistics), Errors)
)]
pub async fn version_stats(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Statistics>, ApiError> {
    let Path((name, version)) = path?;
    of_one(&app, &caller, name, Some(version)).await
}

async fn of_one(
    app: &App,
    caller: &Caller,
    name: String,
    version: Option<String>,
) -> Result<Json<Statistics>, ApiError> {
    let statuses = statuses(app, caller, &name, version.as_deref()).await?;
    Ok(Json(Statistics {
        model_stats: statuses.into_iter().map(ModelStatistics::from).collect(),
    }))
}
