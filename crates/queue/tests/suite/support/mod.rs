//! Helpers of the tests.

mod behind;
pub(crate) mod mortal;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::cluster::RedisCluster;
use harness::redis::RedisServer;
use protocol::{
    Completion, ErrorType, Estimate, GpuReport, Lane, ModelId, Outcome, Prompt, Sampling, Task,
    TaskError, TaskId, TenantId, Timestamp, Usage, Webhook, WorkerId, WorkerReport, WorkerStatus,
};
use queue::{
    Bounds, Broker, Claimant, Claimed, Reaped, RedisBroker, RedisOptions, Release, SqliteBroker,
    SubmitOptions, Tried, TryResult,
};
use tempfile::TempDir;

/// A broker with a store of its own.
pub(crate) struct Fixture {
    pub(crate) broker: Arc<dyn Broker>,
    store: Store,
}

enum Store {
    /// And where it listens for the test's user.
    Redis(RedisServer, String),
    Cluster(Arc<RedisCluster>, u32),
    Sqlite(TempDir),
}

impl Fixture {
    /// As a user that may do no more than the rule in docs/OPERATING.md says.
    pub(crate) fn redis() -> Self {
        let server = RedisServer::start();
        let url = server.user("qwen-queue", &[]);
        Self { broker: broker_at(&url), store: Store::Redis(server, url) }
    }

    pub(crate) fn redis_cluster(cluster: &Arc<RedisCluster>, partitions: u32) -> Self {
        let store = Store::Cluster(Arc::clone(cluster), partitions);
        Self { broker: cluster_broker_at(cluster.user("qwen-queue"), partitions), store }
    }

    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Arc::new(SqliteBroker::open(folder.path()).unwrap());
        Self { broker, store: Store::Sqlite(folder) }
    }

    /// Returns a broker as another process would have it. The embedded queue has only one.
    pub(crate) fn another(&self) -> Arc<dyn Broker> {
        match &self.store {
            Store::Redis(_, url) => broker_at(url),
            Store::Cluster(cluster, partitions) => {
                cluster_broker_at(cluster.user("qwen-queue"), *partitions)
            }
            Store::Sqlite(_) => Arc::clone(&self.broker),
        }
    }
}

pub(crate) fn redis_broker(server: &RedisServer) -> Arc<dyn Broker> {
    broker_at(&server.url())
}

pub(crate) fn broker_at(url: &str) -> Arc<dyn Broker> {
    Arc::new(RedisBroker::connect(RedisOptions::new(url)).unwrap())
}

pub(crate) fn cluster_broker(cluster: &RedisCluster, partitions: u32) -> Arc<dyn Broker> {
    cluster_broker_at(cluster.url(), partitions)
}

fn cluster_broker_at(url: String, partitions: u32) -> Arc<dyn Broker> {
    let options = RedisOptions { partitions, ..RedisOptions::new(url) };
    Arc::new(RedisBroker::connect(options).unwrap())
}

/// Opens a connection to Redis without the broker.
pub(crate) async fn plain_connection(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Long enough not to expire during a test.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Short enough to wait for.
pub(crate) const SHORT: Duration = Duration::from_millis(400);
pub(crate) const NO_WAIT: Duration = Duration::ZERO;
pub(crate) const NO_LIMIT: &SubmitOptions = &SubmitOptions::PLAIN;

/// Options with a bound on the queued tasks of a model.
pub(crate) fn up_to(model: u64) -> SubmitOptions {
    SubmitOptions { bounds: Bounds { model, ..Bounds::NONE }, ..SubmitOptions::PLAIN }
}

pub(crate) fn model() -> ModelId {
    ModelId::new("demo")
}

pub(crate) fn task() -> Task {
    Task {
        id: TaskId::new(),
        tenant: TenantId::new("tenant"),
        model: model(),
        lane: Lane::Normal,
        prompt: Prompt::user("How do I add a worker? \"quoted\" \\ ünïcode 🦀"),
        pixels: Default::default(),
        kind: Default::default(),
        n: 1,
        max_tokens: 64,
        stop: vec!["\n\n".into()],
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.9),
            seed: Some(7),
            ..Sampling::default()
        },
        form: Default::default(),
        time_limit_s: 120,
        result_ttl_s: 3600,
        max_attempts: 3,
        retry_backoff_s: None,
        user_id: None,
        metadata: [("order".to_owned(), "7 \"a\"".to_owned())].into(),
        webhook: None,
        skill: None,
        reuse: Default::default(),
        trace: None,
    }
}

/// Creates the file of a queue in `folder` as a version of this crate with that schema did, without tasks.
pub(crate) fn file_of_schema(folder: &Path, version: usize) -> rusqlite::Connection {
    let steps = [
        include_str!("../../../src/sqlite/schema.sql"),
        include_str!("../../../src/sqlite/schema_2.sql"),
        include_str!("../../../src/sqlite/schema_3.sql"),
        include_str!("../../../src/sqlite/schema_4.sql"),
        include_str!("../../../src/sqlite/schema_5.sql"),
        include_str!("../../../src/sqlite/schema_6.sql"),
        include_str!("../../../src/sqlite/schema_7.sql"),
        include_str!("../../../src/sqlite/schema_8.sql"),
        include_str!("../../../src/sqlite/schema_9.sql"),
    ];
    let file = rusqlite::Connection::open(folder.join("queue.db")).unwrap();
    for step in &steps[..version] {
        file.execute_batch(step).unwrap();
    }
    file.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
    file
}

pub(crate) fn task_in(lane: Lane) -> Task {
    Task { lane, ..task() }
}

/// Returns the report of a ready worker with this capacity.
pub(crate) fn report(capacity: u32) -> WorkerReport {
    WorkerReport {
        id: WorkerId::new(),
        host: "host".into(),
        pid: 1,
        version: "0.1.0".into(),
        model: model(),
        quantization: "Q4_K_M".into(),
        device: "cpu".into(),
        status: WorkerStatus::Ready,
        running: 0,
        capacity,
        finished: 0,
        started_at: Timestamp::from_millis(1),
        reported_at: Some(Timestamp::from_millis(2)),
        log_lines_lost: 0,
        gpus: vec![GpuReport {
            id: 1,
            memory_used_bytes: 5 << 30,
            memory_total_bytes: 140 << 30,
            utilization_percent: 97,
        }],
        models: Vec::new(),
    }
}

pub(crate) fn claimant(lease: Duration) -> Claimant {
    Claimant { worker: WorkerId::new(), models: vec![model()], lease }
}

pub(crate) fn completed(text: &str) -> Outcome {
    Outcome::Completed(Completion::of_text(
        text,
        Usage { prompt_tokens: 5, completion_tokens: 7, cached_tokens: 3, ..Usage::NONE },
    ))
}

pub(crate) fn failed(message: &str) -> Outcome {
    Outcome::Failed(TaskError::new(ErrorType::EngineError, message))
}

/// A release after a failure, to be retried at once.
pub(crate) fn failed_release(message: &str) -> Release {
    let error = TaskError::new(ErrorType::EngineError, message);
    Release::Failed { error, retry_in: Duration::ZERO }
}

/// A release after a failure, to be retried after a backoff.
pub(crate) fn resting(retry_in: Duration) -> Release {
    let error = TaskError::new(ErrorType::EngineError, "hiccup");
    Release::Failed { error, retry_in }
}

/// Adds a webhook to a task.
pub(crate) fn with_webhook(task: Task) -> Task {
    let url = format!("https://example.com/hooks?a=\"b\"&task={}", task.id);
    Task { webhook: Some(Webhook { url, form: Default::default() }), ..task }
}

/// A try that the receiver answered with 200.
pub(crate) fn tried(number: u32) -> Tried {
    let at = Timestamp::from_millis(1_000 + u64::from(number));
    Tried { number, at, took_ms: 7, result: TryResult::Status(200) }
}

/// Returns a task's estimate, or `None` if it is not queued.
pub(crate) async fn estimate(broker: &dyn Broker, id: TaskId) -> Option<Estimate> {
    broker.snapshot(id).await.unwrap().expect("the task").estimate
}

/// Submits a new task and returns it.
pub(crate) async fn submitted(broker: &dyn Broker) -> Task {
    let task = task();
    broker.submit(&task, NO_LIMIT).await.unwrap();
    task
}

/// Claims a task, which must be queued.
pub(crate) async fn claimed(broker: &dyn Broker, claimant: &Claimant) -> Claimed {
    broker.claim(claimant, NO_WAIT).await.unwrap().expect("a task to claim")
}

/// Reaps several times per lease, as workers do, until something was reaped.
pub(crate) async fn reap_until_found(broker: &dyn Broker, reaper: &Claimant) -> Reaped {
    let patience = Instant::now() + reaper.lease * 4 + Duration::from_secs(2);
    while Instant::now() < patience {
        let reaped = broker.reap(reaper).await.unwrap();
        if reaped.count() > 0 {
            return reaped;
        }
        tokio::time::sleep(reaper.lease / 8).await;
    }
    panic!("nothing was reaped");
}

/// Polls until the condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while Instant::now() < patience {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still not so: {what}");
}
