//! How likely a token was, and what else was likely.

/// Logarithms of probabilities at one place of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// The drawn token's.
    pub drawn: f32,
    /// The likeliest tokens and theirs, the likeliest first; of equals the one with the lower number.
    pub top: Vec<(u32, f32)>,
}

/// The log-softmax of `logits` at `token` and at the `top` largest. `logits` is `[vocab]`, as the model
/// computed them; those that are not a number count as impossible. A token that does not exist is
/// impossible too.
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

/// The `count` largest that are numbers, the largest first; of equals the first.
fn largest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    let mut least = f32::NEG_INFINITY;
    for (token, &logit) in (0..).zip(logits) {
        // Few pass here: of random logits some count * ln(vocab / count).
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
    fn they_are_the_log_softmax() {
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
                let told = logprobs(&logits, token as u32, top);
                assert!((f64::from(told.drawn) - exact(token)).abs() < 1e-5);
                let tokens: Vec<usize> =
                    told.top.iter().map(|(token, _)| *token as usize).collect();
                assert_eq!(tokens, ranked[..top.min(vocab)]);
                for (token, logprob) in told.top {
                    assert!((f64::from(logprob) - exact(token as usize)).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_impossible() {
        let logits = [f32::NAN, 0.0, f32::NEG_INFINITY, 0.0];
        let told = logprobs(&logits, 1, 3);
        assert!((told.drawn + 2.0_f32.ln()).abs() < 1e-6);
        let top: Vec<u32> = told.top.iter().map(|(token, _)| *token).collect();
        assert_eq!(top, [1, 3, 2]);
        assert_eq!(told.top[2].1, f32::NEG_INFINITY);
        assert_eq!(logprobs(&logits, 0, 0).drawn, f32::NEG_INFINITY);
        assert_eq!(logprobs(&logits, 9, 0).drawn, f32::NEG_INFINITY);
        assert_eq!(logprobs(&[1.0, f32::INFINITY], 1, 0).drawn, 0.0);
    }
}
