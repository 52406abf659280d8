//! `GET /config` and `GET /server/config`: the settings in force, never a secret.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use utoipa::ToSchema;

use super::error::Errors;
use super::info::FEATURES;
use crate::state::App;

/// The settings in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ConfigAnswer)]
pub struct ConfigAnswer {
    /// The device and the sizes of its batches.
    configuration: Configuration,
    /// The same in short.
    inference_config: InferenceConfig,
    /// The server.
    server_config: ServerConfig,
    /// Its logs.
    logging_config: LoggingConfig,
}

/// The device and the sizes of its batches.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Configuration)]
pub struct Configuration {
    /// The device.
    device: DeviceSettings,
    /// The sizes.
    batch: BatchSettings,
}

/// The device that models are computed on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::DeviceSettings)]
pub struct DeviceSettings {
    /// `cpu`.
    #[schema(example = "cpu")]
    device_type: &'static str,
    /// Its number.
    device_id: u32,
    /// Whether sums are kept in half precision: never.
    use_fp16: bool,
    /// Whether TensorRT is used: never.
    use_tensorrt: bool,
}

/// The sizes of batches.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::BatchSettings)]
pub struct BatchSettings {
    /// Sequences that are written at once where so many are asked for.
    batch_size: usize,
    /// Most sequences at once.
    max_batch_size: usize,
}

/// The same in short.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::InferenceConfig)]
pub struct InferenceConfig {
    /// `cpu`.
    device_type: &'static str,
    /// Inputs at once.
    batch_size: usize,
    /// Whether sums are kept in half precision: never.
    use_fp16: bool,
    /// Whether every step is timed: always, it costs next to nothing.
    enable_profiling: bool,
}

/// The server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ServerSettings)]
pub struct ServerConfig {
    /// The address that it listens on.
    #[schema(example = "127.0.0.1")]
    host: String,
    /// The port that it listens on.
    #[schema(example = 8000)]
    port: u16,
    /// What is logged: DEBUG, INFO, WARNING or ERROR.
    #[schema(example = "INFO")]
    log_level: &'static str,
}

/// The logs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::LoggingConfig)]
pub struct LoggingConfig {
    /// What is logged: DEBUG, INFO, WARNING or ERROR.
    #[schema(example = "INFO")]
    log_level: &'static str,
    /// Their folder.
    log_directory: String,
    /// The files in it.
    log_files: BTreeMap<String, LogFile>,
}

/// A log file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ConfigLogFile)]
#[allow(dead_code, reason = "the log goes to standard error")]
pub struct LogFile {
    /// Its size, in MiB.
    size_mb: f64,
    /// When it was last written to, as ISO 8601.
    #[schema(format = DateTime)]
    last_modified: String,
}

/// The level of what is logged, in the documents' words.
fn log_level() -> &'static str {
    match LevelFilter::current().into_level() {
        Some(Level::TRACE | Level::DEBUG) => "DEBUG",
        Some(Level::INFO) => "INFO",
        Some(Level::WARN) => "WARNING",
        Some(Level::ERROR) | None => "ERROR",
    }
}

/// Tells the settings in force.
#[utoipa::path(
    get, path = "/config", tag = "framework", operation_id = "config",
    responses((status = 200, description = "The settings", body = ConfigAnswer), Errors)
)]
pub async fn config(State(app): State<App>) -> Json<ConfigAnswer> {
    let settings = app.settings();
    let address = app.address();
    Json(ConfigAnswer {
        configuration: Configuration {
            device: DeviceSettings {
                device_type: "cpu",
                device_id: 0,
                use_fp16: false,
                use_tensorrt: false,
            },
            batch: BatchSettings {
                batch_size: settings.max_sequences,
                max_batch_size: settings.max_sequences,
            },
        },
        inference_config: InferenceConfig {
            device_type: "cpu",
            batch_size: settings.max_sequences,
            use_fp16: false,
            enable_profiling: true,
        },
        server_config: ServerConfig {
            host: address.ip().to_string(),
            port: address.port(),
            log_level: log_level(),
        },
        logging_config: LoggingConfig {
            log_level: log_level(),
            // The log goes to standard error.
            log_directory: String::new(),
            log_files: BTreeMap::new(),
        },
    })
}

/// How the server works.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ServerConfigAnswer)]
pub struct ServerAnswer {
    /// The kernels in use.
    #[schema(example = "avx512")]
    optimization_level: &'static str,
    /// What is kept for requests to come.
    #[schema(example = "shared_prefixes")]
    caching_strategy: &'static str,
    /// What speaks.
    #[schema(example = "none")]
    tts_backend: &'static str,
    /// Whether weights are packed for the processor when a model is loaded: always.
    auto_optimization: bool,
    /// What the server can do.
    server_features: &'static [&'static str],
    /// Speech.
    tts_configuration: TtsConfiguration,
    /// What makes it faster.
    performance_settings: PerformanceSettings,
}

/// Speech: null and empty where there is none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::TtsConfiguration)]
pub struct TtsConfiguration {
    /// The models that speak unless told otherwise.
    default_models: DefaultModels,
    /// The formats of audio.
    supported_formats: Vec<&'static str>,
    /// The longest text that is spoken, in characters.
    max_text_length: Option<usize>,
    /// Samples a second, unless told otherwise.
    default_sample_rate: Option<u32>,
    /// Whether models are fetched by themselves: never.
    auto_model_download: bool,
}

/// The models that speak unless told otherwise.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::DefaultModels)]
pub struct DefaultModels {
    /// From text to spectrogram, or to sound.
    tts: Option<String>,
    /// From spectrogram to sound, where the model needs one.
    vocoder: Option<String>,
}

/// What makes the server faster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::PerformanceSettings)]
pub struct PerformanceSettings {
    /// Whether models are compiled: never.
    enable_model_compilation: bool,
    /// Whether sums are kept in half precision: never.
    enable_fp16: bool,
    /// Whether requests are computed together: always.
    batch_optimization: bool,
    /// How memory is kept within its budget.
    #[schema(example = "least_recently_used")]
    memory_management: &'static str,
}

/// Tells how the server works.
#[utoipa::path(
    get, path = "/server/config", tag = "framework", operation_id = "server_config",
    responses((status = 200, description = "How it works", body = ServerAnswer), Errors)
)]
pub async fn server() -> Json<ServerAnswer> {
    Json(ServerAnswer {
        optimization_level: hearth_runtime::processor::kernels(),
        caching_strategy: "shared_prefixes",
        tts_backend: "none",
        auto_optimization: true,
        server_features: FEATURES,
        tts_configuration: TtsConfiguration {
            default_models: DefaultModels {
                tts: None,
                vocoder: None,
            },
            supported_formats: Vec::new(),
            max_text_length: None,
            default_sample_rate: None,
            auto_model_download: false,
        },
        performance_settings: PerformanceSettings {
            enable_model_compilation: false,
            enable_fp16: false,
            batch_optimization: true,
            memory_management: "least_recently_used",
        },
    })
}
