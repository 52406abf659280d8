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

use axum::Router;
use axum::routing::{get, post};

use crate::state::App;

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Inferno;

/// The routes of this dialect.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{model_id}", get(models::show))
}
