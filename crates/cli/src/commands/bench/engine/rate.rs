//! Rates over several rounds.

use serde::Serialize;

/// A rate, over several rounds.
#[derive(Debug, Serialize)]
pub(super) struct Rate {
    /// The prompt's length in tokens, or the number of answers.
    pub(super) of: usize,
    /// The median of the rounds.
    pub(super) tokens_per_second: f64,
    /// The rounds' rates, lowest first.
    rounds: Vec<f64>,
}

impl Rate {
    /// Returns the median of `rounds`, of which there must be at least one.
    pub(super) fn of(of: usize, mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let tokens_per_second = rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN);
        Self { of, tokens_per_second, rounds }
    }
}

/// Returns the median: for an even number, the mean of the middle two; NaN for no values.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |place| values.get(place).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2) + at(values.len().saturating_sub(1) / 2)) / 2.0
}
