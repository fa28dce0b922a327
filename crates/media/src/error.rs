//! [`ImageError`]: the reasons why bytes are not a usable image.

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
