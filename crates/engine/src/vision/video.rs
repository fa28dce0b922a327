//! Chooses the frames of a video, their times, and the pixels that they may have together.

use super::prompt::timestamp;
use super::size::PixelRange;
use super::spec::Family;

/// The frames of a video that are used. Two are one patch in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The indices of the frames, ascending.
    pub frames: Vec<usize>,
    /// The frames that were taken per second.
    pub fps: f64,
}

/// How many frames are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Frames per second.
    pub fps: f64,
    /// The fewest frames, if the video has as many.
    pub min_frames: usize,
    /// The most frames.
    pub max_frames: usize,
}

impl Default for Sampling {
    /// Two frames per second, from 4 to 768.
    fn default() -> Self {
        Self { fps: 2.0, min_frames: 4, max_frames: 768 }
    }
}

/// The rate that is assumed if a video does not state its own.
pub const UNKNOWN_FPS: f64 = 24.0;

/// The reason why no frames can be taken from a video.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// The video has no frames.
    #[error("the video has no frames")]
    Empty,
    /// A rate is not a positive number.
    #[error("{what} is {value} frames per second; it must be a positive number")]
    Rate {
        /// `fps` of the request, or the rate of the video.
        what: &'static str,
        /// The value.
        value: f64,
    },
    /// The limits of the number of frames are empty.
    #[error("min_frames is {min} and max_frames {max}; there must be from 1 to max_frames frames")]
    Limits {
        /// The fewest frames.
        min: usize,
        /// The most frames.
        max: usize,
    },
}

impl Sampling {
    /// Chooses frames of a video of `total` frames, of which it shows `source_fps` per second.
    ///
    /// # Errors
    /// If the video has no frames, or a value is out of range.
    pub fn frames(
        &self,
        family: Family,
        total: usize,
        source_fps: Option<f64>,
    ) -> Result<Sampled, SampleError> {
        let source_fps = source_fps.unwrap_or(UNKNOWN_FPS);
        for (what, value) in [("fps", self.fps), ("the rate of the video", source_fps)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(SampleError::Rate { what, value });
            }
        }
        let Self { min_frames: min, max_frames: max, .. } = *self;
        if min > max || max == 0 {
            return Err(SampleError::Limits { min, max });
        }
        if total == 0 {
            return Err(SampleError::Empty);
        }
        let wanted = total as f64 / source_fps * self.fps;
        let frames = match family {
            Family::Qwen3Vl => evenly(total, (wanted as usize).clamp(min, max).min(total)),
            Family::Qwen2Vl | Family::Qwen25Vl => from_start(total, wanted, min, max),
        };
        let fps = frames.len() as f64 / total as f64 * source_fps;
        Ok(Sampled { frames, fps })
    }
}

/// Returns `count` frames from the first to the last, as `numpy.linspace` with halves rounded to even.
fn evenly(total: usize, count: usize) -> Vec<usize> {
    let step = (total - 1) as f64 / (count.max(2) - 1) as f64;
    let at = |index: usize| match index + 1 == count && count > 1 {
        true => total - 1,
        false => (index as f64 * step).round_ties_even() as usize,
    };
    (0..count).map(at).collect()
}

/// Returns an even number of frames from the first on, as Qwen2-VL's video processor of transformers.
fn from_start(total: usize, wanted: f64, min: usize, max: usize) -> Vec<usize> {
    let most = (max.min(total) / 2 * 2) as f64;
    let count = wanted.max(min as f64).min(most).min(total as f64);
    // A single frame has no pair; it is repeated.
    let count = ((count / 2.0).floor() as usize * 2).max(1);
    let step = total as f64 / count as f64;
    (0..count).map(|index| (index as f64 * step) as usize).collect()
}

/// Returns the texts before the pairs of frames of Qwen3-VL: the mean of the times of both, in the original video.
pub fn timestamps(frames: &[usize], source_fps: Option<f64>) -> Vec<String> {
    let source_fps = source_fps.unwrap_or(UNKNOWN_FPS);
    let time = |frame: usize| frame as f64 / source_fps;
    let pairs = frames.chunks(2);
    pairs.map(|pair| timestamp(time(pair[0]), time(pair[pair.len() - 1]))).collect()
}

/// Returns the range of the pixels of all frames together, of which each frame has at most its share of a cap, as
/// qwen-vl-utils has it. Without it a short video spends the whole budget on few frames.
pub fn capped(range: PixelRange, frames: usize, token_side: u32) -> PixelRange {
    const MAX_FRAME_TOKENS: u64 = 768;
    let frame = MAX_FRAME_TOKENS * u64::from(token_side).pow(2);
    let frames = frames.max(1) as u64;
    let each = frame.min(range.max / frames).max((range.min as f64 * 1.05) as u64);
    PixelRange { min: range.min, max: each * frames }
}

#[cfg(test)]
mod tests {
    use super::super::size::video_size;
    use super::*;

    #[test]
    fn frames_and_times_equal_those_of_qwen3_vl() {
        type Golden = (usize, f64, &'static [usize], &'static [&'static str]);
        let goldens: [Golden; 4] = [
            (48, 24.0, &[0, 16, 31, 47], &["0.3", "1.6"]),
            (100, 25.0, &[0, 14, 28, 42, 57, 71, 85, 99], &["0.3", "1.4", "2.6", "3.7"]),
            (90, 29.97, &[0, 18, 36, 53, 71, 89], &["0.3", "1.5", "2.7"]),
            (3, 30.0, &[0, 1, 2], &["0.0", "0.1"]),
        ];
        for (total, fps, frames, times) in goldens {
            let sampled = Sampling::default().frames(Family::Qwen3Vl, total, Some(fps)).unwrap();
            assert_eq!(sampled.frames, frames);
            let expected: Vec<String> =
                times.iter().map(|time| format!("<{time} seconds>")).collect();
            assert_eq!(timestamps(&sampled.frames, Some(fps)), expected);
        }
        let unknown = Sampling::default().frames(Family::Qwen3Vl, 48, None).unwrap();
        assert_eq!((unknown.frames.len(), unknown.fps), (4, 2.0));
    }

    #[test]
    fn qwen2_vl_takes_an_even_number_from_the_start() {
        let frames = |total, fps| {
            Sampling::default().frames(Family::Qwen25Vl, total, Some(fps)).unwrap().frames
        };
        assert_eq!(frames(48, 24.0), [0, 12, 24, 36]);
        assert_eq!(frames(90, 29.97), [0, 15, 30, 45, 60, 75]);
        assert_eq!(frames(5, 30.0), [0, 1, 2, 3]);
        assert_eq!(frames(1, 30.0), [0]);
        assert_eq!(frames(10_000, 1.0).len(), 768);
    }

    #[test]
    fn impossible_videos_are_refused() {
        let all = Sampling::default();
        assert_eq!(all.frames(Family::Qwen3Vl, 0, None), Err(SampleError::Empty));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = all.frames(Family::Qwen3Vl, 5, Some(rate)).unwrap_err();
            assert!(matches!(error, SampleError::Rate { what: "the rate of the video", .. }));
        }
        let none = Sampling { min_frames: 0, max_frames: 0, ..all };
        let error = none.frames(Family::Qwen2Vl, 5, None).unwrap_err();
        assert_eq!(error, SampleError::Limits { min: 0, max: 0 });
    }

    #[test]
    fn a_cap_per_frame_keeps_short_videos_small() {
        let range = PixelRange { min: 4096, max: 25_165_824 };
        for (frames, golden, tokens) in [(4, (640, 1152), 1440), (20, (640, 1152), 7200)] {
            let capped = capped(range, frames as usize, 32);
            let (height, width) = video_size(frames, 1080, 1920, 32, capped).unwrap();
            assert_eq!((height, width), golden);
            assert_eq!(height / 32 * (width / 32) * frames / 2, tokens);
        }
    }
}
