//! Every kernel against its twin on the CPU, on all machines there are.

use half::f16;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::host::{Arguments, Machine};
use super::*;
use crate::batch::{ForwardBatch, Logits};
use crate::kernels::{attention::paged_attention, rows};
use crate::kv::{BlockTable, KvPool, KvShape, KvType, PAGE_TOKENS, PageAllocator};
use crate::model::Experts;
use crate::model::routing::Routing;

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn words(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
}

fn draw(random: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| random.random_range(-3.0..3.0)).collect()
}

/// Numbers that f16 holds exactly, so that both kinds of pages have one truth.
fn draw_short(random: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| random.random_range(-64..64) as f32 / 32.0).collect()
}

/// Not a number anywhere that is not one in both.
fn assert_near(found: &[f32], expected: &[f32], within: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= within * b.abs().max(1.0), "{what} at {place}: {a}, not {b}");
    }
}

fn call(buffers: Vec<Vec<u8>>, numbers: &[i32], fractions: &[f32]) -> Arguments {
    Arguments { buffers, numbers: numbers.to_vec(), fractions: fractions.to_vec() }
}

#[test]
fn norms_are_their_twins() {
    let mut random = StdRng::seed_from_u64(1);
    for machine in Machine::all() {
        for (count, width) in [(1, 6), (3, 64), (2, 257), (2, 896)] {
            let what = format!("{machine:?} {count} x {width}");
            let x = draw(&mut random, count * width);
            let added = draw(&mut random, count * width);
            let weight = draw(&mut random, width);
            let blank = bytes(&vec![f32::NAN; count * width]);
            let eps = 1e-5;

            let mut expected = vec![0.0; x.len()];
            rows::rms_norm(&x, &weight, eps, &mut expected);
            let buffers = vec![bytes(&x), bytes(&weight), blank.clone()];
            let out = machine
                .run(&Launch::norm("rms_norm", count), &call(buffers, &[width as i32], &[eps]))
                .unwrap();
            assert_near(&numbers(&out[2]), &expected, 1e-5, &what);

            let mut sum = x.clone();
            rows::add_rms_norm(&mut sum, &added, &weight, eps, &mut expected);
            let buffers = vec![bytes(&x), bytes(&added), bytes(&weight), blank];
            let out = machine
                .run(&Launch::norm("add_rms_norm", count), &call(buffers, &[width as i32], &[eps]))
                .unwrap();
            assert_eq!(numbers(&out[0]), sum, "{what}");
            assert_near(&numbers(&out[3]), &expected, 1e-5, &what);
        }
    }
}

#[test]
fn heads_are_normalised_and_turned_as_their_twins_are() {
    let mut random = StdRng::seed_from_u64(2);
    for machine in Machine::all() {
        for (tokens, heads, half) in [(1, 1, 3), (3, 5, 8), (2, 4, 32), (2, 9, 64)] {
            for with_norm in [false, true] {
                let x = draw(&mut random, tokens * heads * half * 2);
                let weight = draw(&mut random, half * 2);
                let angles: Vec<f32> = draw(&mut random, tokens * half);
                let cos: Vec<f32> = angles.iter().map(|x| x.cos()).collect();
                let sin: Vec<f32> = angles.iter().map(|x| x.sin()).collect();
                let mut expected = x.clone();
                let norm = with_norm.then_some((&weight[..], 1e-6));
                rows::norm_and_turn(&mut expected, heads, norm, &cos, &sin, half);
                let weight = if with_norm { bytes(&weight) } else { vec![] };
                let buffers = vec![bytes(&x), weight, bytes(&cos), bytes(&sin)];
                let arguments = call(buffers, &[heads as i32, half as i32], &[1e-6]);
                let out = machine.run(&Launch::norm_and_turn(tokens, heads), &arguments).unwrap();
                let what = format!("{machine:?} {tokens} x {heads} x {half}, norm {with_norm}");
                assert_near(&numbers(&out[0]), &expected, 1e-5, &what);
            }
        }
    }
}

#[test]
fn activations_and_biases_are_their_twins() {
    let mut random = StdRng::seed_from_u64(3);
    for machine in Machine::all() {
        for (count, width) in [(1, 1), (3, 100), (2, 256)] {
            let len = count * width;
            let what = format!("{machine:?} {count} x {width}");
            let (gate, up) = (draw(&mut random, len), draw(&mut random, len));
            let mut expected = gate.clone();
            rows::swiglu(&mut expected, &up);
            let arguments = call(vec![bytes(&gate), bytes(&up)], &[len as i32], &[]);
            let out = machine.run(&Launch::each("swiglu", len), &arguments).unwrap();
            assert_near(&numbers(&out[0]), &expected, 1e-5, &what);

            let bias = draw(&mut random, width);
            let mut expected = gate.clone();
            rows::add_bias(&mut expected, &bias);
            let sizes = [len as i32, width as i32];
            let arguments = call(vec![bytes(&gate), bytes(&bias)], &sizes, &[]);
            let out = machine.run(&Launch::each("add_bias", len), &arguments).unwrap();
            assert_eq!(numbers(&out[0]), expected, "{what}");
        }
    }
}

/// Some sequences in pages of a device, and the same in pages of the CPU. Whatever nobody wrote is NaN.
struct Sequences {
    shape: KvShape,
    batch: ForwardBatch,
    /// Of the CPU.
    pool: KvPool,
    /// Of a device, `[pages, kv_heads, PAGE_TOKENS, head_dim]`.
    keys: Vec<u8>,
    values: Vec<u8>,
    /// They keep the pages.
    _tables: Vec<BlockTable>,
}

const PAGES: usize = 48;

impl Sequences {
    /// Each has tokens that are there already, and tokens of this step; the device's pages are written by the
    /// kernel.
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
        // One page in front of each sequence, so that pages are not where their numbers are.
        let mut between = Vec::new();
        for (old, new) in each {
            between.push(allocator.reserve(1).unwrap());
            let table = allocator.reserve(old + new).unwrap();
            batch.push(&vec![0; *new], *old, &table, Logits::None);
            let len = old + new;
            let slots: Vec<usize> = (0..len)
                .map(|t| table.pages()[t / PAGE_TOKENS] as usize * PAGE_TOKENS + t % PAGE_TOKENS)
                .collect();
            let (key, value) = (draw_short(random, len * width), draw_short(random, len * width));
            pool.write(0, &slots, &key, &value);
            let buffers = vec![
                bytes(&key),
                bytes(&value),
                words(slots.iter().map(|slot| *slot as u32)),
                keys,
                values,
            ];
            let sizes = [kv_heads as i32, head_dim as i32];
            let launch = Launch::write_pages(kv_type, len);
            let mut out = machine.run(&launch, &call(buffers, &sizes, &[])).unwrap();
            (values, keys) = (out.pop().unwrap(), out.pop().unwrap());
            tables.push(table);
        }
        Self { shape, batch, pool, keys, values, _tables: tables }
    }

    /// As the engine launches it.
    fn attend(&self, machine: &Machine, q: &[f32], heads: usize, blocks: usize) -> Vec<f32> {
        let KvShape { kv_heads, head_dim, kv_type, .. } = self.shape;
        let plan = AttentionPlan::new(&self.batch, heads, self.shape, blocks);
        let mut out = bytes(&vec![f32::NAN; q.len()]);
        for pass in &plan.passes {
            let parts = bytes(&vec![f32::NAN; pass.part_numbers(self.shape)]);
            let buffers = vec![
                bytes(q),
                self.keys.clone(),
                self.values.clone(),
                words(plan.tables.iter().copied()),
                words(pass.items.iter().flatten().copied()),
                out,
                parts,
            ];
            let items = pass.items.len();
            let launch = Launch::attend(kv_type, head_dim, pass.rows, items, kv_heads);
            let scale = 1.0 / (head_dim as f32).sqrt();
            let arguments = call(buffers, &[heads as i32, kv_heads as i32], &[scale]);
            let mut results = machine.run(&launch, &arguments).unwrap();
            let parts = results.pop().unwrap();
            out = results.pop().unwrap();
            if !pass.joins.is_empty() {
                let joins = words(pass.joins.iter().flatten().copied());
                let sizes = [heads, kv_heads, pass.rows, head_dim].map(|n| n as i32);
                let launch = Launch::join_parts(pass.joins.len(), heads);
                let arguments = call(vec![parts, joins, out], &sizes, &[]);
                out = machine.run(&launch, &arguments).unwrap().pop().unwrap();
            }
        }
        numbers(&out)
    }
}

#[test]
fn keys_and_values_lie_where_attention_looks_for_them() {
    let mut random = StdRng::seed_from_u64(4);
    for machine in Machine::all() {
        for kv_type in [KvType::F32, KvType::F16] {
            let shape = KvShape { layers: 1, kv_heads: 3, head_dim: 16, kv_type };
            let (key, value) = (draw_short(&mut random, 2 * 48), draw_short(&mut random, 2 * 48));
            let blank = vec![0xff; 4 * PAGE_TOKENS * 48 * kv_type.size()];
            let slots = [2 * PAGE_TOKENS as u32 + 31, 5];
            let buffers = vec![bytes(&key), bytes(&value), words(slots), blank.clone(), blank];
            let launch = Launch::write_pages(kv_type, 2);
            let out = machine.run(&launch, &call(buffers, &[3, 16], &[])).unwrap();
            for (from, pages) in [(&key, &out[3]), (&value, &out[4])] {
                let pages: Vec<f32> = match kv_type {
                    KvType::F32 => numbers(pages),
                    KvType::F16 => pages
                        .chunks_exact(2)
                        .map(|x| f16::from_le_bytes(x.try_into().unwrap()).to_f32())
                        .collect(),
                };
                for (token, slot) in slots.iter().enumerate() {
                    let (page, place) =
                        (*slot as usize / PAGE_TOKENS, *slot as usize % PAGE_TOKENS);
                    for head in 0..3 {
                        let at = ((page * 3 + head) * PAGE_TOKENS + place) * 16;
                        let own = (token * 3 + head) * 16;
                        assert_eq!(pages[at..at + 16], from[own..own + 16], "{machine:?}");
                    }
                }
                let written = pages.iter().filter(|x| !x.is_nan()).count();
                assert_eq!(written, 2 * 48, "{machine:?} {shape:?}: it wrote elsewhere too");
            }
        }
    }
}

#[test]
fn f16_is_rounded_as_the_cpu_rounds_it() {
    let half_way = 1.0 + 1.0 / 2048.0;
    let mut all = vec![0.0, -0.0, half_way, half_way + 1e-6, 1.0 + 3.0 / 2048.0, 65504.0, 65519.9];
    all.extend([65520.0, 1e30, f32::INFINITY, 6e-8, 3e-8, 2.9e-8, 1e-30, 6.1e-5, 6.09e-5, 1e-5]);
    all.extend((0..15).map(|n| (n as f32 * 1.7).exp() * 1e-7));
    let all: Vec<f32> = all.iter().flat_map(|x| [*x, -*x]).collect();
    let slots = words(0..all.len() as u32);
    for machine in Machine::all() {
        let blank = vec![0; 2 * all.len().next_multiple_of(PAGE_TOKENS)];
        let buffers = vec![bytes(&all), bytes(&all), slots.clone(), blank.clone(), blank];
        let launch = Launch::write_pages(KvType::F16, all.len());
        let out = machine.run(&launch, &call(buffers, &[1, 1], &[])).unwrap();
        for (x, kept) in all.iter().zip(out[3].chunks_exact(2)) {
            let kept = f16::from_le_bytes(kept.try_into().unwrap());
            assert_eq!(kept.to_bits(), f16::from_f32(*x).to_bits(), "{machine:?} {x:e}: {kept:e}");
        }
    }
}

/// Several sequences, chunks and single tokens, in pages full of somebody's NaN; whole and split.
#[test]
fn attention_is_its_twin() {
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
                paged_attention(&q, heads, pages, shape, &sequences.batch, &mut expected);
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
            paged_attention(&q, 1, sequences.pool.layer(0), shape, &sequences.batch, &mut expected);
            for blocks in [1, 10_000] {
                let out = sequences.attend(&machine, &q, 1, blocks);
                assert!(out.iter().all(|x| x.is_finite()), "{machine:?} {size}: {out:?}");
                assert_near(&out, &expected, 2e-5, &format!("{machine:?} {size}"));
            }
        }
    }
}

#[test]
fn experts_are_chosen_and_mixed_as_their_twin_does() {
    let mut random = StdRng::seed_from_u64(7);
    for machine in Machine::all() {
        for (tokens, count, used) in [(1, 4, 1), (3, 60, 4), (2, 128, 8), (2, 5, 5)] {
            for normalized in [false, true] {
                let what = format!("{machine:?} {tokens} x {used} of {count}, {normalized}");
                let mut logits = draw(&mut random, tokens * count);
                logits[count - 1] = logits[0]; // of equal ones the first
                let experts = Experts { count, used, ffn: 1, shared_ffn: None, normalized };
                let mut twin = Routing::default();
                twin.choose(&logits, &experts);
                let mut expected = vec![vec![]; tokens];
                for (expert, (tokens, weights)) in twin.by_expert() {
                    for (token, weight) in tokens.iter().zip(weights) {
                        expected[*token as usize].push((expert as u32, *weight));
                    }
                }
                let blank = vec![0xff; tokens * used * 4];
                let buffers = vec![bytes(&logits), blank.clone(), blank];
                let sizes = [count as i32, used as i32, normalized.into()];
                let launch = Launch::choose_experts(tokens, count);
                let out = machine.run(&launch, &call(buffers, &sizes, &[])).unwrap();
                let chosen = out[1].chunks_exact(4);
                let chosen: Vec<u32> =
                    chosen.map(|x| u32::from_le_bytes(x.try_into().unwrap())).collect();
                let weights = numbers(&out[2]);
                for (token, expected) in expected.iter().enumerate() {
                    let own = token * used..(token + 1) * used;
                    let mut found: Vec<(u32, f32)> =
                        chosen[own.clone()].iter().copied().zip(weights[own].to_vec()).collect();
                    assert!(
                        found.windows(2).all(|pair| pair[0].1 >= pair[1].1),
                        "{what}: {found:?}"
                    );
                    found.sort_by_key(|(expert, _)| *expert);
                    let names =
                        |all: &[(u32, f32)]| all.iter().map(|one| one.0).collect::<Vec<_>>();
                    assert_eq!(names(&found), names(expected), "{what}");
                    let weights =
                        |all: &[(u32, f32)]| all.iter().map(|one| one.1).collect::<Vec<_>>();
                    assert_near(&weights(&found), &weights(expected), 1e-5, &what);
                }

                let width = 300;
                let made = draw(&mut random, tokens * used * width);
                let before = draw(&mut random, tokens * width);
                let mut mixed = before.clone();
                for (index, row) in made.chunks_exact(width).enumerate() {
                    let to = &mut mixed[index / used * width..][..width];
                    to.iter_mut().zip(row).for_each(|(to, x)| *to += weights[index] * x);
                }
                let buffers = vec![bytes(&made), out[2].clone(), bytes(&before)];
                let launch = Launch::each_of_rows("mix_experts", tokens, width);
                let arguments = call(buffers, &[used as i32, width as i32], &[]);
                let out = machine.run(&launch, &arguments).unwrap();
                assert_near(&numbers(&out[2]), &mixed, 1e-5, &what);
            }
        }
    }
}

#[test]
fn logits_that_are_no_numbers_still_choose_experts_there_are() {
    for machine in Machine::all() {
        for logits in [[f32::NAN; 4], [1.0, f32::NAN, 2.0, f32::NAN], [f32::NEG_INFINITY; 4]] {
            let blank = vec![0xff; 3 * 4];
            let buffers = vec![bytes(&logits), blank.clone(), blank];
            let launch = Launch::choose_experts(1, 4);
            let out = machine.run(&launch, &call(buffers, &[4, 3, 1], &[])).unwrap();
            let chosen = out[1].chunks_exact(4).map(|x| u32::from_le_bytes(x.try_into().unwrap()));
            assert!(chosen.clone().all(|expert| expert < 4), "{machine:?} {logits:?}");
        }
    }
}

#[test]
fn gates_open_as_far_as_they_say() {
    let mut random = StdRng::seed_from_u64(8);
    for machine in Machine::all() {
        let (x, gate) = (draw(&mut random, 3 * 300), draw(&mut random, 3));
        let open = |gate: f32| 1.0 / (1.0 + (-gate).exp());
        let expected: Vec<f32> =
            x.iter().zip(0..).map(|(x, at)| x * open(gate[at / 300])).collect();
        let launch = Launch::each_of_rows("open_gate", 3, 300);
        let arguments = call(vec![bytes(&x), bytes(&gate)], &[300], &[]);
        let out = machine.run(&launch, &arguments).unwrap();
        assert_near(&numbers(&out[0]), &expected, 1e-5, &format!("{machine:?}"));
    }
}

/// The shim must be able to fail.
#[test]
fn what_a_kernel_must_not_do_is_noticed_on_the_cpu() {
    for machine in Machine::all() {
        if !matches!(machine, Machine::Host { .. }) {
            continue;
        }
        let row = bytes(&[1.0; 64]);
        let buffers = vec![row.clone(), row.clone(), row.clone()];
        let launch = Launch::norm("rms_norm", 1);
        assert!(machine.run(&launch, &call(buffers.clone(), &[64], &[1e-5])).is_ok());
        let tight = Launch { shared_bytes: 16, ..launch.clone() };
        let error = machine.run(&tight, &call(buffers.clone(), &[64], &[1e-5])).unwrap_err();
        assert!(error.contains("beyond its shared memory"), "{error}");
        let short = vec![row.clone(), row, bytes(&[0.0; 63])];
        let error = machine.run(&launch, &call(short, &[64], &[1e-5])).unwrap_err();
        assert!(error.contains("beyond a buffer"), "{error}");
        let unknown = Launch { name: "rms_nrm".into(), ..launch.clone() };
        assert!(machine.run(&unknown, &call(buffers.clone(), &[64], &[1e-5])).is_err());
        let error = machine.run(&launch, &call(buffers, &[64, 1], &[1e-5])).unwrap_err();
        assert!(error.contains("more than it takes"), "{error}");
    }
}
