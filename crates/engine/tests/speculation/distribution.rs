//! The distribution of sampled tokens, over a tiny vocabulary.

use std::collections::BTreeMap;

use engine::{Engine, EngineOptions, Request, Sampling};

use crate::common::greedy;
use crate::{always, answers, speculates, tiny};

/// The number of answers.
const ANSWERS: u64 = 3_000;
/// The tokens that may be sampled.
const TOKENS: [u32; 3] = [11, 12, 13];

/// Returns how often each answer of four tokens was sampled, with seeds from `first` on.
fn counts(engine: &Engine, first: u64) -> BTreeMap<String, f64> {
    // The bias leaves three tokens, and a text that repeats them has a draft at every token.
    let bias = TOKENS.map(|token| (token, 60.0)).into_iter().collect();
    let sampling = Sampling { temperature: Some(2.0), logit_bias: bias, ..Sampling::default() };
    let prompt = [11, 12, 11, 13, 12, 11, 12, 13, 13, 12, 12, 11, 11, 12];
    let requests: Vec<Request> = (first..first + ANSWERS)
        .map(|seed| Request {
            sampling: Sampling { seed: Some(seed), ..sampling.clone() },
            ..greedy(&prompt, 4)
        })
        .collect();
    let mut counts = BTreeMap::new();
    for seen in answers(engine, &requests) {
        let text: String = seen.pieces.into_iter().map(|(text, _)| text).collect();
        *counts.entry(text).or_default() += 1.0;
    }
    counts
}

/// Returns Pearson's statistic of the hypothesis that both tables have one distribution, and its degrees of freedom.
/// Rare answers count together.
fn chi_square(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> (f64, f64) {
    let mut cells: Vec<(f64, f64)> = Vec::new();
    let (mut rare_a, mut rare_b) = (0.0, 0.0);
    let texts = a.keys().chain(b.keys().filter(|text| !a.contains_key(*text)));
    for text in texts {
        let of = |table: &BTreeMap<String, f64>| table.get(text).copied().unwrap_or(0.0);
        if of(a) + of(b) < 20.0 {
            (rare_a, rare_b) = (rare_a + of(a), rare_b + of(b));
        } else {
            cells.push((of(a), of(b)));
        }
    }
    cells.push((rare_a, rare_b));
    cells.retain(|(a, b)| a + b > 0.0);
    // Both tables have as many answers, so each cell is expected to be divided equally.
    let statistic = cells.iter().map(|(a, b)| (a - b).powi(2) / (a + b)).sum();
    (statistic, cells.len() as f64 - 1.0)
}

#[test]
fn sampled_answers_have_the_same_distribution() {
    let options = EngineOptions { max_batch: 4, ..EngineOptions::default() };
    let plain = Engine::start(&tiny(), &options).unwrap();
    let drafting = Engine::start(&tiny(), &always(options)).unwrap();
    let without = counts(&plain, 0);
    // The same seeds give the same answers, and others the same distribution.
    assert_eq!(counts(&drafting, 0), without);
    let (statistic, freedom) = chi_square(&counts(&drafting, ANSWERS), &without);
    // Wilson and Hilferty: the cube root is nearly normal; 4 deviations.
    let spread = 2.0 / (9.0 * freedom);
    let limit = freedom * (1.0 - spread + 4.0 * spread.sqrt()).powi(3);
    println!("chi-square {statistic:.1} with {freedom} degrees of freedom, limit {limit:.1}");
    assert!(freedom >= 10.0 && statistic < limit);
    let drafts = drafting.totals().lookup_drafts;
    println!("{drafts:?}");
    if speculates(&drafting) {
        assert!(drafts.accepted > ANSWERS / 10 && drafts.accepted < drafts.drafted);
    }
    // The test can fail: a table that prefers one answer is another distribution.
    let mut other = without.clone();
    let first = *other.values().next().unwrap();
    *other.values_mut().next().unwrap() = 2.0 * first + 400.0;
    assert!(chi_square(&other, &without).0 > limit);
}
