//! `GET /v1/models` and `GET /v1/models/{model_id}`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use hearth_runtime::ModelEntry;
use serde::Serialize;

use super::error::ApiError;
use crate::state::App;

/// A model in this dialect.
#[derive(Debug, Serialize)]
pub struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: String,
    permission: [(); 0],
    root: String,
    parent: Option<String>,
}

/// All models.
#[derive(Debug, Serialize)]
pub struct ModelList {
    object: &'static str,
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

/// Lists every model of every kind, loaded or not.
pub async fn list(State(app): State<App>) -> Result<Json<ModelList>, ApiError> {
    let models = app.runtime.models().await?;
    let data = models.into_iter().map(Model::from).collect();
    Ok(Json(ModelList {
        object: "list",
        data,
    }))
}

/// Shows one model; a slash in its name is written `%2F`.
pub async fn show(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    let Path(name) = name?;
    Ok(Json(app.runtime.model(&name).await?.into()))
}
