//! The output of a sequence.

use std::time::Instant;

use super::embed::EmbeddingSink;
use super::stream::Stream;
use crate::api::{GenerateError, StopReason};
use crate::batch::Logits;

/// The output of a sequence.
#[derive(Debug)]
pub(super) enum Sink {
    /// Tokens are sampled, text goes to a `Generation`.
    Answer(Box<Stream>),
    /// The last row goes to a `PendingEmbedding`.
    Embedding(EmbeddingSink),
}

impl Sink {
    pub(super) fn admit(&mut self, now: Instant) {
        if let Self::Answer(stream) = self {
            stream.admit(now);
        }
    }

    /// Returns which logits of its last token are needed.
    pub(super) fn wants(&self) -> Logits {
        match self {
            Self::Answer(stream) if stream.needs_only_argmax() => Logits::Argmax,
            _ => Logits::Last,
        }
    }

    /// Adds to the number of prompt tokens that were found in cached pages.
    pub(super) fn add_cached(&mut self, tokens: usize) {
        match self {
            Self::Answer(stream) => stream.add_cached(tokens),
            Self::Embedding(sink) => sink.add_cached(tokens),
        }
    }

    /// Ends with the result so far.
    pub(super) fn finish(self, reason: StopReason) {
        match self {
            Self::Answer(stream) => stream.finish(reason),
            Self::Embedding(sink) => sink.give_up(reason),
        }
    }

    /// Ends with an error.
    pub(super) fn fail(self, error: GenerateError) {
        match self {
            Self::Answer(stream) => stream.fail(error),
            Self::Embedding(sink) => sink.fail(error),
        }
    }
}
