//! The memory of the value heads.

use super::super::parallel::{SharedOut, for_pieces};
use super::super::simd::{Lanes, Level, dispatch};
use crate::layout::Recurrence;

/// Columns of a head's memory that are stored together and computed by one thread.
const MOST_COLUMNS: usize = 32;
/// Sums of products that are computed side by side, as each waits for the one before it.
const CHAINS: usize = 4;

/// The sizes of a layer's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryShape {
    pub(crate) value_heads: usize,
    pub(crate) key_dim: usize,
    pub(crate) value_dim: usize,
}

/// The tokens of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenRows<'a> {
    /// Queries, keys and values: `[rows, channels]`.
    pub(crate) qkv: &'a [f32],
    pub(crate) channels: usize,
    /// Numbers of all keys of a row, which are as many as those of all queries before them.
    pub(crate) keys: usize,
    /// The factor of the memory, `[rows, value_heads]`.
    pub(crate) decay: &'a [f32],
    /// `[rows, value_heads]`
    pub(crate) rate: &'a [f32],
}

/// Takes the memories of all sequences through their tokens and writes `out` `[rows, value_heads, value_dim]`. `states`
/// is `[slots, value_heads, value_dim / columns, key_dim, columns]`. `key_head` returns the key head of a value head.
pub(crate) fn advance(
    rows: TokenRows<'_>,
    shape: MemoryShape,
    key_head: impl Fn(usize) -> usize + Sync,
    steps: Recurrence<'_>,
    states: &mut [f32],
    out: &mut [f32],
) {
    let MemoryShape { value_heads, key_dim, value_dim } = shape;
    let values = value_heads * value_dim;
    let columns = columns_of(value_dim);
    let blocks = value_dim / columns;
    let (block_len, slot_len) = (key_dim * columns, values * key_dim);
    let all = rows.qkv.len() / rows.channels;
    assert!(rows.channels == 2 * rows.keys + values && out.len() == all * values);
    assert!(rows.decay.len() == all * value_heads && rows.rate.len() == all * value_heads);
    assert!(
        steps.spans.iter().all(|span| span.rows.end <= all) && rows.keys.is_multiple_of(key_dim)
    );
    let level = Level::best_for(&[columns]);
    let (states, out) = (SharedOut::new(states), SharedOut::new(out));
    let per_span = value_heads * blocks;
    for_pieces(steps.spans.len() * per_span, all * values * key_dim / 8, |units| {
        for unit in units {
            let span = &steps.spans[unit / per_span];
            let (head, block) = (unit % per_span / blocks, unit % blocks);
            let place = |slot: u32| {
                let at = slot as usize * slot_len + (head * blocks + block) * block_len;
                at..at + block_len
            };
            // SAFETY: the columns of a slot are written by one thread.
            let state = unsafe { states.part(place(span.to)) };
            match span.from {
                None => state.fill(0.0),
                Some(from) if from == span.to => {}
                // SAFETY: a slot that sequences continue from is not written in the step.
                Some(from) => state.copy_from_slice(unsafe { states.read(place(from)) }),
            }
            let key_at = key_head(head) * key_dim;
            assert!(key_at + key_dim <= rows.keys);
            let mut next = span.rows.start;
            let saves = steps.saves[span.saves.clone()].iter();
            let stops = saves.map(|save| (span.rows.start + save.after, Some(save.slot)));
            for (end, save) in stops.chain([(span.rows.end, None)]) {
                for row in next..end {
                    let own = &rows.qkv[row * rows.channels..(row + 1) * rows.channels];
                    let value_at = head * value_dim + block * columns;
                    // SAFETY: the outputs of a head's columns are written by one thread.
                    let out = unsafe {
                        out.part(row * values + value_at..row * values + value_at + columns)
                    };
                    let token = Token {
                        q: &own[key_at..key_at + key_dim],
                        k: &own[rows.keys + key_at..rows.keys + key_at + key_dim],
                        v: &own[2 * rows.keys + value_at..2 * rows.keys + value_at + columns],
                        decay: rows.decay[row * value_heads + head],
                        rate: rows.rate[row * value_heads + head],
                    };
                    advance_token(level, state, token, out);
                }
                next = end;
                if let Some(slot) = save {
                    // SAFETY: the slot is written for this sequence alone, and its columns by this thread.
                    unsafe { states.part(place(slot)) }.copy_from_slice(state);
                }
            }
        }
    });
}

/// Returns how many columns of a head's memory are stored together: a divisor of `value_dim`.
pub(super) fn columns_of(value_dim: usize) -> usize {
    (1..=MOST_COLUMNS.min(value_dim)).rev().find(|n| value_dim.is_multiple_of(*n)).unwrap_or(1)
}

/// A token of one head.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    /// `[key_dim]`
    pub(super) q: &'a [f32],
    /// `[key_dim]`
    pub(super) k: &'a [f32],
    /// `[columns]`
    pub(super) v: &'a [f32],
    pub(super) decay: f32,
    pub(super) rate: f32,
}

dispatch!(pub(super) fn advance_token = token_kernel(state: &mut [f32], token: Token<'_>, out: &mut [f32]));
#[inline(always)]
unsafe fn token_kernel<L: Lanes>(state: &mut [f32], token: Token<'_>, out: &mut [f32]) {
    let columns = out.len();
    assert!(columns.is_multiple_of(L::N) && token.v.len() == columns);
    assert!(token.k.len() == token.q.len() && state.len() == token.k.len() * columns);
    let mut at = 0;
    // SAFETY: `state` has `key_dim` rows of `columns` numbers, of which `at..` are computed.
    unsafe {
        while at + 2 * L::N <= columns {
            columns_kernel::<L, 2>(state.as_mut_ptr().add(at), columns, token, at, out);
            at += 2 * L::N;
        }
        if at < columns {
            columns_kernel::<L, 1>(state.as_mut_ptr().add(at), columns, token, at, out);
        }
    }
}

/// Computes `V` vectors of columns, from the column `at` on, whose first row `state` points to.
///
/// # Safety
/// The machine has the instructions of `L`; `state` has as many rows as there are keys, `columns` numbers apart, of
/// which `V` vectors may be written; `out` and the values have these columns.
#[inline(always)]
unsafe fn columns_kernel<L: Lanes, const V: usize>(
    state: *mut f32,
    columns: usize,
    token: Token<'_>,
    at: usize,
    out: &mut [f32],
) {
    let Token { q, k, v, decay, rate } = token;
    // SAFETY: see above.
    unsafe {
        let zero = L::splat(0.0);
        let mut read = [[zero; V]; CHAINS];
        let place = |row: usize, lane: usize| state.add(row * columns + lane * L::N);
        let whole = k.len() / CHAINS * CHAINS;
        for first in (0..whole).step_by(CHAINS) {
            for (chain, sums) in read.iter_mut().enumerate() {
                let row = first + chain;
                let key = L::splat(*k.get_unchecked(row));
                for (lane, sum) in sums.iter_mut().enumerate() {
                    *sum = key.mul_add(L::load(place(row, lane)), *sum);
                }
            }
        }
        for (row, key) in k.iter().enumerate().skip(whole) {
            let key = L::splat(*key);
            for (lane, sum) in read[0].iter_mut().enumerate() {
                *sum = key.mul_add(L::load(place(row, lane)), *sum);
            }
        }
        let (decay_lanes, rate, minus) = (L::splat(decay), L::splat(rate), L::splat(-decay));
        let mut delta = [zero; V];
        for (lane, delta) in delta.iter_mut().enumerate() {
            let sum = read[0][lane].add(read[1][lane]).add(read[2][lane].add(read[3][lane]));
            let value = L::load(v.as_ptr().add(at + lane * L::N));
            *delta = sum.mul_add(minus, value).mul(rate);
        }
        let mut output = [[zero; V]; CHAINS];
        for first in (0..whole).step_by(CHAINS) {
            for (chain, sums) in output.iter_mut().enumerate() {
                let row = first + chain;
                let key = L::splat(*k.get_unchecked(row));
                let query = L::splat(*q.get_unchecked(row));
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let place = place(row, lane);
                    let state = key.mul_add(delta[lane], L::load(place).mul(decay_lanes));
                    state.store(place);
                    *sum = query.mul_add(state, *sum);
                }
            }
        }
        for row in whole..k.len() {
            let (key, query) = (L::splat(k[row]), L::splat(q[row]));
            for (lane, sum) in output[0].iter_mut().enumerate() {
                let place = place(row, lane);
                let state = key.mul_add(delta[lane], L::load(place).mul(decay_lanes));
                state.store(place);
                *sum = query.mul_add(state, *sum);
            }
        }
        for lane in 0..V {
            let [a, b, c, d] = output.map(|sums| sums[lane]);
            a.add(b).add(c.add(d)).store(out.as_mut_ptr().add(at + lane * L::N));
        }
    }
}
