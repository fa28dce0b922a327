//! [`Images`]: checks images and videos within bounds on memory, and remembers those that were checked. Knows no request.
//!
//! - `recent`: a map that forgets its oldest entries.

mod recent;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use media::video::{self, Programs, VideoError, VideoLimits};
use media::{ImageError, ImageLimits};
use outbound::{Connector, DownloadError, Downloader, Guard, TlsUnusable};
use protocol::{BlobId, TenantId, VisualKind};
use queue::ContentHash;
use service::settings::ImageDownload;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::recent::Recent;
use crate::order::{ImageRules, Room};

/// Memory for decoding: images wait for each other beyond it. An image that needs more is decoded alone; the largest
/// allowed one needs 1 GiB.
const DECODING_MIB: u32 = 512;
/// The share of that memory that a video takes: its file, and the process that reads its times.
const VIDEO_MIB: u32 = 256;
/// Maximum number of bodies that are held at once beyond the size of one without images.
const LARGE_BODIES: usize = 4;
/// Maximum number of downloads at once.
const DOWNLOADS: usize = 8;
/// The time limit of a download.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(15);
/// The time limit of reading the times of a video's frames, for which an animation is decoded. Others wait meanwhile.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(10);
/// Maximum number of images that are remembered.
const REMEMBERED: usize = 4096;

/// What a gateway has for all images.
pub(crate) struct Images {
    limits: ImageLimits,
    videos: VideoLimits,
    /// The decoders of videos, if they are installed.
    programs: Option<Programs>,
    decoding: Arc<Semaphore>,
    /// One permit for each large body.
    bodies: Arc<Semaphore>,
    /// `None` if images are not downloaded.
    downloader: Option<Downloader>,
    downloads: Semaphore,
    /// The blobs of accepted tasks, by their content.
    stored: Mutex<Recent<(TenantId, ContentHash), Stored>>,
    /// The blobs that were checked.
    checked: Mutex<Recent<(TenantId, BlobId, VisualKind), Option<Size>>>,
}

/// Width and height of an image.
pub(crate) type Size = (u32, u32);

/// An image that was stored before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) blob: BlobId,
}

/// An image or a video that passed the check.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) bytes: Bytes,
    pub(crate) hash: ContentHash,
    pub(crate) media_type: &'static str,
    /// `None` of a video.
    pub(crate) size: Option<Size>,
}

impl Images {
    /// Creates it.
    ///
    /// # Errors
    /// If images are downloaded, and TLS can't be used.
    pub(crate) fn new(rules: ImageRules) -> Result<Self, TlsUnusable> {
        let ImageRules { max_bytes, max_video_bytes, download, .. } = rules;
        let connector = match download {
            ImageDownload::Off => None,
            ImageDownload::Public => Some(Guard { allow_private: false }),
            ImageDownload::Private => Some(Guard { allow_private: true }),
        };
        let connector = connector.map(Connector::new).transpose()?;
        Ok(Self {
            limits: ImageLimits { max_bytes, ..ImageLimits::default() },
            videos: VideoLimits {
                max_bytes: max_video_bytes,
                max_time: LOOK_UP_LIMIT,
                ..VideoLimits::default()
            },
            programs: Programs::find(),
            downloader: connector.map(|to| Downloader::new(to, DOWNLOAD_LIMIT)),
            downloads: Semaphore::new(DOWNLOADS),
            decoding: Arc::new(Semaphore::new(DECODING_MIB as usize)),
            bodies: Arc::new(Semaphore::new(LARGE_BODIES)),
            stored: Mutex::new(Recent::new(REMEMBERED)),
            checked: Mutex::new(Recent::new(REMEMBERED)),
        })
    }

    /// Downloads a file. Waits while too many others are downloaded.
    ///
    /// # Errors
    /// If the URL may not be used, or the file does not arrive within the limits.
    pub(crate) async fn download(
        &self,
        url: &str,
        kind: VisualKind,
    ) -> Result<Bytes, DownloadError> {
        let Some(downloader) = &self.downloader else { return Err(DownloadError::Unreachable) };
        let _permit = self.downloads.acquire().await;
        downloader.get(url, self.max_bytes(kind)).await
    }

    /// Waits for a share of the memory for large bodies. `None` if there is none within `patience`.
    pub(crate) async fn room(&self, patience: Duration) -> Option<Room> {
        let permit = timeout(patience, Arc::clone(&self.bodies).acquire_owned()).await;
        // It is never closed.
        permit.ok().map(|permit| permit.ok().into())
    }

    /// Returns the most bytes of a file.
    pub(crate) const fn max_bytes(&self, kind: VisualKind) -> usize {
        match kind {
            VisualKind::Image => self.limits.max_bytes,
            VisualKind::Video => self.videos.max_bytes,
        }
    }

    /// Decodes an image on another thread to check it, or reads the times of a video's frames. Waits while others take
    /// the memory.
    ///
    /// # Errors
    /// Says why it is none, or which limit it exceeds.
    pub(crate) async fn check(&self, bytes: Bytes, kind: VisualKind) -> Result<Checked, String> {
        match kind {
            VisualKind::Image => self.check_image(bytes).await.map_err(|error| error.to_string()),
            VisualKind::Video => self.check_video(bytes).await.map_err(|error| error.to_string()),
        }
    }

    async fn check_image(&self, bytes: Bytes) -> Result<Checked, ImageError> {
        let header = media::read_header(&bytes, &self.limits)?;
        let mib = header.memory.div_ceil(1 << 20).min(DECODING_MIB.into());
        let permits = u32::try_from(mib).unwrap_or(DECODING_MIB);
        let permit = Arc::clone(&self.decoding).acquire_many_owned(permits).await;
        let limits = self.limits;
        let decoded = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let hash = ContentHash::of(&bytes);
            media::check(&bytes, &limits).map(|header| Checked {
                bytes,
                hash,
                media_type: header.kind.media_type(),
                size: Some((header.width, header.height)),
            })
        });
        // A decoder that panics has met a damaged file.
        decoded.await.unwrap_or_else(|_| {
            let problem = "the decoder failed".to_owned();
            Err(ImageError::Damaged { kind: header.kind.as_str(), problem })
        })
    }

    async fn check_video(&self, bytes: Bytes) -> Result<Checked, VideoError> {
        let permit = Arc::clone(&self.decoding).acquire_many_owned(VIDEO_MIB).await;
        let (limits, programs) = (self.videos, self.programs.clone());
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let hash = ContentHash::of(&bytes);
            let found = video::look_up(&bytes, &limits, programs.as_ref())?;
            Ok(Checked { bytes, hash, media_type: found.kind.media_type(), size: None })
        });
        read.await.unwrap_or_else(|_| {
            let problem = "the decoder failed".to_owned();
            Err(VideoError::Failed { problem })
        })
    }

    /// Returns the blob of an image of the same content, if one is remembered.
    pub(crate) fn stored(&self, tenant: &TenantId, hash: ContentHash) -> Option<Stored> {
        lock(&self.stored).get(&(tenant.clone(), hash))
    }

    /// Returns the size of a blob that was checked, if that is remembered.
    pub(crate) fn checked(
        &self,
        tenant: &TenantId,
        blob: BlobId,
        kind: VisualKind,
    ) -> Option<Option<Size>> {
        lock(&self.checked).get(&(tenant.clone(), blob, kind))
    }

    /// Remembers that a blob is an image or a video.
    pub(crate) fn remember_checked(
        &self,
        tenant: &TenantId,
        blob: BlobId,
        kind: VisualKind,
        size: Option<Size>,
    ) {
        lock(&self.checked).insert((tenant.clone(), blob, kind), size);
    }

    /// Remembers the blob of an accepted task. It is never deleted before its time, so that others may share it.
    pub(crate) fn remember_stored(&self, tenant: &TenantId, hash: ContentHash, stored: Stored) {
        lock(&self.stored).insert((tenant.clone(), hash), stored);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
