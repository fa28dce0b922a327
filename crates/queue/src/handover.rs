//! Keeps the promise that dropping a claim loses no task.
//!
//! A claim that is dropped while its query runs may have taken a task already, without anybody to
//! learn of it. So each try runs in a task of its own, to its end; and what it took is carried by a
//! [`Parcel`], which gives the lease back, unused, unless somebody takes it out.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{BrokerError, Claimant, Claimed, Lease};

/// One try at a claim, without waiting.
#[async_trait]
pub(crate) trait ClaimOnce: Send + Sync + 'static {
    /// What tells when another try is worth it.
    type Hint: Send + 'static;

    async fn claim_once(&self, claimant: &Claimant) -> Result<Try<Self::Hint>, BrokerError>;

    /// Releases a task that nobody waits for, unused.
    async fn give_back(&self, lease: &Lease) -> Result<(), BrokerError>;
}

/// What a try came to.
pub(crate) enum Try<H> {
    Took(Box<Claimed>),
    Nothing(H),
}

/// A claimed task on its way to the claimant.
struct Parcel<B: ClaimOnce> {
    claimed: Option<Box<Claimed>>,
    broker: Arc<B>,
}

impl<B: ClaimOnce> Drop for Parcel<B> {
    fn drop(&mut self) {
        let Some(claimed) = self.claimed.take() else { return };
        // Without a runtime the process is ending: the lease runs out by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let broker = Arc::clone(&self.broker);
        runtime.spawn(async move {
            let task_id = claimed.lease.task_id;
            match broker.give_back(&claimed.lease).await {
                Ok(()) => {
                    tracing::debug!(%task_id, "nobody waited for the claim any more: gave it back")
                }
                Err(error) => tracing::warn!(
                    %task_id, %error,
                    "could not give back a task that nobody waited for: its lease will run out"
                ),
            }
        });
    }
}

/// Tries to claim once; safe to drop.
pub(crate) async fn try_claim<B: ClaimOnce>(
    broker: &Arc<B>,
    claimant: &Claimant,
) -> Result<Try<B::Hint>, BrokerError> {
    let (inner, owned) = (Arc::clone(broker), claimant.clone());
    let tried = tokio::spawn(async move {
        inner.claim_once(&owned).await.map(|tried| match tried {
            Try::Took(claimed) => Ok(Parcel { claimed: Some(claimed), broker: Arc::clone(&inner) }),
            Try::Nothing(hint) => Err(hint),
        })
    });
    // The join handle drops an unread output, and with it the parcel.
    match tried.await {
        Ok(Ok(Ok(mut parcel))) => match parcel.claimed.take() {
            Some(claimed) => Ok(Try::Took(claimed)),
            None => Err(BrokerError::Corrupt("a claim came without its task".into())),
        },
        Ok(Ok(Err(hint))) => Ok(Try::Nothing(hint)),
        Ok(Err(error)) => Err(error),
        Err(stopped) => {
            Err(BrokerError::Unavailable { reason: format!("the claim was stopped: {stopped}") })
        }
    }
}
