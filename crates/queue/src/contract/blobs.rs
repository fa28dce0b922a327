//! Records of blobs: files that clients upload, inputs and outputs of batches, images and video.
//! [`BlobBytes`] has their bytes; [`BlobStore`](crate::BlobStore) uses both, and is what callers use.
//!
//! The store names every place that has bytes before the first byte is written and until the last one is
//! deleted: as an upload, by a record, or as doomed. So no crash leaves bytes that nothing names, and no
//! record is without its bytes:
//!
//! ```text
//!  reserve_blob          commit_blob             delete_blob, or expired
//! ─────────────▶ upload ────────────▶ record(s) ────────────────────────▶ doomed ──▶ (bytes deleted)
//!                   │                                                       ▲          forget_blob_bytes
//!                   └───────────────────────────────────────────────────────┘
//!                     abandon_blob, or the upload took too long
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::{BlobId, TenantId, Timestamp};
use sha2::{Digest, Sha256};

use super::{BlobBytes, BlobPlace, BrokerError};

/// The delay from [`Blobs::abandon_blob`] to the deletion of the bytes: writes that are on their way have arrived
/// by then.
pub const ABANDONED_FOR: Duration = Duration::from_secs(10);

/// The side of a [`Broker`](crate::Broker) that has the blobs' records. A blob belongs to a tenant; to
/// others it does not exist.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Returns the broker's own store of bytes.
    fn own_bytes(&self) -> Arc<dyn BlobBytes>;

    /// Announces an upload, and reserves room for it among the `tenant_bytes` that the tenant may have.
    /// Unless it is committed within `span`, the upload is abandoned.
    async fn reserve_blob(
        &self,
        upload: &BlobUpload,
        wanted: Wanted,
        tenant_bytes: u64,
        span: Duration,
    ) -> Result<Reserved, BrokerError>;

    /// Gives up an upload: frees its room at once, and dooms its bytes after [`ABANDONED_FOR`]. Dooms them
    /// also if the upload is not there any more, since it may have written after it was abandoned; but not if
    /// a record has them.
    async fn abandon_blob(&self, upload: &BlobUpload) -> Result<(), BrokerError>;

    /// Records the blob whose bytes the upload has written. Repeating the call returns the same record.
    /// `None` if the upload was abandoned.
    ///
    /// If the tenant has the same bytes already, the record uses their place, and those of the upload are
    /// doomed. Bytes are shared only if they are kept until the record expires. They are kept for twice
    /// the time for which the record that brought them was to live.
    async fn commit_blob(
        &self,
        upload: &BlobUpload,
        record: &BlobRecord,
    ) -> Result<Option<Blob>, BrokerError>;

    /// Returns a blob and the place of its bytes; `None` if the tenant has no such blob, or it has expired.
    async fn blob(
        &self,
        tenant: &TenantId,
        id: BlobId,
    ) -> Result<Option<(Blob, BlobPlace)>, BrokerError>;

    /// Lists the tenant's blobs, without hidden ones ([`Blob::is_hidden`]) unless the page is of their purpose.
    async fn blobs(&self, tenant: &TenantId, page: &BlobPage) -> Result<BlobList, BrokerError>;

    /// Deletes a blob, and dooms its bytes if no other blob shares them. Returns whether there was one.
    async fn delete_blob(&self, tenant: &TenantId, id: BlobId) -> Result<bool, BrokerError>;

    /// Keeps a blob for at least `ttl` from now, whose bytes must be kept for twice as long before. Never
    /// shortens its life. `None` if the tenant has no such blob.
    async fn touch_blob(
        &self,
        tenant: &TenantId,
        id: BlobId,
        ttl: Duration,
    ) -> Result<Option<Blob>, BrokerError>;

    /// Returns the bytes of the tenant's blobs and uploads, as they count towards its bound: each blob
    /// counts, also if it shares its bytes.
    async fn blob_bytes(&self, tenant: &TenantId) -> Result<u64, BrokerError>;

    /// Deletes expired records, abandons uploads that took too long, and returns up to `limit` doomed
    /// places. Each belongs to the caller for `span`: unless it has deleted the bytes by then and said so
    /// ([`Self::forget_blob_bytes`]), another caller gets it.
    async fn reap_blobs(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<DoomedBlob>, BrokerError>;

    /// Notes that the bytes at these places are deleted.
    async fn forget_blob_bytes(&self, doomed: &[DoomedBlob]) -> Result<(), BrokerError>;
}

/// A blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its id. Ids sort by the time of their upload.
    pub id: BlobId,
    /// Its owner.
    pub tenant: TenantId,
    /// The number of its bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub hash: ContentHash,
    /// The media type, such as `image/png`; may be empty.
    pub media_type: String,
    /// The name of the uploaded file, or `None` if it has none.
    pub filename: Option<String>,
    /// What it is for, such as `batch`. Blobs whose purpose begins with a dot are hidden.
    pub purpose: String,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it is deleted.
    pub expires_at: Timestamp,
}

impl Blob {
    /// Returns whether the blob is not listed: the service stores it for itself, such as parts of answers.
    pub fn is_hidden(&self) -> bool {
        self.purpose.starts_with('.')
    }
}

/// The record of a new blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRecord {
    /// Its id.
    pub id: BlobId,
    /// The number of its bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub hash: ContentHash,
    /// The media type; may be empty.
    pub media_type: String,
    /// The name of the uploaded file.
    pub filename: Option<String>,
    /// The purpose of the file.
    pub purpose: String,
    /// How long it is kept.
    pub ttl: Duration,
}

/// An upload: bytes that are being written and have no record yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobUpload {
    /// Where they are written.
    pub place: BlobPlace,
    /// Whose blob it will be.
    pub tenant: TenantId,
}

/// The storage that an upload reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// So many bytes: all or nothing.
    All(u64),
    /// As many as are free, at least one and at most this.
    UpTo(u64),
}

/// The reply to [`Blobs::reserve_blob`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The upload may have so many bytes.
    Granted(u64),
    /// The tenant has this many bytes, and too little room for the upload.
    Full {
        /// Bytes of the tenant's blobs and uploads.
        held: u64,
    },
}

/// Which blobs [`Blobs::blobs`] lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPage {
    /// Only those for this purpose.
    pub purpose: Option<String>,
    /// Only those behind this one in the order. It need not exist any more.
    pub after: Option<BlobId>,
    /// At most so many.
    pub limit: usize,
    /// The order.
    pub order: BlobOrder,
}

/// An order of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobOrder {
    /// The oldest first.
    Oldest,
    /// The newest first.
    Newest,
}

/// A page of blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobList {
    /// The blobs, in order.
    pub blobs: Vec<Blob>,
    /// `true` if more blobs follow.
    pub has_more: bool,
}

/// Bytes to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoomedBlob {
    /// Where they are.
    pub place: BlobPlace,
    /// Whose they were.
    pub tenant: TenantId,
}

/// The SHA-256 of a blob's bytes. Displayed in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// Computes the hash of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is not a SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a SHA-256: expected 64 hexadecimal digits")]
pub struct InvalidHash(String);

impl FromStr for ContentHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let invalid = || InvalidHash(text.chars().take(80).collect());
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_hash_round_trips_and_refuses_other_texts() {
        let hash = ContentHash(std::array::from_fn(|nth| nth as u8 * 8));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "00", &"+1".repeat(32), &"0".repeat(65), &"ä".repeat(32)] {
            assert!(wrong.parse::<ContentHash>().is_err(), "{wrong}");
        }
    }
}
