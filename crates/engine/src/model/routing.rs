//! Which tokens go through which experts.

use super::Experts;

/// The tokens of a step, sorted by expert. The memory stays for the next step.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// Per token, its experts and their weights, the likeliest first. `[tokens, used]`
    chosen: Vec<(usize, f32)>,
    /// Where each expert's tokens begin in the following two. `[experts + 1]`
    starts: Vec<usize>,
    /// Ascending within an expert. `[tokens * used]`
    tokens: Vec<u32>,
    /// `[tokens * used]`
    weights: Vec<f32>,
}

impl Routing {
    /// Chooses for every token the experts of the largest `logits`, `[tokens, experts]`; of equal ones
    /// the first.
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
            weigh(logits, chosen, normalized);
            for (expert, _) in chosen.iter() {
                self.starts[expert + 1] += 1;
            }
        }
        for expert in 0..count {
            self.starts[expert + 1] += self.starts[expert];
        }
        self.tokens.resize(self.chosen.len(), 0);
        self.weights.resize(self.chosen.len(), 0.0);
        // Each start moves on as its expert's tokens are put down, and ends where the next begins.
        for (index, (expert, weight)) in self.chosen.iter().enumerate() {
            let place = &mut self.starts[*expert];
            self.tokens[*place] = (index / used) as u32;
            self.weights[*place] = *weight;
            *place += 1;
        }
        self.starts.rotate_right(1);
        self.starts[0] = 0;
    }

    /// Every expert that somebody chose, ascending, with its tokens and their weights.
    pub(crate) fn by_expert(&self) -> impl Iterator<Item = (usize, (&[u32], &[f32]))> {
        self.starts.windows(2).enumerate().filter(|(_, range)| range[0] < range[1]).map(
            move |(expert, range)| {
                let range = range[0]..range[1];
                (expert, (&self.tokens[range.clone()], &self.weights[range]))
            },
        )
    }

    /// Bytes of this after a step of so many tokens.
    pub(super) fn bytes(tokens: usize, config: &Experts) -> usize {
        let each = size_of::<(usize, f32)>() + size_of::<u32>() + size_of::<f32>();
        let choices = tokens.saturating_mul(config.used);
        choices.saturating_mul(each) + (config.count + 1) * size_of::<usize>()
    }
}

/// The places and values of the largest logits, the largest first.
fn take_largest(logits: &[f32], chosen: &mut [(usize, f32)]) {
    let mut taken = 0;
    for (expert, logit) in logits.iter().enumerate() {
        if taken == chosen.len() {
            let larger = *logit > chosen[taken - 1].1; // never, if it is no number
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

/// From the logits of the chosen to their weights: softmax over all experts or, where weights sum
/// to 1, over the chosen.
fn weigh(logits: &[f32], chosen: &mut [(usize, f32)], normalized: bool) {
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
    fn tokens_are_sorted_by_the_experts_of_their_largest_logits() {
        let logits: Vec<f32> = [[1.0, 3.0, 2.0, 0.0], [0.0, 2.0, -1.0, 5.0], [7.0, 7.0, 7.0, 1.0]]
            .into_iter()
            .flatten()
            .collect();
        let mut routing = Routing::default();
        for normalized in [true, false] {
            // Twice: what the first step left must not be seen.
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
    fn logits_that_are_no_numbers_choose_as_many_experts_as_others() {
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
