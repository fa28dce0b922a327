//! Worker processes on a Redis, and images: each task has the answer about its own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat::Sampling;
use harness::history::LogLine;
use harness::process::Home;
use harness::redis::RedisServer;
use harness::system::Node;
use protocol::{ModelId, Outcome, PixelLimits, Prompt, Task, TaskId, TaskKind, TenantId};
use queue::{Broker, RedisBroker, RedisOptions, SubmitOptions};

use crate::library::{Library, PIXELS, asking, noise, seeing, store};
use crate::tower;

const TENANTS: [&str; 2] = ["one", "two"];
const LONG: Duration = Duration::from_secs(240);

/// A worker process, and its queue.
struct Fleet {
    worker: Node,
    broker: Arc<dyn Broker>,
    model: ModelId,
    _redis: RedisServer,
    logs: Home,
}

impl Fleet {
    async fn start(name: &str, projector: Option<&Path>) -> Self {
        let redis = RedisServer::start();
        let logs = Home::new();
        let (model, own) = seeing(name);
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let settings = [
            ("REDIS_URL", redis.url()),
            ("LOG_DIR", text(logs.path())),
            ("MODEL_NAME", text(&model)),
            ("MMPROJ", text(projector.unwrap_or(&own))),
            ("MODEL_DEVICE", "cpu".into()),
            ("KV_TOKENS", "4096".into()),
            ("MAX_BATCH_SIZE", "4".into()),
            ("LEASE_SECONDS", "2".into()),
            ("LOG_LEVEL", "debug".into()),
        ];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut worker = Node::new("qwen-queue-worker", &settings);
        worker.start();
        let broker = RedisBroker::connect(RedisOptions::new(redis.url())).unwrap();
        let broker: Arc<dyn Broker> = Arc::new(broker);
        let mut fleet = Self { worker, broker, model: ModelId::new(""), _redis: redis, logs };
        fleet.wait_until_ready().await;
        fleet
    }

    async fn wait_until_ready(&mut self) {
        let until = Instant::now() + LONG;
        while self.model.as_str().is_empty() {
            assert!(Instant::now() < until, "{}", self.worker.console());
            if let Some(report) = self.broker.workers().await.unwrap().first() {
                assert_eq!(report.models[0].images, Some(true));
                self.model = report.models[0].model.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn task(&self, tenant: &str, prompt: Prompt, pixels: PixelLimits, max_tokens: u32) -> Task {
        Task {
            id: TaskId::new(),
            tenant: TenantId::new(tenant),
            model: self.model.clone(),
            lane: Default::default(),
            kind: TaskKind::Generate,
            prompt,
            pixels,
            n: 1,
            max_tokens,
            stop: vec![],
            sampling: Sampling::greedy(),
            form: Default::default(),
            time_limit_s: 240,
            result_ttl_s: 600,
            max_attempts: 3,
            retry_backoff_s: None,
            user_id: None,
            metadata: Default::default(),
            webhook: None,
            skill: None,
            reuse: Default::default(),
            trace: None,
        }
    }

    async fn submit(&self, task: &Task) -> TaskId {
        self.broker.submit(task, &SubmitOptions::PLAIN).await.unwrap();
        task.id
    }

    async fn text(&self, id: TaskId) -> String {
        let until = Instant::now() + LONG;
        loop {
            let snapshot = self.broker.snapshot(id).await.unwrap().unwrap();
            match snapshot.outcome {
                Some(Outcome::Completed(completion)) => return completion.first.text,
                Some(other) => panic!("{other:?}"),
                None => assert!(Instant::now() < until, "{}", self.worker.console()),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn encoded(&self) -> usize {
        self.worker.console().matches("encoded an image of").count()
    }
}

/// Two tenants ask the same words about different images, all at once. 1,000 tasks with `QWEN_QUEUE_FULL_IMAGES=1`
/// are 10,000.
#[tokio::test(flavor = "multi_thread")]
async fn images_of_two_tenants_never_mix() {
    const IMAGES: u32 = 12;
    let count = if std::env::var_os("QWEN_QUEUE_FULL_IMAGES").is_some() { 10_000 } else { 1_000 };
    for name in ["qwen2vl", "qwen3vl"] {
        let fleet = Fleet::start(name, None).await;
        let library = Library::start(name);
        let words = |image: &str| Prompt::Chat(vec![asking("What is in |?", &[image])]);
        // The answer of the library to each image, and each tenant's name of it.
        let mut expected = Vec::new();
        let mut names = Vec::new();
        for index in 0..IMAGES {
            let image = noise(index);
            expected.push(library.answer(&words("x"), &[&image], 6).0);
            let tenant = TENANTS[index as usize % 2];
            names.push((tenant, store(&fleet.broker, tenant, &image).await));
        }
        let mut distinct = expected.clone();
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() > IMAGES as usize / 2, "{name}: {expected:?}");
        let began = Instant::now();
        let mut tasks = Vec::new();
        for number in 0..count / 2 {
            // No order in which neighbours repeat.
            let index = number * 7 % names.len() + number / names.len() % 2;
            let index = index % names.len();
            let (tenant, image) = &names[index];
            let task = fleet.task(tenant, words(image), PIXELS, 6);
            tasks.push((index, fleet.submit(&task).await));
        }
        for (index, id) in tasks {
            assert_eq!(fleet.text(id).await, expected[index], "{name}: image {index}");
        }
        println!("{name}: {} tasks in {:?}", count / 2, began.elapsed());
        assert_eq!(fleet.encoded(), names.len(), "each image is encoded once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_worker_is_killed_while_it_encodes_ends_once() {
    let tower = tower::slow();
    let mut fleet = Fleet::start("qwen3vl", Some(tower.path())).await;
    let image = store(&fleet.broker, "one", &noise(1)).await;
    let prompt = Prompt::Chat(vec![asking("|", &[&image])]);
    let id = fleet.submit(&fleet.task("one", prompt, tower::PIXELS, 4)).await;
    let until = Instant::now() + LONG;
    while !fleet.worker.began(&id.to_string(), 1) {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(fleet.encoded(), 0, "the tower is too fast");
    fleet.worker.kill_9();
    fleet.worker.start();
    fleet.text(id).await;
    assert_eq!(fleet.encoded(), 1);
    let snapshot = fleet.broker.snapshot(id).await.unwrap().unwrap();
    assert_eq!(snapshot.attempt.get(), 2);
    let lines = || {
        let log = std::fs::read_to_string(fleet.logs.path().join("llm_requests.log"));
        LogLine::read_all(&log.unwrap_or_default())
    };
    while lines().is_empty() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lines: Vec<_> = lines().into_iter().map(|line| (line.task, line.status)).collect();
    assert_eq!(lines, [(id.to_string(), "success".to_owned())]);
}
