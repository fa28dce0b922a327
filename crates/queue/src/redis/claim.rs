//! Claiming: try, wait for a wake-up, try again, until the time is over. While Redis is away the
//! tries go on, with pauses; only when the time is over without an answer is that an error.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::select_all;
use protocol::Lane;

use super::backoff::Backoff;
use super::partition::Partition;
use super::reply::Reply;
use super::{RedisBroker, waiting};
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

/// What a round over the partitions came to.
enum Round {
    Took(Box<Claimed>),
    /// Where to wait, and why a partition did not answer.
    Nothing(Vec<(usize, Vacant)>, Option<BrokerError>),
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
            let round = self.try_each(claimant).await;
            let left = deadline.saturating_duration_since(Instant::now());
            let failure = match round {
                Ok(Round::Took(claimed)) => return Ok(Some(*claimed)),
                Ok(Round::Nothing(vacant, failure)) => match vacant.first() {
                    None => failure,
                    Some(_) if left.is_zero() => return Ok(None),
                    Some((_, first)) if first.queues.is_empty() => {
                        // A claimant of no model has nothing to wait for but the end of its time.
                        tokio::time::sleep(left).await;
                        return Ok(None);
                    }
                    Some(_) => match self.first_entry(&vacant, left).await {
                        Ok(()) => {
                            backoff = Backoff::new();
                            continue;
                        }
                        Err(error) => Some(error),
                    },
                },
                Err(failure) => Some(failure),
            };
            let Some(failure) = failure else { return Ok(None) };
            let pause = backoff.next();
            let passes = matches!(failure, BrokerError::Unavailable { .. });
            if !passes || Instant::now() + pause >= deadline {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Tries the partitions one after the other, so that no two give a task; those that failed
    /// lately only when no other answers.
    async fn try_each(&self, claimant: &Claimant) -> Result<Round, BrokerError> {
        let mut order: Vec<_> = self.partitions.in_turn().await?.collect();
        order.sort_by_key(|(_, partition)| partition.rests());
        let (mut vacant, mut failure) = (Vec::new(), None);
        for (place, partition) in order {
            if !vacant.is_empty() && partition.rests() {
                continue;
            }
            let began = Instant::now();
            match try_claim(partition, claimant).await {
                Ok(Try::Took(claimed)) => {
                    self.partitions.took(place);
                    return Ok(Round::Took(claimed));
                }
                Ok(Try::Nothing(hint)) => vacant.push((place, hint)),
                Err(error @ BrokerError::Unavailable { .. }) => {
                    partition.rest_after(began.elapsed());
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Round::Nothing(vacant, failure))
    }

    /// Waits until a task has come to one of the partitions. Those that wait for nothing then hang
    /// up: a blocking read takes nothing (`waiting.rs`), so nothing is lost with them.
    async fn first_entry(
        &self,
        vacant: &[(usize, Vacant)],
        left: Duration,
    ) -> Result<(), BrokerError> {
        let all = self.partitions.all().await?;
        let waits = vacant.iter().map(|(place, vacant)| {
            let Vacant { queues, last_ids, next_due } = vacant;
            let left = next_due.map_or(left, |due| left.min(due));
            let link = &all[*place].link;
            Box::pin(async move {
                let came = waiting::for_entry(link, queues, last_ids, left).await;
                (*place, came.map_err(|error| link.error(&error)))
            })
        });
        let ((place, came), ..) = select_all(waits).await;
        if came? {
            self.partitions.turn_to(place);
        }
        Ok(())
    }
}

#[async_trait]
impl ClaimOnce for Partition {
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
