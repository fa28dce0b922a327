//! Checks that a model whose layers are divided computes the same bits as the whole one: for every cut and
//! every step, and through the engine. Several parts on the CPU stand in for devices; with a GPU, parts on
//! it are tested as well.

use std::path::{Path, PathBuf};

use super::super::device::Place;
use super::super::load::{Loaded, load};
use super::super::*;
use super::Backend;
use crate::api::{EmbedRequest, Input, Progress, Request};
use crate::architecture::Part;
use crate::batch::{ForwardBatch, Logits, SequenceRows};
use crate::kernels::machine::Machine;
use crate::kv::{BlockTable, PageAllocator};
use crate::lora::{AdapterId, AdapterSource, Adapters};
use crate::model::{Decoder, Workspace};
use crate::synth::{SynthOptions, SynthQuant, SynthShape, synthesize};
use crate::{Checkpoint, LoadError, ModelFile, Quantization};

const PAGES: usize = 60;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn file(path: impl Into<PathBuf>) -> ModelFile {
    let path = path.into();
    let quantization = Quantization::EightBit;
    match path.is_dir() {
        true => ModelFile::Safetensors { folder: path, quantization },
        false => ModelFile::Path(path),
    }
}

fn adapters() -> Vec<AdapterSource> {
    let source =
        |kind: &str| AdapterSource { name: kind.to_owned(), folder: fixture("qwen3").join(kind) };
    vec![source("broad"), source("narrow")]
}

/// Writes a synthetic model.
fn synthetic(folder: &Path, shape: SynthShape, quant: SynthQuant) -> PathBuf {
    let output = folder.join(format!("{}-{}.gguf", shape.name, quant.name()));
    synthesize(&SynthOptions { shape, quant, seed: 5, output: output.clone() }, |_, _| ()).unwrap();
    output
}

/// Returns ways to cut a model: at each single boundary, and at all of them.
fn cuts(layers: usize) -> Vec<Vec<usize>> {
    let once = (1..layers).map(|cut| vec![cut, layers - cut]);
    once.chain([vec![1; layers]]).collect()
}

/// A model in parts that compute on the CPU, and pages for it.
struct Rig {
    backend: Backend,
    allocator: PageAllocator,
    workspace: Workspace,
}

impl Rig {
    fn new(file: &Checkpoint, sizes: &[usize], with: &[AdapterSource]) -> Self {
        let config = file.config().unwrap();
        let parts: Vec<(Place, Part)> =
            Part::from_sizes(sizes).into_iter().map(|part| (Place::Cpu, part)).collect();
        let kv_tokens = Some(PAGES * crate::kv::PAGE_TOKENS);
        let options = EngineOptions { kv_tokens, warm_up: false, ..EngineOptions::default() };
        let adapters = Adapters::load(with, &config).unwrap();
        let Loaded { backend, devices, pages, .. } =
            load(file, &config, adapters, &parts, &options, 0).unwrap();
        assert_eq!(devices.iter().map(|plan| plan.layers).collect::<Vec<_>>(), sizes);
        let allocator = PageAllocator::new(pages);
        Self { backend, allocator, workspace: Workspace::default() }
    }

    /// Returns the bits of a step's rows.
    fn step(&mut self, chunks: &[Chunk<'_>]) -> Vec<u32> {
        let mut batch = ForwardBatch::default();
        for (tokens, start, table, logits, adapter) in chunks {
            let text = SequenceRows::text(tokens, *start, table, *logits);
            batch.push(SequenceRows { adapter: *adapter, ..text });
        }
        let rows = self.backend.forward(&batch, &mut self.workspace).unwrap();
        rows.iter().map(|x| x.to_bits()).collect()
    }

    /// Returns the rows of steps as in an engine: prompts, chunks of them, single tokens beside them, a
    /// sequence after pages that another computed, and one without any requested row.
    fn work(&mut self, adapters: usize) -> Vec<Vec<u32>> {
        let tokens: Vec<u32> = (0..130u32).map(|n| (n * 7_919 + n * n) % 500).collect();
        let table = |tokens: usize| self.allocator.reserve(tokens).unwrap();
        let (a, b, c) = (table(130), table(100), table(90));
        let adapter = |number: usize| (adapters > 0).then(|| AdapterId::new(number % adapters));
        let steps: [&[Chunk<'_>]; 5] = [
            &[(&tokens[..70], 0, &a, Logits::All, adapter(0))],
            &[(&tokens[70..90], 70, &a, Logits::None, adapter(0))],
            &[
                (&tokens[90..91], 90, &a, Logits::Last, adapter(0)),
                (&tokens[3..60], 0, &b, Logits::None, adapter(1)),
                (&tokens[9..41], 0, &c, Logits::Last, None),
            ],
            &[
                (&tokens[91..92], 91, &a, Logits::Last, adapter(0)),
                (&tokens[60..80], 57, &b, Logits::All, adapter(1)),
                (&tokens[41..42], 32, &c, Logits::Last, None),
            ],
            // Recomputed, after its first two pages.
            &[(&tokens[64..92], 64, &a, Logits::All, adapter(0))],
        ];
        steps.into_iter().map(|step| self.step(step)).collect()
    }
}

type Chunk<'a> = (&'a [u32], usize, &'a BlockTable, Logits, Option<AdapterId>);

#[test]
fn split_models_are_bitwise_equal_to_the_whole_model() {
    let folder = tempfile::tempdir().unwrap();
    let five = synthetic(folder.path(), SynthShape::smallest().with_layers(5), SynthQuant::Q4KM);
    let experts =
        synthetic(folder.path(), SynthShape::smallest_experts().with_layers(3), SynthQuant::Q8_0);
    let of_fixture = |name: &str| (fixture(name), false);
    for (path, adapted) in [
        (five, false),
        (experts, false),
        (fixture("qwen3/qwen3-q8_0.gguf"), true),
        of_fixture("qwen3/qwen3-q4_0.gguf"),
        of_fixture("qwen3/qwen3-f32.gguf"),
        of_fixture("qwen2.5/qwen2.5-f16.gguf"),
        of_fixture("qwen3moe/qwen3moe-q8_0.gguf"),
        of_fixture("qwen2moe/qwen2moe-f32.gguf"),
        of_fixture("embedding/embedding.gguf"),
        of_fixture("qwen3/hf"),
    ] {
        let model = file(&path).open().unwrap();
        let layers = model.config().unwrap().layers;
        let with = if adapted { adapters() } else { Vec::new() };
        for machine in Machine::all() {
            machine.run(|| {
                let whole = Rig::new(&model, &[layers], &with).work(with.len());
                assert!(whole.concat().iter().any(|bits| *bits != whole[0][0]), "says nothing");
                for sizes in cuts(layers) {
                    let split = Rig::new(&model, &sizes, &with).work(with.len());
                    assert!(split == whole, "{} cut {sizes:?} on {machine:?}", path.display());
                }
            });
        }
    }
}

/// A part loads the tensors of its own layers from the file, and those at its end of the model.
#[test]
fn a_part_loads_only_its_own_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(fixture("qwen2.5/qwen2.5-f16.gguf")).unwrap();
    // Removes a tensor by giving it another name of the same length.
    let without = |name: &str| {
        let at = bytes.windows(name.len()).position(|text| text == name.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[at] = b'x';
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        file(path).open().unwrap()
    };
    let parts = Part::from_sizes(&[1, 1]);
    for (name, loads) in [
        ("blk.0.ffn_up.weight", [false, true]),
        ("blk.1.ffn_up.weight", [true, false]),
        ("output_norm.weight", [true, false]),
    ] {
        let file = without(name);
        for (part, loads) in parts.iter().zip(loads) {
            match Decoder::load_part(&file, part) {
                Ok(_) => assert!(loads, "{part} without {name}"),
                Err(error) => {
                    assert!(!loads && error.to_string().contains(name), "{part}: {error}");
                }
            }
        }
        assert!(Decoder::load(&file).is_err());
    }
}

/// Returns the text, the bits of its tokens' logprobs, and the number of cached prompt tokens.
fn answer(engine: &Engine, requests: &[Request]) -> Vec<(String, Vec<u32>, usize)> {
    let running: Vec<Generation> =
        requests.iter().map(|request| engine.submit(request).unwrap()).collect();
    let read = |mut generation: Generation| {
        let (mut text, mut drawn) = (String::new(), Vec::new());
        loop {
            match generation.next_blocking() {
                Some(Progress::Text { text: more, logprobs }) => {
                    text.push_str(&more);
                    drawn.extend(logprobs.iter().map(|token| token.drawn.logprob.to_bits()));
                }
                Some(Progress::Finished(end)) => return (text, drawn, end.cached_tokens),
                other => panic!("{other:?}"),
            }
        }
    };
    running.into_iter().map(read).collect()
}

/// With adapters and the base side by side, chunked prompts, cached pages and preempted sequences, the
/// answers are those of the whole model for each request alone.
#[test]
fn a_split_engine_answers_like_an_unsplit_engine() {
    const TOKENS: usize = 400;
    let model = file(fixture("qwen3/qwen3-q8_0.gguf"));
    let options = EngineOptions { adapters: adapters(), ..EngineOptions::default() };
    let roomy = EngineOptions { max_batch: 1, ..options.clone() };
    let tight =
        EngineOptions { max_batch: 6, kv_tokens: Some(30 * 32), step_tokens: 48, ..options };
    let whole = Engine::start(&model, &roomy).unwrap();
    let split = Engine::start_split(&model, &tight, &[Place::Cpu, Place::Cpu], &[1, 1]).unwrap();
    assert_eq!(split.info().device, "cpu,cpu");
    let prompt: Vec<u32> = (0..40u32).map(|n| (n * 31) % 480).collect();
    let names = [None, Some("broad"), Some("narrow")];
    let requests: Vec<Request> = (0..6)
        .map(|number: usize| {
            let mut request = Request::greedy(Input::Tokens(prompt.clone()), TOKENS);
            request.adapter = names[number % 3].map(str::to_owned);
            request.sampling.temperature = Some(if number < 3 { 0.0 } else { 1.0 });
            request.sampling.seed = Some(number as u64);
            request.sampling.logprobs = Some(1);
            // No answer ends by itself, so all outgrow the room they were admitted with.
            let ends = split.tokenizer().ends().iter();
            request.sampling.logit_bias = ends.map(|token| (*token, -100.0)).collect();
            request
        })
        .collect();
    let packs = Machine::all().len() > 1;
    let mut found = 0;
    for round in 0..2 {
        let answers = answer(&split, &requests);
        for (request, (text, drawn, cached)) in requests.iter().zip(answers) {
            let (whole_text, whole_drawn, _) =
                answer(&whole, std::slice::from_ref(request)).remove(0);
            assert_eq!(drawn.len(), TOKENS);
            // Elsewhere, rounding depends on the other rows of a step.
            if packs {
                assert_eq!(
                    (text, drawn),
                    (whole_text, whole_drawn),
                    "round {round}: {:?}",
                    request.adapter
                );
            }
            found += cached;
        }
    }
    let totals = split.totals();
    assert!(found > 0 && totals.cached_prompt_tokens > 0, "nothing was found: {totals:?}");
    assert!(totals.preemptions > 0, "nobody was put back: {totals:?}");
    assert!(split.gpus().is_empty());
}

#[test]
fn split_engine_embeddings_equal_unsplit_ones() {
    let model = file(fixture("embedding/embedding.gguf"));
    let options = EngineOptions::default();
    let whole = Engine::start(&model, &options).unwrap();
    let split = Engine::start_split(&model, &options, &[Place::Cpu, Place::Cpu], &[1, 1]).unwrap();
    let embed = |engine: &Engine| {
        let input = Input::Tokens((1..90).collect());
        let tenant = "test".to_owned();
        let request = EmbedRequest { input, dimensions: None, deadline: None, tenant, priority: 0 };
        engine.embed(&request).unwrap().wait_blocking().unwrap().vector
    };
    assert_eq!(embed(&split), embed(&whole));
}

#[test]
fn memory_plan_lists_layers_and_bytes_per_device() {
    let model = file(fixture("qwen3/qwen3-q8_0.gguf"));
    let options =
        EngineOptions { adapters: adapters(), kv_tokens: Some(1000), ..EngineOptions::default() };
    let whole = Engine::start(&model, &options).unwrap();
    let split = Engine::start_split(&model, &options, &[Place::Cpu, Place::Cpu], &[1, 1]).unwrap();
    let [one] = whole.devices() else { panic!("{:?}", whole.devices()) };
    assert_eq!((one.device.as_str(), one.layers, one.memory), ("cpu", 2, whole.memory()));
    let [first, second] = split.devices() else { panic!("{:?}", split.devices()) };
    assert_eq!((first.layers, second.layers), (1, 1));
    let (whole, split) = (whole.memory(), split.memory());
    let own = |plan: &MemoryPlan| [plan.weights, plan.adapters, plan.keys_and_values];
    assert_eq!(own(&split), own(&whole));
    assert_eq!(split.total, first.memory.total + second.memory.total);
    assert_eq!(first.memory.keys_and_values, second.memory.keys_and_values);
    // Each part has a workspace; the head is in the last one, the embedding's file in the first one.
    assert_eq!(split.workspace, 2 * whole.workspace);
    let line = describe::describe_plan(&[first.clone(), second.clone()], 2);
    assert!(
        line.starts_with("on cpu 1 of 2 layers: 1 MiB of weights, 1 MiB of adapters, "),
        "{line}"
    );
    assert_eq!(line.matches("MiB in all").count(), 2, "{line}");
}

#[test]
fn device_combinations_that_cannot_share_a_model_are_refused() {
    let checkpoint = file(fixture("qwen3/qwen3-q8_0.gguf")).open().unwrap();
    let config = checkpoint.config().unwrap();
    let none = Adapters::default();
    let parts = |places: usize, options: &EngineOptions| {
        parts::parts(&checkpoint, &config, &none, &vec![Place::Cpu; places], options)
    };
    let options = EngineOptions::default();
    assert_eq!(parts(1, &options).unwrap()[0].1, Part::whole(&config));
    let Err(LoadError::InvalidOption(problem)) = parts(3, &options) else { panic!("not refused") };
    assert!(problem.contains("3 devices (cpu, cpu, cpu) are more than the 2 layers"), "{problem}");
    let options = EngineOptions { kv_tokens: Some(1 << 40), ..options };
    let Err(LoadError::OutOfMemory(problem)) = parts(2, &options) else { panic!("not refused") };
    for part in ["does not fit on these devices together", "cpu has ", "for 1099511627776 tokens"] {
        assert!(problem.contains(part), "{problem}");
    }
}

/// Two parts on one GPU, and one on it and one on the CPU, with a division that memory would not choose.
#[cfg(feature = "cuda")]
#[test]
fn a_gpu_split_engine_answers_like_an_unsplit_engine() {
    let gpu = match DeviceChoice::Cuda(0).open() {
        Ok(mut places) => places.remove(0),
        Err(reason) => return println!("skipped: {reason}"),
    };
    let prompt: Vec<u32> = (0..70u32).map(|n| (n * 31) % 480).collect();
    for name in ["qwen3/qwen3-f32.gguf", "qwen3/qwen3-q8_0.gguf", "qwen3moe/qwen3moe-q8_0.gguf"] {
        let model = file(fixture(name));
        let options = EngineOptions { step_tokens: 48, ..EngineOptions::default() };
        let start = |places: &[Place], sizes: &[usize]| {
            Engine::start_split(&model, &options, places, sizes).unwrap()
        };
        let whole = start(std::slice::from_ref(&gpu), &[2]);
        for (second, device) in [(gpu.clone(), "cuda:0,cuda:0"), (Place::Cpu, "cuda:0,cpu")] {
            let split = start(&[gpu.clone(), second], &[1, 1]);
            assert_eq!(split.info().device, device);
            // Products round differently, so later tokens may differ.
            for tokens in [&prompt[..], &prompt[..1], &prompt[..33]] {
                let mut request = Request::greedy(Input::Tokens(tokens.to_vec()), 1);
                request.sampling.logprobs = Some(1);
                let [own, truth] = [&split, &whole].map(|engine| {
                    let (_, drawn, _) = answer(engine, std::slice::from_ref(&request)).remove(0);
                    f32::from_bits(drawn[0])
                });
                assert!((own - truth).abs() < 0.05, "{name} on {device}: {own}, {truth}");
            }
        }
    }
}
