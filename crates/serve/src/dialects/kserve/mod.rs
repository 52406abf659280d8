//! The Open Inference Protocol, version 2, below `/v2`: exported networks for the clients of KServe and Triton.
//!
//! <https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md>, with these of
//! Triton's extensions: binary tensor data, classification, model repository, model configuration, statistics, and the
//! parameters `priority` and `timeout`. Shared memory, sequences, traces and logs are left out.

mod classify;
pub mod config;
mod datatype;
pub mod error;
pub mod infer;
pub mod models;
pub mod repository;
mod request;
mod response;
pub mod server;
pub mod stats;

use crate::family::Family;
use crate::route::{Access, Routes};

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Kserve;

/// The routes of this dialect.
pub fn routes() -> Routes {
    use Access::{Inference, Management, Monitoring, Open};
    Routes::of(Family::Kserve)
        .get("/v2", Open, "root", server::metadata)
        .get("/v2/health/live", Open, "live", server::live)
        .get("/v2/health/ready", Open, "ready", server::ready)
        .get(
            "/v2/models/{model_name}",
            Inference,
            "models",
            models::metadata,
        )
        .get(
            "/v2/models/{model_name}/versions/{model_version}",
            Inference,
            "models",
            models::version_metadata,
        )
        .get(
            "/v2/models/{model_name}/ready",
            Inference,
            "model_ready",
            models::ready,
        )
        .get(
            "/v2/models/{model_name}/versions/{model_version}/ready",
            Inference,
            "model_ready",
            models::version_ready,
        )
        .get(
            "/v2/models/{model_name}/config",
            Inference,
            "model_config",
            config::config,
        )
        .get(
            "/v2/models/{model_name}/versions/{model_version}/config",
            Inference,
            "model_config",
            config::version_config,
        )
        .get("/v2/models/stats", Monitoring, "model_stats", stats::all)
        .get(
            "/v2/models/{model_name}/stats",
            Monitoring,
            "model_stats",
            stats::stats,
        )
        .get(
            "/v2/models/{model_name}/versions/{model_version}/stats",
            Monitoring,
            "model_stats",
            stats::version_stats,
        )
        .post(
            "/v2/models/{model_name}/infer",
            Inference,
            "predict",
            infer::infer,
        )
        .post(
            "/v2/models/{model_name}/versions/{model_version}/infer",
            Inference,
            "predict",
            infer::version_infer,
        )
        .post(
            "/v2/repository/index",
            Inference,
            "models",
            repository::index,
        )
        .post(
            "/v2/repository/models/{model_name}/load",
            Management,
            "model_load",
            repository::load,
        )
        .post(
            "/v2/repository/models/{model_name}/unload",
            Management,
            "model_unload",
            repository::unload,
        )
}
