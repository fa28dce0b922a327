//! Tests adapters in the whole engine: chosen per request, in one batch, and preempted for lack of pages.

use engine::{
    AdapterSource, Engine, EngineOptions, Finished, GenerateError, Generation, LoadError, Progress,
    Request,
};

use crate::common::{Fixture, fixture, greedy};
use crate::{KINDS, adapter};

fn start(options: EngineOptions) -> Engine {
    let adapters = KINDS.map(|kind| adapter("qwen3", kind)).to_vec();
    fixture().start(&EngineOptions { adapters, ..options })
}

fn request(tokens: &[u32], adapter: Option<&str>, max_tokens: usize) -> Request {
    Request { adapter: adapter.map(str::to_owned), ..greedy(tokens, max_tokens) }
}

fn end(mut generation: Generation) -> (String, Finished) {
    let mut answer = String::new();
    loop {
        match generation.next_blocking() {
            Some(Progress::Text { text, .. }) => answer.push_str(&text),
            Some(Progress::Finished(finished)) => return (answer, finished),
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the text of PEFT's first `count` tokens, up to the one that ends an answer.
fn expected(engine: &Engine, fixture: &Fixture, prompt: usize, count: usize) -> String {
    let tokens = &fixture.prompts[prompt].greedy[..count];
    let ends = engine.tokenizer().ends();
    let len = tokens.iter().position(|token| ends.contains(token)).unwrap_or(count);
    let mut detokenizer = engine.tokenizer().detokenizer();
    let text: String = tokens[..len].iter().map(|token| detokenizer.push(*token)).collect();
    text + &detokenizer.finish()
}

/// Each choice of an adapter with the fixture of its results.
const CHOICES: [(Option<&str>, &str); 3] =
    [(None, "qwen3-f32"), (Some("broad"), "qwen3-broad"), (Some("narrow"), "qwen3-narrow")];

#[test]
fn requests_in_one_batch_are_answered_by_their_own_adapters() {
    let engine = start(EngineOptions { max_batch: 16, ..EngineOptions::default() });
    assert_eq!(engine.adapters(), KINDS);
    let mut running = Vec::new();
    for (name, truth) in CHOICES {
        let truth = Fixture::load(truth);
        for (index, prompt) in truth.prompts.iter().enumerate() {
            let expected = expected(&engine, &truth, index, 40);
            let generation = engine.submit(&request(&prompt.tokens, name, 40)).unwrap();
            running.push((generation, expected, format!("{name:?} {}", prompt.name)));
        }
    }
    let mut answers = std::collections::HashSet::new();
    for (generation, expected, what) in running {
        let (answer, _) = end(generation);
        assert_eq!(answer, expected, "{what}");
        answers.insert(answer);
    }
    assert!(answers.len() > 9, "{answers:?}");
}

/// Pages of a tenant are shared only among sequences with the same adapter.
#[test]
fn cached_pages_are_reused_only_with_the_same_adapter() {
    let engine = start(EngineOptions::default());
    let tokens = Fixture::load("qwen3-f32").longest().tokens.clone();
    let cached = |name| end(engine.submit(&request(&tokens, name, 2)).unwrap()).1.cached_tokens;
    for (name, _) in CHOICES {
        assert_eq!(cached(name), 0, "{name:?} found pages of another adapter");
    }
    for (name, truth) in CHOICES {
        assert_eq!(cached(name), 128, "{name:?}");
        let (answer, _) = end(engine.submit(&request(&tokens, name, 40)).unwrap());
        let truth = Fixture::load(truth);
        let longest = truth.prompts.iter().position(|one| one.name == "long").unwrap();
        assert_eq!(answer, expected(&engine, &truth, longest, 40), "{name:?}, from the cache");
    }
}

/// With so few pages that sequences are preempted repeatedly, the answers equal those of sequences that ran
/// alone. Uses packed weights, whose results are bitwise equal, so that no near-tie is decided by rounding.
#[test]
fn preempted_sequences_match_uninterrupted_ones() {
    const TOKENS: usize = 400;
    let start = |options: EngineOptions| {
        let adapters = KINDS.map(|kind| adapter("qwen3", kind)).to_vec();
        Fixture::load("qwen3-q8_0").start(&EngineOptions { adapters, ..options })
    };
    let roomy = start(EngineOptions { max_batch: 1, ..EngineOptions::default() });
    let kv_tokens = Some(30 * 32);
    let tight = start(EngineOptions { max_batch: 6, kv_tokens, ..EngineOptions::default() });
    let prompt = Fixture::load("qwen3-f32").prompts[2].tokens.clone(); // 33 tokens
    let requests =
        CHOICES.iter().flat_map(|(name, _)| ["one", "two"].map(|tenant| (*name, tenant)));
    let requests: Vec<Request> = requests
        .map(|(name, tenant)| {
            let mut request = request(&prompt, name, TOKENS);
            request.tenant = tenant.to_owned();
            // Forbids the end of the answer, so that sequences outgrow the pages they were admitted with.
            let ends = tight.tokenizer().ends().iter();
            request.sampling.logit_bias = ends.map(|token| (*token, -100.0)).collect();
            request
        })
        .collect();
    let running: Vec<Generation> =
        requests.iter().map(|request| tight.submit(request).unwrap()).collect();
    for (generation, request) in running.into_iter().zip(&requests) {
        let (answer, finished) = end(generation);
        assert_eq!(finished.completion_tokens, TOKENS);
        assert_eq!(answer, end(roomy.submit(request).unwrap()).0, "{:?}", request.adapter);
    }
    assert!(tight.totals().preemptions > 0, "no sequence was preempted, so nothing was tested");
    assert_eq!(roomy.totals().preemptions, 0);
}

#[test]
fn an_unknown_adapter_is_refused_with_the_names_of_the_loaded_ones() {
    let engine = start(EngineOptions::default());
    let refused = |engine: &Engine| match engine.submit(&request(&[1], Some("other"), 1)) {
        Err(GenerateError::InvalidRequest(problem)) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&engine), "there is no adapter \"other\"; there are broad, narrow");
    let bare = fixture().start(&EngineOptions::default());
    assert_eq!(refused(&bare), "there is no adapter \"other\"; none is loaded");
}

#[test]
fn the_memory_plan_counts_adapters() {
    let engine = start(EngineOptions::default());
    let plan = engine.memory();
    // broad: (192+128+128+192+160+160+160) numbers per rank and layer, and two more ranks for the queries
    // of one layer; narrow: queries and values, of rank 3.
    let (q, kv, o, ffn) = (64 + 128, 64 + 64, 128 + 64, 64 + 96);
    let broad = 2 * 4 * (q + 2 * kv + o + 3 * ffn) + 2 * q;
    let narrow = 2 * 3 * (q + kv);
    assert_eq!(plan.adapters, 4 * (broad + narrow));
    assert!(plan.to_string().contains("1 MiB of adapters"), "{plan}");
    let parts = [plan.weights, plan.adapters, plan.keys_and_values, plan.workspace, plan.rest];
    assert!(plan.total >= parts.iter().sum());
}

#[test]
fn adapter_names_must_be_unique_and_not_empty() {
    let source = |name: &str| AdapterSource { name: name.to_owned(), ..adapter("qwen3", "broad") };
    for adapters in [vec![source("a"), source("a")], vec![source("")]] {
        let options = EngineOptions { adapters, ..EngineOptions::default() };
        let model = engine::ModelFile::Path(fixture().path());
        let error = Engine::start(&model, &options).unwrap_err();
        assert!(matches!(error, LoadError::InvalidOption(_)), "{error}");
    }
}
