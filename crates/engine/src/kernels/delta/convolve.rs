//! The causal convolution of each channel, followed by SiLU.

use super::super::parallel::{SharedOut, for_pieces};
use super::super::simd::{Lanes, Level, dispatch};
use crate::layout::{MAX_KERNEL, Recurrence};

/// Computes `out = silu(conv(x))`, both `[rows, channels]`. `weight` is `[kernel, channels]`, the current token last.
/// `states` has the last `kernel - 1` rows of each slot's sequence, `[slots, kernel - 1, channels]`, and is updated.
pub(crate) fn convolve(
    x: &[f32],
    weight: &[f32],
    kernel: usize,
    steps: Recurrence<'_>,
    states: &mut [f32],
    out: &mut [f32],
) {
    let channels = weight.len() / kernel;
    let state_len = (kernel - 1) * channels;
    let rows = x.len() / channels;
    assert!(x.len() == rows * channels && out.len() == x.len() && kernel <= MAX_KERNEL);
    let level = Level::best_for(&[channels]);
    let shared = SharedOut::new(out);
    let before: &[f32] = states;
    for_pieces(rows, rows * channels * kernel, |rows| {
        for row in rows {
            let span = &steps.spans[steps.spans.partition_point(|span| span.rows.end <= row)];
            // The rows that the convolution sees, the oldest first. Rows before the sequence are zeros.
            let mut taps: [&[f32]; MAX_KERNEL] = [&[]; MAX_KERNEL];
            let mut count = 0;
            for back in (0..kernel).rev() {
                let source = match (row - span.rows.start).checked_sub(back) {
                    Some(own) => &x[(span.rows.start + own) * channels..][..channels],
                    None => match span.from {
                        Some(slot) => {
                            let missing = back - (row - span.rows.start);
                            let at = slot as usize * state_len + (kernel - 1 - missing) * channels;
                            &before[at..at + channels]
                        }
                        None => continue,
                    },
                };
                taps[count] = source;
                count += 1;
            }
            // SAFETY: every row is written by one thread.
            let out = unsafe { shared.part(row * channels..(row + 1) * channels) };
            convolve_row(level, &taps[..count], &weight[(kernel - count) * channels..], out);
        }
    });
    let shared = SharedOut::new(states);
    for_pieces(steps.spans.len(), steps.spans.len() * state_len, |spans| {
        for span in &steps.spans[spans] {
            let x = &x[span.rows.start * channels..span.rows.end * channels];
            let saves = &steps.saves[span.saves.clone()];
            let saves = saves.iter().map(|save| (save.after, save.slot));
            let all = saves.chain([(span.rows.len(), span.to)]);
            for (len, slot) in all.filter(|(len, _)| *len > 0) {
                let slot = slot as usize * state_len;
                for row in 0..kernel - 1 {
                    let at = slot + row * channels;
                    // SAFETY: a slot is written for one sequence. What it reads of the slot of its sequence is a row
                    // that is written later, or another slot that nobody writes.
                    let to = unsafe { shared.part(at..at + channels) };
                    match (len + row).checked_sub(kernel - 1) {
                        Some(own) => to.copy_from_slice(&x[own * channels..(own + 1) * channels]),
                        None => match span.from {
                            Some(from) => {
                                let from = from as usize * state_len + (len + row) * channels;
                                // SAFETY: as above; another row than `to`, as `len` is not 0.
                                to.copy_from_slice(unsafe { shared.read(from..from + channels) });
                            }
                            None => to.fill(0.0),
                        },
                    }
                }
            }
        }
    });
}

dispatch!(fn convolve_row = convolve_kernel(taps: &[&[f32]], weight: &[f32], out: &mut [f32]));
#[inline(always)]
unsafe fn convolve_kernel<L: Lanes>(taps: &[&[f32]], weight: &[f32], out: &mut [f32]) {
    let channels = out.len();
    assert!(weight.len() == taps.len() * channels && channels.is_multiple_of(L::N));
    assert!(taps.iter().all(|tap| tap.len() == channels));
    for at in (0..channels).step_by(L::N) {
        // SAFETY: all rows have `channels` numbers, a multiple of `N`.
        unsafe {
            let mut sum = L::splat(0.0);
            for (tap, source) in taps.iter().enumerate() {
                let weight = L::load(weight.as_ptr().add(tap * channels + at));
                sum = L::load(source.as_ptr().add(at)).mul_add(weight, sum);
            }
            let below = sum.mul(L::splat(-1.0)).exp().add(L::splat(1.0));
            sum.div(below).store(out.as_mut_ptr().add(at));
        }
    }
}
