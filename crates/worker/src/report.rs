//! Reports this worker's state to the registry every few seconds.

use std::sync::Arc;
use std::time::Duration;

use engine::system::GpuUse;
use protocol::{GpuReport, ModelId, ModelReport, Timestamp, WorkerReport, WorkerStatus};

use crate::Worker;

/// Time between reports.
const BEAT: Duration = Duration::from_secs(2);
/// After this many missed reports, a worker is considered gone.
const MAX_MISSED_REPORTS: u32 = 5;

/// Reports until aborted, and follows the orders in the replies. Reports at once when draining
/// starts.
pub(crate) async fn run(worker: Arc<Worker>) {
    let started_at = Timestamp::now();
    let draining = worker.running.draining();
    loop {
        let told = draining.is_cancelled();
        let report = report(&worker, started_at);
        match worker.broker.report_worker(&report, BEAT * MAX_MISSED_REPORTS).await {
            Ok(orders) if orders.drain && !draining.is_cancelled() => {
                tracing::info!(
                    target: "worker.report",
                    "an operator asks this worker to drain: it claims nothing more, ends what it has and stops"
                );
                draining.cancel();
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(target: "worker.report", "not reported: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = draining.cancelled(), if !told => {}
        }
    }
}

/// Removes the worker from the registry.
pub(crate) async fn deregister(worker: &Worker) {
    if let Err(error) = worker.broker.forget_worker(worker.id).await {
        tracing::debug!(target: "worker.report", "left without goodbye: {error}");
    }
}

fn report(worker: &Worker, started_at: Timestamp) -> WorkerReport {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let models: Vec<ModelReport> =
        worker.models.all().iter().flat_map(|served| served.reports()).collect();
    let first = models.first();
    // Adapters share the capacity of their base model.
    let bases = models.iter().filter(|served| served.parent.is_none());
    let loaded = bases.filter(|served| served.state.is_loaded());
    WorkerReport {
        id: worker.id,
        host: hostname(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        model: first.map_or_else(|| ModelId::new(""), |first| first.model.clone()),
        quantization: first.map_or_else(String::new, |first| first.quantization.clone()),
        device: worker.models.device().to_owned(),
        status: if worker.running.draining().is_cancelled() {
            WorkerStatus::Draining
        } else {
            WorkerStatus::Ready
        },
        running: count(worker.running.count()),
        capacity: loaded.map(|served| served.capacity).sum(),
        finished: worker.running.finished(),
        started_at,
        reported_at: Some(Timestamp::now()),
        log_lines_lost: worker.log.counts().total().lost,
        gpus: worker.models.gpus().into_iter().map(gpu_report).collect(),
        models,
    }
}

pub(crate) fn gpu_report(gpu: GpuUse) -> GpuReport {
    let GpuUse { id, memory_used_bytes, memory_total_bytes, utilization_percent } = gpu;
    GpuReport { id, memory_used_bytes, memory_total_bytes, utilization_percent }
}

/// Returns the machine's host name as the kernel reports it.
pub(crate) fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_else(|_| "unknown".into())
}
