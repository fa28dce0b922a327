//! What the tests share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::cluster::RedisCluster;
use harness::redis::RedisServer;
use protocol::{
    Completion, ErrorType, Estimate, FinishReason, GenerationParams, GpuReport, Lane, ModelId,
    Outcome, Prompt, Task, TaskError, TaskId, TenantId, Timestamp, Usage, Webhook, WorkerId,
    WorkerReport, WorkerStatus,
};
use queue::{
    Bounds, Broker, Claimant, Claimed, Reaped, RedisBroker, RedisOptions, Release, SqliteBroker,
    SubmitOptions, Tried, TryResult,
};
use tempfile::TempDir;

/// A broker on a store of its own.
pub(crate) struct Fixture {
    pub(crate) broker: Arc<dyn Broker>,
    store: Store,
}

enum Store {
    Redis(RedisServer),
    Cluster(Arc<RedisCluster>, u32),
    Sqlite(TempDir),
}

impl Fixture {
    pub(crate) fn redis() -> Self {
        let server = RedisServer::start();
        Self { broker: redis_broker(&server), store: Store::Redis(server) }
    }

    pub(crate) fn redis_cluster(cluster: &Arc<RedisCluster>, partitions: u32) -> Self {
        let store = Store::Cluster(Arc::clone(cluster), partitions);
        Self { broker: cluster_broker(cluster, partitions), store }
    }

    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Arc::new(SqliteBroker::open(folder.path()).unwrap());
        Self { broker, store: Store::Sqlite(folder) }
    }

    /// A broker as another process would have it; the embedded queue has but one.
    pub(crate) fn another(&self) -> Arc<dyn Broker> {
        match &self.store {
            Store::Redis(server) => redis_broker(server),
            Store::Cluster(cluster, partitions) => cluster_broker(cluster, *partitions),
            Store::Sqlite(_) => Arc::clone(&self.broker),
        }
    }

    /// Replaces a task's stored record behind the broker's back.
    pub(crate) async fn overwrite_record(&self, id: TaskId, record: &str) {
        match &self.store {
            Store::Redis(server) => {
                let mut connection = plain_connection(server).await;
                let key = format!("qq:{{0}}:task:{id}");
                let set = redis::cmd("HSET").arg(key).arg("record").arg(record).to_owned();
                set.exec_async(&mut connection).await.unwrap();
            }
            Store::Cluster(cluster, partitions) => {
                let key = (0..*partitions).map(|number| format!("qq:{{{number}}}:task:{id}"));
                let key = key.into_iter().find(|key| cluster.command(&["EXISTS", key]) == "1");
                cluster.command(&["HSET", &key.unwrap(), "record", record]);
            }
            Store::Sqlite(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
                let set = "UPDATE tasks SET record = ?2 WHERE id = ?1";
                assert_eq!(file.execute(set, [&id.to_string(), record]).unwrap(), 1);
            }
        }
    }
}

pub(crate) fn redis_broker(server: &RedisServer) -> Arc<dyn Broker> {
    Arc::new(RedisBroker::connect(RedisOptions::new(server.url())).unwrap())
}

pub(crate) fn cluster_broker(cluster: &RedisCluster, partitions: u32) -> Arc<dyn Broker> {
    let options = RedisOptions { partitions, ..RedisOptions::new(cluster.url()) };
    Arc::new(RedisBroker::connect(options).unwrap())
}

/// A connection past the broker.
pub(crate) async fn plain_connection(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Long enough not to run out in a test.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Short enough to wait for.
pub(crate) const SHORT: Duration = Duration::from_millis(400);
pub(crate) const NO_WAIT: Duration = Duration::ZERO;
pub(crate) const NO_LIMIT: &SubmitOptions = &SubmitOptions::PLAIN;

/// At most so many tasks of a model may be queued.
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
        params: GenerationParams {
            temperature: 0.7,
            top_p: 0.9,
            seed: Some(7),
            stop: vec!["\n\n".into()],
            ..GenerationParams::greedy(64)
        },
        form: Default::default(),
        time_limit_s: 120,
        result_ttl_s: 3600,
        max_attempts: 3,
        user_id: None,
        metadata: [("order".to_owned(), "7 \"a\"".to_owned())].into(),
        webhook: None,
    }
}

pub(crate) fn task_in(lane: Lane) -> Task {
    Task { lane, ..task() }
}

/// What a ready worker with so much room says of itself.
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
    Outcome::Completed(Completion {
        text: text.into(),
        reasoning: None,
        tool_calls: vec![],
        finish_reason: FinishReason::Stop,
        usage: Usage { prompt_tokens: 5, completion_tokens: 7, cached_tokens: 3 },
        logprobs: None,
        sampling_defaults: Default::default(),
    })
}

pub(crate) fn failed(message: &str) -> Outcome {
    Outcome::Failed(TaskError::new(ErrorType::EngineError, message))
}

/// A release after a failure, for another attempt at once.
pub(crate) fn failed_release(message: &str) -> Release {
    let error = TaskError::new(ErrorType::EngineError, message);
    Release::Failed { error, retry_in: Duration::ZERO }
}

/// A release after a failure, for another attempt after a rest.
pub(crate) fn resting(retry_in: Duration) -> Release {
    let error = TaskError::new(ErrorType::EngineError, "hiccup");
    Release::Failed { error, retry_in }
}

/// The same task with somebody to tell of its end.
pub(crate) fn with_webhook(task: Task) -> Task {
    let url = format!("https://example.com/hooks?a=\"b\"&task={}", task.id);
    Task { webhook: Some(Webhook { url }), ..task }
}

/// A try that the receiver answered with 200.
pub(crate) fn tried(number: u32) -> Tried {
    let at = Timestamp::from_millis(1_000 + u64::from(number));
    Tried { number, at, took_ms: 7, result: TryResult::Status(200) }
}

/// Where a queued task stands; none when it is not queued.
pub(crate) async fn estimate(broker: &dyn Broker, id: TaskId) -> Option<Estimate> {
    broker.snapshot(id).await.unwrap().expect("the task").estimate
}

/// Submits a fresh task and answers it.
pub(crate) async fn submitted(broker: &dyn Broker) -> Task {
    let task = task();
    broker.submit(&task, NO_LIMIT).await.unwrap();
    task
}

/// Claims a task that must be there.
pub(crate) async fn claimed(broker: &dyn Broker, claimant: &Claimant) -> Claimed {
    broker.claim(claimant, NO_WAIT).await.unwrap().expect("a task to claim")
}

/// Reaps as workers do, several times a lease, until something was found.
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

/// Asks again and again until it holds.
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
