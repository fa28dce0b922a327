//! The kernels against the formulas, in f64.

use super::super::simd::Level;
use super::memory::{Token, advance_token, columns_of};
use super::*;
use crate::layout::{Recurrence, StateSave, StateSpan};

fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|n| ((n * 37 + seed * 101 + n * n % 17) as f32 * 0.731).sin()).collect()
}

#[test]
fn every_simd_level_computes_the_delta_rule() {
    for (key_dim, columns) in [(128, 32), (16, 16), (7, 5), (66, 24)] {
        let (q, k) = (numbers(key_dim, 1), numbers(key_dim, 2));
        let (v, state) = (numbers(columns, 3), numbers(key_dim * columns, 4));
        let (decay, rate) = (0.9, 0.3);
        let mut expected_state = state.clone();
        let mut expected = vec![0.0; columns];
        for column in 0..columns {
            let s = |row: usize| f64::from(state[row * columns + column]) * f64::from(decay);
            let read: f64 = (0..key_dim).map(|row| s(row) * f64::from(k[row])).sum();
            let delta = (f64::from(v[column]) - read) * f64::from(rate);
            let mut sum = 0.0;
            for row in 0..key_dim {
                let new = s(row) + f64::from(k[row]) * delta;
                expected_state[row * columns + column] = new as f32;
                sum += new * f64::from(q[row]);
            }
            expected[column] = sum as f32;
        }
        for level in Level::all_for(columns) {
            let (mut own, mut out) = (state.clone(), vec![0.0; columns]);
            let token = Token { q: &q, k: &k, v: &v, decay, rate };
            advance_token(level, &mut own, token, &mut out);
            for (a, b) in own.iter().chain(&out).zip(expected_state.iter().chain(&expected)) {
                assert!((a - b).abs() < 2e-5 * b.abs().max(1.0), "{level:?}: {a} is not {b}");
            }
        }
    }
}

/// A sequence's results and state are the same to the bit however it is cut, and what is saved on the way is the
/// state at that place.
#[test]
fn cut_sequences_equal_whole_ones_to_the_bit() {
    const KERNEL: usize = 4;
    let shape = MemoryShape { value_heads: 6, key_dim: 16, value_dim: 48 };
    let (keys, values) = (2 * 16, 6 * 48);
    let channels = 2 * keys + values;
    let rows = 40;
    assert_eq!(columns_of(48), 24);
    let x = numbers(rows * channels, 5);
    let weight = numbers(KERNEL * channels, 6);
    let decay: Vec<f32> = numbers(rows * 6, 7).iter().map(|x| x.abs()).collect();
    let rate: Vec<f32> = numbers(rows * 6, 8).iter().map(|x| x.abs()).collect();
    let (conv_len, memory_len) = ((KERNEL - 1) * channels, values * 16);
    let run = |cuts: &[usize], saves: &[usize]| {
        let (mut conv, mut memory) = (vec![9.0; 8 * conv_len], vec![9.0; 8 * memory_len]);
        let mut results = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([rows]) {
            let in_part = saves.iter().enumerate().filter(|(_, at)| (start + 1..=end).contains(at));
            let saves: Vec<StateSave> = in_part
                .map(|(slot, at)| StateSave { after: at - start, slot: slot as u32 + 2 })
                .collect();
            let spans = [StateSpan {
                rows: 0..end - start,
                from: (start > 0).then_some(1),
                to: 1,
                saves: 0..saves.len(),
            }];
            let steps = Recurrence { spans: &spans, saves: &saves };
            let part = &x[start * channels..end * channels];
            let mut mixed = vec![0.0; part.len()];
            convolve(part, &weight, KERNEL, steps, &mut conv, &mut mixed);
            normalize_keys(&mut mixed, channels, 2, 16);
            let mut out = vec![0.0; (end - start) * values];
            let rows = TokenRows {
                qkv: &mixed,
                channels,
                keys,
                decay: &decay[start * 6..end * 6],
                rate: &rate[start * 6..end * 6],
            };
            advance(rows, shape, |head| head % 2, steps, &mut memory, &mut out);
            results.extend(out);
            start = end;
        }
        let slots = |numbers: &[f32], len: usize| -> Vec<Vec<u32>> {
            numbers.chunks(len).map(|slot| slot.iter().map(|n| n.to_bits()).collect()).collect()
        };
        let bits: Vec<u32> = results.iter().map(|n| n.to_bits()).collect();
        (bits, slots(&conv, conv_len), slots(&memory, memory_len))
    };
    let (whole, conv, memory) = run(&[], &[1, 2, 5, 39]);
    assert!(whole.iter().all(|bits| f32::from_bits(*bits).is_finite()));
    for cuts in [vec![1], vec![2, 3], vec![5, 6, 7, 8], vec![13, 39], (1..rows).collect()] {
        let (parts, cut_conv, cut_memory) = run(&cuts, &[1, 2, 5, 39]);
        assert!(parts == whole, "{cuts:?}");
        assert!((&cut_conv[1..6], &cut_memory[1..6]) == (&conv[1..6], &memory[1..6]), "{cuts:?}");
    }
    // The state after five rows, whether it was saved on the way or was the end.
    let (_, short_conv, short_memory) = run(&[5], &[]);
    let after_five = |states: &[Vec<u32>]| states[4].clone();
    assert_ne!(after_five(&conv), short_conv[1]);
    let spans = [StateSpan { rows: 0..5, from: None, to: 0, saves: 0..0 }];
    let steps = Recurrence { spans: &spans, saves: &[] };
    let mut five = vec![0.0; conv_len];
    convolve(&x[..5 * channels], &weight, KERNEL, steps, &mut five, &mut vec![0.0; 5 * channels]);
    assert_eq!(after_five(&conv), five.iter().map(|n| n.to_bits()).collect::<Vec<_>>());
    assert_eq!(short_memory[0], memory[0], "other slots are not touched");
}

#[test]
fn convolution_matches_the_formula() {
    const KERNEL: usize = 3;
    let (channels, rows) = (5, 6);
    let (x, weight) = (numbers(rows * channels, 1), numbers(KERNEL * channels, 2));
    let spans = [
        StateSpan { rows: 0..2, from: None, to: 0, saves: 0..0 },
        StateSpan { rows: 2..6, from: Some(1), to: 1, saves: 0..0 },
    ];
    let mut states = numbers(2 * (KERNEL - 1) * channels, 3);
    let before = states.clone();
    let mut out = vec![0.0; rows * channels];
    convolve(&x, &weight, KERNEL, Recurrence { spans: &spans, saves: &[] }, &mut states, &mut out);
    for row in 0..rows {
        let span = spans.iter().find(|span| span.rows.contains(&row)).unwrap();
        for channel in 0..channels {
            let input = |back: usize| match (row - span.rows.start).checked_sub(back) {
                Some(own) => x[(span.rows.start + own) * channels + channel],
                None if span.from.is_none() => 0.0,
                None => {
                    let state_row = KERNEL - 1 - (back - (row - span.rows.start));
                    before[((KERNEL - 1) + state_row) * channels + channel]
                }
            };
            let sum: f32 = (0..KERNEL)
                .map(|back| weight[(KERNEL - 1 - back) * channels + channel] * input(back))
                .sum();
            let expected = sum / (1.0 + (-sum).exp());
            let found = out[row * channels + channel];
            assert!((found - expected).abs() < 1e-6, "row {row}: {found} is not {expected}");
        }
    }
    // The new states are the last rows.
    assert_eq!(states[..2 * channels], x[..2 * channels]);
    assert_eq!(states[2 * channels..], x[4 * channels..]);
}

#[test]
fn gates_match_the_formula() {
    let (mut alpha, mut beta) = (vec![0.5, 30.0, -2.0, 1.0], vec![0.0, 2.0, -1.0, 9.0]);
    decay_and_rate(&mut alpha, &mut beta, &[-1.0, -0.1], &[0.5, 1.0]);
    let softplus = |x: f64| x.exp().ln_1p();
    for (found, expected) in alpha.iter().zip([
        (-softplus(1.0)).exp(),
        (-0.1f64 * 31.0).exp(),
        (-softplus(-1.5)).exp(),
        (-0.1 * softplus(2.0)).exp(),
    ]) {
        assert!((f64::from(*found) - expected).abs() < 1e-6);
    }
    assert_eq!(beta[0], 0.5);
    assert!((beta[1] - 0.880_797).abs() < 1e-6);
}
