//! A process that dies between any two steps: stores whose calls are counted, and which answer nothing any more
//! from one of them on.

use std::future::{Future, pending};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::{BlobId, TenantId};
use queue::{
    Blob, BlobBytes, BlobList, BlobPage, BlobPlace, BlobRecord, BlobUpload, BlobWriter, Blobs,
    BrokerError, ByteStream, DoomedBlob, Reserved, Wanted,
};

type Answer<T> = Result<T, BrokerError>;

/// When the process dies.
pub(crate) struct Fuse {
    /// The number of steps that it still takes.
    left: AtomicUsize,
    /// Whether it dies after the last step, or before.
    after: bool,
    dead: AtomicBool,
}

impl Fuse {
    pub(crate) fn new(steps: usize, after: bool) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(steps), after, dead: AtomicBool::new(false) })
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    async fn step<T>(&self, work: impl Future<Output = T>) -> T {
        if !self.is_dead() {
            let count = |left: usize| left.checked_sub(1);
            if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok() {
                return work.await;
            }
            if self.after {
                work.await;
            }
            self.dead.store(true, Ordering::SeqCst);
        }
        pending().await
    }

    /// Runs work until it ends or the process dies, and returns whether it ended.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let death = async {
            while !self.is_dead() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            done = work => Some(done),
            () = death => None,
        }
    }
}

/// A broker's records and bytes, in a process that dies.
pub(crate) struct Mortal {
    pub(crate) inner: Arc<dyn Blobs>,
    pub(crate) fuse: Arc<Fuse>,
}

#[async_trait]
impl Blobs for Mortal {
    fn own_bytes(&self) -> Arc<dyn BlobBytes> {
        Arc::new(MortalBytes { inner: self.inner.own_bytes(), fuse: Arc::clone(&self.fuse) })
    }

    async fn reserve_blob(
        &self,
        upload: &BlobUpload,
        wanted: Wanted,
        tenant_bytes: u64,
        span: Duration,
    ) -> Answer<Reserved> {
        self.fuse.step(self.inner.reserve_blob(upload, wanted, tenant_bytes, span)).await
    }

    async fn abandon_blob(&self, upload: &BlobUpload) -> Answer<()> {
        self.fuse.step(self.inner.abandon_blob(upload)).await
    }

    async fn commit_blob(&self, upload: &BlobUpload, record: &BlobRecord) -> Answer<Option<Blob>> {
        self.fuse.step(self.inner.commit_blob(upload, record)).await
    }

    async fn blob(&self, tenant: &TenantId, id: BlobId) -> Answer<Option<(Blob, BlobPlace)>> {
        self.fuse.step(self.inner.blob(tenant, id)).await
    }

    async fn blobs(&self, tenant: &TenantId, page: &BlobPage) -> Answer<BlobList> {
        self.fuse.step(self.inner.blobs(tenant, page)).await
    }

    async fn delete_blob(&self, tenant: &TenantId, id: BlobId) -> Answer<bool> {
        self.fuse.step(self.inner.delete_blob(tenant, id)).await
    }

    async fn touch_blob(
        &self,
        tenant: &TenantId,
        id: BlobId,
        ttl: Duration,
    ) -> Answer<Option<Blob>> {
        self.fuse.step(self.inner.touch_blob(tenant, id, ttl)).await
    }

    async fn blob_bytes(&self, tenant: &TenantId) -> Answer<u64> {
        self.fuse.step(self.inner.blob_bytes(tenant)).await
    }

    async fn reap_blobs(&self, span: Duration, limit: usize) -> Answer<Vec<DoomedBlob>> {
        self.fuse.step(self.inner.reap_blobs(span, limit)).await
    }

    async fn forget_blob_bytes(&self, doomed: &[DoomedBlob]) -> Answer<()> {
        self.fuse.step(self.inner.forget_blob_bytes(doomed)).await
    }
}

struct MortalBytes {
    inner: Arc<dyn BlobBytes>,
    fuse: Arc<Fuse>,
}

#[async_trait]
impl BlobBytes for MortalBytes {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn writer(&self, place: BlobPlace, ttl: Duration) -> Answer<Box<dyn BlobWriter>> {
        let inner = self.fuse.step(self.inner.writer(place, ttl)).await?;
        Ok(Box::new(MortalWriter { inner, fuse: Arc::clone(&self.fuse) }))
    }

    fn read(&self, place: BlobPlace, range: Range<u64>) -> ByteStream {
        self.inner.read(place, range)
    }

    async fn keep(&self, place: BlobPlace, ttl: Duration) -> Answer<()> {
        self.fuse.step(self.inner.keep(place, ttl)).await
    }

    async fn delete(&self, place: BlobPlace) -> Answer<()> {
        self.fuse.step(self.inner.delete(place)).await
    }
}

struct MortalWriter {
    inner: Box<dyn BlobWriter>,
    fuse: Arc<Fuse>,
}

#[async_trait]
impl BlobWriter for MortalWriter {
    async fn write(&mut self, bytes: Bytes) -> Answer<()> {
        self.fuse.step(self.inner.write(bytes)).await
    }

    async fn finish(&mut self, ttl: Duration) -> Answer<()> {
        self.fuse.step(self.inner.finish(ttl)).await
    }
}
