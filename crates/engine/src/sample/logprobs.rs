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
