//! Tests sampling in the whole engine: logprobs equal those of transformers, and an answer with penalties does
//! not depend on its batch.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{Fixture, Prompt, greedy};
use engine::{
    Engine, EngineOptions, Finished, Generation, Progress, Request, Sampling, StopReason,
    TokenLogprobs,
};

fn request(prompt: &Prompt, sampling: Sampling, max_tokens: usize) -> Request {
    Request { sampling, ..greedy(&prompt.tokens, max_tokens) }
}

#[derive(Debug, PartialEq)]
struct Answer {
    text: String,
    logprobs: Vec<TokenLogprobs>,
    finished: Finished,
}

fn read(mut generation: Generation) -> Answer {
    let (mut all, mut known) = (String::new(), Vec::new());
    loop {
        match generation.next_blocking().unwrap() {
            Progress::Text { text, logprobs } => {
                // A chunk has text, unless it has the logprobs of last tokens without text.
                assert!(!text.is_empty() || !logprobs.is_empty());
                all.push_str(&text);
                known.extend(logprobs);
            }
            Progress::Finished(finished) => return Answer { text: all, logprobs: known, finished },
            Progress::Failed(error) => panic!("{error}"),
        }
    }
}

fn answer(engine: &Engine, request: &Request) -> Answer {
    read(engine.submit(request).unwrap())
}

/// Returns the log-softmax of a row. `[vocab]`
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    logits.iter().map(|logit| f64::from(*logit) - total.ln()).collect()
}

#[test]
fn logprobs_are_the_log_softmax_of_transformers_logits() {
    for name in ["qwen2-f32", "qwen2.5-f32", "qwen3-f32"] {
        let fixture = Fixture::load(name);
        let engine = fixture.start(&EngineOptions::default());
        for prompt in &fixture.prompts {
            // The first token is sampled from the last row of the prompt.
            let truth = log_softmax(fixture.logits(prompt).last().unwrap());
            let mut ranked: Vec<usize> = (0..truth.len()).collect();
            ranked.sort_by(|a, b| truth[*b].total_cmp(&truth[*a]));
            let forced = ranked[100] as u32;
            for sampling in [
                Sampling { logprobs: Some(20), ..Sampling::greedy() },
                // Neither bias nor penalties nor temperature change the logprobs.
                Sampling {
                    logprobs: Some(20),
                    logit_bias: BTreeMap::from([(forced, 100.0), (ranked[0] as u32, -100.0)]),
                    repetition_penalty: Some(1.5),
                    temperature: Some(0.3),
                    ..Sampling::default()
                },
            ] {
                let is_forced = sampling.temperature() > 0.0;
                let found = answer(&engine, &request(prompt, sampling, 1));
                // The token that ends a turn is not part of the answer.
                let Some(first) = found.logprobs.first() else {
                    assert_eq!(found.finished.completion_tokens, 0);
                    continue;
                };
                let expected = if is_forced { forced } else { ranked[0] as u32 };
                assert_eq!(first.drawn.id, Some(expected), "{name} {}", prompt.name);
                let off =
                    |token: u32, logprob: f32| (truth[token as usize] - f64::from(logprob)).abs();
                assert!(off(first.drawn.id.unwrap(), first.drawn.logprob) < 1e-4);
                assert_eq!(first.top_logprobs.len(), 20);
                for (rank, one) in first.top_logprobs.iter().enumerate() {
                    assert!(off(one.id.unwrap(), one.logprob) < 1e-4, "{name} {}", prompt.name);
                    // Nearly equal ones may be in another order.
                    assert!((truth[ranked[rank]] - f64::from(one.logprob)).abs() < 1e-4);
                }
            }
        }
    }
}

#[test]
fn each_token_of_the_text_has_its_logprob_once_with_its_bytes() {
    let fixture = Fixture::load("qwen3-f32");
    let engine = fixture.start(&EngineOptions::default());
    let mut partial = 0;
    for (seed, prompt) in (0..).zip(&fixture.prompts) {
        let sampling = Sampling {
            temperature: Some(1.5),
            seed: Some(seed),
            logprobs: Some(2),
            // A high temperature gives tokens of all bytes, so some characters span tokens.
            ..Sampling::default()
        };
        let plain = Sampling { logprobs: None, ..sampling.clone() };
        let found = answer(&engine, &request(prompt, sampling, 60));
        assert_eq!(found.logprobs.len(), found.finished.completion_tokens);
        let tokens: Vec<u32> = found.logprobs.iter().map(|one| one.drawn.id.unwrap()).collect();
        assert_eq!(engine.tokenizer().decode(&tokens), found.text);
        for one in &found.logprobs {
            assert_eq!(one.top_logprobs.len(), 2);
            assert!(one.top_logprobs[0].logprob >= one.top_logprobs[1].logprob);
            assert!(one.drawn.logprob <= one.top_logprobs[0].logprob && one.drawn.logprob < 0.0);
            assert_eq!(one.drawn.bytes, engine.tokenizer().token_bytes(one.drawn.id.unwrap()));
            partial += usize::from(std::str::from_utf8(&one.drawn.bytes).is_err());
        }
        // The same answer without logprobs.
        let plain = answer(&engine, &request(prompt, plain, 60));
        assert_eq!((plain.text, plain.logprobs), (found.text, vec![]));
    }
    assert!(partial > 0, "no token was part of a character");
}

#[test]
fn stop_string_tokens_have_no_logprobs() {
    let fixture = Fixture::load("qwen3-f32");
    let engine = fixture.start(&EngineOptions::default());
    let prompt = &fixture.prompts[3];
    let sampling = Sampling { logprobs: Some(0), ..Sampling::greedy() };
    let whole = answer(&engine, &request(prompt, sampling.clone(), 64));
    let chars: Vec<char> = whole.text.chars().collect();
    let stop: String = chars[3..5].iter().collect();
    // Another tenant, so that it computes the whole prompt as the first request did.
    let stopped =
        Request { stop: vec![stop], tenant: "other".to_owned(), ..request(prompt, sampling, 64) };
    let stopped = answer(&engine, &stopped);
    assert_eq!(stopped.finished.reason, StopReason::StopString);
    let num_logprobs = stopped.logprobs.len();
    assert!(num_logprobs > 0 && num_logprobs < stopped.finished.completion_tokens);
    assert_eq!(stopped.logprobs, whole.logprobs[..num_logprobs]);
    // The tokens with logprobs reach the end of the text, and none begins after it.
    let spelled = |count: usize| {
        let tokens: Vec<u32> =
            stopped.logprobs[..count].iter().map(|one| one.drawn.id.unwrap()).collect();
        engine.tokenizer().decode(&tokens)
    };
    assert!(spelled(num_logprobs).starts_with(&stopped.text));
    assert!(spelled(num_logprobs - 1).len() < stopped.text.len());
}

/// Returns options with a seed and all penalties, so that a lost count changes the answer.
fn penalized(seed: u64) -> Sampling {
    Sampling {
        temperature: Some(0.9),
        top_p: Some(0.95),
        top_k: Some(60),
        min_p: Some(0.02),
        repetition_penalty: Some(1.1),
        presence_penalty: Some(0.3),
        frequency_penalty: Some(0.2),
        logit_bias: BTreeMap::from([(30, 1.0), (31, -2.0)]),
        seed: Some(seed),
        ..Sampling::default()
    }
}

/// Forbids the tokens that end a turn, so that answers reach `max_tokens`.
fn endless(engine: &Engine, sampling: Sampling) -> Sampling {
    let mut logit_bias = sampling.logit_bias;
    logit_bias.extend(engine.tokenizer().ends().iter().map(|end| (*end, -100.0)));
    Sampling { logit_bias, ..sampling }
}

/// The same kernels give the same bits, so a seed gives the same tokens: alone, in a batch of eight, and
/// preempted for lack of pages.
#[test]
fn seeded_answers_with_penalties_match_alone_batched_and_preempted() {
    let fixture = Fixture::load("qwen3-f32");
    let roomy = fixture.start(&EngineOptions { max_batch: 8, ..EngineOptions::default() });
    let prompt = fixture.longest();
    let requests: Vec<Request> = (0..8)
        .map(|seed| Request {
            tenant: seed.to_string(),
            ..request(prompt, endless(&roomy, penalized(seed)), 500)
        })
        .collect();
    let alone: Vec<Answer> = requests.iter().map(|one| answer(&roomy, one)).collect();
    let plain = Sampling { repetition_penalty: Some(1.0), ..requests[0].sampling.clone() };
    let plain = answer(&roomy, &Request { sampling: plain, ..requests[0].clone() });
    assert_ne!(plain.text, alone[0].text, "the penalty changes something");
    assert_eq!(roomy.totals().preemptions, 0);

    let tight =
        EngineOptions { max_batch: 8, kv_tokens: Some(8 * 320), ..EngineOptions::default() };
    let tight = fixture.start(&tight);
    for engine in [&roomy, &tight] {
        let running: Vec<_> = requests.iter().map(|one| engine.submit(one).unwrap()).collect();
        for (generation, alone) in running.into_iter().zip(&alone) {
            let found = read(generation);
            assert_eq!(found.text, alone.text);
            assert_eq!(found.finished.completion_tokens, 500);
        }
    }
    println!("{:?}", tight.totals());
    assert!(tight.totals().preemptions >= 2, "{:?}", tight.totals());
}

#[test]
fn invalid_sampling_options_are_refused() {
    let fixture = Fixture::load("qwen3-f32");
    let engine = fixture.start(&EngineOptions::default());
    let base = Sampling::greedy();
    for (sampling, expected) in [
        (Sampling { min_p: Some(1.5), ..base.clone() }, "min_p is 1.5"),
        (Sampling { min_p: Some(f32::NAN), ..base.clone() }, "min_p is NaN"),
        (Sampling { repetition_penalty: Some(0.0), ..base.clone() }, "repetition_penalty is 0"),
        (Sampling { presence_penalty: Some(f32::NAN), ..base.clone() }, "presence_penalty is NaN"),
        (
            Sampling { frequency_penalty: Some(f32::INFINITY), ..base.clone() },
            "frequency_penalty is inf",
        ),
        (
            Sampling { logit_bias: BTreeMap::from([(1 << 20, 1.0)]), ..base.clone() },
            "logit_bias has token 1048576; the model's go to",
        ),
        (
            Sampling { logit_bias: BTreeMap::from([(1, f32::NAN)]), ..base.clone() },
            "logit_bias of token 1 is NaN",
        ),
        (
            Sampling { logprobs: Some(21), ..base },
            "logprobs of 21 tokens at each place; at most 20",
        ),
    ] {
        let error = engine.submit(&request(&fixture.prompts[0], sampling, 1)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// For a greedy row without logprobs the backend returns only the argmax (on a GPU the logits stay there). Other
/// rows of the batch are sampled from their logits, or have logprobs.
#[test]
fn greedy_answers_are_the_same_by_argmax_and_from_logits() {
    // Packed weights, so that the batch changes no bit.
    let fixture = Fixture::load("qwen3-q8_0");
    let engine = fixture.start(&EngineOptions { max_batch: 32, ..EngineOptions::default() });
    let drawn = Sampling { temperature: Some(0.9), seed: Some(7), ..Sampling::default() };
    let kinds = [
        drawn.clone(),
        Sampling::greedy(),
        Sampling { top_k: Some(1), ..drawn.clone() },
        Sampling { logprobs: Some(0), ..Sampling::greedy() },
        Sampling { logit_bias: BTreeMap::from([(5, 0.0)]), ..Sampling::greedy() },
        Sampling { repetition_penalty: Some(1.2), ..Sampling::greedy() },
    ];
    let requests = fixture
        .prompts
        .iter()
        .flat_map(|prompt| kinds.iter().map(|sampling| request(prompt, sampling.clone(), 40)));
    let running: Vec<(Request, Generation)> =
        requests.map(|one| (one.clone(), engine.submit(&one).unwrap())).collect();
    let together: Vec<(Request, Answer)> =
        running.into_iter().map(|(request, one)| (request, read(one))).collect();
    for answers in together.chunks(kinds.len()) {
        let [_, greedy, first, with_logprobs, biased, _] = answers else {
            panic!("one answer of each kind")
        };
        for (_, other) in [first, with_logprobs, biased] {
            assert_eq!(other.text, greedy.1.text);
        }
        assert!(greedy.1.logprobs.is_empty() && !with_logprobs.1.logprobs.is_empty());
        for (request, beside) in answers {
            assert_eq!(answer(&engine, request).text, beside.text, "{:?}", request.sampling);
        }
    }
}
