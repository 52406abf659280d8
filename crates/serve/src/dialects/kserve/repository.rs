//! `/v2/repository`: which networks there are, loading and unloading.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use hearth_runtime::{LoadRequest, ModelKind, ModelState};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::caller::Caller;
use crate::extract::admit_optional;
use crate::fields::FieldError;
use crate::network::statuses;
use crate::residency;
use crate::state::App;
use crate::waiting::permit;

/// Which networks to list.
#[derive(Debug, ToSchema)]
#[schema(as = kserve::IndexRequest)]
#[allow(dead_code, reason = "describes what is read field by field")]
pub struct IndexRequest {
    /// Only those that are loaded.
    #[schema(default = false)]
    ready: Option<bool>,
}

/// A version of a network of the repository.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::IndexEntry)]
pub struct IndexEntry {
    /// Its name.
    #[schema(example = "example")]
    name: String,
    /// Its version.
    #[schema(example = "1")]
    version: String,
    /// `READY` if it is loaded, `LOADING`, `UNLOADING`, or `UNAVAILABLE`, which a request for it ends.
    #[schema(example = "READY")]
    state: &'static str,
    /// Why it is in this state, where there is more to say; of one that is loaded, why what its files have become is not.
    reason: String,
}

/// Lists the networks, each version of them.
#[utoipa::path(
    post, path = "/v2/repository/index", tag = "kserve", operation_id = "kserve_index",
    request_body(content = Option<IndexRequest>, description = "May be left out", example = json!({"ready": false})),
    responses((status = 200, description = "The networks", body = Vec<IndexEntry>), Errors)
)]
pub async fn index(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Json<Vec<IndexEntry>>, ApiError> {
    let (_ticket, fields) = admit_optional(&app, request).await?;
    let only_ready = fields.boolean("ready")?.unwrap_or(false);
    let statuses = app.runtime.all_version_statuses().await?.into_iter();
    let networks = statuses.filter(|status| {
        status.kind == Some(ModelKind::Network)
            && (!only_ready || status.state == ModelState::Loaded)
            && permit(&app, &caller, &status.model).is_ok()
    });
    let entry = |status: hearth_runtime::ModelStatus| IndexEntry {
        version: status.version.to_string(),
        state: match status.state {
            ModelState::Loaded => "READY",
            ModelState::Loading => "LOADING",
            ModelState::Unloading => "UNLOADING",
            ModelState::NotLoaded | ModelState::Failed => "UNAVAILABLE",
        },
        reason: match status.state {
            ModelState::NotLoaded => "not loaded".to_owned(),
            _ => status.error.unwrap_or_default(),
        },
        name: status.model,
    };
    Ok(Json(networks.map(entry).collect()))
}

/// How to load a network.
#[derive(Debug, ToSchema)]
#[schema(as = kserve::LoadRequest)]
#[allow(dead_code, reason = "describes what is read field by field")]
pub struct LoadBody {
    /// Nothing is known here: a network is loaded as its files say.
    parameters: Option<Map<String, Value>>,
}

/// Loads a network, all versions of it that are served, and answers when they are loaded.
///
/// Where one cannot be loaded, the others are, and the answer is the error.
#[utoipa::path(
    post, path = "/v2/repository/models/{model_name}/load", tag = "kserve", operation_id = "kserve_load",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    request_body(content = Option<LoadBody>, description = "May be left out", example = json!({})),
    responses((status = 200, description = "It is loaded"), Errors)
)]
pub async fn load(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let Path(name) = path?;
    let (_ticket, fields) = admit_optional(&app, request).await?;
    let parameters = fields.object("parameters")?.into_iter().flatten();
    let given = { parameters }.find(|(key, _)| *key == "config" || key.starts_with("file:"));
    if let Some((key, value)) = given {
        let expected = "networks as they are in its folder of models";
        return Err(FieldError::unsupported(format!("parameters.{key}"), expected, value).into());
    }
    statuses(&app, &caller, &name, None).await?;
    let loads = app.runtime.load_versions(&name, LoadRequest::default());
    let mut outcome = Ok(());
    for loading in loads.await? {
        outcome = outcome.and(loading.wait().await);
    }
    outcome?;
    Ok(StatusCode::OK)
}

/// How to unload a network.
#[derive(Debug, ToSchema)]
#[schema(as = kserve::UnloadRequest)]
#[allow(dead_code, reason = "describes what is read field by field")]
pub struct UnloadBody {
    /// `unload_dependents` makes no difference: no network depends on another.
    parameters: Option<Map<String, Value>>,
}

/// Unloads a network, all versions of it, once the requests in progress have ended.
#[utoipa::path(
    post, path = "/v2/repository/models/{model_name}/unload", tag = "kserve", operation_id = "kserve_unload",
    params(("model_name" = String, Path, description = "The network", example = "example")),
    request_body(content = Option<UnloadBody>, description = "May be left out", example = json!({})),
    responses((status = 200, description = "It is not loaded any more"), Errors)
)]
pub async fn unload(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let Path(name) = path?;
    let (_ticket, fields) = admit_optional(&app, request).await?;
    fields.object("parameters")?;
    statuses(&app, &caller, &name, None).await?;
    residency::unload(&app, &caller, &name).await?;
    Ok(StatusCode::OK)
}
