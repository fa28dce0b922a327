use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::batch::{ForwardBatch, Logits, SequenceRows};
use crate::kv::{KvPool, KvType, PageAllocator};

/// Computes attention by its formula in f64, one score after the other.
fn reference_attention(
    q: &[f32],
    heads: usize,
    keys: &[Vec<f32>],
    values: &[Vec<f32>],
    shape: KvShape,
    batch: &ForwardBatch,
) -> Vec<f32> {
    let KvShape { kv_heads, head_dim, .. } = shape;
    let mut out = Vec::new();
    let mut row = 0;
    for (sequence, q_len) in batch.q_lens.iter().enumerate() {
        for token in 0..*q_len {
            let seen = batch.kv_lens[sequence] - q_len + token + 1;
            for head in 0..heads {
                let q = &q[(row * heads + head) * head_dim..][..head_dim];
                let kv_head = head / (heads / kv_heads);
                let part = |all: &[Vec<f32>], token: usize| -> Vec<f64> {
                    let from = (token * kv_heads + kv_head) * head_dim;
                    all[sequence][from..from + head_dim].iter().map(|x| f64::from(*x)).collect()
                };
                let scores: Vec<f64> = (0..seen)
                    .map(|token| {
                        let key = part(keys, token);
                        let dot: f64 = key.iter().zip(q).map(|(k, q)| k * f64::from(*q)).sum();
                        dot / (head_dim as f64).sqrt()
                    })
                    .collect();
                let most = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                let total: f64 = weights.iter().sum();
                let mut mixed = vec![0.0; head_dim];
                for (token, weight) in weights.iter().enumerate() {
                    for (mixed, value) in mixed.iter_mut().zip(part(values, token)) {
                        *mixed += weight / total * value;
                    }
                }
                out.extend(mixed.iter().map(|x| *x as f32));
            }
            row += 1;
        }
    }
    out
}

/// Several sequences, chunks and single tokens, in pages whose other slots are NaN.
#[test]
fn paged_attention_matches_the_formula() {
    let mut random = StdRng::seed_from_u64(5);
    for (heads, kv_heads, head_dim) in
        [(4, 2, 16), (2, 2, 32), (14, 2, 64), (16, 8, 128), (3, 1, 8), (2, 1, 6), (5, 1, 48)]
    {
        for kv_type in [KvType::F32, KvType::F16] {
            let shape = KvShape { layers: 1, kv_heads, head_dim, kv_type };
            let allocator = PageAllocator::new(40);
            let mut pool = KvPool::new(shape, 40);
            let nan = vec![f32::NAN; kv_heads * head_dim];
            for slot in 0..40 * PAGE_TOKENS {
                pool.write(0, &[slot], &nan, &nan);
            }
            // (tokens already there, tokens of this step)
            let sequences = [(0, 1), (0, 70), (31, 1), (32, 1), (40, 33), (200, 1), (64, 64)];
            let mut batch = ForwardBatch::default();
            let (mut keys, mut values, mut tables) = (Vec::new(), Vec::new(), Vec::new());
            let width = kv_heads * head_dim;
            // Numbers that f16 holds exactly, so that both page types have the same exact result.
            let mut draw = |len: usize| -> Vec<f32> {
                (0..len).map(|_| random.random_range(-64..64) as f32 / 32.0).collect()
            };
            for (old, new) in sequences {
                let table = allocator.reserve(old + new).unwrap();
                batch.push(SequenceRows::text(&vec![0; new], old, &table, Logits::None));
                let (key, value) = (draw((old + new) * width), draw((old + new) * width));
                let slots: Vec<usize> = (0..old + new)
                    .map(|t| {
                        table.pages()[t / PAGE_TOKENS] as usize * PAGE_TOKENS + t % PAGE_TOKENS
                    })
                    .collect();
                pool.write(0, &slots, &key, &value);
                keys.push(key);
                values.push(value);
                tables.push(table);
            }
            let q = draw(batch.tokens.len() * heads * head_dim);
            let expected = reference_attention(&q, heads, &keys, &values, shape, &batch);
            let check = |out: &[f32], what: &str| {
                for (index, (a, b)) in out.iter().zip(&expected).enumerate() {
                    assert!((a - b).abs() < 1e-5, "{what} {shape:?} {heads} at {index}: {a}, {b}");
                }
            };
            let mut out = vec![0.0; q.len()];
            paged_attention(&q, heads, pool.layer(0), shape, batch.spans(), &mut out);
            check(&out, "dispatched");
            for level in Level::all_for(if head_dim % 16 == 0 { 16 } else { head_dim }) {
                let mut out = vec![0.0; q.len()];
                let shared = SharedOut::new(&mut out);
                let mut scratch = Scratch::default();
                let (keys, values) = pool.layer(0);
                let mut units = Vec::new();
                cut(batch.spans(), heads / kv_heads, kv_heads, &mut units);
                for unit in units {
                    let table = batch.spans().block_table(unit.sequence);
                    run_unit(
                        level,
                        unit,
                        &q,
                        heads,
                        keys,
                        values,
                        shape,
                        table,
                        &mut scratch,
                        shared,
                    );
                }
                check(&out, &format!("{level:?}"));
            }
        }
    }
}

/// Runs one query head of one sequence of three pages on one level. `keys` and `values` are
/// `[tokens, 16]`, `q` is `[new tokens, 16]`.
fn on_level(level: Level, kv_type: KvType, q: &[f32], keys: &[f32], values: &[f32]) -> Vec<f32> {
    let shape = KvShape { layers: 1, kv_heads: 1, head_dim: 16, kv_type };
    let (tokens, new) = (keys.len() / 16, q.len() / 16);
    let allocator = PageAllocator::new(4);
    let table = allocator.reserve(tokens).unwrap();
    let mut pool = KvPool::new(shape, 4);
    let slots: Vec<usize> = (0..tokens).collect();
    pool.write(0, &slots, keys, values);
    let mut batch = ForwardBatch::default();
    batch.push(SequenceRows::text(&vec![0; new], tokens - new, &table, Logits::None));
    let mut out = vec![7.0; q.len()];
    let (mut units, mut scratch) = (Vec::new(), Scratch::default());
    cut(batch.spans(), 1, 1, &mut units);
    let (keys, values) = pool.layer(0);
    for unit in units {
        let (table, shared) = (batch.spans().block_table(0), SharedOut::new(&mut out));
        run_unit(level, unit, q, 1, keys, values, shape, table, &mut scratch, shared);
    }
    out
}

#[test]
fn every_simd_level_matches_the_scalar_twin_on_extreme_values() {
    let (subnormal, large) = (f32::from_bits(1), 2f32.powi(100));
    let cases = [0.0, -0.0, subnormal, f32::MIN_POSITIVE, 1e4, -1e4, 6e4, large, f32::MAX];
    let broken = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    // Few bits, so that scores are exact: rounding of large scores alone would decide the result.
    let wave = |len: usize, by: f32| -> Vec<f32> {
        (0..len).map(|n| ((n as f32 * by).sin() * 64.0).round() / 32.0).collect()
    };
    for kv_type in [KvType::F32, KvType::F16] {
        for extreme in cases.into_iter().chain(broken) {
            for place in 0..3 {
                let mut parts = [wave(5 * 16, 0.3), wave(70 * 16, 0.7), wave(70 * 16, 1.1)];
                // One number of the queries, the keys or the values; then all of them.
                for whole in [false, true] {
                    let from = if whole { 0 } else { 20 };
                    let to = if whole { parts[place].len() } else { 21 };
                    parts[place][from..to].fill(extreme);
                    let [q, keys, values] = &parts;
                    let twin = on_level(Level::Scalar, kv_type, q, keys, values);
                    for level in Level::all_for(16) {
                        let out = on_level(level, kv_type, q, keys, values);
                        for (out, twin) in out.iter().zip(&twin) {
                            let near = (out - twin).abs() <= 1e-5 * twin.abs().max(1.0);
                            let broken = !out.is_finite() && !twin.is_finite();
                            let same = out == twin || near || broken;
                            let what = ["q", "keys", "values"][place];
                            assert!(
                                same,
                                "{level:?} {kv_type:?} {extreme:e} in {what} ({whole}): {out:e} is \
                                 not {twin:e}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn extreme_scores_stay_finite() {
    let shape = KvShape { layers: 1, kv_heads: 1, head_dim: 16, kv_type: KvType::F32 };
    let allocator = PageAllocator::new(4);
    let table = allocator.reserve(100).unwrap();
    let mut pool = KvPool::new(shape, 4);
    let slots: Vec<usize> = (0..100).collect();
    let keys: Vec<f32> = (0..1600).map(|n| if n / 16 % 2 == 0 { 1e4 } else { -1e4 }).collect();
    let values = vec![1.0; 1600];
    pool.write(0, &slots, &keys, &values);
    let mut batch = ForwardBatch::default();
    batch.push(SequenceRows::text(&[0; 3], 97, &table, Logits::None));
    for q in [1e4, -1e4, 0.0] {
        let q = vec![q; 48];
        let mut out = vec![0.0; 48];
        paged_attention(&q, 1, pool.layer(0), shape, batch.spans(), &mut out);
        assert!(out.iter().all(|x| (x - 1.0).abs() < 1e-5), "{out:?}");
    }
}
