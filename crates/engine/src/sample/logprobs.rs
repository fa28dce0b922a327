//! Log probabilities of the sampled token and of the likeliest ones.

/// Log probabilities at one position of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// The log probability of the sampled token.
    pub drawn: f32,
    /// The likeliest tokens and their log probabilities, in descending order; of equal ones the lower token
    /// id comes first.
    pub top: Vec<(u32, f32)>,
}

/// Computes the log-softmax of `logits` at `token` and at the `top` largest logits. `logits` is `[vocab]`, as
/// the model computed them. A NaN logit, or a token beyond the vocabulary, has the log probability minus
/// infinity.
pub fn logprobs(logits: &[f32], token: u32, top: usize) -> Logprobs {
    let most = f64::from(logits.iter().copied().fold(f32::MIN, f32::max).min(f32::MAX));
    let above = |logit: f32| match logit.is_nan() {
        true => f64::NEG_INFINITY,
        false => f64::from(logit.min(f32::MAX)) - most,
    };
    let log = logits.iter().map(|logit| above(*logit).exp()).sum::<f64>().ln();
    let of = |logit: f32| (above(logit) - log) as f32;
    Logprobs {
        drawn: logits.get(token as usize).map_or(f32::NEG_INFINITY, |logit| of(*logit)),
        top: largest(logits, top).into_iter().map(|(token, logit)| (token, of(logit))).collect(),
    }
}

/// Returns the `count` largest logits that are not NaN with their tokens, in descending order; of equal ones
/// the lower token id comes first.
fn largest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    let mut least = f32::NEG_INFINITY;
    for (token, &logit) in (0..).zip(logits) {
        // Of random logits about count * ln(vocab / count) pass.
        let passes = if best.len() < count { !logit.is_nan() } else { logit > least };
        if passes && count > 0 {
            let place = best.partition_point(|(_, other)| *other >= logit);
            best.insert(place, (token, logit));
            best.truncate(count);
            least = best.last().map_or(least, |(_, logit)| *logit);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn logprobs_are_the_log_softmax() {
        let mut random = StdRng::seed_from_u64(5);
        for vocab in [1, 2, 50, 5_000] {
            // Rounded, so that some are equal.
            let logits: Vec<f32> = (0..vocab)
                .map(|_| (random.random_range(-9.0..9.0) as f32 * 8.0).round() / 8.0)
                .collect();
            let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
            let exact = |token: usize| f64::from(logits[token]) - total.ln();
            let mut ranked: Vec<usize> = (0..vocab).collect();
            ranked.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
            for top in [0, 1, 20] {
                let token = random.random_range(0..vocab);
                let found = logprobs(&logits, token as u32, top);
                assert!((f64::from(found.drawn) - exact(token)).abs() < 1e-5);
                let tokens: Vec<usize> =
                    found.top.iter().map(|(token, _)| *token as usize).collect();
                assert_eq!(tokens, ranked[..top.min(vocab)]);
                for (token, logprob) in found.top {
                    assert!((f64::from(logprob) - exact(token as usize)).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn nan_logits_and_unknown_tokens_have_no_probability() {
        let logits = [f32::NAN, 0.0, f32::NEG_INFINITY, 0.0];
        let found = logprobs(&logits, 1, 3);
        assert!((found.drawn + 2.0_f32.ln()).abs() < 1e-6);
        let top: Vec<u32> = found.top.iter().map(|(token, _)| *token).collect();
        assert_eq!(top, [1, 3, 2]);
        assert_eq!(found.top[2].1, f32::NEG_INFINITY);
        assert_eq!(logprobs(&logits, 0, 0).drawn, f32::NEG_INFINITY);
        assert_eq!(logprobs(&logits, 9, 0).drawn, f32::NEG_INFINITY);
        assert_eq!(logprobs(&[1.0, f32::INFINITY], 1, 0).drawn, 0.0);
    }
}
