//! Publishes generated text.

use queue::Claimed;

use crate::Worker;
use crate::answers::Answers;

/// Publishes new text. Returns `true` if the owner has cancelled the task.
pub(super) async fn hand_on(worker: &Worker, claimed: &Claimed, answers: &mut Answers) -> bool {
    let (from, chunks) = answers.unpublished();
    match worker.broker.publish(&claimed.lease, from, &chunks).await {
        Ok(state) => {
            answers.acknowledged();
            state.cancel_requested
        }
        Err(error) => {
            // The chunks are sent again before the next ones; the renewals detect a lost lease.
            tracing::debug!(target: "worker.attempt", task_id = %claimed.task.id, "not published: {error}");
            false
        }
    }
}

/// Publishes all remaining text, until the queue rejects a chunk.
pub(super) async fn flush(worker: &Worker, claimed: &Claimed, answers: &mut Answers) {
    let mut left = answers.left();
    while left > 0 {
        hand_on(worker, claimed, answers).await;
        if answers.left() == left {
            return; // not now
        }
        left = answers.left();
    }
}
