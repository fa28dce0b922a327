//! The positions of an image's or a video's rows in time, height and width.
//!
//! Positions are offsets from that of the first row, as [`InjectedRows`](crate::injected::InjectedRows) has them; the
//! text after the rows continues after the largest of all three axes. transformers 5.3 to 5.24 ignore time there,
//! which differs for videos of Qwen2-VL and Qwen2.5-VL only (huggingface/transformers#45381).

use super::patches::Grid;
use super::spec::{Family, TowerSpec};

/// Returns the positions of the tokens of an image, or of a video whose pairs of frames are `step` apart in time.
pub fn offsets(grid: Grid, merge: usize, step: f64) -> Vec<[u32; 3]> {
    let Grid { time, height, width } = grid.merged(merge);
    let mut offsets = Vec::with_capacity(time * height * width);
    for frame in 0..time {
        // Truncated after the multiplication.
        let time = (frame as f64 * step) as u32;
        for row in 0..height as u32 {
            offsets.extend((0..width as u32).map(|column| [time, row, column]));
        }
    }
    offsets
}

/// Returns the distance in time of two pairs of frames of a video, of which `fps` frames a second were sampled.
pub fn time_step(spec: &TowerSpec, fps: f64) -> f64 {
    match spec.family {
        Family::Qwen25Vl => spec.tokens_per_second * (spec.temporal as f64 / fps),
        Family::Qwen2Vl | Family::Qwen3Vl => 1.0,
    }
}

/// Returns `rope_delta`: the position of the first generated token minus its index. `spans` are the index of the
/// first row and the offsets of each image and video, in order.
pub fn delta<'a>(tokens: usize, spans: impl IntoIterator<Item = (usize, &'a [[u32; 3]])>) -> i64 {
    let (mut index, mut position) = (0, 0);
    for (start, offsets) in spans {
        position += start - index;
        position += offsets.iter().flatten().max().map_or(0, |largest| *largest as usize + 1);
        index = start + offsets.len();
    }
    (position + (tokens - index)) as i64 - tokens as i64
}
