//! The test rig: a queue, a stand-in for a worker, and deliverers with short pauses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::{
    Completion, Lane, ModelId, Outcome, Prompt, Sampling, Task, TaskId, TenantId, Usage, Webhook,
    WebhookId, WorkerId,
};
use queue::{
    Broker, Claimant, RedisBroker, RedisOptions, SqliteBroker, SubmitOptions, WebhookReport,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webhooks::{Deliverer, Guard, Schedule, Secret, Secrets, Sender, payload};

pub(crate) const KEY: &str = "a-key-of-the-tests";
/// The time limit of a try.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn tenant() -> TenantId {
    TenantId::new("key-1")
}

pub(crate) struct Rig {
    pub(crate) broker: Arc<dyn Broker>,
    _folder: TempDir,
}

impl Rig {
    /// Uses the embedded queue.
    pub(crate) fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { broker: Arc::new(SqliteBroker::open(folder.path()).unwrap()), _folder: folder }
    }

    /// Uses Redis at `url`.
    pub(crate) fn redis(url: &str) -> Self {
        let broker = RedisBroker::connect(RedisOptions::new(url)).unwrap();
        Self { broker: Arc::new(broker), _folder: tempfile::tempdir().unwrap() }
    }

    /// Builds a deliverer with pauses of 200 ms and as many tries as the standard schedule.
    pub(crate) fn deliverer(&self) -> Deliverer {
        let pauses = vec![Duration::from_millis(200); 9];
        let secrets: Secrets =
            [(tenant(), Secret::of_key(KEY)), (TenantId::new("key-2"), Secret::of_key("another"))]
                .into_iter()
                .collect();
        Deliverer {
            queue: self.broker.clone(),
            secrets: Arc::new(secrets),
            render: Arc::new(|end| payload::task_event(end, json!({"task_id": end.task_id}))),
            sender: Sender::new(Guard { allow_private: true }, LIMIT).unwrap(),
            schedule: Schedule::new(pauses, Duration::from_secs(3_600)),
            tried: |_| {},
        }
    }

    /// Starts a deliverer.
    pub(crate) fn deliver(&self) -> Running {
        Running::start(self.deliverer())
    }

    /// Submits a task with a webhook and completes it. Returns its id.
    pub(crate) async fn ended(&self, url: &str) -> TaskId {
        self.ended_of(tenant(), url).await
    }

    pub(crate) async fn ended_of(&self, tenant: TenantId, url: &str) -> TaskId {
        let task = task(tenant, url);
        self.broker.submit(&task, &SubmitOptions::PLAIN).await.unwrap();
        let claimant = Claimant {
            worker: WorkerId::new(),
            models: vec![task.model.clone()],
            lease: Duration::from_secs(30),
        };
        let claimed = self.broker.claim(&claimant, SOON).await.unwrap().expect("no task to claim");
        assert_eq!(claimed.task.id, task.id);
        self.broker.finish(&claimed.lease, &answer("Hello")).await.unwrap();
        task.id
    }

    /// Waits until a webhook's report satisfies `is_so`, and returns it. Panics after a while.
    pub(crate) async fn report_when(
        &self,
        id: impl Into<WebhookId>,
        is_so: impl Fn(&WebhookReport) -> bool,
    ) -> WebhookReport {
        let (id, mut last) = (id.into(), None);
        for _ in 0..SOON.as_millis() / 50 {
            last = self.broker.webhook(id).await.unwrap();
            if let Some(report) = last.as_ref().filter(|report| is_so(report)) {
                return report.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the report never became as expected: {last:?}")
    }
}

/// A running deliverer. Dropping it aborts it, whatever it is doing.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(deliverer: Deliverer) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(deliverer.run(stop.clone(), SOON));
        Self { stop, task }
    }

    /// Asks the deliverer to stop and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn answer(text: &str) -> Outcome {
    Outcome::Completed(Completion::of_text(
        text,
        Usage { prompt_tokens: 1, completion_tokens: 2, ..Usage::NONE },
    ))
}

fn task(tenant: TenantId, url: &str) -> Task {
    Task {
        id: TaskId::new(),
        tenant,
        model: ModelId::new("demo"),
        lane: Lane::Normal,
        prompt: Prompt::user("Hello"),
        pixels: Default::default(),
        kind: Default::default(),
        n: 1,
        max_tokens: 8,
        stop: vec![],
        sampling: Sampling::greedy(),
        form: Default::default(),
        time_limit_s: 60,
        result_ttl_s: 60,
        max_attempts: 3,
        retry_backoff_s: None,
        user_id: None,
        metadata: BTreeMap::from([("order".into(), "17".into())]),
        webhook: Some(Webhook { url: url.into(), form: Default::default() }),
        skill: None,
        reuse: Default::default(),
        trace: None,
    }
}
