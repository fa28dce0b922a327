//! Changes the logits of single tokens: by the request's bias, and by penalties for tokens that the prompt
//! or the answer has already.

use chat::Sampling;

/// The bias and penalties of one sequence, and the tokens that they apply to. The time per step depends on
/// the number of these tokens, not on the size of the vocabulary.
#[derive(Debug, Clone)]
pub(super) struct Penalties {
    repetition: f32,
    presence: f32,
    frequency: f32,
    bias: Vec<(u32, f32)>,
    /// The tokens that penalties apply to, in ascending order. Empty without penalties.
    seen: Vec<Seen>,
    /// The changed tokens and their logits before the change. Reused between steps to avoid allocation.
    changed: Vec<(usize, f32)>,
}

/// A token of the prompt or of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    token: u32,
    /// The number of its occurrences in the answer.
    in_answer: u32,
}

impl Penalties {
    pub(super) fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        let mut this = Self {
            repetition: sampling.repetition_penalty(),
            presence: sampling.presence_penalty(),
            frequency: sampling.frequency_penalty(),
            bias: sampling.logit_bias.iter().map(|(token, bias)| (*token, *bias)).collect(),
            seen: Vec::new(),
            changed: Vec::new(),
        };
        // Presence and frequency penalties count tokens of the answer alone.
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

    /// Whether no logit is ever changed.
    pub(super) fn is_none(&self) -> bool {
        self.bias.is_empty() && !self.penalizes()
    }

    /// Records a token of the answer.
    pub(super) fn note(&mut self, token: u32) {
        if !self.penalizes() {
            return;
        }
        match self.seen.binary_search_by_key(&token, |seen| seen.token) {
            Ok(place) => self.seen[place].in_answer += 1,
            Err(place) => self.seen.insert(place, Seen { token, in_answer: 1 }),
        }
    }

    /// Applies the bias, then the penalties, to `logits`, `[vocab]`. Tokens beyond it are ignored.
    ///
    /// The repetition penalty is that of CTRL (<https://arxiv.org/abs/1909.05858>), the others are OpenAI's.
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

    /// Restores the logits that [`Self::apply`] changed.
    pub(super) fn undo(&mut self, logits: &mut [f32]) {
        // In reverse order: a token with both a bias and penalties was changed twice.
        for (token, before) in self.changed.drain(..).rev() {
            logits[token] = before;
        }
    }
}
