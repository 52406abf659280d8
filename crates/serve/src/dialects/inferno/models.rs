//! `GET /v1/models` and `GET /v1/models/{model_id}`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use hearth_runtime::ModelEntry;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::state::App;

/// A model in this dialect.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::Model)]
pub struct Model {
    /// The name by which requests ask for it.
    #[schema(example = "ember")]
    id: String,
    /// Always `model`.
    #[schema(example = "model")]
    object: &'static str,
    /// When its file was last changed, as Unix time in seconds; 0 where another service serves it.
    created: u64,
    /// `hearth` for built-in models, `local` for files of this machine, the name of the service that serves it.
    owned_by: String,
    /// Empty.
    #[schema(value_type = Vec<Object>)]
    permission: [(); 0],
    /// The model that the name stands for.
    root: String,
    /// Always null.
    parent: Option<String>,
}

/// All models.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::ModelList)]
pub struct ModelList {
    /// Always `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// The models.
    data: Vec<Model>,
}

impl From<ModelEntry> for Model {
    fn from(entry: ModelEntry) -> Self {
        Self {
            root: entry.alias_of.unwrap_or_else(|| entry.name.clone()),
            id: entry.name,
            object: "model",
            created: entry.created,
            owned_by: entry.owned_by,
            permission: [],
            parent: None,
        }
    }
}

impl Model {
    /// A model that another service serves.
    fn elsewhere(id: &str, model: &crate::upstream::Model) -> Self {
        Self {
            id: id.to_owned(),
            object: "model",
            created: 0,
            owned_by: model.upstream.name().to_owned(),
            permission: [],
            root: model.name.clone(),
            parent: None,
        }
    }
}

/// Lists every model of every kind, loaded or not.
#[utoipa::path(
    get, path = "/v1/models", tag = "inferno", operation_id = "inferno_models",
    responses((status = 200, description = "All installed models", body = ModelList), Errors)
)]
pub async fn list(State(app): State<App>) -> Result<Json<ModelList>, ApiError> {
    let models = app.runtime.models().await?.into_iter();
    let upstreams = app.upstreams();
    // Where a name is in both, a request for it goes to the service.
    let here = models.filter(|entry| upstreams.find(&entry.name).is_none());
    let elsewhere = upstreams.models();
    let elsewhere = elsewhere.map(|(name, model)| Model::elsewhere(name, model));
    Ok(Json(ModelList {
        object: "list",
        data: here.map(Model::from).chain(elsewhere).collect(),
    }))
}

/// Shows one model; a slash in its name is written `%2F`.
#[utoipa::path(
    get, path = "/v1/models/{model_id}", tag = "inferno", operation_id = "inferno_model",
    params(("model_id" = String, Path, description = "The model", example = "ember")),
    responses((status = 200, description = "The model", body = Model), Errors)
)]
pub async fn show(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    let Path(name) = name?;
    match app.upstreams().find(&name) {
        Some(model) => Ok(Json(Model::elsewhere(&name, model))),
        None => Ok(Json(app.runtime.model(&name).await?.into())),
    }
}
