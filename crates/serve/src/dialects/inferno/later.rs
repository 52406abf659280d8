//! Paths of this dialect that this version cannot serve: they say so, with 501.

use super::error::{ApiError, Errors, Later};
use crate::problem::{Kind, Problem};

fn later() -> ApiError {
    let message = "converting models over HTTP is not implemented in this version; \
                   `hearth quantize` does it on the command line";
    Problem::new(Kind::NotImplemented, message).into()
}

/// Converts a model into another format. Not implemented yet.
#[utoipa::path(
    post,
    path = "/v1/convert",
    tag = "inferno",
    operation_id = "convert",
    responses(Errors, Later)
)]
pub async fn convert() -> ApiError {
    later()
}

/// Tells how a conversion does. Not implemented yet.
#[utoipa::path(
    get, path = "/v1/convert/{job_id}", tag = "inferno", operation_id = "convert_status",
    params(("job_id" = String, Path, description = "The conversion")),
    responses(Errors, Later)
)]
pub async fn convert_status() -> ApiError {
    later()
}
