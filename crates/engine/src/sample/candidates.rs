//! The tokens to sample from, and their weights.

use std::cmp::Ordering;

use super::allowed::AllowedTokens;
use super::promising::for_each_above_threshold;

/// The tokens to sample from. Reused between steps to avoid allocation.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    temperature: f64,
    /// The largest logit.
    largest: f64,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    token: u32,
    logit: f32,
}

impl Candidate {
    /// Compares for descending order of the logits; of equal ones the lower token id comes first.
    fn order(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.token.cmp(&other.token))
    }
}

impl Candidates {
    /// Replaces the candidates by the allowed tokens whose logits are above minus infinity and not NaN: the
    /// `top_k` likeliest of them (at least one), or all if it is `None`. `logits` is `[vocab]`.
    pub(super) fn fill(
        &mut self,
        logits: &[f32],
        allowed: Option<AllowedTokens<'_>>,
        top_k: Option<usize>,
        temperature: f32,
    ) {
        let list = &mut self.list;
        list.clear();
        let k = top_k.map_or(usize::MAX, |k| k.max(1));
        // The list may grow to this length before it is cut to `k`, so that cuts are rare.
        let limit = k.saturating_mul(2).saturating_add(64);
        let mut least = f32::NEG_INFINITY;
        for_each_above_threshold(logits, allowed, |token, logit| {
            list.push(Candidate { token, logit: logit.min(f32::MAX) });
            if list.len() >= limit {
                // From now on a token must be likelier than the last kept one: of equal ones the first stay.
                let (_, last, _) = list.select_nth_unstable_by(k - 1, Candidate::order);
                least = last.logit;
                list.truncate(k);
            }
            least
        });
        if k < list.len() {
            list.select_nth_unstable_by(k, Candidate::order);
            list.truncate(k);
        }
        let largest = list.iter().map(|candidate| candidate.logit).fold(f32::MIN, f32::max);
        (self.temperature, self.largest) = (f64::from(temperature), f64::from(largest));
    }

    /// Keeps the likeliest candidates whose probabilities sum to at least `p`, including the one that reaches
    /// it, and returns the sum of their weights. Sorts only as much of a large vocabulary as needed.
    pub(super) fn keep_top_p(&mut self, p: f32) -> f64 {
        let wanted = f64::from(p) * self.total();
        let (mut sum, mut done) = (0.0, 0);
        let mut block = 64;
        while done < self.list.len() {
            let rest = &mut self.list[done..];
            let len = block.min(rest.len());
            if len < rest.len() {
                rest.select_nth_unstable_by(len, Candidate::order);
            }
            rest[..len].sort_unstable_by(Candidate::order);
            for index in done..done + len {
                sum += self.weight(&self.list[index]);
                if sum >= wanted {
                    self.list.truncate(index + 1);
                    return sum;
                }
            }
            done += len;
            block *= 4;
        }
        sum
    }

    /// Keeps the candidates with at least `p` times the weight of the likeliest one.
    pub(super) fn keep_min_p(&mut self, p: f32) {
        // The likeliest one has weight 1.
        let least = self.largest + self.temperature * f64::from(p).ln();
        self.list.retain(|candidate| f64::from(candidate.logit) >= least);
    }

    /// Returns the sum of all weights.
    pub(super) fn total(&self) -> f64 {
        self.list.iter().map(|candidate| self.weight(candidate)).sum()
    }

    /// Returns the first candidate at which the running sum of weights exceeds `place`, or `None` if there are
    /// no candidates.
    pub(super) fn at(&self, place: f64) -> Option<u32> {
        let mut left = place;
        for candidate in &self.list {
            left -= self.weight(candidate);
            if left < 0.0 {
                return Some(candidate.token);
            }
        }
        // Reached only if rounding made the sum too small.
        self.list.last().map(|candidate| candidate.token)
    }

    /// Returns a candidate's probability relative to that of the likeliest one.
    fn weight(&self, candidate: &Candidate) -> f64 {
        ((f64::from(candidate.logit) - self.largest) / self.temperature).exp()
    }
}
