//! What takes the place of a pad token: an image, or the frames of a video.

use media::{Image, ImageError};
use sha2::{Digest, Sha256};

use super::encoder::{Encoder, ResizedImage, SizeRule};
use super::resample::resize;
use super::size::{PixelRange, image_size, video_size};
use super::spec::Family;
use super::video::{SampleError, Sampled, Sampling, capped};

/// What takes the place of a pad token. It was resized for one model.
#[derive(Debug, Clone, PartialEq)]
pub enum Visual {
    /// An image, in the place of `<|image_pad|>`.
    Image(ResizedImage),
    /// A video, in the place of `<|video_pad|>`.
    Video(ResizedVideo),
}

impl From<ResizedImage> for Visual {
    fn from(image: ResizedImage) -> Self {
        Self::Image(image)
    }
}

impl Visual {
    /// Returns the height and the width of what the model sees: of a video, of its frames.
    pub fn size(&self) -> (u32, u32) {
        match self {
            Self::Image(image) => image.size(),
            Self::Video(video) => video.size(),
        }
    }
}

/// The frames of a video that are used, in pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct ResizedVideo {
    /// The pairs. The last one of an odd number of frames has one.
    pub(crate) pairs: Vec<ResizedImage>,
    /// The times of the first and the last frame of each pair, in seconds.
    pub(crate) times: Vec<(f64, f64)>,
    /// The frames that were taken per second.
    pub(crate) fps: f64,
}

impl ResizedVideo {
    /// Returns the height and the width of its frames.
    pub fn size(&self) -> (u32, u32) {
        self.pairs.first().map_or((0, 0), ResizedImage::size)
    }

    /// Returns a hash of all frames in order.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.pairs.iter().for_each(|pair| hash.update(pair.hash()));
        hash.finalize().into()
    }
}

/// The reason why a video cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VideoError {
    /// No frames can be taken from it.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// Its frames have a size that cannot be used.
    #[error("a frame of the video cannot be used: {0}")]
    Frame(#[from] ImageError),
    /// It was given fewer frames than were chosen.
    #[error("{given} of {chosen} frames of the video were decoded")]
    TooFewFrames {
        /// The frames that were given.
        given: usize,
        /// The frames that were chosen.
        chosen: usize,
    },
}

/// Takes the frames of a video one after another, so that only resized ones are in memory.
#[derive(Debug)]
pub struct VideoFrames {
    sampled: Sampled,
    times: Vec<f64>,
    spec: FrameSpec,
    frames: Vec<Image>,
    pairs: Vec<ResizedImage>,
}

/// What decides the size of frames.
#[derive(Debug, Clone, Copy)]
struct FrameSpec {
    family: Family,
    model: SizeRule,
    /// The most tokens of all frames.
    max_tokens: usize,
    limits: (Option<u64>, Option<u64>),
    size: Option<(u32, u32)>,
}

/// The fewest tokens of a pair of frames for which the number of frames is reduced.
const PAIR_TOKENS: usize = 64;

/// The pixels of all frames of a video of Qwen3-VL together
/// (`video_preprocessor_config.json` of <https://huggingface.co/Qwen/Qwen3-VL-2B-Instruct>).
const QWEN3_VL: PixelRange = PixelRange { min: 4_096, max: 25_165_824 };
/// The tokens of a frame of Qwen2-VL and Qwen2.5-VL (`qwen_vl_utils/vision_process.py`).
const QWEN2_VL_TOKENS: (u64, u64) = (128, 768);

impl VideoFrames {
    /// Chooses the frames of a video whose frames are shown at `times`, in seconds, `fps` of them a second in the mean.
    /// `limits` are the fewest and the most pixels of a frame, if a request has them.
    ///
    /// # Errors
    /// If the video has no frames, or a rate is out of range.
    pub(crate) fn choose(
        encoder: &Encoder,
        times: &[f64],
        fps: f64,
        limits: (Option<u64>, Option<u64>),
    ) -> Result<Self, VideoError> {
        let (family, max_tokens) = (encoder.tower().spec().family, encoder.max_video_tokens());
        let sampling = Sampling::default();
        let most = (2 * max_tokens / PAIR_TOKENS).clamp(sampling.min_frames, sampling.max_frames);
        let sampling = Sampling { max_frames: most, ..sampling };
        let sampled = sampling.frames(family, times.len(), Some(fps))?;
        let times = sampled.frames.iter().filter_map(|index| times.get(*index)).copied().collect();
        let model = encoder.size_rule();
        let spec = FrameSpec { family, model, max_tokens, limits, size: None };
        Ok(Self { sampled, times, spec, frames: Vec::new(), pairs: Vec::new() })
    }

    /// Returns the indices of the chosen frames, ascending.
    pub fn indices(&self) -> &[usize] {
        &self.sampled.frames
    }

    /// Takes the next of the chosen frames and resizes it.
    ///
    /// # Errors
    /// If its size cannot be used.
    pub fn add(&mut self, frame: &Image) -> Result<(), VideoError> {
        let count = self.sampled.frames.len();
        let (height, width) = match self.spec.size {
            Some(size) => size,
            None => *self.spec.size.insert(self.spec.size_of(frame, count)?),
        };
        self.frames.push(resize(frame, width, height));
        if self.frames.len() == 2 {
            self.pairs
                .push(ResizedImage::of_frames(std::mem::take(&mut self.frames), self.spec.model));
        }
        Ok(())
    }

    /// Returns the video.
    ///
    /// # Errors
    /// If frames are missing.
    pub fn finish(mut self) -> Result<ResizedVideo, VideoError> {
        let (given, chosen) = (2 * self.pairs.len() + self.frames.len(), self.sampled.frames.len());
        if given != chosen {
            return Err(VideoError::TooFewFrames { given, chosen });
        }
        if !self.frames.is_empty() {
            self.pairs.push(ResizedImage::of_frames(self.frames, self.spec.model));
        }
        let times = self.times.chunks(2).map(|pair| (pair[0], pair[pair.len() - 1])).collect();
        Ok(ResizedVideo { pairs: self.pairs, times, fps: self.sampled.fps })
    }
}

impl FrameSpec {
    /// Returns the height and the width of all frames, of which `frame` is the first.
    fn size_of(&self, frame: &Image, count: usize) -> Result<(u32, u32), ImageError> {
        let (count, side) = (count.max(1) as u64, self.model.side);
        let token = u64::from(side).pow(2);
        // Two frames share a token.
        let mut budget = 2 * self.max_tokens as u64 * token;
        let (least, most) = self.limits;
        budget = most.map_or(budget, |most| budget.min(most.saturating_mul(count)));
        match self.family {
            Family::Qwen3Vl => {
                let min = least.map_or(QWEN3_VL.min, |least| least.saturating_mul(count));
                let max = QWEN3_VL.max.min(budget).max(token);
                let range = PixelRange { min: min.min(max), max };
                let range = capped(range, count as usize, side);
                video_size(count as u32, frame.height, frame.width, side, range)
            }
            Family::Qwen2Vl | Family::Qwen25Vl => {
                let (min, max) = (QWEN2_VL_TOKENS.0 * token, QWEN2_VL_TOKENS.1 * token);
                let max = max.min(budget / count).max(token);
                let range = PixelRange { min: least.unwrap_or(min).min(max), max };
                image_size(frame.height, frame.width, side, range)
            }
        }
    }
}
