//! The size to which images and videos are resized: multiples of a merged patch, with a number of pixels in a range.

use media::ImageError;

/// The range of the number of pixels of a resized image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelRange {
    /// The fewest pixels.
    pub min: u64,
    /// The most pixels.
    pub max: u64,
}

impl PixelRange {
    /// Returns the range with other bounds. One that is set alone moves the other as far as necessary.
    pub fn with(self, min: Option<u64>, max: Option<u64>) -> Self {
        match (min, max) {
            (None, None) => self,
            (Some(min), Some(max)) => Self { min, max },
            (Some(min), None) => Self { min, max: self.max.max(min) },
            (None, Some(max)) => Self { min: self.min.min(max), max },
        }
    }
}

/// The most by which one side may be longer than the other.
const MAX_ASPECT: f64 = 200.0;

/// Returns the height and width to which an image is resized: multiples of `factor`, as close to the image's as the
/// range allows. As `smart_resize` of transformers: in f64, with halves rounded to even.
///
/// # Errors
/// If one side is more than 200 times as long as the other.
pub fn image_size(
    height: u32,
    width: u32,
    factor: u32,
    range: PixelRange,
) -> Result<(u32, u32), ImageError> {
    frames_size(1, 1, height, width, factor, range)
}

/// Returns the height and width to which the frames of a video are resized; the range is that of the pixels of all
/// frames together. Two frames are one patch in time.
///
/// # Errors
/// If one side is more than 200 times as long as the other.
pub fn video_size(
    frames: u32,
    height: u32,
    width: u32,
    factor: u32,
    range: PixelRange,
) -> Result<(u32, u32), ImageError> {
    // A side that is shorter than a patch is enlarged first.
    let (mut height, mut width) = (height, width);
    if height.min(width) < factor && height > 0 && width > 0 {
        let side = |length: u32| f64::from(factor) / f64::from(length);
        let scale = side(height).max(side(width));
        let scaled = |length: u32| (f64::from(length) * scale) as u32;
        (height, width) = (scaled(height), scaled(width));
    }
    let counted = 2.0 * (f64::from(frames) / 2.0).round_ties_even();
    frames_size(frames, counted as u64, height, width, factor, range)
}

/// `counted` is the number of frames whose pixels are compared with the range.
fn frames_size(
    frames: u32,
    counted: u64,
    height: u32,
    width: u32,
    factor: u32,
    range: PixelRange,
) -> Result<(u32, u32), ImageError> {
    let (h, w) = (f64::from(height), f64::from(width));
    let aspect = h.max(w) / h.min(w);
    // The aspect of nothing is NaN.
    if aspect.is_nan() || aspect > MAX_ASPECT {
        return Err(ImageError::TooNarrow { width, height });
    }
    let step = f64::from(factor);
    let nearest = |side: f64| (side / step).round_ties_even() as u64 * u64::from(factor);
    let all = f64::from(frames) * h * w;
    let pixels = counted * nearest(h) * nearest(w);
    let (rows, columns) = if pixels > range.max {
        let scale = (all / range.max as f64).sqrt();
        let below = |side: f64| ((side / scale / step).floor() * step).max(step);
        (below(h), below(w))
    } else if pixels < range.min {
        let scale = (range.min as f64 / all).sqrt();
        let above = |side: f64| (side * scale / step).ceil() * step;
        (above(h), above(w))
    } else {
        (nearest(h) as f64, nearest(w) as f64)
    };
    // A range whose minimum is below one patch may leave nothing.
    Ok((rows.max(step) as u32, columns.max(step) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QWEN2: PixelRange = PixelRange { min: 3136, max: 12_845_056 };
    const QWEN3: PixelRange = PixelRange { min: 65_536, max: 16_777_216 };

    /// (height, width), then height, width and tokens with patches of 28 pixels, and with patches of 32.
    type Golden = ((u32, u32), (u32, u32, u32), (u32, u32, u32));

    #[test]
    fn sizes_equal_those_of_the_processors() {
        let goldens: [Golden; 13] = [
            ((1080, 1920), (1092, 1932, 2691), (1088, 1920, 2040)),
            ((720, 1280), (728, 1288, 1196), (704, 1280, 880)),
            ((480, 640), (476, 644, 391), (480, 640, 300)),
            ((224, 224), (224, 224, 64), (256, 256, 64)),
            ((1, 1), (56, 56, 4), (256, 256, 64)),
            ((10, 2000), (28, 812, 29), (32, 3648, 114)),
            ((70, 98), (56, 112, 8), (224, 320, 70)),
            ((336, 336), (336, 336, 144), (320, 320, 100)),
            ((2160, 3840), (2156, 3836, 10549), (2176, 3840, 8160)),
            ((4320, 7680), (2688, 4760, 16320), (3072, 5440, 16320)),
            ((6000, 8000), (3080, 4116, 16170), (3520, 4704, 16170)),
            ((1000, 1000), (1008, 1008, 1296), (992, 992, 961)),
            ((15420, 690), (15428, 700, 13775), (15424, 704, 10604)),
        ];
        for ((height, width), with_28, with_32) in goldens {
            for (factor, range, golden) in [(28, QWEN2, with_28), (32, QWEN3, with_32)] {
                let (h, w) = image_size(height, width, factor, range).unwrap();
                let tokens = h / factor * (w / factor);
                assert_eq!((h, w, tokens), golden, "{height} x {width} by {factor}");
            }
        }
    }

    #[test]
    fn one_bound_moves_the_other() {
        let range = PixelRange { min: 10, max: 20 };
        let with = |min, max| {
            let range = range.with(min, max);
            (range.min, range.max)
        };
        assert_eq!(with(None, None), (10, 20));
        assert_eq!((with(Some(5), None), with(Some(30), None)), ((5, 20), (30, 30)));
        assert_eq!((with(None, Some(15)), with(None, Some(5))), ((10, 15), (5, 5)));
        assert_eq!(with(Some(9), Some(8)), (9, 8), "which is refused later");
    }

    #[test]
    fn frames_of_videos_share_a_budget() {
        let range = PixelRange { min: 4096, max: 25_165_824 };
        for (frames, height, width, golden, tokens) in [
            (4, 1080, 1920, (1088, 1920), 4080),
            (20, 1080, 1920, (832, 1472), 11960),
            (60, 1080, 1920, (480, 832), 11700),
            (120, 720, 1280, (320, 608), 11400),
            (768, 720, 1280, (128, 224), 10752),
        ] {
            let (h, w) = video_size(frames, height, width, 32, range).unwrap();
            assert_eq!((h, w), golden, "{frames} frames");
            assert_eq!(h / 32 * (w / 32) * frames.div_ceil(2), tokens);
        }
    }

    #[test]
    fn narrow_and_empty_images_are_refused() {
        for (height, width) in [(1, 201), (100_000, 1), (0, 5), (0, 0)] {
            let size = image_size(height, width, 32, QWEN3);
            assert_eq!(size, Err(ImageError::TooNarrow { width, height }));
        }
        assert!(image_size(1, 200, 32, QWEN3).is_ok());
    }
}
