//! Attention within segments with factors in f32: keys are transposed in groups of sixteen.

use super::{BLOCK, GROUP, HeadScratch, Rotated, Segment, Segments};
use crate::kernels::parallel::{SharedOut, for_pieces, for_uneven_pieces};
use crate::kernels::simd::{Lanes, Level, dispatch};

/// Groups of keys in a chunk: with their values at most 160 KiB for heads of 80 numbers.
const CHUNK_GROUPS: usize = 16;
/// Keys in a chunk.
const CHUNK: usize = CHUNK_GROUPS * GROUP;
/// Queries whose scores are computed at once.
const TILE: usize = 8;

/// Computes attention of all heads. See [`attend`](super::attend).
pub(super) fn attend_on(
    level: Level,
    qkv: &[f32],
    shape: Rotated<'_>,
    segments: &Segments,
    scratch: &mut HeadScratch,
    out: &mut [f32],
) {
    let Rotated { heads, head_dim, .. } = shape;
    let (rows, width) = (segments.rows, heads * head_dim);
    let padded = head_dim.next_multiple_of(GROUP);
    scratch.queries.resize(rows * head_dim, 0.0);
    scratch.keys.resize(segments.groups * head_dim * GROUP, 0.0);
    scratch.values.resize(segments.groups * GROUP * padded, 0.0);
    let out = SharedOut::new(out);
    for head in 0..heads {
        pack(qkv, shape, head, segments, scratch);
        let HeadScratch { queries, keys, values, .. } = &*scratch;
        let cost = segments.pairs * head_dim / 8;
        for_uneven_pieces(segments.blocks.len(), cost, |blocks| {
            let mut state = State::new(padded);
            for (rows, segment) in &segments.blocks[blocks] {
                let Segment { rows: keys_of, group: first, .. } = &segments.segments[*segment];
                let groups = keys_of.len().div_ceil(GROUP);
                let block = Block {
                    queries: &queries[rows.start * head_dim..rows.end * head_dim],
                    keys: &keys[first * head_dim * GROUP..][..groups * head_dim * GROUP],
                    values: &values[first * GROUP * padded..][..groups * GROUP * padded],
                    num_keys: keys_of.len(),
                    head_dim,
                };
                attend_block(level, &block, &mut state);
                for (row, mixed) in rows.clone().zip(state.mixed.chunks_exact(padded)) {
                    let start = row * width + head * head_dim;
                    // SAFETY: each row of each head is written by one thread.
                    let out = unsafe { out.part(start..start + head_dim) };
                    out.copy_from_slice(&mixed[..head_dim]);
                }
            }
        });
    }
}

/// Rotates and scales the queries of a head, rotates and transposes its keys and pads its values.
fn pack(
    qkv: &[f32],
    shape: Rotated<'_>,
    head: usize,
    segments: &Segments,
    scratch: &mut HeadScratch,
) {
    let Rotated { heads, head_dim, cos, sin } = shape;
    let (width, half) = (heads * head_dim, head_dim / 2);
    let padded = head_dim.next_multiple_of(GROUP);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let queries = SharedOut::new(&mut scratch.queries);
    let keys = SharedOut::new(&mut scratch.keys);
    let values = SharedOut::new(&mut scratch.values);
    let groups = segments.groups;
    for_pieces(groups, segments.rows * head_dim * 8, |pieces| {
        for group in pieces {
            let segment = segments.segments.partition_point(|one| one.group <= group) - 1;
            let Segment { rows, group: first, .. } = &segments.segments[segment];
            let start = rows.start + (group - first) * GROUP;
            let rows = start..(start + GROUP).min(rows.end);
            // SAFETY: each group has its own rows, and is packed by one thread.
            let (queries, keys, values) = unsafe {
                (
                    queries.part(rows.start * head_dim..rows.end * head_dim),
                    keys.part(group * head_dim * GROUP..(group + 1) * head_dim * GROUP),
                    values.part(group * GROUP * padded..(group + 1) * GROUP * padded),
                )
            };
            if rows.len() < GROUP {
                keys.fill(0.0);
                values.fill(0.0);
            }
            for (lane, row) in rows.enumerate() {
                let of =
                    |which: usize| &qkv[(3 * row + which) * width + head * head_dim..][..head_dim];
                let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
                let (q, k) = (of(0), of(1));
                let query = &mut queries[lane * head_dim..][..head_dim];
                for pair in 0..half {
                    let (cos, sin) = (cos[pair], sin[pair]);
                    let (a, b) = (q[pair], q[pair + half]);
                    query[pair] = (a * cos - b * sin) * scale;
                    query[pair + half] = (b * cos + a * sin) * scale;
                    let (a, b) = (k[pair], k[pair + half]);
                    keys[pair * GROUP + lane] = a * cos - b * sin;
                    keys[(pair + half) * GROUP + lane] = b * cos + a * sin;
                }
                let value = &mut values[lane * padded..][..padded];
                value[..head_dim].copy_from_slice(of(2));
                value[head_dim..].fill(0.0);
            }
        }
    });
}

/// The input of a block of queries.
struct Block<'a> {
    /// `[queries, head_dim]`
    queries: &'a [f32],
    /// `[groups, head_dim, GROUP]`
    keys: &'a [f32],
    /// `[groups * GROUP, padded]`
    values: &'a [f32],
    num_keys: usize,
    head_dim: usize,
}

/// The running results of a block of queries.
struct State {
    /// Scores, then weights. `[TILE, CHUNK]`
    scores: Vec<f32>,
    /// `[BLOCK, padded]`
    mixed: Vec<f32>,
    largest: [f32; BLOCK],
    sums: [f32; BLOCK],
}

impl State {
    fn new(padded: usize) -> Self {
        Self {
            scores: vec![0.0; TILE * CHUNK],
            mixed: vec![0.0; BLOCK * padded],
            largest: [0.0; BLOCK],
            sums: [0.0; BLOCK],
        }
    }
}

dispatch!(fn attend_block = block_kernel(block: &Block<'_>, state: &mut State));
#[inline(always)]
unsafe fn block_kernel<L: Lanes>(block: &Block<'_>, state: &mut State) {
    // SAFETY: see `block_tiles`.
    unsafe {
        if L::N >= GROUP {
            block_tiles::<L, TILE>(block, state)
        } else {
            block_tiles::<L, 4>(block, state)
        }
    }
}

/// Computes a block by tiles of `R` queries.
///
/// # Safety
/// The machine has the instructions of `L`, whose width divides a group.
#[inline(always)]
unsafe fn block_tiles<L: Lanes, const R: usize>(block: &Block<'_>, state: &mut State) {
    let Block { queries, keys, values, num_keys, head_dim } = *block;
    let padded = head_dim.next_multiple_of(GROUP);
    let num_queries = queries.len() / head_dim;
    assert!(R <= TILE && num_queries <= BLOCK && GROUP.is_multiple_of(L::N));
    let groups = num_keys.div_ceil(GROUP);
    assert!(keys.len() == groups * GROUP * head_dim && values.len() == groups * GROUP * padded);
    assert!(state.mixed.len() == BLOCK * padded && state.scores.len() == TILE * CHUNK);
    state.mixed.fill(0.0);
    state.largest.fill(f32::NEG_INFINITY);
    state.sums.fill(0.0);
    for chunk in (0..groups).step_by(CHUNK_GROUPS) {
        let chunk = chunk..(chunk + CHUNK_GROUPS).min(groups);
        let in_chunk = chunk.len() * GROUP;
        let valid = num_keys - chunk.start * GROUP;
        let keys = &keys[chunk.start * GROUP * head_dim..chunk.end * GROUP * head_dim];
        let values = &values[chunk.start * GROUP * padded..chunk.end * GROUP * padded];
        for first in (0..num_queries).step_by(R) {
            let rows = R.min(num_queries - first);
            // Rows beyond the last repeat it, and their results are dropped.
            let row_of = |row: usize| (first + row.min(rows - 1)) * head_dim;
            let query: [*const f32; R] =
                std::array::from_fn(|row| queries[row_of(row)..][..head_dim].as_ptr());
            // SAFETY: each query has `head_dim` numbers; `keys` has whole groups; `scores` has room for `R` rows.
            unsafe { score::<L, R>(query, keys, head_dim, &mut state.scores) };
            for row in 0..rows {
                let scores = &mut state.scores[row * CHUNK..][..in_chunk];
                if valid < in_chunk {
                    scores[valid..].fill(f32::NEG_INFINITY);
                }
                let at = first + row;
                // SAFETY: the lengths are multiples of a group.
                let rescale =
                    unsafe { weigh::<L>(scores, &mut state.largest[at], &mut state.sums[at]) };
                if rescale != 1.0 {
                    for mixed in &mut state.mixed[at * padded..(at + 1) * padded] {
                        *mixed *= rescale;
                    }
                }
            }
            let mixed = &mut state.mixed[first * padded..(first + rows) * padded];
            // SAFETY: as above; `mixed` has `rows` rows.
            unsafe { mix_rows::<L>(&state.scores, values, padded, rows, mixed) };
        }
    }
    for (mixed, sum) in state.mixed.chunks_exact_mut(padded).zip(&state.sums).take(num_queries) {
        let scale = 1.0 / sum;
        mixed.iter_mut().for_each(|mixed| *mixed *= scale);
    }
}

/// Computes the scores of `R` queries with all keys of a chunk, `[R, CHUNK]`.
///
/// # Safety
/// As for [`block_tiles`]; each query points to `head_dim` numbers, `keys` is `[groups, head_dim, GROUP]`.
#[inline(always)]
unsafe fn score<L: Lanes, const R: usize>(
    queries: [*const f32; R],
    keys: &[f32],
    head_dim: usize,
    scores: &mut [f32],
) {
    // Two vectors of keys at once: of one group, or of two adjacent ones.
    let groups = keys.len() / (head_dim * GROUP);
    let count = groups * GROUP;
    let mut at = 0;
    while at < count {
        let second = at + L::N;
        // The last group has no neighbour: its scores are computed twice.
        let second = if second < count { second } else { at };
        let vector = |key: usize| (key / GROUP) * head_dim * GROUP + key % GROUP;
        // SAFETY: both are offsets of vectors in a group of `keys`, whose rows are `GROUP` apart.
        unsafe {
            let (a, b) = (keys.as_ptr().add(vector(at)), keys.as_ptr().add(vector(second)));
            let mut sums = [[L::splat(0.0); 2]; R];
            for number in 0..head_dim {
                let (a, b) = (L::load(a.add(number * GROUP)), L::load(b.add(number * GROUP)));
                for (sums, query) in sums.iter_mut().zip(&queries) {
                    let q = L::splat(*query.add(number));
                    sums[0] = q.mul_add(a, sums[0]);
                    sums[1] = q.mul_add(b, sums[1]);
                }
            }
            for (row, sums) in sums.into_iter().enumerate() {
                let scores = scores.as_mut_ptr().add(row * CHUNK);
                sums[0].store(scores.add(at));
                sums[1].store(scores.add(second));
            }
        }
        at += 2 * L::N;
    }
}

/// Turns scores to weights, and updates the largest score and the sum of weights. Returns the factor for what was
/// mixed before.
///
/// # Safety
/// As for [`block_tiles`]; the number of scores is a multiple of a group.
#[inline(always)]
unsafe fn weigh<L: Lanes>(scores: &mut [f32], largest: &mut f32, sum: &mut f32) -> f32 {
    // SAFETY: all vectors are within `scores`.
    unsafe {
        let mut most = L::splat(*largest);
        for at in (0..scores.len()).step_by(L::N) {
            most = most.max(L::load(scores.as_ptr().add(at)));
        }
        let most = most.largest();
        let rescale = if *largest == most { 1.0 } else { (*largest - most).exp() };
        let (mut total, minus) = (L::splat(0.0), L::splat(-most));
        for at in (0..scores.len()).step_by(L::N) {
            let weight = L::load(scores.as_ptr().add(at)).add(minus).exp();
            weight.store(scores.as_mut_ptr().add(at));
            total = total.add(weight);
        }
        (*largest, *sum) = (most, *sum * rescale + total.sum());
        rescale
    }
}

/// Adds the weighted values of a chunk to `rows` rows of `mixed`.
///
/// # Safety
/// As for [`block_tiles`]; `weights` has `rows` rows of `CHUNK`, `mixed` `rows` rows of `padded`.
#[inline(always)]
unsafe fn mix_rows<L: Lanes>(
    weights: &[f32],
    values: &[f32],
    padded: usize,
    rows: usize,
    mixed: &mut [f32],
) {
    let mut row = 0;
    while row < rows {
        let (weights, mixed) = (&weights[row * CHUNK..], &mut mixed[row * padded..]);
        // SAFETY: the caller's contract for the remaining rows.
        unsafe {
            match rows - row {
                1 => mix::<L, 1>(weights, values, padded, mixed),
                2 => mix::<L, 2>(weights, values, padded, mixed),
                3 => mix::<L, 3>(weights, values, padded, mixed),
                _ => mix::<L, 4>(weights, values, padded, mixed),
            }
        }
        row += 4;
    }
}

/// [`mix_rows`] for `R` rows.
///
/// # Safety
/// As for [`mix_rows`].
#[inline(always)]
unsafe fn mix<L: Lanes, const R: usize>(
    weights: &[f32],
    values: &[f32],
    padded: usize,
    mixed: &mut [f32],
) {
    let vectors = padded / L::N;
    let mut at = 0;
    while at < vectors {
        // SAFETY: the vectors from `at` on are within the rows.
        unsafe {
            match (vectors - at, L::N >= GROUP) {
                (5, true) => mix_vectors::<L, R, 5>(weights, values, padded, at, mixed),
                (4.., true) => mix_vectors::<L, R, 4>(weights, values, padded, at, mixed),
                (3, true) => mix_vectors::<L, R, 3>(weights, values, padded, at, mixed),
                (2.., _) => mix_vectors::<L, R, 2>(weights, values, padded, at, mixed),
                _ => mix_vectors::<L, R, 1>(weights, values, padded, at, mixed),
            }
        }
        at += match (vectors - at, L::N >= GROUP) {
            (5, true) => 5,
            (4.., true) => 4,
            (3, true) => 3,
            (2.., _) => 2,
            _ => 1,
        };
    }
}

/// [`mix`] for `V` vectors of each row, from vector `at` on.
///
/// # Safety
/// As for [`mix_rows`].
#[inline(always)]
unsafe fn mix_vectors<L: Lanes, const R: usize, const V: usize>(
    weights: &[f32],
    values: &[f32],
    padded: usize,
    at: usize,
    mixed: &mut [f32],
) {
    let start = at * L::N;
    // SAFETY: see the caller.
    unsafe {
        // Not `array::from_fn`, whose closures are not always compiled with the instructions of `L`.
        let mut sums = [[L::splat(0.0); V]; R];
        for (row, sums) in sums.iter_mut().enumerate() {
            for (vector, sum) in sums.iter_mut().enumerate() {
                *sum = L::load(mixed.as_ptr().add(row * padded + start + vector * L::N));
            }
        }
        for (key, values) in values.chunks_exact(padded).enumerate() {
            let mut value = [L::splat(0.0); V];
            for (vector, value) in value.iter_mut().enumerate() {
                *value = L::load(values.as_ptr().add(start + vector * L::N));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let weight = L::splat(*weights.as_ptr().add(row * CHUNK + key));
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum = weight.mul_add(value, *sum);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                sum.store(mixed.as_mut_ptr().add(row * padded + start + vector * L::N));
            }
        }
    }
}
