//! An image in the size in which it is encoded.

use std::sync::Arc;

use media::Image;
use sha2::{Digest, Sha256};

use crate::vision::resample::resize;

/// An image, or a pair of frames of a video, that was resized for one model, which is all that a request keeps of it.
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct ResizedImage {
    pub(super) frames: Arc<[Image]>,
    pub(super) hash: [u8; 32],
    pub(super) model: SizeRule,
}

/// What the size of an image depends on beside the request, by which an image for another model is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SizeRule {
    /// Pixels of a token's side.
    pub(in crate::vision) side: u32,
    /// The most tokens of an image.
    pub(in crate::vision) max_tokens: usize,
}

impl ResizedImage {
    pub(super) fn new(image: &Image, (height, width): (u32, u32), model: SizeRule) -> Self {
        let hash = hash(image, (height, width));
        Self { frames: [resize(image, width, height)].into(), hash, model }
    }

    /// Joins successive frames of a video, which have one size already: two, or the last one alone.
    pub(in crate::vision) fn of_frames(frames: Vec<Image>, model: SizeRule) -> Self {
        let mut all = Sha256::new();
        for frame in &frames {
            all.update(hash(frame, (frame.height, frame.width)));
        }
        // A lone last frame is an image: it is repeated like one.
        let hash = match &frames[..] {
            [frame] => hash(frame, (frame.height, frame.width)),
            _ => all.finalize().into(),
        };
        Self { frames: frames.into(), hash, model }
    }

    /// Returns the height and the width.
    pub fn size(&self) -> (u32, u32) {
        self.frames.first().map_or((0, 0), |frame| (frame.height, frame.width))
    }

    pub(in crate::vision) const fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

/// Returns a hash of an image and of the size to which it is resized. An encoder has one tower, and an engine one
/// encoder, so the tower need not be part of it.
fn hash(image: &Image, (height, width): (u32, u32)) -> [u8; 32] {
    let mut hash = Sha256::new();
    for number in [image.width, image.height, width, height] {
        hash.update(number.to_le_bytes());
    }
    hash.update(&image.rgb);
    hash.finalize().into()
}
