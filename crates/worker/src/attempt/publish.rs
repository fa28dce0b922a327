//! Publishes generated text.

use queue::Claimed;

use crate::Worker;
use crate::answer::Answer;

/// Publishes new text. Returns `true` if the owner has cancelled the task.
pub(super) async fn hand_on(worker: &Worker, claimed: &Claimed, answer: &mut Answer) -> bool {
    let (from, chunk) = answer.unpublished();
    match worker.broker.publish(&claimed.lease, from, &[chunk]).await {
        Ok(state) => {
            answer.acknowledged();
            state.cancel_requested
        }
        Err(error) => {
            // The chunk is sent again with the next one; the renewals detect a lost lease.
            tracing::debug!(target: "worker.attempt", task_id = %claimed.task.id, "not published: {error}");
            false
        }
    }
}

/// Publishes all remaining text, until the queue rejects a chunk.
pub(super) async fn flush(worker: &Worker, claimed: &Claimed, answer: &mut Answer) {
    let mut left = answer.left();
    while left > 0 {
        hand_on(worker, claimed, answer).await;
        if answer.left() == left {
            return; // not now
        }
        left = answer.left();
    }
}
