//! Changes the logits of some tokens: of those that the caller names, and of those that were there
//! before.

use crate::api::Sampling;

/// Bias and penalties of one sequence, and the tokens that they are for. A step costs as much as there
/// are distinct tokens of these, whatever the size of the vocabulary.
#[derive(Debug, Clone)]
pub(super) struct Penalties {
    repetition: f32,
    presence: f32,
    frequency: f32,
    bias: Vec<(u32, f32)>,
    /// The tokens that penalties are for, in ascending order. Empty while there are no penalties.
    seen: Vec<Seen>,
    /// What was changed, and what stood there before. Kept between tokens, so that none allocates.
    changed: Vec<(usize, f32)>,
}

/// A token of the prompt or of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    token: u32,
    /// How often the answer has it.
    in_answer: u32,
}

impl Penalties {
    pub(super) fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        let mut this = Self {
            repetition: sampling.repetition_penalty,
            presence: sampling.presence_penalty,
            frequency: sampling.frequency_penalty,
            bias: sampling.logit_bias.iter().map(|(token, bias)| (*token, *bias)).collect(),
            seen: Vec::new(),
            changed: Vec::new(),
        };
        // The other penalties are for the answer alone.
        if this.repetition != 1.0 {
            let mut tokens = prompt.to_vec();
            tokens.sort_unstable();
            tokens.dedup();
            this.seen = tokens.into_iter().map(|token| Seen { token, in_answer: 0 }).collect();
        }
        this
    }

    fn penalizes(&self) -> bool {
        self.repetition != 1.0 || self.presence != 0.0 || self.frequency != 0.0
    }

    /// Whether it changes no logits, now and later.
    pub(super) fn is_none(&self) -> bool {
        self.bias.is_empty() && !self.penalizes()
    }

    /// The answer has one more token.
    pub(super) fn note(&mut self, token: u32) {
        if !self.penalizes() {
            return;
        }
        match self.seen.binary_search_by_key(&token, |seen| seen.token) {
            Ok(place) => self.seen[place].in_answer += 1,
            Err(place) => self.seen.insert(place, Seen { token, in_answer: 1 }),
        }
    }

    /// Changes the logits. `logits` is `[vocab]`; tokens beyond it are passed over.
    pub(super) fn apply(&mut self, logits: &mut [f32]) {
        let Self { repetition, presence, frequency, ref bias, ref seen, ref mut changed } = *self;
        changed.clear();
        let mut change = |token: u32, new: &dyn Fn(f32) -> f32| {
            if let Some(logit) = logits.get_mut(token as usize) {
                changed.push((token as usize, *logit));
                *logit = new(*logit);
            }
        };
        for &(token, bias) in bias {
            change(token, &|logit| logit + bias);
        }
        for &Seen { token, in_answer } in seen {
            change(token, &|logit| {
                let logit = if logit > 0.0 { logit / repetition } else { logit * repetition };
                let once = if in_answer > 0 { presence } else { 0.0 };
                logit - frequency * in_answer as f32 - once
            });
        }
    }

    /// Puts back what [`Self::apply`] changed.
    pub(super) fn undo(&mut self, logits: &mut [f32]) {
        // A token may have been changed twice: what stood there first comes last.
        for (token, before) in self.changed.drain(..).rev() {
            logits[token] = before;
        }
    }
}
