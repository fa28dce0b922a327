//! Reads the queue and the workers during a scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use protocol::{Lane, WorkerReport, WorkerStatus};
use queue::{BrokerError, Overview, ResultCacheSize};
use service::metrics::{Definition, OTHER, Reading, Source, model, of_gpu, table};
use tokio::sync::Mutex;

use crate::state::State;

/// The age up to which readings are used again.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Maximum wait for the queue.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns the source of the queue's metrics, which ends with the gateway's state. Scrapes at the same time share one
/// read.
pub(crate) fn source(state: Weak<State>) -> Source {
    let latest = Arc::new(Mutex::new(None::<(Instant, Vec<Reading>)>));
    Arc::new(move || {
        let (state, latest) = (state.clone(), Arc::clone(&latest));
        Box::pin(async move {
            let Some(state) = state.upgrade() else { return Vec::new() };
            let mut latest = latest.lock().await;
            if let Some((at, readings)) = &*latest
                && at.elapsed() < MAX_AGE
            {
                return readings.clone();
            }
            let readings = read(&state).await;
            *latest = Some((Instant::now(), readings.clone()));
            readings
        })
    })
}

async fn read(state: &State) -> Vec<Reading> {
    match Queues::read(state).await {
        Some(queues) => readings(&queues),
        None => vec![Reading::new(&table::QUEUE_UP, [], 0.0)],
    }
}

/// The queues and the workers at one time.
pub(super) struct Queues {
    pub(super) overview: Overview,
    pub(super) workers: Arc<[WorkerReport]>,
    /// The size of the result cache, if it is on.
    results: Option<ResultCacheSize>,
    /// The models that are configured or served.
    known: BTreeSet<String>,
}

impl Queues {
    /// Reads them. `None` if the queue does not answer in time.
    pub(super) async fn read(state: &State) -> Option<Self> {
        let asked = async {
            let overview = state.broker.overview().await?;
            let results = match state.options.result_cache {
                true => Some(state.broker.result_cache_size().await?),
                false => None,
            };
            Ok::<_, BrokerError>((overview, results, state.registry.try_workers().await?))
        };
        let (overview, results, workers) = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                tracing::debug!(target: "gateway.metrics", "the queue can't be read: {error}");
                return None;
            }
            Err(_) => return None,
        };
        let options = &state.options;
        let configured = std::iter::once(&options.default_model).chain(&options.known_models);
        let served = workers.iter().flat_map(WorkerReport::serves);
        let known = configured.chain(served).map(|model| model.as_str().to_owned()).collect();
        Some(Self { overview, workers, results, known })
    }

    /// Returns a model's label: its name, or [`OTHER`] for models that nobody serves, whose number has no bound.
    pub(super) fn label<'a>(&self, name: &'a str) -> &'a str {
        if self.known.contains(name) { model(name) } else { OTHER }
    }
}

/// Returns the readings. Models that are not known are summed up in one label.
fn readings(queues: &Queues) -> Vec<Reading> {
    let Queues { overview, workers, results, .. } = queues;
    let mut sums = Sums::default();
    sums.add(&table::QUEUE_UP, [], 1.0);
    sums.add(&table::QUEUED_BYTES, [], overview.queued_bytes as f64);
    sums.add(&table::DEAD_LETTERS, [], overview.dead_letters as f64);
    sums.add(&table::WEBHOOKS_PENDING, [], overview.webhooks_pending as f64);
    if let Some(ResultCacheSize { entries, bytes }) = results {
        sums.add(&table::RESULT_CACHE_ENTRIES, [], *entries as f64);
        sums.add(&table::RESULT_CACHE_BYTES, [], *bytes as f64);
    }
    for queue in &overview.queues {
        let model = queues.label(queue.model.as_str());
        for (lane, count) in Lane::ALL.into_iter().zip(queue.queued) {
            sums.add(&table::QUEUE_LENGTH, [model, lane.as_str()], count as f64);
        }
        sums.add(&table::TASKS_DELAYED, [model], queue.delayed as f64);
        sums.add(&table::TASKS_RUNNING, [model], queue.processing as f64);
        sums.add(&table::TASK_CAPACITY, [model], queue.capacity as f64);
        if model != OTHER {
            sums.add(&table::QUEUE_PAUSED, [model], f64::from(u8::from(queue.paused)));
        }
        let ended = [
            ("completed", queue.completed),
            ("failed", queue.failed),
            ("cancelled", queue.cancelled),
        ];
        for (outcome, count) in ended {
            sums.add(&table::TASKS_ENDED, [model, outcome], count as f64);
        }
    }
    for worker in workers.iter() {
        let of_all = match worker.status {
            WorkerStatus::Draining => Some(WorkerStatus::Draining.as_str()),
            _ => worker.is_deaf().then_some("deaf"),
        };
        let mut add = |name: &str, state: &str| {
            let state = of_all.unwrap_or(state);
            sums.add(&table::WORKERS, [queues.label(name), state], 1.0);
        };
        for served in &worker.models {
            add(served.model.as_str(), served.state.as_str());
        }
        if worker.models.is_empty() {
            let loading = worker.status == WorkerStatus::Loading;
            add(worker.model.as_str(), if loading { "loading" } else { "loaded" });
        }
    }
    let mut readings = sums.into_readings();
    for worker in workers.iter() {
        // Several workers of a machine may report the same GPU: the last reading stays.
        readings.extend(worker.gpus.iter().flat_map(|gpu| of_gpu(&worker.host, gpu)));
    }
    readings
}

/// Sums readings with the same labels.
#[derive(Default)]
struct Sums(BTreeMap<(&'static str, Vec<String>), (&'static Definition, f64)>);

impl Sums {
    fn add<const N: usize>(&mut self, of: &'static Definition, labels: [&str; N], value: f64) {
        let key = (of.name, labels.map(str::to_owned).into());
        self.0.entry(key).or_insert((of, 0.0)).1 += value;
    }

    fn into_readings(self) -> Vec<Reading> {
        let each = self.0.into_iter();
        each.map(|((_, labels), (of, value))| Reading { of, labels, value }).collect()
    }
}
