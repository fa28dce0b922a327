//! The memory plan is an upper bound: this process loads a model, uses all of the planned memory, and its peak
//! stays within the plan. A single test, since the peak is that of the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use engine::bench::greedy;
use engine::synth::{SynthOptions, synthesize};
use engine::{Engine, EngineOptions, Finished, Input, ModelFile, Progress, Request, system};

/// The plan has pages for [`BATCH`] sequences of this many tokens.
const CONTEXT: usize = 512;
const BATCH: usize = 16;

fn model() -> (tempfile::TempDir, ModelFile) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.gguf");
    let (shape, quant) = ("tiny".parse().unwrap(), "q4_k_m".parse().unwrap());
    synthesize(&SynthOptions { shape, quant, seed: 1, output: output.clone() }, |_, _| {}).unwrap();
    (folder, ModelFile::Path(output))
}

/// Returns a request that needs the most memory for sampling: a temperature, and all tokens as candidates.
fn request(tokens: Vec<u32>, max_tokens: usize) -> Request {
    let mut request = greedy(Input::Tokens(tokens), max_tokens);
    request.sampling.temperature = Some(1.0);
    request
}

fn run(engine: &Engine, requests: impl Iterator<Item = Request>) -> Vec<Finished> {
    let running: Vec<_> = requests.map(|request| engine.submit(&request).unwrap()).collect();
    let end = |mut generation: engine::Generation| loop {
        match generation.next_blocking() {
            Some(Progress::Text { .. }) => {}
            Some(Progress::Finished(end)) => return end,
            other => panic!("{other:?}"),
        }
    };
    running.into_iter().map(end).collect()
}

#[test]
fn process_memory_never_exceeds_the_plan() {
    let (_folder, model) = model();
    system::reset_peak_memory();
    let options = EngineOptions {
        max_batch: BATCH,
        kv_tokens: Some(BATCH * CONTEXT),
        step_tokens: 2 * CONTEXT,
        ..EngineOptions::default()
    };
    let engine = Engine::start(&model, &options).unwrap();
    let plan = engine.memory();
    let loaded = system::resident_memory().unwrap();
    // Prompts use every token of the vocabulary, so that the whole embedding is read. There are more requests
    // than run at once, of different tenants, so that every page is written, some of them twice.
    let prompt = |number: usize| -> Vec<u32> {
        (0..CONTEXT - 8).map(|n| ((n * 8 + number) % 4000) as u32).collect()
    };
    let ends = run(&engine, (0..BATCH + 4).map(|number| request(prompt(number), 8)));
    assert!(ends.iter().all(|end| end.prompt_tokens == CONTEXT - 8 && end.cached_tokens == 0));
    let peak = system::peak_memory().unwrap();
    assert!(peak <= plan.total, "{} MiB were held; planned were {plan}", peak >> 20);
    // The bound only means something if the peak comes near it: at least half of what was planned beside the
    // weights must have been used.
    let grown = peak.saturating_sub(loaded);
    let planned = plan.keys_and_values + plan.workspace;
    assert!(grown >= planned / 2, "{} MiB more than when loaded; planned were {plan}", grown >> 20);
    assert!(plan.keys_and_values >= 90 << 20, "too little for a meaningful test: {plan}");
}
