//! `/stats`, `/metrics/server` and `/metrics/tts`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Errors;
use crate::quantities::{gigabytes, megabytes};
use crate::state::App;

/// What was measured of requests for inference, since the server began.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::StatsAnswer)]
pub struct StatsAnswer {
    /// Counts.
    stats: Stats,
    /// How fast they were.
    performance_report: Performance,
}

/// Counts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Stats)]
pub struct Stats {
    /// Requests that have ended.
    requests_processed: u64,
    /// Time from arrival to the end of the answer, of all of them together, in seconds.
    total_processing_time: f64,
    /// The mean of that; null before the first.
    avg_processing_time: Option<f64>,
    /// Requests that are at work.
    active_requests: usize,
    /// Requests that wait for a model.
    queue_size: usize,
    /// Memory of this process, in MiB.
    memory_usage_mb: f64,
}

/// How fast requests are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Performance)]
pub struct Performance {
    /// Requests that ended, a second, over the last minute.
    throughput_fps: f64,
    /// The time that half of them did not pass, in seconds; null before the first.
    latency_p50: Option<f64>,
    /// The time that 95 of 100 did not pass.
    latency_p95: Option<f64>,
    /// The time that 99 of 100 did not pass.
    latency_p99: Option<f64>,
    /// Use of the processors that models are computed on, from 0 to 1.
    device_utilization: Option<f64>,
}

/// Tells what was measured of requests for inference.
#[utoipa::path(
    get, path = "/stats", tag = "framework", operation_id = "stats",
    responses((status = 200, description = "The measurements", body = StatsAnswer), Errors)
)]
pub async fn stats(State(app): State<App>) -> Json<StatsAnswer> {
    let reading = app.meter.read().await;
    let summary = app.metrics.inference();
    let mean = summary.mean_seconds();
    Json(StatsAnswer {
        stats: Stats {
            requests_processed: summary.count,
            total_processing_time: mean.unwrap_or(0.0) * summary.count as f64,
            avg_processing_time: mean,
            active_requests: app.admission.counters().active,
            queue_size: app.runtime.stats().queue_depth,
            memory_usage_mb: megabytes(reading.process_memory.unwrap_or(0)),
        },
        performance_report: Performance {
            throughput_fps: app.metrics.inference_per_second(),
            latency_p50: summary.percentile_seconds(0.50),
            latency_p95: summary.percentile_seconds(0.95),
            latency_p99: summary.percentile_seconds(0.99),
            device_utilization: Some(f64::from(reading.cpu_percent) / 100.0),
        },
    })
}

/// What was measured of the server and its machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ServerMetrics)]
pub struct ServerMetrics {
    /// The share of requests whose model was in memory; null before the first.
    cache_hit_rate: Option<f64>,
    /// What makes it faster, and is on.
    active_optimizations: Vec<&'static str>,
    /// Models that are loaded.
    models_in_memory: usize,
    /// The machine.
    system_metrics: SystemMetrics,
    /// Its GPUs.
    gpu_metrics: GpuMetrics,
    /// Speech synthesis.
    tts_metrics: SpeechMetrics,
}

/// The machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::SystemMetrics)]
pub struct SystemMetrics {
    /// Use of all processors, in percent.
    cpu_percent: f32,
    /// Memory in use, in percent.
    memory_percent: f64,
    /// Memory that can still be had, in GiB.
    memory_available_gb: f64,
    /// All of its memory, in GiB.
    memory_total_gb: f64,
}

/// The GPUs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuMetrics)]
pub struct GpuMetrics {
    /// Whether there is one.
    gpu_available: bool,
    /// How many there are.
    gpu_count: usize,
    /// The first one's number; null without one.
    current_device: Option<u32>,
    /// Memory of it that is in use, in MiB.
    memory_allocated_mb: f64,
    /// The same: nothing is set aside.
    memory_reserved_mb: f64,
    /// How busy it is, in percent; null without one.
    gpu_utilization: Option<f64>,
}

/// Speech synthesis.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::SpeechMetrics)]
pub struct SpeechMetrics {
    /// Speech models that are loaded.
    tts_models_loaded: usize,
    /// Their names.
    tts_models: Vec<String>,
    /// Mean time of a synthesis, in milliseconds; null before the first.
    avg_synthesis_time_ms: Option<f64>,
    /// Texts that were spoken.
    synthesis_requests_total: u64,
}

/// What makes requests faster, and is always on.
pub const OPTIMIZATIONS: [&str; 4] = [
    "weight_packing",
    "continuous_batching",
    "prefix_caching",
    "paged_kv_cache",
];

/// The share of requests whose model was in memory; `None` before the first.
pub fn hit_rate(app: &App) -> Option<f64> {
    let stats = app.runtime.stats();
    let misses = stats.scale_from_zero.count().min(stats.metrics.requests);
    (stats.metrics.requests > 0)
        .then(|| (stats.metrics.requests - misses) as f64 / stats.metrics.requests as f64)
}

/// Tells what was measured of the server and its machine.
#[utoipa::path(
    get, path = "/metrics/server", tag = "framework", operation_id = "metrics_server",
    responses((status = 200, description = "The measurements", body = ServerMetrics), Errors)
)]
pub async fn server(State(app): State<App>) -> Json<ServerMetrics> {
    let reading = app.meter.read().await;
    let gpus = app.hardware.gpus().await;
    let first = gpus.first();
    let used = first
        .and_then(|gpu| Some(gpu.memory_bytes.saturating_sub(gpu.available_bytes?)))
        .unwrap_or(0);
    let synthesis = app.metrics.endpoint("synthesize");
    Json(ServerMetrics {
        cache_hit_rate: hit_rate(&app),
        active_optimizations: OPTIMIZATIONS.to_vec(),
        models_in_memory: app.runtime.loaded().len(),
        system_metrics: SystemMetrics {
            cpu_percent: reading.cpu_percent,
            memory_percent: reading.memory_used as f64 / reading.memory_total.max(1) as f64 * 100.0,
            memory_available_gb: gigabytes(reading.memory_available),
            memory_total_gb: gigabytes(reading.memory_total),
        },
        gpu_metrics: GpuMetrics {
            gpu_available: first.is_some(),
            gpu_count: gpus.len(),
            current_device: first.map(|gpu| gpu.id),
            memory_allocated_mb: megabytes(used),
            memory_reserved_mb: megabytes(used),
            gpu_utilization: first
                .and_then(|gpu| gpu.utilization)
                .map(|share| share * 100.0),
        },
        tts_metrics: SpeechMetrics {
            tts_models_loaded: 0,
            tts_models: Vec::new(),
            avg_synthesis_time_ms: synthesis.mean_seconds().map(|seconds| seconds * 1e3),
            synthesis_requests_total: synthesis.count,
        },
    })
}

/// What was measured of speech synthesis, since the server began.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::TtsMetrics)]
pub struct TtsMetrics {
    /// Texts that were spoken.
    requests_processed: u64,
    /// Mean time of one, in seconds; null before the first.
    avg_processing_time: Option<f64>,
    /// The share of them that ended well; null before the first.
    success_rate: Option<f64>,
    /// The same for each model.
    models_performance: BTreeMap<String, TtsModel>,
    /// The audio that was made.
    audio_stats: AudioStats,
    /// How it was made.
    optimization_stats: OptimizationStats,
}

/// What was measured of one model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::TtsModel)]
#[allow(dead_code, reason = "no speech model is there to have one")]
pub struct TtsModel {
    /// Mean time of a text, in milliseconds; null before the first.
    avg_time_ms: Option<f64>,
    /// The share of texts that ended well; null before the first.
    success_rate: Option<f64>,
    /// How good it sounds, from 0 to 5; null where nothing measured it.
    quality_score: Option<f64>,
}

/// The audio that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::AudioStats)]
pub struct AudioStats {
    /// How long all of it is, in minutes.
    total_audio_generated_minutes: f64,
    /// The mean length, in seconds; null before the first.
    avg_audio_length_seconds: Option<f64>,
    /// The share of each format.
    formats_used: BTreeMap<String, f64>,
}

/// How audio was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::OptimizationStats)]
pub struct OptimizationStats {
    /// Texts whose audio was still there.
    cache_hits: u64,
    /// Texts that a GPU spoke.
    gpu_accelerated_requests: u64,
    /// Texts that were spoken together with others.
    batch_processed_requests: u64,
}

/// Tells what was measured of speech synthesis: nothing in this version, which has none.
#[utoipa::path(
    get, path = "/metrics/tts", tag = "framework", operation_id = "metrics_tts",
    responses((status = 200, description = "The measurements", body = TtsMetrics), Errors)
)]
pub async fn speech(State(app): State<App>) -> Json<TtsMetrics> {
    let summary = app.metrics.endpoint("synthesize");
    Json(TtsMetrics {
        requests_processed: summary.count,
        avg_processing_time: summary.mean_seconds(),
        success_rate: summary.error_rate().map(|failed| 1.0 - failed),
        models_performance: BTreeMap::new(),
        audio_stats: AudioStats {
            total_audio_generated_minutes: 0.0,
            avg_audio_length_seconds: None,
            formats_used: BTreeMap::new(),
        },
        optimization_stats: OptimizationStats {
            cache_hits: 0,
            gpu_accelerated_requests: 0,
            batch_processed_requests: 0,
        },
    })
}
