//! Attention within segments on machines that multiply pairs of bf16.
//!
//! The lanes of a vector are queries, so the largest score, the sum of weights and the mixed values of a query never
//! leave its lane, and keys and values are broadcast word by word:
//!
//! ```text
//! scores[key][queries] = Σ query pair (of numbers) · key pair          words of keys:   [groups, half, KEYS]
//! mixed[number][queries] += weight pair (of keys) · value pair         words of values: [pairs of keys, padded]
//! ```

use super::{BLOCK, Rotated, Segments};
use crate::kernels::parallel::{SharedOut, for_pieces, for_uneven_pieces};
use crate::kernels::simd::pairs::{
    PAIR_LANES, PairLevel, Pairs, bf16_bits, dispatch_pairs, pair_of,
};

/// Vectors of queries in a block.
const VECTORS: usize = BLOCK / PAIR_LANES;
/// Keys whose scores are computed at once, and numbers of a value that are mixed at once.
const KEYS: usize = 8;
/// Keys of a chunk: with its weights, keys and values it stays in the first-level cache.
const CHUNK: usize = 128;
/// Below every score.
const LOWEST: f32 = -1e30;

/// The queries, keys and values of one head in bf16, in blocks of rows. Kept for the next head.
#[derive(Debug, Default)]
pub(super) struct PairScratch {
    /// `[blocks, half, VECTORS, PAIR_LANES]`
    queries: Vec<u32>,
    /// `[blocks * BLOCK / KEYS, half, KEYS]`
    keys: Vec<u32>,
    /// `[blocks * BLOCK / 2, padded]`
    values: Vec<u32>,
}

/// Computes attention of all heads. See [`attend`](super::attend).
pub(super) fn attend_on(
    level: PairLevel,
    qkv: &[f32],
    shape: Rotated<'_>,
    segments: &Segments,
    scratch: &mut PairScratch,
    out: &mut [f32],
) {
    let Rotated { heads, head_dim, .. } = shape;
    let (half, padded) = (head_dim / 2, head_dim.next_multiple_of(KEYS));
    let (width, blocks) = (heads * head_dim, segments.blocks.len());
    scratch.queries.resize(blocks * BLOCK * half, 0);
    scratch.keys.resize(blocks * BLOCK * half, 0);
    scratch.values.resize(blocks * BLOCK / 2 * padded, 0);
    let out = SharedOut::new(out);
    for head in 0..heads {
        pack(level, qkv, shape, head, segments, scratch);
        let PairScratch { queries, keys, values } = &*scratch;
        let cost = segments.pairs * head_dim / 16;
        for_uneven_pieces(blocks, cost, |pieces| {
            let mut state = State::new(padded);
            for index in pieces {
                let (rows, segment) = &segments.blocks[index];
                let segment = &segments.segments[*segment];
                let groups = segment.rows.len().div_ceil(KEYS);
                let block = Block {
                    queries: &queries[index * BLOCK * half..][..BLOCK * half],
                    keys: &keys[segment.block * BLOCK * half..][..groups * KEYS * half],
                    values: &values[segment.block * BLOCK / 2 * padded..]
                        [..groups * KEYS / 2 * padded],
                    num_keys: segment.rows.len(),
                    half,
                    padded,
                };
                attend_block(level, &block, &mut state);
                for (lane, row) in rows.clone().enumerate() {
                    let start = row * width + head * head_dim;
                    // SAFETY: each row of each head is written by one thread.
                    let out = unsafe { out.part(start..start + head_dim) };
                    for (out, mixed) in out.iter_mut().zip(state.mixed.chunks_exact(BLOCK)) {
                        *out = mixed[lane];
                    }
                }
            }
        });
    }
}

/// Rotates and scales the queries of a head, rotates its keys, and rounds both and the values.
fn pack(
    level: PairLevel,
    qkv: &[f32],
    shape: Rotated<'_>,
    head: usize,
    segments: &Segments,
    scratch: &mut PairScratch,
) {
    let (half, padded) = (shape.head_dim / 2, shape.head_dim.next_multiple_of(KEYS));
    let queries = SharedOut::new(&mut scratch.queries);
    let keys = SharedOut::new(&mut scratch.keys);
    let values = SharedOut::new(&mut scratch.values);
    for_pieces(segments.blocks.len(), segments.rows * shape.head_dim * 2, |pieces| {
        // Queries and keys of a block, row by row.
        let mut words = vec![0; 2 * BLOCK * half];
        for index in pieces {
            let (len, half_len) = (BLOCK * half, BLOCK / 2 * padded);
            // SAFETY: each block is packed by one thread.
            let (queries, keys, values) = unsafe {
                (
                    queries.part(index * len..(index + 1) * len),
                    keys.part(index * len..(index + 1) * len),
                    values.part(index * half_len..(index + 1) * half_len),
                )
            };
            let first = segments.blocks[index].0.start;
            let rows = segments.blocks[index].0.len();
            pack_block(level, qkv, shape, head, first, rows, queries, keys, values, &mut words);
        }
    });
}

dispatch_pairs!(
    fn pack_block = pack_kernel(
        qkv: &[f32],
        shape: Rotated<'_>,
        head: usize,
        first: usize,
        rows: usize,
        queries: &mut [u32],
        keys: &mut [u32],
        values: &mut [u32],
        words: &mut [u32],
    )
);
/// Packs the `rows` rows from `first` on. Rows beyond the segment are zero.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn pack_kernel<P: Pairs>(
    qkv: &[f32],
    shape: Rotated<'_>,
    head: usize,
    first: usize,
    rows: usize,
    queries: &mut [u32],
    keys: &mut [u32],
    values: &mut [u32],
    words: &mut [u32],
) {
    let Rotated { heads, head_dim, cos, sin } = shape;
    let (width, half, padded) = (heads * head_dim, head_dim / 2, head_dim.next_multiple_of(KEYS));
    // Weights are powers of two.
    let scale = std::f32::consts::LOG2_E / (head_dim as f32).sqrt();
    let of = |row: usize, which: usize| {
        &qkv[(3 * (first + row) + which) * width + head * head_dim..][..head_dim]
    };
    if rows < BLOCK {
        values.fill(0);
        words.fill(0);
    }
    let (query_words, key_words) = words[..2 * BLOCK * half].split_at_mut(BLOCK * half);
    for row in 0..rows {
        let angles = (first + row) * half..(first + row + 1) * half;
        let (cos, sin) = (&cos[angles.clone()], &sin[angles]);
        rotate(of(row, 0), cos, sin, scale, &mut query_words[row * half..(row + 1) * half]);
        rotate(of(row, 1), cos, sin, 1.0, &mut key_words[row * half..(row + 1) * half]);
        let value = &mut values[row / 2 * padded..][..head_dim];
        if row % 2 == 0 {
            for (value, number) in value.iter_mut().zip(of(row, 2)) {
                *value = bf16_bits(*number);
            }
        } else {
            for (value, number) in value.iter_mut().zip(of(row, 2)) {
                *value |= bf16_bits(*number) << 16;
            }
        }
    }
    transpose::<BLOCK>(query_words, half, queries);
    for (words, keys) in key_words.chunks_exact(KEYS * half).zip(keys.chunks_exact_mut(KEYS * half))
    {
        transpose::<KEYS>(words, half, keys);
    }
}

/// Rotates and scales a query or a key to `half` pairs.
#[inline(always)]
fn rotate(numbers: &[f32], cos: &[f32], sin: &[f32], scale: f32, words: &mut [u32]) {
    let half = words.len();
    let (a, b) = (&numbers[..half], &numbers[half..2 * half]);
    let (cos, sin) = (&cos[..half], &sin[..half]);
    for pair in 0..half {
        let (a, b, cos, sin) = (a[pair], b[pair], cos[pair] * scale, sin[pair] * scale);
        words[pair] = pair_of(a * cos - b * sin, b * cos + a * sin);
    }
}

/// Copies `words` `[R, half]` to `out` `[half, R]`.
#[inline(always)]
fn transpose<const R: usize>(words: &[u32], half: usize, out: &mut [u32]) {
    let words = &words[..R * half];
    for (pair, out) in out.as_chunks_mut::<R>().0.iter_mut().enumerate().take(half) {
        for (row, out) in out.iter_mut().enumerate() {
            *out = words[row * half + pair];
        }
    }
}

/// The input of a block of queries.
struct Block<'a> {
    /// `[half, VECTORS, PAIR_LANES]`
    queries: &'a [u32],
    /// `[groups, half, KEYS]`
    keys: &'a [u32],
    /// `[groups * KEYS / 2, padded]`
    values: &'a [u32],
    num_keys: usize,
    half: usize,
    padded: usize,
}

/// The running results of a block of queries.
struct State {
    /// `[CHUNK, BLOCK]`
    scores: Vec<f32>,
    /// Pairs of weights. `[CHUNK / 2, BLOCK]`
    weights: Vec<u32>,
    /// `[padded, BLOCK]`
    mixed: Vec<f32>,
}

impl State {
    fn new(padded: usize) -> Self {
        Self {
            scores: vec![0.0; CHUNK * BLOCK],
            weights: vec![0; CHUNK / 2 * BLOCK],
            mixed: vec![0.0; padded * BLOCK],
        }
    }
}

dispatch_pairs!(fn attend_block = block_kernel(block: &Block<'_>, state: &mut State));
#[inline(always)]
unsafe fn block_kernel<P: Pairs>(block: &Block<'_>, state: &mut State) {
    let Block { queries, keys, values, num_keys, half, padded } = *block;
    let groups = num_keys.div_ceil(KEYS);
    assert!(queries.len() == half * BLOCK && keys.len() == groups * half * KEYS);
    assert!(values.len() == groups * (KEYS / 2) * padded && state.mixed.len() == padded * BLOCK);
    assert!(state.scores.len() == CHUNK * BLOCK && state.weights.len() == CHUNK / 2 * BLOCK);
    assert!(padded.is_multiple_of(KEYS) && P::N == PAIR_LANES);
    state.mixed.fill(0.0);
    // SAFETY: the lengths are as asserted; every chunk has at most `CHUNK` keys.
    unsafe {
        let mut most = [P::splat(LOWEST); VECTORS];
        let mut sums = [P::splat(0.0); VECTORS];
        for first in (0..groups).step_by(CHUNK / KEYS) {
            let last = groups.min(first + CHUNK / KEYS);
            let before = most;
            for group in first..last {
                let keys = keys.as_ptr().add(group * half * KEYS);
                let scores = state.scores.as_mut_ptr().add((group - first) * KEYS * BLOCK);
                let valid = num_keys - group * KEYS;
                score::<P>(queries.as_ptr(), keys, half, valid, &mut most, scores);
            }
            rescale::<P>(before, most, &mut sums, &mut state.mixed);
            let pairs = (last - first) * KEYS / 2;
            weigh::<P>(&state.scores, pairs, most, &mut sums, &mut state.weights);
            let values = values.as_ptr().add(first * (KEYS / 2) * padded);
            for number in (0..padded).step_by(KEYS) {
                let mixed = state.mixed.as_mut_ptr().add(number * BLOCK);
                mix::<P>(state.weights.as_ptr(), values.add(number), pairs, padded, mixed);
            }
        }
        for (vector, sum) in sums.into_iter().enumerate() {
            let share = P::splat(1.0).div(sum);
            for number in 0..padded {
                let mixed = state.mixed.as_mut_ptr().add(number * BLOCK + vector * PAIR_LANES);
                P::load(mixed).mul(share).store(mixed);
            }
        }
    }
}

/// Adds to `sums` the products of `count` pairs of factors: of each query (`rows`, `[count, BLOCK]`) with `KEYS` words that
/// all queries share (`words`, rows of `stride` words).
///
/// # Safety
/// The machine has the instructions of `P`; `rows` has `count * BLOCK` words, `words` `count` rows of which `KEYS` words are
/// read.
#[inline(always)]
unsafe fn add_products<P: Pairs>(
    sums: &mut [[P; VECTORS]; KEYS],
    count: usize,
    rows: *const u32,
    words: *const u32,
    stride: usize,
) {
    // SAFETY: see above.
    unsafe {
        for pair in 0..count {
            let mut row = [P::splat_word(0); VECTORS];
            for (vector, row) in row.iter_mut().enumerate() {
                *row = P::load_words(rows.add(pair * BLOCK + vector * PAIR_LANES));
            }
            for (number, sums) in sums.iter_mut().enumerate() {
                let word = P::splat_word(*words.add(pair * stride + number));
                for (sum, row) in sums.iter_mut().zip(row) {
                    *sum = sum.add_products(row, word);
                }
            }
        }
    }
}

/// Computes the scores of all queries with a group of keys, of which the first `valid` are in the segment:
/// `[KEYS, BLOCK]`. Updates the largest scores.
///
/// # Safety
/// The machine has the instructions of `P`; `queries` has `half * BLOCK` words, `keys` `half * KEYS`, and `scores`
/// room for `KEYS * BLOCK` numbers.
#[inline(always)]
unsafe fn score<P: Pairs>(
    queries: *const u32,
    keys: *const u32,
    half: usize,
    valid: usize,
    most: &mut [P; VECTORS],
    scores: *mut f32,
) {
    // SAFETY: see above.
    unsafe {
        let mut sums = [[P::splat(0.0); VECTORS]; KEYS];
        add_products::<P>(&mut sums, half, queries, keys, KEYS);
        for (key, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                let score = if key < valid { *sum } else { P::splat(LOWEST) };
                most[vector] = most[vector].max(score);
                score.store(scores.add(key * BLOCK + vector * PAIR_LANES));
            }
        }
    }
}

/// Scales what was mixed relative to the largest scores `before`, if larger ones were found.
///
/// # Safety
/// The machine has the instructions of `P`; `mixed` has whole blocks.
#[inline(always)]
unsafe fn rescale<P: Pairs>(
    before: [P; VECTORS],
    most: [P; VECTORS],
    sums: &mut [P; VECTORS],
    mixed: &mut [f32],
) {
    // SAFETY: see above.
    unsafe {
        for vector in 0..VECTORS {
            let minus = most[vector].mul(P::splat(-1.0)).add(before[vector]);
            // The largest of the growths, as the smallest of their negatives.
            if minus.mul(P::splat(-1.0)).largest() > 0.0 {
                let factor = minus.power_of_two();
                sums[vector] = sums[vector].mul(factor);
                for numbers in mixed.chunks_exact_mut(BLOCK) {
                    let mixed = numbers.as_mut_ptr().add(vector * PAIR_LANES);
                    P::load(mixed).mul(factor).store(mixed);
                }
            }
        }
    }
}

/// Turns scores to pairs of weights, and adds the weights to the sums.
///
/// # Safety
/// The machine has the instructions of `P`; `scores` has `2 * pairs * BLOCK` numbers, `weights` room for `pairs * BLOCK`
/// words.
#[inline(always)]
unsafe fn weigh<P: Pairs>(
    scores: &[f32],
    pairs: usize,
    most: [P; VECTORS],
    sums: &mut [P; VECTORS],
    weights: &mut [u32],
) {
    // SAFETY: see above.
    unsafe {
        for vector in 0..VECTORS {
            let minus = most[vector].mul(P::splat(-1.0));
            let mut sum = sums[vector];
            for pair in 0..pairs {
                let scores = scores.as_ptr().add(2 * pair * BLOCK + vector * PAIR_LANES);
                let first = P::load(scores).add(minus).power_of_two();
                let second = P::load(scores.add(BLOCK)).add(minus).power_of_two();
                sum = sum.add(first).add(second);
                let words = weights.as_mut_ptr().add(pair * BLOCK + vector * PAIR_LANES);
                P::store_words(P::pairs_of(first, second), words);
            }
            sums[vector] = sum;
        }
    }
}

/// Adds the weighted values of `pairs` pairs of keys to `KEYS` numbers of all queries, `[KEYS, BLOCK]`.
///
/// # Safety
/// The machine has the instructions of `P`; `weights` has `pairs * BLOCK` words, `values` `pairs` rows of `padded` words,
/// of which `KEYS` are read.
#[inline(always)]
unsafe fn mix<P: Pairs>(
    weights: *const u32,
    values: *const u32,
    pairs: usize,
    padded: usize,
    mixed: *mut f32,
) {
    // SAFETY: see above.
    unsafe {
        let mut sums = [[P::splat(0.0); VECTORS]; KEYS];
        for (number, sums) in sums.iter_mut().enumerate() {
            for (vector, sum) in sums.iter_mut().enumerate() {
                *sum = P::load(mixed.add(number * BLOCK + vector * PAIR_LANES));
            }
        }
        add_products::<P>(&mut sums, pairs, weights, values, padded);
        for (number, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                sum.store(mixed.add(number * BLOCK + vector * PAIR_LANES));
            }
        }
    }
}
