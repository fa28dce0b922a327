//! One claimed task, from its start to its outcome.

use std::time::{Duration, Instant};

use engine::api::{Finished, GenerateError, Progress, Request, StopReason};
use engine::{CancelHandle, Engine, Generation, SamplingDefaults};
use protocol::{Completion, ModelId, Outcome, TaskError};
use queue::{BrokerError, Claimed, Release};
use service::shutdown::CancellationToken;
use tokio::sync::OwnedSemaphorePermit;

use crate::answer::Answer;
use crate::lease::KeptLease;
use crate::{Worker, recommended, translate};

/// How often generated text is handed on to readers.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// How much longer than the time limit the engine may take to notice it. Past that it hangs, and the
/// attempt is ended without it.
const STALL_GRACE: Duration = Duration::from_secs(5);
/// First and longest pause between tries to record an outcome while the queue is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// What an attempt's end means for the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The task has its outcome, is back in the queue, or belongs to somebody else.
    Settled,
    /// The engine is gone.
    EngineStopped,
    /// The engine is gone, and its device before it.
    DeviceLost,
    /// The task was ended without the engine, which did not react; this many steps it had made then.
    EngineSilent(u64),
}

/// What shall become of the task.
enum Verdict {
    /// This is its end.
    Finish(Outcome),
    /// It goes back to the queue.
    Release(Release),
    /// It comes back by its lease, as from a worker that died: that counts as an attempt, as the task may be
    /// what took the device down.
    LeftToLease,
    /// It belongs to somebody else by now.
    Nothing,
}

/// Runs `claimed` until it ends, its owner cancels it, its lease is lost, or `abandon` gives it back. Its
/// `slot` is free as soon as the engine is done with it, so that the claim of the next task can go to the
/// queue together with the outcome.
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
    let sampling_defaults = recommended::used(&claimed.task.params, engine.sampling_defaults());
    let request = translate::request(&claimed.task, deadline);
    let sampling = recommended::apply(&sampling_defaults, request.sampling);
    let request = Request { adapter, sampling, ..request };
    // Rendering and tokenizing a long prompt takes a while: not on the threads that renew leases.
    let submitting = engine.clone();
    let submitted = tokio::task::spawn_blocking(move || submitting.submit(&request)).await;

    let mut answer = Answer::default();
    let (verdict, end) = match submitted {
        Ok(Ok(generation)) => {
            let signals = Signals { cancel: &entered.cancel, lost: &kept.lost, abandon: &abandon };
            follow(worker, engine, &claimed, generation, &mut answer, deadline, signals).await
        }
        Ok(Err(error)) => failed(&claimed, &error),
        Err(panic) => failed(&claimed, &GenerateError::Compute(panic.to_string())),
    };
    // An engine that does not react may still be at it: then the slot stays taken.
    let (mut done_with, _kept) =
        if end == End::Settled { (Some(slot), None) } else { (None, Some(slot)) };
    settle(worker, &claimed, verdict, answer, &mut done_with, &kept.lost, &abandon).await;
    end
}

/// The adapter that a task's model is. A name that is none of the engine's adapters' is the base's own: no
/// other tasks are claimed.
fn named_adapter(engine: &Engine, model: &ModelId) -> Option<String> {
    engine.adapters().iter().find(|name| name.as_str() == model.as_str()).cloned()
}

/// Ends an attempt that nobody can make, for this reason.
pub(crate) async fn refuse(
    worker: &Worker,
    claimed: Claimed,
    reason: TaskError,
    abandon: CancellationToken,
) {
    log_claimed(&claimed);
    let entered = worker.running.enter(claimed.task.id);
    let kept = KeptLease::keep(worker, claimed.lease, entered.cancel.clone());
    let verdict = verdict_on(&claimed, reason);
    settle(worker, &claimed, verdict, Answer::default(), &mut None, &kept.lost, &abandon).await;
}

/// What may stop a generation from outside.
#[derive(Clone, Copy)]
struct Signals<'a> {
    /// Its owner.
    cancel: &'a CancellationToken,
    /// Another worker has the task.
    lost: &'a CancellationToken,
    /// This worker stops.
    abandon: &'a CancellationToken,
}

/// Follows a generation to its end, handing its text on.
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
        answer.tell_apart(format);
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
                    answer.push(&text, logprobs.into_iter().map(translate::logprobs));
                }
                Some(end) => break end,
                None => break Progress::Failed(GenerateError::Stopped),
            },
            _ = publish.tick(), if answer.left() > 0 => {
                // A cancel that the wake-up missed comes with the reply.
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
                // Not the task's fault, as far as one can see from here: another worker may do it.
                let hung = GenerateError::Compute("the engine did not react".to_owned());
                return (failed(claimed, &hung).0, End::EngineSilent(engine.steps()));
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

/// Publishes what is new. Answers whether the owner wants the task stopped.
async fn hand_on(worker: &Worker, claimed: &Claimed, answer: &mut Answer) -> bool {
    let (from, chunk) = answer.unpublished();
    match worker.broker.publish(&claimed.lease, from, &[chunk]).await {
        Ok(state) => {
            answer.acknowledged();
            state.cancel_requested
        }
        Err(error) => {
            // It goes out again with the next; a lost lease is the renewals' to notice.
            tracing::debug!(target: "worker.attempt", task_id = %claimed.task.id, "not published: {error}");
            false
        }
    }
}

/// Publishes what is left, as far as the queue takes it.
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
    defaults: &SamplingDefaults,
    answer: &mut Answer,
    finished: &Finished,
) -> Verdict {
    let params = &claimed.task.params;
    let logprobs = params.logprobs.map(|_| answer.take_logprobs());
    let outcome = match translate::completion(answer.text(), logprobs, answer.parts(), finished) {
        Some(completion) => Outcome::Completed(Completion {
            sampling_defaults: recommended::used(params, defaults),
            ..completion
        }),
        None if finished.reason == StopReason::Cancelled => Outcome::Cancelled,
        None => Outcome::Failed(translate::out_of_time(&claimed.task, finished.completion_tokens)),
    };
    Verdict::Finish(outcome)
}

/// A failure goes back to the queue if another attempt may end better.
fn failed(claimed: &Claimed, error: &GenerateError) -> (Verdict, End) {
    if matches!(error, GenerateError::DeviceLost(_)) {
        return (Verdict::LeftToLease, End::DeviceLost);
    }
    if *error == GenerateError::Stopped {
        return (Verdict::Release(Release::Unused), End::EngineStopped);
    }
    (verdict_on(claimed, translate::failure(error)), End::Settled)
}

fn verdict_on(claimed: &Claimed, failure: TaskError) -> Verdict {
    if failure.error_type.is_transient() && claimed.may_retry() {
        let retry_in = queue::retry::pause(claimed.failed_attempts + 1);
        Verdict::Release(Release::Failed { error: failure, retry_in })
    } else {
        Verdict::Finish(Outcome::Failed(failure))
    }
}

/// Carries the verdict out, however long the queue is away, unless the worker has to go. A `slot` becomes
/// free just before the outcome goes out.
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
    // No record can be older than this, so neither can be the debt of its log line.
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
                // Readers get all of the text before its end. A queue that takes no more text (its
                // memory is full) may take the outcome, which has it too.
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
            // Another attempt has the task, or this very outcome was recorded and only the reply got
            // lost: then it has yet to be logged. Asking once more tells which.
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

/// Giving back a task whose owner had asked to cancel it ends it: then its line is this worker's to
/// write. One that was cancelled later, in the queue, lost its start when it came back there. If the queue can't
/// tell now, the line is left to its journal.
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
