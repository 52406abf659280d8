//! The GPUs of the machine: NVIDIA's from NVML, which is opened at run time, others from sysfs.
//!
//! What no driver tells is `None`. A machine without a GPU, or without its driver, has an empty list.

mod nvml;
mod sysfs;

use std::path::PathBuf;
use std::sync::Arc;

/// A GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// Its number on this machine, counted over all vendors.
    pub id: u32,
    /// Its number for its vendor's driver.
    pub device_id: u32,
    /// Its name.
    pub name: String,
    /// `nvidia`, `amd` or `intel`.
    pub vendor: &'static str,
    /// The name of its generation, in lower case; `unknown` where the driver does not tell.
    pub architecture: String,
    /// Its own memory, in bytes; 0 where the driver does not tell.
    pub memory_bytes: u64,
    /// What of that is free.
    pub available_bytes: Option<u64>,
    /// How busy it is, from 0 to 1.
    pub utilization: Option<f64>,
    /// The version of its instructions, for NVIDIA's.
    pub compute_capability: Option<ComputeCapability>,
}

/// What NVIDIA calls the version of a GPU's instructions, by which its abilities are told.
///
/// The versions are those of the table of features in the CUDA C++ Programming Guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComputeCapability {
    /// The generation.
    pub major: u32,
    /// The step within it.
    pub minor: u32,
}

impl ComputeCapability {
    /// Arithmetic in half precision at more than the rate of single precision.
    pub fn supports_fp16(self) -> bool {
        self >= Self::of(5, 3)
    }

    /// Dot products of bytes.
    pub fn supports_int8(self) -> bool {
        self >= Self::of(6, 1)
    }

    /// Units for products of matrices.
    pub fn supports_tensor_cores(self) -> bool {
        self >= Self::of(7, 0)
    }

    /// TF32 on those units.
    pub fn supports_tf32(self) -> bool {
        self >= Self::of(8, 0)
    }

    fn of(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl std::fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Gpu {
    /// Whether models can be computed on it. The engines compute on the processor.
    pub fn is_usable(&self) -> bool {
        false
    }

    /// The precisions that suit it, the fastest first.
    pub fn precisions(&self) -> Vec<&'static str> {
        let mut precisions = Vec::new();
        if let Some(version) = self.compute_capability {
            if version.supports_int8() {
                precisions.push("int8");
            }
            if version.supports_fp16() {
                precisions.push("fp16");
            }
        }
        precisions.push("fp32");
        precisions
    }

    /// The interfaces by which programs can compute on it.
    pub fn accelerators(&self) -> Vec<&'static str> {
        match self.vendor {
            "nvidia" => vec!["cuda"],
            "amd" => vec!["rocm"],
            "intel" => vec!["level_zero"],
            _ => Vec::new(),
        }
    }
}

/// The GPU that models are best computed on: of those that can be used the one with most free memory.
pub fn best(gpus: &[Gpu]) -> Option<&Gpu> {
    let usable = gpus.iter().filter(|gpu| gpu.is_usable());
    usable.max_by_key(|gpu| gpu.available_bytes.unwrap_or(gpu.memory_bytes))
}

/// Looks for GPUs.
#[derive(Clone)]
pub struct Hardware(Arc<Sources>);

struct Sources {
    nvml: nvml::Driver,
    drm: PathBuf,
}

impl Hardware {
    /// The hardware of this machine. Opens nothing yet.
    pub fn new() -> Self {
        Self(Arc::new(Sources {
            nvml: nvml::Driver::default(),
            drm: PathBuf::from("/sys/class/drm"),
        }))
    }

    /// The GPUs as they are now.
    pub async fn gpus(&self) -> Vec<Gpu> {
        let sources = Arc::clone(&self.0);
        let look = tokio::task::spawn_blocking(move || {
            let mut gpus = sources.nvml.gpus();
            let has_driver = !gpus.is_empty();
            let others = sysfs::gpus(&sources.drm);
            gpus.extend(
                others
                    .into_iter()
                    .filter(|gpu| !(has_driver && gpu.vendor == "nvidia")),
            );
            for (id, gpu) in gpus.iter_mut().enumerate() {
                gpu.id = u32::try_from(id).unwrap_or(u32::MAX);
            }
            gpus
        });
        look.await.unwrap_or_else(|error| {
            tracing::error!(%error, "looking for GPUs failed; this is a bug");
            Vec::new()
        })
    }

    /// How busy the first GPU is, from 0 to 1; `None` without one.
    pub async fn utilization(&self) -> Option<f64> {
        self.gpus().await.first()?.utilization
    }
}

impl Default for Hardware {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abilities_follow_the_version() {
        let abilities = |major, minor| {
            let version = ComputeCapability { major, minor };
            (
                version.supports_fp16(),
                version.supports_int8(),
                version.supports_tensor_cores(),
                version.supports_tf32(),
            )
        };
        assert_eq!(abilities(5, 2), (false, false, false, false));
        assert_eq!(abilities(6, 1), (true, true, false, false));
        assert_eq!(abilities(7, 5), (true, true, true, false));
        assert_eq!(abilities(9, 0), (true, true, true, true));
    }

    #[tokio::test]
    async fn a_machine_can_be_looked_at_twice() {
        let hardware = Hardware::new();
        let first = hardware.gpus().await;
        let second = hardware.gpus().await;
        assert_eq!(first.len(), second.len());
        assert!(
            first
                .iter()
                .enumerate()
                .all(|(id, gpu)| gpu.id == id as u32)
        );
        assert!(best(&first).is_none_or(Gpu::is_usable));
    }
}
