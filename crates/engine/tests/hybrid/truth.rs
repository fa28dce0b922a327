//! Logits and greedy tokens.

use engine::batch::{ForwardBatch, Logits, SequenceRows};
use engine::kv::{BlockTable, KvPool, KvType, PageAllocator, StatePlan};
use engine::lora::{AdapterSource, Adapters};
use engine::model::{Decoder, Workspace};
use engine::{Checkpoint, ModelFile, Quantization};

use crate::FAMILIES;
use crate::common::{Fixture, distance, fixtures};

/// A model with its pages and states.
struct Bench {
    model: Decoder,
    pool: KvPool,
    pages: PageAllocator,
    workspace: Workspace,
}

impl Bench {
    fn new(checkpoint: &Checkpoint) -> Self {
        let model = Decoder::load(checkpoint).unwrap();
        let config = model.config();
        let plan = StatePlan { sequences: 8, checkpoints: 8, interval: 1, bytes: 0 };
        let states = config.state_shape(0..config.layers).unwrap();
        let pool = KvPool::new(config.kv_shape(KvType::F32), 64).with_states(states, plan.slots());
        let pages = PageAllocator::new(64).with_states(plan);
        Self { model, pool, pages, workspace: Workspace::default() }
    }

    /// Returns the logits of rows of one sequence. `[logit_rows][vocab]`
    fn logits(&mut self, rows: SequenceRows<'_>) -> Vec<Vec<f32>> {
        let mut batch = ForwardBatch::default();
        batch.push(rows);
        let vocab = self.model.config().vocab;
        let logits = self.model.forward(&batch, &mut self.pool, &mut self.workspace).unwrap();
        logits.chunks(vocab).map(<[f32]>::to_vec).collect()
    }

    fn all(&mut self, tokens: &[u32], table: &BlockTable) -> Vec<Vec<f32>> {
        self.logits(SequenceRows::text(tokens, 0, table, Logits::All))
    }

    fn greedy(&mut self, prompt: &[u32], count: usize) -> Vec<u32> {
        let table = self.pages.reserve(prompt.len() + count).unwrap();
        let (mut tokens, mut done) = (prompt.to_vec(), 0);
        while tokens.len() < prompt.len() + count {
            let rows = SequenceRows::text(&tokens[done..], done, &table, Logits::Last);
            done = tokens.len();
            let row = &self.logits(rows)[0];
            let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
            tokens.push(best as u32);
        }
        tokens.split_off(prompt.len())
    }
}

fn folder(family: &str, quantization: Quantization) -> Checkpoint {
    let folder = fixtures().join(family).join("hf");
    ModelFile::Safetensors { folder, quantization }.open().unwrap()
}

fn compare(family: &str, kind: &str, checkpoint: &Checkpoint) {
    let fixture = Fixture::load(&format!("{family}-f32"));
    let mut bench = Bench::new(checkpoint);
    for prompt in &fixture.prompts {
        let table = bench.pages.reserve(prompt.tokens.len()).unwrap();
        let rows = bench.all(&prompt.tokens, &table);
        let off = distance(&rows[prompt.first_position..], &fixture.logits(prompt));
        println!("{family} {kind} {}: off by {off}", prompt.name);
        assert!(off <= 1e-3, "{family} {kind} {}: off by {off}", prompt.name);
        drop(table);
        let tokens = bench.greedy(&prompt.tokens, prompt.greedy.len());
        assert_eq!(tokens, prompt.greedy, "{family} {kind} {}", prompt.name);
    }
}

#[test]
fn gguf_models_equal_transformers() {
    for family in FAMILIES {
        let path = Fixture::load(&format!("{family}-f32")).path();
        compare(family, "GGUF", &ModelFile::Path(path).open().unwrap());
    }
}

#[test]
fn folders_equal_transformers() {
    for family in FAMILIES {
        compare(family, "folder", &folder(family, Quantization::None));
    }
}

/// Quantized weights change the logits of this random model by tenths; a wrong order of heads by several. (With
/// experts, rounding may change the choice, and with it the logits by any amount.)
#[test]
fn a_quantized_model_is_near_transformers() {
    let fixture = Fixture::load("qwen35-f32");
    let mut bench = Bench::new(&folder("qwen35", Quantization::EightBit));
    let prompt = &fixture.prompts[2];
    let table = bench.pages.reserve(prompt.tokens.len()).unwrap();
    let (rows, truth) = (bench.all(&prompt.tokens, &table), fixture.logits(prompt));
    let squares = rows.iter().flatten().zip(truth.iter().flatten());
    let mean = squares.map(|(a, b)| (a - b).powi(2)).sum::<f32>() / (rows.len() * 512) as f32;
    println!("root mean square {}", mean.sqrt());
    assert!(mean.sqrt() < 0.8, "root mean square {}", mean.sqrt());
}

/// An adapter has transformers' order of value heads, whatever the order of the base's file.
#[test]
fn adapters_on_files_of_both_kinds_equal_transformers() {
    let fixture = Fixture::load("qwen35-adapter");
    let source =
        AdapterSource { name: "one".to_owned(), folder: fixtures().join("qwen35/adapter") };
    for checkpoint in
        [ModelFile::Path(fixture.path()).open().unwrap(), folder("qwen35", Quantization::None)]
    {
        let mut bench = Bench::new(&checkpoint);
        let prompt = &fixture.prompts[0];
        let table = bench.pages.reserve(prompt.tokens.len()).unwrap();
        let base = bench.all(&prompt.tokens, &table);
        let adapters = Adapters::load(std::slice::from_ref(&source), bench.model.config()).unwrap();
        let adapter = adapters.find("one");
        bench.model = bench.model.with_adapters(adapters);
        let table = bench.pages.reserve(prompt.tokens.len()).unwrap();
        let rows = SequenceRows::text(&prompt.tokens, 0, &table, Logits::All);
        let rows = bench.logits(SequenceRows { adapter, ..rows });
        let truth = fixture.logits(prompt);
        let (off, moved) = (distance(&rows, &truth), distance(&base, &truth));
        println!("{}: off by {off}, the base by {moved}", checkpoint.label());
        assert!(off <= 1e-3 && moved > 1.0, "{}: {off}, {moved}", checkpoint.label());
    }
}
