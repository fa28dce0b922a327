//! What happens once a batch has ended.

use queue::Batch;

/// Logs the end of a batch. Called once for each batch, with its last record, by the processor that ended it; not
/// if that dies in between.
pub(super) fn ended(batch: &Batch) {
    let request = &batch.request;
    let took = batch.ended_at.map_or(0.0, |at| at.seconds_since(batch.created_at));
    tracing::info!(
        target: "gateway.batch",
        batch_id = %request.id, tenant = %request.tenant,
        "batch {}: {} lines, {} completed, {} failed, {} prompt and {} generated tokens in {took:.1} s",
        batch.state.as_str(), batch.total, batch.completed, batch.failed(), batch.usage.input,
        batch.usage.output
    );
}
