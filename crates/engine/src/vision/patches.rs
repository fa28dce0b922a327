//! Normalizes pixels and orders them by patches.

use rayon::prelude::*;

use super::spec::TowerSpec;
use media::Image;

/// The numbers of patches in time, height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Pairs of frames; 1 for an image.
    pub time: usize,
    /// Rows of patches.
    pub height: usize,
    /// Patches in a row.
    pub width: usize,
}

impl Grid {
    /// Returns the number of patches.
    pub fn patches(&self) -> usize {
        self.time * self.height * self.width
    }

    /// Returns the grid of tokens, each merged from `merge` × `merge` patches.
    pub fn merged(&self, merge: usize) -> Self {
        Self { time: self.time, height: self.height / merge, width: self.width / merge }
    }
}

/// The patches of an image or a video: the input of a tower.
#[derive(Debug, Clone, PartialEq)]
pub struct Patches {
    /// The arrangement of the patches.
    pub grid: Grid,
    /// The normalized pixels, `[patches, 3, frames of a patch, patch, patch]`. The patches of one token follow one
    /// another; tokens are in the order of time, rows and columns.
    pub values: Vec<f32>,
}

impl Patches {
    /// Makes the patches of frames that have one size, which is a multiple of a token's. One frame is an image, which
    /// fills both frames of a patch. The last frame of an odd number is repeated.
    pub fn new(frames: &[&Image], spec: &TowerSpec) -> Self {
        let TowerSpec { patch, merge, temporal, .. } = *spec;
        let first = frames[0];
        let same = |frame: &&&Image| (frame.width, frame.height) == (first.width, first.height);
        assert!(frames.iter().all(|frame| same(&frame)), "frames of different sizes");
        let (rows, columns) = (first.height as usize / patch, first.width as usize / patch);
        let grid = Grid { time: frames.len().div_ceil(temporal), height: rows, width: columns };
        let tables = normalized(spec);
        let row_len = spec.patch_len();
        let per_frame = rows * columns;
        let mut values = vec![0.0; grid.patches() * row_len];
        // One strip is a row of tokens.
        let strip = merge * columns * row_len;
        values.par_chunks_mut(strip).enumerate().for_each(|(index, strip)| {
            let strips = per_frame / (merge * columns);
            let (time, block_row) = (index / strips, index % strips);
            for (place, patch_values) in strip.chunks_exact_mut(row_len).enumerate() {
                let (block, inside) = (place / (merge * merge), place % (merge * merge));
                let top = (block_row * merge + inside / merge) * patch;
                let left = (block * merge + inside % merge) * patch;
                let mut out = patch_values.chunks_exact_mut(patch);
                for (channel, table) in tables.iter().enumerate() {
                    for frame in 0..temporal {
                        let frame = frames[(time * temporal + frame).min(frames.len() - 1)];
                        for y in top..top + patch {
                            let start = (y * frame.width as usize + left) * 3;
                            let (pixels, _) = frame.rgb[start..start + patch * 3].as_chunks::<3>();
                            let Some(out) = out.next() else { return };
                            for (out, pixel) in out.iter_mut().zip(pixels) {
                                *out = table[usize::from(pixel[channel])];
                            }
                        }
                    }
                }
            }
        });
        Self { grid, values }
    }
}

/// Returns the normalized value of each byte in each channel. Torchvision's processors scale mean and deviation by
/// 255 instead of dividing the byte.
fn normalized(spec: &TowerSpec) -> [[f32; 256]; 3] {
    std::array::from_fn(|channel| {
        let (mean, deviation) = (spec.mean[channel] * 255.0, spec.deviation[channel] * 255.0);
        std::array::from_fn(|byte| (byte as f32 - mean) / deviation)
    })
}
