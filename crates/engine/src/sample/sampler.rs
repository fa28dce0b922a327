//! Draws a token from logits: temperature, then top_k, then top_p.

use std::cmp::Ordering;

use super::random::Random;
use crate::api::Sampling;

/// Draws the tokens of one sequence; what it draws depends on its seed and the logits alone.
#[derive(Debug, Clone)]
pub struct Sampler {
    temperature: f32,
    top_p: f32,
    top_k: Option<usize>,
    random: Random,
    /// Kept between tokens, so that none allocates.
    candidates: Vec<Candidate>,
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

impl Sampler {
    /// Without a seed, one is drawn.
    pub fn new(sampling: &Sampling) -> Self {
        Self {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            random: Random::new(sampling.seed.unwrap_or_else(rand::random)),
            candidates: Vec::new(),
        }
    }

    /// The next token; `None` if the logits hold nothing to choose from (NaN or minus infinity
    /// throughout: the computation failed).
    pub fn sample(&mut self, logits: &[f32]) -> Option<u32> {
        if self.temperature <= 0.0 || self.top_k == Some(1) {
            return greedy(logits);
        }
        self.candidates.clear();
        self.candidates.extend(logits.iter().enumerate().filter_map(|(token, logit)| {
            let usable = *logit > f32::NEG_INFINITY; // false for NaN
            usable.then(|| Candidate { token: token as u32, logit: logit.min(f32::MAX) })
        }));
        if let Some(k) = self.top_k
            && k < self.candidates.len()
        {
            self.candidates.select_nth_unstable_by(k, Candidate::order);
            self.candidates.truncate(k.max(1));
        }
        let most = self.candidates.iter().map(|candidate| candidate.logit).fold(f32::MIN, f32::max);
        let (temperature, largest) = (f64::from(self.temperature), f64::from(most));
        let weight =
            |candidate: &Candidate| ((f64::from(candidate.logit) - largest) / temperature).exp();
        let total: f64 = self.candidates.iter().map(weight).sum();
        let kept = if self.top_p < 1.0 {
            keep_likeliest(&mut self.candidates, f64::from(self.top_p) * total, weight)
        } else {
            total
        };
        let mut left = self.random.unit() * kept;
        for candidate in &self.candidates {
            left -= weight(candidate);
            if left < 0.0 {
                return Some(candidate.token);
            }
        }
        // Rounding used up the last bit of the sum.
        self.candidates.last().map(|candidate| candidate.token)
    }
}

fn greedy(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (token, logit) in logits.iter().enumerate() {
        // NaN is never above anything.
        if *logit > best.map_or(f32::NEG_INFINITY, |(_, logit)| logit) {
            best = Some((token, *logit));
        }
    }
    best.map(|(token, _)| token as u32)
}

/// Keeps the likeliest candidates that together reach `wanted`, the one that crosses it included,
/// and returns their sum. Sorts no more of a large vocabulary than it needs.
fn keep_likeliest(
    candidates: &mut Vec<Candidate>,
    wanted: f64,
    weight: impl Fn(&Candidate) -> f64,
) -> f64 {
    let (mut sum, mut done) = (0.0, 0);
    let mut block = 64;
    while done < candidates.len() {
        let rest = &mut candidates[done..];
        let len = block.min(rest.len());
        if len < rest.len() {
            rest.select_nth_unstable_by(len, Candidate::order);
        }
        rest[..len].sort_unstable_by(Candidate::order);
        for (index, candidate) in rest[..len].iter().enumerate() {
            sum += weight(candidate);
            if sum >= wanted {
                candidates.truncate(done + index + 1);
                return sum;
            }
        }
        done += len;
        block *= 4;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(temperature: f32, top_k: Option<usize>, top_p: f32, seed: u64) -> Sampling {
        Sampling { temperature, top_p, top_k, seed: Some(seed) }
    }

    /// How often each token is drawn, of `draws`.
    fn shares(sampling: &Sampling, logits: &[f32], draws: usize) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits).unwrap() as usize] += 1.0 / draws as f64;
        }
        counts
    }

    fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
        let weights: Vec<f64> =
            logits.iter().map(|l| (f64::from(*l) / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    #[test]
    fn zero_temperature_takes_the_likeliest_the_first_of_equals() {
        let mut sampler = Sampler::new(&sampling(0.0, None, 1.0, 1));
        assert_eq!(sampler.sample(&[1.0, 3.0, 2.0, 3.0]), Some(1));
    }

    #[test]
    fn shares_follow_the_temperature() {
        let logits = [0.0, 1.0, 2.0, 0.5];
        for temperature in [0.5, 1.0, 2.0] {
            let drawn = shares(&sampling(temperature, None, 1.0, 7), &logits, 50_000);
            for (drawn, exact) in drawn.iter().zip(softmax(&logits, f64::from(temperature))) {
                assert!((drawn - exact).abs() < 0.01, "{temperature}: {drawn} is not {exact}");
            }
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits: Vec<f32> = (0..2_000).map(|n| ((n * 7_919) % 2_000) as f32 / 100.0).collect();
        let mut ranked: Vec<usize> = (0..2_000).collect();
        ranked.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        let drawn = |sampling: &Sampling| -> Vec<usize> {
            let shares = shares(sampling, &logits, 20_000);
            (0..2_000).filter(|token| shares[*token] > 0.0).collect()
        };
        let sorted = |tokens: &[usize]| {
            let mut tokens = tokens.to_vec();
            tokens.sort_unstable();
            tokens
        };
        assert_eq!(drawn(&sampling(1.0, Some(5), 1.0, 3)), sorted(&ranked[..5]));
        // of each 100 ranks, the share falls by e: 0.3 of the mass are the first 36 (1 - e^-0.357)
        let exact = softmax(&logits, 1.0);
        let mut sum = 0.0;
        let count = ranked.iter().take_while(|token| {
            let before = sum;
            sum += exact[**token];
            before < 0.3
        });
        let count = count.count();
        assert_eq!(drawn(&sampling(1.0, None, 0.3, 3)), sorted(&ranked[..count]));
        assert_eq!(drawn(&sampling(1.0, None, 1e-9, 3)), [ranked[0]]);
        // top_p counts within what top_k left
        assert_eq!(drawn(&sampling(1.0, Some(2), 0.5, 3)), [ranked[0]]);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let logits: Vec<f32> = (0..500).map(|n| (n as f32 * 0.7).sin()).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(&sampling(0.9, Some(100), 0.95, seed));
            (0..50).map(|_| sampler.sample(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
        // pinned: a seed that a user keeps must not change its meaning
        assert_eq!(draw(5)[..4], PINNED);
    }
    const PINNED: [u32; 4] = [2, 217, 415, 74];

    #[test]
    fn not_a_number_is_never_drawn() {
        let logits = [f32::NAN, 1.0, f32::NEG_INFINITY, f32::INFINITY];
        for temperature in [0.0, 1.0] {
            let mut sampler = Sampler::new(&sampling(temperature, None, 0.9, 1));
            assert_eq!(sampler.sample(&logits), Some(3));
            assert_eq!(sampler.sample(&[f32::NAN, f32::NEG_INFINITY]), None);
            assert_eq!(sampler.sample(&[]), None);
        }
    }
}
