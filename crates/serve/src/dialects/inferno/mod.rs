//! The Inferno dialect: OpenAI's API below `/v1`, and its extensions: model residency, batches, and a
//! WebSocket.

pub mod auth;
pub mod batch;
mod bodies;
pub mod chat;
pub mod completions;
pub mod embeddings;
pub mod error;
mod inputs;
pub mod later;
mod logprobs;
mod messages;
pub mod models;
mod params;
mod remote;
pub mod residency;
pub mod socket;
pub mod speech;
mod stream;
mod types;

use crate::family::Family;
use crate::route::{Access, Routes};

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Inferno;

/// The routes of this dialect.
pub fn routes() -> Routes {
    use Access::{Inference, Management};
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
        .post(
            "/v1/models/{model_id}/load",
            Management,
            "model_load",
            residency::load,
        )
        .post(
            "/v1/models/{model_id}/unload",
            Management,
            "model_unload",
            residency::unload,
        )
        .get(
            "/v1/models/{model_id}/status",
            Inference,
            "model_status",
            residency::status,
        )
        .post("/v1/batch", Inference, "batch", batch::create)
        .post("/v1/audio/speech", Inference, "synthesize", speech::create)
        .post("/v1/convert", Management, "convert", later::convert)
        .get(
            "/v1/convert/{job_id}",
            Management,
            "convert_status",
            later::convert_status,
        )
        .websocket("/ws", Inference, "ws", socket::open)
        .merge(auth::routes())
}
