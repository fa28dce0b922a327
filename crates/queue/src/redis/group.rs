//! Group commit: what comes while a call is under way waits, and goes to Redis together in the next one.
//! A call costs Redis, the network and both ends about as much as a task's part of it, so under load that
//! halves the costs; and who comes while no call is under way does not wait.
//!
//! A task of the runtime sends a group's calls, one after the other, as long as there are any; where
//! [`Member::CALLS`] says so, a second one does while enough wait, so that Redis has the next call already when
//! it ends the one before. It is nobody's future: a caller that goes away takes no other's answer with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::error;
use super::partition::Partition;
use crate::BrokerError;

/// Most members of one call, so that nobody else waits for Redis much longer than a millisecond.
const MOST: usize = 64;
/// Bytes after which a call takes no more members: scripts copy what they are given.
const MOST_BYTES: usize = 256 << 10;
/// So many that wait are worth a call of their own beside the one that is under way.
const ENOUGH: usize = 8;

/// What can go to Redis with others of its kind.
#[async_trait]
pub(super) trait Member: Sized + Send + 'static {
    /// How many calls of a group may be under way at once.
    const CALLS: usize;

    /// About how many bytes it sends.
    fn bytes(&self) -> usize;

    /// Whether somebody still waits for its answer.
    fn is_wanted(&self) -> bool;

    /// Answers it with an error that others have met.
    fn refuse(self, error: BrokerError);

    /// Sends some in one call, and answers each; fails with what took them all.
    async fn send(
        batch: Vec<Self>,
        partition: &Arc<Partition>,
        limit: Duration,
    ) -> Result<(), BrokerError>;
}

/// Members that wait for the next call.
pub(super) struct Group<T> {
    waiting: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    members: VecDeque<(Instant, T)>,
    /// How many send calls, and will send the next.
    sending: usize,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { waiting: Mutex::new(Waiting { members: VecDeque::new(), sending: 0 }) }
    }
}

impl<T: Member> Group<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out those that have waited for so long at least.
    fn waiting_for(&self, long: Duration) -> Vec<T> {
        let mut waiting = self.waiting();
        let members = &mut waiting.members;
        let patient = members.partition_point(|(since, _)| since.elapsed() >= long);
        members.drain(..patient).map(|(_, member)| member).collect()
    }

    /// The members of the next call, and since when the first of them waits; none ends the sending.
    fn next(&self) -> Option<(Instant, Vec<T>)> {
        let mut waiting = self.waiting();
        let Some(since) = waiting.members.front().map(|(since, _)| *since) else {
            waiting.sending -= 1;
            return None;
        };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < MOST && bytes < MOST_BYTES {
            let Some((_, member)) = waiting.members.pop_front() else { break };
            if member.is_wanted() {
                bytes += member.bytes();
                batch.push(member);
            }
        }
        Some((since, batch))
    }
}

/// Sends a member with the group's next call; its answer comes by the sender that it has.
pub(super) fn join<T: Member>(group: &Arc<Group<T>>, partition: &Arc<Partition>, member: T) {
    let mut waiting = group.waiting();
    waiting.members.push_back((Instant::now(), member));
    let is_worth_a_call = waiting.sending == 0 || waiting.members.len() >= ENOUGH;
    if waiting.sending < T::CALLS && is_worth_a_call {
        waiting.sending += 1;
        let (group, partition) = (Arc::clone(group), Arc::clone(partition));
        tokio::spawn(Sending { group, partition, done: false }.run());
    }
}

/// Gives each its answer, or all the error that took them, which is answered as well.
pub(super) fn answer_all(
    senders: impl ExactSizeIterator<Item = oneshot::Sender<Result<String, BrokerError>>>,
    answers: Result<Vec<String>, BrokerError>,
) -> Result<(), BrokerError> {
    let answers = answers.and_then(|answers| {
        let (given, asked) = (answers.len(), senders.len());
        let wrong = || BrokerError::Corrupt(format!("a script answered {given} of {asked}"));
        (given == asked).then_some(answers).ok_or_else(wrong)
    });
    match answers {
        Ok(answers) => {
            for (sender, answer) in senders.zip(answers) {
                let _ = sender.send(Ok(answer)); // an error means that the caller is gone
            }
            Ok(())
        }
        Err(error) => {
            for sender in senders {
                let _ = sender.send(Err(error::shared(&error)));
            }
            Err(error)
        }
    }
}

/// What a member gets when its call was cut off.
pub(super) fn cut_off(_: oneshot::error::RecvError) -> BrokerError {
    BrokerError::Unavailable { reason: "the program stopped before Redis answered".into() }
}

/// Sends a group's calls.
struct Sending<T: Member> {
    group: Arc<Group<T>>,
    partition: Arc<Partition>,
    /// Nobody waits any more.
    done: bool,
}

impl<T: Member> Sending<T> {
    async fn run(mut self) {
        // Whoever is about to join at this very moment comes along; this takes no time when nobody is.
        tokio::task::yield_now().await;
        while let Some((since, batch)) = self.group.next() {
            if batch.is_empty() {
                continue; // nobody waits for those any more
            }
            // Who waited behind a Redis that is silent is not to wait as long once more.
            let whole = self.partition.link.limit();
            let limit = whole.saturating_sub(since.elapsed()).max(whole / 8);
            let sent = T::send(batch, &self.partition, limit).await;
            if let Err(error @ BrokerError::Unavailable { .. }) = sent {
                // It would be the same for those who waited meanwhile, only later. Who came just now may have
                // heard of it already, and tries again.
                for member in self.group.waiting_for(whole / 8) {
                    member.refuse(error::shared(&error));
                }
            }
        }
        self.done = true;
    }
}

impl<T: Member> Drop for Sending<T> {
    fn drop(&mut self) {
        // Cut off, since a runtime stops: those that wait learn it, and the next one begins anew.
        if !self.done {
            let mut waiting = self.group.waiting();
            waiting.sending -= 1;
            if waiting.sending == 0 {
                waiting.members.clear();
            }
        }
    }
}
