//! `/models`, `/models/managed` and `/models/cache/info`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use hearth_runtime::{ModelState, ModelStatus, NetworkUses};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use super::stats::hit_rate;
use crate::quantities::megabytes;
use crate::state::App;

/// All models.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Models)]
pub struct Models {
    /// Their names.
    models: Vec<String>,
    /// What is known of each.
    model_info: BTreeMap<String, ModelInfo>,
    /// How many there are.
    total_models: usize,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ModelInfo)]
pub struct ModelInfo {
    /// Its name.
    #[schema(example = "ember")]
    model_name: String,
    /// Where it is, or would be, loaded.
    #[schema(example = "cpu")]
    device: &'static str,
    /// Whether it is loaded.
    loaded: bool,
    /// Whether its weights are packed for the processor, which they are once it is loaded.
    optimized: bool,
}

fn is_loaded(status: &ModelStatus) -> bool {
    status.state == ModelState::Loaded
}

/// Lists all models, loaded or not.
#[utoipa::path(
    get, path = "/models", tag = "framework", operation_id = "framework_models",
    responses((status = 200, description = "All installed models", body = Models), Errors)
)]
pub async fn list(State(app): State<App>) -> Result<Json<Models>, ApiError> {
    let statuses = app.runtime.statuses().await?;
    let info = |status: &ModelStatus| {
        let info = ModelInfo {
            model_name: status.name.clone(),
            device: status.device,
            loaded: is_loaded(status),
            optimized: is_loaded(status),
        };
        (status.name.clone(), info)
    };
    Ok(Json(Models {
        total_models: statuses.len(),
        model_info: statuses.iter().map(info).collect(),
        models: statuses.into_iter().map(|status| status.name).collect(),
    }))
}

/// The models and the memory that they take.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ManagedModels)]
pub struct Managed {
    /// How many there are.
    total_models: usize,
    /// All installed models.
    downloaded_models: Vec<ManagedModel>,
    /// The same by purpose.
    categories: Categories,
    /// Sums.
    summary: Summary,
}

/// A model and the memory that it takes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ManagedModel)]
pub struct ManagedModel {
    /// Its name.
    #[schema(example = "ember")]
    name: String,
    /// Whether it is loaded.
    loaded: bool,
    /// Where it is, or would be, loaded.
    #[schema(example = "cpu")]
    device: &'static str,
    /// Whether it speaks.
    is_tts: bool,
    /// Whether its weights are packed for the processor.
    optimized: bool,
    /// Memory that it takes now.
    memory_usage: MemoryUsage,
    /// Number of its weights; null where its files do not tell.
    parameters: Option<u64>,
    /// Of a loaded network, what it takes and gives besides tensors; left out of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<ManagedNetwork>,
}

/// What a network takes and gives besides tensors.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ManagedNetwork)]
pub struct ManagedNetwork {
    /// `images` and `texts`, as far as it takes them.
    takes: Vec<&'static str>,
    /// Most tokens of a text; null where it takes none, or that is not known.
    max_tokens: Option<usize>,
    /// The classes that its answers name; empty where it is no classifier, or they are not known.
    classes: Vec<String>,
    /// Whether they name one for each token of a text.
    classes_per_token: bool,
}

impl From<&NetworkUses> for ManagedNetwork {
    fn from(uses: &NetworkUses) -> Self {
        Self {
            takes: uses.takes(),
            max_tokens: uses.max_tokens,
            classes: uses.classes.clone(),
            classes_per_token: uses.is_per_token,
        }
    }
}

/// Memory that a model takes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::MemoryUsage)]
pub struct MemoryUsage {
    /// In MiB, its caches included.
    allocated_mb: f64,
    /// The same: nothing is set aside beyond.
    reserved_mb: f64,
}

/// The models by purpose.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ModelCategories)]
pub struct Categories {
    /// Those that speak.
    tts_models: Vec<CategoryModel>,
    /// The others.
    other_models: Vec<CategoryModel>,
}

/// A model of a category.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::CategoryModel)]
pub struct CategoryModel {
    /// Its name.
    name: String,
    /// Whether it is loaded.
    loaded: bool,
    /// Whether it speaks.
    is_tts: bool,
}

/// Sums over all models.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ManagedSummary)]
pub struct Summary {
    /// Models that are loaded.
    total_loaded: usize,
    /// Models that speak.
    tts_models_count: usize,
    /// Models whose weights are packed for the processor.
    optimized_count: usize,
    /// Weights of those that are loaded.
    total_parameters: u64,
}

/// Lists all models with the memory that they take.
#[utoipa::path(
    get, path = "/models/managed", tag = "framework", operation_id = "models_managed",
    responses((status = 200, description = "All installed models", body = Managed), Errors)
)]
pub async fn managed(State(app): State<App>) -> Result<Json<Managed>, ApiError> {
    let statuses = app.runtime.statuses().await?;
    let parameters = app.runtime.parameters().await?;
    let models = statuses.iter().map(|status| {
        let parameters = parameters.get(&status.name).copied();
        ManagedModel::new(status, parameters)
    });
    let models: Vec<ManagedModel> = models.collect();
    let loaded = || models.iter().filter(|model| model.loaded);
    let total_parameters = loaded().filter_map(|model| model.parameters).sum();
    let loaded = loaded().count();
    let others = models.iter().map(|model| CategoryModel {
        name: model.name.clone(),
        loaded: model.loaded,
        is_tts: model.is_tts,
    });
    Ok(Json(Managed {
        total_models: models.len(),
        categories: Categories {
            tts_models: Vec::new(),
            other_models: others.collect(),
        },
        summary: Summary {
            total_loaded: loaded,
            tts_models_count: 0,
            optimized_count: loaded,
            total_parameters,
        },
        downloaded_models: models,
    }))
}

impl ManagedModel {
    fn new(status: &ModelStatus, parameters: Option<u64>) -> Self {
        let memory = megabytes(status.memory_bytes);
        Self {
            name: status.name.clone(),
            loaded: is_loaded(status),
            device: status.device,
            is_tts: false,
            optimized: is_loaded(status),
            memory_usage: MemoryUsage {
                allocated_mb: memory,
                reserved_mb: memory,
            },
            parameters,
            network: status.network.as_deref().map(ManagedNetwork::from),
        }
    }
}

/// What lies on disk.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ModelCache)]
pub struct Cache {
    /// The folder of models.
    cache_directory: String,
    /// Models in it.
    total_models: usize,
    /// What they take, in MiB.
    total_size_mb: f64,
    /// Their names.
    models: Vec<String>,
    /// Those of them that speak.
    tts_specific: TtsCache,
    /// How models in memory do.
    cache_optimization: CacheOptimization,
}

/// Models on disk that speak.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::TtsCache)]
pub struct TtsCache {
    /// How many there are.
    tts_models_count: usize,
    /// What is known of each.
    #[schema(value_type = Vec<Object>)]
    tts_models: [(); 0],
    /// What they take, in MiB.
    tts_total_size_mb: f64,
    /// Their share of all, in percent.
    tts_percentage: f64,
}

/// How models in memory do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::CacheOptimization)]
pub struct CacheOptimization {
    /// The share of requests whose model was in memory; null before the first.
    cache_hit_rate: Option<f64>,
    /// Whether models are unloaded when they are idle or others need the memory.
    optimization_enabled: bool,
    /// Whether files are deleted by themselves: never.
    auto_cleanup: bool,
}

/// Tells what lies on disk.
#[utoipa::path(
    get, path = "/models/cache/info", tag = "framework", operation_id = "models_cache_info",
    responses((status = 200, description = "What lies on disk", body = Cache), Errors)
)]
pub async fn cache(State(app): State<App>) -> Result<Json<Cache>, ApiError> {
    let folder = app.settings().models_dir.clone();
    let entries = app.runtime.models().await?;
    let inside = |path: &std::path::PathBuf| {
        let folder = folder.as_ref();
        folder.is_some_and(|folder| path.starts_with(folder))
    };
    let own: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry.alias_of.is_none() && entry.path.as_ref().is_some_and(inside))
        .collect();
    Ok(Json(Cache {
        cache_directory: folder
            .as_ref()
            .map(|folder| folder.display().to_string())
            .unwrap_or_default(),
        total_models: own.len(),
        total_size_mb: megabytes(own.iter().map(|entry| entry.bytes).sum()),
        tts_specific: TtsCache {
            tts_models_count: 0,
            tts_models: [],
            tts_total_size_mb: 0.0,
            tts_percentage: 0.0,
        },
        cache_optimization: CacheOptimization {
            cache_hit_rate: hit_rate(&app),
            optimization_enabled: true,
            auto_cleanup: false,
        },
        models: own.into_iter().map(|entry| entry.name).collect(),
    }))
}
