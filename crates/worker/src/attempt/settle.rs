//! Carries out the decision about a task: records its outcome or returns it to the queue.

use std::time::{Duration, Instant};

use protocol::{ErrorType, Outcome};
use queue::{BrokerError, Claimed, Release};
use service::shutdown::CancellationToken;
use service::traces::AttemptEnd;
use tokio::sync::OwnedSemaphorePermit;

use super::verdict::Verdict;
use super::{publish, trace_id};
use crate::answers::Answers;
use crate::{Worker, measure};

/// The first and the longest pause between tries to record an outcome while the queue is
/// unavailable.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Carries out the verdict, and retries while the queue is unavailable unless the worker must end.
/// Frees `slot` just before the outcome is sent. Returns how the attempt ended, without its times; `None` if it is left
/// to others to say so, since the lease is lost.
pub(super) async fn settle(
    worker: &Worker,
    claimed: &Claimed,
    verdict: Verdict,
    mut answers: Answers,
    slot: &mut Option<OwnedSemaphorePermit>,
    lost: &CancellationToken,
    abandon: &CancellationToken,
) -> Option<AttemptEnd> {
    let task_id = claimed.task.id;
    let mut backoff = BACKOFF.0;
    // The time of the first send: the record, and with it the duty to log it, cannot be older.
    let mut sent = None;
    loop {
        let result = match &verdict {
            Verdict::Nothing => {
                log_lost(claimed);
                return None;
            }
            Verdict::LeftToLease => {
                measure::ended(claimed, measure::LOST);
                tracing::warn!(
                    target: "worker.attempt", %task_id, trace_id = trace_id(claimed),
                    "the device is lost: the task comes back by its lease"
                );
                return None;
            }
            Verdict::Release(release) => {
                sent.get_or_insert_with(Instant::now);
                worker.broker.release(&claimed.lease, release).await
            }
            Verdict::Finish(outcome) => {
                // Readers get all text before the end. A queue that rejects more text (its memory
                // is full) may still accept the outcome, which contains the text too.
                publish::flush(worker, claimed, &mut answers).await;
                drop(slot.take());
                let sent = *sent.get_or_insert_with(Instant::now);
                match worker.broker.finish(&claimed.lease, outcome).await {
                    Ok(at) => {
                        measure::finished(claimed, outcome);
                        let metrics =
                            worker.log.finished(&worker.broker, claimed, outcome, at, sent);
                        tracing::info!(
                            target: "worker.attempt", %task_id, trace_id = trace_id(claimed),
                            "{} in {:.2} s", outcome.state(), metrics.processing_time
                        );
                        return Some(AttemptEnd {
                            end: outcome.state().as_str(),
                            error: error_of(outcome),
                            at: Some(at),
                            usage: outcome.usage(),
                            ..AttemptEnd::default()
                        });
                    }
                    Err(error) => Err(error),
                }
            }
        };
        match result {
            Ok(()) => {
                let ended = given_back(&verdict);
                measure::ended(claimed, ended.end);
                tracing::info!(
                    target: "worker.attempt", %task_id, trace_id = trace_id(claimed),
                    "given back to the queue"
                );
                log_if_cancelled(worker, claimed, sent.unwrap_or_else(Instant::now)).await;
                return Some(ended);
            }
            Err(BrokerError::LeaseLost { .. }) => {
                log_lost(claimed);
                return None;
            }
            Err(error) => {
                if backoff == BACKOFF.0 {
                    tracing::warn!(
                        target: "worker.attempt", %task_id, trace_id = trace_id(claimed),
                        "not recorded yet, will keep trying: {error}"
                    );
                }
            }
        }
        let (leaving, is_lost) = (abandon.is_cancelled(), lost.is_cancelled());
        tokio::select! {
            () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF.1),
            // Either another attempt has the task, or this outcome was recorded, only the reply was
            // lost, and it is still to be logged. One more try shows which.
            () = lost.cancelled(), if !is_lost => {}
            () = abandon.cancelled(), if !leaving => {}
        }
    }
}

/// Returns how an attempt ended whose task went back to the queue.
fn given_back(verdict: &Verdict) -> AttemptEnd {
    match verdict {
        Verdict::Release(Release::Failed { error, .. }) => AttemptEnd {
            end: "retried",
            error: Some(error.error_type),
            usage: error.usage,
            ..AttemptEnd::default()
        },
        _ => AttemptEnd { end: "released", ..AttemptEnd::default() },
    }
}

/// Returns the kind of error of a failure.
fn error_of(outcome: &Outcome) -> Option<ErrorType> {
    match outcome {
        Outcome::Failed(error) => Some(error.error_type),
        Outcome::Completed(_) | Outcome::Cancelled { .. } => None,
    }
}

/// Logs the task's end if releasing it ended it, because its owner had requested cancellation. If
/// the task was cancelled only after its return to the queue, its end is not this worker's to log.
/// If the queue cannot answer now, the line is left to the queue's journal.
async fn log_if_cancelled(worker: &Worker, claimed: &Claimed, sent: Instant) {
    if let Ok(Some(snapshot)) = worker.broker.snapshot(claimed.task.id).await
        && snapshot.attempt == claimed.lease.attempt
        && snapshot.started_at.is_some()
    {
        worker.log.ended(&worker.broker, &snapshot, sent);
    }
}

fn log_lost(claimed: &Claimed) {
    measure::ended(claimed, measure::LOST);
    tracing::warn!(
        target: "worker.attempt", task_id = %claimed.task.id, trace_id = trace_id(claimed),
        "attempt {} ends unrecorded: its lease was lost, another attempt has the task",
        claimed.lease.attempt
    );
}
