//! `/v2/models/{model_name}/config`: how a network is run, in Triton's words.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use hearth_runtime::{Ask, ValueInfo};
use serde::Serialize;
use utoipa::ToSchema;

use super::datatype;
use super::error::{ApiError, Errors};
use super::models::{platform, shape};
use crate::caller::Caller;
use crate::metrics::Measure;
use crate::network::network;
use crate::state::App;

/// How a network is run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::ModelConfig)]
pub struct ModelConfig {
    /// The network.
    #[schema(example = "example")]
    name: String,
    /// The runtime, and the form in which it has the network.
    #[schema(example = "tract_onnx")]
    platform: String,
    /// The runtime: `onnxruntime` or `tract`.
    #[schema(example = "tract")]
    backend: String,
    /// Most inputs that run together; 0 where its tensors have no dimension that counts inputs.
    max_batch_size: usize,
    /// What it takes.
    input: Vec<TensorConfig>,
    /// What it gives.
    output: Vec<TensorConfig>,
    /// Its instances.
    instance_group: [InstanceGroup; 1],
    /// How inputs become batches; left out where they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    dynamic_batching: Option<DynamicBatching>,
}

/// A tensor that a network takes or gives.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::TensorConfig)]
pub struct TensorConfig {
    /// Its name.
    name: String,
    /// The type of its elements.
    #[schema(example = "TYPE_FP32")]
    data_type: String,
    /// Its dimensions without the one that counts inputs; -1 for any size.
    dims: Vec<i64>,
}

/// Instances of a network.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::InstanceGroup)]
pub struct InstanceGroup {
    /// Where they compute.
    #[schema(example = "KIND_CPU")]
    kind: &'static str,
    /// How many there are.
    count: usize,
}

/// How inputs become batches.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::DynamicBatching)]
pub struct DynamicBatching {
    /// Numbers of inputs that run at once where there are so many; left out where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preferred_batch_size: Vec<usize>,
    /// How long an input waits for others, in microseconds.
    max_queue_delay_microseconds: u64,
}

/// Tells how a network is run; loads it if need be.
#[utoipa::path(
    get, path = "/v2/models/{model_name}/config", tag = "kserve", operation_id = "kserve_model_config",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    responses((status = 200, description = "How it is run", body = ModelConfig), Errors)
)]
pub async fn config(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelConfig>, ApiError> {
    let Path(name) = path?;
    describe(&app, &caller, &measure, name, None).await
}

/// Tells how a version of a network is run; loads it if need be.
#[utoipa::path(
    get, path = "/v2/models/{model_name}/versions/{model_version}/config", tag = "kserve",
    operation_id = "kserve_model_version_config",
    params(
        ("model_name" = String, Path, description = "The network", example = "example"),
        ("model_version" = String, Path, description = "Its version", example = "1"),
    ),
    responses((status = 200, description = "How it is run", body = ModelConfig), Errors)
)]
pub async fn version_config(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<ModelConfig>, ApiError> {
    let Path((name, version)) = path?;
    describe(&app, &caller, &measure, name, Some(version)).await
}

async fn describe(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    name: String,
    version: Option<String>,
) -> Result<Json<ModelConfig>, ApiError> {
    let version = version.as_deref();
    let network = network(app, caller, measure, &name, version, Ask::default()).await?;
    let is_batched = network.is_batched();
    let count = app.runtime.status(network.model()).await?.instances.len();
    let tensors = |infos: &[ValueInfo]| {
        let skip = usize::from(is_batched);
        let tensor = |info: &ValueInfo| TensorConfig {
            name: info.name.clone(),
            data_type: format!("TYPE_{}", datatype::name(info.dtype)),
            dims: shape(info.dims.get(skip..).unwrap_or_default()),
        };
        infos.iter().map(tensor).collect()
    };
    let delay = network.max_delay().as_micros();
    Ok(Json(ModelConfig {
        platform: platform(&network.runtime()),
        backend: network.runtime(),
        max_batch_size: if is_batched {
            network.max_batch_size()
        } else {
            0
        },
        input: tensors(network.inputs()),
        output: tensors(network.outputs()),
        instance_group: [InstanceGroup {
            kind: "KIND_CPU",
            count,
        }],
        dynamic_batching: is_batched.then(|| DynamicBatching {
            preferred_batch_size: network.preferred_batch_sizes().to_vec(),
            max_queue_delay_microseconds: u64::try_from(delay).unwrap_or(u64::MAX),
        }),
        name,
    }))
}
