//! [`OrderImages`]: the images and videos of a request between its validation and its submit.

use std::fmt;
use std::sync::Arc;

use actix_web::web::Bytes;
use protocol::{BlobId, VisualKind};
use service::settings::ImageDownload;
use tokio::sync::OwnedSemaphorePermit;

use crate::loc::Loc;

/// The settings for images of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageRules {
    /// Maximum number of images and videos of a request; 0 for none (`MAX_IMAGES`).
    pub max: usize,
    /// Maximum size of an image's file, in bytes (`MAX_IMAGE_BYTES`).
    pub max_bytes: usize,
    /// Maximum size of a video's file, in bytes (`MAX_VIDEO_BYTES`).
    pub max_video_bytes: usize,
    /// The most tokens that workers give an image (`MAX_IMAGE_TOKENS`).
    pub max_tokens: usize,
    /// The most tokens that workers give a video (`MAX_VIDEO_TOKENS`).
    pub max_video_tokens: usize,
    /// Whether images and videos are downloaded (`IMAGE_DOWNLOAD`).
    pub download: ImageDownload,
    /// Largest size to which images are resized if a request does not say it (`ENABLE_SERVER_IMAGE_RESIZE`).
    pub max_pixels: Option<u64>,
}

impl ImageRules {
    /// The largest size of images if `ENABLE_SERVER_IMAGE_RESIZE` is set.
    pub(crate) const REDUCED: u64 = 800 * 600;
}

impl Default for ImageRules {
    fn default() -> Self {
        Self {
            max: 64,
            max_bytes: 20_000_000,
            max_video_bytes: 100_000_000,
            max_tokens: 1_024,
            max_video_tokens: 2_048,
            download: ImageDownload::Off,
            max_pixels: None,
        }
    }
}

/// The images and videos of a request. Until `crate::attach` has stored them, each image in the prompt has its index here in the
/// place of its blob.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OrderImages {
    /// Those that are not stored yet, in the order of the request.
    pub pending: Vec<PendingImage>,
    /// Width and height of those that are stored.
    pub sizes: Vec<(u32, u32)>,
    /// The request's share of the memory for large bodies, as long as images are pending.
    pub room: Room,
}

/// An image or a video that was not checked yet.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingImage {
    /// What it is.
    pub kind: VisualKind,
    /// The path to it in the request: `["body", "messages", 0, "content", 1, "image_url"]`.
    pub loc: Vec<Loc>,
    /// Where its bytes are.
    pub source: Source,
}

/// Where the bytes of an image are.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// In the request.
    Bytes(Bytes),
    /// In a blob of the caller's.
    Blob(BlobId),
    /// At a URL, from which they are downloaded.
    Url(String),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Blob(id) => write!(f, "Blob({id})"),
            Self::Url(url) => write!(f, "Url({url})"),
        }
    }
}

/// A share of the memory for large bodies. Given back when the last clone is dropped.
#[derive(Debug, Clone, Default)]
pub struct Room(#[expect(dead_code, reason = "is dropped")] Option<Arc<OwnedSemaphorePermit>>);

impl From<Option<OwnedSemaphorePermit>> for Room {
    fn from(permit: Option<OwnedSemaphorePermit>) -> Self {
        Self(permit.map(Arc::new))
    }
}

impl PartialEq for Room {
    /// Requests do not differ by their memory.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
