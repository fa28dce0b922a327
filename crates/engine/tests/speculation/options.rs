//! Each option of a request and of the engine, with and without speculation.

use engine::{
    Constraint, Engine, EngineOptions, Input, Message, Request, Sampling, Speculation, StopReason,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::common::{Fixture, greedy};
use crate::{adapters, always, answers, demo, expect_same, prompt, read, speculates, tiny};

/// Returns requests with random options of sampling, logprobs, stop strings, tenants and priorities.
fn varied(count: u64, random: &mut StdRng) -> Vec<Request> {
    let first = prompt(random, 500);
    let request = |seed: u64| {
        let mut one = StdRng::seed_from_u64(seed);
        // Every third has the same prompt, like the answers of one request with `n`.
        let tokens = if seed.is_multiple_of(3) { first.clone() } else { prompt(&mut one, 500) };
        let mut maybe =
            |least: f32, most: f32| one.random_bool(0.4).then(|| one.random_range(least..most));
        let sampling = Sampling {
            temperature: maybe(0.1, 1.2),
            top_p: maybe(0.5, 1.0),
            min_p: maybe(0.0, 0.2),
            repetition_penalty: maybe(1.0, 1.3),
            presence_penalty: maybe(-0.5, 0.5),
            frequency_penalty: maybe(-0.5, 0.5),
            top_k: maybe(1.0, 30.0).map(|most| most as u32),
            logprobs: maybe(0.0, 4.0).map(|top| top as u32),
            logit_bias: maybe(-2.0, 2.0).map(|bias| (7, bias)).into_iter().collect(),
            seed: Some(seed),
        };
        let stop = if seed.is_multiple_of(4) { vec!["e".into(), "a".into()] } else { vec![] };
        let max_tokens = one.random_range(1..60);
        let tenant = (seed % 2).to_string();
        let priority = (seed % 4) as u8;
        Request { sampling, stop, tenant, priority, ..greedy(&tokens, max_tokens) }
    };
    (0..count).map(request).collect()
}

#[test]
fn sampled_answers_with_penalties_logprobs_and_stop_strings_are_the_same() {
    let requests = varied(400, &mut StdRng::seed_from_u64(3));
    let options = EngineOptions { max_batch: 5, ..EngineOptions::default() };
    expect_same(&tiny(), options, &requests);
}

#[test]
fn answers_are_the_same_in_small_steps_with_preemptions() {
    let mut requests = varied(24, &mut StdRng::seed_from_u64(4));
    let ends =
        Fixture::load("qwen3-q8_0").start(&EngineOptions::default()).tokenizer().ends().to_vec();
    // Longer than the room that is left for an answer when it is admitted.
    for request in requests.iter_mut().step_by(2) {
        request.max_tokens = 450;
        request.stop.clear();
        request.sampling.logit_bias.extend(ends.iter().map(|end| (*end, -1_000.0)));
    }
    let options = EngineOptions {
        max_batch: 8,
        step_tokens: 48,
        kv_tokens: Some(1_024),
        ..EngineOptions::default()
    };
    let drafting = Engine::start(&tiny(), &always(options.clone())).unwrap();
    let with = answers(&drafting, &requests);
    assert!(drafting.totals().preemptions > 0);
    // An undisturbed engine, which has pages for all.
    let plain = EngineOptions { kv_tokens: None, step_tokens: 512, ..options };
    let plain = Engine::start(&tiny(), &plain).unwrap();
    let without = answers(&plain, &requests);
    assert_eq!(plain.totals().preemptions, 0);
    for ((with, without), request) in with.iter().zip(&without).zip(&requests) {
        assert_eq!(with, without, "{request:?}");
    }
    if speculates(&drafting) {
        assert!(drafting.totals().lookup_drafts.accepted > 0);
    }
    assert_eq!(drafting.load().held_pages, 0);
}

#[test]
fn answers_of_adapters_are_the_same() {
    let mut requests = varied(60, &mut StdRng::seed_from_u64(6));
    for (index, request) in requests.iter_mut().enumerate() {
        request.adapter =
            [None, Some("broad".to_owned()), Some("narrow".to_owned())][index % 3].clone();
    }
    let options = EngineOptions { adapters: adapters(), max_batch: 5, ..EngineOptions::default() };
    expect_same(&tiny(), options, &requests);
}

#[test]
fn constrained_answers_are_the_same() {
    let schema = json!({"type": "array", "minItems": 4, "maxItems": 6, "items": {
        "type": "object",
        "properties": {"name": {"enum": ["worker", "queue"]}, "count": {"type": "integer", "maximum": 99}},
        "required": ["name", "count"],
        "additionalProperties": false,
    }});
    let constraints = [
        Constraint::JsonSchema(schema),
        Constraint::Regex("(ab|cd){8,20}".to_owned()),
        Constraint::Choice(vec!["alpha alpha alpha".to_owned(), "alpha alpha beta".to_owned()]),
    ];
    let request = |seed: u64| Request {
        constraint: Some(constraints[seed as usize % 3].clone()),
        sampling: Sampling {
            temperature: Some(if seed.is_multiple_of(2) { 0.0 } else { 0.8 }),
            seed: Some(seed),
            logprobs: seed.is_multiple_of(5).then_some(2),
            ..Sampling::default()
        },
        ..Request::greedy(
            Input::Chat(vec![Message::user("How do I add a worker?".to_owned())]),
            200,
        )
    };
    let requests: Vec<Request> = (0..24).map(request).collect();
    let options = EngineOptions { max_batch: 4, ..EngineOptions::default() };
    expect_same(&demo(), options, &requests);
}

/// Conversations, of which each turn finds the pages of the one before: pages that a drafting engine filled.
#[test]
fn pages_of_answers_hold_no_rejected_tokens() {
    let mut random = StdRng::seed_from_u64(7);
    let options = EngineOptions { max_batch: 3, ..EngineOptions::default() };
    let plain = Engine::start(&tiny(), &options).unwrap();
    let drafting = Engine::start(&tiny(), &always(options)).unwrap();
    let logprobs = Some(3);
    for _ in 0..20 {
        let mut tokens = prompt(&mut random, 500);
        for _ in 0..3 {
            let sampling = Sampling { temperature: Some(0.0), logprobs, ..Sampling::default() };
            let request = Request { sampling, ..greedy(&tokens, 90) };
            let [with, without] =
                [&drafting, &plain].map(|engine| read(&mut engine.submit(&request).unwrap()));
            assert_eq!(with, without, "{request:?}");
            let drawn = with.pieces.iter().flat_map(|(_, logprobs)| logprobs);
            tokens.extend(drawn.map(|one| one.drawn.id.unwrap()));
            tokens.push(random.random_range(0..500));
        }
    }
    let cached = |engine: &Engine| engine.totals().cached_prompt_tokens;
    assert_eq!(cached(&drafting), cached(&plain));
    assert!(cached(&drafting) > 20 * 32);
}

#[test]
fn an_answer_ends_at_max_tokens_and_at_the_end_of_the_context() {
    for kv_tokens in [None, Some(64)] {
        let options =
            EngineOptions { context_limit: Some(64), kv_tokens, ..EngineOptions::default() };
        // Repeats itself, so that drafts reach beyond the end.
        let tokens = [3, 4, 5, 6, 3, 4, 5, 6, 3, 4];
        let bias = [(3, 100.0), (4, 100.0), (5, 100.0), (6, 100.0)].into_iter().collect();
        let sampling = Sampling { temperature: Some(0.0), logit_bias: bias, ..Sampling::default() };
        let requests: Vec<Request> = (1..60)
            .map(|most| Request { sampling: sampling.clone(), ..greedy(&tokens, most) })
            .collect();
        let drafting = Engine::start(&tiny(), &always(options.clone())).unwrap();
        for (most, seen) in (1..60).zip(answers(&drafting, &requests)) {
            let (reason, _, _, tokens) = seen.end.unwrap();
            assert_eq!((reason, tokens), (StopReason::Length, most.min(54)));
        }
        expect_same(&tiny(), options, &requests);
    }
}

#[test]
fn models_that_cannot_verify_drafts_exactly_draft_nothing() {
    for name in ["qwen3-f32", "qwen3-f16"] {
        let fixture = Fixture::load(name);
        let engine = fixture.start(&always(EngineOptions::default()));
        assert_eq!(engine.speculation(), Speculation::Off, "{name}");
        let prompt = fixture.longest();
        assert!(read(&mut engine.submit(&greedy(&prompt.tokens, 40)).unwrap()).end.is_ok());
        assert_eq!(engine.totals().lookup_drafts.drafted, 0);
    }
    let hybrid = crate::fixtures().join("qwen35/qwen35-q8_0.gguf");
    let hybrid = engine::ModelFile::Path(hybrid);
    let engine = Engine::start(&hybrid, &always(EngineOptions::default())).unwrap();
    assert_eq!(engine.speculation(), Speculation::Off);
}
