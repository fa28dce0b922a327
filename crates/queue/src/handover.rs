//! Ensures that dropping a claim's future loses no task.
//!
//! A claim that is dropped while its query runs may already have claimed tasks.
//! So each query runs to completion in a task of its own, and its result is wrapped in a
//! [`Parcel`], which releases the leases as unused when it is dropped before the tasks are taken
//! out.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::Outcome;

use crate::stored::Holding;
use crate::{BrokerError, Claimed, Lease};

/// A broker that can release tasks whose claimant is gone.
#[async_trait]
pub(crate) trait GiveBack: Send + Sync + 'static {
    /// Releases a task as unused, without counting its attempt.
    async fn give_back(self: Arc<Self>, lease: Lease) -> Result<(), BrokerError>;
}

/// Claimed tasks on their way to the claimant.
pub(crate) struct Parcel {
    claimed: Vec<Claimed>,
    unreadable: Vec<(Lease, Outcome)>,
    broker: Arc<dyn GiveBack>,
}

impl Parcel {
    /// Creates an empty parcel.
    pub(crate) fn empty(broker: Arc<dyn GiveBack>) -> Self {
        Self { claimed: Vec::new(), unreadable: Vec::new(), broker }
    }

    /// Adds a task.
    pub(crate) fn put(&mut self, holding: Holding) {
        match holding.open() {
            Ok(claimed) => self.claimed.push(claimed),
            Err(unreadable) => self.unreadable.push(*unreadable),
        }
    }

    /// Returns the number of tasks in it.
    pub(crate) fn count(&self) -> u64 {
        (self.claimed.len() + self.unreadable.len()) as u64
    }

    /// Removes and returns a task that can't be read, with the outcome to record for it. If that is
    /// not recorded, the task's lease expires.
    pub(crate) fn next_unreadable(&mut self) -> Option<(Lease, Outcome)> {
        let next = self.unreadable.pop();
        if let Some((lease, outcome)) = &next {
            tracing::warn!(task_id = %lease.task_id, ?outcome, "cannot read the record of a claimed task, so the task fails");
        }
        next
    }

    /// Returns the tasks. Dropping the parcel releases none of them any more.
    pub(crate) fn take(mut self) -> Vec<Claimed> {
        std::mem::take(&mut self.claimed)
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if self.claimed.is_empty() {
            return;
        }
        // Without a runtime the process is ending; the leases expire.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        for claimed in self.claimed.drain(..) {
            let broker = Arc::clone(&self.broker);
            runtime.spawn(async move {
                let task_id = claimed.lease.task_id;
                match broker.give_back(claimed.lease).await {
                    Ok(()) => tracing::debug!(
                        %task_id, "released a task whose claim was dropped"
                    ),
                    Err(error) => tracing::warn!(
                        %task_id, %error,
                        "cannot release a task whose claim was dropped; its lease will expire"
                    ),
                }
            });
        }
    }
}
