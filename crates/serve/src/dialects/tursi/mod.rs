//! The Tursi dialect: text generation and model residency below `/api/v1`.

pub mod error;
pub mod generate;
pub mod models;
mod remote;
pub mod status;

use crate::family::Family;
use crate::route::{Access, Routes};

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Tursi;

/// The routes of this dialect.
pub fn routes() -> Routes {
    use Access::{Inference, Management, Monitoring};
    Routes::of(Family::Tursi)
        .get("/api/v1/models", Inference, "models", models::list)
        .post(
            "/api/v1/models/{model_name}/load",
            Management,
            "model_load",
            models::load,
        )
        .post(
            "/api/v1/models/{model_name}/unload",
            Management,
            "model_unload",
            models::unload,
        )
        .get(
            "/api/v1/models/{model_name}/metrics",
            Monitoring,
            "model_metrics",
            models::metrics,
        )
        .post("/api/v1/generate", Inference, "generate", generate::create)
        .get("/api/v1/status", Monitoring, "status", status::show)
}
