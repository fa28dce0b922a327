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
mod tests {
    use super::*;

    fn sampling(temperature: f32, top_k: Option<usize>, top_p: f32, seed: u64) -> Sampling {
        Sampling { temperature, top_p, top_k, seed: Some(seed), ..Sampling::default() }
    }

    /// How often each token is drawn, of `draws`.
    fn shares(sampling: &Sampling, logits: &[f32], draws: usize) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling, &[]);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(&mut logits.to_vec(), None).unwrap() as usize] +=
                1.0 / draws as f64;
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
        let mut sampler = Sampler::new(&sampling(0.0, None, 1.0, 1), &[]);
        assert_eq!(sampler.sample(&mut [1.0, 3.0, 2.0, 3.0], None), Some(1));
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
            let mut sampler = Sampler::new(&sampling(0.9, Some(100), 0.95, seed), &[]);
            (0..50).map(|_| sampler.sample(&mut logits.clone(), None).unwrap()).collect::<Vec<_>>()
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
            let mut sampler = Sampler::new(&sampling(temperature, None, 0.9, 1), &[]);
            assert_eq!(sampler.sample(&mut logits.clone(), None), Some(3));
            assert_eq!(sampler.sample(&mut [f32::NAN, f32::NEG_INFINITY], None), None);
            assert_eq!(sampler.sample(&mut [], None), None);
        }
    }
}
