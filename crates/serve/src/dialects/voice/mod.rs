//! The voice dialect: spoken replies and voices.

pub mod error;
pub mod later;
pub mod status;
pub mod voices;

use crate::family::Family;
use crate::route::{Access, Routes};

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Voice;

/// The routes of this dialect.
pub fn routes() -> Routes {
    use Access::{Inference, Monitoring};
    Routes::of(Family::Voice)
        .get("/voices", Inference, "voices", voices::list)
        .get("/voices/{voice_name}", Inference, "voice", voices::show)
        .get(
            "/audio/files/{file_name}",
            Inference,
            "audio_file",
            voices::file,
        )
        .get("/status", Monitoring, "voice_status", status::show)
        .post("/generate", Inference, "synthesize", later::generate)
        .post("/chat", Inference, "synthesize", later::chat)
}
