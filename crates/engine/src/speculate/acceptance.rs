//! How often drafted tokens are accepted.

/// The recent acceptance of drafted tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Acceptance {
    /// The tokens that were compared with sampled ones; older ones count less.
    compared: f64,
    /// Those of them that were accepted.
    accepted: f64,
}

impl Acceptance {
    /// Records a verified draft. The tokens after the first rejected one were not compared.
    /// `memory` is the weight of the past after each compared token, below 1.
    pub(super) fn note(&mut self, drafted: usize, accepted: usize, memory: f64) {
        let compared = drafted.min(accepted + 1);
        let past = memory.powi(compared as i32);
        self.compared = self.compared * past + compared as f64;
        self.accepted = self.accepted * past + accepted as f64;
    }

    /// Returns the probability that a drafted token is accepted if those before it are, starting from a guess that
    /// counts like `weight` compared tokens.
    pub(super) fn probability(&self, guess: f64, weight: f64) -> f64 {
        (self.accepted + guess * weight) / (self.compared + weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_follows_what_is_accepted() {
        let mut acceptance = Acceptance::default();
        assert_eq!(acceptance.probability(0.5, 4.0), 0.5);
        acceptance.note(4, 4, 0.95);
        assert!(acceptance.probability(0.5, 4.0) > 0.7);
        (0..20).for_each(|_| acceptance.note(4, 0, 0.95));
        assert!(acceptance.probability(0.5, 4.0) < 0.2);
        (0..40).for_each(|_| acceptance.note(4, 3, 0.95));
        let three_of_four = acceptance.probability(0.5, 4.0);
        assert!((0.65..0.8).contains(&three_of_four), "{three_of_four}");
    }
}
