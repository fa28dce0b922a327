//! Keeps the promise that dropping a claim loses no task.
//!
//! A claim that is dropped while its query runs may have taken tasks already, without anybody to
//! learn of it. So each query runs in a task of its own, to its end; and what it took is carried by a
//! [`Parcel`], which gives the leases back, unused, unless somebody takes them out.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::Outcome;

use crate::stored::Holding;
use crate::{BrokerError, Claimed, Lease};

/// Who takes back what nobody waits for.
#[async_trait]
pub(crate) trait GiveBack: Send + Sync + 'static {
    /// Releases a task, unused.
    async fn give_back(self: Arc<Self>, lease: Lease) -> Result<(), BrokerError>;
}

/// Claimed tasks on their way to the claimant.
pub(crate) struct Parcel<B: GiveBack> {
    claimed: Vec<Claimed>,
    unreadable: Vec<(Lease, Outcome)>,
    broker: Arc<B>,
}

impl<B: GiveBack> Parcel<B> {
    /// With nothing in it.
    pub(crate) fn empty(broker: &Arc<B>) -> Self {
        Self { claimed: Vec::new(), unreadable: Vec::new(), broker: Arc::clone(broker) }
    }

    /// Puts a task in.
    pub(crate) fn put(&mut self, holding: Holding) {
        match holding.open() {
            Ok(claimed) => self.claimed.push(claimed),
            Err(unreadable) => self.unreadable.push(*unreadable),
        }
    }

    /// How many are in it.
    pub(crate) fn count(&self) -> u64 {
        (self.claimed.len() + self.unreadable.len()) as u64
    }

    /// A task that can't be read, and the outcome that it must be given. Dropping it loses that only: its
    /// lease runs out.
    pub(crate) fn next_unreadable(&mut self) -> Option<(Lease, Outcome)> {
        let next = self.unreadable.pop();
        if let Some((lease, outcome)) = &next {
            tracing::warn!(task_id = %lease.task_id, ?outcome, "unreadable task");
        }
        next
    }

    /// Takes the tasks out.
    pub(crate) fn take(mut self) -> Vec<Claimed> {
        std::mem::take(&mut self.claimed)
    }
}

impl<B: GiveBack> Drop for Parcel<B> {
    fn drop(&mut self) {
        if self.claimed.is_empty() {
            return;
        }
        // Without a runtime the process is ending: the leases run out by themselves.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        for claimed in self.claimed.drain(..) {
            let broker = Arc::clone(&self.broker);
            runtime.spawn(async move {
                let task_id = claimed.lease.task_id;
                match broker.give_back(claimed.lease).await {
                    Ok(()) => tracing::debug!(
                        %task_id, "nobody waited for the claim any more: gave it back"
                    ),
                    Err(error) => tracing::warn!(
                        %task_id, %error,
                        "could not give back a task that nobody waited for: its lease will run out"
                    ),
                }
            });
        }
    }
}
