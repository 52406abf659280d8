//! The framework dialect: inference, hardware, autoscaling and server management at the root path.

pub mod audio;
pub mod auth;
pub mod autoscaler;
pub mod available;
pub mod config;
pub mod error;
pub mod gpu;
pub mod info;
pub mod later;
pub mod logs;
pub mod manage;
pub mod models;
pub mod predict;
mod query;
pub mod stats;

use crate::family::Family;
use crate::route::{Access, Routes};

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Framework;

/// The routes of this dialect.
pub fn routes() -> Routes {
    use Access::{Inference, Management, Monitoring, Open};
    Routes::of(Family::Framework)
        .get("/", Open, "root", info::root)
        .get("/info", Monitoring, "info", info::info)
        .get("/stats", Monitoring, "stats", stats::stats)
        .get("/config", Monitoring, "config", config::config)
        .get(
            "/server/config",
            Monitoring,
            "server_config",
            config::server,
        )
        .post(
            "/server/optimize",
            Management,
            "server_optimize",
            manage::optimize,
        )
        .get(
            "/metrics/server",
            Monitoring,
            "metrics_server",
            stats::server,
        )
        .get("/metrics/tts", Monitoring, "metrics_tts", stats::speech)
        .post("/predict", Inference, "predict", predict::predict)
        .token_in_body()
        .post(
            "/predict/batch",
            Inference,
            "predict",
            predict::predict_batch,
        )
        .token_in_body()
        .post(
            "/{model_name}/predict",
            Inference,
            "predict",
            predict::predict_model,
        )
        .token_in_body()
        .get("/models", Inference, "models", models::list)
        .get(
            "/models/available",
            Inference,
            "models_available",
            available::list,
        )
        .get(
            "/models/managed",
            Inference,
            "models_managed",
            models::managed,
        )
        .get(
            "/models/cache/info",
            Inference,
            "models_cache",
            models::cache,
        )
        .post(
            "/models/manage",
            Management,
            "models_manage",
            manage::manage,
        )
        .get("/gpu/detect", Monitoring, "gpu_detect", gpu::detect)
        .get("/gpu/best", Monitoring, "gpu_best", gpu::best)
        .get("/gpu/config", Monitoring, "gpu_config", gpu::config)
        .get("/gpu/report", Monitoring, "gpu_report", gpu::report)
        .get(
            "/autoscaler/stats",
            Monitoring,
            "autoscaler_stats",
            autoscaler::stats,
        )
        .get(
            "/autoscaler/health",
            Monitoring,
            "autoscaler_health",
            autoscaler::health,
        )
        .get(
            "/autoscaler/metrics",
            Monitoring,
            "autoscaler_metrics",
            autoscaler::metrics,
        )
        .post(
            "/autoscaler/load",
            Management,
            "autoscaler_load",
            autoscaler::load,
        )
        .post(
            "/autoscaler/scale",
            Management,
            "autoscaler_scale",
            autoscaler::scale,
        )
        .delete(
            "/autoscaler/unload",
            Management,
            "autoscaler_unload",
            autoscaler::unload,
        )
        .get("/audio/health", Monitoring, "audio_health", audio::health)
        .merge(later::routes())
        .merge(auth::routes())
        .merge(logs::routes())
}
