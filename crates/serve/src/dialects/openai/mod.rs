//! The OpenAI dialect: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/models`.

mod answer;
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

use std::future::Future;
use std::time::Instant;

use axum::Router;
use axum::routing::{get, post};

use crate::state::App;

/// The routes of this dialect.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{model_id}", get(models::show))
}

/// Awaits `work`, but not past `deadline`.
async fn before<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, hearth_runtime::Error>>,
) -> Result<T, hearth_runtime::Error> {
    match deadline {
        None => work.await,
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
            .await
            .unwrap_or(Err(hearth_runtime::Error::Deadline)),
    }
}
