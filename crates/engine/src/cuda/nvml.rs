//! Reads a GPU's figures by NVML, which is loaded at run time and may be missing.

use candle_core::Device;
use nvml_wrapper::Nvml;

use crate::system::GpuUse;

/// Reads the figures of one GPU.
#[derive(Debug)]
pub(crate) struct Watch {
    nvml: Nvml,
    /// Identifies the GPU for NVML, whose indices ignore `CUDA_VISIBLE_DEVICES`.
    uuid: String,
}

impl Watch {
    /// Watches a device. Returns `None` if NVML is missing or does not know the GPU.
    pub(crate) fn new(device: &Device) -> Option<Self> {
        let nvml = Nvml::init()
            .inspect_err(|error| {
                tracing::warn!("no GPU figures will be reported: NVML cannot be loaded: {error}")
            })
            .ok()?;
        let context = device.as_cuda_device().ok()?.cuda_stream().context().clone();
        // cuDeviceGetUuid (https://docs.nvidia.com/cuda/cuda-driver-api) returns the bytes that
        // nvidia-smi and NVML write as GPU-8-4-4-4-12.
        let hex: String =
            context.uuid().ok()?.bytes.iter().map(|byte| format!("{:02x}", *byte as u8)).collect();
        let uuid = format!(
            "GPU-{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        );
        let watch = Self { nvml, uuid };
        watch.read().map(|_| watch)
    }

    /// Returns the current figures.
    pub(crate) fn read(&self) -> Option<GpuUse> {
        let gpu = self.nvml.device_by_uuid(self.uuid.as_str()).ok()?;
        let memory = gpu.memory_info().ok()?;
        Some(GpuUse {
            id: gpu.index().ok()?,
            memory_used_bytes: memory.used,
            memory_total_bytes: memory.total,
            utilization_percent: gpu.utilization_rates().ok()?.gpu,
        })
    }
}
