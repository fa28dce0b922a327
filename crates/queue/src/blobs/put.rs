//! Stores a blob from a stream.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use protocol::{BlobId, TenantId};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::time::timeout_at;

use super::{BlobError, BlobStore, kept_for};
use crate::{
    Blob, BlobPlace, BlobRecord, BlobUpload, Blobs, BrokerError, ContentHash, Reserved, Wanted,
    retry,
};

/// The properties of a blob that the upload names before its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBlob {
    /// Its owner.
    pub tenant: TenantId,
    /// The purpose of the file.
    pub purpose: String,
    /// The media type; may be empty.
    pub media_type: String,
    /// The name of the uploaded file.
    pub filename: Option<String>,
    /// How long it is kept; `None` for the store's default.
    pub ttl: Option<Duration>,
    /// The maximum number of bytes, if it is known: of a request, its length. `None` reserves as much
    /// room for the upload as a blob may need.
    pub announced: Option<u64>,
}

/// The time for which an upload record outlives the longest upload, so that its last steps are not cut off.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// Maximum time to retry recording a blob while the store is unavailable. Its bytes are stored by then.
const COMMIT_RETRIES: Duration = Duration::from_secs(10);

impl BlobStore {
    /// Stores a blob: reads `body` to its end, in pieces, and returns the record. If this fails or is
    /// dropped, nothing remains.
    ///
    /// # Errors
    /// If the body is too large or fails, the tenant has too many bytes, or the store fails.
    pub async fn put<E>(
        &self,
        new: NewBlob,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Blob, BlobError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.put_as(BlobId::new(), new, body).await
    }

    /// Stores a blob like [`Self::put`], under an id that no other blob has.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn put_as<E>(
        &self,
        id: BlobId,
        new: NewBlob,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Blob, BlobError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.put_amended(id, new, body, Ok).await
    }

    /// Stores a blob like [`Self::put_as`], with properties that are complete only when all bytes have been
    /// read: `amend` changes what was known before, except for the owner.
    ///
    /// # Errors
    /// As [`Self::put`], and the error of `amend` as that of the body.
    pub async fn put_amended<E>(
        &self,
        id: BlobId,
        new: NewBlob,
        body: impl Stream<Item = Result<Bytes, E>>,
        amend: impl FnOnce(NewBlob) -> Result<NewBlob, E>,
    ) -> Result<Blob, BlobError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (upload, bound) = self.begin(&new).await?;
        let result = self.fill(&upload, id, bound, new, body, amend).await;
        upload.settle(result.is_ok()).await;
        result
    }

    /// Reserves room for an upload.
    async fn begin(&self, new: &NewBlob) -> Result<(Upload, SizeBound), BlobError> {
        let max = self.limits.max_bytes;
        let limit = self.limits.tenant_bytes;
        let wanted = match new.announced {
            Some(announced) if announced > max => return Err(BlobError::TooLarge { limit: max }),
            Some(announced) => Wanted::All(announced),
            None => Wanted::UpTo(max),
        };
        let target = BlobUpload { place: BlobPlace::new(), tenant: new.tenant.clone() };
        let upload = Upload { records: Arc::clone(&self.records), target: Some(target) };
        let span = self.limits.upload_time + GRACE;
        let target = upload.target()?;
        let bound = match self.records.reserve_blob(target, wanted, limit, span).await? {
            Reserved::Full { held } => return Err(BlobError::TenantFull { held, limit }),
            Reserved::Granted(bytes) if new.announced.is_some() => SizeBound::Announced(bytes),
            Reserved::Granted(bytes) if bytes == max => SizeBound::Max(bytes),
            Reserved::Granted(bytes) => SizeBound::Free { bytes, limit },
        };
        Ok((upload, bound))
    }

    /// Writes the bytes and records the blob.
    async fn fill<E>(
        &self,
        upload: &Upload,
        id: BlobId,
        bound: SizeBound,
        new: NewBlob,
        body: impl Stream<Item = Result<Bytes, E>>,
        amend: impl FnOnce(NewBlob) -> Result<NewBlob, E>,
    ) -> Result<Blob, BlobError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let target = upload.target()?;
        let time = self.limits.upload_time;
        let deadline = tokio::time::Instant::now() + time;
        let too_slow = |_| BlobError::TooSlow(time);

        let mut writer = self.bytes.writer(target.place, time + GRACE).await?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut body = pin!(body);
        while let Some(piece) = timeout_at(deadline, body.next()).await.map_err(too_slow)? {
            let piece = piece.map_err(|error| BlobError::Body(error.into()))?;
            size += piece.len() as u64;
            bound.check(size)?;
            hash.update(&piece);
            timeout_at(deadline, writer.write(piece)).await.map_err(too_slow)??;
        }
        let new = amend(new).map_err(|error| BlobError::Body(error.into()))?;
        let ttl = new.ttl.unwrap_or(self.limits.ttl);
        timeout_at(deadline, writer.finish(kept_for(ttl))).await.map_err(too_slow)??;

        let record = BlobRecord {
            id,
            size,
            hash: ContentHash(hash.finalize().into()),
            media_type: new.media_type,
            filename: new.filename,
            purpose: new.purpose,
            ttl,
        };
        let until = Instant::now() + COMMIT_RETRIES;
        let commit = || self.records.commit_blob(target, &record);
        let recorded = retry::while_unavailable(until, commit).await?;
        recorded.ok_or(BlobError::TooSlow(time))
    }
}

/// The maximum size of an upload, and the bound that sets it.
#[derive(Clone, Copy)]
enum SizeBound {
    Announced(u64),
    Max(u64),
    Free { bytes: u64, limit: u64 },
}

impl SizeBound {
    fn check(self, size: u64) -> Result<(), BlobError> {
        match self {
            Self::Announced(announced) if size > announced => Err(BlobError::Longer { announced }),
            Self::Max(limit) if size > limit => Err(BlobError::TooLarge { limit }),
            Self::Free { bytes, limit } if size > bytes => {
                Err(BlobError::TenantFull { held: limit - bytes, limit })
            }
            _ => Ok(()),
        }
    }
}

/// An upload that is abandoned when it is dropped.
struct Upload {
    records: Arc<dyn Blobs>,
    /// `None` once it is settled.
    target: Option<BlobUpload>,
}

impl Upload {
    fn target(&self) -> Result<&BlobUpload, BrokerError> {
        self.target.as_ref().ok_or_else(|| BrokerError::Corrupt("the upload is settled".into()))
    }

    /// Ends the upload; unless it was `recorded`, abandons it.
    async fn settle(mut self, recorded: bool) {
        if recorded {
            self.target = None;
        } else if let Some(target) = self.target.clone() {
            abandon(&*self.records, &target).await;
            self.target = None;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(target) = self.target.take() else { return };
        let records = Arc::clone(&self.records);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { abandon(&*records, &target).await });
        }
    }
}

async fn abandon(records: &dyn Blobs, target: &BlobUpload) {
    if let Err(error) = records.abandon_blob(target).await {
        // It is abandoned when its time is over.
        tracing::debug!(%error, "an upload is not abandoned yet");
    }
}
