//! Claims one model's tasks while its engine has free slots, and drains when it has to stop: on a signal, on an
//! operator's order, or to make room for another model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine::Engine;
use protocol::{Lane, Task};
use queue::{Claimant, Room};
use service::shutdown::CancellationToken;
use tokio::task::JoinSet;

use crate::attempt::{self, End};
use crate::models::Served;
use crate::pulse::{self, HANG_GRACE};
use crate::until::{CLAIM_WAIT, Until};
use crate::{Worker, WorkerError, translate};

/// The first and the longest pause between claims while the queue is unavailable.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// Maximum time for giving back the remaining tasks.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Claims and runs the tasks of a loaded model until one of `until`'s signals, then drains.
///
/// # Errors
/// If the engine has stopped, has lost its device, or hangs.
pub(crate) async fn run(
    worker: &Arc<Worker>,
    served: &Served,
    engine: Engine,
    until: Until,
) -> Result<(), WorkerError> {
    // Claims no more tasks than the engine has slots: further ones would wait here, where no other
    // worker can take them.
    let slots = &served.slots;
    let claimant =
        Claimant { worker: worker.id, models: served.names(), lease: worker.options.lease };
    let extra = ExtraSequences::default();
    let batch = BatchTasks::default();
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
        // A stopped engine accepts no task. The attempts that it ended return the reason.
        if !engine.is_running()
            && let Some(ended) = attempts.join_next().await
        {
            result = check_engine(&engine, ended, &until.shutdown).await;
            continue;
        }
        let mut free = vec![first];
        free.extend(std::iter::from_fn(|| slots.clone().try_acquire_owned().ok()));
        let room = extra.room_in(free.len());
        if room == 0 {
            drop(free);
            // Room comes with the end of a task that has several sequences.
            tokio::select! {
                () = until.over() => break,
                Some(ended) = attempts.join_next() => {
                    result = check_engine(&engine, ended, &until.shutdown).await;
                }
            }
            continue;
        }
        served.asks();
        let room = Room { tasks: room, batch: batch.room_in(served.capacity()).min(room) };
        let claim = worker.broker.claim_into(&claimant, room, CLAIM_WAIT);
        let claimed = tokio::select! {
            biased;
            claimed = claim => claimed,
            // The end of a task may make room for tasks of lane `batch`. Dropping a claim loses none.
            Some(ended) = attempts.join_next(), if room.batch < room.tasks => {
                result = check_engine(&engine, ended, &until.shutdown).await;
                continue;
            }
        };
        match claimed {
            Ok(tasks) => {
                recovered(&mut backoff);
                for claimed in tasks {
                    // A broker returns at most as many tasks as requested.
                    let Some(slot) = free.pop() else { break };
                    let (worker, engine) = (worker.clone(), engine.clone());
                    let abandon = until.abandon.clone();
                    let extra = extra.add(&claimed.task, engine.info().max_batch);
                    let batch = batch.add(claimed.task.lane);
                    attempts.spawn(async move {
                        let _guards = (extra, batch);
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

/// The sequences in the engine beyond one for each running task: further answers, and inputs to embed. A task takes
/// one slot, whatever it needs in the engine.
#[derive(Debug, Clone, Default)]
struct ExtraSequences(Arc<AtomicUsize>);

/// Those of one task, until this is dropped.
struct ExtraGuard(ExtraSequences, usize);

impl ExtraSequences {
    /// Adds those of a task.
    fn add(&self, task: &Task, capacity: usize) -> ExtraGuard {
        let extra = translate::sequences(task, capacity).saturating_sub(1);
        self.0.fetch_add(extra, Ordering::Relaxed);
        ExtraGuard(self.clone(), extra)
    }

    /// Returns how many of `free` slots can take a task that starts at once.
    fn room_in(&self, free: usize) -> usize {
        free.saturating_sub(self.0.load(Ordering::Relaxed))
    }
}

impl Drop for ExtraGuard {
    fn drop(&mut self) {
        let Self(ExtraSequences(total), extra) = self;
        total.fetch_sub(*extra, Ordering::Relaxed);
    }
}

/// The running tasks of lane `batch`. One slot is kept free of them, so that a task of another lane need not wait for
/// the end of one.
#[derive(Debug, Clone, Default)]
struct BatchTasks(Arc<AtomicUsize>);

/// One of them, until this is dropped; nothing for a task of another lane.
struct BatchGuard(Option<BatchTasks>);

impl BatchTasks {
    /// The number of slots from which one is kept free. With fewer it would cost too much.
    const LEAST_SLOTS: usize = 4;

    /// Adds a task of a lane.
    fn add(&self, lane: Lane) -> BatchGuard {
        if lane != Lane::Batch {
            return BatchGuard(None);
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        BatchGuard(Some(self.clone()))
    }

    /// Returns how many more may run on this many slots.
    fn room_in(&self, slots: usize) -> usize {
        let kept = usize::from(slots >= Self::LEAST_SLOTS);
        slots.saturating_sub(kept + self.0.load(Ordering::Relaxed))
    }
}

impl Drop for BatchGuard {
    fn drop(&mut self) {
        if let Some(BatchTasks(total)) = &self.0 {
            total.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Resets the backoff, and logs it if the queue was unavailable.
fn recovered(backoff: &mut Duration) {
    if *backoff != BACKOFF.0 {
        tracing::info!(target: "worker.pull", "the queue answers again");
        *backoff = BACKOFF.0;
    }
}

/// Checks after an attempt has ended whether the engine can run more tasks.
///
/// # Errors
/// If the engine has stopped, has lost its device, or hangs.
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
            let problem = engine.lost_device().unwrap_or("the reason is unknown");
            Err(WorkerError::DeviceLost(problem.to_owned()))
        }
        // Claims nothing while it waits, since a new task could not start either.
        Ok(End::EngineSilent(before)) => tokio::select! {
            lives = pulse::beats(engine, before) => {
                if lives { Ok(()) } else { Err(WorkerError::EngineHangs(HANG_GRACE)) }
            }
            () = shutdown.cancelled() => Ok(()),
        },
        Err(error) => {
            // The lease of its task expires, and another worker takes the task.
            tracing::error!(target: "worker.pull", "an attempt at a task has panicked: {error}");
            Ok(())
        }
    }
}

/// Waits for the running tasks. On an operator's order, or to make room, it waits as long as the tasks' own time
/// limits allow; after a signal, for the drain time; if they are to be given back, not at all.
async fn drain(worker: &Worker, attempts: &mut JoinSet<End>, until: &Until) {
    let running = attempts.len();
    if running > 0 {
        tracing::info!(target: "worker.pull", "draining: waiting for {running} running tasks");
    }
    let out_of_time = async {
        until.shutdown.cancelled().await;
        tracing::info!(
            target: "worker.pull",
            "running tasks have {} s to finish, then they go back to the queue", worker.options.drain.as_secs()
        );
        tokio::time::sleep(worker.options.drain).await;
    };
    tokio::select! {
        () = async { while attempts.join_next().await.is_some() {} } => {}
        () = out_of_time => {}
        () = until.abandon.cancelled() => {}
    }
}

/// Waits until the attempts have given their tasks back, for at most [`GIVE_BACK`].
async fn give_back(mut attempts: JoinSet<End>) {
    let all = async { while attempts.join_next().await.is_some() {} };
    if tokio::time::timeout(GIVE_BACK, all).await.is_err() {
        tracing::warn!(target: "worker.pull", "{} tasks were not given back in time; they return to the queue when their leases expire", attempts.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slot_of_several_is_kept_free_of_batch_tasks() {
        let batch = BatchTasks::default();
        assert_eq!([1, 2, 3, 4, 16].map(|slots| batch.room_in(slots)), [1, 2, 3, 3, 15]);
        let running = [Lane::Batch, Lane::High, Lane::Batch].map(|lane| batch.add(lane));
        assert_eq!([1, 3, 4, 16].map(|slots| batch.room_in(slots)), [0, 1, 1, 13]);
        drop(running);
        assert_eq!(batch.room_in(4), 3);
    }
}
