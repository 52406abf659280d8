//! Paths of this dialect that take speech, which this version has not: they say so, with 501.

use super::error::{ApiError, Errors, Later};
use crate::problem::{Kind, Problem};

fn later() -> ApiError {
    let message = "speech synthesis is not implemented in this version";
    Problem::new(Kind::NotImplemented, message).into()
}

/// Speaks a text. Not implemented yet.
#[utoipa::path(
    post,
    path = "/generate",
    tag = "voice",
    operation_id = "voice_generate",
    responses(Errors, Later)
)]
pub async fn generate() -> ApiError {
    later()
}

/// Answers a message aloud. Not implemented yet.
#[utoipa::path(
    post,
    path = "/chat",
    tag = "voice",
    operation_id = "voice_chat",
    responses(Errors, Later)
)]
pub async fn chat() -> ApiError {
    later()
}
