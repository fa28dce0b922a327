//! Sharing, caching and recomputing keys and values does not change any answer.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{Fixture, Prompt, finished, greedy, start};
use engine::gguf::GgufFile;
use engine::injected::InjectedRows;
use engine::{Engine, EngineOptions, Finished, Input, Request, Sampling, StopReason};

/// One model per kind of product: candle's of full precision, and ours of two packed formats.
const MODELS: [&str; 3] = ["qwen3-f32", "qwen3-q8_0", "qwen3-q4_0"];

fn seeded(seed: u64, tokens: &[u32], max_tokens: usize) -> Request {
    let sampling = Sampling {
        temperature: Some(0.8),
        top_p: Some(0.95),
        top_k: Some(40),
        seed: Some(seed),
        ..Sampling::default()
    };
    Request { sampling, ..greedy(tokens, max_tokens) }
}

fn answer(engine: &Engine, request: &Request) -> (String, Finished) {
    finished(engine.submit(request).unwrap())
}

/// Returns a prompt whose greedy answer reaches 850 tokens.
fn endless(model: &str) -> Prompt {
    let engine = Fixture::load(model).start(&EngineOptions::default());
    let goes_on = |prompt: &Prompt| {
        answer(&engine, &greedy(&prompt.tokens, 850)).1.reason == StopReason::Length
    };
    Fixture::load(model)
        .prompts
        .into_iter()
        .find(goes_on)
        .expect("a fixture whose answer does not end before the limit")
}

#[test]
fn cached_prompts_give_equal_answers_and_are_shared_per_tenant_only() {
    MODELS.into_iter().for_each(cached_like_fresh);
}

fn cached_like_fresh(model: &str) {
    let engine = Fixture::load(model).start(&EngineOptions::default());
    let fixture = Fixture::load(model);
    let prompt = &fixture.longest().tokens;
    let pages = (prompt.len() - 1) / 32;
    assert!(pages >= 3);
    for request in [greedy(prompt, 64), seeded(7, prompt, 64)] {
        let with_tenant = |tenant: &str| {
            let tenant = format!("{tenant}, {:?}", request.sampling.seed);
            let before = engine.totals().computed_prompt_tokens;
            let (text, end) = answer(&engine, &Request { tenant, ..request.clone() });
            let computed = engine.totals().computed_prompt_tokens - before;
            assert_eq!(computed as usize + end.cached_tokens, prompt.len());
            (text, end.cached_tokens)
        };
        let (text, cached) = with_tenant("a");
        assert_eq!(cached, 0);
        assert_eq!(with_tenant("a"), (text.clone(), pages * 32));
        assert_eq!(with_tenant("b"), (text.clone(), 0));
        assert_eq!(with_tenant("b"), (text, pages * 32));
    }
}

#[test]
fn a_preempted_generation_gives_the_same_answer() {
    MODELS.into_iter().for_each(preempted_like_undisturbed);
}

fn preempted_like_undisturbed(model: &str) {
    let endless = endless(model);
    let requests: Vec<Request> = (0..12)
        .map(|n| match n % 2 {
            // Each has its own tenant, so that it finds only its own pages in the cache.
            0 => Request { tenant: n.to_string(), ..greedy(&endless.tokens, 600) },
            _ => Request { tenant: n.to_string(), ..seeded(n, &endless.tokens, 600) },
        })
        .collect();
    let roomy = Fixture::load(model).start(&EngineOptions::default());
    let alone: Vec<_> = requests.iter().map(|request| answer(&roomy, request)).collect();
    assert_eq!(roomy.totals().preemptions, 0);
    // An answer is sent before its pages are free.
    let until = Instant::now() + Duration::from_secs(10);
    while roomy.load().held_pages > 0 {
        assert!(Instant::now() < until, "{:?}", roomy.load());
        std::thread::sleep(Duration::from_millis(1));
    }
    let (load, totals) = (roomy.load(), roomy.totals());
    assert!((1..=load.total_pages).contains(&load.cached_pages), "{load:?}");
    assert!(totals.step_tokens > totals.computed_prompt_tokens, "{totals:?}");
    assert!(totals.step_tokens >= totals.computed_steps && !totals.step_time.is_zero());

    // All six are admitted, but there are pages for fewer than two full answers.
    let options =
        EngineOptions { max_batch: 6, kv_tokens: Some(6 * 320), ..EngineOptions::default() };
    for step_tokens in [512, 64] {
        let tight = Fixture::load(model).start(&EngineOptions { step_tokens, ..options.clone() });
        let running: Vec<_> = requests.iter().map(|one| tight.submit(one).unwrap()).collect();
        for (generation, (text, end)) in running.into_iter().zip(&alone) {
            let (tight_text, tight_end) = finished(generation);
            assert_eq!(&tight_text, text, "{model}");
            assert_eq!(
                (tight_end.reason, tight_end.completion_tokens),
                (end.reason, end.completion_tokens)
            );
            assert_eq!(tight_end.cached_tokens, 0, "pages of its own do not count as cached");
        }
        assert!(tight.totals().preemptions >= 3, "{:?}", tight.totals());
    }
}

#[test]
fn common_prefix_of_a_hundred_requests_is_prefilled_once() {
    let engine = start(&EngineOptions { max_batch: 16, ..EngineOptions::default() });
    let shared: Vec<u32> = (0..1_000).map(|n| (n * 37 + n / 7) % 400).collect();
    let running: Vec<_> = (0..100)
        .map(|n| {
            let prompt: Vec<u32> = shared.iter().copied().chain([n, 5, 6]).collect();
            engine.submit(&greedy(&prompt, 8)).unwrap()
        })
        .collect();
    let cached: Vec<usize> = running.into_iter().map(|one| finished(one).1.cached_tokens).collect();
    // The 1,000 shared tokens fill 31 pages of 32. Each request computes the other 8 and its own 3.
    assert_eq!(engine.totals().computed_prompt_tokens, 992 + 100 * 11);
    assert_eq!((cached[0], engine.totals().cached_prompt_tokens), (0, 99 * 992));
    assert!(cached[1..].iter().all(|tokens| *tokens == 992));
}

#[test]
fn two_hundred_full_context_generations_complete_with_pages_for_eight() {
    let endless = endless(MODELS[0]);
    let options = EngineOptions {
        max_batch: 32,
        context_limit: Some(512),
        kv_tokens: Some(8 * 512),
        ..EngineOptions::default()
    };
    let engine = start(&options);
    let request = |n: usize| Request {
        tenant: n.to_string(),
        priority: (n % 4) as u8,
        ..greedy(&endless.tokens, 10_000)
    };
    let running: Vec<_> = (0..200).map(|n| engine.submit(&request(n)).unwrap()).collect();
    let mut texts: Vec<String> = Vec::new();
    for generation in running {
        let (text, end) = finished(generation);
        assert_eq!(end.reason, StopReason::Length);
        assert_eq!(end.prompt_tokens + end.completion_tokens, 512);
        texts.push(text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "equal requests have equal answers");
    println!("{:?}", engine.totals());
    assert!(engine.totals().preemptions > 0, "{:?}", engine.totals());
    assert_eq!((engine.load().running, engine.load().waiting), (0, 0));
}

/// Tokens whose embeddings are replaced by rows: from the middle of a page on.
const REPLACED: std::ops::Range<usize> = 40..90;

/// Returns a prompt's request with `rows` in place of the embeddings of `REPLACED`.
fn with_rows(prompt: &[u32], rows: Vec<f32>, hash: u8, max_tokens: usize) -> Request {
    let mut tokens = prompt.to_vec();
    tokens[REPLACED].fill(0);
    let rows = InjectedRows {
        start: REPLACED.start,
        positions: InjectedRows::consecutive_positions(REPLACED.len()),
        values: rows.into(),
        added: [].into(),
        hash: [hash; 32],
    };
    Request::greedy(Input::Injected { tokens, rows: vec![rows] }, max_tokens)
}

/// Returns the embeddings of the tokens `REPLACED` of a prompt.
fn embeddings(prompt: &[u32]) -> Vec<f32> {
    let file = GgufFile::open(common::fixture().path()).unwrap();
    let tensor = file.tensor("token_embd.weight").unwrap();
    let (bytes, width) = (file.data(tensor).unwrap(), tensor.shape[1]);
    let number = |token: u32, at: usize| {
        let at = (token as usize * width + at) * 4;
        f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    };
    let row = |token: &u32| (0..width).map(|at| number(*token, at)).collect::<Vec<f32>>();
    prompt[REPLACED].iter().flat_map(row).collect()
}

/// In chunks of a prompt that are shorter than the rows, and beside other prompts.
#[test]
fn injected_rows_are_computed_in_chunks_and_found_in_the_cache_by_their_hash() {
    let options = EngineOptions { max_batch: 4, step_tokens: 48, ..EngineOptions::default() };
    let engine = start(&options);
    let fixture = common::fixture();
    let prompt = &fixture.longest().tokens;
    let pages = (prompt.len() - 1) / 32;
    assert!(pages > 2 && prompt.len() > REPLACED.end);
    let rows = embeddings(prompt);
    let (text, _) = answer(&engine, &greedy(prompt, 64));
    let beside = engine.submit(&greedy(&prompt[1..], 200)).unwrap();
    let (same, end) = answer(&engine, &with_rows(prompt, rows.clone(), 1, 64));
    // Only the page before the rows is shared with the text.
    assert_eq!((same, end.cached_tokens), (text.clone(), 32));
    let (again, end) = answer(&engine, &with_rows(prompt, rows.clone(), 1, 64));
    assert_eq!((again, end.cached_tokens), (text.clone(), pages * 32));
    let others: Vec<f32> = rows.iter().map(|x| x * -3.0).collect();
    let (other, end) = answer(&engine, &with_rows(prompt, others, 2, 64));
    assert_eq!(end.cached_tokens, 32);
    assert_ne!(other, text);
    finished(beside);
}

#[test]
fn a_preempted_generation_with_injected_rows_gives_the_same_answer() {
    let prompt = endless(MODELS[0]).tokens;
    let prompt: Vec<u32> = prompt.iter().cycle().copied().take(100).collect();
    let rows: Vec<f32> = embeddings(&prompt).iter().map(|x| x * 1.5).collect();
    let request = |n: u8| Request {
        tenant: n.to_string(),
        ..with_rows(&prompt, rows.iter().map(|x| x + f32::from(n) / 64.0).collect(), n, 400)
    };
    let roomy = start(&EngineOptions::default());
    let alone: Vec<_> = (0..6).map(|n| answer(&roomy, &request(n)).0).collect();
    let options =
        EngineOptions { max_batch: 6, kv_tokens: Some(6 * 320), ..EngineOptions::default() };
    let tight = start(&EngineOptions { step_tokens: 64, ..options });
    let running: Vec<_> = (0..6).map(|n| tight.submit(&request(n)).unwrap()).collect();
    for (generation, alone) in running.into_iter().zip(&alone) {
        assert_eq!(&finished(generation).0, alone);
    }
    assert!(tight.totals().preemptions > 0, "{:?}", tight.totals());
}

#[test]
fn injected_rows_that_do_not_fit_are_refused() {
    let engine = start(&EngineOptions::default());
    let prompt = &common::fixture().longest().tokens.clone();
    let refused = |request: Request| engine.submit(&request).unwrap_err().to_string();
    let error = refused(with_rows(prompt, vec![0.0; 100], 1, 8));
    assert!(error.contains("the 50 rows injected at token 40 have 100 numbers"), "{error}");
    let short = with_rows(&prompt[..90], embeddings(prompt), 1, 8);
    let Input::Injected { mut tokens, rows } = short.input.clone() else { panic!("no rows") };
    tokens.truncate(80);
    let error = refused(Request { input: Input::Injected { tokens, rows }, ..short });
    assert!(error.contains("end at token 90; the prompt has 80 tokens"), "{error}");
}
