//! Answers with speculation are those without it: text, logprobs, pieces of the stream, counts and reasons.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod distribution;
mod draft_model;
mod options;
mod pays;

use chat::Usage;
use common::{Fixture, fixtures};
use engine::source::{SourceOptions, resolve};
use engine::{
    AdapterSource, Engine, EngineOptions, GenerateError, Generation, Input, ModelFile, Progress,
    Request, Speculation, TokenLogprobs,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a client sees of an answer, without times.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// The pieces as they were streamed.
    pub(crate) pieces: Vec<(String, Vec<TokenLogprobs>)>,
    pub(crate) end: Result<End, GenerateError>,
}

/// The reason, the stop string, and the tokens of prompt and answer.
type End = (engine::StopReason, Option<String>, usize, usize);

pub(crate) fn read(generation: &mut Generation) -> Seen {
    let mut pieces = Vec::new();
    loop {
        match generation.next_blocking().unwrap() {
            Progress::Text { text, logprobs } => pieces.push((text, logprobs)),
            Progress::Finished(end) => {
                let end = (end.reason, end.stop, end.prompt_tokens, end.completion_tokens);
                return Seen { pieces, end: Ok(end) };
            }
            Progress::Failed(error) => return Seen { pieces, end: Err(error) },
        }
    }
}

/// Returns options with speculation that drafts whatever it may.
pub(crate) fn always(options: EngineOptions) -> EngineOptions {
    EngineOptions { speculation: Speculation::Lookup, draft_always: true, ..options }
}

/// Returns the tiny model of packed weights.
pub(crate) fn tiny() -> ModelFile {
    ModelFile::Path(Fixture::load("qwen3-q8_0").path())
}

pub(crate) fn demo() -> ModelFile {
    resolve("demo", &SourceOptions::default()).unwrap()
}

pub(crate) fn adapters() -> Vec<AdapterSource> {
    let folder = |kind: &str| fixtures().join("qwen3").join(kind);
    let source = |kind: &str| AdapterSource { name: kind.to_owned(), folder: folder(kind) };
    vec![source("broad"), source("narrow")]
}

/// Returns whether this machine has kernels that verify drafts exactly.
pub(crate) fn speculates(engine: &Engine) -> bool {
    let speculates = engine.speculation() != Speculation::Off;
    if !speculates {
        println!("skipped in part: this machine has no kernels for packed weights");
    }
    speculates
}

/// Returns the answers to requests that run side by side.
pub(crate) fn answers(engine: &Engine, requests: &[Request]) -> Vec<Seen> {
    let running: Vec<Generation> =
        requests.iter().map(|request| engine.submit(request).unwrap()).collect();
    running.into_iter().map(|mut generation| read(&mut generation)).collect()
}

/// Expects the same answers of engines that draft whatever they may and of one that drafts nothing. Returns the
/// acceptance rate.
pub(crate) fn expect_same(model: &ModelFile, options: EngineOptions, requests: &[Request]) -> f64 {
    let plain = Engine::start(model, &options).unwrap();
    let drafting = Engine::start(model, &always(options)).unwrap();
    let (with, without) = std::thread::scope(|scope| {
        let with = scope.spawn(|| answers(&drafting, requests));
        let without = answers(&plain, requests);
        (with.join().unwrap(), without)
    });
    for ((with, without), request) in with.iter().zip(&without).zip(requests) {
        assert_eq!(with, without, "{request:?}");
    }
    assert_eq!(plain.totals().lookup_drafts.drafted, 0);
    let load = drafting.load();
    assert_eq!((load.running, load.waiting, load.held_pages), (0, 0, 0));
    let drafts = drafting.totals().lookup_drafts;
    if speculates(&drafting) {
        assert!(drafts.drafted > 0 && drafts.accepted > 0, "{drafts:?}");
    }
    println!("{drafts:?} in {} steps, without {}", drafting.steps(), plain.steps());
    drafts.accepted as f64 / drafts.drafted.max(1) as f64
}

/// Returns a prompt of random tokens, which repeats part of itself.
pub(crate) fn prompt(random: &mut StdRng, vocabulary: u32) -> Vec<u32> {
    let len = random.random_range(2..40);
    let mut tokens: Vec<u32> = (0..len).map(|_| random.random_range(0..vocabulary)).collect();
    let from = random.random_range(0..len);
    tokens.extend_from_within(from..);
    tokens
}

#[test]
fn two_thousand_prompts_have_the_same_greedy_text() {
    let mut random = StdRng::seed_from_u64(1);
    let requests: Vec<Request> =
        (0..2_000).map(|_| Request::greedy(Input::Tokens(prompt(&mut random, 500)), 16)).collect();
    let options = EngineOptions { max_batch: 6, ..EngineOptions::default() };
    let rate = expect_same(&tiny(), options, &requests);
    println!("{:.1} % of the drafted tokens were accepted", 100.0 * rate);
}

#[test]
fn answers_count_what_was_drafted_for_them() {
    let mut random = StdRng::seed_from_u64(3);
    let engine = Engine::start(&tiny(), &always(EngineOptions::default())).unwrap();
    let mut sum = Usage::NONE;
    for _ in 0..20 {
        let request = Request::greedy(Input::Tokens(prompt(&mut random, 500)), 32);
        let mut generation = engine.submit(&request).unwrap();
        read(&mut generation);
        let usage = generation.usage();
        assert!(usage.accepted_tokens <= usage.drafted_tokens.min(usage.completion_tokens));
        sum += usage;
    }
    let drafts = engine.totals().lookup_drafts;
    assert_eq!(u64::from(sum.drafted_tokens), drafts.drafted);
    assert_eq!(u64::from(sum.accepted_tokens), drafts.accepted);
    assert_eq!(speculates(&engine), sum.accepted_tokens > 0, "{sum:?}");
}

#[test]
fn adaptive_drafts_do_not_change_the_text_either() {
    let mut random = StdRng::seed_from_u64(2);
    let requests: Vec<Request> =
        (0..200).map(|_| Request::greedy(Input::Tokens(prompt(&mut random, 500)), 64)).collect();
    for max_batch in [1, 4, 20] {
        let options = EngineOptions { max_batch, ..EngineOptions::default() };
        let plain = Engine::start(&tiny(), &options).unwrap();
        let options = EngineOptions { speculation: Speculation::Lookup, ..options };
        let drafting = Engine::start(&tiny(), &options).unwrap();
        assert!(answers(&plain, &requests) == answers(&drafting, &requests), "{max_batch}");
        println!("batches of {max_batch}: {:?}", drafting.totals().lookup_drafts);
    }
}
