//! Runs one claimed task from its start to its outcome.

use std::time::{Duration, Instant};

use engine::api::{Finished, GenerateError, Progress, Request, StopReason};
use engine::{CancelHandle, Engine, Generation, Sampling};
use protocol::{Completion, ModelId, Outcome, TaskError};
use queue::{BrokerError, Claimed, Release};
use service::shutdown::CancellationToken;
use tokio::sync::OwnedSemaphorePermit;

use crate::answer::Answer;
use crate::lease::KeptLease;
use crate::until::CLAIM_WAIT;
use crate::{Worker, translate};

/// The interval at which generated text is published.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// Maximum time after the time limit for the engine to end the generation. After that it is
/// considered to hang, and the attempt ends without it.
const STALL_GRACE: Duration = Duration::from_secs(5);
/// The first and the longest pause between tries to record an outcome while the queue is
/// unavailable.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// The end of an attempt, as far as it concerns the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The task has an outcome, is back in the queue, or was taken over by another worker.
    Settled,
    /// The engine has stopped.
    EngineStopped,
    /// The engine has stopped because it lost its device.
    DeviceLost,
    /// The engine did not react, and the attempt ended without it. Holds the engine's step count at
    /// that time.
    EngineSilent(u64),
}

/// The decision about the task.
enum Verdict {
    /// Record this outcome.
    Finish(Outcome),
    /// Return the task to the queue.
    Release(Release),
    /// Let the lease expire, as if the worker had died. This counts as an attempt, because the task
    /// may have caused the loss of the device.
    LeftToLease,
    /// Do nothing: another worker has the task.
    Nothing,
}

/// Runs `claimed` until it ends, its owner cancels it, its lease is lost, or `abandon` returns it
/// to the queue. Frees `slot` as soon as the engine has finished, so that the next claim can be
/// sent together with the outcome.
pub(crate) async fn run(
    worker: &Worker,
    engine: &Engine,
    claimed: Claimed,
    slot: OwnedSemaphorePermit,
    abandon: CancellationToken,
) -> End {
    log_claimed(&claimed);
    let began = Instant::now();
    let entered = worker.running.enter(claimed.task.id);
    let kept = KeptLease::keep(worker, claimed.lease, entered.cancel.clone());
    let deadline = began + Duration::from_secs(claimed.task.time_limit_s.into());
    let adapter = named_adapter(engine, &claimed.task.model);
    let request = translate::request(&claimed.task, engine.sampling_defaults(), deadline);
    // Rendering and tokenizing a long prompt takes long, so it must not block the threads that
    // renew leases.
    let submitting = engine.clone();
    let submit = move || submitting.submit(&Request { adapter, ..request? });
    let submitted = tokio::task::spawn_blocking(submit).await;

    let mut answer = Answer::default();
    let (verdict, end) = match submitted {
        Ok(Ok(generation)) => {
            let signals = Signals { cancel: &entered.cancel, lost: &kept.lost, abandon: &abandon };
            follow(worker, engine, &claimed, generation, &mut answer, deadline, signals).await
        }
        Ok(Err(error)) => failed(&claimed, &error),
        Err(panic) => failed(&claimed, &GenerateError::Compute(panic.to_string())),
    };
    // An engine that does not react may still be computing, so its slot stays taken.
    let (mut done_with, _kept) =
        if end == End::Settled { (Some(slot), None) } else { (None, Some(slot)) };
    settle(worker, &claimed, verdict, answer, &mut done_with, &kept.lost, &abandon).await;
    end
}

/// Returns the adapter that the model's name stands for, or `None` for the base model. Tasks of
/// other models are never claimed.
fn named_adapter(engine: &Engine, model: &ModelId) -> Option<String> {
    engine.adapters().iter().find(|name| name.as_str() == model.as_str()).cloned()
}

/// Ends an attempt that cannot be made, for `reason`.
pub(crate) async fn refuse(
    worker: &Worker,
    claimed: Claimed,
    reason: TaskError,
    abandon: CancellationToken,
) {
    log_claimed(&claimed);
    let entered = worker.running.enter(claimed.task.id);
    let kept = KeptLease::keep(worker, claimed.lease, entered.cancel.clone());
    let verdict = verdict_for_failure(&claimed, reason);
    settle(worker, &claimed, verdict, Answer::default(), &mut None, &kept.lost, &abandon).await;
}

/// The signals that stop a generation from outside.
#[derive(Clone, Copy)]
struct Signals<'a> {
    /// The task's owner cancelled it.
    cancel: &'a CancellationToken,
    /// Another worker has the task.
    lost: &'a CancellationToken,
    /// This worker stops.
    abandon: &'a CancellationToken,
}

/// Follows a generation to its end and publishes its text.
async fn follow(
    worker: &Worker,
    engine: &Engine,
    claimed: &Claimed,
    mut generation: Generation,
    answer: &mut Answer,
    deadline: Instant,
    signals: Signals<'_>,
) -> (Verdict, End) {
    let stop: CancelHandle = generation.cancel_handle();
    if let Some(format) = translate::parts(&claimed.task.form, generation.answer_start()) {
        answer.start_splitting(format, claimed.task.id);
    }
    let mut publish = tokio::time::interval(PUBLISH_EVERY);
    publish.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let stalled = tokio::time::sleep_until((deadline + STALL_GRACE).into());
    tokio::pin!(stalled);
    let mut cancelled = false;

    let progress = loop {
        tokio::select! {
            progress = generation.next() => match progress {
                Some(Progress::Text { text, logprobs }) => {
                    answer.push(&text, logprobs);
                }
                Some(end) => break end,
                None => break Progress::Failed(GenerateError::Stopped),
            },
            _ = publish.tick(), if answer.left() > 0 => {
                // A cancellation whose wake-up was missed is reported by the reply.
                if hand_on(worker, claimed, answer).await {
                    signals.cancel.cancel();
                }
            }
            () = signals.cancel.cancelled(), if !cancelled => {
                cancelled = true;
                stop.cancel();
            }
            () = signals.lost.cancelled() => return (Verdict::Nothing, End::Settled),
            () = signals.abandon.cancelled(), if engine.lost_device().is_some() => {
                return (Verdict::LeftToLease, End::DeviceLost);
            }
            () = signals.abandon.cancelled() => {
                return (Verdict::Release(Release::Unused), End::Settled);
            }
            () = &mut stalled => {
                tracing::error!(
                    target: "worker.attempt", task_id = %claimed.task.id,
                    "the engine does not react: ending the attempt without it"
                );
                // The task is probably not the cause, so another worker may retry it.
                let hung = GenerateError::Compute("the engine did not react".to_owned());
                let (verdict, _) = failed(claimed, &hung);
                return (delay_past_pending_claims(verdict), End::EngineSilent(engine.steps()));
            }
        }
    };
    match progress {
        Progress::Failed(error) => failed(claimed, &error),
        Progress::Finished(finished) => {
            answer.end();
            let verdict = finished_verdict(claimed, engine.sampling_defaults(), answer, &finished);
            (verdict, End::Settled)
        }
        Progress::Text { .. } => unreachable!("text does not end the loop"),
    }
}

/// Publishes new text. Returns `true` if the owner has cancelled the task.
async fn hand_on(worker: &Worker, claimed: &Claimed, answer: &mut Answer) -> bool {
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
async fn flush(worker: &Worker, claimed: &Claimed, answer: &mut Answer) {
    let mut left = answer.left();
    while left > 0 {
        hand_on(worker, claimed, answer).await;
        if answer.left() == left {
            return; // not now
        }
        left = answer.left();
    }
}

fn finished_verdict(
    claimed: &Claimed,
    recommended: &Sampling,
    answer: &Answer,
    finished: &Finished,
) -> Verdict {
    let sampling = &claimed.task.sampling;
    let logprobs = sampling.logprobs.map(|_| answer.logprobs().clone());
    let outcome = match translate::completion(answer.text(), logprobs, answer.parts(), finished) {
        Some(completion) => Outcome::Completed(Completion {
            sampling_defaults: sampling.used_of(recommended),
            ..completion
        }),
        None if finished.reason == StopReason::Cancelled => Outcome::Cancelled,
        None => Outcome::Failed(translate::out_of_time(&claimed.task, finished.completion_tokens)),
    };
    Verdict::Finish(outcome)
}

/// Decides about a failed attempt: returns the task to the queue if a retry may succeed.
fn failed(claimed: &Claimed, error: &GenerateError) -> (Verdict, End) {
    if matches!(error, GenerateError::DeviceLost(_)) {
        return (Verdict::LeftToLease, End::DeviceLost);
    }
    if *error == GenerateError::Stopped {
        return (Verdict::Release(Release::Unused), End::EngineStopped);
    }
    (verdict_for_failure(claimed, translate::failure(error)), End::Settled)
}

/// Delays the retry of a released task until a claim that this worker has pending has ended: the claim would
/// bring the task back to the engine that hangs. No further claim is made.
fn delay_past_pending_claims(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Release(Release::Failed { error, retry_in }) => {
            Verdict::Release(Release::Failed { error, retry_in: retry_in.max(CLAIM_WAIT * 2) })
        }
        other => other,
    }
}

fn verdict_for_failure(claimed: &Claimed, failure: TaskError) -> Verdict {
    if failure.error_type.is_transient() && claimed.may_retry() {
        let retry_in = queue::retry::pause(claimed.failed_attempts + 1);
        Verdict::Release(Release::Failed { error: failure, retry_in })
    } else {
        Verdict::Finish(Outcome::Failed(failure))
    }
}

/// Carries out the verdict, and retries while the queue is unavailable unless the worker must end.
/// Frees `slot` just before the outcome is sent.
async fn settle(
    worker: &Worker,
    claimed: &Claimed,
    verdict: Verdict,
    mut answer: Answer,
    slot: &mut Option<OwnedSemaphorePermit>,
    lost: &CancellationToken,
    abandon: &CancellationToken,
) {
    let task_id = claimed.task.id;
    let mut backoff = BACKOFF.0;
    // The time of the first send: the record, and with it the duty to log it, cannot be older.
    let mut sent = None;
    loop {
        let result = match &verdict {
            Verdict::Nothing => return log_lost(claimed),
            Verdict::LeftToLease => {
                tracing::warn!(
                    target: "worker.attempt", %task_id,
                    "the device is lost: the task comes back by its lease"
                );
                return;
            }
            Verdict::Release(release) => {
                sent.get_or_insert_with(Instant::now);
                worker.broker.release(&claimed.lease, release).await
            }
            Verdict::Finish(outcome) => {
                // Readers get all text before the end. A queue that rejects more text (its memory
                // is full) may still accept the outcome, which contains the text too.
                flush(worker, claimed, &mut answer).await;
                drop(slot.take());
                let sent = *sent.get_or_insert_with(Instant::now);
                match worker.broker.finish(&claimed.lease, outcome).await {
                    Ok(at) => {
                        let metrics =
                            worker.log.finished(&worker.broker, claimed, outcome, at, sent);
                        tracing::info!(
                            target: "worker.attempt", %task_id,
                            "{} in {:.2} s", outcome.state(), metrics.processing_time
                        );
                        return;
                    }
                    Err(error) => Err(error),
                }
            }
        };
        match result {
            Ok(()) => {
                tracing::info!(target: "worker.attempt", %task_id, "given back to the queue");
                return log_if_cancelled(worker, claimed, sent.unwrap_or_else(Instant::now)).await;
            }
            Err(BrokerError::LeaseLost { .. }) => return log_lost(claimed),
            Err(error) => {
                if backoff == BACKOFF.0 {
                    tracing::warn!(target: "worker.attempt", %task_id, "not recorded yet, will keep trying: {error}");
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

fn log_claimed(claimed: &Claimed) {
    tracing::info!(
        target: "worker.attempt",
        task_id = %claimed.task.id,
        "attempt {} begins after {:.2} s in the queue",
        claimed.lease.attempt,
        claimed.started_at.seconds_since(claimed.submitted_at)
    );
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
    tracing::warn!(
        target: "worker.attempt", task_id = %claimed.task.id,
        "attempt {} ends unrecorded: its lease was lost, another attempt has the task",
        claimed.lease.attempt
    );
}
