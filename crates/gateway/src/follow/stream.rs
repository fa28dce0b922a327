//! [`AnswerStream`]: an answer that is streamed to the client that waits for it.

use protocol::EventSeq;

use super::answer::{AnswerFeed, AnswerStep};
use super::whole::Head;
use super::{Attended, Call, Feed};
use crate::refusal::Refusal;

/// The steps of an answer, whose task is cancelled if the client disconnects.
pub(crate) struct AnswerStream {
    feed: AnswerFeed,
    attended: Attended,
    /// The step that came before the response began.
    first: Option<AnswerStep>,
}

impl AnswerStream {
    /// Starts to follow the answer. Waits for its first piece, so that a task that fails before has
    /// the status of its error, but no longer than the keep-alive interval.
    pub(crate) async fn open(call: Call) -> Result<(Head, Self), Refusal> {
        let Call { state, head, client, attended, .. } = call;
        let feed = Feed::new(state, head.submitted.task_id, EventSeq::START, client);
        let mut feed = AnswerFeed::new(feed);
        let first = match feed.next().await {
            Some(AnswerStep::Failed(refusal)) => return Err(refusal),
            Some(AnswerStep::HungUp) => return Err(Refusal::client_gone()),
            first => first,
        };
        Ok((head, Self { feed, attended, first }))
    }

    /// Returns the next step, or `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<AnswerStep> {
        let step = match self.first.take() {
            Some(step) => step,
            None => self.feed.next().await?,
        };
        if let AnswerStep::Ended { .. } = step {
            self.attended.release();
        }
        Some(step)
    }
}
