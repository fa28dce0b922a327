//! [`Registry`]: the live workers and the models that they serve, read at most about once a second
//! for any number of requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ModelId, VisionFamily, WorkerReport};
use queue::{Broker, BrokerError};
use tokio::sync::Mutex;

use crate::patience::ask;
use crate::refusal::Refusal;

/// A cache of the queue's list of workers.
///
/// [`Registry::workers`] returns a list that is at most [`crate::Options::registry_age`] old (1 s),
/// plus the time that reading it took. Nothing is read while nobody asks. Requests that need a new
/// list at the same time share one read; each waits for it at most for the broker's timeout. If the
/// read fails, they get its error, never an old list.
pub(crate) struct Registry {
    broker: Arc<dyn Broker>,
    /// Maximum age of a list that is used again.
    age: Duration,
    /// Maximum wait for a list.
    patience: Duration,
    /// The latest list.
    latest: Mutex<Option<Read>>,
}

struct Read {
    /// The time when the read began.
    began: Instant,
    workers: Arc<[WorkerReport]>,
}

impl Registry {
    /// Creates an empty cache.
    pub(crate) fn new(broker: Arc<dyn Broker>, age: Duration, patience: Duration) -> Self {
        Self { broker, age, patience, latest: Mutex::new(None) }
    }

    /// Returns the live workers, as of about a second ago or later.
    pub(crate) async fn workers(&self) -> Result<Arc<[WorkerReport]>, Refusal> {
        ask(self.patience, self.try_workers()).await
    }

    /// Like [`Self::workers`], without the timeout: for callers that have one of their own.
    pub(crate) async fn try_workers(&self) -> Result<Arc<[WorkerReport]>, BrokerError> {
        let now = Instant::now();
        self.read_since(now.checked_sub(self.age).unwrap_or(now)).await
    }

    /// Returns the models of live workers, loaded or not. A model that is not among those of
    /// [`Self::workers`] is looked for once more in a list that is read now, so that a model is
    /// known as soon as its worker has reported.
    pub(crate) async fn models_with(&self, wanted: &ModelId) -> Result<Vec<ModelId>, Refusal> {
        let known = models(&self.workers().await?);
        if known.contains(wanted) {
            return Ok(known);
        }
        Ok(models(&ask(self.patience, self.read_since(Instant::now())).await?))
    }

    /// Returns whether a model may take images: `false` only if all workers that serve it report that it does not.
    pub(crate) async fn may_take_images(&self, model: &ModelId) -> Result<bool, Refusal> {
        let workers = self.workers().await?;
        Ok(takes_images(&workers, model) != Some(false))
    }

    /// Returns the family by which a model sees; that of the newest models if no worker has reported it.
    pub(crate) async fn family(&self, model: &ModelId) -> Result<VisionFamily, Refusal> {
        let workers = self.workers().await?;
        let mut served = workers.iter().flat_map(|worker| &worker.models);
        let known = served.find_map(|served| served.family.filter(|_| served.model == *model));
        Ok(known.unwrap_or(VisionFamily::Qwen3Vl))
    }

    /// Returns a list whose read began at `since` or later.
    async fn read_since(&self, since: Instant) -> Result<Arc<[WorkerReport]>, BrokerError> {
        // Held during the read, so that others wait for its result instead of reading too.
        let mut latest = self.latest.lock().await;
        if let Some(read) = latest.as_ref().filter(|read| read.began >= since) {
            return Ok(Arc::clone(&read.workers));
        }
        let began = Instant::now();
        let workers: Arc<[WorkerReport]> = self.broker.workers().await?.into();
        *latest = Some(Read { began, workers: Arc::clone(&workers) });
        Ok(workers)
    }
}

/// Returns whether a model takes images, by the workers that serve it: `None` if it is not known.
pub(crate) fn takes_images(workers: &[WorkerReport], model: &ModelId) -> Option<bool> {
    let serving = workers.iter().filter(|worker| worker.serves().any(|served| served == model));
    let reports = serving.map(|worker| {
        let mut models = worker.models.iter().filter(|served| served.model == *model);
        models.next().and_then(|served| served.images)
    });
    let reports: Vec<Option<bool>> = reports.collect();
    let all_refuse = !reports.is_empty() && reports.iter().all(|takes| *takes == Some(false));
    match reports.contains(&Some(true)) {
        true => Some(true),
        // A worker that has not loaded it yet may take them.
        false => all_refuse.then_some(false),
    }
}

/// Returns the models that these workers serve, each once.
fn models(workers: &[WorkerReport]) -> Vec<ModelId> {
    let mut models: Vec<ModelId> = workers.iter().flat_map(WorkerReport::serves).cloned().collect();
    models.sort();
    models.dedup();
    models
}
