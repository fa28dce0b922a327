//! The engine on a GPU against transformers and against the engine on the CPU. Runs in a build with the feature
//! `cuda` where there is a GPU; elsewhere it says why not.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests too

mod common;

use common::{Fixture, fixtures, greedy};
use engine::{
    AdapterSource, DeviceChoice, Engine, EngineOptions, Generation, LoadError, ModelFile, Progress,
    Request,
};

fn options(device: DeviceChoice) -> EngineOptions {
    EngineOptions { device, ..EngineOptions::default() }
}

/// An engine on the first GPU, or the reason why there is none.
fn on_gpu(fixture: &Fixture) -> Option<Engine> {
    let engine = on_devices(fixture, &options(DeviceChoice::Cuda(0)))?;
    assert_eq!(engine.info().device, "cuda:0");
    Some(engine)
}

/// An engine on the devices of its options, or the reason why they are not there.
fn on_devices(fixture: &Fixture, options: &EngineOptions) -> Option<Engine> {
    match Engine::start(&ModelFile::Path(fixture.path()), options) {
        Ok(engine) => Some(engine),
        Err(LoadError::Device(reason)) => {
            println!("skipped: {reason}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn read(mut generation: Generation) -> (String, Vec<f32>) {
    let (mut text, mut drawn) = (String::new(), Vec::new());
    loop {
        match generation.next_blocking().unwrap() {
            Progress::Text { text: part, logprobs } => {
                text.push_str(&part);
                drawn.extend(logprobs.iter().map(|token| token.drawn.logprob));
            }
            Progress::Finished(_) => return (text, drawn),
            Progress::Failed(error) => panic!("{error}"),
        }
    }
}

/// What these tokens spell, up to the one that ends an answer.
fn truth(engine: &Engine, greedy: &[u32]) -> String {
    let ends = engine.tokenizer().ends();
    let tokens: Vec<u32> =
        greedy.iter().copied().take_while(|token| !ends.contains(token)).collect();
    engine.tokenizer().decode(&tokens)
}

/// In full precision the likeliest tokens are transformers', alone and all at once.
#[test]
fn answers_in_full_precision_are_the_truth() {
    for name in ["qwen2-f32", "qwen2.5-f32", "qwen3-f32", "yarn-f32"] {
        let fixture = Fixture::load(name);
        let Some(engine) = on_gpu(&fixture) else { return };
        let truth = |greedy: &[u32]| truth(&engine, greedy);
        let submit = |tokens: &[u32], len| engine.submit(&greedy(tokens, len)).unwrap();
        for prompt in &fixture.prompts {
            let (text, _) = read(submit(&prompt.tokens, prompt.greedy.len()));
            assert_eq!(text, truth(&prompt.greedy), "{name}: {}", prompt.name);
        }
        let together: Vec<Generation> = fixture
            .prompts
            .iter()
            .map(|prompt| submit(&prompt.tokens, prompt.greedy.len()))
            .collect();
        for (prompt, generation) in fixture.prompts.iter().zip(together) {
            assert_eq!(read(generation).0, truth(&prompt.greedy), "{name}: {}", prompt.name);
        }
    }
}

/// Quantized, the first token is as likely as on the CPU: products round elsewhere, so later tokens may be others.
#[test]
fn quantized_models_expect_what_the_cpu_expects() {
    for name in ["qwen3-q8_0", "qwen3-q4_0", "qwen3moe-q8_0"] {
        let fixture = Fixture::load(name);
        let Some(engine) = on_gpu(&fixture) else { return };
        let cpu = fixture.start(&options(DeviceChoice::Cpu));
        for prompt in &fixture.prompts {
            let mut request: Request = greedy(&prompt.tokens, 1);
            request.sampling.logprobs = Some(5);
            let [gpu, cpu] = [&engine, &cpu].map(|engine| read(engine.submit(&request).unwrap()).1);
            assert!((gpu[0] - cpu[0]).abs() < 0.05, "{name} {}: {gpu:?}, {cpu:?}", prompt.name);
        }
    }
}

/// Adapters beside the base and beside one another, each row by its own: PEFT's tokens in full precision.
#[test]
fn adapted_answers_are_the_truth_side_by_side() {
    let adapters = ["broad", "narrow"].map(|kind| AdapterSource {
        name: kind.to_owned(),
        folder: fixtures().join("qwen3").join(kind),
    });
    let bytes = |engine: &Engine| engine.memory().adapters;
    let base = Fixture::load("qwen3-f32");
    let with_adapters = |device| EngineOptions { adapters: adapters.to_vec(), ..options(device) };
    let Some(engine) = on_devices(&base, &with_adapters(DeviceChoice::Cuda(0))) else { return };
    assert_eq!(bytes(&engine), bytes(&base.start(&with_adapters(DeviceChoice::Cpu))));
    let mut running = Vec::new();
    for (name, fixture) in
        [(None, "qwen3-f32"), (Some("broad"), "qwen3-broad"), (Some("narrow"), "qwen3-narrow")]
    {
        for prompt in Fixture::load(fixture).prompts {
            let adapter = name.map(str::to_owned);
            let request = Request { adapter, ..greedy(&prompt.tokens, prompt.greedy.len()) };
            let expected = truth(&engine, &prompt.greedy);
            let what = format!("{name:?}: {}", prompt.name);
            running.push((engine.submit(&request).unwrap(), expected, what));
        }
    }
    for (generation, expected, what) in running {
        assert_eq!(read(generation).0, expected, "{what}");
    }
}

/// What fits on the GPU stays there. (Models in parts, as memory would divide larger ones, are tested in
/// `src/runner/split_tests.rs`.)
#[test]
fn a_model_that_fits_on_the_gpu_leaves_nothing_to_the_cpu() {
    let fixture = Fixture::load("qwen3-f32");
    let options = options("cuda:0,cpu".parse().unwrap());
    let Some(engine) = on_devices(&fixture, &options) else { return };
    assert_eq!(engine.info().device, "cuda:0");
    assert_eq!(engine.devices().iter().map(|device| device.layers).collect::<Vec<_>>(), [2]);
    let prompt = &fixture.prompts[1];
    let (text, _) = read(engine.submit(&greedy(&prompt.tokens, 8)).unwrap());
    let (alone, _) = read(on_gpu(&fixture).unwrap().submit(&greedy(&prompt.tokens, 8)).unwrap());
    assert_eq!(text, alone);
}

/// With room for more keys and values than the GPU has free, the CPU takes some of the layers.
#[test]
fn what_the_gpu_has_no_room_for_is_the_cpus() {
    let Some(free) = DeviceChoice::Cuda(0).available_memory() else {
        return println!("skipped: there is no GPU, or none that tells its memory");
    };
    let fixture = Fixture::load("qwen3-f32");
    // Two layers of 2 heads of 32 numbers, keys and values in f32.
    let (per_token, prompt) = (2 * 2 * 32 * 2 * 4, &fixture.prompts[3]);
    let kv_tokens = Some(free / per_token + free / per_token / 8);
    let options = EngineOptions { kv_tokens, ..options("cuda:0,cpu".parse().unwrap()) };
    let engine = match Engine::start(&ModelFile::Path(fixture.path()), &options) {
        Ok(engine) => engine,
        Err(LoadError::OutOfMemory(reason)) => {
            return println!("skipped: the machine has less room than the GPU: {reason}");
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(engine.info().device, "cuda:0,cpu");
    assert_eq!(engine.devices().iter().map(|device| device.layers).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(engine.gpus().len(), 1);
    let (text, _) = read(engine.submit(&greedy(&prompt.tokens, prompt.greedy.len())).unwrap());
    assert_eq!(text, truth(&engine, &prompt.greedy));
}
