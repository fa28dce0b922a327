//! The tokens that may be drawn, and how likely each is.

use std::cmp::Ordering;

use super::allowed::AllowedTokens;
use super::promising::for_promising;

/// What is left of the vocabulary. Kept between tokens, so that none allocates.
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
    /// The likelier first; of equals the one with the lower number.
    fn order(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.token.cmp(&other.token))
    }
}

impl Candidates {
    /// Begins with the allowed tokens that can be drawn (their logits are numbers above minus infinity):
    /// with the `top_k` likeliest of them, at least one, or with all.
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
        // So many more than wanted are gathered before those that are too many go.
        let limit = k.saturating_mul(2).saturating_add(64);
        let mut least = f32::NEG_INFINITY;
        for_promising(logits, allowed, |token, logit| {
            list.push(Candidate { token, logit: logit.min(f32::MAX) });
            if list.len() >= limit {
                // Who comes later must be likelier than the last that stays: of equals the first stay.
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

    /// Keeps the likeliest that together reach the share `p`, the one that crosses it included, and
    /// returns their summed weight. Sorts no more of a large vocabulary than it needs.
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

    /// Keeps those with at least the share `p` of the likeliest one's weight.
    pub(super) fn keep_min_p(&mut self, p: f32) {
        // The likeliest has weight 1.
        let least = self.largest + self.temperature * f64::from(p).ln();
        self.list.retain(|candidate| f64::from(candidate.logit) >= least);
    }

    /// The summed weight of all.
    pub(super) fn total(&self) -> f64 {
        self.list.iter().map(|candidate| self.weight(candidate)).sum()
    }

    /// The one at which the summed weights pass `place`.
    pub(super) fn at(&self, place: f64) -> Option<u32> {
        let mut left = place;
        for candidate in &self.list {
            left -= self.weight(candidate);
            if left < 0.0 {
                return Some(candidate.token);
            }
        }
        // Rounding used up the last bit of the sum.
        self.list.last().map(|candidate| candidate.token)
    }

    /// How likely one is, beside the likeliest's 1.
    fn weight(&self, candidate: &Candidate) -> f64 {
        ((f64::from(candidate.logit) - self.largest) / self.temperature).exp()
    }
}
