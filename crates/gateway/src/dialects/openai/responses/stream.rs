//! Streams a response: follows its task from the first event, so that every stream of a response has
//! the same events with the same numbers, and may begin after any of them.

use std::sync::Arc;

use actix_web::{HttpResponse, HttpResponseBuilder};
use protocol::{EventSeq, TaskId};

use super::super::sse::{self, Frames};
use super::reply::Echo;
use super::writer::Writer;
use crate::follow::answer::{AnswerFeed, AnswerStep};
use crate::follow::{Attended, Feed};
use crate::hangup::ClientEnd;
use crate::refusal::{Code, Refusal};
use crate::state::State;

/// A stream that is being written.
struct ResponseStream {
    state: Arc<State>,
    task_id: TaskId,
    feed: AnswerFeed,
    /// `None` if the stream repeats a stored response.
    attended: Option<Attended>,
    background: bool,
    writer: Writer,
    has_begun: bool,
}

/// Streams the events after number `after`, or all.
pub(super) fn respond(
    head: HttpResponseBuilder,
    state: Arc<State>,
    client: ClientEnd,
    attended: Option<Attended>,
    task_id: TaskId,
    echo: Echo,
    after: Option<u64>,
) -> HttpResponse {
    let feed = Feed::new(Arc::clone(&state), task_id, EventSeq::START, client);
    let stream = ResponseStream {
        state,
        task_id,
        feed: AnswerFeed::new(feed),
        attended,
        background: echo.background,
        writer: Writer::new(echo, task_id, after),
        has_begun: false,
    };
    sse::respond(head, stream)
}

impl Frames for ResponseStream {
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.writer.begin();
        }
        loop {
            // What was skipped leaves nothing to send.
            let frames = self.writer.take();
            if !frames.is_empty() {
                return Some(frames);
            }
            match self.feed.next().await? {
                AnswerStep::Deltas(deltas) => self.writer.push_deltas(&deltas),
                AnswerStep::Silence => return Some(sse::KEEP_ALIVE.to_owned()),
                AnswerStep::Ended { rest, answers, snapshot } => {
                    if let Some(attended) = &mut self.attended {
                        attended.release();
                    }
                    self.writer.push_deltas(&rest);
                    if let Some(answer) = answers.first() {
                        self.writer.end(answer, &snapshot);
                    }
                }
                AnswerStep::Failed(refusal) => {
                    self.fail(&refusal).await?;
                }
                AnswerStep::HungUp => return None,
            }
        }
    }
}

impl ResponseStream {
    /// Ends the stream without an answer. Returns `None` if the response goes on without the stream,
    /// and the client may resume it.
    async fn fail(&mut self, refusal: &Refusal) -> Option<()> {
        let goes_on = self.attended.is_none() || self.background;
        if goes_on && refusal.code == Code::Unavailable {
            return None;
        }
        let snapshot = self.state.ask(self.state.broker.snapshot(self.task_id)).await;
        let snapshot = snapshot.ok().flatten().filter(|snapshot| snapshot.outcome.is_some());
        self.writer.fail(refusal, snapshot.as_ref());
        Some(())
    }
}
