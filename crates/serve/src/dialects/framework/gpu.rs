//! `/gpu/*`: the GPUs of the machine, and what models are best computed with.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hearth_runtime::processor::{self, Benchmark};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use super::info::processor_name;
use super::query::{Params, Raw};
use crate::hardware::{self, Gpu};
use crate::problem::{Kind, Problem};
use crate::quantities::megabytes;
use crate::state::App;

/// The GPUs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuDetection)]
pub struct Detection {
    /// What is known of each.
    gpus: Vec<DetectedGpu>,
    /// How many there are.
    total_gpus: usize,
    /// How many of them models can be computed on.
    suitable_gpus: usize,
    /// Whether benchmarks were asked for.
    include_benchmarks: bool,
    /// The processor.
    cpu: Cpu,
}

/// A GPU.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::DetectedGpu)]
pub struct DetectedGpu {
    /// What every answer tells of it.
    #[serde(flatten)]
    gpu: GpuFacts,
    /// Whether models are well computed on it.
    suitable_for_inference: bool,
    /// The interfaces by which programs can compute on it.
    supported_accelerators: Vec<&'static str>,
    /// The version of its instructions, for NVIDIA's.
    compute_capability: Option<Capability>,
}

/// What every answer tells of a GPU.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuFacts)]
pub struct GpuFacts {
    /// Its number on this machine.
    id: u32,
    /// Its name.
    #[schema(example = "NVIDIA H100 80GB HBM3")]
    name: String,
    /// `nvidia`, `amd` or `intel`.
    #[schema(example = "nvidia")]
    vendor: &'static str,
    /// The name of its generation.
    #[schema(example = "hopper")]
    architecture: String,
    /// Its number for its driver.
    device_id: u32,
    /// Its own memory, in MiB.
    memory_mb: f64,
    /// What of that is free; null where the driver does not tell.
    available_memory_mb: Option<f64>,
    /// Whether this server can compute on it.
    pytorch_support: bool,
    /// The precisions that suit it, the fastest first.
    recommended_precisions: Vec<&'static str>,
}

/// The version of a GPU's instructions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::ComputeCapability)]
pub struct Capability {
    /// The generation.
    major: u32,
    /// The step within it.
    minor: u32,
    /// Both.
    #[schema(example = "9.0")]
    version: String,
    /// Fast arithmetic in half precision.
    supports_fp16: bool,
    /// Dot products of bytes.
    supports_int8: bool,
    /// Units for products of matrices.
    supports_tensor_cores: bool,
    /// TF32 on those units.
    supports_tf32: bool,
}

/// The processor.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Cpu)]
pub struct Cpu {
    /// Its name.
    name: String,
    /// Processors that programs can use.
    threads: usize,
    /// Its vector instructions, of those that kernels could use.
    features: Vec<&'static str>,
    /// The kernels in use.
    #[schema(example = "avx512")]
    kernels: &'static str,
    /// What it can do at most, measured now; absent unless asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    benchmarks: Option<Benchmark>,
}

impl Cpu {
    async fn read(benchmarks: Option<Benchmark>) -> Self {
        Self {
            name: processor_name().await,
            threads: threads(),
            features: processor::cpu_features(),
            kernels: processor::kernels(),
            benchmarks,
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl From<&Gpu> for GpuFacts {
    fn from(gpu: &Gpu) -> Self {
        Self {
            id: gpu.id,
            name: gpu.name.clone(),
            vendor: gpu.vendor,
            architecture: gpu.architecture.clone(),
            device_id: gpu.device_id,
            memory_mb: megabytes(gpu.memory_bytes),
            available_memory_mb: gpu.available_bytes.map(megabytes),
            pytorch_support: gpu.is_usable(),
            recommended_precisions: gpu.precisions(),
        }
    }
}

impl From<hardware::ComputeCapability> for Capability {
    fn from(version: hardware::ComputeCapability) -> Self {
        Self {
            major: version.major,
            minor: version.minor,
            version: version.to_string(),
            supports_fp16: version.supports_fp16(),
            supports_int8: version.supports_int8(),
            supports_tensor_cores: version.supports_tensor_cores(),
            supports_tf32: version.supports_tf32(),
        }
    }
}

impl From<&Gpu> for DetectedGpu {
    fn from(gpu: &Gpu) -> Self {
        Self {
            gpu: gpu.into(),
            suitable_for_inference: gpu.is_usable(),
            supported_accelerators: gpu.accelerators(),
            compute_capability: gpu.compute_capability.map(Capability::from),
        }
    }
}

/// Measures the processor; one caller at a time, since two would measure each other.
async fn measure() -> Result<Benchmark, Problem> {
    static ONE: Mutex<()> = Mutex::const_new(());
    let _turn = ONE.lock().await;
    let measured = tokio::task::spawn_blocking(|| processor::benchmark(threads())).await;
    measured.map_err(|error| Problem::new(Kind::Internal, format!("the benchmark failed: {error}")))
}

/// Lists the GPUs, and tells of the processor.
///
/// `include_benchmarks` measures the processor, which takes about a second. There are no measurements of
/// GPUs, since this server does not compute on them.
#[utoipa::path(
    get, path = "/gpu/detect", tag = "framework", operation_id = "gpu_detect",
    params(("include_benchmarks" = Option<bool>, Query, description = "Whether to measure the processor")),
    responses((status = 200, description = "The GPUs", body = Detection), Errors)
)]
pub async fn detect(State(app): State<App>, query: Raw) -> Result<Json<Detection>, ApiError> {
    let params = Params::new(query)?;
    let include_benchmarks = params.boolean("include_benchmarks")?.unwrap_or(false);
    let benchmarks = match include_benchmarks {
        true => Some(measure().await?),
        false => None,
    };
    let gpus = app.hardware.gpus().await;
    Ok(Json(Detection {
        total_gpus: gpus.len(),
        suitable_gpus: gpus.iter().filter(|gpu| gpu.is_usable()).count(),
        gpus: gpus.iter().map(DetectedGpu::from).collect(),
        include_benchmarks,
        cpu: Cpu::read(benchmarks).await,
    }))
}

/// The GPU that models are best computed on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuBest)]
pub struct Best {
    /// The GPU; null where there is none that can be used.
    best_gpu: Option<BestGpu>,
    /// The same as a sentence.
    #[schema(example = "No GPU was found; models are computed on the processor")]
    message: String,
}

/// The GPU that models are best computed on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::BestGpu)]
pub struct BestGpu {
    /// What every answer tells of it.
    #[serde(flatten)]
    gpu: GpuFacts,
    /// Sequences that can be written at once.
    estimated_max_batch_size: usize,
    /// The version of its instructions, for NVIDIA's.
    compute_capability: Option<Capability>,
}

/// Tells which GPU models are best computed on.
#[utoipa::path(
    get, path = "/gpu/best", tag = "framework", operation_id = "gpu_best",
    responses((status = 200, description = "The best GPU", body = Best), Errors)
)]
pub async fn best(State(app): State<App>) -> Json<Best> {
    let gpus = app.hardware.gpus().await;
    let best = hardware::best(&gpus);
    let message = match (best, gpus.len()) {
        (Some(gpu), _) => format!("Best GPU for inference: {}", gpu.name),
        (None, 0) => "No GPU was found; models are computed on the processor".to_owned(),
        (None, count) => {
            format!("{count} GPU(s) found, but this version computes on the processor only")
        }
    };
    Json(Best {
        best_gpu: best.map(|gpu| BestGpu {
            gpu: gpu.into(),
            estimated_max_batch_size: app.settings().max_sequences,
            compute_capability: gpu.compute_capability.map(Capability::from),
        }),
        message,
    })
}

/// What models are computed with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuConfig)]
pub struct Config {
    /// The device.
    device_config: DeviceConfig,
    /// Sizes.
    memory_recommendations: MemoryRecommendations,
    /// What makes it faster.
    optimization_recommendations: OptimizationRecommendations,
    /// The device, in PyTorch's words.
    #[schema(example = "cpu")]
    pytorch_device: &'static str,
    /// The processor.
    cpu: Cpu,
}

/// The device that models are computed on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuDeviceConfig)]
pub struct DeviceConfig {
    /// `cpu`.
    #[schema(example = "cpu")]
    device_type: &'static str,
    /// Its number.
    device_id: u32,
    /// Whether sums are kept in half precision: never.
    use_fp16: bool,
    /// Whether products are of bytes, where weights are stored in few bits.
    use_int8: bool,
    /// Whether TensorRT is used: never.
    use_tensorrt: bool,
    /// Whether `torch.compile` is used: never.
    use_torch_compile: bool,
    /// The mode of that.
    #[schema(example = "none")]
    compile_mode: &'static str,
}

impl DeviceConfig {
    fn now() -> Self {
        Self {
            device_type: "cpu",
            device_id: 0,
            use_fp16: false,
            use_int8: true,
            use_tensorrt: false,
            use_torch_compile: false,
            compile_mode: "none",
        }
    }
}

/// Sizes that suit the machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuMemoryRecommendations)]
pub struct MemoryRecommendations {
    /// Sequences at once.
    batch_size: usize,
    /// Most sequences at once.
    max_batch_size: usize,
    /// The share of the machine's memory that models may take.
    memory_fraction: f64,
}

/// What makes models faster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuOptimizationRecommendations)]
pub struct OptimizationRecommendations {
    /// What is on and costs nothing.
    recommended_optimizers: Vec<&'static str>,
    /// What costs precision.
    aggressive_optimizations: Vec<&'static str>,
}

impl OptimizationRecommendations {
    fn now() -> Self {
        Self {
            recommended_optimizers: vec!["weight_packing", "int8_products", "continuous_batching"],
            aggressive_optimizations: vec!["quantize_8_bits", "quantize_4_bits"],
        }
    }
}

/// Tells what models are computed with on this machine.
#[utoipa::path(
    get, path = "/gpu/config", tag = "framework", operation_id = "gpu_config",
    responses((status = 200, description = "The configuration", body = Config), Errors)
)]
pub async fn config(State(app): State<App>) -> Json<Config> {
    let reading = app.meter.read().await;
    let settings = app.settings();
    let budget = app.runtime.stats().memory_budget;
    let fraction = budget as f64 / reading.memory_total.max(1) as f64;
    Json(Config {
        device_config: DeviceConfig::now(),
        memory_recommendations: MemoryRecommendations {
            batch_size: settings.max_sequences,
            max_batch_size: settings.max_sequences,
            memory_fraction: fraction.clamp(0.0, 1.0),
        },
        optimization_recommendations: OptimizationRecommendations::now(),
        pytorch_device: "cpu",
        cpu: Cpu::read(None).await,
    })
}

/// All of it together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuReport)]
pub struct Report {
    /// How many GPUs there are.
    summary: ReportSummary,
    /// What is known of each.
    gpus: Vec<ReportGpu>,
    /// The device that models are computed on.
    device_config: ReportDevice,
    /// What suits the machine.
    recommendations: Recommendations,
}

/// How many GPUs there are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuReportSummary)]
pub struct ReportSummary {
    /// All of them.
    total_gpus: usize,
    /// Those that models can be computed on.
    suitable_gpus: usize,
    /// The name of the best of those; null without one.
    best_gpu: Option<String>,
}

/// A GPU of the report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuReportGpu)]
pub struct ReportGpu {
    /// What every answer tells of it.
    #[serde(flatten)]
    gpu: GpuFacts,
    /// Whether models are well computed on it.
    suitable_for_inference: bool,
    /// Sequences that can be written at once.
    estimated_max_batch_size: usize,
}

/// The device of the report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuReportDevice)]
pub struct ReportDevice {
    /// `cpu`.
    device_type: &'static str,
    /// Its number.
    device_id: u32,
    /// Whether sums are kept in half precision: never.
    use_fp16: bool,
    /// Whether TensorRT is used: never.
    use_tensorrt: bool,
}

/// What suits the machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuRecommendations)]
pub struct Recommendations {
    /// Sizes.
    memory: MemorySizes,
    /// What makes it faster.
    optimization: Optimizers,
}

/// Sizes of the report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuMemorySizes)]
pub struct MemorySizes {
    /// Sequences at once.
    batch_size: usize,
    /// Most sequences at once.
    max_batch_size: usize,
}

/// What makes it faster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::GpuOptimizers)]
pub struct Optimizers {
    /// What is on and costs nothing.
    recommended_optimizers: Vec<&'static str>,
}

impl Report {
    fn new(app: &App, gpus: &[Gpu]) -> Self {
        let settings = app.settings();
        let device = DeviceConfig::now();
        Self {
            summary: ReportSummary {
                total_gpus: gpus.len(),
                suitable_gpus: gpus.iter().filter(|gpu| gpu.is_usable()).count(),
                best_gpu: hardware::best(gpus).map(|gpu| gpu.name.clone()),
            },
            gpus: gpus
                .iter()
                .map(|gpu| ReportGpu {
                    gpu: gpu.into(),
                    suitable_for_inference: gpu.is_usable(),
                    estimated_max_batch_size: settings.max_sequences,
                })
                .collect(),
            device_config: ReportDevice {
                device_type: device.device_type,
                device_id: device.device_id,
                use_fp16: device.use_fp16,
                use_tensorrt: device.use_tensorrt,
            },
            recommendations: Recommendations {
                memory: MemorySizes {
                    batch_size: settings.max_sequences,
                    max_batch_size: settings.max_sequences,
                },
                optimization: Optimizers {
                    recommended_optimizers: OptimizationRecommendations::now()
                        .recommended_optimizers,
                },
            },
        }
    }

    /// The report for people.
    fn text(&self) -> String {
        let mut text = format!(
            "GPUs: {} found, {} usable; best: {}\n",
            self.summary.total_gpus,
            self.summary.suitable_gpus,
            self.summary.best_gpu.as_deref().unwrap_or("none"),
        );
        for ReportGpu { gpu, .. } in &self.gpus {
            let free = match gpu.available_memory_mb {
                Some(free) => format!("{free:.0} MiB free"),
                None => "free memory unknown".to_owned(),
            };
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "  {}: {} ({}, {}), {:.0} MiB, {free}",
                gpu.id, gpu.name, gpu.vendor, gpu.architecture, gpu.memory_mb,
            );
        }
        let MemorySizes {
            batch_size,
            max_batch_size,
        } = self.recommendations.memory;
        let optimizers = &self.recommendations.optimization.recommended_optimizers;
        let _ = writeln!(
            text,
            "device: {} {}\nbatch size: {batch_size}, at most {max_batch_size}\noptimizers: {}",
            self.device_config.device_type,
            self.device_config.device_id,
            optimizers.join(", "),
        );
        text
    }
}

/// How a report is written.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "describes what is read elsewhere")]
pub enum Format {
    /// For programs.
    Json,
    /// For people.
    Text,
}

/// Tells all of it together, as JSON or as text.
#[utoipa::path(
    get, path = "/gpu/report", tag = "framework", operation_id = "gpu_report",
    params(("format" = inline(Option<Format>), Query, description = "json unless told otherwise", example = "json")),
    responses(
        (status = 200, description = "The report", content(
            (Report = "application/json"),
            (String = "text/plain"),
        )),
        Errors
    )
)]
pub async fn report(State(app): State<App>, query: Raw) -> Result<Response, ApiError> {
    let params = Params::new(query)?;
    let format = params.word("format", &["json", "text"])?.unwrap_or("json");
    let report = Report::new(&app, &app.hardware.gpus().await);
    Ok(match format {
        "text" => {
            let plain = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
            (plain, report.text()).into_response()
        }
        _ => Json(report).into_response(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gpu() -> Gpu {
        Gpu {
            id: 0,
            device_id: 0,
            name: "NVIDIA H100 80GB HBM3".into(),
            vendor: "nvidia",
            architecture: "hopper".into(),
            memory_bytes: 80 << 30,
            available_bytes: Some(79 << 30),
            utilization: Some(0.5),
            compute_capability: Some(hardware::ComputeCapability { major: 9, minor: 0 }),
        }
    }

    /// The fields that the API document gives, with their types.
    #[test]
    fn a_gpu_has_the_documented_fields() {
        let body = serde_json::to_value(DetectedGpu::from(&gpu())).expect("serializable");
        let expected = json!({
            "id": 0, "name": "NVIDIA H100 80GB HBM3", "vendor": "nvidia", "architecture": "hopper",
            "device_id": 0, "memory_mb": 81920.0, "available_memory_mb": 80896.0,
            "pytorch_support": false, "suitable_for_inference": false,
            "recommended_precisions": ["int8", "fp16", "fp32"], "supported_accelerators": ["cuda"],
            "compute_capability": {
                "major": 9, "minor": 0, "version": "9.0", "supports_fp16": true, "supports_int8": true,
                "supports_tensor_cores": true, "supports_tf32": true,
            },
        });
        assert_eq!(body, expected);
    }
}
