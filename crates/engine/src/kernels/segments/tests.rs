//! Tests attention in segments against its scalar twin.

use super::*;

fn numbers(len: usize, seed: u32) -> Vec<f32> {
    (0..len as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(seed * 977) >> 8) as f32)
        .map(|n| n / (1 << 22) as f32 - 2.0)
        .collect()
}

/// The twin: all scores of a row at once, in f64.
fn plain(qkv: &[f32], shape: Rotated<'_>, lengths: &[usize]) -> Vec<f32> {
    let Rotated { heads, head_dim, cos, sin } = shape;
    let (width, half) = (heads * head_dim, head_dim / 2);
    let of = |row: usize, which: usize, head: usize| -> Vec<f64> {
        let part = &qkv[(3 * row + which) * width + head * head_dim..][..head_dim];
        let turned = |at: usize| {
            let (pair, number) = (at % half, |at: usize| f64::from(part[at]));
            let (cos, sin) = (f64::from(cos[row * half + pair]), f64::from(sin[row * half + pair]));
            match at < half {
                true => number(pair) * cos - number(pair + half) * sin,
                false => number(pair + half) * cos + number(pair) * sin,
            }
        };
        match which {
            2 => part.iter().map(|n| f64::from(*n)).collect(),
            _ => (0..head_dim).map(turned).collect(),
        }
    };
    let mut out = Vec::new();
    let mut start = 0;
    for len in lengths {
        for row in start..start + len {
            for head in 0..heads {
                let q = of(row, 0, head);
                let scores: Vec<f64> = (start..start + len)
                    .map(|key| of(key, 1, head).iter().zip(&q).map(|(a, b)| a * b).sum::<f64>())
                    .map(|score| (score / (head_dim as f64).sqrt()).exp())
                    .collect();
                let sum: f64 = scores.iter().sum();
                let mut mixed = vec![0.0; head_dim];
                for (key, score) in scores.iter().enumerate() {
                    let value = of(start + key, 2, head);
                    mixed.iter_mut().zip(value).for_each(|(m, v)| *m += score / sum * v);
                }
                out.extend(mixed.into_iter().map(|m| m as f32));
            }
        }
        start += len;
    }
    out
}

#[test]
fn every_level_matches_plain_attention() {
    for (heads, head_dim, lengths) in [
        (2, 8, vec![1, 5, 16, 33]),
        (1, 64, vec![300]),
        (2, 72, vec![64, 20]),
        (1, 80, vec![70, 7]),
        (1, 112, vec![18]),
        (1, 4, vec![261]),
    ] {
        let rows: usize = lengths.iter().sum();
        let qkv = numbers(rows * 3 * heads * head_dim, 5);
        let angles = numbers(rows * head_dim / 2, 9);
        let cos: Vec<f32> = angles.iter().map(|angle| angle.cos()).collect();
        let sin: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
        let shape = Rotated { heads, head_dim, cos: &cos, sin: &sin };
        let expected = plain(&qkv, shape, &lengths);
        let segments = Segments::new(lengths.clone());
        for level in Level::all_for(GROUP) {
            let mut out = vec![f32::NAN; expected.len()];
            // Left over from another head.
            let mut scratch = HeadScratch { keys: vec![9.0; 10_000], ..Default::default() };
            full::attend_on(level, &qkv, shape, &segments, &mut scratch, &mut out);
            for (ours, theirs) in out.iter().zip(&expected) {
                let off = (ours - theirs).abs();
                assert!(off <= 2e-5, "{level:?} {head_dim} {lengths:?}: {ours} is not {theirs}");
            }
        }
        for level in PairLevel::all() {
            let mut out = vec![f32::NAN; expected.len()];
            let mut scratch = PairScratch::default();
            pairs::attend_on(level, &qkv, shape, &segments, &mut scratch, &mut out);
            for (ours, theirs) in out.iter().zip(&expected) {
                let off = (ours - theirs).abs();
                assert!(off <= 3e-2, "{level:?} {head_dim} {lengths:?}: {ours} is not {theirs}");
            }
            // Old numbers in the buffers change nothing.
            let mut again = vec![f32::NAN; expected.len()];
            pairs::attend_on(level, &qkv, shape, &segments, &mut scratch, &mut again);
            assert_eq!(out, again);
        }
    }
}
