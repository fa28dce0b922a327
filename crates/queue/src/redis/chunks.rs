//! The bytes of blobs: a hash of chunks for each place, in the place's partition.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{StreamExt, try_unfold};
use redis::cmd;

use super::partitions::Partitions;
use super::reply::Reply;
use crate::{BlobBytes, BlobPlace, BlobWriter, BrokerError, ByteStream};

/// The size of a chunk. Small enough that other commands on the connection hardly wait for it. Never
/// change it: the chunks of stored blobs are found by it.
const CHUNK: u64 = 256 << 10;

/// Bytes in Redis.
pub(super) struct Chunks {
    partitions: Arc<Partitions>,
}

impl Chunks {
    pub(super) fn new(partitions: &Arc<Partitions>) -> Self {
        Self { partitions: Arc::clone(partitions) }
    }
}

#[async_trait]
impl BlobBytes for Chunks {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn writer(
        &self,
        place: BlobPlace,
        ttl: Duration,
    ) -> Result<Box<dyn BlobWriter>, BrokerError> {
        let partitions = Arc::clone(&self.partitions);
        Ok(Box::new(Writer { partitions, place, ttl, pending: BytesMut::new(), written: 0 }))
    }

    fn read(&self, place: BlobPlace, range: Range<u64>) -> ByteStream {
        let partitions = Arc::clone(&self.partitions);
        let read = move |at: u64| {
            let partitions = Arc::clone(&partitions);
            async move {
                if at >= range.end {
                    return Ok(None);
                }
                let partition = partitions.of_place(place).await?;
                let get = cmd("HGET").arg(partition.keys.chunks(place)).arg(at / CHUNK).to_owned();
                let chunk: Option<Vec<u8>> = partition.link.query(&get).await?;
                let chunk = Bytes::from(chunk.ok_or_else(|| missing(place))?);
                let from = at % CHUNK;
                let to = (range.end - at).saturating_add(from).min(chunk.len() as u64);
                if from >= to {
                    return Err(missing(place));
                }
                let piece = chunk.slice(from as usize..to as usize);
                let next = at + piece.len() as u64;
                Ok(Some((piece, next)))
            }
        };
        try_unfold(range.start, read).boxed()
    }

    async fn keep(&self, place: BlobPlace, ttl: Duration) -> Result<(), BrokerError> {
        let partition = self.partitions.of_place(place).await?;
        let mut keep = cmd("EXPIRE");
        keep.arg(partition.keys.chunks(place)).arg(seconds(ttl)).arg("GT");
        partition.link.query(&keep).await
    }

    async fn delete(&self, place: BlobPlace) -> Result<(), BrokerError> {
        let partition = self.partitions.of_place(place).await?;
        partition.link.query(cmd("DEL").arg(partition.keys.chunks(place))).await
    }
}

/// Writes chunks.
struct Writer {
    partitions: Arc<Partitions>,
    place: BlobPlace,
    ttl: Duration,
    /// Less than a chunk.
    pending: BytesMut,
    /// The number of chunks written.
    written: u64,
}

impl Writer {
    async fn store(&mut self, chunk: Bytes) -> Result<(), BrokerError> {
        let partition = self.partitions.of_place(self.place).await?;
        let mut call = partition.scripts.store_chunk.prepare_invoke();
        call.key(partition.keys.base()).key(partition.keys.chunks(self.place));
        call.arg(self.written).arg(seconds(self.ttl)).arg(&chunk[..]);
        let mut reply = Reply::new("store_chunk", partition.link.run(&call).await?);
        if reply.text()? != "stored" {
            return Err(missing(self.place));
        }
        self.written += 1;
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), BrokerError> {
        while !bytes.is_empty() {
            let room = CHUNK as usize - self.pending.len();
            self.pending.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.pending.len() == CHUNK as usize {
                let chunk = self.pending.split().freeze();
                self.store(chunk).await?;
            }
        }
        Ok(())
    }

    async fn finish(&mut self, ttl: Duration) -> Result<(), BrokerError> {
        if !self.pending.is_empty() {
            let chunk = self.pending.split().freeze();
            self.store(chunk).await?;
        }
        if self.written == 0 {
            return Ok(()); // an empty blob has no chunks
        }
        let partition = self.partitions.of_place(self.place).await?;
        let mut keep = cmd("EXPIRE");
        keep.arg(partition.keys.chunks(self.place)).arg(seconds(ttl));
        let was_there: bool = partition.link.query(&keep).await?;
        was_there.then_some(()).ok_or_else(|| missing(self.place))
    }
}

fn missing(place: BlobPlace) -> BrokerError {
    BrokerError::Corrupt(format!("bytes of a blob are missing (place {place})"))
}

/// Rounds up, so that bytes never expire before their time.
fn seconds(ttl: Duration) -> u64 {
    (ttl.as_secs() + 1).min(1 << 32)
}
