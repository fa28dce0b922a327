//! A sequence's logits depend neither on its chunks, nor on the batch it is in, nor on cached pages. Tested
//! with the kernels of every machine and every weight format.
//!
//! Products of packed weights, attention and row-wise operations sum a row in the same order whatever
//! else is in the batch, so models of packed weights give bitwise equal logits. candle's products of full
//! precision sum in an order that depends on the number of rows: they agree within 1e-4.

use std::path::{Path, PathBuf};

use super::*;
use crate::batch::{ForwardBatch, Logits, SequenceRows};
use crate::gguf::GgufFile;
use crate::kernels::machine::Machine;
use crate::kv::{BlockTable, KvPool, KvType, PAGE_TOKENS, PageAllocator, PageKey};
use crate::synth::{SynthOptions, SynthQuant, SynthShape, synthesize};

mod injected;
mod recurrent;

/// A model with its own pages.
struct Rig {
    name: String,
    path: PathBuf,
    model: Decoder,
    pool: KvPool,
    pages: PageAllocator,
    workspace: Workspace,
    /// Whether rows must be bitwise equal.
    exact: bool,
    /// The largest difference of logits otherwise.
    tolerance: f32,
}

impl Rig {
    fn new(name: &str, path: &Path, exact: bool) -> Self {
        let model = Decoder::load(&GgufFile::open(path).unwrap()).unwrap();
        let kv_type = if exact { KvType::F16 } else { KvType::F32 };
        let pool = KvPool::new(model.config().kv_shape(kv_type), 200);
        let (pages, workspace) = (PageAllocator::new(200), Workspace::default());
        let (name, path) = (name.to_owned(), path.to_owned());
        Self { name, path, model, pool, pages, workspace, exact, tolerance: 1e-4 }
    }

    fn table(&self, tokens: usize) -> BlockTable {
        self.pages.reserve(tokens).unwrap()
    }

    /// `[logit_rows][vocab]`
    fn logits(&mut self, batch: &ForwardBatch) -> Vec<Vec<f32>> {
        let logits = self.model.forward(batch, &mut self.pool, &mut self.workspace).unwrap();
        logits.chunks(self.model.config().vocab).map(<[f32]>::to_vec).collect()
    }

    /// Returns the logits of `tokens[start..]`, computed in chunks of `chunk`. The tokens before `start`
    /// are in the pages already.
    fn logits_from(
        &mut self,
        tokens: &[u32],
        start: usize,
        table: &BlockTable,
        chunk: usize,
    ) -> Vec<Vec<f32>> {
        let mut rows = Vec::new();
        for (index, part) in tokens[start..].chunks(chunk).enumerate() {
            let mut batch = ForwardBatch::default();
            batch.push(SequenceRows::text(part, start + index * chunk, table, Logits::All));
            rows.extend(self.logits(&batch));
        }
        rows
    }

    /// Compares the logits of parts of `tokens` in one batch with those of each part alone. A part is the number of its
    /// first token, its end, and how many of its tokens are computed before.
    fn assert_batched(&mut self, tokens: &[u32], parts: &[(usize, usize, usize)]) {
        let (mut batch, mut single, mut tables) = (ForwardBatch::default(), Vec::new(), Vec::new());
        for &(from, to, old) in parts {
            let tokens = &tokens[from..to];
            let table = self.table(tokens.len());
            single.extend(self.logits_from(tokens, 0, &table, usize::MAX).split_off(old));
            let table = self.table(tokens.len());
            if old > 0 {
                self.logits_from(&tokens[..old], 0, &table, usize::MAX);
            }
            batch.push(SequenceRows::text(&tokens[old..], old, &table, Logits::All));
            tables.push(table);
        }
        let together = self.logits(&batch);
        self.assert_same(&together, &single, "a batch");
    }

    /// Generates the likeliest tokens one by one until there are `count`. Returns the logits of all.
    fn generate(
        &mut self,
        tokens: &mut Vec<u32>,
        count: usize,
        table: &BlockTable,
    ) -> Vec<Vec<f32>> {
        let mut logits = self.logits_from(tokens, 0, table, usize::MAX);
        while tokens.len() < count {
            let last = &logits[tokens.len() - 1];
            let best = (0..last.len()).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
            tokens.push(best as u32);
            logits.extend(self.logits_from(tokens, tokens.len() - 1, table, 1));
        }
        logits
    }

    fn assert_same(&self, a: &[Vec<f32>], b: &[Vec<f32>], what: &str) {
        assert_eq!(a.len(), b.len());
        let (a, b) = (a.concat(), b.concat());
        assert!(a.iter().all(|logit| logit.is_finite()));
        let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        let same = if self.exact { bits(&a) == bits(&b) } else { off <= self.tolerance };
        assert!(same, "{}, {what}: off by {off:e}", self.name);
    }
}

fn fixture(name: &str) -> PathBuf {
    let (family, _) = name.split_once('-').unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(family);
    folder.join(name).with_extension("gguf")
}

/// Runs `check` with a model of each weight format on every machine.
fn on_every_machine(check: impl Fn(&mut Rig)) {
    let folder = tempfile::tempdir().unwrap();
    let synthetic = |quant: SynthQuant| {
        let output = folder.path().join(quant.name()).with_extension("gguf");
        let shape = SynthShape::smallest();
        synthesize(&SynthOptions { shape, quant, seed: 7, output: output.clone() }, |_, _| ())
            .unwrap();
        output
    };
    let packs = Machine::all().len() > 1;
    for (name, path, packed) in [
        ("f32", fixture("qwen3-f32"), false),
        ("f16", fixture("qwen3-f16"), false),
        ("q8_0", fixture("qwen3-q8_0"), packs),
        ("q4_0", fixture("qwen3-q4_0"), packs),
        ("q8_0 of experts", fixture("qwen3moe-q8_0"), packs),
        ("q8_0 of 256", synthetic(SynthQuant::Q8_0), packs),
        ("q4_k_m", synthetic(SynthQuant::Q4KM), packs),
    ] {
        let mut rig = Rig::new(name, &path, packed);
        for machine in Machine::all() {
            rig.name = format!("{name} on {machine:?}");
            machine.run(|| check(&mut rig));
        }
    }
}

/// A prompt of four pages and seven tokens.
fn prompt() -> Vec<u32> {
    prompt_of(135)
}

fn prompt_of(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|n| (n * 7_919 + n * n) % 500).collect()
}

#[test]
fn chunked_prefill_matches_unchunked_prefill() {
    on_every_machine(|rig| {
        let tokens = prompt();
        let table = rig.table(tokens.len());
        let whole = rig.logits_from(&tokens, 0, &table, usize::MAX);
        let (first, last) = (&whole[0], &whole[tokens.len() - 1]);
        let moved = first.iter().zip(last).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(moved > 0.1, "{}: all tokens have the same logits", rig.name);
        for chunk in [1, 7, 33, 100] {
            let table = rig.table(tokens.len());
            let chunked = rig.logits_from(&tokens, 0, &table, chunk);
            rig.assert_same(&chunked, &whole, &format!("chunks of {chunk}"));
        }
    });
}

#[test]
fn batched_logits_match_single_sequence_logits() {
    on_every_machine(|rig| {
        let tokens = prompt();
        let parts =
            [(0, 1, 0), (0, 135, 134), (60, 67, 0), (0, 100, 33), (5, 70, 32), (20, 90, 69)];
        rig.assert_batched(&tokens, &parts);
    });
}

#[test]
fn cached_prefix_logits_match_uncached_logits() {
    on_every_machine(|rig| {
        let tokens = prompt();
        for (tenant, chunk) in [("a", usize::MAX), ("b", 33)] {
            let tenant = format!("{tenant} of {}", rig.name);
            let mut table = rig.table(tokens.len());
            let fresh = rig.logits_from(&tokens, 0, &table, chunk);
            let mut keys = vec![PageKey::root(&tenant)];
            for (index, page) in tokens.as_chunks::<PAGE_TOKENS>().0.iter().enumerate() {
                keys.push(keys[index].next(page));
                table.keep(index, keys[index + 1]);
            }
            drop(table);
            for cached in 1..keys.len() {
                let mut table = rig.pages.table();
                assert!(keys[1..=cached].iter().all(|key| table.take_cached(key)));
                assert!(table.grow(tokens.len()));
                let begin = cached * PAGE_TOKENS;
                let rest = rig.logits_from(&tokens, begin, &table, usize::MAX);
                rig.assert_same(
                    &rest,
                    &fresh[begin..],
                    &format!("{cached} pages of chunks of {chunk}"),
                );
            }
        }
    });
}

/// A sequence that was generated token by token is recomputed as a prompt, from its start or after pages
/// that are still cached.
#[test]
fn preempted_sequences_match_uninterrupted_ones() {
    on_every_machine(|rig| {
        let mut tokens = prompt()[..50].to_vec();
        let table = rig.table(90);
        let undisturbed = rig.generate(&mut tokens, 90, &table);
        let again = rig.table(90);
        let recomputed = rig.logits_from(&tokens, 0, &again, usize::MAX);
        rig.assert_same(&recomputed, &undisturbed, "computed again");
        let behind = rig.logits_from(&tokens, 64, &table, usize::MAX);
        rig.assert_same(&behind, &undisturbed[64..], "computed again behind two pages");
    });
}

#[test]
fn errors_name_missing_and_misshapen_experts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen2moe");
    let whole = std::fs::read(folder.join("qwen2moe-f32.gguf")).unwrap();
    let replaced = |from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let mut bytes = whole.clone();
        let places: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|at| whole[*at..].starts_with(from)).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
        let file = GgufFile::from_bytes(&bytes, "test.gguf").unwrap();
        Decoder::load(&file).unwrap_err().to_string()
    };
    for name in ["ffn_gate_inp", "ffn_up_exps", "ffn_down_shexp", "ffn_gate_inp_shexp"] {
        let from = format!("blk.1.{name}.weight");
        let error = replaced(from.as_bytes(), from.replace("ffn", "xxx").as_bytes());
        assert!(error.contains(&format!("{from:?} is missing")), "{error}");
    }
    // The expert count follows its key and type number. 6 becomes 5.
    let key = |count: u32| {
        [b"qwen2moe.expert_count".as_slice(), &4u32.to_le_bytes(), &count.to_le_bytes()].concat()
    };
    let error = replaced(&key(6), &key(5));
    assert!(error.contains("asks for [5, "), "{error}");
}
