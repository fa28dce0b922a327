//! Fails the tasks of a model that cannot be loaded, which would otherwise wait forever.

use std::time::Duration;

use protocol::{ModelId, TaskError};
use queue::Claimant;

use crate::until::Until;
use crate::{Worker, attempt};

/// The time for which one claim waits for a task.
const CLAIM_WAIT: Duration = Duration::from_secs(1);
/// Pause between claims while the queue is unavailable.
const PAUSE: Duration = Duration::from_secs(1);
/// The number of tasks that are failed at once.
const AT_ONCE: usize = 8;

/// Claims the tasks of a model and its adapters, and fails each attempt for `reason`. Ends after
/// `span`, or when claiming ends.
pub(crate) async fn run(
    worker: &Worker,
    models: Vec<ModelId>,
    reason: &TaskError,
    span: Duration,
    until: Until,
) {
    let enough = tokio::time::sleep(span);
    tokio::pin!(enough);
    let claimant = Claimant { worker: worker.id, models, lease: worker.options.lease };
    loop {
        let claimed = tokio::select! {
            biased;
            () = until.over() => return,
            () = &mut enough => return,
            claimed = worker.broker.claim_batch(&claimant, AT_ONCE, CLAIM_WAIT) => claimed,
        };
        match claimed {
            Ok(batch) => {
                for claimed in batch {
                    let abandon = until.abandon.clone();
                    attempt::refuse(worker, claimed, reason.clone(), abandon).await;
                }
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
