//! Rows that are not contiguous: the rows that one expert computes.

use super::parallel::{SharedOut, for_pieces};

/// Copies the rows `rows` of `x` `[tokens, width]` to `out` `[rows, width]`.
pub(crate) fn gather(x: &[f32], rows: &[u32], width: usize, out: &mut [f32]) {
    for (row, out) in rows.iter().zip(out.chunks_exact_mut(width)) {
        let start = *row as usize * width;
        out.copy_from_slice(&x[start..start + width]);
    }
}

/// Adds each row of `x` `[rows, width]`, times its weight, to the row of `out` `[tokens, width]`
/// that `rows` names. `rows` is ascending without repetition.
pub(crate) fn scatter_add(x: &[f32], rows: &[u32], weights: &[f32], width: usize, out: &mut [f32]) {
    assert!(x.len() == rows.len() * width && weights.len() == rows.len());
    assert!(rows.is_sorted_by(|a, b| a < b), "a row that is told twice");
    let out = SharedOut::new(out);
    for_pieces(rows.len(), x.len(), |places| {
        for place in places {
            let start = rows[place] as usize * width;
            // SAFETY: `rows` has no repetitions, so each row is written by one thread.
            let out = unsafe { out.part(start..start + width) };
            let weight = weights[place];
            for (out, x) in out.iter_mut().zip(&x[place * width..(place + 1) * width]) {
                *out += weight * x;
            }
        }
    });
}

/// Multiplies each row of `x` `[rows, width]` by its factor.
pub(crate) fn scale(x: &mut [f32], factors: &[f32], width: usize) {
    assert!(x.len() == factors.len() * width, "as many factors as rows");
    let len = x.len();
    let x = SharedOut::new(x);
    for_pieces(factors.len(), len, |rows| {
        for row in rows {
            // SAFETY: each row is written by one thread.
            let x = unsafe { x.part(row * width..(row + 1) * width) };
            x.iter_mut().for_each(|x| *x *= factors[row]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scatter_add_inverts_gather() {
        // Little work stays on one thread, much is shared.
        for width in [3, 4096] {
            let x: Vec<f32> = (0..40 * width).map(|n| (n as f32 * 0.3).cos()).collect();
            let rows: Vec<u32> = (1..40).step_by(2).collect();
            let mut gathered = vec![0.0; rows.len() * width];
            gather(&x, &rows, width, &mut gathered);
            let weights: Vec<f32> = rows.iter().map(|row| *row as f32 + 0.5).collect();
            let (mut out, mut scaled) = (x.clone(), x.clone());
            scatter_add(&gathered, &rows, &weights, width, &mut out);
            let factors: Vec<f32> =
                (0..40).map(|row| if row % 2 == 0 { 1.0 } else { row as f32 + 1.5 }).collect();
            scale(&mut scaled, &factors, width);
            for (at, (a, b)) in out.iter().zip(&scaled).enumerate() {
                assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{at}: {a}, {b}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "told twice")]
    fn repeated_row_indexes_panic() {
        scatter_add(&[1.0; 4], &[1, 1], &[1.0; 2], 2, &mut [0.0; 8]);
    }
}
