//! Compares adapters with PEFT and transformers in float32, on the same tiny bases, adapters and tokens. Also
//! tests that the result of an adapter does not depend on the batch.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests too

#[path = "../common/mod.rs"]
mod common;
mod engine;
mod malformed;

use std::path::PathBuf;

use ::engine::batch::{ForwardBatch, Logits, SequenceRows};
use ::engine::gguf::GgufFile;
use ::engine::kv::{BlockTable, KvPool, KvType, PageAllocator};
use ::engine::lora::{AdapterId, AdapterSource, Adapters};
use ::engine::model::{Decoder, Workspace};
use common::{Fixture, distance, fixtures};

/// The names of each family's adapters.
const KINDS: [&str; 2] = ["broad", "narrow"];
/// The families of the adapters' bases: the first has attention biases, the second has none.
const FAMILIES: [&str; 2] = ["qwen2", "qwen3"];

/// Returns the location of a family's adapter.
pub(crate) fn adapter(family: &str, kind: &str) -> AdapterSource {
    let folder: PathBuf = fixtures().join(family).join(kind);
    AdapterSource { name: kind.to_owned(), folder }
}

/// A model with both of its family's adapters and its own pages.
struct Bench {
    model: Decoder,
    ids: [AdapterId; 2],
    pool: KvPool,
    pages: PageAllocator,
    workspace: Workspace,
}

impl Bench {
    /// Loads a base by its name, e.g. `qwen3-q8_0`, and its adapters.
    fn new(base: &str) -> Self {
        let family = base.split_once('-').unwrap().0;
        let file = GgufFile::open(fixtures().join(family).join(format!("{base}.gguf"))).unwrap();
        let model = Decoder::load(&file).unwrap();
        let sources = KINDS.map(|kind| adapter(family, kind));
        let adapters = Adapters::load(&sources, model.config()).unwrap();
        assert!(adapters.bytes() > 0 && adapters.len() == 2);
        let ids = KINDS.map(|kind| adapters.find(kind).unwrap());
        let model = model.with_adapters(adapters);
        let pool = KvPool::new(model.config().kv_shape(KvType::F32), 200);
        Self { model, ids, pool, pages: PageAllocator::new(200), workspace: Workspace::default() }
    }

    fn table(&self, tokens: usize) -> BlockTable {
        self.pages.reserve(tokens).unwrap()
    }

    fn logits(&mut self, batch: &ForwardBatch) -> Vec<Vec<f32>> {
        let vocab = self.model.config().vocab;
        let logits = self.model.forward(batch, &mut self.pool, &mut self.workspace).unwrap();
        logits.chunks(vocab).map(<[f32]>::to_vec).collect()
    }

    /// Returns the logits of all `tokens`, computed in chunks of `chunk`. `[tokens][vocab]`
    fn all_logits(
        &mut self,
        tokens: &[u32],
        adapter: Option<AdapterId>,
        chunk: usize,
    ) -> Vec<Vec<f32>> {
        let table = self.table(tokens.len());
        let mut rows = Vec::new();
        for (index, part) in tokens.chunks(chunk).enumerate() {
            let mut batch = ForwardBatch::default();
            let text = SequenceRows::text(part, index * chunk, &table, Logits::All);
            batch.push(SequenceRows { adapter, ..text });
            rows.extend(self.logits(&batch));
        }
        rows
    }

    fn greedy(&mut self, prompt: &[u32], adapter: Option<AdapterId>, count: usize) -> Vec<u32> {
        let table = self.table(prompt.len() + count);
        let mut tokens = prompt.to_vec();
        let mut done = 0;
        while tokens.len() < prompt.len() + count {
            let mut batch = ForwardBatch::default();
            let text = SequenceRows::text(&tokens[done..], done, &table, Logits::Last);
            batch.push(SequenceRows { adapter, ..text });
            done = tokens.len();
            let row = self.logits(&batch).remove(0);
            let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
            tokens.push(best as u32);
        }
        tokens.split_off(prompt.len())
    }
}

#[test]
fn logits_and_greedy_tokens_equal_peft() {
    for family in FAMILIES {
        let mut bench = Bench::new(&format!("{family}-f32"));
        for (kind, id) in KINDS.into_iter().zip(bench.ids) {
            let fixture = Fixture::load(&format!("{family}-{kind}"));
            for prompt in &fixture.prompts {
                let rows = bench.all_logits(&prompt.tokens, Some(id), usize::MAX);
                let off = distance(&rows[prompt.first_position..], &fixture.logits(prompt));
                println!("{family} {kind} {}: off by {off}", prompt.name);
                assert!(off <= 1e-3, "{family} {kind} {}: off by {off}", prompt.name);
                let tokens = bench.greedy(&prompt.tokens, Some(id), 64);
                assert_eq!(tokens, prompt.greedy, "{family} {kind} {}", prompt.name);
            }
        }
    }
}

#[test]
fn the_base_with_loaded_adapters_equals_transformers() {
    for family in FAMILIES {
        let fixture = Fixture::load(&format!("{family}-f32"));
        let mut bench = Bench::new(&format!("{family}-f32"));
        for prompt in &fixture.prompts {
            let rows = bench.all_logits(&prompt.tokens, None, usize::MAX);
            assert!(distance(&rows[prompt.first_position..], &fixture.logits(prompt)) <= 1e-3);
            assert_eq!(bench.greedy(&prompt.tokens, None, 64), prompt.greedy);
        }
    }
}

/// Prompts, chunks and single tokens of the base and of two adapters in one batch. With packed weights the
/// logits are bitwise equal to those alone; rounding of candle's products of full precision depends on the
/// number of rows.
#[test]
fn batched_adapters_match_each_adapter_alone() {
    for (base, exact) in
        [("qwen3-q8_0", true), ("qwen3-q4_0", true), ("qwen2-f32", false), ("qwen3-f32", false)]
    {
        let mut bench = Bench::new(base);
        let long = Fixture::load("qwen3-f32").longest().tokens.clone();
        let [broad, narrow] = bench.ids.map(Some);
        // (tokens, how many of them are in the pages already, adapter)
        let parts = [
            (&long[..60], 0, narrow),
            (&long[..60], 0, broad),
            (&long[..60], 0, None),
            (&long[..], 129, broad),
            (&long[..], 129, None),
            (&long[..100], 33, narrow),
            (&long[20..53], 32, broad),
            (&long[..1], 0, narrow),
        ];
        let (mut batch, mut single, mut tables) = (ForwardBatch::default(), Vec::new(), Vec::new());
        for (tokens, old, adapter) in parts {
            let alone = bench.all_logits(tokens, adapter, usize::MAX).split_off(old);
            single.extend(alone);
            let table = bench.table(tokens.len());
            if old > 0 {
                let mut before = ForwardBatch::default();
                let text = SequenceRows::text(&tokens[..old], 0, &table, Logits::None);
                before.push(SequenceRows { adapter, ..text });
                bench.logits(&before);
            }
            let text = SequenceRows::text(&tokens[old..], old, &table, Logits::All);
            batch.push(SequenceRows { adapter, ..text });
            tables.push(table);
        }
        let together = bench.logits(&batch);
        let off = distance(&together, &single);
        println!("{base}: off by {off}");
        assert!(off <= if exact { 0.0 } else { 1e-4 }, "{base}: off by {off}");
        // The first three have the same tokens and different adapters, so different logits.
        let apart = |one: usize, other: usize| {
            distance(&together[one * 60..][..60], &together[other * 60..][..60])
        };
        assert!(apart(0, 1) > 1.0 && apart(0, 2) > 1.0 && apart(1, 2) > 1.0, "{base}");
    }
}

/// The base's logits are bitwise equal with and without loaded adapters.
#[test]
fn adapters_do_not_change_rows_of_the_base() {
    let tokens = Fixture::load("qwen3-f32").longest().tokens.clone();
    for base in ["qwen3-q8_0", "qwen3-f32"] {
        let mut bench = Bench::new(base);
        let with = bench.all_logits(&tokens, None, usize::MAX);
        let file = GgufFile::open(fixtures().join("qwen3").join(format!("{base}.gguf"))).unwrap();
        bench.model = Decoder::load(&file).unwrap();
        assert_eq!(bench.all_logits(&tokens, None, usize::MAX), with, "{base}");
    }
}

#[test]
fn chunked_prefill_matches_unchunked_prefill() {
    for (base, allowed) in [("qwen2-f32", 1e-4), ("qwen3-f32", 1e-4), ("qwen3-q8_0", 0.0)] {
        let mut bench = Bench::new(base);
        let tokens = Fixture::load("qwen3-f32").longest().tokens.clone();
        for id in bench.ids {
            let whole = bench.all_logits(&tokens, Some(id), usize::MAX);
            for chunk in [1, 7, 32, 33, 100] {
                let off = distance(&bench.all_logits(&tokens, Some(id), chunk), &whole);
                assert!(off <= allowed, "{base}, chunks of {chunk}: off by {off}");
            }
        }
    }
}

#[test]
fn a_batch_with_an_unknown_adapter_is_an_error() {
    let mut bench = Bench::new("qwen3-f32");
    let file = GgufFile::open(fixtures().join("qwen3/qwen3-f32.gguf")).unwrap();
    bench.model = Decoder::load(&file).unwrap();
    let table = bench.table(1);
    let mut batch = ForwardBatch::default();
    let text = SequenceRows::text(&[1], 0, &table, Logits::Last);
    batch.push(SequenceRows { adapter: Some(bench.ids[1]), ..text });
    let error = bench.model.forward(&batch, &mut bench.pool, &mut bench.workspace).unwrap_err();
    assert!(error.to_string().contains("adapter 1 of 0"), "{error}");
}
