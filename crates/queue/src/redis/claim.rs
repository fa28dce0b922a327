//! Claiming: try, wait for a wake-up, try again, until the time is over. While Redis is away the
//! tries go on, with pauses; only when the time is over without an answer is that an error.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use protocol::Lane;

use super::backoff::Backoff;
use super::reply::Reply;
use super::{Inner, RedisBroker};
use crate::handover::{ClaimOnce, Try, try_claim};
use crate::{BrokerError, Claimant, Claimed, Lease, Release, lanes};

/// Where to wait for a task that was not there.
pub(super) struct Vacant {
    queues: Vec<String>,
    /// When the next delayed task is due.
    next_due: Option<Duration>,
    /// The id of each queue's latest entry, gone or not.
    last_ids: Vec<String>,
}

impl RedisBroker {
    pub(super) async fn claim_within(
        &self,
        claimant: &Claimant,
        wait: Duration,
    ) -> Result<Option<Claimed>, BrokerError> {
        let deadline = Instant::now() + wait;
        let mut backoff = Backoff::new();
        loop {
            let tried = try_claim(&self.inner, claimant).await;
            let left = deadline.saturating_duration_since(Instant::now());
            let failure = match tried {
                Ok(Try::Took(claimed)) => return Ok(Some(*claimed)),
                Ok(Try::Nothing(_)) if left.is_zero() => return Ok(None),
                Ok(Try::Nothing(vacant)) if vacant.queues.is_empty() => {
                    // A claimant of no model has nothing to wait for but the end of its time.
                    tokio::time::sleep(left).await;
                    return Ok(None);
                }
                Ok(Try::Nothing(vacant)) => {
                    let Vacant { queues, last_ids, next_due } = &vacant;
                    let left = next_due.map_or(left, |due| left.min(due));
                    match self.inner.waiting.for_entry(queues, last_ids, left).await {
                        Ok(()) => {
                            backoff = Backoff::new();
                            continue;
                        }
                        Err(error) => self.inner.link.error(&error),
                    }
                }
                Err(failure) => failure,
            };
            let pause = backoff.next();
            let passes = matches!(failure, BrokerError::Unavailable { .. });
            if !passes || Instant::now() + pause >= deadline {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

#[async_trait]
impl ClaimOnce for Inner {
    type Hint = Vacant;

    async fn claim_once(&self, claimant: &Claimant) -> Result<Try<Vacant>, BrokerError> {
        loop {
            let order = lanes::order(self.turn.load(Ordering::Relaxed));
            let queue = |lane: Lane| claimant.models.iter().map(move |m| self.keys.queue(lane, m));
            let queues: Vec<String> = order.into_iter().flat_map(queue).collect();

            let mut call = self.scripts.claim.prepare_invoke();
            call.key(self.keys.base()).key(self.keys.leases()).key(&queues);
            call.arg(claimant.worker.to_string()).arg(millis(claimant.lease));
            for model in &claimant.models {
                call.arg(model.as_str());
            }
            let mut reply = Reply::new("claim", self.link.run(&call).await?);
            match reply.text()?.as_str() {
                "none" => {
                    let next_due: i64 = reply.parse()?;
                    let next_due = u64::try_from(next_due).ok().map(Duration::from_millis);
                    return Ok(Try::Nothing(Vacant { queues, next_due, last_ids: reply.rest() }));
                }
                "again" => {}
                "task" => {
                    self.turn.fetch_add(1, Ordering::Relaxed);
                    match reply.holding(claimant.worker)?.open() {
                        Ok(claimed) => return Ok(Try::Took(Box::new(claimed))),
                        Err((lease, outcome)) => {
                            tracing::warn!(task_id = %lease.task_id, ?outcome, "unreadable task");
                            self.finish(&lease, &outcome).await?;
                        }
                    }
                }
                other => return Err(reply.unexpected(other)),
            }
        }
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), BrokerError> {
        self.release(lease, &Release::Unused).await
    }
}

/// A span as scripts take it.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
