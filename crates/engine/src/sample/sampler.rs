//! Samples the tokens of a sequence.

use chat::Sampling;

use super::allowed::AllowedTokens;
use super::candidates::Candidates;
use super::penalties::Penalties;
use super::promising::for_each_above_threshold;
use super::random::Random;
use crate::kernels::likeliest::likeliest;

/// Samples the tokens of one sequence. The result depends only on the sampling options with the seed, the
/// prompt and the logits.
#[derive(Debug, Clone)]
pub struct Sampler {
    temperature: f32,
    top_p: f32,
    top_k: Option<usize>,
    min_p: f32,
    random: Random,
    penalties: Penalties,
    candidates: Candidates,
}

impl Sampler {
    /// Creates a sampler for a sequence that begins with `prompt`. Without a seed in `sampling`, uses a random
    /// one.
    pub fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        Self {
            temperature: sampling.temperature(),
            top_p: sampling.top_p(),
            top_k: Some(sampling.top_k() as usize).filter(|top_k| *top_k > 0),
            min_p: sampling.min_p(),
            random: Random::new(sampling.seed.unwrap_or_else(rand::random)),
            penalties: Penalties::new(sampling, prompt),
            candidates: Candidates::default(),
        }
    }

    /// Whether the next token is the argmax of the model's logits if all tokens are allowed. Then
    /// [`Self::sample`] need not be called.
    pub fn samples_argmax(&self) -> bool {
        self.is_greedy() && self.penalties.is_none()
    }

    fn is_greedy(&self) -> bool {
        self.temperature <= 0.0 || self.top_k == Some(1)
    }

    /// Samples the next token among those that are `allowed`, or among all if that is `None`. Returns `None`
    /// if no token is allowed, or if all logits are NaN or minus infinity, so the computation failed.
    ///
    /// `logits` is `[vocab]`. Penalties are applied in place, and undone before this returns.
    pub fn sample(
        &mut self,
        logits: &mut [f32],
        allowed: Option<AllowedTokens<'_>>,
    ) -> Option<u32> {
        self.penalties.apply(logits);
        let token = self.choose(logits, allowed);
        self.penalties.undo(logits);
        if let Some(token) = token {
            self.penalties.note(token);
        }
        token
    }

    /// Samples among the allowed tokens.
    fn choose(&mut self, logits: &[f32], allowed: Option<AllowedTokens<'_>>) -> Option<u32> {
        if self.is_greedy() {
            return greedy(logits, allowed);
        }
        let candidates = &mut self.candidates;
        candidates.fill(logits, allowed, self.top_k, self.temperature);
        let mut total = (self.top_p < 1.0).then(|| candidates.keep_top_p(self.top_p));
        if self.min_p > 0.0 {
            candidates.keep_min_p(self.min_p);
            total = None;
        }
        let total = total.unwrap_or_else(|| candidates.total());
        candidates.at(self.random.unit() * total)
    }
}

/// Returns the allowed token with the largest logit, the first of equal ones.
fn greedy(logits: &[f32], allowed: Option<AllowedTokens<'_>>) -> Option<u32> {
    let Some(allowed) = allowed else {
        return likeliest(logits).map(|token| token as u32);
    };
    let mut best: Option<(u32, f32)> = None;
    for_each_above_threshold(logits, Some(allowed), |token, logit| {
        best = Some((token, logit));
        logit
    });
    best.map(|(token, _)| token)
}

#[cfg(test)]
mod tests;
