//! Claims one model's tasks while its engine has room; drains when told to stop: by a signal, by an operator,
//! or to make room for another model.

use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use queue::Claimant;
use service::shutdown::CancellationToken;
use tokio::task::JoinSet;

use crate::attempt::{self, End};
use crate::models::Served;
use crate::pulse::{self, HANG_GRACE};
use crate::{Worker, WorkerError};

/// How long one claim waits for a task. Also how long a stopping worker may take to notice, since a
/// claim under way is never dropped: it may already hold a task.
const CLAIM_WAIT: Duration = Duration::from_secs(1);
/// First and longest pause between claims while the queue is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// How long the rest may take to be given back.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// What ends the claiming of a model's tasks.
pub(crate) struct Until {
    /// The process is to end: what runs has the drain time.
    pub(crate) shutdown: CancellationToken,
    /// Nothing more is claimed by this worker.
    pub(crate) draining: CancellationToken,
    /// Nothing more is claimed for this model, which makes room for another.
    pub(crate) leave: CancellationToken,
    /// What runs is to be given back.
    pub(crate) abandon: CancellationToken,
}

impl Until {
    /// Waits for any of the first three.
    pub(crate) async fn over(&self) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = self.draining.cancelled() => {}
            () = self.leave.cancelled() => {}
        }
    }
}

/// Claims the tasks of a model that is in memory until that is over, then drains.
pub(crate) async fn run(
    worker: &Arc<Worker>,
    served: &Served,
    engine: Engine,
    until: Until,
) -> Result<(), WorkerError> {
    // Beyond its slots the engine would only let a task wait, and a task that waits here is one that
    // no other worker can take.
    let slots = &served.slots;
    let claimant =
        Claimant { worker: worker.id, models: served.names(), lease: worker.options.lease };
    let mut attempts = JoinSet::new();
    let mut backoff = BACKOFF.0;
    let mut result = Ok(());

    while result.is_ok() {
        let first = tokio::select! {
            biased;
            () = until.over() => break,
            Some(ended) = attempts.join_next() => {
                result = check_engine(&engine, ended, &until.shutdown).await;
                continue;
            }
            slot = slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
        };
        // An engine that has stopped takes nothing; the attempts that it ended are about to say why.
        if !engine.is_running()
            && let Some(ended) = attempts.join_next().await
        {
            result = check_engine(&engine, ended, &until.shutdown).await;
            continue;
        }
        let mut free = vec![first];
        free.extend(std::iter::from_fn(|| slots.clone().try_acquire_owned().ok()));
        match worker.broker.claim_batch(&claimant, free.len(), CLAIM_WAIT).await {
            Ok(batch) => {
                recovered(&mut backoff);
                for claimed in batch {
                    // A broker gives no more than it is asked for.
                    let Some(slot) = free.pop() else { break };
                    let (worker, engine) = (worker.clone(), engine.clone());
                    let abandon = until.abandon.clone();
                    attempts.spawn(async move {
                        attempt::run(&worker, &engine, claimed, slot, abandon).await
                    });
                }
            }
            Err(error) => {
                if backoff == BACKOFF.0 {
                    tracing::warn!(target: "worker.pull", "can't claim, will keep trying: {error}");
                }
                tokio::select! {
                    () = until.over() => break,
                    () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF.1),
                }
            }
        }
    }
    if result.is_ok() {
        drain(worker, &mut attempts, &until).await;
    }
    until.abandon.cancel();
    give_back(attempts).await;
    result
}

/// Notes that the queue answers again.
fn recovered(backoff: &mut Duration) {
    if *backoff != BACKOFF.0 {
        tracing::info!(target: "worker.pull", "the queue answers again");
        *backoff = BACKOFF.0;
    }
}

/// Whether the engine is still good for more, after an attempt has ended.
async fn check_engine(
    engine: &Engine,
    ended: Result<End, tokio::task::JoinError>,
    shutdown: &CancellationToken,
) -> Result<(), WorkerError> {
    match ended {
        Ok(End::Settled) => Ok(()),
        Ok(End::EngineStopped) => Err(match engine.changed_model() {
            Some(problem) => WorkerError::ModelChanged(problem.to_owned()),
            None => WorkerError::EngineStopped,
        }),
        Ok(End::DeviceLost) => {
            let problem = engine.lost_device().unwrap_or("it did not say why");
            Err(WorkerError::DeviceLost(problem.to_owned()))
        }
        // Nothing is claimed meanwhile: it would only wait.
        Ok(End::EngineSilent(before)) => tokio::select! {
            lives = pulse::beats(engine, before) => {
                if lives { Ok(()) } else { Err(WorkerError::EngineHangs(HANG_GRACE)) }
            }
            () = shutdown.cancelled() => Ok(()),
        },
        Err(error) => {
            // The lease of whatever it held runs out, and another worker takes it.
            tracing::error!(target: "worker.pull", "an attempt broke off: {error}");
            Ok(())
        }
    }
}

/// Lets what runs go on: on an operator's order, and to make room, for as long as it takes, which the tasks'
/// own time limits bound; after a signal for the drain time; not when all is to be given back.
async fn drain(worker: &Worker, attempts: &mut JoinSet<End>, until: &Until) {
    let running = attempts.len();
    if running > 0 {
        tracing::info!(target: "worker.pull", "draining: {running} tasks run");
    }
    let out_of_time = async {
        until.shutdown.cancelled().await;
        tracing::info!(
            target: "worker.pull",
            "what runs has {} s to end, the rest goes back to the queue", worker.options.drain.as_secs()
        );
        tokio::time::sleep(worker.options.drain).await;
    };
    tokio::select! {
        () = async { while attempts.join_next().await.is_some() {} } => {}
        () = out_of_time => {}
        () = until.abandon.cancelled() => {}
    }
}

/// Waits for those that were told to give their tasks back.
async fn give_back(mut attempts: JoinSet<End>) {
    let all = async { while attempts.join_next().await.is_some() {} };
    if tokio::time::timeout(GIVE_BACK, all).await.is_err() {
        tracing::warn!(target: "worker.pull", "{} tasks come back by their leases", attempts.len());
    }
}
