//! The blob store that callers use: streams bytes into a [`BlobBytes`] and records into a [`Blobs`], in an
//! order that no crash can break. `contract/blobs.rs` explains the order.
//!
//! | file        | contents |
//! |-------------|----------|
//! | `mod.rs`    | [`BlobStore`]: reading, listing, deleting, reaping |
//! | `put.rs`    | an upload, from the reservation to the record |
//! | `error.rs`  | [`BlobError`] |
//! | `folder.rs` | [`Folder`]: bytes as files |
//! | `object.rs` | bytes as objects in S3, Google Cloud Storage or Azure; with the feature `object-store` |

mod error;
mod folder;
#[cfg(feature = "object-store")]
mod object;
mod put;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use protocol::{BlobId, TenantId};

pub use self::error::BlobError;
pub use self::folder::Folder;
pub use self::put::NewBlob;
use crate::{
    Blob, BlobBytes, BlobList, BlobPage, BlobPlace, Blobs, BrokerError, ByteStream, OpenError,
};

/// Whether this build can use object stores.
pub const HAS_OBJECT_STORE: bool = cfg!(feature = "object-store");

/// Opens an object store by its URL, with the credentials in the environment. Does not contact it.
///
/// # Errors
/// Returns [`OpenError::ObjectStore`] if URL or credentials are invalid, or the build has no object stores.
pub fn object_store(url: &str) -> Result<Arc<dyn BlobBytes>, OpenError> {
    let failed = |reason| OpenError::ObjectStore { url: url.to_owned(), reason };
    #[cfg(feature = "object-store")]
    let opened = object::open(url).map_err(failed);
    #[cfg(not(feature = "object-store"))]
    let opened = Err(failed("this build has no object stores (feature object-store)".to_owned()));
    opened
}

/// The number of doomed places that one call takes.
const DOOMED: usize = 64;
/// Maximum time for a caller to delete the bytes that it took.
const DOOMED_SPAN: Duration = Duration::from_secs(120);
/// The maximum number of calls per reap.
const ROUNDS: usize = 32;

/// The limits of a blob store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobLimits {
    /// The maximum size of a blob.
    pub max_bytes: u64,
    /// The maximum size of all blobs of a tenant together.
    pub tenant_bytes: u64,
    /// How long a blob is kept if its upload names no time.
    pub ttl: Duration,
    /// The maximum duration of an upload.
    pub upload_time: Duration,
}

impl Default for BlobLimits {
    /// 200 MiB a blob, 4 GiB a tenant, 30 days, an hour for an upload.
    fn default() -> Self {
        Self {
            max_bytes: 200 << 20,
            tenant_bytes: 4 << 30,
            ttl: Duration::from_secs(30 * 24 * 60 * 60),
            upload_time: Duration::from_secs(60 * 60),
        }
    }
}

/// Blobs: their records in a queue's store, their bytes in a store of bytes. Cheap to clone.
#[derive(Clone)]
pub struct BlobStore {
    records: Arc<dyn Blobs>,
    bytes: Arc<dyn BlobBytes>,
    limits: BlobLimits,
}

/// A blob that is there, to be read.
pub struct FoundBlob {
    /// The blob.
    pub blob: Blob,
    place: BlobPlace,
    bytes: Arc<dyn BlobBytes>,
}

impl FoundBlob {
    /// Streams all bytes.
    pub fn read(&self) -> ByteStream {
        self.bytes.read(self.place, 0..self.blob.size)
    }

    /// Streams a part; the range is cut to the blob's size. If the blob is deleted meanwhile, the stream
    /// ends with an error.
    ///
    /// # Errors
    /// Returns [`BlobError::Range`] if the range begins behind the end, or ends before it begins.
    pub fn read_range(&self, range: Range<u64>) -> Result<ByteStream, BlobError> {
        let size = self.blob.size;
        if range.start > range.end || range.start > size || (range.start == size && size > 0) {
            return Err(BlobError::Range { from: range.start, to: range.end, size });
        }
        Ok(self.bytes.read(self.place, range.start..range.end.min(size)))
    }
}

impl BlobStore {
    /// Creates a store whose records and bytes are in `records`.
    pub fn new(records: Arc<dyn Blobs>, limits: BlobLimits) -> Self {
        let bytes = records.own_bytes();
        Self { records, bytes, limits }
    }

    /// Puts the bytes into another store.
    pub fn with_bytes(self, bytes: Arc<dyn BlobBytes>) -> Self {
        Self { bytes, ..self }
    }

    /// Sets other limits.
    pub fn with_limits(self, limits: BlobLimits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the limits.
    pub fn limits(&self) -> &BlobLimits {
        &self.limits
    }

    /// Returns where the bytes are, for logs.
    pub fn bytes_name(&self) -> &'static str {
        self.bytes.name()
    }

    /// Returns a blob, to be read; `None` if the tenant has no such blob, or it has expired.
    ///
    /// # Errors
    /// Returns [`BrokerError`] if the records can't be read.
    pub async fn find(
        &self,
        tenant: &TenantId,
        id: BlobId,
    ) -> Result<Option<FoundBlob>, BrokerError> {
        let found = self.records.blob(tenant, id).await?;
        let bytes = || Arc::clone(&self.bytes);
        Ok(found.map(|(blob, place)| FoundBlob { blob, place, bytes: bytes() }))
    }

    /// Lists a tenant's blobs.
    ///
    /// # Errors
    /// Returns [`BrokerError`] if the records can't be read.
    pub async fn list(&self, tenant: &TenantId, page: &BlobPage) -> Result<BlobList, BrokerError> {
        self.records.blobs(tenant, page).await
    }

    /// Deletes a blob, and returns whether there was one. A later [`Self::reap`] deletes the bytes.
    ///
    /// # Errors
    /// Returns [`BrokerError`] if the records can't be changed.
    pub async fn delete(&self, tenant: &TenantId, id: BlobId) -> Result<bool, BrokerError> {
        self.records.delete_blob(tenant, id).await
    }

    /// Keeps a blob for at least `ttl` from now; `None` if the tenant has no such blob.
    ///
    /// # Errors
    /// Returns [`BrokerError`] if records or bytes can't be changed.
    pub async fn touch(
        &self,
        tenant: &TenantId,
        id: BlobId,
        ttl: Duration,
    ) -> Result<Option<Blob>, BrokerError> {
        let Some((_, place)) = self.records.blob(tenant, id).await? else { return Ok(None) };
        // The bytes first, so that they outlive the record whatever happens in between.
        self.bytes.keep(place, kept_for(ttl)).await?;
        self.records.touch_blob(tenant, id, ttl).await
    }

    /// Returns the number of bytes that count towards a tenant's bound.
    ///
    /// # Errors
    /// Returns [`BrokerError`] if the records can't be read.
    pub async fn used(&self, tenant: &TenantId) -> Result<u64, BrokerError> {
        self.records.blob_bytes(tenant).await
    }

    /// Removes what has expired, what was deleted and what crashed uploads left, and returns the number
    /// of places whose bytes it deleted. Any process may reap, at any time, concurrently; every few seconds
    /// is enough.
    ///
    /// # Errors
    /// Returns [`BrokerError`] if the records can't be changed. Bytes that can't be deleted now are logged,
    /// and retried by a later call.
    pub async fn reap(&self) -> Result<usize, BrokerError> {
        let mut count = 0;
        for _ in 0..ROUNDS {
            let mut doomed = self.records.reap_blobs(DOOMED_SPAN, DOOMED).await?;
            let taken = doomed.len();
            let mut deleted = Vec::with_capacity(taken);
            for blob in doomed.drain(..) {
                match self.bytes.delete(blob.place).await {
                    Ok(()) => deleted.push(blob),
                    Err(error) => {
                        tracing::warn!(place = %blob.place, %error, "a blob's bytes are not deleted yet");
                    }
                }
            }
            count += deleted.len();
            if !deleted.is_empty() {
                self.records.forget_blob_bytes(&deleted).await?;
            }
            if taken < DOOMED {
                break;
            }
        }
        Ok(count)
    }
}

/// Returns how long bytes are kept for a record that lives for `ttl`, where the store of bytes deletes them
/// by itself. Twice as long, as [`Blobs::commit_blob`] promises, and an hour for what lies between the end
/// of the upload and its record.
fn kept_for(ttl: Duration) -> Duration {
    ttl.saturating_mul(2).saturating_add(Duration::from_secs(60 * 60))
}
