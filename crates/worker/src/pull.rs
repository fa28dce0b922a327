//! Claims while the engine has room; drains when told to stop.

use std::sync::Arc;
use std::time::Duration;

use queue::Claimant;
use service::shutdown::CancellationToken;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::attempt::{self, End};
use crate::{Worker, WorkerError};

/// How long one claim waits for a task. Also how long a stopping worker may take to notice, since a
/// claim under way is never dropped: it may already hold a task.
const CLAIM_WAIT: Duration = Duration::from_secs(1);
/// First and longest pause between claims while the queue is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// How long the rest may take to be given back once the drain time is over.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Runs until `shutdown`, then drains.
pub(crate) async fn run(
    worker: &Arc<Worker>,
    shutdown: &CancellationToken,
) -> Result<(), WorkerError> {
    // Beyond its slots the engine would only let a task wait, and a task that waits here is one that
    // no other worker can take.
    let slots = Arc::new(Semaphore::new(worker.engine.info().max_batch));
    let claimant = Claimant {
        worker: worker.id,
        models: vec![worker.options.model.clone()],
        lease: worker.options.lease,
    };
    let abandon = CancellationToken::new();
    let mut attempts = JoinSet::new();
    let mut backoff = BACKOFF.0;
    let mut engine_stopped = false;

    while !engine_stopped {
        let slot = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = attempts.join_next() => {
                engine_stopped = has_stopped(ended);
                continue;
            }
            slot = slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
        };
        match worker.broker.claim(&claimant, CLAIM_WAIT).await {
            Ok(Some(claimed)) => {
                recovered(&mut backoff);
                let (worker, abandon) = (worker.clone(), abandon.clone());
                attempts.spawn(async move {
                    let _slot = slot;
                    attempt::run(&worker, claimed, abandon).await
                });
            }
            Ok(None) => recovered(&mut backoff),
            Err(error) => {
                if backoff == BACKOFF.0 {
                    tracing::warn!(target: "worker.pull", "can't claim, will keep trying: {error}");
                }
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF.1),
                }
            }
        }
    }
    if engine_stopped {
        abandon.cancel();
    }
    drain(worker, attempts, &abandon).await;
    if engine_stopped { Err(WorkerError::EngineStopped) } else { Ok(()) }
}

/// Notes that the queue answers again.
fn recovered(backoff: &mut Duration) {
    if *backoff != BACKOFF.0 {
        tracing::info!(target: "worker.pull", "the queue answers again");
        *backoff = BACKOFF.0;
    }
}

fn has_stopped(ended: Result<End, tokio::task::JoinError>) -> bool {
    match ended {
        Ok(end) => end == End::EngineStopped,
        Err(error) => {
            // The lease of whatever it held runs out, and another worker takes it.
            tracing::error!(target: "worker.pull", "an attempt broke off: {error}");
            false
        }
    }
}

/// Lets what runs go on for the drain time, then gives the rest back.
async fn drain(worker: &Worker, mut attempts: JoinSet<End>, abandon: &CancellationToken) {
    worker.running.start_draining();
    if !attempts.is_empty() {
        tracing::info!(
            target: "worker.pull",
            "draining: {} tasks have {} s to end, the rest goes back to the queue",
            attempts.len(), worker.options.drain.as_secs()
        );
    }
    let all = async { while attempts.join_next().await.is_some() {} };
    if tokio::time::timeout(worker.options.drain, all).await.is_ok() {
        return;
    }
    abandon.cancel();
    let all = async { while attempts.join_next().await.is_some() {} };
    if tokio::time::timeout(GIVE_BACK, all).await.is_err() {
        tracing::warn!(target: "worker.pull", "{} tasks come back by their leases", attempts.len());
    }
}
