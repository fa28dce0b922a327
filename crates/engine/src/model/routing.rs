//! Assigns the tokens of a step to experts.

use super::Experts;

/// The tokens of a step, sorted by expert. Its memory is reused in the next step.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// The experts of each token and their weights, the largest weight first. `[tokens, used]`
    chosen: Vec<(usize, f32)>,
    /// Where each expert's range begins in `tokens` and `weights`, and the end of the last.
    /// `[experts + 1]`
    starts: Vec<usize>,
    /// The tokens of each expert, ascending within an expert. `[tokens * used]`
    tokens: Vec<u32>,
    /// The weight of the expert for each of `tokens`. `[tokens * used]`
    weights: Vec<f32>,
}

impl Routing {
    /// Chooses the `config.used` experts with the largest `logits`, `[tokens, experts]`, for each token. Of
    /// equal logits the first is chosen.
    pub(crate) fn choose(&mut self, logits: &[f32], config: &Experts) {
        let Experts { count, used, normalized, .. } = *config;
        self.chosen.clear();
        self.starts.clear();
        self.starts.resize(count + 1, 0);
        for logits in logits.chunks_exact(count) {
            let first = self.chosen.len();
            self.chosen.resize(first + used, (0, 0.0));
            let chosen = &mut self.chosen[first..];
            take_largest(logits, chosen);
            logits_to_weights(logits, chosen, normalized);
            for (expert, _) in chosen.iter() {
                self.starts[expert + 1] += 1;
            }
        }
        for expert in 0..count {
            self.starts[expert + 1] += self.starts[expert];
        }
        self.tokens.resize(self.chosen.len(), 0);
        self.weights.resize(self.chosen.len(), 0.0);
        // Each start advances as its expert's tokens are written, and ends where the next expert begins.
        for (index, (expert, weight)) in self.chosen.iter().enumerate() {
            let place = &mut self.starts[*expert];
            self.tokens[*place] = (index / used) as u32;
            self.weights[*place] = *weight;
            *place += 1;
        }
        self.starts.rotate_right(1);
        self.starts[0] = 0;
    }

    /// Returns each expert that has tokens, in ascending order, with its tokens and their weights.
    pub(crate) fn by_expert(&self) -> impl Iterator<Item = (usize, (&[u32], &[f32]))> {
        self.starts.windows(2).enumerate().filter(|(_, range)| range[0] < range[1]).map(
            move |(expert, range)| {
                let range = range[0]..range[1];
                (expert, (&self.tokens[range.clone()], &self.weights[range]))
            },
        )
    }

    /// Returns the bytes of a `Routing` after a step of `tokens` tokens.
    pub(super) fn bytes(tokens: usize, config: &Experts) -> usize {
        let each = size_of::<(usize, f32)>() + size_of::<u32>() + size_of::<f32>();
        let choices = tokens.saturating_mul(config.used);
        choices.saturating_mul(each) + (config.count + 1) * size_of::<usize>()
    }
}

/// Fills `chosen` with the indices and values of the largest logits, the largest first.
fn take_largest(logits: &[f32], chosen: &mut [(usize, f32)]) {
    let mut taken = 0;
    for (expert, logit) in logits.iter().enumerate() {
        if taken == chosen.len() {
            let larger = *logit > chosen[taken - 1].1; // false if it is NaN
            if !larger {
                continue;
            }
        } else {
            taken += 1;
        }
        let mut place = taken - 1;
        while place > 0 && *logit > chosen[place - 1].1 {
            chosen[place] = chosen[place - 1];
            place -= 1;
        }
        chosen[place] = (expert, *logit);
    }
}

/// Replaces the logits of the chosen experts by their weights: the softmax over all experts or, if
/// `normalized`, over the chosen ones.
fn logits_to_weights(logits: &[f32], chosen: &mut [(usize, f32)], normalized: bool) {
    let Some((_, largest)) = chosen.first().copied() else { return };
    let share = |logit: f32| (logit - largest).exp();
    let all: f32 = if normalized {
        chosen.iter().map(|(_, logit)| share(*logit)).sum()
    } else {
        logits.iter().map(|logit| share(*logit)).sum()
    };
    for (_, weight) in chosen {
        *weight = share(*weight) / all;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(normalized: bool) -> Experts {
        Experts { count: 4, used: 2, ffn: 1, shared_ffn: None, normalized }
    }

    fn by_expert(routing: &Routing) -> Vec<(usize, Vec<u32>, Vec<f32>)> {
        let own = |(expert, (tokens, weights)): (usize, (&[u32], &[f32]))| {
            (expert, tokens.to_vec(), weights.to_vec())
        };
        routing.by_expert().map(own).collect()
    }

    #[test]
    fn tokens_are_grouped_by_their_top_k_experts() {
        let logits: Vec<f32> = [[1.0, 3.0, 2.0, 0.0], [0.0, 2.0, -1.0, 5.0], [7.0, 7.0, 7.0, 1.0]]
            .into_iter()
            .flatten()
            .collect();
        let mut routing = Routing::default();
        for normalized in [true, false] {
            // Two steps: the first must not affect the second.
            for logits in [&logits[4..8], &logits[..]] {
                routing.choose(logits, &config(normalized));
            }
            let experts = by_expert(&routing);
            let tokens: Vec<(usize, Vec<u32>)> =
                experts.iter().map(|(expert, tokens, _)| (*expert, tokens.clone())).collect();
            let expected = [(0, vec![2]), (1, vec![0, 1, 2]), (2, vec![0]), (3, vec![1])];
            assert_eq!(tokens, expected);
            // softmax of the first token, by hand
            let e = 1.0f32.exp();
            let all = if normalized { e * e * e + e * e } else { e * e * e + e * e + e + 1.0 };
            assert!((experts[1].2[0] - e * e * e / all).abs() < 1e-6, "{experts:?}");
            assert!((experts[2].2[0] - e * e / all).abs() < 1e-6, "{experts:?}");
            let sum: f32 = experts.iter().flat_map(|(_, _, weights)| weights).sum();
            assert_eq!((sum - 3.0).abs() < 1e-5, normalized, "{experts:?}");
        }
    }

    #[test]
    fn nan_and_infinite_logits_select_the_full_number_of_experts() {
        let mut routing = Routing::default();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for logits in [[bad; 4], [1.0, bad, 2.0, bad]] {
                routing.choose(&logits, &config(true));
                let experts: Vec<usize> =
                    by_expert(&routing).into_iter().map(|(expert, ..)| expert).collect();
                assert_eq!(experts.len(), 2, "{bad}: {experts:?}");
            }
        }
    }
}
