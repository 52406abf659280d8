//! The Inferno dialect: OpenAI's API below `/v1`.

mod chat;
mod completions;
mod embeddings;
pub mod error;
mod logprobs;
mod messages;
mod models;
mod params;
mod stream;
mod types;

use crate::family::Family;
use crate::route::{Access, Routes};

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Inferno;

/// The routes of this dialect.
pub fn routes() -> Routes {
    use Access::Inference;
    Routes::of(Family::Inferno)
        .post("/v1/chat/completions", Inference, "chat", chat::create)
        .post(
            "/v1/completions",
            Inference,
            "completions",
            completions::create,
        )
        .post(
            "/v1/embeddings",
            Inference,
            "embeddings",
            embeddings::create,
        )
        .get("/v1/models", Inference, "models", models::list)
        .get("/v1/models/{model_id}", Inference, "model", models::show)
}
