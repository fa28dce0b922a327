//! Decodes videos, frame by frame.
//!
//! Animations (GIF, WebP, APNG) are decoded here. Other videos are decoded by `ffmpeg` and `ffprobe` in processes of
//! their own, if they are installed: they may read the one file and nothing else, with limits on time, memory and
//! output.

mod animation;
mod error;
mod ffmpeg;
mod kind;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::{Image, ImageLimits};

pub use error::VideoError;
pub use ffmpeg::Programs;
pub use kind::{Container, VideoKind};

/// The largest videos that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoLimits {
    /// The most bytes of a file.
    pub max_bytes: usize,
    /// The most pixels of a frame.
    pub max_pixels: u64,
    /// The most frames of a file, used or not.
    pub max_frames: usize,
    /// The longest time that one of the two steps may take: looking a video up, and decoding its frames.
    pub max_time: Duration,
}

impl Default for VideoLimits {
    /// 100 MB, 9 million pixels (4K), 200,000 frames (an hour at 50 a second), and a minute.
    fn default() -> Self {
        Self {
            max_bytes: 100_000_000,
            max_pixels: 9_000_000,
            max_frames: 200_000,
            max_time: Duration::from_secs(60),
        }
    }
}

impl VideoLimits {
    /// Returns the limits of a frame, and of a file of an animation.
    fn images(&self) -> ImageLimits {
        ImageLimits { max_bytes: self.max_bytes, max_pixels: self.max_pixels }
    }
}

/// A video whose frames were counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// The kind of the file.
    pub kind: VideoKind,
    /// The time at which each frame is shown, in seconds after the first.
    pub times: Vec<f64>,
    /// The frames that are shown per second, in the mean.
    pub fps: f64,
}

/// Counts the frames of a video and reads their times. Of animations it decodes all frames, of other videos none.
///
/// # Errors
/// If the bytes are not a video of a supported kind, exceed a limit, or are damaged.
pub fn look_up(
    bytes: &[u8],
    limits: &VideoLimits,
    programs: Option<&Programs>,
) -> Result<Video, VideoError> {
    if bytes.len() > limits.max_bytes {
        return Err(VideoError::TooManyBytes { len: bytes.len(), most: limits.max_bytes });
    }
    let kind = VideoKind::of(bytes)?;
    let (times, fps) = match kind {
        VideoKind::Animation(animation) => {
            let (times, end) = animation::times(bytes, animation, limits)?;
            let fps = if end > 0.0 { times.len() as f64 / end } else { STILL_FPS };
            (times, fps)
        }
        VideoKind::Contained(container) => {
            let programs = programs.ok_or(VideoError::NoDecoder { kind: kind.as_str() })?;
            let times = programs.times(bytes, container, limits)?;
            let fps = mean_rate(&times);
            (times, fps)
        }
    };
    if times.is_empty() {
        return Err(VideoError::NoFrames { kind: kind.as_str() });
    }
    Ok(Video { kind, times, fps })
}

/// The rate that is assumed of a single frame.
const STILL_FPS: f64 = 1.0;

/// Returns the frames per second between the first and the last.
fn mean_rate(times: &[f64]) -> f64 {
    let span = times.last().zip(times.first()).map_or(0.0, |(last, first)| last - first);
    if span > 0.0 { (times.len() - 1) as f64 / span } else { STILL_FPS }
}

impl Video {
    /// Decodes the frames of ascending indices, and passes one after another to `take`.
    ///
    /// # Errors
    /// If the file ends before the last of them, is damaged, or decoding takes too long.
    pub fn decode(
        &self,
        bytes: &[u8],
        limits: &VideoLimits,
        programs: Option<&Programs>,
        indices: &[usize],
        take: &mut dyn FnMut(Image),
    ) -> Result<(), VideoError> {
        let kind = self.kind.as_str();
        let taken = match self.kind {
            VideoKind::Animation(animation) => {
                animation::decode(bytes, animation, limits, indices, take)?
            }
            VideoKind::Contained(container) => {
                let programs = programs.ok_or(VideoError::NoDecoder { kind })?;
                programs.decode(bytes, container, limits, indices, take)?
            }
        };
        if taken < indices.len() {
            let problem = format!("it has {taken} of the {} frames to decode", indices.len());
            return Err(VideoError::Damaged { kind, problem });
        }
        Ok(())
    }
}
