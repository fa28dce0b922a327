//! Storing keys and values in their pages.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::arena::Number;
use super::parallel::{SharedOut, for_pieces};

/// Numbers that are rounded in one call: `half` detects the machine's instructions once per call.
const ROUNDING_CHUNK: usize = 64;

/// A number type of pages.
pub(crate) trait Kept: Number + Send + Sync {
    /// Rounds `from` into `to`, which has the same length.
    fn round(from: &[f32], to: &mut [Self]);
}

impl Kept for f32 {
    fn round(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }
}

impl Kept for f16 {
    fn round(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

/// The layout of a layer's pages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLayout {
    pub(crate) page_tokens: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

/// Stores the keys and values of some tokens, each `[tokens, kv_heads, head_dim]`, in the tokens'
/// slots. Key pages are `[pages, kv_heads, head_dim, page_tokens]`, value pages
/// `[pages, kv_heads, page_tokens, head_dim]`. A slot is `page * page_tokens + place in the page`.
pub(crate) fn store<T: Kept>(
    layout: PageLayout,
    slots: &[usize],
    (keys, values): (&[f32], &[f32]),
    (key_pages, value_pages): (&mut [T], &mut [T]),
) {
    let PageLayout { page_tokens, kv_heads, head_dim } = layout;
    assert!(keys.len() == slots.len() * kv_heads * head_dim && values.len() == keys.len());
    let piece = page_tokens * head_dim;
    let (key_pages, value_pages) = (SharedOut::new(key_pages), SharedOut::new(value_pages));
    // Each number of a key goes to another cache line, so it costs several operations.
    for_pieces(kv_heads, keys.len() * 4, |heads| {
        for head in heads {
            for (token, slot) in slots.iter().enumerate() {
                let (page, place) = (slot / page_tokens, slot % page_tokens);
                let start = (page * kv_heads + head) * piece;
                // SAFETY: each head is handled by one thread, which uses one page of it at a time.
                let (to_keys, to_values) = unsafe {
                    (key_pages.part(start..start + piece), value_pages.part(start..start + piece))
                };
                let from = (token * kv_heads + head) * head_dim;
                let (key, value) = (&keys[from..from + head_dim], &values[from..from + head_dim]);
                T::round(value, &mut to_values[place * head_dim..(place + 1) * head_dim]);
                let rows = to_keys.chunks_mut(ROUNDING_CHUNK * page_tokens);
                for (key, rows) in key.chunks(ROUNDING_CHUNK).zip(rows) {
                    let mut rounded = [T::ZERO; ROUNDING_CHUNK];
                    T::round(key, &mut rounded[..key.len()]);
                    for (row, number) in rows.chunks_exact_mut(page_tokens).zip(rounded) {
                        row[place] = number;
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The twin: stores one number after the other.
    fn one_by_one<T: Kept>(
        layout: PageLayout,
        slots: &[usize],
        (keys, values): (&[f32], &[f32]),
        pages: usize,
    ) -> [Vec<T>; 2] {
        let PageLayout { page_tokens, kv_heads, head_dim } = layout;
        let len = pages * page_tokens * kv_heads * head_dim;
        let mut out = [vec![T::ZERO; len], vec![T::ZERO; len]];
        for (token, slot) in slots.iter().enumerate() {
            for head in 0..kv_heads {
                let piece = slot / page_tokens * kv_heads + head;
                for d in 0..head_dim {
                    let from = (token * kv_heads + head) * head_dim + d;
                    let key = (piece * head_dim + d) * page_tokens + slot % page_tokens;
                    let value = (piece * page_tokens + slot % page_tokens) * head_dim + d;
                    T::round(&keys[from..=from], &mut out[0][key..=key]);
                    T::round(&values[from..=from], &mut out[1][value..=value]);
                }
            }
        }
        out
    }

    fn check<T: Kept + PartialEq + std::fmt::Debug>() {
        // Little work stays on one thread, much is shared; some heads are longer than `ROUNDING_CHUNK`.
        for (tokens, kv_heads, head_dim) in [(1, 2, 6), (40, 8, 128), (7, 3, 80), (0, 1, 8)] {
            let layout = PageLayout { page_tokens: 32, kv_heads, head_dim };
            let slots: Vec<usize> = (0..tokens).map(|token| (token * 5 + 3) % 256).collect();
            let numbers = |by: f32| -> Vec<f32> {
                (0..tokens * kv_heads * head_dim).map(|n| (n as f32 * by).sin()).collect()
            };
            let (keys, values) = (numbers(0.3), numbers(0.7));
            let twin = one_by_one::<T>(layout, &slots, (&keys, &values), 8);
            let len = 8 * 32 * kv_heads * head_dim;
            let (mut key_pages, mut value_pages) = (vec![T::ZERO; len], vec![T::ZERO; len]);
            store(layout, &slots, (&keys, &values), (&mut key_pages, &mut value_pages));
            assert_eq!([key_pages, value_pages], twin);
        }
    }

    #[test]
    fn stored_pages_match_the_page_layout() {
        check::<f32>();
        check::<f16>();
    }
}
