//! From tokens to what the caller hears.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::constrain::Constrained;
use crate::api::{Finished, GenerateError, Progress, StopReason};
use crate::sample::Sampler;
use crate::text::{Detokenizer, Emitted, StopMatcher};

/// One sequence's way out: sampler, detokenizer, stop strings, clock, channel.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) sampler: Sampler,
    /// What the answer must look like.
    pub(super) constraint: Option<Constrained>,
    detokenizer: Detokenizer,
    stops: StopMatcher,
    progress: UnboundedSender<Progress>,
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
    /// When it was first admitted, and when its first and latest tokens came.
    admitted: Option<Instant>,
    first: Option<Instant>,
    latest: Option<Instant>,
}

impl Stream {
    pub(super) fn new(
        sampler: Sampler,
        detokenizer: Detokenizer,
        stops: StopMatcher,
        progress: UnboundedSender<Progress>,
        prompt_tokens: usize,
    ) -> Self {
        Self {
            sampler,
            constraint: None,
            detokenizer,
            stops,
            progress,
            prompt_tokens,
            cached_tokens: 0,
            completion_tokens: 0,
            admitted: None,
            first: None,
            latest: None,
        }
    }

    /// The answer must keep this.
    pub(super) fn constrained(self, constraint: Option<Constrained>) -> Self {
        Self { constraint, ..self }
    }

    pub(super) fn admit(&mut self, now: Instant) {
        self.admitted.get_or_insert(now);
    }

    /// So many more of the prompt's tokens were found computed.
    pub(super) fn add_cached(&mut self, tokens: usize) {
        self.cached_tokens += tokens;
    }

    /// Takes the time of a sampled token, whatever it is.
    pub(super) fn tick(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.latest = Some(now);
    }

    /// Takes a token of the answer; true if it completed a stop string.
    pub(super) fn push(&mut self, token: u32) -> bool {
        self.completion_tokens += 1;
        let text = self.detokenizer.push(token);
        if text.is_empty() {
            return false; // within a character
        }
        let (text, stopped) = match self.stops.push(&text) {
            Emitted::Text(text) => (text, false),
            Emitted::Stopped(text) => (text, true),
        };
        if !text.is_empty() {
            let _ = self.progress.send(Progress::Text(text));
        }
        stopped
    }

    /// Ends the stream, with what was held back.
    pub(super) fn finish(self, mut reason: StopReason) {
        let Self { detokenizer, mut stops, progress, .. } = self;
        let text = match stops.push(&detokenizer.finish()) {
            Emitted::Text(text) => text + &stops.finish(),
            Emitted::Stopped(text) => {
                reason = StopReason::StopString;
                text
            }
        };
        // A caller who is gone does not mind.
        if !text.is_empty() {
            let _ = progress.send(Progress::Text(text));
        }
        let _ = progress.send(Progress::Finished(Finished {
            reason,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            completion_tokens: self.completion_tokens,
            prefill: between(self.admitted, self.first),
            decode: between(self.first, self.latest),
        }));
    }

    /// Ends the stream with an error.
    pub(super) fn fail(self, error: GenerateError) {
        let _ = self.progress.send(Progress::Failed(error));
    }
}

fn between(from: Option<Instant>, to: Option<Instant>) -> Duration {
    match (from, to) {
        (Some(from), Some(to)) => to.saturating_duration_since(from),
        _ => Duration::ZERO,
    }
}
