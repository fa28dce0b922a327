//! Where the bytes of blobs are stored. Knows no blobs: only places, each written once from the beginning
//! to the end, read in parts, and deleted. [`Blobs`](super::Blobs) has the records.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use uuid::Uuid;

use super::BrokerError;

/// The bytes of a part of a blob, piece by piece.
pub type ByteStream = BoxStream<'static, Result<Bytes, BrokerError>>;

/// A store of bytes. Every call may be repeated.
#[async_trait]
pub trait BlobBytes: Send + Sync {
    /// Returns the kind of the store for logs: `folder`, `redis` or `object store`.
    fn name(&self) -> &'static str;

    /// Starts to write at a new place. Until [`BlobWriter::finish`], a store that can do so deletes the
    /// bytes by itself after `ttl`.
    async fn writer(
        &self,
        place: BlobPlace,
        ttl: Duration,
    ) -> Result<Box<dyn BlobWriter>, BrokerError>;

    /// Reads a part. The range must lie within what was written. If bytes are missing, the stream ends
    /// with an error.
    fn read(&self, place: BlobPlace, range: Range<u64>) -> ByteStream;

    /// Ensures that the bytes are kept for at least `ttl` from now, if the store deletes them by itself.
    async fn keep(&self, place: BlobPlace, ttl: Duration) -> Result<(), BrokerError>;

    /// Deletes what is at the place, also if it is not finished. `Ok` if nothing is there.
    async fn delete(&self, place: BlobPlace) -> Result<(), BrokerError>;
}

/// Writes at one place. Holds a piece of bounded size in memory. If it is dropped before
/// [`Self::finish`], the place must be deleted.
#[async_trait]
pub trait BlobWriter: Send {
    /// Appends bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), BrokerError>;

    /// Makes everything durable, and keeps it for at least `ttl`.
    ///
    /// # Errors
    /// Returns an error if the place was deleted meanwhile.
    async fn finish(&mut self, ttl: Duration) -> Result<(), BrokerError>;
}

/// Where bytes are stored. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobPlace(Uuid);

impl BlobPlace {
    /// Creates a new place.
    #[allow(clippy::new_without_default)] // a default that differs on every call misleads
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// Returns the UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for BlobPlace {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for BlobPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for BlobPlace {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}
