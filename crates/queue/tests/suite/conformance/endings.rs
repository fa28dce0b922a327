//! Every way in which a task can end, for tests of what follows.

use std::time::Duration;

use protocol::{ErrorType, Outcome, Task, TaskError};
use queue::{Broker, CancelReply, Release, SubmitOptions};

use crate::support::*;

/// A way to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed,
    /// Its owner cancelled it while it was queued.
    CancelledQueued,
    /// Its owner cancelled it, and its worker stopped and recorded that.
    CancelledRunning,
    /// Its owner cancelled it, and its worker released it without knowing.
    CancelledGivenBack,
    /// Its owner cancelled it, and its worker died before it knew.
    CancelledLost,
    /// It was not started by its deadline.
    Expired,
    /// Its workers died, and a reaper failed it.
    GivenUp,
}

impl End {
    pub(super) const ALL: [Self; 8] = [
        Self::Completed,
        Self::Failed,
        Self::CancelledQueued,
        Self::CancelledRunning,
        Self::CancelledGivenBack,
        Self::CancelledLost,
        Self::Expired,
        Self::GivenUp,
    ];

    /// Whether a worker had started it.
    pub(super) fn has_started(self) -> bool {
        !matches!(self, Self::CancelledQueued | Self::Expired)
    }

    /// Submits a task that can end this way.
    pub(super) async fn submit(self, broker: &dyn Broker, task: Task) -> Task {
        self.submit_with(broker, task, &self.options()).await
    }

    /// The options of a task that can end this way.
    pub(super) fn options(self) -> SubmitOptions {
        match self {
            Self::Expired => SubmitOptions {
                expires_in: Some(Duration::from_millis(50)),
                ..SubmitOptions::PLAIN
            },
            _ => SubmitOptions::PLAIN,
        }
    }

    /// Submits a task that can end this way with further options, and returns it under its final id.
    pub(super) async fn submit_with(
        self,
        broker: &dyn Broker,
        task: Task,
        options: &SubmitOptions,
    ) -> Task {
        let task = match self {
            Self::GivenUp => Task { max_attempts: 1, ..task },
            _ => task,
        };
        let submitted = broker.submit(&task, options).await.unwrap();
        Task { id: submitted.task_id, ..task }
    }

    /// Ends the only task in the queue this way.
    pub(super) async fn come(self, broker: &dyn Broker, task: &Task) {
        match self {
            Self::Completed => finish(broker, &completed("the \"answer\" 🦀")).await,
            Self::Failed => finish(broker, &failed("no \"luck\"")).await,
            Self::CancelledQueued => {
                assert_eq!(broker.cancel(task.id).await.unwrap(), CancelReply::Cancelled);
            }
            Self::CancelledRunning | Self::CancelledGivenBack => {
                let held = claimed(broker, &claimant(LONG)).await;
                assert_eq!(broker.cancel(task.id).await.unwrap(), CancelReply::Requested);
                if self == Self::CancelledRunning {
                    broker.finish(&held.lease, &Outcome::CANCELLED).await.unwrap();
                } else {
                    broker.release(&held.lease, &Release::Unused).await.unwrap();
                }
            }
            Self::CancelledLost => {
                claimed(broker, &claimant(SHORT)).await;
                assert_eq!(broker.cancel(task.id).await.unwrap(), CancelReply::Requested);
                let reaped = reap_until_found(broker, &claimant(SHORT)).await;
                assert_eq!(reaped.cancelled, [task.id]);
            }
            Self::Expired => {
                let reaped = reap_until_found(broker, &claimant(SHORT)).await;
                assert_eq!(reaped.expired, [task.id]);
            }
            Self::GivenUp => {
                claimed(broker, &claimant(SHORT)).await;
                let reaped = reap_until_found(broker, &claimant(SHORT)).await;
                let lost = Outcome::Failed(TaskError::new(ErrorType::WorkerLost, "all died"));
                broker.finish(&reaped.exhausted[0].lease, &lost).await.unwrap();
            }
        }
    }
}

/// Claims the next task and finishes it, twice, as after a lost reply.
async fn finish(broker: &dyn Broker, outcome: &Outcome) {
    let held = claimed(broker, &claimant(LONG)).await;
    let at = broker.finish(&held.lease, outcome).await.unwrap();
    assert_eq!(broker.finish(&held.lease, outcome).await.unwrap(), at);
}
