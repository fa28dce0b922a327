//! The caller's side of a running generation.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use chat::Usage;
use tokio::sync::mpsc::UnboundedReceiver;

use super::counts::TokenCounts;
use crate::api::{GenerateError, Progress};
use crate::sched::CancelFlag;
use crate::text::AnswerStart;

/// A running generation. Dropping it cancels it.
#[derive(Debug)]
pub struct Generation {
    // Bounded by `max_tokens`, so the compute thread never waits for a slow reader.
    progress: UnboundedReceiver<Progress>,
    cancel: CancelFlag,
    counts: Arc<TokenCounts>,
    start: AnswerStart,
    ended: bool,
}

impl Generation {
    pub(super) fn new(
        progress: UnboundedReceiver<Progress>,
        cancel: CancelFlag,
        counts: Arc<TokenCounts>,
        start: AnswerStart,
    ) -> Self {
        Self { progress, cancel, counts, start, ended: false }
    }

    /// Returns the next progress, or `None` after the end. Works under any async runtime.
    pub async fn next(&mut self) -> Option<Progress> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Polls for the next progress, to wait for any of several generations.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Progress>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.progress.poll_recv(context).map(|next| self.take(next))
    }

    /// Returns the next progress, for callers without a runtime. Must not be called from async code.
    pub fn next_blocking(&mut self) -> Option<Progress> {
        let next = if self.ended { return None } else { self.progress.blocking_recv() };
        self.take(next)
    }

    fn take(&mut self, next: Option<Progress>) -> Option<Progress> {
        // The sender is dropped without an end only if the engine stops.
        let next = next.unwrap_or(Progress::Failed(GenerateError::Stopped));
        self.ended = !matches!(next, Progress::Text { .. });
        Some(next)
    }

    /// Returns the number of the prompt's tokens.
    pub fn prompt_tokens(&self) -> usize {
        self.counts.prompt()
    }

    /// Returns the tokens so far, also after a failure. Includes tokens whose text was not emitted yet.
    pub fn usage(&self) -> Usage {
        let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        Usage {
            prompt_tokens: count(self.counts.prompt()),
            completion_tokens: count(self.counts.generated()),
            cached_tokens: count(self.counts.cached()),
            reasoning_tokens: count(self.counts.reasoning()),
            drafted_tokens: count(self.counts.drafted()),
            accepted_tokens: count(self.counts.accepted()),
        }
    }

    /// Returns where the answer begins. [`AnswerStart::BeforeReasoning`] is only returned for constrained
    /// answers: others may begin with reasoning or not.
    pub fn answer_start(&self) -> AnswerStart {
        self.start
    }

    /// Requests cancellation; the generation ends before the next step, with the text so far.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Returns a handle that cancels it from any thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.cancel.clone())
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Cancels a generation from any thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CancelHandle(pub(super) CancelFlag);

impl CancelHandle {
    /// Requests cancellation; the generation ends before the next step, with the text so far.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}
