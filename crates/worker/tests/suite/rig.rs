//! A worker on a queue in a folder of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chat::{Embedding, Sampling};
use engine::synth::{SynthOptions, SynthQuant, synthesize};
use protocol::{
    Completion, EventBody, EventSeq, ModelId, Outcome, PixelLimits, Prompt, Task, TaskError,
    TaskId, TaskKind, TenantId,
};
use queue::{Broker, SqliteBroker, SubmitOptions};
use service::logs::Logs;
use service::settings::{Settings, Sources};
use service::shutdown::CancellationToken;
use worker::{Models, Options, Worker};

/// Longer than any task of these tests takes.
const LONG: Duration = Duration::from_secs(60);

/// A running worker, stopped when this is dropped.
pub(crate) struct Rig {
    pub(crate) broker: Arc<dyn Broker>,
    model: ModelId,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

/// Returns the path of a model of the engine's tests.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures").join(name)
}

/// Returns the path of a model with random weights, slow enough that tests can interrupt an answer. It is made
/// once per build folder.
pub(crate) fn slow() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("slow.gguf");
    if !path.exists() {
        // Tests run concurrently: each may make the file; the last rename wins.
        let output = path.with_file_name(format!("slow-{}.gguf", std::process::id()));
        let (shape, quant) = ("tiny".parse().unwrap(), SynthQuant::Q8_0);
        let options = SynthOptions { shape, quant, seed: 1, output: output.clone() };
        synthesize(&options, |_, _| ()).unwrap();
        std::fs::rename(output, &path).unwrap();
    }
    path
}

impl Rig {
    /// Starts a worker that serves a model of the engine's tests.
    pub(crate) async fn start(model: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_with(fixture(model), settings).await
    }

    /// Starts a worker that serves the model in this file.
    pub(crate) async fn start_with(model: PathBuf, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).into_os_string();
        let mut environment = vec![
            ("MODEL_NAME".into(), model.into_os_string()),
            ("DATA_DIR".into(), path("data")),
            ("LOG_DIR".into(), path("logs")),
            ("MODEL_DEVICE".into(), "cpu".into()),
            ("MAX_BATCH_SIZE".into(), "4".into()),
            ("KV_TOKENS".into(), "4096".into()),
        ];
        environment.extend(settings.iter().map(|(name, value)| (name.into(), value.into())));
        let sources = Sources { environment, dotenv: path(".env").into(), ..Sources::default() };
        let settings = Settings::load_from(&sources).unwrap();
        std::fs::create_dir_all(&settings.data_dir).unwrap();
        // A process has one logger, which outlives the rig that started it.
        static LOGS: OnceLock<Mutex<Logs>> = OnceLock::new();
        let logs = LOGS.get_or_init(|| Mutex::new(Logs::start(&settings).unwrap()));
        let log = logs.lock().unwrap().tasks();
        let (data, model) = (settings.data_dir.clone(), settings.model_id());
        let options = Options::from(&settings);
        let open = move || (SqliteBroker::open(data).unwrap(), Models::open(&settings).unwrap());
        let (broker, models) = tokio::task::spawn_blocking(open).await.unwrap();
        let broker: Arc<dyn Broker> = Arc::new(broker);
        let stop = CancellationToken::new();
        tokio::spawn(Worker::new(broker.clone(), models, options, log).run(stop.clone()));
        Self { broker, model, stop, _folder: folder }
    }

    /// Returns a greedy task of the served model.
    pub(crate) fn task(&self, prompt: Prompt, max_tokens: u32) -> Task {
        Task {
            id: TaskId::new(),
            tenant: TenantId::new("tenant"),
            model: self.model.clone(),
            lane: Default::default(),
            kind: TaskKind::Generate,
            prompt,
            pixels: PixelLimits::default(),
            n: 1,
            max_tokens,
            stop: vec![],
            sampling: Sampling::greedy(),
            form: Default::default(),
            time_limit_s: 60,
            result_ttl_s: 60,
            max_attempts: 1,
            retry_backoff_s: None,
            user_id: None,
            metadata: Default::default(),
            webhook: None,
            skill: None,
            reuse: Default::default(),
            trace: None,
        }
    }

    /// Returns a task for the embeddings of these inputs.
    pub(crate) fn embedding(&self, inputs: Vec<Prompt>, dimensions: Option<u32>) -> Task {
        let kind = TaskKind::Embed { inputs, dimensions };
        Task { kind, ..self.task(Prompt::default(), 0) }
    }

    /// Submits a task.
    pub(crate) async fn submit(&self, task: &Task) -> TaskId {
        self.broker.submit(task, &SubmitOptions::PLAIN).await.unwrap();
        task.id
    }

    /// Waits for a task's outcome.
    pub(crate) async fn outcome(&self, id: TaskId) -> Outcome {
        let mut watch = self.broker.watch(id);
        let ended = async {
            loop {
                let snapshot = self.broker.snapshot(id).await.unwrap().unwrap();
                if let Some(outcome) = snapshot.outcome {
                    return outcome;
                }
                let _ = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
            }
        };
        tokio::time::timeout(LONG, ended).await.unwrap()
    }

    /// Waits until text of a task is published.
    pub(crate) async fn wait_for_text(&self, id: TaskId) {
        let is_text = |event: &EventBody| matches!(event, EventBody::Token { .. });
        while !self.events(id).await.iter().any(is_text) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks the worker to stop: it drains.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Runs a task, which must complete.
    pub(crate) async fn complete(&self, task: &Task) -> Completion {
        match self.outcome(self.submit(task).await).await {
            Outcome::Completed(completion) => completion,
            other => panic!("{other:?}"),
        }
    }

    /// Runs a task, which must fail.
    pub(crate) async fn fail(&self, task: &Task) -> TaskError {
        match self.outcome(self.submit(task).await).await {
            Outcome::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the vectors of the embeddings of these inputs.
    pub(crate) async fn vectors(
        &self,
        inputs: Vec<Prompt>,
        dimensions: Option<u32>,
    ) -> Vec<Vec<f32>> {
        let completion = self.complete(&self.embedding(inputs, dimensions)).await;
        completion.embeddings.into_iter().map(|Embedding(vector)| vector).collect()
    }

    /// Returns the task's events.
    pub(crate) async fn events(&self, id: TaskId) -> Vec<EventBody> {
        let events = self.broker.events(id, EventSeq::new(0), 10_000).await.unwrap();
        events.into_iter().map(|event| event.body).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
