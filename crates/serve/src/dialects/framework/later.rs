//! Paths of this dialect that this version cannot serve: they say so, each with 501.

use super::error::{ApiError, Errors, Later};
use crate::family::Family;
use crate::problem::{Kind, Problem};
use crate::route::{Access, Routes};

/// The routes.
pub fn routes() -> Routes {
    use Access::{Inference, Management};
    Routes::of(Family::Framework)
        .post("/synthesize", Inference, "synthesize", synthesize)
        .token_in_body()
        .post("/tts/synthesize", Inference, "synthesize", tts_synthesize)
        .token_in_body()
        .post("/stt/transcribe", Inference, "transcribe", stt_transcribe)
        .post("/transcribe", Inference, "transcribe", transcribe)
        .get("/audio/models", Inference, "audio_models", audio_models)
        .get("/tts/health", Inference, "tts_health", tts_health)
        .post(
            "/audio/validate",
            Inference,
            "audio_validate",
            audio_validate,
        )
        .post("/models/download", Management, "download", models_download)
        .get(
            "/models/download/status/{download_id}",
            Management,
            "download_status",
            models_download_status,
        )
}

fn later(what: &str) -> ApiError {
    let message = format!("{what} is not implemented in this version");
    Problem::new(Kind::NotImplemented, message).into()
}

/// A handler that answers 501, with its description.
macro_rules! later {
    ($($(#[doc = $doc:literal])+ $name:ident: $method:ident $path:literal ($($params:tt)*) => $what:literal;)*) => {
        $(
            $(#[doc = $doc])+
            #[utoipa::path($method, path = $path, tag = "framework", $($params)* responses(Errors, Later))]
            pub async fn $name() -> ApiError {
                later($what)
            }
        )*
    };
}

later! {
    /// Speaks a text. Not implemented yet.
    synthesize: post "/synthesize" () => "speech synthesis";
    /// Speaks a text. Not implemented yet.
    tts_synthesize: post "/tts/synthesize" () => "speech synthesis";
    /// Writes down what is said. Not implemented yet.
    stt_transcribe: post "/stt/transcribe" () => "transcription";
    /// Writes down what is said. Not implemented yet.
    transcribe: post "/transcribe" () => "transcription";
    /// Lists the speech models. Not implemented yet.
    audio_models: get "/audio/models" () => "speech";
    /// Tells how speech synthesis does. Not implemented yet.
    tts_health: get "/tts/health" () => "speech synthesis";
    /// Checks an audio file. Not implemented yet.
    audio_validate: post "/audio/validate" () => "checking audio files";
    /// Fetches a model. Not implemented yet.
    models_download: post "/models/download" () => "downloading models";
    /// Tells how a download does. Not implemented yet.
    models_download_status: get "/models/download/status/{download_id}"
        (params(("download_id" = String, Path, description = "The download")),) => "downloading models";
}
