//! Compares the engine on a GPU with transformers and with the engine on the CPU. Needs the feature `cuda` and a
//! GPU; without a GPU the tests print the reason and pass.
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

/// Starts an engine on the first GPU. Without one, prints the reason and returns `None`.
fn on_gpu(fixture: &Fixture) -> Option<Engine> {
    let engine = on_devices(fixture, &options(DeviceChoice::Cuda(0)))?;
    assert_eq!(engine.info().device, "cuda:0");
    Some(engine)
}

/// Starts an engine on the devices in its options. Without them, prints the reason and returns `None`.
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

/// Returns the text of these tokens, up to the one that ends an answer.
fn truth(engine: &Engine, greedy: &[u32]) -> String {
    let ends = engine.tokenizer().ends();
    let tokens: Vec<u32> =
        greedy.iter().copied().take_while(|token| !ends.contains(token)).collect();
    engine.tokenizer().decode(&tokens)
}

/// In full precision greedy answers equal those of transformers, alone and in a batch.
#[test]
fn full_precision_answers_equal_transformers() {
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

/// With quantized weights the first token has the same probability as on the CPU. Products round differently
/// there, so later tokens may differ.
#[test]
fn quantized_models_give_the_logprobs_of_the_cpu() {
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

/// In a batch of the base and two adapters, each answer equals PEFT's in full precision.
#[test]
fn answers_of_several_adapters_in_one_batch_equal_peft() {
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

/// A model that fits on the GPU has all layers there. (`src/runner/backend/tests.rs` tests models in parts.)
#[test]
fn a_model_that_fits_on_the_gpu_has_no_layer_on_the_cpu() {
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

/// If keys and values need more memory than the GPU has free, some layers are on the CPU.
#[test]
fn layers_without_room_on_the_gpu_are_on_the_cpu() {
    let Some(free) = DeviceChoice::Cuda(0).available_memory() else {
        return println!("skipped: there is no GPU that reports its free memory");
    };
    let fixture = Fixture::load("qwen3-f32");
    // Two layers of 2 heads of 32 numbers, keys and values in f32.
    let (per_token, prompt) = (2 * 2 * 32 * 2 * 4, &fixture.prompts[3]);
    let kv_tokens = Some(free / per_token + free / per_token / 8);
    let options = EngineOptions { kv_tokens, ..options("cuda:0,cpu".parse().unwrap()) };
    let engine = match Engine::start(&ModelFile::Path(fixture.path()), &options) {
        Ok(engine) => engine,
        Err(LoadError::OutOfMemory(reason)) => {
            return println!("skipped: the machine has less free memory than the GPU: {reason}");
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(engine.info().device, "cuda:0,cpu");
    assert_eq!(engine.devices().iter().map(|device| device.layers).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(engine.gpus().len(), 1);
    let (text, _) = read(engine.submit(&greedy(&prompt.tokens, prompt.greedy.len())).unwrap());
    assert_eq!(text, truth(&engine, &prompt.greedy));
}
