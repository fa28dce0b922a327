//! # media: recognizes, checks and decodes files of images and videos
//!
//! The gateway checks an image before it accepts a request with it; the engine decodes it to pixels. Both use this crate,
//! so that what one accepts the other can decode.
//!
//! | module    | what it does |
//! |-----------|--------------|
//! | [`kind`]  | [`Kind`]: recognizes a file by its content, and checks that it is complete where decoders do not |
//! | `error`   | [`ImageError`]: the reasons why bytes are not a usable image |
//! | `flatten` | puts transparent pixels on white and reduces 16 bits to 8 |
//! | [`video`] | decodes the frames of videos and animations |
//!
//! ```text
//! bytes ─ kind ─▶ header: size, memory ─ limits ─▶ decoder ─▶ pixels ─ flatten ─▶ Image
//!                 read_header                       check     decode
//! ```

mod error;
mod flatten;
pub mod kind;
pub mod video;

#[cfg(test)]
mod tests;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

pub use error::ImageError;
pub use kind::Kind;

/// An image in RGB, as a person sees it: rotated by its EXIF orientation, and on white where it is transparent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: u32,
    /// The number of rows.
    pub height: u32,
    /// `[height, width, 3]`
    pub rgb: Vec<u8>,
}

/// The largest images that are decoded. They are checked by the file's header, before memory is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// The most bytes of a file.
    pub max_bytes: usize,
    /// The most pixels of an image.
    pub max_pixels: u64,
}

impl Default for ImageLimits {
    /// 20 MB and 64 million pixels, which take at most 1 GiB while they are decoded.
    fn default() -> Self {
        Self { max_bytes: 20_000_000, max_pixels: 64_000_000 }
    }
}

/// What the header of a file says of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The kind of the file.
    pub kind: Kind,
    /// Pixels in a row as stored, before the EXIF orientation is applied.
    pub width: u32,
    /// The number of rows as stored.
    pub height: u32,
    /// The most bytes of memory that decoding takes.
    pub memory: u64,
}

/// Reads the header of a file, and checks it by the limits. Decodes no pixels.
///
/// # Errors
/// If the bytes are not an image of a supported kind, exceed a limit, or the header is damaged.
pub fn read_header(bytes: &[u8], limits: &ImageLimits) -> Result<Header, ImageError> {
    guarded(bytes, || open(bytes, limits).map(|(header, _)| header))
}

/// Decodes the first image of a file and drops its pixels.
///
/// # Errors
/// If [`decode`] would fail.
pub fn check(bytes: &[u8], limits: &ImageLimits) -> Result<Header, ImageError> {
    guarded(bytes, || {
        let (header, decoder) = open(bytes, limits)?;
        pixels(bytes, header.kind, decoder, limits)?;
        Ok(header)
    })
}

/// Decodes the first image of a file.
///
/// # Errors
/// If the bytes are not an image of a supported kind, exceed a limit, or are damaged or incomplete.
pub fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Image, ImageError> {
    guarded(bytes, || decode_upright(bytes, limits))
}

/// Decodes an image, and turns it upright.
fn decode_upright(bytes: &[u8], limits: &ImageLimits) -> Result<Image, ImageError> {
    let (header, mut decoder) = open(bytes, limits)?;
    // As Pillow does, an orientation that cannot be read counts as none.
    let orientation = match header.kind == Kind::WebP && !kind::webp_chunks_fit(bytes) {
        true => Orientation::NoTransforms,
        false => decoder.orientation().unwrap_or(Orientation::NoTransforms),
    };
    let mut image = pixels(bytes, header.kind, decoder, limits)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width(), image.height());
    Ok(Image { width, height, rgb: flatten::rgb_on_white(image) })
}

/// Runs a decoder. Decoders panic on some damaged files, which counts as an error.
fn guarded<T, E: From<ImageError>>(
    bytes: &[u8],
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let kind = Kind::of(bytes).map_or("unknown", Kind::as_str);
        Err(ImageError::Damaged { kind, problem: "its decoder failed".to_owned() }.into())
    })
}

/// Reads the header of a file, and returns the decoder of its pixels.
fn open<'a>(
    bytes: &'a [u8],
    limits: &ImageLimits,
) -> Result<(Header, impl ImageDecoder + 'a), ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { len: bytes.len(), most: limits.max_bytes });
    }
    let kind = Kind::of(bytes)?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind.format());
    // Before the size is known, room for the texts and the profile of a PNG file alone, which may be bombs.
    let (len, texts) = (bytes.len() as u64, 3 * bytes.len().min(TEXT_BYTES) as u64 + SPARE);
    reader.limits(allocation(texts));
    let of = |error: image::ImageError| damaged(kind, &error, limits);
    let mut decoder = reader.into_decoder().map_err(of)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    let total = decoder.total_bytes();
    let pixels = total.saturating_mul(kind.copies());
    // Decoders of JPEG copy the file; texts are in memory twice while they grow.
    let memory = pixels.saturating_add(len + 2 * texts);
    // A frame of a GIF, which is held beside the image, may be larger than that.
    decoder.set_limits(allocation(total.saturating_add(texts))).map_err(of)?;
    Ok((Header { kind, width, height, memory }, decoder))
}

/// Decodes all pixels.
fn pixels(
    bytes: &[u8],
    kind: Kind,
    decoder: impl ImageDecoder,
    limits: &ImageLimits,
) -> Result<DynamicImage, ImageError> {
    if kind == Kind::Jpeg && !kind::jpeg_is_complete(bytes) {
        let problem = "the file ends before the end of the image".to_owned();
        return Err(ImageError::Damaged { kind: kind.as_str(), problem });
    }
    DynamicImage::from_decoder(decoder).map_err(|error| damaged(kind, &error, limits))
}

/// Bytes of memory that a decoder may take beside its pixels.
const SPARE: u64 = 1 << 20;
/// The longest texts of a PNG file.
const TEXT_BYTES: usize = 4 << 20;

/// Returns limits for a decoder that may take this many bytes of memory.
fn allocation(bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(bytes);
    limits
}

fn check_size(width: u32, height: u32, limits: &ImageLimits) -> Result<(), ImageError> {
    let (long, short) = (width.max(height), width.min(height));
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(ImageError::TooManyPixels { width, height, most: limits.max_pixels });
    }
    if short == 0 || u64::from(long) > 200 * u64::from(short) {
        return Err(ImageError::TooNarrow { width, height });
    }
    Ok(())
}

fn damaged(kind: Kind, error: &image::ImageError, limits: &ImageLimits) -> ImageError {
    let problem = match error {
        image::ImageError::Limits(_) => {
            format!("it needs more memory than {} pixels, which are allowed", limits.max_pixels)
        }
        error => describe(error),
    };
    ImageError::Damaged { kind: kind.as_str(), problem }
}

/// Returns a decoder's message in one line of limited length.
fn describe(error: &image::ImageError) -> String {
    let text = error.to_string();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}
