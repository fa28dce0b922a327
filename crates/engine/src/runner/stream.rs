//! From tokens to what the caller hears.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::outlet::Outlet;
use crate::api::{Finished, GenerateError, Progress, Request, StopReason};
use crate::sample::Sampler;
use crate::text::{Detokenizer, Emitted, StopMatcher, Tokenizer};

/// One sequence's way out: sampler, detokenizer, stop strings, clock, channel.
#[derive(Debug)]
pub(super) struct Stream {
    sampler: Sampler,
    detokenizer: Detokenizer,
    stops: StopMatcher,
    outlet: Outlet,
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
    /// When it was first admitted, and when its first and latest tokens came.
    admitted: Option<Instant>,
    first: Option<Instant>,
    latest: Option<Instant>,
}

impl Stream {
    /// The way out of `request`, whose tokens are `prompt`.
    pub(super) fn new(
        request: &Request,
        prompt: &[u32],
        tokenizer: &Tokenizer,
        progress: UnboundedSender<Progress>,
    ) -> Self {
        Self {
            sampler: Sampler::new(&request.sampling, prompt),
            detokenizer: tokenizer.detokenizer(),
            stops: StopMatcher::new(&request.stop),
            outlet: Outlet::new(progress, tokenizer, request.sampling.logprobs),
            prompt_tokens: prompt.len(),
            cached_tokens: 0,
            completion_tokens: 0,
            admitted: None,
            first: None,
            latest: None,
        }
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

    /// Draws the next token; none if there is nothing to choose from. `logits` is `[vocab]`, and
    /// afterwards as it was.
    pub(super) fn sample(&mut self, logits: &mut [f32]) -> Option<u32> {
        self.sampler.sample(logits, None)
    }

    /// Takes a token of the answer, drawn from these logits; true if it completed a stop string.
    pub(super) fn push(&mut self, token: u32, logits: &[f32]) -> bool {
        self.completion_tokens += 1;
        let text = self.detokenizer.push(token);
        self.outlet.note(token, logits, text.len());
        if text.is_empty() {
            return false; // within a character
        }
        let (text, stopped) = match self.stops.push(&text) {
            Emitted::Text(text) => (text, false),
            Emitted::Stopped(text) => (text, true),
        };
        self.outlet.text(text);
        stopped
    }

    /// Ends the stream, with what was held back.
    pub(super) fn finish(self, mut reason: StopReason) {
        let Self { detokenizer, mut stops, mut outlet, .. } = self;
        if reason != StopReason::StopString {
            match stops.push(&detokenizer.finish()) {
                Emitted::Text(text) => outlet.last_text(text + &stops.finish()),
                Emitted::Stopped(text) => {
                    reason = StopReason::StopString;
                    outlet.text(text);
                }
            }
        }
        outlet.end(Progress::Finished(Finished {
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
        self.outlet.end(Progress::Failed(error));
    }
}

fn between(from: Option<Instant>, to: Option<Instant>) -> Duration {
    match (from, to) {
        (Some(from), Some(to)) => to.saturating_duration_since(from),
        _ => Duration::ZERO,
    }
}
