//! Opens a GPU, or returns an error that says why it cannot be used.

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, sys};

use crate::LoadError;

/// The compute capability for which this build's kernels are compiled, e.g. `90`.
const COMPUTE_CAPABILITY: &str = env!("QWEN_QUEUE_COMPUTE_CAP");

/// Opens the GPU with this index, as `CUDA_VISIBLE_DEVICES` counts them.
///
/// # Errors
/// When there is no driver, no such GPU, or none that this build's kernels run on.
pub(crate) fn open(ordinal: usize) -> Result<Device, LoadError> {
    let cannot = |problem: String| {
        LoadError::Device(format!("the device cuda:{ordinal} cannot be used: {problem}"))
    };
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").map_or_else(
        |_| "CUDA_VISIBLE_DEVICES is not set".to_owned(),
        |value| format!("CUDA_VISIBLE_DEVICES is {value:?}"),
    );
    let count = CudaContext::device_count().map_err(|error| {
        cannot(format!(
            "the driver (libcuda.so.1) found no GPU: {}; {visible}. nvidia-smi shows what the driver sees; in \
             a container the GPU must be passed on; or set the device to cpu",
            describe(error)
        ))
    })?;
    let count = usize::try_from(count).unwrap_or(0);
    if ordinal >= count {
        return Err(cannot(format!(
            "the driver shows {count} GPUs, counted from 0; {visible}. Set the device to one of them, or to cpu"
        )));
    }
    let context = CudaContext::new(ordinal).map_err(|error| cannot(describe(error)))?;
    let capability = context.compute_capability().map_err(|error| cannot(describe(error)))?;
    let (has, needs) = (capability.0 * 10 + capability.1, digits(COMPUTE_CAPABILITY));
    if has < needs {
        return Err(cannot(format!(
            "its compute capability is {has}, this build's kernels are for {COMPUTE_CAPABILITY} and later; build with \
             CUDA_COMPUTE_CAP={has}"
        )));
    }
    // Creates a stream: candle's default stream differs in every thread, and the weights are loaded
    // by other threads than the one that computes.
    Device::new_cuda_with_stream(ordinal).map_err(|error| cannot(error.to_string()))
}

/// Parses the number in a compute capability such as `90` or `90a`.
fn digits(capability: &str) -> i32 {
    capability.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(0)
}

/// Returns how many multiprocessors a device has; 1 if the driver does not report it.
pub(crate) fn multiprocessors(device: &Device) -> usize {
    let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    let count = device
        .as_cuda_device()
        .ok()
        .and_then(|device| device.cuda_stream().context().attribute(attribute).ok());
    count.and_then(|count| usize::try_from(count).ok()).unwrap_or(1)
}

/// Returns the bytes of a device's memory that are free, or `None` if the driver does not report
/// it.
pub(crate) fn free_memory(device: &Device) -> Option<usize> {
    let device = device.as_cuda_device().ok()?;
    device.cuda_stream().context().mem_get_info().ok().map(|(free, _)| free)
}

fn describe(error: DriverError) -> String {
    let name = error.error_name().ok().and_then(|name| name.to_str().ok());
    match (name, error.0 as u32) {
        (Some(name), number) => format!("{name} ({number})"),
        // The toolkit's stub library has no names of errors.
        (None, 34) => "libcuda.so.1 is the toolkit's stub, not a driver's (34)".to_owned(),
        (None, number) => format!("error {number}"),
    }
}
