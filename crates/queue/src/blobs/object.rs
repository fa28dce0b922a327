//! Bytes as objects in S3, Google Cloud Storage or Azure Blob Storage. A place is a prefix; under it the bytes
//! are objects of the same size, numbered. (A multipart upload would be one object, but a crash leaves its parts
//! where no listing shows them.)

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ::object_store::path::Path;
use ::object_store::{ObjectStore, ObjectStoreExt, PutPayload, parse_url_opts};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{StreamExt, TryStreamExt, try_unfold};

use crate::{BlobBytes, BlobPlace, BlobWriter, BrokerError, ByteStream};

/// The size of an object. Never change it: the parts of stored blobs are found by it.
const PART: u64 = 8 << 20;
/// The size of the pieces that are read.
const PIECE: u64 = 1 << 20;

/// A bucket, or a prefix in one.
#[derive(Clone)]
struct Objects {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

/// Opens the store of a URL, with the options in the environment.
pub(super) fn open(url: &str) -> Result<Arc<dyn BlobBytes>, String> {
    // reqwest takes the process's default; an error means that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let parsed = url.parse().map_err(|error| format!("it is not a URL: {error}"))?;
    let options = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?.to_ascii_lowercase();
        let known = ["aws_", "google_", "azure_"].iter().any(|prefix| name.starts_with(prefix));
        Some((name, value.into_string().ok()?)).filter(|_| known)
    });
    let (store, root) = parse_url_opts(&parsed, options).map_err(|error| error.to_string())?;
    Ok(Arc::new(Objects { store: store.into(), root }))
}

impl Objects {
    fn prefix(&self, place: BlobPlace) -> Path {
        self.root.clone().join(place.to_string())
    }

    fn part(&self, place: BlobPlace, number: u64) -> Path {
        self.prefix(place).join(format!("{number:06}"))
    }
}

#[async_trait]
impl BlobBytes for Objects {
    fn name(&self) -> &'static str {
        "object store"
    }

    async fn writer(
        &self,
        place: BlobPlace,
        _ttl: Duration,
    ) -> Result<Box<dyn BlobWriter>, BrokerError> {
        let objects = self.clone();
        Ok(Box::new(Writer { objects, place, pending: BytesMut::new(), written: 0 }))
    }

    fn read(&self, place: BlobPlace, range: Range<u64>) -> ByteStream {
        let objects = self.clone();
        let read = move |at: u64| {
            let objects = objects.clone();
            async move {
                if at >= range.end {
                    return Ok(None);
                }
                let (number, from) = (at / PART, at % PART);
                let to = PART.min(from + PIECE).min(from + (range.end - at));
                let part = objects.part(place, number);
                let piece = objects.store.get_range(&part, from..to).await;
                let piece = piece.map_err(|error| failed(&error))?;
                if piece.len() as u64 != to - from {
                    let reason = format!("bytes of a blob are missing (place {place})");
                    return Err(BrokerError::Corrupt(reason));
                }
                Ok(Some((piece, at + (to - from))))
            }
        };
        try_unfold(range.start, read).boxed()
    }

    async fn keep(&self, _place: BlobPlace, _ttl: Duration) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn delete(&self, place: BlobPlace) -> Result<(), BrokerError> {
        let prefix = self.prefix(place);
        let found = self.store.list(Some(&prefix)).map_ok(|part| part.location);
        let parts: Vec<Path> = found.try_collect().await.map_err(|error| failed(&error))?;
        for part in parts {
            match self.store.delete(&part).await {
                Ok(()) | Err(::object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }
}

/// Writes objects.
struct Writer {
    objects: Objects,
    place: BlobPlace,
    /// At most an object.
    pending: BytesMut,
    /// The number of objects written.
    written: u64,
}

impl Writer {
    async fn store(&mut self) -> Result<(), BrokerError> {
        let part = self.objects.part(self.place, self.written);
        let payload = PutPayload::from(self.pending.split().freeze());
        self.objects.store.put(&part, payload).await.map_err(|error| failed(&error))?;
        self.written += 1;
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), BrokerError> {
        while !bytes.is_empty() {
            let room = PART as usize - self.pending.len();
            self.pending.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.pending.len() == PART as usize {
                self.store().await?;
            }
        }
        Ok(())
    }

    async fn finish(&mut self, _ttl: Duration) -> Result<(), BrokerError> {
        if self.pending.is_empty() { Ok(()) } else { self.store().await }
    }
}

fn failed(error: &::object_store::Error) -> BrokerError {
    match error {
        ::object_store::Error::NotFound { path, .. } => {
            BrokerError::Corrupt(format!("bytes of a blob are missing ({path})"))
        }
        other => BrokerError::Unavailable { reason: format!("the object store: {other}") },
    }
}
