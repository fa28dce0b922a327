//! A running generation, as its caller holds it.

use tokio::sync::mpsc::UnboundedReceiver;

use crate::api::{GenerateError, Progress};
use crate::sched::CancelFlag;
use crate::text::AnswerStart;

/// A running generation. Dropped, it is cancelled.
#[derive(Debug)]
pub struct Generation {
    // Bounded by `max_tokens`, so the compute thread never waits for a slow reader.
    progress: UnboundedReceiver<Progress>,
    cancel: CancelFlag,
    prompt_tokens: usize,
    start: AnswerStart,
    ended: bool,
}

impl Generation {
    pub(super) fn new(
        progress: UnboundedReceiver<Progress>,
        cancel: CancelFlag,
        prompt_tokens: usize,
        start: AnswerStart,
    ) -> Self {
        Self { progress, cancel, prompt_tokens, start, ended: false }
    }

    /// The next step; `None` after the end. Works under any async runtime.
    pub async fn next(&mut self) -> Option<Progress> {
        let next = if self.ended { return None } else { self.progress.recv().await };
        self.take(next)
    }

    /// The next step, for callers without a runtime. Must not be called from async code.
    pub fn next_blocking(&mut self) -> Option<Progress> {
        let next = if self.ended { return None } else { self.progress.blocking_recv() };
        self.take(next)
    }

    fn take(&mut self, next: Option<Progress>) -> Option<Progress> {
        // The sender goes without an end only when the engine does.
        let next = next.unwrap_or(Progress::Failed(GenerateError::Stopped));
        self.ended = !matches!(next, Progress::Text { .. });
        Some(next)
    }

    /// Tokens of the prompt, as the model reads it.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Where the answer begins. [`AnswerStart::BeforeThought`] is told of answers that keep a constraint
    /// only: others may think or not.
    pub fn answer_start(&self) -> AnswerStart {
        self.start
    }

    /// Asks it to end; it does before the next step, with what it has.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// The same, from anywhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.cancel.clone())
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Cancels a generation from anywhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CancelHandle(pub(super) CancelFlag);

impl CancelHandle {
    /// Asks the generation to end; it does before the next step, with what it has.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}
