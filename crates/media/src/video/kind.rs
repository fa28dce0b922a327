//! Recognizes files of videos by their content.

use super::VideoError;
use crate::kind;

/// A container of videos, which ffmpeg reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    /// MP4 or QuickTime.
    Mp4,
    /// Matroska or WebM.
    Matroska,
    /// AVI.
    Avi,
}

impl Container {
    /// Returns the name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mp4 => "MP4",
            Self::Matroska => "Matroska",
            Self::Avi => "AVI",
        }
    }
}

/// A supported kind of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoKind {
    /// A video in a container.
    Contained(Container),
    /// An animation, of a kind that images have too.
    Animation(kind::Kind),
}

impl VideoKind {
    /// Recognizes a file by its first bytes. Playlists, which may name other files, are none of these.
    ///
    /// # Errors
    /// If it is not of a supported kind. The error names what it seems to be.
    pub fn of(bytes: &[u8]) -> Result<Self, VideoError> {
        use kind::Kind;
        let has = |at: usize, magic: &[u8]| bytes.get(at..at + magic.len()) == Some(magic);
        if bytes.is_empty() {
            return Err(VideoError::Empty);
        }
        // The first box of an old QuickTime file may be another one.
        if has(4, b"moov") || has(4, b"mdat") || has(4, b"wide") || has(4, b"free") {
            return Ok(Self::Contained(Container::Mp4));
        }
        if bytes.starts_with(b"\x1a\x45\xdf\xa3") {
            return Ok(Self::Contained(Container::Matroska));
        }
        if bytes.starts_with(b"RIFF") && has(8, b"AVI ") {
            return Ok(Self::Contained(Container::Avi));
        }
        let found = match Kind::of(bytes) {
            Ok(kind @ (Kind::Gif | Kind::WebP | Kind::Png)) => return Ok(Self::Animation(kind)),
            Ok(kind) => kind.as_str(),
            Err(_) => match kind::describe_foreign(bytes) {
                kind::MP4 => return Ok(Self::Contained(Container::Mp4)),
                found => found,
            },
        };
        Err(VideoError::Unsupported { found })
    }

    /// Returns the name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contained(container) => container.as_str(),
            Self::Animation(kind) => kind.as_str(),
        }
    }

    /// Returns the media type, such as `video/mp4`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Contained(Container::Mp4) => "video/mp4",
            Self::Contained(Container::Matroska) => "video/x-matroska",
            Self::Contained(Container::Avi) => "video/x-msvideo",
            Self::Animation(kind) => kind.media_type(),
        }
    }
}
