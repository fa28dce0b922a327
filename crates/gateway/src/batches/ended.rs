//! The end of a batch: its log line and its webhook.

use queue::{Batch, BatchStep, Notice};

use super::{Trouble, Work};

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

/// Makes the webhook of an ended batch due. If the processor dies before that is noted, another one repeats it, and
/// the receiver gets one webhook all the same. Returns the batch.
pub(super) async fn notify(work: &Work, batch: &Batch) -> Result<Batch, Trouble> {
    let request = &batch.request;
    if let Some(url) = &request.webhook_url {
        let notice = Notice {
            id: request.id.as_uuid().into(),
            tenant: request.tenant.clone(),
            url: url.clone(),
            body: work.requests.end_event(batch),
        };
        work.state.ask(work.state.broker.notify(&notice)).await?;
    }
    Ok(work.step(&BatchStep::Notified).await?.0)
}
