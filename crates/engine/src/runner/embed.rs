//! Embeddings: computes a prompt and returns the hidden state of its last token.

use tokio::sync::oneshot;

use super::CancelHandle;
use crate::api::{EmbedError, Embedding, GenerateError, StopReason};
use crate::sched::CancelFlag;

/// An embedding that is being computed. Dropping it cancels it.
#[derive(Debug)]
pub struct PendingEmbedding {
    receiver: oneshot::Receiver<Result<Embedding, EmbedError>>,
    cancel: CancelOnDrop,
    prompt_tokens: usize,
}

/// Cancels when dropped; has no effect after the end.
#[derive(Debug)]
struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl PendingEmbedding {
    /// Waits for the result. Works under any async runtime.
    pub async fn wait(self) -> Result<Embedding, EmbedError> {
        // The sender is dropped without a result only if the engine stops.
        self.receiver.await.unwrap_or(Err(GenerateError::Stopped.into()))
    }

    /// Waits for the result, for callers without a runtime. Must not be called from async code.
    pub fn wait_blocking(self) -> Result<Embedding, EmbedError> {
        self.receiver.blocking_recv().unwrap_or(Err(GenerateError::Stopped.into()))
    }

    /// Returns the number of the text's tokens.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Returns a handle that cancels it from any thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.cancel.0.clone())
    }
}

/// The output of one embedding.
#[derive(Debug)]
pub(super) struct EmbeddingSink {
    sender: oneshot::Sender<Result<Embedding, EmbedError>>,
    prompt_tokens: usize,
    cached_tokens: usize,
    dimensions: usize,
}

impl EmbeddingSink {
    /// Creates a sink that keeps the first `dimensions` numbers, and the receiver of its result.
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

    /// Adds to the number of tokens that were found in cached pages.
    pub(super) fn add_cached(&mut self, tokens: usize) {
        self.cached_tokens += tokens;
    }

    /// Returns the first numbers of `row`, `[hidden]`, normalized to length 1. `None` if their length is
    /// zero or not finite.
    pub(super) fn normalized(&self, row: &[f32]) -> Option<Vec<f32>> {
        let kept = &row[..self.dimensions.min(row.len())];
        let length = kept.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let usable = length.is_finite() && length > 0.0;
        usable.then(|| kept.iter().map(|x| (f64::from(*x) / length) as f32).collect())
    }

    /// Sends the embedding.
    pub(super) fn finish(self, vector: Vec<f32>) {
        let Self { sender, prompt_tokens, cached_tokens, .. } = self;
        // An error means that the caller is gone, which is fine.
        let _ = sender.send(Ok(Embedding { vector, prompt_tokens, cached_tokens }));
    }

    /// Ends without an embedding.
    pub(super) fn give_up(self, reason: StopReason) {
        let _ = self.sender.send(Err(EmbedError::GivenUp(reason)));
    }

    /// Ends with an error.
    pub(super) fn fail(self, error: GenerateError) {
        let _ = self.sender.send(Err(error.into()));
    }
}
