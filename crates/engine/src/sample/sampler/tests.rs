use std::collections::BTreeMap;

use super::*;

fn sampling(temperature: f32, top_k: Option<u32>, top_p: f32, seed: u64) -> Sampling {
    let (temperature, top_p) = (Some(temperature), Some(top_p));
    Sampling { temperature, top_p, top_k, seed: Some(seed), ..Sampling::default() }
}

/// Returns the share of each token in `draws` samples. `[vocab]`
fn shares(sampling: &Sampling, logits: &[f32], draws: usize) -> Vec<f64> {
    let mut sampler = Sampler::new(sampling, &[]);
    let mut counts = vec![0.0; logits.len()];
    for _ in 0..draws {
        counts[sampler.sample(&mut logits.to_vec(), None).unwrap() as usize] += 1.0 / draws as f64;
    }
    counts
}

fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let weights: Vec<f64> = logits.iter().map(|l| (f64::from(*l) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

#[test]
fn zero_temperature_samples_the_first_of_equal_argmax_tokens() {
    let mut sampler = Sampler::new(&sampling(0.0, None, 1.0, 1), &[]);
    assert_eq!(sampler.sample(&mut [1.0, 3.0, 2.0, 3.0], None), Some(1));
}

#[test]
fn sampled_frequencies_match_the_softmax_at_each_temperature() {
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
    // Per 100 ranks the probability falls by a factor of e, so the first 36 have 0.3 of the mass (1 - e^-0.357).
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
    // top_p applies to the tokens that top_k leaves.
    assert_eq!(drawn(&sampling(1.0, Some(2), 0.5, 3)), [ranked[0]]);
}

#[test]
fn equal_seeds_sample_equal_tokens() {
    let logits: Vec<f32> = (0..500).map(|n| (n as f32 * 0.7).sin()).collect();
    let draw = |seed| {
        let mut sampler = Sampler::new(&sampling(0.9, Some(100), 0.95, seed), &[]);
        (0..50).map(|_| sampler.sample(&mut logits.clone(), None).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
    // Pinned: a user's seed must always give the same tokens.
    assert_eq!(draw(5)[..4], PINNED);
}
const PINNED: [u32; 4] = [2, 217, 415, 74];

#[test]
fn nan_logits_are_never_sampled() {
    let logits = [f32::NAN, 1.0, f32::NEG_INFINITY, f32::INFINITY];
    for temperature in [0.0, 1.0] {
        let mut sampler = Sampler::new(&sampling(temperature, None, 0.9, 1), &[]);
        assert_eq!(sampler.sample(&mut logits.clone(), None), Some(3));
        assert_eq!(sampler.sample(&mut [f32::NAN, f32::NEG_INFINITY], None), None);
        assert_eq!(sampler.sample(&mut [], None), None);
    }
}

/// A direct implementation of the formulas: returns the probabilities after bias, penalties, temperature,
/// top_k, top_p and min_p. `[vocab]`
fn naive(sampling: &Sampling, prompt: &[u32], answer: &[u32], logits: &[f32]) -> Vec<f64> {
    let mut logits: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    for (token, logit) in (0_u32..).zip(&mut logits) {
        *logit += f64::from(sampling.logit_bias.get(&token).copied().unwrap_or(0.0));
        if prompt.contains(&token) || answer.contains(&token) {
            let penalty = f64::from(sampling.repetition_penalty());
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
        let count = answer.iter().filter(|other| **other == token).count();
        *logit -= f64::from(sampling.frequency_penalty()) * count as f64;
        *logit -= f64::from(sampling.presence_penalty()) * if count > 0 { 1.0 } else { 0.0 };
    }
    let mut ranked: Vec<usize> = (0..logits.len()).collect();
    ranked.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    ranked.truncate(match sampling.top_k() {
        0 => usize::MAX,
        top_k => top_k as usize,
    });
    let temperature = f64::from(sampling.temperature());
    let weight = |token: usize| (logits[token] / temperature).exp();
    let total: f64 = ranked.iter().map(|token| weight(*token)).sum();
    let mut sum = 0.0;
    ranked.retain(|token| {
        let before = sum;
        sum += weight(*token) / total;
        before < f64::from(sampling.top_p())
    });
    let least = weight(ranked[0]) * f64::from(sampling.min_p());
    ranked.retain(|token| weight(*token) >= least);
    let total: f64 = ranked.iter().map(|token| weight(*token)).sum();
    let mut shares = vec![0.0; logits.len()];
    for token in ranked {
        shares[token] = weight(token) / total;
    }
    shares
}

#[test]
fn min_p_keeps_tokens_above_its_fraction_of_the_top_probability() {
    let logits = [0.0, 3.0, 2.0, 0.5, -4.0, 2.9];
    for (min_p, temperature, top_k, top_p) in [
        (0.3, 1.0, None, 1.0),
        (0.05, 1.0, None, 1.0),
        (0.3, 2.0, None, 1.0),
        (0.3, 1.0, Some(2), 1.0),
        (0.1, 1.0, Some(5), 0.8),
        (1.0, 1.0, None, 1.0),
    ] {
        let sampling = Sampling { min_p: Some(min_p), ..sampling(temperature, top_k, top_p, 7) };
        let exact = naive(&sampling, &[], &[], &logits);
        let drawn = shares(&sampling, &logits, 50_000);
        for (drawn, exact) in drawn.iter().zip(exact) {
            assert_eq!(*drawn > 0.0, exact > 0.0, "{min_p} {temperature}");
            assert!((drawn - exact).abs() < 0.01, "{min_p} {temperature}: {drawn} is not {exact}");
        }
    }
}

/// Samples the same position of an answer with many seeds.
#[test]
fn penalties_and_bias_follow_the_formulas() {
    let logits: Vec<f32> = (0..12).map(|n| (n as f32 * 1.7).sin() * 2.0).collect();
    let (prompt, answer) = ([3, 5, 3], [5, 7, 7, 7, 11]);
    let base = sampling(1.0, None, 1.0, 0);
    for one in [
        Sampling { repetition_penalty: Some(1.8), ..base.clone() },
        Sampling { repetition_penalty: Some(0.5), ..base.clone() },
        Sampling { presence_penalty: Some(1.5), ..base.clone() },
        Sampling { frequency_penalty: Some(-0.7), ..base.clone() },
        Sampling { logit_bias: BTreeMap::from([(0, 2.0), (7, -100.0)]), ..base.clone() },
        Sampling {
            repetition_penalty: Some(1.3),
            presence_penalty: Some(0.4),
            frequency_penalty: Some(0.3),
            logit_bias: BTreeMap::from([(5, 3.0), (1, 1.0)]),
            min_p: Some(0.05),
            top_p: Some(0.95),
            ..base.clone()
        },
    ] {
        let mut penalties = Penalties::new(&one, &prompt);
        answer.iter().for_each(|token| penalties.note(*token));
        let draws = 40_000;
        let mut drawn = vec![0.0; logits.len()];
        for seed in 0..draws {
            let mut sampler = Sampler::new(&Sampling { seed: Some(seed), ..one.clone() }, &prompt);
            sampler.penalties = penalties.clone();
            let token = sampler.sample(&mut logits.clone(), None).unwrap();
            drawn[token as usize] += 1.0 / draws as f64;
        }
        let exact = naive(&one, &prompt, &answer, &logits);
        for (token, (drawn, exact)) in drawn.iter().zip(exact).enumerate() {
            assert!((drawn - exact).abs() < 0.012, "{one:?}, {token}: {drawn} is not {exact}");
        }
    }
}

/// Whole greedy answers: the formulas count tokens anew for each step, the sampler keeps its counts.
#[test]
fn greedy_sampling_takes_the_argmax_of_penalized_logits() {
    let base = Sampling::greedy();
    let mut seen = std::collections::HashSet::new();
    for one in [
        base.clone(),
        Sampling { repetition_penalty: Some(1.2), ..base.clone() },
        Sampling { frequency_penalty: Some(0.35), ..base.clone() },
        Sampling { presence_penalty: Some(2.0), ..base.clone() },
        Sampling {
            repetition_penalty: Some(0.9),
            frequency_penalty: Some(1.1),
            logit_bias: BTreeMap::from([(40, 6.0)]),
            ..base.clone()
        },
    ] {
        let prompt = [9, 1, 9];
        let mut sampler = Sampler::new(&one, &prompt);
        let mut answer = Vec::new();
        for step in 0..200 {
            let row = |n: u32| ((n * 37 + step / 20 * 11) as f32 * 0.61).sin() * 5.0;
            let mut logits: Vec<f32> = (0..100).map(row).collect();
            let before = logits.clone();
            // The token with the largest probability has the largest logit.
            let shares = naive(
                &Sampling { temperature: Some(1.0), ..one.clone() },
                &prompt,
                &answer,
                &before,
            );
            let token = sampler.sample(&mut logits, None).unwrap();
            let most = shares.iter().copied().fold(0.0, f64::max);
            assert!(shares[token as usize] >= most * (1.0 - 1e-5), "{one:?}, step {step}");
            assert_eq!(logits, before, "the penalties are undone");
            answer.push(token);
        }
        seen.insert(answer);
    }
    assert_eq!(seen.len(), 5, "each changes the answer");
}

#[test]
fn only_allowed_tokens_are_sampled() {
    let logits: Vec<f32> = (0..70).map(|n| (n as f32 * 0.3).sin()).collect();
    let words = [1 << 4 | 1 << 9, 0, 1 << 5 | 1 << 20]; // 4, 9, 69, and 84, which is beyond the vocabulary
    let allowed = Some(AllowedTokens::new(&words));
    let mut greedy = Sampler::new(&Sampling::greedy(), &[]);
    assert_eq!(greedy.sample(&mut logits.clone(), allowed), Some(69));
    let biased =
        Sampling { logit_bias: BTreeMap::from([(9, 50.0), (1, 90.0)]), ..Sampling::greedy() };
    assert_eq!(Sampler::new(&biased, &[]).sample(&mut logits.clone(), allowed), Some(9));
    let mut sampler = Sampler::new(&sampling(1.0, None, 1.0, 3), &[]);
    let mut drawn: Vec<u32> =
        (0..1_000).map(|_| sampler.sample(&mut logits.clone(), allowed).unwrap()).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn, [4, 9, 69]);
    assert_eq!(sampler.sample(&mut logits.clone(), Some(AllowedTokens::new(&[]))), None);
    // A mask that allows all tokens changes nothing.
    let all = vec![u32::MAX; 3];
    let draw = |allowed| {
        let mut sampler = Sampler::new(&sampling(0.9, Some(30), 0.95, 8), &[]);
        (0..50).map(|_| sampler.sample(&mut logits.clone(), allowed).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(draw(Some(AllowedTokens::new(&all))), draw(None));
}
