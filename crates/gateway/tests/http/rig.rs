//! A gateway on a free port with the embedded queue in a new folder, and functions that act as its
//! worker.

use std::collections::HashMap;
use std::future::Future;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::{Listeners, Options, ServeError};
use protocol::{
    Chunk, Completion, ErrorType, ModelId, ModelReport, Outcome, TaskError, TaskId, Timestamp,
    Usage, WorkerId, WorkerReport, WorkerStatus,
};
use queue::{Broker, Claimant, Claimed, Lease, Release, SqliteBroker};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

pub(crate) const KEY: &str = "test-key-1";
pub(crate) const OTHER_KEY: &str = "test-key-2";
pub(crate) const ADMIN_KEY: &str = "test-operator-1";

pub(crate) struct Rig {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) address: std::net::SocketAddr,
    /// The listener of `/admin`, if it has one of its own.
    pub(crate) admin_address: Option<std::net::SocketAddr>,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
    /// The number of chunks that each attempt has published.
    published: Mutex<HashMap<Lease, u64>>,
    _folder: TempDir,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// Starts a gateway with an operators' key.
    pub(crate) fn operated() -> Self {
        Self::with(|options| options.admin_key = Some(ADMIN_KEY.into()))
    }

    /// Starts a gateway with options that differ from the tests' defaults.
    pub(crate) fn with(edit: impl FnOnce(&mut Options)) -> Self {
        Self::on(|broker| broker, edit)
    }

    /// Starts a gateway with another broker, or with a wrapper around the embedded queue.
    pub(crate) fn on(
        wrap: impl FnOnce(Arc<dyn Broker>) -> Arc<dyn Broker>,
        edit: impl FnOnce(&mut Options),
    ) -> Self {
        Self::listening(None, wrap, edit)
    }

    /// Starts a gateway with an operators' key and a listener of its own for `/admin`.
    pub(crate) fn with_two_listeners(edit: impl FnOnce(&mut Options)) -> Self {
        let admin = TcpListener::bind("127.0.0.1:0").unwrap();
        let edit = |options: &mut Options| {
            options.admin_key = Some(ADMIN_KEY.into());
            edit(options);
        };
        Self::listening(Some(admin), |broker| broker, edit)
    }

    fn listening(
        admin: Option<TcpListener>,
        wrap: impl FnOnce(Arc<dyn Broker>) -> Arc<dyn Broker>,
        edit: impl FnOnce(&mut Options),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let broker = wrap(runtime.block_on(async { open(folder.path()) }));

        let mut options = Options::new(vec![KEY.into(), OTHER_KEY.into()], ModelId::new("demo"));
        options.threads = Some(2);
        options.auth_failures_per_minute = 0; // many tests try wrong keys
        options.broker_timeout = Duration::from_secs(2);
        options.registry_age = Duration::ZERO; // sees what a worker reports at once
        edit(&mut options);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let admin_address = admin.as_ref().map(|admin| admin.local_addr().unwrap());
        let listeners = Listeners { public: listener, admin };
        let served = gateway::serve(listeners, Arc::clone(&broker), options, async {
            let _ = stopped.await;
        });
        let serving = Some(runtime.spawn(served));
        Self {
            broker,
            address,
            admin_address,
            runtime,
            stop: Some(stop),
            serving,
            published: Mutex::default(),
            _folder: folder,
        }
    }

    /// Returns a client with the operators' key.
    pub(crate) fn admin(&self) -> Client {
        self.client_with(Some(ADMIN_KEY))
    }

    /// Returns a client with the first key.
    pub(crate) fn client(&self) -> Client {
        self.client_with(Some(KEY))
    }

    pub(crate) fn client_with(&self, key: Option<&str>) -> Client {
        Client::new(&format!("http://{}", self.address), key)
    }

    pub(crate) fn submit(&self, prompt: &str) -> TaskId {
        let reply = self.client().post("/generate", &json!({ "prompt": prompt }));
        assert_eq!(reply.status, 202, "{reply:?}");
        task_id(&reply.json())
    }

    /// Claims the next task.
    pub(crate) fn claim(&self) -> Claimed {
        let claimant = Claimant {
            worker: WorkerId::new(),
            models: vec![ModelId::new("demo")],
            lease: Duration::from_secs(30),
        };
        let claimed = self.wait(self.broker.claim(&claimant, Duration::from_secs(5)));
        claimed.unwrap().expect("a task waits")
    }

    /// Records the outcome of a task that [`Self::claim`] returned.
    pub(crate) fn finish(&self, claimed: &Claimed, outcome: &Outcome) {
        self.wait(self.broker.finish(&claimed.lease, outcome)).unwrap();
    }

    /// Publishes tokens of a task that [`Self::claim`] returned.
    pub(crate) fn publish(&self, claimed: &Claimed, chunks: &[&str]) {
        let chunks: Vec<Chunk> = chunks.iter().map(|chunk| (*chunk).into()).collect();
        let mut published = self.published.lock().unwrap();
        let from = published.entry(claimed.lease).or_default();
        self.wait(self.broker.publish(&claimed.lease, *from, &chunks)).unwrap();
        *from += chunks.len() as u64;
    }

    /// Releases a task that [`Self::claim`] returned as failed, to be retried at once.
    pub(crate) fn fail(&self, claimed: &Claimed) {
        let error = TaskError::new(ErrorType::OutOfMemory, "no memory");
        let release = Release::Failed { error, retry_in: Duration::ZERO };
        self.wait(self.broker.release(&claimed.lease, &release)).unwrap();
    }

    /// Registers a worker that serves one model.
    pub(crate) fn report(&self, model: &str, status: WorkerStatus) -> WorkerId {
        self.report_of(model, status, Vec::new())
    }

    /// Registers a worker that serves several models.
    pub(crate) fn report_of(
        &self,
        model: &str,
        status: WorkerStatus,
        models: Vec<ModelReport>,
    ) -> WorkerId {
        let report = WorkerReport {
            id: WorkerId::new(),
            host: "test".into(),
            pid: 1,
            version: "0".into(),
            model: ModelId::new(model),
            quantization: "Q4_K_M".into(),
            device: "cpu".into(),
            status,
            running: 0,
            capacity: 1,
            finished: 0,
            started_at: Timestamp::now(),
            reported_at: Some(Timestamp::now()),
            log_lines_lost: 3,
            models,
            gpus: vec![],
        };
        self.wait(self.broker.report_worker(&report, Duration::from_secs(60))).unwrap();
        report.id
    }

    /// Runs a future of the broker to completion.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Requests the gateway's shutdown.
    pub(crate) fn request_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until the gateway has stopped.
    pub(crate) fn stopped(&mut self) {
        let serving = self.serving.take().unwrap();
        let patience = Duration::from_secs(20);
        let ended = self.wait(async { tokio::time::timeout(patience, serving).await });
        ended.expect("it ends in time").unwrap().unwrap();
    }
}

fn open(folder: &std::path::Path) -> Arc<dyn Broker> {
    Arc::new(SqliteBroker::open(folder).unwrap())
}

pub(crate) fn task_id(reply: &Value) -> TaskId {
    reply["task_id"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn answer(text: &str) -> Outcome {
    Outcome::Completed(Completion::of_text(
        text,
        Usage { prompt_tokens: 12, completion_tokens: 34, cached_tokens: 8, ..Usage::default() },
    ))
}
