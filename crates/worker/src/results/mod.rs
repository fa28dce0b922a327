//! The result cache: answers of deterministic tasks, for later tasks of the same tenant that ask for the same. Only a
//! worker knows exactly which model it runs, so it searches the cache after the claim, and everything that the queue
//! does for a task stays as it is.
//!
//! | module   | what it does |
//! |----------|--------------|
//! | `key`    | hashes all that determines an answer; pure |
//! | `stored` | the stored form of answers |

mod key;
mod stored;

use std::collections::HashMap;
use std::time::Duration;

use engine::Engine;
use protocol::{Reuse, Task, record};
use queue::{BrokerError, ContentHash};

use self::key::Setting;
pub(crate) use self::stored::{StoredAnswer, StoredAnswers};
use crate::{Worker, measure};

/// Maximum time to search or to store. An answer may be computed as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// The result of a search.
pub(crate) enum Searched {
    /// The answers that are stored.
    Found(Box<StoredAnswers>),
    /// There are none; where the computed ones are to be stored.
    Nothing(Slot),
}

/// The place of a task's answers in the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot(ContentHash);

/// Searches for the answers to a task. `None` if they are not to be cached: the cache is off, the request declines it,
/// the answers are not determined by the request, or the cache can't be asked now.
pub(crate) async fn search(
    worker: &Worker,
    engine: &Engine,
    task: &Task,
    adapter: Option<&str>,
) -> Option<Searched> {
    worker.options.results?;
    if task.reuse == Reuse::Off || !is_deterministic(task, engine) {
        return None;
    }
    let identity = worker.models.identity(&task.model)?;
    let asked = async {
        let visuals = match task.prompt.visuals().is_empty() {
            true => HashMap::new(),
            false => worker.visuals.hashes(task).await?,
        };
        let (info, images) = (engine.info(), worker.models.image_tokens(&task.model));
        let setting = Setting {
            files: identity.hashes()?,
            adapter,
            recommended: engine.sampling_defaults(),
            loaded: (info.quantization.as_str(), info.context_length, images.0, images.1),
        };
        let key = key::of(task, setting, &visuals)?;
        let found = match task.reuse {
            Reuse::Refresh => Ok(None),
            _ => worker.broker.cached_result(&task.tenant, key).await,
        };
        Some((key, found))
    };
    let (key, found) = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Some((key, Ok(found)))) => (key, found),
        Ok(Some((_, Err(error)))) => return not_asked(task, &error),
        Ok(None) => return None,
        Err(_) => return not_asked(task, &silent()),
    };
    // What another version wrote is not there.
    let found = found.and_then(|text| record::decode::<StoredAnswers>(&text).ok());
    let found = found.filter(|found| found.answers.len() == usize::from(task.choices()));
    measure::searched(task, if found.is_some() { "hit" } else { "miss" });
    Some(match found {
        Some(found) => Searched::Found(Box::new(found)),
        None => Searched::Nothing(Slot(key)),
    })
}

/// Stores the answers to a task. An error is logged only, since nothing depends on it.
pub(crate) async fn store(worker: &Worker, task: &Task, slot: Slot, answers: &StoredAnswers) {
    let Some(options) = worker.options.results else { return };
    let Ok(text) = record::encode(answers) else { return };
    let stored =
        worker.broker.cache_result(&task.tenant, slot.0, &text, options.ttl, options.max_bytes);
    let stored = tokio::time::timeout(PATIENCE, stored).await.unwrap_or_else(|_| Err(silent()));
    if let Err(error) = stored {
        tracing::debug!(target: "worker.results", task_id = %task.id, "the answer is not cached: {error}");
    }
}

/// Whether the same request gets the same answer: its tokens are the likeliest ones, or it names the seed.
fn is_deterministic(task: &Task, engine: &Engine) -> bool {
    let temperature = task.sampling.resolved(engine.sampling_defaults()).temperature;
    task.sampling.seed.is_some() || temperature == Some(0.0)
}

fn not_asked(task: &Task, error: &BrokerError) -> Option<Searched> {
    measure::searched(task, "error");
    tracing::debug!(target: "worker.results", task_id = %task.id, "the result cache can't be asked: {error}");
    None
}

fn silent() -> BrokerError {
    BrokerError::Unavailable { reason: "the result cache does not answer".into() }
}
