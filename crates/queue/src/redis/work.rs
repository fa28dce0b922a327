//! Records outcomes and claims tasks with one script: a worker that finishes a task and takes the next
//! makes one call for both, and one with many slots makes one call for many.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use protocol::{Lane, Outcome, Timestamp};
use tokio::sync::oneshot;

use super::error;
use super::group::{self, Member};
use super::partition::Partition;
use super::reply::Reply;
use super::requests::{Claim, Finish, Try, Vacant, Work};
use super::scripts::millis;
use crate::handover::Parcel;
use crate::limits::MOST_TAKEN;
use crate::stored::{self, Ending};
use crate::{BrokerError, Claimant, Lease, Room, lanes};

#[async_trait]
impl Member for Work {
    type Target = Partition;
    const CALLS: usize = 2;

    fn bytes(&self) -> usize {
        match self {
            Self::Finish(finish) => finish.args.iter().map(String::len).sum(),
            // The size of the reply is unknown; records are usually short.
            Self::Claim(claim) => claim.room.tasks << 10,
        }
    }

    fn is_wanted(&self) -> bool {
        match self {
            Self::Finish(finish) => !finish.answer.is_closed(),
            Self::Claim(claim) => !claim.answer.is_closed(),
        }
    }

    fn refuse(self, error: BrokerError) {
        // An error means that the caller is gone.
        let _ = match self {
            Self::Finish(finish) => finish.answer.send(Err(error)).is_ok(),
            Self::Claim(claim) => claim.answer.send(Err(error)).is_ok(),
        };
    }

    async fn send(
        batch: Vec<Self>,
        partition: &Arc<Partition>,
        limit: Duration,
    ) -> Result<(), BrokerError> {
        let (mut finishes, mut claims) = (Vec::new(), Vec::new());
        for work in batch {
            match work {
                Self::Finish(finish) => finishes.push(finish),
                Self::Claim(claim) => claims.push(claim),
            }
        }
        let written = partition.written.ride();
        let mut call = partition.scripts.finish_and_claim.prepare_invoke();
        call.key(partition.keys.base()).arg(written.len());
        for id in &written {
            call.arg(id.to_string());
        }
        call.arg(finishes.len());
        for finish in &finishes {
            call.arg(&finish.args);
        }
        // Unused turns are returned; reserve all, since another call may be in flight.
        let most = |claim: &Claim| claim.room.tasks.clamp(1, MOST_TAKEN) as u64;
        let wanted: u64 = claims.iter().map(most).sum();
        let mut turn = partition.turn.fetch_add(wanted, Ordering::Relaxed);
        for claim in &claims {
            let (claimant, most) = (&claim.claimant, most(claim));
            call.arg(claimant.worker.to_string()).arg(millis(claimant.lease));
            call.arg(turns(turn, most)).arg(claim.room.batch).arg(claimant.models.len());
            for model in &claimant.models {
                call.arg(model.as_str());
            }
            turn += most;
        }
        let mut answers = match partition.link.run_within(&call, limit).await {
            Ok(answers) => answers,
            Err(error) => {
                partition.written.put_back(written);
                partition.turn.fetch_sub(wanted, Ordering::Relaxed);
                let works = finishes.into_iter().map(Self::Finish);
                for work in works.chain(claims.into_iter().map(Self::Claim)) {
                    work.refuse(error::shared(&error));
                }
                return Err(error);
            }
        };
        let mut rest =
            Reply::new("finish_and_claim", answers.split_off(finishes.len().min(answers.len())));
        let mut taken = 0;
        for claim in claims {
            let tried = claim.read(&mut rest, partition);
            if let Ok(Try::Took(parcel)) = &tried {
                taken += parcel.count();
            }
            // If the receiver is gone, dropping the parcel releases the tasks.
            let _ = claim.answer.send(tried);
        }
        partition.turn.fetch_sub(wanted.saturating_sub(taken), Ordering::Relaxed);
        group::answer_all(finishes.into_iter().map(|finish| finish.answer), Ok(answers))
    }
}

impl Claim {
    /// Parses the script's reply to it.
    fn read(&self, reply: &mut Reply, of: &Arc<Partition>) -> Result<Try, BrokerError> {
        let text = reply.text()?;
        let mut words = Reply::words("finish_and_claim", &text);
        match words.text()?.as_str() {
            "none" => {
                let next_due: i64 = words.parse()?;
                let next_due = u64::try_from(next_due).ok().map(Duration::from_millis);
                let stream = |lane| {
                    let models = self.claimant.models.iter();
                    models.map(move |model| of.keys.queue(lane, model))
                };
                // Without room for batches, their queues may have tasks, and are not waited at.
                let lanes = Lane::ALL.into_iter();
                let lanes = lanes.filter(|lane| *lane != Lane::Batch || self.room.batch > 0);
                let queues: Vec<_> = lanes.flat_map(stream).collect();
                let mut last_ids = words.rest();
                last_ids.truncate(queues.len()); // lane `batch` is the last
                Ok(Try::Nothing(Vacant { queues, next_due, last_ids }))
            }
            "again" => Ok(Try::Again),
            "took" => {
                let mut parcel = Parcel::empty(Arc::<Partition>::clone(of));
                let count: u64 = words.parse()?;
                for _ in 0..count {
                    parcel.put(reply.taken(self.claimant.worker)?);
                }
                Ok(Try::Took(parcel))
            }
            "error" => Err(of.link.error_of_one(&text)),
            other => Err(words.unexpected(other)),
        }
    }
}

/// Returns the lanes that the next claims search first, one digit each.
fn turns(turn: u64, most: u64) -> String {
    let digit = |turn| match lanes::first(turn) {
        Lane::High => '1',
        Lane::Normal => '2',
        Lane::Low => '3',
        Lane::Batch => '4',
    };
    (turn..turn + most).map(digit).collect()
}

impl Partition {
    /// Tries one claim.
    pub(super) async fn claim_once(
        self: &Arc<Self>,
        claimant: &Claimant,
        room: Room,
    ) -> Result<Try, BrokerError> {
        let (answer, answered) = oneshot::channel();
        let claim = Claim { claimant: claimant.clone(), room, answer };
        group::join(&self.works, self, Work::Claim(claim));
        answered.await.unwrap_or_else(|cut| Err(group::cut_off(cut)))
    }

    pub(super) async fn finish(
        self: &Arc<Self>,
        lease: &Lease,
        outcome: &Outcome,
    ) -> Result<Timestamp, BrokerError> {
        let ending = Ending::of(outcome)?;
        let letter = match outcome {
            Outcome::Failed(error) if error.error_type.is_dead_letter() => stored::json(error)?,
            _ => String::new(),
        };
        let used = ending.usage;
        let args = [
            lease.task_id.to_string(),
            lease.fence(),
            ending.state.to_string(),
            ending.outcome,
            letter,
            u8::from(outcome.is_computed()).to_string(),
            used.prompt_tokens.to_string(),
            used.cached_tokens.to_string(),
            used.completion_tokens.to_string(),
        ];
        let (answer, answered) = oneshot::channel();
        group::join(&self.works, self, Work::Finish(Finish { args, answer }));
        let text = answered.await.unwrap_or_else(|cut| Err(group::cut_off(cut)))?;
        let mut reply = Reply::words("finish_and_claim", &text);
        match reply.text()?.as_str() {
            "recorded" => reply.instant(),
            "lost" => Err(lease.lost()),
            "error" => Err(self.link.error_of_one(&text)),
            other => Err(reply.unexpected(other)),
        }
    }
}
