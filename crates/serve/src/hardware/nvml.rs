//! NVIDIA's GPUs, from the management library that comes with their driver.

use std::sync::OnceLock;

use nvml_wrapper::enums::device::DeviceArchitecture;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::{ComputeCapability, Gpu};

/// The library, opened when it is first asked.
#[derive(Default)]
pub struct Driver(OnceLock<Option<Nvml>>);

impl Driver {
    /// The GPUs that the driver knows; none without a driver.
    pub fn gpus(&self) -> Vec<Gpu> {
        let library = self.0.get_or_init(|| match Nvml::init() {
            Ok(library) => Some(library),
            Err(error) => {
                tracing::debug!(%error, "no NVIDIA driver");
                None
            }
        });
        let Some(library) = library else {
            return Vec::new();
        };
        let count = library.device_count().unwrap_or(0);
        let gpus = (0..count).filter_map(|index| {
            let gpu = library
                .device_by_index(index)
                .and_then(|device| read(index, &device));
            gpu.inspect_err(|error| tracing::warn!(index, %error, "a GPU cannot be read"))
                .ok()
        });
        gpus.collect()
    }
}

/// Reads a device. Only its name is required; what else the driver does not tell is unknown.
fn read(index: u32, device: &Device<'_>) -> Result<Gpu, NvmlError> {
    let memory = device.memory_info().ok();
    let version = device.cuda_compute_capability().ok();
    Ok(Gpu {
        id: index,
        device_id: index,
        name: device.name()?,
        vendor: "nvidia",
        architecture: match device.architecture() {
            Ok(DeviceArchitecture::Ada) => "ada_lovelace".to_owned(),
            Ok(generation) => generation.to_string().to_lowercase(),
            Err(_) => "unknown".to_owned(),
        },
        memory_bytes: memory.as_ref().map_or(0, |memory| memory.total),
        available_bytes: memory.map(|memory| memory.free),
        utilization: device
            .utilization_rates()
            .ok()
            .map(|rates| f64::from(rates.gpu) / 100.0),
        compute_capability: version.and_then(|version| {
            Some(ComputeCapability {
                major: version.major.try_into().ok()?,
                minor: version.minor.try_into().ok()?,
            })
        }),
    })
}
