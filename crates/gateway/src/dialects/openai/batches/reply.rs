//! Formats a batch.

use protocol::Timestamp;
use queue::{Batch, BatchState};
use serde_json::{Value, json};

use super::super::files::file_id;

/// Formats a batch.
pub(super) fn batch(batch: &Batch) -> Value {
    let request = &batch.request;
    let ended_at = |state: BatchState| seconds(batch.ended_at.filter(|_| batch.state == state));
    let usage = batch.usage;
    json!({
        "id": format!("batch_{}", request.id.as_uuid().simple()),
        "object": "batch",
        "endpoint": request.endpoint,
        "errors": errors(batch),
        "input_file_id": file_id(request.input),
        "completion_window": format!("{}h", request.window.as_secs().div_ceil(60 * 60)),
        "status": batch.state.as_str(),
        "output_file_id": batch.output.map(file_id),
        "error_file_id": batch.errors.map(file_id),
        "created_at": seconds(Some(batch.created_at)),
        "in_progress_at": seconds(batch.in_progress_at),
        "expires_at": seconds(Some(batch.expires_at)),
        "finalizing_at": seconds(batch.finalizing_at),
        "completed_at": ended_at(BatchState::Completed),
        "failed_at": ended_at(BatchState::Failed),
        "expired_at": ended_at(BatchState::Expired),
        "cancelling_at": seconds(batch.cancelling_at),
        "cancelled_at": ended_at(BatchState::Cancelled),
        "request_counts": {
            "total": batch.total, "completed": batch.completed, "failed": batch.failed(),
        },
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        },
        "metadata": request.metadata,
    })
}

fn seconds(at: Option<Timestamp>) -> Option<u64> {
    at.map(|at| at.as_millis() / 1000)
}

fn errors(batch: &Batch) -> Option<Value> {
    if batch.problems.is_empty() {
        return None;
    }
    let problems = batch.problems.iter().map(|problem| {
        json!({
            "code": problem.code, "message": problem.message, "param": problem.param,
            "line": problem.line,
        })
    });
    Some(json!({"object": "list", "data": problems.collect::<Value>()}))
}
