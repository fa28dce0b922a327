//! Decodes animations: GIF, WebP and APNG.

use std::io::Cursor;
use std::time::Instant;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, DynamicImage, Frame, Frames, ImageDecoder};

use super::{VideoError, VideoLimits};
use crate::{Image, ImageError, Kind, SPARE, allocation, describe, flatten, guarded, open};

/// Returns the time of each frame in seconds, and the end of the last one. Decodes all frames to count them.
pub(super) fn times(
    bytes: &[u8],
    kind: Kind,
    limits: &VideoLimits,
) -> Result<(Vec<f64>, f64), VideoError> {
    let began = Instant::now();
    let (mut times, mut at) = (Vec::new(), 0.0);
    let mut frames = guarded(bytes, || frames(bytes, kind, limits))?;
    while let Some(frame) = next(&mut frames, bytes, kind)? {
        times.push(at);
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        at += f64::from(numerator) / f64::from(denominator.max(1)) / 1_000.0;
        check(times.len(), began, limits)?;
    }
    Ok((times, at))
}

/// Decodes the frames of ascending indices.
pub(super) fn decode(
    bytes: &[u8],
    kind: Kind,
    limits: &VideoLimits,
    wanted: &[usize],
    take: &mut dyn FnMut(Image),
) -> Result<usize, VideoError> {
    let began = Instant::now();
    let (mut index, mut taken) = (0, 0);
    let mut frames = guarded(bytes, || frames(bytes, kind, limits))?;
    while let Some(frame) = next(&mut frames, bytes, kind)? {
        check(index, began, limits)?;
        if wanted.get(taken) == Some(&index) {
            let pixels = frame.into_buffer();
            let (width, height) = pixels.dimensions();
            let rgb = flatten::rgb_on_white(DynamicImage::ImageRgba8(pixels));
            take(Image { width, height, rgb });
            taken += 1;
        }
        if taken == wanted.len() {
            break;
        }
        index += 1;
    }
    Ok(taken)
}

/// Decodes the next frame.
fn next(frames: &mut Frames<'_>, bytes: &[u8], kind: Kind) -> Result<Option<Frame>, VideoError> {
    guarded(bytes, || frames.next().transpose().map_err(|error| damaged(kind, &error)))
}

fn check(count: usize, began: Instant, limits: &VideoLimits) -> Result<(), VideoError> {
    if count > limits.max_frames {
        return Err(VideoError::TooManyFrames { most: limits.max_frames });
    }
    if began.elapsed() > limits.max_time {
        return Err(VideoError::TooSlow { limit: limits.max_time });
    }
    Ok(())
}

/// Bytes of memory of a pixel: in the frame, in the image so far, and as many again.
const FRAME_BYTES: u64 = 16;

fn frames<'a>(bytes: &'a [u8], kind: Kind, limits: &VideoLimits) -> Result<Frames<'a>, VideoError> {
    let images = limits.images();
    open(bytes, &images)?; // checks the size by the header
    let memory = limits.max_pixels.saturating_mul(FRAME_BYTES).saturating_add(SPARE);
    let input = Cursor::new(bytes);
    let of = |error: &image::ImageError| damaged(kind, error);
    let frames = match kind {
        Kind::Gif => {
            let mut decoder = GifDecoder::new(input).map_err(|error| of(&error))?;
            decoder.set_limits(allocation(memory)).map_err(|error| of(&error))?;
            decoder.into_frames()
        }
        Kind::WebP => {
            let decoder = WebPDecoder::new(input).map_err(|error| of(&error))?;
            match decoder.has_animation() {
                true => decoder.into_frames(),
                false => return single(bytes, limits),
            }
        }
        Kind::Png => {
            let decoder =
                PngDecoder::with_limits(input, allocation(memory)).map_err(|error| of(&error))?;
            match decoder.is_apng().map_err(|error| of(&error))? {
                true => decoder.apng().map_err(|error| of(&error))?.into_frames(),
                false => return single(bytes, limits),
            }
        }
        Kind::Jpeg | Kind::Bmp => return single(bytes, limits),
    };
    Ok(frames)
}

/// Returns a still image as the only frame.
fn single<'a>(bytes: &[u8], limits: &VideoLimits) -> Result<Frames<'a>, VideoError> {
    let Image { width, height, rgb } = crate::decode(bytes, &limits.images())?;
    let image = image::RgbImage::from_raw(width, height, rgb);
    let image = image.map(|image| DynamicImage::ImageRgb8(image).into_rgba8());
    let frame = image.map(|image| Ok(Frame::new(image)));
    Ok(Frames::new(Box::new(frame.into_iter())))
}

fn damaged(kind: Kind, error: &image::ImageError) -> VideoError {
    let problem = describe(error);
    VideoError::Frame(ImageError::Damaged { kind: kind.as_str(), problem })
}
