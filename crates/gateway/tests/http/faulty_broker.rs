//! Broker wrappers that fail on demand or record their calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use protocol::{
    ApiKey, BatchId, BlobId, Chunk, Estimate, Event, EventSeq, KeyId, ModelId, Outcome,
    RecordError, Task, TaskId, TaskSnapshot, TaskState, TenantId, Timestamp, UsageRow, WebhookId,
    WorkerId, WorkerReport,
};
use queue::watch::{CancelFeed, Watch};
use queue::{
    Batch, BatchList, BatchPage, BatchStep, Batches, Blob, BlobBytes, BlobList, BlobPage,
    BlobPlace, BlobRecord, BlobUpload, Blobs, Broker, BrokerError, CancelReply, Claimant, Claimed,
    ContentHash, DeadLetter, DeadLetterPage, Delivery, Depth, DoomedBlob, KeyHash, Keys, Lease,
    LeaseState, Listing, Meter, Metering, NewBatch, Notice, Operations, Overview, PeriodicId,
    PeriodicStep, PeriodicTasks, Purge, Reading, Reaped, Release, Reserved, ResultCache,
    ResultCacheSize, Room, StoredKey, StoredPeriodic, SubmitOptions, Submitted, TaskCursor,
    TaskFilter, TaskPage, Tried, Unlogged, UsageQuery, Verdict, Wanted, WebhookReport, Webhooks,
    WorkerOrders,
};

/// The broker's behaviour.
#[derive(Clone, Copy)]
pub(crate) enum BrokerMode {
    Well,
    Away,
    Silent,
    Slow,
    Newer,
    Broken,
}

pub(crate) struct FaultyBroker {
    inner: Arc<dyn Broker>,
    mode: Arc<Mutex<BrokerMode>>,
    record: Arc<Record>,
}

/// The recorded calls, and the answers that replace the inner broker's.
#[derive(Default)]
pub(crate) struct Record {
    /// The number of reads of tasks.
    pub(crate) reads: AtomicUsize,
    /// The options of all submits.
    pub(crate) submits: Mutex<Vec<SubmitOptions>>,
    /// The answer to the next submit.
    pub(crate) reply: Mutex<Option<Answer<Submitted>>>,
    /// The queue position of every task.
    pub(crate) estimate: Mutex<Option<Estimate>>,
}

impl FaultyBroker {
    /// Wraps a broker, which then answers according to `mode`.
    pub(crate) fn around(inner: Arc<dyn Broker>, mode: &Arc<Mutex<BrokerMode>>) -> Arc<dyn Broker> {
        Arc::new(Self { inner, mode: Arc::clone(mode), record: Arc::default() })
    }

    /// Wraps a broker and records its calls in `record`.
    pub(crate) fn recording(inner: Arc<dyn Broker>, record: &Arc<Record>) -> Arc<dyn Broker> {
        let mode = Arc::new(Mutex::new(BrokerMode::Well));
        Arc::new(Self { inner, mode, record: Arc::clone(record) })
    }

    async fn feel(&self) -> Result<(), BrokerError> {
        let mode = *self.mode.lock().unwrap();
        match mode {
            BrokerMode::Well => Ok(()),
            BrokerMode::Away => Err(BrokerError::Unavailable { reason: "10.0.0.7 refused".into() }),
            BrokerMode::Silent => std::future::pending().await,
            BrokerMode::Slow => {
                tokio::time::sleep(Duration::from_millis(1500)).await;
                Ok(())
            }
            BrokerMode::Newer => Err(BrokerError::Record(RecordError::Version { found: 7 })),
            BrokerMode::Broken => panic!("a bug with a secret"),
        }
    }
}

type Answer<T> = Result<T, BrokerError>;

#[async_trait]
impl Broker for FaultyBroker {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn ping(&self) -> Answer<()> {
        self.feel().await?;
        self.inner.ping().await
    }

    async fn accepts(&self) -> Result<(), BrokerError> {
        self.feel().await?;
        self.inner.accepts().await
    }

    async fn vet(&self) -> Result<queue::Fitness, BrokerError> {
        self.feel().await?;
        self.inner.vet().await
    }

    async fn submit(&self, task: &Task, options: &SubmitOptions) -> Answer<Submitted> {
        self.feel().await?;
        self.record.submits.lock().unwrap().push(options.clone());
        if let Some(reply) = self.record.reply.lock().unwrap().take() {
            return reply;
        }
        self.inner.submit(task, options).await
    }

    async fn snapshot(&self, id: TaskId) -> Answer<Option<TaskSnapshot>> {
        self.record.reads.fetch_add(1, Ordering::Relaxed);
        self.feel().await?;
        let mut snapshot = self.inner.snapshot(id).await?;
        let told = *self.record.estimate.lock().unwrap();
        if let (Some(snapshot), Some(told)) = (&mut snapshot, told)
            && snapshot.state == TaskState::Queued
        {
            snapshot.estimate = Some(told);
        }
        Ok(snapshot)
    }

    async fn expired(&self, id: TaskId) -> Answer<Option<TenantId>> {
        self.feel().await?;
        self.inner.expired(id).await
    }

    async fn claim_into(
        &self,
        claimant: &Claimant,
        room: Room,
        wait: Duration,
    ) -> Answer<Vec<Claimed>> {
        self.inner.claim_into(claimant, room, wait).await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Answer<LeaseState> {
        self.inner.renew(lease, span).await
    }

    async fn publish(&self, lease: &Lease, from: u64, chunks: &[Chunk]) -> Answer<LeaseState> {
        self.inner.publish(lease, from, chunks).await
    }

    async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Answer<Timestamp> {
        self.inner.finish(lease, outcome).await
    }

    async fn release(&self, lease: &Lease, release: &Release) -> Answer<()> {
        self.inner.release(lease, release).await
    }

    async fn cancel(&self, id: TaskId) -> Answer<CancelReply> {
        self.feel().await?;
        self.inner.cancel(id).await
    }

    async fn reap(&self, reaper: &Claimant) -> Answer<Reaped> {
        self.inner.reap(reaper).await
    }

    async fn unlogged(&self, span: Duration, limit: usize) -> Answer<Vec<Unlogged>> {
        self.inner.unlogged(span, limit).await
    }

    async fn logged(&self, ids: &[TaskId]) -> Answer<()> {
        self.inner.logged(ids).await
    }

    fn note_logged(&self, id: TaskId) {
        self.inner.note_logged(id);
    }

    async fn events(&self, id: TaskId, after: EventSeq, limit: usize) -> Answer<Vec<Event>> {
        self.feel().await?;
        self.inner.events(id, after, limit).await
    }

    fn watch(&self, id: TaskId) -> Watch {
        self.inner.watch(id)
    }

    fn cancellations(&self) -> CancelFeed {
        self.inner.cancellations()
    }

    async fn depth(&self, model: &ModelId) -> Answer<Depth> {
        self.feel().await?;
        self.inner.depth(model).await
    }

    async fn report_worker(&self, report: &WorkerReport, ttl: Duration) -> Answer<WorkerOrders> {
        self.inner.report_worker(report, ttl).await
    }

    async fn forget_worker(&self, id: WorkerId) -> Answer<()> {
        self.inner.forget_worker(id).await
    }

    async fn workers(&self) -> Answer<Vec<WorkerReport>> {
        self.feel().await?;
        self.inner.workers().await
    }
}

#[async_trait]
impl Operations for FaultyBroker {
    async fn overview(&self) -> Answer<Overview> {
        self.feel().await?;
        self.inner.overview().await
    }

    async fn set_paused(&self, model: &ModelId, paused: bool) -> Answer<()> {
        self.feel().await?;
        self.inner.set_paused(model, paused).await
    }

    async fn drain_worker(&self, id: WorkerId) -> Answer<bool> {
        self.feel().await?;
        self.inner.drain_worker(id).await
    }

    async fn dead_letters(&self, page: &DeadLetterPage) -> Answer<Vec<DeadLetter>> {
        self.feel().await?;
        self.inner.dead_letters(page).await
    }

    async fn dead_letter(&self, id: TaskId) -> Answer<Option<DeadLetter>> {
        self.feel().await?;
        self.inner.dead_letter(id).await
    }

    async fn replay(&self, id: TaskId) -> Answer<Option<Submitted>> {
        self.feel().await?;
        self.inner.replay(id).await
    }

    async fn purge_dead_letters(&self, which: &Purge) -> Answer<u64> {
        self.feel().await?;
        self.inner.purge_dead_letters(which).await
    }
}

#[async_trait]
impl Listing for FaultyBroker {
    async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<TaskCursor>,
        limit: usize,
    ) -> Answer<TaskPage> {
        self.feel().await?;
        self.inner.tasks(filter, after, limit).await
    }

    async fn cancel_queued(&self, ids: &[TaskId]) -> Answer<Vec<TaskId>> {
        self.feel().await?;
        self.inner.cancel_queued(ids).await
    }
}

#[async_trait]
impl Webhooks for FaultyBroker {
    async fn notify(&self, notice: &Notice) -> Answer<()> {
        self.feel().await?;
        self.inner.notify(notice).await
    }

    async fn due_webhooks(&self, span: Duration, limit: usize) -> Answer<Vec<Delivery>> {
        self.inner.due_webhooks(span, limit).await
    }

    async fn webhook_tried(&self, id: WebhookId, tried: &Tried, verdict: Verdict) -> Answer<()> {
        self.inner.webhook_tried(id, tried, verdict).await
    }

    async fn webhook(&self, id: WebhookId) -> Answer<Option<WebhookReport>> {
        self.feel().await?;
        self.inner.webhook(id).await
    }
}

#[async_trait]
impl PeriodicTasks for FaultyBroker {
    async fn periodic_tasks(&self) -> Answer<(Timestamp, Vec<StoredPeriodic>)> {
        self.feel().await?;
        self.inner.periodic_tasks().await
    }

    async fn step_periodic(&self, step: &PeriodicStep) -> Answer<bool> {
        self.feel().await?;
        self.inner.step_periodic(step).await
    }

    async fn forget_periodic(&self, id: &PeriodicId) -> Answer<()> {
        self.feel().await?;
        self.inner.forget_periodic(id).await
    }
}

#[async_trait]
impl ResultCache for FaultyBroker {
    async fn cached_result(&self, tenant: &TenantId, key: ContentHash) -> Answer<Option<String>> {
        self.feel().await?;
        self.inner.cached_result(tenant, key).await
    }

    async fn cache_result(
        &self,
        tenant: &TenantId,
        key: ContentHash,
        text: &str,
        ttl: Duration,
        max_bytes: u64,
    ) -> Answer<()> {
        self.feel().await?;
        self.inner.cache_result(tenant, key, text, ttl, max_bytes).await
    }

    async fn result_cache_size(&self) -> Answer<ResultCacheSize> {
        self.feel().await?;
        self.inner.result_cache_size().await
    }
}

#[async_trait]
impl Keys for FaultyBroker {
    async fn keys_version(&self) -> Answer<u64> {
        self.feel().await?;
        self.inner.keys_version().await
    }

    async fn add_key(&self, hash: KeyHash, key: &ApiKey) -> Answer<StoredKey> {
        self.feel().await?;
        self.inner.add_key(hash, key).await
    }

    async fn find_key(&self, hash: KeyHash) -> Answer<Option<StoredKey>> {
        self.feel().await?;
        self.inner.find_key(hash).await
    }

    async fn key(&self, id: &KeyId) -> Answer<Option<StoredKey>> {
        self.feel().await?;
        self.inner.key(id).await
    }

    async fn keys(
        &self,
        owner: Option<&TenantId>,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Answer<Vec<StoredKey>> {
        self.feel().await?;
        self.inner.keys(owner, after, limit).await
    }

    async fn change_key(
        &self,
        revision: u64,
        key: &ApiKey,
        hash: Option<KeyHash>,
    ) -> Answer<Option<StoredKey>> {
        self.feel().await?;
        self.inner.change_key(revision, key, hash).await
    }

    async fn revoke_key(&self, id: &KeyId) -> Answer<Option<StoredKey>> {
        self.feel().await?;
        self.inner.revoke_key(id).await
    }

    async fn note_keys_used(&self, used: &[(KeyId, Timestamp)]) -> Answer<()> {
        self.feel().await?;
        self.inner.note_keys_used(used).await
    }

    async fn owner_secret(&self, owner: &TenantId, fresh: [u8; 32]) -> Answer<[u8; 32]> {
        self.feel().await?;
        self.inner.owner_secret(owner, fresh).await
    }
}

#[async_trait]
impl Metering for FaultyBroker {
    async fn readings(&self, owner: &TenantId, meters: &[Meter]) -> Answer<Vec<Reading>> {
        self.feel().await?;
        self.inner.readings(owner, meters).await
    }

    async fn usage(&self, query: &UsageQuery) -> Answer<Vec<UsageRow>> {
        self.feel().await?;
        self.inner.usage(query).await
    }

    async fn forget_usage(&self, day: &str) -> Answer<()> {
        self.feel().await?;
        self.inner.forget_usage(day).await
    }
}

#[async_trait]
impl Blobs for FaultyBroker {
    fn own_bytes(&self) -> Arc<dyn BlobBytes> {
        self.inner.own_bytes()
    }

    async fn reserve_blob(
        &self,
        upload: &BlobUpload,
        wanted: Wanted,
        tenant_bytes: u64,
        span: Duration,
    ) -> Answer<Reserved> {
        self.feel().await?;
        self.inner.reserve_blob(upload, wanted, tenant_bytes, span).await
    }

    async fn abandon_blob(&self, upload: &BlobUpload) -> Answer<()> {
        self.feel().await?;
        self.inner.abandon_blob(upload).await
    }

    async fn commit_blob(&self, upload: &BlobUpload, record: &BlobRecord) -> Answer<Option<Blob>> {
        self.feel().await?;
        self.inner.commit_blob(upload, record).await
    }

    async fn blob(&self, tenant: &TenantId, id: BlobId) -> Answer<Option<(Blob, BlobPlace)>> {
        self.feel().await?;
        self.inner.blob(tenant, id).await
    }

    async fn blobs(&self, tenant: &TenantId, page: &BlobPage) -> Answer<BlobList> {
        self.feel().await?;
        self.inner.blobs(tenant, page).await
    }

    async fn delete_blob(&self, tenant: &TenantId, id: BlobId) -> Answer<bool> {
        self.feel().await?;
        self.inner.delete_blob(tenant, id).await
    }

    async fn touch_blob(
        &self,
        tenant: &TenantId,
        id: BlobId,
        ttl: Duration,
    ) -> Answer<Option<Blob>> {
        self.feel().await?;
        self.inner.touch_blob(tenant, id, ttl).await
    }

    async fn blob_bytes(&self, tenant: &TenantId) -> Answer<u64> {
        self.feel().await?;
        self.inner.blob_bytes(tenant).await
    }

    async fn reap_blobs(&self, span: Duration, limit: usize) -> Answer<Vec<DoomedBlob>> {
        self.feel().await?;
        self.inner.reap_blobs(span, limit).await
    }

    async fn forget_blob_bytes(&self, doomed: &[DoomedBlob]) -> Answer<()> {
        self.feel().await?;
        self.inner.forget_blob_bytes(doomed).await
    }
}

#[async_trait]
impl Batches for FaultyBroker {
    async fn create_batch(&self, new: &NewBatch) -> Answer<Batch> {
        self.feel().await?;
        self.inner.create_batch(new).await
    }

    async fn batch(&self, tenant: &TenantId, id: BatchId) -> Answer<Option<Batch>> {
        self.feel().await?;
        self.inner.batch(tenant, id).await
    }

    async fn batches(&self, tenant: &TenantId, page: &BatchPage) -> Answer<BatchList> {
        self.feel().await?;
        self.inner.batches(tenant, page).await
    }

    async fn step_batch(
        &self,
        tenant: &TenantId,
        id: BatchId,
        step: &BatchStep,
    ) -> Answer<Option<(Batch, bool)>> {
        self.feel().await?;
        self.inner.step_batch(tenant, id, step).await
    }

    async fn due_batches(&self, span: Duration, limit: usize) -> Answer<Vec<Batch>> {
        self.feel().await?;
        self.inner.due_batches(span, limit).await
    }

    async fn running_batches(&self, limit: usize) -> Answer<(Vec<Batch>, u64)> {
        self.feel().await?;
        self.inner.running_batches(limit).await
    }

    async fn hold_batch(&self, tenant: &TenantId, id: BatchId, span: Duration) -> Answer<()> {
        self.feel().await?;
        self.inner.hold_batch(tenant, id, span).await
    }
}
