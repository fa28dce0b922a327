//! Embeddings: a prompt goes in, and what its last token became comes out.

use tokio::sync::oneshot;

use super::CancelHandle;
use crate::api::{EmbedError, Embedding, GenerateError, StopReason};
use crate::sched::CancelFlag;

/// An embedding that is being computed. Dropped, it is cancelled.
#[derive(Debug)]
pub struct PendingEmbedding {
    receiver: oneshot::Receiver<Result<Embedding, EmbedError>>,
    cancel: CancelOnDrop,
    prompt_tokens: usize,
}

/// Cancels when nobody waits any more; when all is over, that means nothing.
#[derive(Debug)]
struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl PendingEmbedding {
    /// Waits for it. Works under any async runtime.
    pub async fn wait(self) -> Result<Embedding, EmbedError> {
        // The sender goes without a word only when the engine does.
        self.receiver.await.unwrap_or(Err(GenerateError::Stopped.into()))
    }

    /// Waits for it, for callers without a runtime. Must not be called from async code.
    pub fn wait_blocking(self) -> Result<Embedding, EmbedError> {
        self.receiver.blocking_recv().unwrap_or(Err(GenerateError::Stopped.into()))
    }

    /// Tokens of the text, as the model reads it.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Asks it to end, from anywhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.cancel.0.clone())
    }
}

/// The way out of one embedding.
#[derive(Debug)]
pub(super) struct EmbeddingSink {
    sender: oneshot::Sender<Result<Embedding, EmbedError>>,
    prompt_tokens: usize,
    cached_tokens: usize,
    dimensions: usize,
}

impl EmbeddingSink {
    /// A sink that keeps so many numbers, and who waits at its end.
    pub(super) fn new(
        prompt_tokens: usize,
        dimensions: usize,
        cancel: CancelFlag,
    ) -> (Self, PendingEmbedding) {
        let (sender, receiver) = oneshot::channel();
        let cancel = CancelOnDrop(cancel);
        let pending = PendingEmbedding { receiver, cancel, prompt_tokens };
        (Self { sender, prompt_tokens, cached_tokens: 0, dimensions }, pending)
    }

    /// So many more of the text's tokens were found computed.
    pub(super) fn add_cached(&mut self, tokens: usize) {
        self.cached_tokens += tokens;
    }

    /// What `row`, `[hidden]`, makes: its first numbers, scaled to length 1. `None` if they have no
    /// length, or none that is a number.
    pub(super) fn normalized(&self, row: &[f32]) -> Option<Vec<f32>> {
        let kept = &row[..self.dimensions.min(row.len())];
        let length = kept.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let usable = length.is_finite() && length > 0.0;
        usable.then(|| kept.iter().map(|x| (f64::from(*x) / length) as f32).collect())
    }

    /// Hands the embedding over.
    pub(super) fn finish(self, vector: Vec<f32>) {
        let Self { sender, prompt_tokens, cached_tokens, .. } = self;
        // A caller who is gone does not mind.
        let _ = sender.send(Ok(Embedding { vector, prompt_tokens, cached_tokens }));
    }

    /// Ends without one.
    pub(super) fn give_up(self, reason: StopReason) {
        let _ = self.sender.send(Err(EmbedError::GivenUp(reason)));
    }

    /// Ends with an error.
    pub(super) fn fail(self, error: GenerateError) {
        let _ = self.sender.send(Err(error.into()));
    }
}
