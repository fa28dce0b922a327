//! A broker that misbehaves on demand, around one that doesn't.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use protocol::{
    Estimate, Event, EventSeq, ModelId, Outcome, RecordError, Task, TaskId, TaskSnapshot,
    Timestamp, WorkerId, WorkerReport,
};
use queue::watch::{CancelFeed, Watch};
use queue::{
    Broker, BrokerError, CancelReply, Claimant, Claimed, Depth, Lease, LeaseState, Reaped, Release,
    SubmitOptions, Submitted,
};

/// How it answers.
#[derive(Clone, Copy)]
pub(crate) enum Mood {
    Well,
    Away,
    Silent,
    Slow,
    Newer,
    Broken,
}

pub(crate) struct Moody {
    inner: Arc<dyn Broker>,
    mood: Arc<Mutex<Mood>>,
    record: Arc<Record>,
}

/// What it was asked, and what it answers instead of what it would.
#[derive(Default)]
pub(crate) struct Record {
    /// How often tasks were read.
    pub(crate) reads: AtomicUsize,
    /// How tasks were to be queued.
    pub(crate) submits: Mutex<Vec<SubmitOptions>>,
    /// The answer to the next submit.
    pub(crate) reply: Mutex<Option<Answer<Submitted>>>,
    /// The place of every task.
    pub(crate) estimate: Mutex<Option<Estimate>>,
}

impl Moody {
    /// Wraps a broker; the mood can be changed from outside.
    pub(crate) fn around(inner: Arc<dyn Broker>, mood: &Arc<Mutex<Mood>>) -> Arc<dyn Broker> {
        Arc::new(Self { inner, mood: Arc::clone(mood), record: Arc::default() })
    }

    /// Wraps a broker and keeps a record.
    pub(crate) fn recording(inner: Arc<dyn Broker>, record: &Arc<Record>) -> Arc<dyn Broker> {
        let mood = Arc::new(Mutex::new(Mood::Well));
        Arc::new(Self { inner, mood, record: Arc::clone(record) })
    }

    async fn feel(&self) -> Result<(), BrokerError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => Ok(()),
            Mood::Away => Err(BrokerError::Unavailable { reason: "10.0.0.7 refused".into() }),
            Mood::Silent => std::future::pending().await,
            Mood::Slow => {
                tokio::time::sleep(Duration::from_millis(1500)).await;
                Ok(())
            }
            Mood::Newer => Err(BrokerError::Record(RecordError::Version { found: 7 })),
            Mood::Broken => panic!("a bug with a secret"),
        }
    }
}

type Answer<T> = Result<T, BrokerError>;

#[async_trait]
impl Broker for Moody {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn ping(&self) -> Answer<()> {
        self.feel().await?;
        self.inner.ping().await
    }

    async fn submit(&self, task: &Task, options: &SubmitOptions) -> Answer<Submitted> {
        self.feel().await?;
        self.record.submits.lock().unwrap().push(options.clone());
        if let Some(reply) = self.record.reply.lock().unwrap().take() {
            return reply;
        }
        self.inner.submit(task, options).await
    }

    async fn estimate(&self, id: TaskId) -> Answer<Option<Estimate>> {
        self.feel().await?;
        let told = *self.record.estimate.lock().unwrap();
        if told.is_some() { Ok(told) } else { self.inner.estimate(id).await }
    }

    async fn snapshot(&self, id: TaskId) -> Answer<Option<TaskSnapshot>> {
        self.record.reads.fetch_add(1, Ordering::Relaxed);
        self.feel().await?;
        self.inner.snapshot(id).await
    }

    async fn claim(&self, claimant: &Claimant, wait: Duration) -> Answer<Option<Claimed>> {
        self.inner.claim(claimant, wait).await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Answer<LeaseState> {
        self.inner.renew(lease, span).await
    }

    async fn publish(&self, lease: &Lease, chunks: &[String]) -> Answer<LeaseState> {
        self.inner.publish(lease, chunks).await
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

    async fn report_worker(&self, report: &WorkerReport, ttl: Duration) -> Answer<()> {
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
