//! The order of patches, their angles and their learned positions.

use super::super::patches::Grid;
use super::super::spec::TowerSpec;

/// The base of the rotary embedding of all towers.
const THETA: f32 = 10_000.0;

/// Where the patches of an image or a video are.
#[derive(Debug)]
pub(super) struct Places {
    grid: Grid,
    /// Patches of a token.
    token_patches: usize,
    /// The row and the column of each patch of one frame, in the order of [`Patches`](super::Patches).
    frame: Vec<[usize; 2]>,
    /// The tokens in the order in which they are computed, and the lengths of the windows in patches.
    windows: Option<(Vec<usize>, Vec<usize>)>,
    /// The sides of the square of learned positions.
    side: usize,
    /// `[patches, head_dim / 2]`
    cos: Vec<f32>,
    /// `[patches, head_dim / 2]`
    sin: Vec<f32>,
}

impl Places {
    pub(super) fn new(grid: Grid, spec: &TowerSpec) -> Self {
        let merge = spec.merge;
        let tokens = grid.merged(merge);
        let per_token = spec.token_patches();
        let frame: Vec<[usize; 2]> = (0..grid.height * grid.width)
            .map(|place| {
                let (token, inside) = (place / per_token, place % per_token);
                let (row, column) = (token / tokens.width, token % tokens.width);
                [row * merge + inside / merge, column * merge + inside % merge]
            })
            .collect();
        let windows =
            spec.windows.as_ref().map(|windows| window_order(tokens, windows.side, per_token));
        let pairs = spec.head_dim() / 4;
        let frequency =
            |pair: usize| 1.0 / THETA.powf(2.0 * pair as f32 / (spec.head_dim() / 2) as f32);
        let frequencies: Vec<f32> = (0..pairs).map(frequency).collect();
        let order = windows.as_ref().map(|(order, _)| order);
        let mut angles = Vec::with_capacity(grid.patches() * pairs * 2);
        for patch in 0..grid.patches() {
            let token = order.map_or(patch / per_token, |order| order[patch / per_token]);
            let place = frame[(token * per_token + patch % per_token) % frame.len()];
            for position in place {
                angles.extend(frequencies.iter().map(|frequency| position as f32 * frequency));
            }
        }
        let cos = angles.iter().map(|angle| angle.cos()).collect();
        let sin = angles.iter().map(|angle| angle.sin()).collect();
        let side = spec.position_side.unwrap_or(0);
        Self { grid, token_patches: per_token, frame, windows, side, cos, sin }
    }

    /// Returns cosines and sines of the angles that rotate queries and keys: first those by rows, then those by
    /// columns.
    pub(super) fn angles(&self) -> (&[f32], &[f32]) {
        (&self.cos, &self.sin)
    }

    /// Returns the numbers of patches that attend to one another: those of a frame.
    pub(super) fn whole_segments(&self) -> impl Iterator<Item = usize> {
        std::iter::repeat_n(self.grid.height * self.grid.width, self.grid.time)
    }

    /// Returns the numbers of patches of the windows.
    pub(super) fn window_segments(&self) -> Option<impl Iterator<Item = usize>> {
        self.windows.as_ref().map(|(_, lengths)| lengths.iter().copied())
    }

    /// Adds the learned positions to the patches `x`, `[patches, width]`: interpolated between the four positions
    /// around each, with the corners of the image on those of the table.
    pub(super) fn add_positions(&self, x: &mut [f32], table: &[f32], width: usize) {
        let taps = |index: usize, count: usize| {
            let at = index as f32 * (self.side - 1) as f32 / (count.max(2) - 1) as f32;
            let low = at.floor();
            let after = (low as usize + 1).min(self.side - 1);
            [(low as usize, 1.0 - (at - low)), (after, at - low)]
        };
        for (patch, row) in x.chunks_exact_mut(width).enumerate() {
            let [y, x] = self.frame[patch % self.frame.len()];
            for (y, y_weight) in taps(y, self.grid.height) {
                for (x, x_weight) in taps(x, self.grid.width) {
                    let (weight, start) = (y_weight * x_weight, (y * self.side + x) * width);
                    for (number, position) in row.iter_mut().zip(&table[start..start + width]) {
                        *number += position * weight;
                    }
                }
            }
        }
    }

    /// Copies tokens of `len` numbers to the order in which they are computed.
    pub(super) fn in_order(&self, from: &[f32], len: usize, to: &mut [f32]) {
        match &self.windows {
            None => to.copy_from_slice(from),
            Some((order, _)) => {
                for (to, token) in to.chunks_exact_mut(len).zip(order) {
                    to.copy_from_slice(&from[token * len..(token + 1) * len]);
                }
            }
        }
    }

    /// Returns tokens of `len` numbers in their order in the image.
    pub(super) fn unordered(&self, from: &[f32], len: usize) -> Vec<f32> {
        let Some((order, _)) = &self.windows else { return from.to_vec() };
        let mut to = vec![0.0; from.len()];
        for (from, token) in from.chunks_exact(len).zip(order) {
            to[token * len..(token + 1) * len].copy_from_slice(from);
        }
        debug_assert_eq!(order.len() * self.token_patches, self.grid.patches());
        to
    }
}

/// Returns the order of tokens by windows of `side` tokens, and the lengths of the windows in patches. Windows at the
/// right and at the bottom may be smaller.
fn window_order(tokens: Grid, side: usize, token_patches: usize) -> (Vec<usize>, Vec<usize>) {
    let Grid { time, height, width } = tokens;
    let (mut order, mut lengths) = (Vec::with_capacity(time * height * width), Vec::new());
    for frame in 0..time {
        for top in (0..height).step_by(side) {
            for left in (0..width).step_by(side) {
                let before = order.len();
                for row in top..(top + side).min(height) {
                    let start = (frame * height + row) * width;
                    order.extend(start + left..start + (left + side).min(width));
                }
                lengths.push((order.len() - before) * token_patches);
            }
        }
    }
    (order, lengths)
}

#[cfg(test)]
mod tests {
    use super::super::super::spec::Family;
    use super::*;

    #[test]
    fn windows_equal_those_of_qwen_2_5() {
        let grid = Grid { time: 1, height: 10, width: 12 };
        let (order, lengths) = window_order(grid.merged(2), 4, 4);
        let mut golden = vec![
            0, 1, 2, 3, 6, 7, 8, 9, 12, 13, 14, 15, 18, 19, 20, 21, 4, 5, 10, 11, 16, 17, 22, 23,
        ];
        golden.extend(24..30);
        assert_eq!(order, golden);
        // The ends are 64, 96, 112 and 120.
        assert_eq!(lengths, [64, 32, 16, 8]);
        let spec = TowerSpec::of_name("qwen2.5-vl", 64).unwrap();
        assert_eq!(spec.family, Family::Qwen25Vl);
        let places = Places::new(grid, &spec);
        let inverse =
            [0, 1, 2, 3, 16, 17, 4, 5, 6, 7, 18, 19, 8, 9, 10, 11, 20, 21, 12, 13, 14, 15, 22, 23];
        let computed: Vec<f32> = (0..30).map(|number| number as f32).collect();
        let restored = places.unordered(&computed, 1);
        let restored: Vec<usize> = restored.into_iter().map(|number| number as usize).collect();
        assert_eq!(restored[..24], inverse);
        let mut again = vec![0.0; 30];
        places.in_order(&places.unordered(&computed, 1), 1, &mut again);
        assert_eq!(again, computed);
    }

    #[test]
    fn learned_positions_have_their_corners_on_the_images() {
        let mut spec = TowerSpec::of_name("qwen3.5-2b", 64).unwrap();
        (spec.merge, spec.position_side) = (1, Some(48));
        let grid = Grid { time: 1, height: 4, width: 1 };
        let places = Places::new(grid, &spec);
        // The position in the table's rows, as numbers of width 1.
        let table: Vec<f32> = (0..48 * 48).map(|at| (at / 48) as f32).collect();
        let mut x = vec![0.0; 4];
        places.add_positions(&mut x, &table, 1);
        for (x, golden) in x.iter().zip([0.0, 15.667, 31.333, 47.0]) {
            assert!((x - golden).abs() < 1e-3, "{x} is not {golden}");
        }
    }
}
