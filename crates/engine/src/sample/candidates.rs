//! The tokens that may be drawn, and how likely each is.

use std::cmp::Ordering;

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
    /// Begins with these tokens and their logits, but for those that can't be drawn (not a number,
    /// minus infinity).
    pub(super) fn fill(&mut self, logits: impl Iterator<Item = (u32, f32)>, temperature: f32) {
        self.list.clear();
        self.list.extend(logits.filter_map(|(token, logit)| {
            let usable = logit > f32::NEG_INFINITY; // false for NaN
            usable.then(|| Candidate { token, logit: logit.min(f32::MAX) })
        }));
        let largest = self.list.iter().map(|candidate| candidate.logit).fold(f32::MIN, f32::max);
        (self.temperature, self.largest) = (f64::from(temperature), f64::from(largest));
    }

    /// Keeps the `k` likeliest, at least one.
    pub(super) fn keep_top_k(&mut self, k: usize) {
        if k < self.list.len() {
            self.list.select_nth_unstable_by(k, Candidate::order);
            self.list.truncate(k.max(1));
        }
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
