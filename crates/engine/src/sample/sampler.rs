//! Draws a token from logits.

use super::allowed::AllowedTokens;
use super::candidates::Candidates;
use super::penalties::Penalties;
use super::random::Random;
use crate::api::Sampling;

/// Draws the tokens of one sequence; what it draws depends on its seed, its prompt and the logits alone.
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
    /// Without a seed, one is drawn. `prompt` is what the sequence begins with.
    pub fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        Self {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            min_p: sampling.min_p,
            random: Random::new(sampling.seed.unwrap_or_else(rand::random)),
            penalties: Penalties::new(sampling, prompt),
            candidates: Candidates::default(),
        }
    }

    /// The next token of the answer, out of those that are `allowed` (none: all are); `None` if there is
    /// nothing to choose from (NaN or minus infinity throughout: the computation failed; or nothing
    /// is allowed). `logits` is `[vocab]`: changed while the token is drawn, and afterwards as the
    /// model computed them.
    pub fn sample(
        &mut self,
        logits: &mut [f32],
        allowed: Option<AllowedTokens<'_>>,
    ) -> Option<u32> {
        self.penalties.apply(logits);
        let all = (0..).zip(logits.iter().copied());
        let token = match allowed {
            None => self.choose(all),
            Some(allowed) => self.choose(
                allowed.iter().map_while(|token| Some((token, *logits.get(token as usize)?))),
            ),
        };
        self.penalties.undo(logits);
        if let Some(token) = token {
            self.penalties.note(token);
        }
        token
    }

    /// Draws out of these tokens and their logits.
    fn choose(&mut self, logits: impl Iterator<Item = (u32, f32)>) -> Option<u32> {
        if self.temperature <= 0.0 || self.top_k == Some(1) {
            return greedy(logits);
        }
        let candidates = &mut self.candidates;
        candidates.fill(logits, self.temperature);
        if let Some(k) = self.top_k {
            candidates.keep_top_k(k);
        }
        let mut total = (self.top_p < 1.0).then(|| candidates.keep_top_p(self.top_p));
        if self.min_p > 0.0 {
            candidates.keep_min_p(self.min_p);
            total = None;
        }
        let total = total.unwrap_or_else(|| candidates.total());
        candidates.at(self.random.unit() * total)
    }
}

/// The likeliest; of equals the first.
fn greedy(logits: impl Iterator<Item = (u32, f32)>) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (token, logit) in logits {
        // NaN is never above anything.
        if logit > best.map_or(f32::NEG_INFINITY, |(_, logit)| logit) {
            best = Some((token, logit));
        }
    }
    best.map(|(token, _)| token)
}

#[cfg(test)]
mod tests;
