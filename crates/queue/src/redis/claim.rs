//! Claims: try, wait for a wake-up, and try again until the time is over. While Redis is unavailable
//! the tries continue, with pauses. Returns an error only if no try got an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::select_all;

use super::backoff::Backoff;
use super::partition::Partition;
use super::requests::{Try, Vacant};
use super::{RedisBroker, waiting};
use crate::handover::GiveBack;
use crate::{BrokerError, Claimant, Claimed, Lease, Release, Room};

/// The result of one round over the partitions.
enum Round {
    Took(Vec<Claimed>),
    /// The places to wait at, and the error of a partition that did not answer.
    Nothing(Vec<(usize, Vacant)>, Option<BrokerError>),
}

impl RedisBroker {
    pub(super) async fn claim_within(
        &self,
        claimant: &Claimant,
        room: Room,
        wait: Duration,
    ) -> Result<Vec<Claimed>, BrokerError> {
        let deadline = Instant::now() + wait;
        let mut backoff = Backoff::new();
        loop {
            let round = self.try_each(claimant, room).await;
            let left = deadline.saturating_duration_since(Instant::now());
            let failure = match round {
                Ok(Round::Took(claimed)) => return Ok(claimed),
                Ok(Round::Nothing(vacant, failure)) => match vacant.first() {
                    None => failure,
                    Some(_) if left.is_zero() => return Ok(Vec::new()),
                    Some((_, first)) if first.queues.is_empty() => {
                        // A claimant without models only waits for the end of its time.
                        tokio::time::sleep(left).await;
                        return Ok(Vec::new());
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
            let Some(failure) = failure else { return Ok(Vec::new()) };
            let pause = backoff.next();
            let passes = matches!(failure, BrokerError::Unavailable { .. });
            if !passes || Instant::now() + pause >= deadline {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Tries the partitions one after the other, so that only one returns tasks. Partitions that failed
    /// recently are tried only if no other answers.
    async fn try_each(&self, claimant: &Claimant, room: Room) -> Result<Round, BrokerError> {
        let mut order: Vec<_> = self.partitions.in_turn().await?.collect();
        order.sort_by_key(|(_, partition)| partition.is_skipped());
        let (mut vacant, mut failure) = (Vec::new(), None);
        for (place, partition) in order {
            if !vacant.is_empty() && partition.is_skipped() {
                continue;
            }
            let began = Instant::now();
            match partition.claim_some(claimant, room).await {
                Ok(Ok(claimed)) => {
                    self.partitions.took(place);
                    return Ok(Round::Took(claimed));
                }
                Ok(Err(hint)) => vacant.push((place, hint)),
                Err(error @ BrokerError::Unavailable { .. }) => {
                    partition.skip_after(began.elapsed());
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Round::Nothing(vacant, failure))
    }

    /// Waits until a task has arrived in one of the partitions. Then the other reads are dropped: a
    /// blocking read takes nothing (`waiting.rs`), so nothing is lost.
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
            self.partitions.start_at(place);
        }
        Ok(())
    }
}

impl Partition {
    /// Claims the available tasks, or returns where to wait. Ends tasks that can't be read.
    async fn claim_some(
        self: &Arc<Self>,
        claimant: &Claimant,
        room: Room,
    ) -> Result<Result<Vec<Claimed>, Vacant>, BrokerError> {
        loop {
            let mut parcel = match self.claim_once(claimant, room).await? {
                Try::Took(parcel) => parcel,
                Try::Nothing(vacant) => return Ok(Err(vacant)),
                Try::Again => continue,
            };
            while let Some((lease, outcome)) = parcel.next_unreadable() {
                self.finish(&lease, &outcome).await?;
            }
            let claimed = parcel.take();
            if !claimed.is_empty() {
                return Ok(Ok(claimed));
            }
        }
    }
}

#[async_trait]
impl GiveBack for Partition {
    async fn give_back(self: Arc<Self>, lease: Lease) -> Result<(), BrokerError> {
        self.release(&lease, &Release::Unused).await
    }
}
