//! Group commit: requests that arrive while a call is in flight wait and are sent to Redis together in the
//! next call. A call's overhead for Redis, the network and both ends is about the cost of one task, so under
//! load this halves the costs. A request that arrives while no call is in flight does not wait.
//!
//! A task of the runtime sends a group's calls, one after the other, as long as there are any. If
//! [`Member::CALLS`] allows it, a second task does so while enough members wait, so that Redis has the next
//! call when it finishes the one before. The task belongs to no caller's future: a dropped caller cancels no
//! other caller's reply.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::error;
use crate::BrokerError;

/// The maximum number of members per call, so that no other client waits much longer than a millisecond.
const MOST: usize = 64;
/// The number of bytes after which a call takes no more members: scripts copy their arguments.
const MOST_BYTES: usize = 256 << 10;
/// The number of waiting members that justifies a second call beside the one in flight.
const ENOUGH: usize = 8;

/// A request that can be sent to Redis together with others of its kind.
#[async_trait]
pub(super) trait Member: Sized + Send + 'static {
    /// The destination of its group's calls.
    type Target: Send + Sync;

    /// The maximum number of a group's concurrent calls.
    const CALLS: usize;

    /// Returns about how many bytes it sends.
    fn bytes(&self) -> usize;

    /// Returns whether its caller still waits for the reply.
    fn is_wanted(&self) -> bool;

    /// Replies to it with an error that affects several members.
    fn refuse(self, error: BrokerError);

    /// Sends members in one call and replies to each; returns the error if the whole call failed.
    async fn send(
        batch: Vec<Self>,
        target: &Arc<Self::Target>,
        limit: Duration,
    ) -> Result<(), BrokerError>;
}

/// Members that wait for the next call.
pub(super) struct Group<T> {
    waiting: Mutex<Waiting<T>>,
    /// The timeout of a call.
    limit: Duration,
}

struct Waiting<T> {
    members: VecDeque<(Instant, T)>,
    /// The number of tasks that send calls.
    sending: usize,
}

impl<T> Group<T> {
    /// Creates an empty group whose calls have that timeout.
    pub(super) fn new(limit: Duration) -> Arc<Self> {
        let waiting = Mutex::new(Waiting { members: VecDeque::new(), sending: 0 });
        Arc::new(Self { waiting, limit })
    }
}

impl<T: Member> Group<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes and returns the members that have waited for at least `long`.
    fn waiting_for(&self, long: Duration) -> Vec<T> {
        let mut waiting = self.waiting();
        let members = &mut waiting.members;
        let patient = members.partition_point(|(since, _)| since.elapsed() >= long);
        members.drain(..patient).map(|(_, member)| member).collect()
    }

    /// Returns the members of the next call and when the first of them joined, or `None` to stop sending.
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

/// Sends a member with the group's next call. The reply arrives through the member's sender.
pub(super) fn join<T: Member>(group: &Arc<Group<T>>, target: &Arc<T::Target>, member: T) {
    let mut waiting = group.waiting();
    waiting.members.push_back((Instant::now(), member));
    let is_worth_a_call = waiting.sending == 0 || waiting.members.len() >= ENOUGH;
    if waiting.sending < T::CALLS && is_worth_a_call {
        waiting.sending += 1;
        let (group, target) = (Arc::clone(group), Arc::clone(target));
        tokio::spawn(Sending { group, target, done: false }.run());
    }
}

/// Replies to each member, or sends all of them the error of the call, which is also returned.
pub(super) fn answer_all(
    senders: impl ExactSizeIterator<Item = oneshot::Sender<Result<String, BrokerError>>>,
    answers: Result<Vec<String>, BrokerError>,
) -> Result<(), BrokerError> {
    let answers = answers.and_then(|answers| {
        let (given, asked) = (answers.len(), senders.len());
        let wrong = || {
            BrokerError::Corrupt(format!("a script returned {given} replies to {asked} operations"))
        };
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

/// The error of a member whose call was aborted.
pub(super) fn cut_off(_: oneshot::error::RecvError) -> BrokerError {
    BrokerError::Unavailable { reason: "the program stopped before Redis answered".into() }
}

/// The task that sends a group's calls.
struct Sending<T: Member> {
    group: Arc<Group<T>>,
    target: Arc<T::Target>,
    /// No member waits any more.
    done: bool,
}

impl<T: Member> Sending<T> {
    async fn run(mut self) {
        // Let callers that are about to join do so; this takes no time if there are none.
        tokio::task::yield_now().await;
        while let Some((since, batch)) = self.group.next() {
            if batch.is_empty() {
                continue; // nobody waits for those any more
            }
            // A member that already waited for an unresponsive Redis must not wait as long again.
            let whole = self.group.limit;
            let limit = whole.saturating_sub(since.elapsed()).max(whole / 8);
            let sent = T::send(batch, &self.target, limit).await;
            if let Err(error @ BrokerError::Unavailable { .. }) = sent {
                // Members that waited meanwhile would get the same error, only later. A member that just
                // joined may be a retry after this error, and is sent.
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
        // Aborted, since the runtime stops: waiting members get an error, and the next one starts a new task.
        if !self.done {
            let mut waiting = self.group.waiting();
            waiting.sending -= 1;
            if waiting.sending == 0 {
                waiting.members.clear();
            }
        }
    }
}
