//! Readings of a GPU.

use protocol::GpuReport;

use super::{Reading, table};

/// Returns the readings of a GPU of `host`.
pub fn of_gpu(host: &str, gpu: &GpuReport) -> [Reading; 3] {
    let id = gpu.id.to_string();
    let read = |of, value| Reading::new(of, [host, id.as_str()], value);
    [
        read(&table::GPU_MEMORY_USED, gpu.memory_used_bytes as f64),
        read(&table::GPU_MEMORY_TOTAL, gpu.memory_total_bytes as f64),
        read(&table::GPU_UTILIZATION, f64::from(gpu.utilization_percent)),
    ]
}
