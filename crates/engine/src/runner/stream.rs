//! Converts tokens to the caller's progress messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grammar::ConstraintError;
use tokio::sync::mpsc::UnboundedSender;

use super::counts::TokenCounts;
use super::outlet::Outlet;
use crate::api::{Finished, GenerateError, Progress, Request, StopReason};
use crate::constrain::{Constrained, Reasoning};
use crate::sample::Sampler;
use crate::text::{AnswerStart, Detokenizer, Emitted, ReasoningTokens, StopMatcher, Tokenizer};

/// The output of one generation: sampler, detokenizer, stop strings, clock, channel.
#[derive(Debug)]
pub(super) struct Stream {
    sampler: Sampler,
    /// The constraint on the answer.
    constraint: Option<Constrained>,
    /// The reasoning before the answer, while it lasts.
    reasoning: Option<Reasoning>,
    detokenizer: Detokenizer,
    stops: StopMatcher,
    outlet: Outlet,
    counts: Arc<TokenCounts>,
    thought: ReasoningTokens,
    /// When it was first admitted, and when its first and latest tokens were sampled.
    admitted: Option<Instant>,
    first: Option<Instant>,
    latest: Option<Instant>,
}

impl Stream {
    /// Creates the output of `request`, whose tokens are `prompt`, and whose answer begins at `start`.
    pub(super) fn new(
        request: &Request,
        prompt: &[u32],
        start: AnswerStart,
        tokenizer: &Tokenizer,
        progress: UnboundedSender<Progress>,
    ) -> Self {
        Self {
            sampler: Sampler::new(&request.sampling, prompt),
            constraint: None,
            reasoning: None,
            detokenizer: tokenizer.detokenizer(),
            stops: StopMatcher::new(&request.stop),
            outlet: Outlet::new(
                progress,
                tokenizer,
                request.sampling.logprobs.map(|top| top as usize),
            ),
            counts: Arc::new(TokenCounts::new(prompt.len())),
            thought: ReasoningTokens::new(start),
            admitted: None,
            first: None,
            latest: None,
        }
    }

    /// Adds a constraint, which applies after the reasoning if there is any.
    pub(super) fn constrained(
        self,
        constraint: Option<Constrained>,
        reasoning: Option<Reasoning>,
    ) -> Self {
        Self { constraint, reasoning, ..self }
    }

    /// Returns the counts of its tokens, which grow with it.
    pub(super) fn counts(&self) -> Arc<TokenCounts> {
        self.counts.clone()
    }

    pub(super) fn admit(&mut self, now: Instant) {
        self.admitted.get_or_insert(now);
    }

    /// Adds to the number of prompt tokens that were found in cached pages.
    pub(super) fn add_cached(&mut self, tokens: usize) {
        self.counts.add_cached(tokens);
    }

    /// Adds to the number of tokens that were drafted and computed.
    pub(super) fn add_drafted(&mut self, tokens: usize) {
        self.counts.add_drafted(tokens);
    }

    /// Counts a drafted token that was accepted.
    pub(super) fn add_accepted(&mut self) {
        self.counts.add_accepted();
    }

    /// Records the time of a sampled token.
    pub(super) fn tick(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.latest = Some(now);
    }

    /// Returns whether only the argmax of the next logits is needed: that token is taken, and [`Self::push`]
    /// does not read logits.
    pub(super) fn needs_only_argmax(&self) -> bool {
        let free = self.constraint.is_none() && self.reasoning.is_none();
        free && self.sampler.samples_argmax() && !self.outlet.needs_logits()
    }

    /// Samples the next token; returns `None` if no token is possible. `logits` is `[vocab]`, and unchanged
    /// afterwards.
    ///
    /// # Errors
    /// Returns an error if the constraint can't be followed any further.
    pub(super) fn sample(&mut self, logits: &mut [f32]) -> Result<Option<u32>, ConstraintError> {
        let allowed = match (&mut self.reasoning, &mut self.constraint) {
            (Some(reasoning), _) => Some(reasoning.allowed()?),
            (None, Some(constraint)) => Some(constraint.allowed()?),
            (None, None) => None,
        };
        Ok(self.sampler.sample(logits, allowed))
    }

    /// Appends a token of the answer, sampled from these logits (unused if it
    /// [needs only the argmax](Self::needs_only_argmax)). Returns why the answer ends with it, if it does.
    ///
    /// # Errors
    /// Returns the errors of [`Self::sample`].
    pub(super) fn push(
        &mut self,
        token: u32,
        logits: &[f32],
    ) -> Result<Option<StopReason>, ConstraintError> {
        // First, so that the next mask is computed meanwhile. Reasoning is not constrained.
        let constraint = self.constraint.as_mut().filter(|_| self.reasoning.is_none());
        let whole = constraint.map_or(Ok(false), |one| one.accept(token))?;
        let text = self.detokenizer.push(token);
        if let Some(reasoning) = &mut self.reasoning
            && reasoning.accept(token, &text)?
        {
            self.reasoning = None;
        }
        let stopped = self.push_text(token, text, logits);
        Ok(match (stopped, whole) {
            (true, _) => Some(StopReason::StopString),
            (false, true) => Some(StopReason::EndOfTurn),
            (false, false) => None,
        })
    }

    /// Returns true if the token completed a stop string.
    fn push_text(&mut self, token: u32, text: String, logits: &[f32]) -> bool {
        self.counts.add_generated();
        self.counts.set_reasoning(self.thought.push(self.detokenizer.bytes_of(token)));
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

    /// Ends the stream, and emits the text that was held back.
    pub(super) fn finish(self, mut reason: StopReason) {
        let Self { detokenizer, mut stops, mut outlet, .. } = self;
        if reason != StopReason::StopString {
            match stops.push(&detokenizer.finish()) {
                Emitted::Text(text) => outlet.last_text(text + &stops.take_held()),
                Emitted::Stopped(text) => {
                    reason = StopReason::StopString;
                    outlet.text(text);
                }
            }
        }
        let stop = stops.found().map(str::to_owned);
        outlet.end(Progress::Finished(Finished {
            reason,
            stop,
            prompt_tokens: self.counts.prompt(),
            cached_tokens: self.counts.cached(),
            completion_tokens: self.counts.generated(),
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
