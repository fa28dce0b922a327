//! Drafts stop where they do not pay.

use engine::{Engine, EngineOptions, Request, Sampling, Speculation};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::common::greedy;
use crate::{answers, speculates, tiny};

/// The number of tokens of unpredictable texts.
const TOKENS: u32 = 30;

fn start(max_batch: usize) -> Engine {
    let speculation = Speculation::Lookup;
    let options = EngineOptions { max_batch, speculation, ..EngineOptions::default() };
    Engine::start(&tiny(), &options).unwrap()
}

/// Returns a request whose text repeats pairs of tokens, after each of which any token may follow.
fn unpredictable(seed: u64) -> Request {
    let mut random = StdRng::seed_from_u64(seed);
    let tokens: Vec<u32> = (0..200).map(|_| random.random_range(0..TOKENS)).collect();
    // So large that nothing remains of the logits: the tokens are equally likely.
    let logit_bias = (0..TOKENS).map(|token| (token, 1e9)).collect();
    let (temperature, seed) = (Some(1.0), Some(seed));
    let sampling = Sampling { temperature, logit_bias, seed, ..Sampling::default() };
    Request { sampling, ..greedy(&tokens, 400) }
}

#[test]
fn drafts_that_are_rejected_stop() {
    let engine = start(1);
    if !speculates(&engine) {
        return;
    }
    let requests: Vec<Request> = (0..4).map(unpredictable).collect();
    let tokens: usize =
        answers(&engine, &requests).iter().map(|seen| seen.end.clone().unwrap().3).sum();
    let drafts = engine.totals().lookup_drafts;
    println!("{drafts:?} of {tokens} tokens");
    // Some are tried again, to notice when they pay.
    assert!(drafts.drafted > 0 && (drafts.drafted as usize) < tokens / 2);
}

#[test]
fn a_batch_that_fills_the_machine_drafts_nothing() {
    let engine = start(16);
    let requests: Vec<Request> = (0..16).map(unpredictable).collect();
    answers(&engine, &requests);
    let drafts = engine.totals().lookup_drafts;
    // Only while the first run without the last, or the last without the first.
    println!("{drafts:?}");
    assert!(drafts.drafted < 300, "{drafts:?}");
}
