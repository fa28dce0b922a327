//! [`VideoError`]: the reasons why bytes are not a usable video.

use std::time::Duration;

use crate::ImageError;

/// The reason why bytes are not a usable video.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VideoError {
    /// There are no bytes.
    #[error("the video is empty (0 bytes)")]
    Empty,
    /// The file is too long.
    #[error("the video has {len} bytes; allowed are {most}")]
    TooManyBytes {
        /// The length of the file.
        len: usize,
        /// The limit.
        most: usize,
    },
    /// The file is not of a supported kind.
    #[error(
        "the video is {found}; supported are MP4, MOV, Matroska, WebM and AVI, and animations in GIF, WebP and APNG"
    )]
    Unsupported {
        /// What it seems to be.
        found: &'static str,
    },
    /// The programs that decode videos are not installed.
    #[error(
        "this server cannot decode {kind} videos, since ffmpeg and ffprobe are not installed; it decodes animations in \
         GIF, WebP and APNG"
    )]
    NoDecoder {
        /// The kind of the file.
        kind: &'static str,
    },
    /// The file has no pictures, such as one with sound alone.
    #[error("the {kind} file has no video")]
    NoFrames {
        /// The kind of the file.
        kind: &'static str,
    },
    /// The video has too many frames.
    #[error("the video has more than {most} frames")]
    TooManyFrames {
        /// The limit.
        most: usize,
    },
    /// Its pictures are too large or too narrow.
    #[error("a frame of the video cannot be used: {0}")]
    Frame(#[from] ImageError),
    /// Decoding takes too long.
    #[error("the video was not decoded within {} s", limit.as_secs())]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// The file is damaged or incomplete.
    #[error("the {kind} video cannot be decoded: {problem}")]
    Damaged {
        /// The kind of the file.
        kind: &'static str,
        /// The decoder's message.
        problem: String,
    },
    /// The decoder could not be run.
    #[error("the decoder of videos could not be run: {problem}")]
    Failed {
        /// The system's message.
        problem: String,
    },
}
