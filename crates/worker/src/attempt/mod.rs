//! Runs one claimed task from its start to its outcome.
//!
//! | module     | what it does |
//! |------------|--------------|
//! | `prepare`  | reads the prompt's images, and gives the prompt to the engine |
//! | `generate` | generates the answers to a prompt |
//! | `cached`   | answers from the result cache, and stores answers there |
//! | `form`     | the form of answers: their parts, and the completion |
//! | `skill`    | reads the answer as the task's skill says, and draws on its images |
//! | `count`    | counts the tokens of a prompt |
//! | `embed`    | computes the embeddings of inputs |
//! | `verdict`  | decides about the task at the end of the attempt |
//! | `settle`   | carries out that decision |
//! | `publish`  | publishes generated text |
//! | `phases`   | notes when the steps of an attempt begin and end |

mod cached;
mod count;
mod embed;
mod form;
mod generate;
mod phases;
mod prepare;
mod publish;
mod settle;
mod skill;
mod verdict;

use std::time::{Duration, Instant};

use engine::Engine;
use engine::api::GenerateError;
use protocol::{CacheStatus, ModelId, Outcome, TaskError, TaskKind, TraceId};
use queue::{Claimed, Release};
use service::shutdown::CancellationToken;
use service::traces::AttemptEnd;
use tokio::sync::OwnedSemaphorePermit;
use tracing::field::DisplayValue;

use self::phases::Phases;
use self::settle::settle;
use self::verdict::{Verdict, failed};
use crate::answers::Answers;
use crate::lease::KeptLease;
use crate::{Worker, measure, translate};

/// Maximum time after the time limit for the engine to end the generation. After that it is
/// considered to hang, and the attempt ends without it.
const STALL_GRACE: Duration = Duration::from_secs(5);

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

/// An attempt in progress, and the signals that stop it from outside.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    worker: &'a Worker,
    engine: &'a Engine,
    claimed: &'a Claimed,
    /// The time when the attempt began.
    began: Instant,
    /// The times of its steps.
    phases: &'a Phases,
    /// The end of the task's time limit.
    deadline: Instant,
    /// The task's owner cancelled it.
    cancel: &'a CancellationToken,
    /// Another worker has the task.
    lost: &'a CancellationToken,
    /// This worker stops.
    abandon: &'a CancellationToken,
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
    measure::claimed(&claimed);
    let (began, phases) = (Instant::now(), Phases::default());
    let entered = worker.running.enter(claimed.task.id);
    let kept = KeptLease::keep(worker, claimed.lease, entered.cancel.clone());
    let attempt = Attempt {
        worker,
        engine,
        claimed: &claimed,
        began,
        phases: &phases,
        deadline: began + Duration::from_secs(claimed.task.time_limit_s.into()),
        cancel: &entered.cancel,
        lost: &kept.lost,
        abandon: &abandon,
    };
    let adapter = named_adapter(engine, &claimed.task.model);
    let mut answers = Answers::new(claimed.task.choices().into());
    let embedding_length = engine.info().embedding_length.filter(|_| adapter.is_none());
    let sees = engine.images().is_some();
    let checked = translate::check_kind(&claimed.task, embedding_length, sees);
    let (verdict, end) = match (checked, &claimed.task.kind) {
        (Err(error), _) => (Verdict::of_failure(&claimed, error), End::Settled),
        (Ok(()), TaskKind::Generate) => generate::run(&attempt, adapter, &mut answers).await,
        (Ok(()), TaskKind::Count) => count::run(&attempt).await,
        (Ok(()), TaskKind::Embed { inputs, dimensions }) => {
            embed::run(&attempt, inputs, *dimensions).await
        }
    };
    if let Verdict::Finish(outcome @ Outcome::Completed(_)) = &verdict
        && outcome.cache() != Some(CacheStatus::Hit)
    {
        measure::inference(&claimed, &engine.info().quantization, began.elapsed());
    }
    // An engine that does not react may still be computing, so its slot stays taken.
    let (mut done_with, _kept) =
        if end == End::Settled { (Some(slot), None) } else { (None, Some(slot)) };
    let settled =
        settle(worker, &claimed, verdict, answers, &mut done_with, &kept.lost, &abandon).await;
    if let Some(settled) = settled {
        let (took, steps) = (began.elapsed(), phases.steps(began));
        let ended = AttemptEnd { took, steps, ..settled };
        worker.traces.attempt_ended(&worker.broker, &claimed, ended).await;
    }
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
    let verdict = Verdict::of_failure(&claimed, reason);
    let answers = Answers::new(0);
    let settled = settle(worker, &claimed, verdict, answers, &mut None, &kept.lost, &abandon).await;
    if let Some(settled) = settled {
        worker.traces.attempt_ended(&worker.broker, &claimed, settled).await;
    }
}

impl Attempt<'_> {
    /// Waits until the attempt must end without a result of the engine: [`Self::withdrawn`], or the engine does not
    /// react.
    async fn interrupted(&self) -> (Verdict, End) {
        let stalled = tokio::time::sleep_until((self.deadline + STALL_GRACE).into());
        tokio::select! {
            withdrawn = self.withdrawn() => withdrawn,
            () = stalled => {
                tracing::error!(
                    target: "worker.attempt", task_id = %self.claimed.task.id,
                    trace_id = trace_id(self.claimed),
                    "the engine does not react: ending the attempt without it"
                );
                // The task is probably not the cause, so another worker may retry it.
                let hung = GenerateError::Compute("the engine did not react".to_owned());
                let (verdict, _) = failed(self.claimed, &hung);
                (verdict.delayed_past_pending_claims(), End::EngineSilent(self.engine.steps()))
            }
        }
    }

    /// Waits until the attempt must end although its time is not up: the lease is lost, or the worker stops.
    async fn withdrawn(&self) -> (Verdict, End) {
        tokio::select! {
            () = self.lost.cancelled() => (Verdict::Nothing, End::Settled),
            () = self.abandon.cancelled() => match self.engine.lost_device() {
                Some(_) => (Verdict::LeftToLease, End::DeviceLost),
                None => (Verdict::Release(Release::Unused), End::Settled),
            },
        }
    }
}

/// Returns the id of the task's trace for the log.
fn trace_id(claimed: &Claimed) -> Option<DisplayValue<TraceId>> {
    claimed.task.trace_id().map(tracing::field::display)
}

fn log_claimed(claimed: &Claimed) {
    tracing::info!(
        target: "worker.attempt",
        task_id = %claimed.task.id,
        trace_id = trace_id(claimed),
        "attempt {} begins after {:.2} s in the queue",
        claimed.lease.attempt,
        claimed.started_at.seconds_since(claimed.submitted_at)
    );
}
