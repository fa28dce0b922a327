//! Decodes files of images to RGB.
//!
//! - `kind`: recognizes a file by its content, and checks that it is complete where decoders do not.
//! - `flatten`: puts transparent pixels on white and reduces 16 bits to 8.

mod flatten;
mod kind;

#[cfg(test)]
mod tests;

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

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
    /// 20 MB and 64 million pixels, which take at most 512 MB while they are decoded.
    fn default() -> Self {
        Self { max_bytes: 20_000_000, max_pixels: 64_000_000 }
    }
}

/// The bytes of a decoded pixel in the widest format, RGBA of 16 bits.
const MAX_PIXEL_BYTES: u64 = 8;

/// The reason why bytes are not a usable image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There are no bytes.
    #[error("the image is empty (0 bytes)")]
    Empty,
    /// The file is too long.
    #[error("the image has {len} bytes; allowed are {most}")]
    TooManyBytes {
        /// The length of the file.
        len: usize,
        /// The limit.
        most: usize,
    },
    /// The file is not of a supported kind.
    #[error("the image is {found}; supported are PNG, JPEG, WebP, GIF and BMP")]
    Unsupported {
        /// What it seems to be.
        found: &'static str,
    },
    /// The image is too large.
    #[error("the image has {width} × {height} pixels, more than the {most} that are allowed")]
    TooManyPixels {
        /// Pixels in a row.
        width: u32,
        /// The number of rows.
        height: u32,
        /// The most pixels.
        most: u64,
    },
    /// One side is more than 200 times as long as the other, or zero.
    #[error(
        "the image has {width} × {height} pixels; one side may be at most 200 times as long as the other"
    )]
    TooNarrow {
        /// Pixels in a row.
        width: u32,
        /// The number of rows.
        height: u32,
    },
    /// The file is damaged or incomplete.
    #[error("the {kind} image cannot be decoded: {problem}")]
    Damaged {
        /// The kind of the file.
        kind: &'static str,
        /// The decoder's message.
        problem: String,
    },
}

/// Decodes the first image of a file.
///
/// # Errors
/// If the bytes are not an image of a supported kind, exceed a limit, or are damaged or incomplete.
pub fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Image, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { len: bytes.len(), most: limits.max_bytes });
    }
    let (format, kind) = kind::recognize(bytes)?;
    let damaged =
        |error: image::ImageError| ImageError::Damaged { kind, problem: describe(&error) };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allocation_limit(limits));
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    if format == ImageFormat::Jpeg && !kind::jpeg_is_complete(bytes) {
        let problem = "the file ends before the end of the image".to_owned();
        return Err(ImageError::Damaged { kind, problem });
    }
    // As Pillow does, an orientation that cannot be read counts as none.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width(), image.height());
    Ok(Image { width, height, rgb: flatten::rgb_on_white(image) })
}

/// Returns the size of an image in its file, before its orientation is applied. Decodes no pixels.
///
/// # Errors
/// If the bytes are not an image of a supported kind, or exceed a limit.
pub fn stored_size(bytes: &[u8], limits: &ImageLimits) -> Result<(u32, u32), ImageError> {
    let (format, kind) = kind::recognize(bytes)?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allocation_limit(limits));
    let size = reader.into_dimensions();
    let (width, height) =
        size.map_err(|error| ImageError::Damaged { kind, problem: describe(&error) })?;
    check_size(width, height, limits)?;
    Ok((width, height))
}

fn allocation_limit(limits: &ImageLimits) -> Limits {
    let mut allocation = Limits::no_limits();
    // Room for the pixels and for as much again that a decoder keeps beside them.
    let bytes = limits.max_pixels.saturating_mul(2 * MAX_PIXEL_BYTES);
    allocation.max_alloc = Some(bytes.saturating_add(1 << 20));
    allocation
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

/// Returns a decoder's message in one line of limited length.
fn describe(error: &image::ImageError) -> String {
    let text = error.to_string();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}
