//! The gates of attention in hybrid models: each number of a head's output is multiplied by the sigmoid of its gate.

use super::parallel::{SharedOut, for_pieces};
use super::simd::{Lanes, Level, dispatch};

/// Splits `x` `[rows, heads, 2, head_dim]` into the queries and the gates of attention, each
/// `[rows, heads, head_dim]`.
pub(crate) fn split_gates(x: &[f32], head_dim: usize, queries: &mut [f32], gates: &mut [f32]) {
    let heads = queries.chunks_exact_mut(head_dim).zip(gates.chunks_exact_mut(head_dim));
    for (both, (query, gate)) in x.chunks_exact(2 * head_dim).zip(heads) {
        query.copy_from_slice(&both[..head_dim]);
        gate.copy_from_slice(&both[head_dim..]);
    }
}

/// Computes `x *= sigmoid(gate)`. Both have the same length.
pub(crate) fn gate(x: &mut [f32], gate: &[f32]) {
    const PIECE: usize = 4096;
    let len = x.len();
    let level = Level::best_for(&[PIECE, len % PIECE]);
    let shared = SharedOut::new(x);
    for_pieces(len.div_ceil(PIECE), len * 2, |pieces| {
        for piece in pieces {
            let range = piece * PIECE..((piece + 1) * PIECE).min(len);
            // SAFETY: every piece is written by one thread.
            gate_piece(level, unsafe { shared.part(range.clone()) }, &gate[range]);
        }
    });
}

dispatch!(fn gate_piece = gate_kernel(x: &mut [f32], gate: &[f32]));
#[inline(always)]
unsafe fn gate_kernel<L: Lanes>(x: &mut [f32], gate: &[f32]) {
    let len = x.len();
    assert!(gate.len() == len && len.is_multiple_of(L::N));
    for at in (0..len).step_by(L::N) {
        // SAFETY: both have `len` numbers, a multiple of `N`.
        unsafe {
            let gate = L::load(gate.as_ptr().add(at));
            let below = gate.mul(L::splat(-1.0)).exp().add(L::splat(1.0));
            L::load(x.as_ptr().add(at)).div(below).store(x.as_mut_ptr().add(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_split_and_applied() {
        for len in [6, 48, 4096 + 16] {
            let numbers = |len: usize, step: f32| -> Vec<f32> {
                (0..len).map(|n| (n as f32 * step).sin() * 3.0).collect()
            };
            let (x, own) = (numbers(2 * 2 * len, 0.37), numbers(2 * len, 0.11));
            let (mut queries, mut gates) = (vec![0.0; 2 * len], vec![0.0; 2 * len]);
            split_gates(&x, len, &mut queries, &mut gates);
            assert_eq!((&queries[..len], &gates[..len]), (&x[..len], &x[len..2 * len]));
            assert_eq!((&queries[len..], &gates[len..]), (&x[2 * len..3 * len], &x[3 * len..]));
            let mut out = own.clone();
            gate(&mut out, &gates);
            let expected: Vec<f32> =
                own.iter().zip(&gates).map(|(x, gate)| x / (1.0 + (-gate).exp())).collect();
            for (out, expected) in out.iter().zip(&expected) {
                assert!((out - expected).abs() < 2e-6, "{out} is not {expected}");
            }
        }
    }
}
