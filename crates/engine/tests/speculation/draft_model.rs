//! A smaller model that drafts.

use engine::synth::{SynthOptions, SynthQuant, synthesize_with_draft};
use engine::{Engine, EngineOptions, Input, LoadError, ModelFile, Request, Sampling, Survey};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::common::{Fixture, greedy};
use crate::{Seen, always, answers, demo, prompt, speculates, tiny};

/// Returns options with a draft model that drafts whatever it may.
fn with_draft(draft: ModelFile, options: EngineOptions) -> EngineOptions {
    EngineOptions { draft_model: Some(draft), ..always(options) }
}

fn requests(count: u64, vocabulary: u32, temperature: f32) -> Vec<Request> {
    let request = |seed: u64| {
        let mut random = StdRng::seed_from_u64(seed);
        let tokens = prompt(&mut random, vocabulary);
        let sampling = Sampling {
            temperature: Some(if seed.is_multiple_of(2) { 0.0 } else { temperature }),
            seed: Some(seed),
            logprobs: seed.is_multiple_of(3).then_some(1),
            ..Sampling::default()
        };
        Request { sampling, ..greedy(&tokens, random.random_range(1..70)) }
    };
    (0..count).map(request).collect()
}

/// The model itself, in another format, drafts for the tiny one: most of its tokens are accepted, and some are not.
#[test]
fn answers_with_a_draft_model_are_those_without() {
    let requests = requests(300, 500, 0.7);
    let options = EngineOptions { max_batch: 4, ..EngineOptions::default() };
    let plain = Engine::start(&tiny(), &options).unwrap();
    let draft = ModelFile::Path(Fixture::load("qwen3-q4_0").path());
    let drafting = Engine::start(&tiny(), &with_draft(draft, options)).unwrap();
    let (with, without): (Vec<Seen>, Vec<Seen>) =
        (answers(&drafting, &requests), answers(&plain, &requests));
    for ((with, without), request) in with.iter().zip(&without).zip(&requests) {
        assert_eq!(with, without, "{request:?}");
    }
    let drafts = drafting.totals().model_drafts;
    println!("{drafts:?} in {} steps, without {}", drafting.steps(), plain.steps());
    if speculates(&drafting) {
        assert!(drafts.accepted > 0 && drafts.accepted < drafts.drafted, "{drafts:?}");
    }
}

/// A model whose later layers change nothing, and a draft of its first ones, which agrees with it.
#[test]
fn a_model_of_the_first_layers_drafts_what_the_model_finds_likeliest() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let options = SynthOptions {
        shape: "tiny".parse().unwrap(),
        quant: SynthQuant::Q8_0,
        seed: 3,
        output: path("whole.gguf"),
    };
    let (whole, part) = synthesize_with_draft(&options, 1, &path("draft.gguf")).unwrap();
    assert!(part < whole);
    let [model, draft] = ["whole.gguf", "draft.gguf"].map(|name| ModelFile::Path(path(name)));
    let engine = EngineOptions { max_batch: 2, ..EngineOptions::default() };
    let plain = Engine::start(&model, &engine).unwrap();
    let drafting = Engine::start(&model, &with_draft(draft.clone(), engine.clone())).unwrap();
    let mut random = StdRng::seed_from_u64(1);
    // The longest must be computed in several parts.
    let requests: Vec<Request> = [3, 40, 600]
        .map(|len| (0..len).map(|_| random.random_range(0..4_000)).collect())
        .map(|tokens| Request::greedy(Input::Tokens(tokens), 50))
        .into();
    assert!(answers(&drafting, &requests) == answers(&plain, &requests));
    let drafts = drafting.totals().model_drafts;
    println!("{drafts:?} in {} steps, without {}", drafting.steps(), plain.steps());
    if speculates(&drafting) {
        assert!(drafts.accepted > 0 && 10 * drafts.accepted > 9 * drafts.drafted, "{drafts:?}");
    }
    // The memory that is known before the weights are read has the draft model.
    let alone = Survey::of(&model, &engine).unwrap();
    let both = Survey::of(&model, &with_draft(draft, engine)).unwrap();
    assert!(both.fixed > alone.fixed + part as usize / 2);
}

#[test]
fn a_draft_model_that_cannot_draft_is_refused_by_name() {
    let refusal = |draft: ModelFile| match Engine::start(
        &tiny(),
        &with_draft(draft, EngineOptions::default()),
    ) {
        Err(LoadError::InvalidOption(problem)) => problem,
        other => panic!("{other:?}"),
    };
    let problem = refusal(demo());
    assert!(problem.contains("another vocabulary: its token "), "{problem}");
    assert!(problem.contains("qwen3-q8_0.gguf"), "{problem}");
    let fixture = |name: &str| ModelFile::Path(crate::fixtures().join(name));
    let problem = refusal(fixture("embedding/embedding.gguf"));
    assert!(problem.contains("it is an embedding model"), "{problem}");
    let problem = refusal(fixture("qwen35/qwen35-q8_0.gguf"));
    assert!(problem.contains("recurrent layers"), "{problem}");
    // Without speculation it is not even opened.
    let options = EngineOptions { draft_model: Some(demo()), ..EngineOptions::default() };
    assert!(Engine::start(&tiny(), &options).is_ok());
}
