//! Attention over KV pages against its twin.

use rand::{SeedableRng, rngs::StdRng};

use super::super::AttentionPlan;
use super::super::arguments::{Attend, JoinParts, WritePages};
use super::super::host::{Machine, Memory};
use super::{assert_near, draw_short};
use crate::batch::{ForwardBatch, Logits, SequenceRows};
use crate::kernels::attention::paged_attention;
use crate::kv::{BlockTable, KvPool, KvShape, KvType, PAGE_TOKENS, PageAllocator};

/// Some sequences in pages of a device, and the same in pages of the CPU. Slots that are not
/// written are NaN.
struct Sequences {
    shape: KvShape,
    batch: ForwardBatch,
    /// The pages on the CPU.
    pool: KvPool,
    /// The pages on the device, `[pages, kv_heads, PAGE_TOKENS, head_dim]`.
    keys: Vec<u8>,
    values: Vec<u8>,
    /// Keep the pages allocated.
    _tables: Vec<BlockTable>,
}

const PAGES: usize = 48;

impl Sequences {
    /// Creates sequences of (tokens before the step, tokens of the step). The kernel writes the
    /// device's pages.
    fn new(
        machine: &Machine,
        random: &mut StdRng,
        shape: KvShape,
        each: &[(usize, usize)],
    ) -> Self {
        let KvShape { kv_heads, head_dim, kv_type, .. } = shape;
        let width = kv_heads * head_dim;
        let allocator = PageAllocator::new(PAGES);
        let mut pool = KvPool::new(shape, PAGES);
        let nan = vec![f32::NAN; width];
        for slot in 0..PAGES * PAGE_TOKENS {
            pool.write(0, &[slot], &nan, &nan);
        }
        let blank = vec![0xff; PAGES * PAGE_TOKENS * width * kv_type.size()];
        let (mut keys, mut values) = (blank.clone(), blank);
        let (mut batch, mut tables) = (ForwardBatch::default(), Vec::new());
        // Reserves a page before each sequence, so that page indices differ from places.
        let mut between = Vec::new();
        for (old, new) in each {
            between.push(allocator.reserve(1).unwrap());
            let table = allocator.reserve(old + new).unwrap();
            batch.push(SequenceRows::text(&vec![0; *new], *old, &table, Logits::None));
            let len = old + new;
            let slots: Vec<usize> = (0..len)
                .map(|t| table.pages()[t / PAGE_TOKENS] as usize * PAGE_TOKENS + t % PAGE_TOKENS)
                .collect();
            let (key, value) = (draw_short(random, len * width), draw_short(random, len * width));
            pool.write(0, &slots, &key, &value);
            let mut memory = Memory::default();
            let kernel = WritePages {
                keys: memory.floats(&key),
                values: memory.floats(&value),
                slots: memory.words(slots.iter().map(|slot| *slot as u32)),
                key_pages: memory.bytes(keys),
                value_pages: memory.bytes(values),
                kv_heads: kv_heads as i32,
                dim: head_dim as i32,
            };
            machine.run(&kernel.launch(kv_type, len), &mut memory).unwrap();
            keys = memory.bytes_at(kernel.key_pages).to_vec();
            values = memory.bytes_at(kernel.value_pages).to_vec();
            tables.push(table);
        }
        Self { shape, batch, pool, keys, values, _tables: tables }
    }

    /// Launches attention as the engine does.
    fn attend(&self, machine: &Machine, q: &[f32], heads: usize, blocks: usize) -> Vec<f32> {
        let KvShape { kv_heads, head_dim, kv_type, .. } = self.shape;
        let plan = AttentionPlan::new(self.batch.spans(), heads, self.shape, blocks);
        let mut memory = Memory::default();
        let out = memory.blank(q.len());
        for pass in &plan.passes {
            let kernel = Attend {
                q: memory.floats(q),
                keys: memory.bytes(self.keys.clone()),
                values: memory.bytes(self.values.clone()),
                tables: memory.words(plan.tables.iter().copied()),
                items: memory.words(pass.items.iter().flatten().copied()),
                out,
                parts: memory.blank(pass.part_numbers(self.shape)),
                heads: heads as i32,
                kv_heads: kv_heads as i32,
                scale: 1.0 / (head_dim as f32).sqrt(),
            };
            let launch = kernel.launch(kv_type, head_dim, pass.rows, pass.items.len());
            machine.run(&launch, &mut memory).unwrap();
            if !pass.joins.is_empty() {
                let kernel = JoinParts {
                    parts: kernel.parts,
                    joins: memory.words(pass.joins.iter().flatten().copied()),
                    out,
                    heads: heads as i32,
                    kv_heads: kv_heads as i32,
                    rows: pass.rows as i32,
                    dim: head_dim as i32,
                };
                machine.run(&kernel.launch(pass.joins.len()), &mut memory).unwrap();
            }
        }
        memory.floats_at(out)
    }
}

/// Several sequences, chunks and single tokens, in pages whose other slots are NaN; tiles whole and
/// split.
#[test]
fn attention_kernel_matches_its_cpu_twin() {
    let mut random = StdRng::seed_from_u64(5);
    let each = [(0, 1), (0, 70), (31, 1), (32, 1), (40, 33), (300, 1), (260, 3), (64, 2)];
    for machine in Machine::all() {
        for (heads, kv_heads, head_dim) in
            [(4, 2, 16), (4, 4, 32), (14, 2, 64), (8, 2, 128), (5, 1, 128), (16, 1, 64)]
        {
            for kv_type in [KvType::F32, KvType::F16] {
                let shape = KvShape { layers: 1, kv_heads, head_dim, kv_type };
                let sequences = Sequences::new(&machine, &mut random, shape, &each);
                let q = draw_short(&mut random, sequences.batch.tokens.len() * heads * head_dim);
                let mut expected = vec![0.0; q.len()];
                let pages = sequences.pool.layer(0);
                paged_attention(&q, heads, pages, shape, sequences.batch.spans(), &mut expected);
                for blocks in [1, 10_000] {
                    let out = sequences.attend(&machine, &q, heads, blocks);
                    let what = format!("{machine:?} {heads} {shape:?} {blocks}");
                    assert_near(&out, &expected, 2e-5, &what);
                }
            }
        }
    }
}

#[test]
fn extreme_scores_stay_finite() {
    let mut random = StdRng::seed_from_u64(6);
    for machine in Machine::all() {
        let shape = KvShape { layers: 1, kv_heads: 1, head_dim: 16, kv_type: KvType::F32 };
        let sequences = Sequences::new(&machine, &mut random, shape, &[(297, 3)]);
        for size in [3e4, -3e4, 0.0] {
            let q = vec![size; 48];
            let mut expected = vec![0.0; 48];
            paged_attention(
                &q,
                1,
                sequences.pool.layer(0),
                shape,
                sequences.batch.spans(),
                &mut expected,
            );
            for blocks in [1, 10_000] {
                let out = sequences.attend(&machine, &q, 1, blocks);
                assert!(out.iter().all(|x| x.is_finite()), "{machine:?} {size}: {out:?}");
                assert_near(&out, &expected, 2e-5, &format!("{machine:?} {size}"));
            }
        }
    }
}
