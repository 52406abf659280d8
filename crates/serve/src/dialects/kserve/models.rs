//! `/v2/models/{model_name}`: what a network takes and gives, and whether it is ready.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use hearth_runtime::{Ask, Dim, NetworkUses, ValueInfo};
use serde::Serialize;
use utoipa::ToSchema;

use super::datatype;
use super::error::{ApiError, Errors};
use crate::caller::Caller;
use crate::metrics::Measure;
use crate::network::{network, statuses, unready};
use crate::problem::{Kind, Problem};
use crate::state::App;

/// A network.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::Model)]
pub struct Model {
    /// Its name.
    #[schema(example = "example")]
    name: String,
    /// The versions that are served; of one that was asked for, that one.
    #[schema(example = json!(["1"]))]
    versions: Vec<String>,
    /// The runtime, and the form in which it has the network.
    #[schema(example = "tract_onnx")]
    platform: String,
    /// What it takes.
    inputs: Vec<Tensor>,
    /// What it gives.
    outputs: Vec<Tensor>,
    /// What it takes and gives besides tensors; left out where that is nothing.
    #[serde(skip_serializing_if = "ModelParameters::is_empty")]
    parameters: ModelParameters,
}

/// What a network takes and gives besides tensors.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::ModelParameters)]
pub struct ModelParameters {
    /// Names that inputs of the type `BYTES` may have in place of tensors: `text` and `text_pair` for texts, `image` and the name of
    /// the input that it fills for JPEG, PNG and WebP files.
    bytes_inputs: Vec<String>,
    /// Most tokens of a text; null where it takes none, or that is not known.
    max_tokens: Option<usize>,
    /// The names of the classes whose scores it gives; empty where it is no classifier, or they are not known.
    classes: Vec<String>,
    /// Whether there are scores for each token of a text.
    classes_per_token: bool,
}

impl ModelParameters {
    fn is_empty(&self) -> bool {
        self.bytes_inputs.is_empty() && self.classes.is_empty()
    }

    fn of(uses: &NetworkUses) -> Self {
        let texts: &[&str] = match uses.takes_text {
            true => &["text", "text_pair"],
            false => &[],
        };
        let texts = texts.iter().copied();
        let images = uses.image_input.iter();
        let images = images.flat_map(|input| ["image", input.as_str()]);
        Self {
            bytes_inputs: texts.chain(images).map(str::to_owned).collect(),
            max_tokens: uses.max_tokens,
            classes: uses.classes.clone(),
            classes_per_token: uses.is_per_token,
        }
    }
}

/// A tensor that a network takes or gives.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::Tensor)]
pub struct Tensor {
    /// Its name.
    name: String,
    /// The type of its elements.
    #[schema(example = "FP32")]
    datatype: &'static str,
    /// Its dimensions; -1 for any size.
    shape: Vec<i64>,
}

impl From<&ValueInfo> for Tensor {
    fn from(info: &ValueInfo) -> Self {
        Self {
            name: info.name.clone(),
            datatype: datatype::name(info.dtype),
            shape: shape(&info.dims),
        }
    }
}

/// Dimensions in the protocol's words: -1 for any size.
pub fn shape(dims: &[Dim]) -> Vec<i64> {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => *size,
        _ => -1,
    };
    dims.iter().map(size).collect()
}

/// Tells what a network takes and gives; loads it if need be.
#[utoipa::path(
    get, path = "/v2/models/{model_name}", tag = "kserve", operation_id = "kserve_model",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    responses((status = 200, description = "The network", body = Model), Errors)
)]
pub async fn metadata(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    let Path(name) = path?;
    describe(&app, &caller, &measure, name, None).await
}

/// Tells what a version of a network takes and gives; loads it if need be.
#[utoipa::path(
    get, path = "/v2/models/{model_name}/versions/{model_version}", tag = "kserve",
    operation_id = "kserve_model_version",
    params(
        ("model_name" = String, Path, description = "The network", example = "example"),
        ("model_version" = String, Path, description = "Its version", example = "1"),
    ),
    responses((status = 200, description = "The network", body = Model), Errors)
)]
pub async fn version_metadata(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    let Path((name, version)) = path?;
    describe(&app, &caller, &measure, name, Some(version)).await
}

async fn describe(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    name: String,
    version: Option<String>,
) -> Result<Json<Model>, ApiError> {
    let asked = version.as_deref();
    let network = network(app, caller, measure, &name, asked, Ask::default()).await?;
    let versions = match version {
        Some(version) => vec![version],
        None => {
            // As of the last look at the folder: looking again for each request would take its time.
            let known = app.runtime.known_versions(&name);
            let known = known.unwrap_or_else(|| vec![network.version()]);
            known.iter().rev().map(u64::to_string).collect()
        }
    };
    Ok(Json(Model {
        name,
        versions,
        platform: platform(&network.runtime()),
        inputs: network.inputs().iter().map(Tensor::from).collect(),
        outputs: network.outputs().iter().map(Tensor::from).collect(),
        parameters: ModelParameters::of(network.uses()),
    }))
}

/// The protocol's word for a runtime and the form in which it has a network.
pub fn platform(runtime: &str) -> String {
    format!("{runtime}_onnx")
}

/// Whether a network is ready.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::ModelReady)]
pub struct ModelReady {
    /// The network.
    #[schema(example = "example")]
    name: String,
    /// Always true; a network that is not ready is answered with an error.
    ready: bool,
}

/// Ready, if a request for it will be answered: it is loaded, or is loaded when somebody asks for it.
///
/// A network whose last load failed is answered with 503; one with several versions only where that of all of them failed.
#[utoipa::path(
    get, path = "/v2/models/{model_name}/ready", tag = "kserve", operation_id = "kserve_model_ready",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    responses((status = 200, description = "It is ready", body = ModelReady), Errors)
)]
pub async fn ready(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelReady>, ApiError> {
    let Path(name) = path?;
    check_ready(&app, &caller, name, None).await
}

/// As without the version.
#[utoipa::path(
    get, path = "/v2/models/{model_name}/versions/{model_version}/ready", tag = "kserve",
    operation_id = "kserve_model_version_ready",
    params(
        ("model_name" = String, Path, description = "The network", example = "example"),
        ("model_version" = String, Path, description = "Its version", example = "1"),
    ),
    responses((status = 200, description = "It is ready", body = ModelReady), Errors)
)]
pub async fn version_ready(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<ModelReady>, ApiError> {
    let Path((name, version)) = path?;
    check_ready(&app, &caller, name, Some(version)).await
}

async fn check_ready(
    app: &App,
    caller: &Caller,
    name: String,
    version: Option<String>,
) -> Result<Json<ModelReady>, ApiError> {
    let statuses = statuses(app, caller, &name, version.as_deref()).await?;
    if let Some(reason) = unready(&statuses) {
        let message = format!("model '{name}' is not ready: {reason}");
        return Err(Problem::new(Kind::Overloaded, message).into());
    }
    Ok(Json(ModelReady { name, ready: true }))
}
