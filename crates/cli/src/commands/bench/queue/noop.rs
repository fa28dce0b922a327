//! Workers whose engine computes nothing. Like a real worker, each claims as many tasks as it has
//! free slots and finishes tasks concurrently.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use protocol::{Completion, ModelId, Outcome, TaskId, Usage, WorkerId};
use queue::{Broker, BrokerError, Claimant};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::rig::MODEL;

/// Tasks that one worker runs concurrently.
pub(super) const SLOTS: usize = 8;

/// Workers that run until [`Workers::stop`].
pub(super) struct Workers {
    stop: Arc<AtomicBool>,
    finished: Arc<AtomicU64>,
    loops: Vec<JoinHandle<Result<Vec<Pickup>, BrokerError>>>,
}

/// A task that a worker took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pickup {
    /// The task.
    pub(super) task_id: TaskId,
    /// The time when the claim returned it.
    pub(super) at: Instant,
}

impl Workers {
    /// Starts `count` workers.
    pub(super) fn start(runtime: &Runtime, broker: &Arc<dyn Broker>, count: usize) -> Self {
        let (stop, finished) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let start =
            |_| runtime.spawn(work(Arc::clone(broker), Arc::clone(&stop), Arc::clone(&finished)));
        let loops = (0..count).map(start).collect();
        Self { stop, finished, loops }
    }

    /// Returns the number of outcomes recorded so far.
    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Waits until `count` outcomes are recorded, or none was for five seconds. Returns the number
    /// recorded.
    pub(super) fn wait_for(&self, count: u64) -> u64 {
        let (mut last, mut since) = (self.finished(), Instant::now());
        while last < count && since.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
            let now = self.finished();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        last
    }

    /// Stops the workers and returns the tasks they took, in no particular order.
    pub(super) fn stop(self, runtime: &Runtime) -> Result<Vec<Pickup>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut taken = Vec::new();
        for work in self.loops {
            taken.extend(runtime.block_on(work)??);
        }
        Ok(taken)
    }
}

/// The outcome that a no-op engine returns.
pub(super) fn answer() -> Outcome {
    Outcome::Completed(Completion::of_text(
        "ok",
        Usage { prompt_tokens: 50, completion_tokens: 1, ..Usage::default() },
    ))
}

/// Creates the identity of a new worker.
pub(super) fn claimant() -> Claimant {
    Claimant {
        worker: WorkerId::new(),
        models: vec![ModelId::new(MODEL)],
        lease: Duration::from_secs(30),
    }
}

async fn work(
    broker: Arc<dyn Broker>,
    stop: Arc<AtomicBool>,
    finished: Arc<AtomicU64>,
) -> Result<Vec<Pickup>, BrokerError> {
    let claimant = claimant();
    let slots = Arc::new(Semaphore::new(SLOTS));
    let mut endings = JoinSet::new();
    let mut taken = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(first) = Arc::clone(&slots).acquire_owned().await else { break };
        while let Some(ended) = endings.try_join_next() {
            ended.unwrap_or(Ok(()))?;
        }
        let mut free = vec![first];
        free.extend(std::iter::from_fn(|| Arc::clone(&slots).try_acquire_owned().ok()));
        let wait = Duration::from_millis(200);
        for claimed in broker.claim_batch(&claimant, free.len(), wait).await? {
            taken.push(Pickup { task_id: claimed.task.id, at: Instant::now() });
            let (broker, finished, slot) = (Arc::clone(&broker), Arc::clone(&finished), free.pop());
            endings.spawn(async move {
                drop(slot); // the task is computed: the next claim may be sent with the outcome
                let recorded = broker.finish(&claimed.lease, &answer()).await.map(drop);
                if recorded.is_ok() {
                    finished.fetch_add(1, Ordering::Relaxed);
                }
                recorded
            });
        }
    }
    while let Some(ended) = endings.join_next().await {
        ended.unwrap_or(Ok(()))?;
    }
    Ok(taken)
}
