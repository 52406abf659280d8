//! `POST /models/manage` and `POST /server/optimize`.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use hearth_runtime::{LoadRequest, ModelState, Sound};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use super::query::{Params, Raw};
use crate::caller::Caller;
use crate::fields::FieldError;
use crate::problem::{Kind, Problem};
use crate::quantities::megabytes;
use crate::state::App;
use crate::waiting::allow;

const ACTIONS: [&str; 6] = ["optimize", "retry", "delete", "verify", "pin", "unpin"];

/// The same, as the description has them.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "describes what is read elsewhere")]
pub enum Action {
    /// Load it.
    Optimize,
    /// Restart a failed download.
    Retry,
    /// Remove its files.
    Delete,
    /// Check its files.
    Verify,
    /// Keep it from being unloaded.
    Pin,
    /// Let it be unloaded again.
    Unpin,
}

/// How long a model has to be idle before `POST /server/optimize` unloads it.
const IDLE: Duration = Duration::from_secs(60);

/// What became of an action.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Managed)]
pub struct Managed {
    /// Whether it did what it is for.
    success: bool,
    /// The same as a sentence.
    #[schema(example = "Model 'ember' optimized successfully")]
    message: String,
    /// The action.
    #[schema(example = "optimize")]
    action: &'static str,
    /// The model.
    #[schema(example = "ember")]
    model_name: String,
}

/// Does something with a model.
///
/// `optimize` loads it, which packs its weights for the processor; `pin` keeps it from being unloaded,
/// `unpin` ends that; `verify` reads its files to the end and compares them with the SHA-256 beside them (`FILE.sha256`),
/// and tells by `success` whether they are sound; `delete` unloads it and removes its files, if they lie in the folder of
/// models; `retry` restarts a failed download.
#[utoipa::path(
    post, path = "/models/manage", tag = "framework", operation_id = "models_manage",
    params(
        ("action" = inline(Action), Query, description = "What to do", example = "optimize"),
        ("model_name" = String, Query, description = "The model", min_length = 1, example = "ember"),
    ),
    responses((status = 200, description = "What became of it", body = Managed), Errors)
)]
pub async fn manage(
    State(app): State<App>,
    caller: Caller,
    query: Raw,
) -> Result<Json<Managed>, ApiError> {
    let params = Params::new(query)?;
    let model_name = params.required("model_name")?.to_owned();
    let action = params
        .word("action", &ACTIONS)?
        .ok_or_else(|| FieldError::missing("action", format!("one of {}", ACTIONS.join(", "))))?;
    allow(&app, &caller, &model_name)?;
    app.runtime.model(&model_name).await?;
    let mut success = true;
    let message = match action {
        "optimize" => {
            let loading = app
                .runtime
                .load(&model_name, LoadRequest::default())
                .await?;
            loading.wait().await?;
            let kernels = hearth_runtime::processor::kernels();
            format!(
                "Model '{model_name}' optimized successfully: its weights are packed for {kernels}"
            )
        }
        "pin" => {
            app.runtime.pin(&model_name, true).await?;
            format!("Model '{model_name}' is kept loaded")
        }
        "unpin" => {
            app.runtime.pin(&model_name, false).await?;
            format!("Model '{model_name}' may be unloaded")
        }
        "verify" => match app.runtime.verify(&model_name).await? {
            Ok(sound) => verified(&model_name, &sound),
            Err(fault) => {
                success = false;
                format!("Model '{model_name}' is not sound: {fault}")
            }
        },
        "delete" => {
            app.runtime.delete(&model_name).await?;
            format!("Model '{model_name}' deleted successfully")
        }
        // No other word is let through.
        _ => {
            let message = format!("there is no failed download of '{model_name}'");
            return Err(Problem::new(Kind::Invalid, message).at("action").into());
        }
    };
    Ok(Json(Managed {
        success,
        message,
        action,
        model_name,
    }))
}

fn verified(model: &str, sound: &Sound) -> String {
    let Sound {
        tensors,
        bytes,
        hashed_files,
    } = sound;
    let hashes = match hashed_files {
        0 => "no SHA-256 is written beside its files".to_owned(),
        files => format!("{files} of its files have the SHA-256 that is written beside them"),
    };
    format!("Model '{model}' is sound: {tensors} tensors of {bytes} bytes; {hashes}")
}

/// What was done to save memory.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Optimized)]
pub struct Optimized {
    /// Always true.
    success: bool,
    /// Memory that is free again, in MiB.
    memory_freed_mb: f64,
    /// Models that take less memory now.
    models_optimized: usize,
    /// What was done.
    optimizations_applied: Vec<&'static str>,
}

/// Unloads the models that nobody has used for a minute, but not those that are pinned.
#[utoipa::path(
    post, path = "/server/optimize", tag = "framework", operation_id = "server_optimize",
    responses((status = 200, description = "What was done", body = Optimized), Errors)
)]
pub async fn optimize(State(app): State<App>) -> Result<Json<Optimized>, ApiError> {
    let now = SystemTime::now();
    let mut freed = 0;
    let mut count = 0;
    for status in app.runtime.statuses().await? {
        let used = status.last_used.max(status.loaded_at);
        let idle = used.and_then(|at| now.duration_since(at).ok());
        let is_idle =
            status.in_flight == 0 && status.waiting == 0 && idle.is_some_and(|idle| idle >= IDLE);
        if status.state != ModelState::Loaded || status.pinned || !is_idle {
            continue;
        }
        if app.runtime.unload(&status.name, false).await? {
            freed += status.memory_bytes;
            count += 1;
        }
    }
    Ok(Json(Optimized {
        success: true,
        memory_freed_mb: megabytes(freed),
        models_optimized: count,
        optimizations_applied: match count {
            0 => Vec::new(),
            _ => vec!["idle_models_unloaded"],
        },
    }))
}
