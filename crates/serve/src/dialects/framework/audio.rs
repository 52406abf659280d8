//! `GET /audio/health`.

use std::collections::BTreeMap;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Errors;

/// What can be done with audio.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AudioHealth)]
pub struct AudioHealth {
    /// Whether anything can.
    audio_available: bool,
    /// Whether texts can be spoken.
    tts_available: bool,
    /// Whether speech can be written down.
    stt_available: bool,
    /// The components that it takes.
    dependencies: BTreeMap<&'static str, Dependency>,
    /// What is wrong.
    errors: Vec<&'static str>,
}

/// A component.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Dependency)]
pub struct Dependency {
    /// Whether this build has it.
    available: bool,
    /// What it is for.
    description: &'static str,
}

/// Tells what can be done with audio: nothing in this version.
#[utoipa::path(
    get, path = "/audio/health", tag = "framework", operation_id = "audio_health",
    responses((status = 200, description = "What can be done", body = AudioHealth), Errors)
)]
pub async fn health() -> Json<AudioHealth> {
    let missing = |description| Dependency {
        available: false,
        description,
    };
    Json(AudioHealth {
        audio_available: false,
        tts_available: false,
        stt_available: false,
        dependencies: BTreeMap::from([
            ("synthesis", missing("Speaks texts")),
            ("recognition", missing("Writes down speech")),
            ("decoder", missing("Reads audio files")),
            ("encoder", missing("Writes audio files")),
        ]),
        errors: vec!["this version has no speech engines"],
    })
}
