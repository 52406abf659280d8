//! `/voices`, `/voices/{voice_name}` and `/audio/files/{file_name}`: those of the installed speech models,
//! of which this version has none.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use crate::problem::{Kind, Problem};

/// All voices.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = voice::Voices)]
pub struct Voices {
    /// The voices of the installed speech models.
    voices: Vec<Voice>,
}

/// A voice.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "no speech model is there to have one")]
#[schema(as = voice::Voice)]
pub struct Voice {
    /// Its name.
    name: String,
    /// `male` or `female`.
    gender: String,
    /// What it is like, in a word.
    archetype: String,
    /// What it is like, in several.
    characteristics: Vec<String>,
}

/// Lists the voices.
#[utoipa::path(
    get, path = "/voices", tag = "voice", operation_id = "voices",
    responses((status = 200, description = "All voices", body = Voices), Errors)
)]
pub async fn list() -> Json<Voices> {
    Json(Voices { voices: Vec::new() })
}

/// Tells of one voice.
#[utoipa::path(
    get, path = "/voices/{voice_name}", tag = "voice", operation_id = "voice",
    params(("voice_name" = String, Path, description = "The voice")),
    responses(Errors)
)]
pub async fn show(name: Result<Path<String>, PathRejection>) -> ApiError {
    missing(name, "voice")
}

/// Serves a file of audio that the server made.
#[utoipa::path(
    get, path = "/audio/files/{file_name}", tag = "voice", operation_id = "audio_file",
    params(("file_name" = String, Path, description = "The file")),
    responses(Errors)
)]
pub async fn file(name: Result<Path<String>, PathRejection>) -> ApiError {
    missing(name, "audio file")
}

fn missing(name: Result<Path<String>, PathRejection>, what: &str) -> ApiError {
    match name {
        Ok(Path(name)) => {
            let message = format!("there is no {what} '{name}'");
            Problem::new(Kind::NotFound, message).into()
        }
        Err(rejection) => rejection.into(),
    }
}
