//! Where what is computed for a sequence goes.

use std::time::Instant;

use super::embed::EmbeddingSink;
use super::stream::Stream;
use crate::api::{GenerateError, StopReason};
use crate::batch::Logits;

/// Where what is computed for a sequence goes.
#[derive(Debug)]
pub(super) enum Sink {
    /// Tokens are drawn, text goes to a `Generation`.
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

    /// What it asks of the row of its last token.
    pub(super) fn wants(&self) -> Logits {
        match self {
            Self::Answer(stream) if stream.wants_likeliest_alone() => Logits::Likeliest,
            _ => Logits::Last,
        }
    }

    /// So many more of the prompt's tokens were found computed.
    pub(super) fn add_cached(&mut self, tokens: usize) {
        match self {
            Self::Answer(stream) => stream.add_cached(tokens),
            Self::Embedding(sink) => sink.add_cached(tokens),
        }
    }

    /// Ends with what it has.
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
