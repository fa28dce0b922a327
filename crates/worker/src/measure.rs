//! What the worker measures: counts attempts where they begin and end, and reads the engines during a scrape.

use std::sync::Weak;
use std::time::{Duration, Instant};

use protocol::{ModelId, Outcome, Task};
use queue::Claimed;
use service::metrics::{Reading, Source, model, of_gpu, table};

use crate::Worker;
use crate::report::{gpu_report, hostname};

/// The end of an attempt whose task another attempt has, or will have.
pub(crate) const LOST: &str = "lost";

/// Counts the start of an attempt.
pub(crate) fn claimed(claimed: &Claimed) {
    let waited = claimed.started_at.seconds_since(claimed.submitted_at);
    table::QUEUE_WAIT.observe(&[label(claimed)], waited);
}

/// Counts the end of an attempt without an outcome.
pub(crate) fn ended(claimed: &Claimed, end: &str) {
    table::ATTEMPTS.count(&[label(claimed), end], 1);
}

/// Counts an outcome that was recorded, and its tokens.
pub(crate) fn finished(claimed: &Claimed, outcome: &Outcome) {
    ended(claimed, outcome.state().as_str());
    let usage = outcome.usage();
    for (kind, tokens) in [
        ("prompt", usage.prompt_tokens),
        ("cached", usage.cached_tokens),
        ("completion", usage.completion_tokens),
        ("reasoning", usage.reasoning_tokens),
    ] {
        table::TOKENS.count(&[label(claimed), kind], tokens.into());
    }
}

/// Counts an attempt that completed its task.
pub(crate) fn inference(claimed: &Claimed, quantization: &str, took: Duration) {
    table::INFERENCE_DURATION.observe(&[label(claimed), quantization], took.as_secs_f64());
}

/// Counts images and videos that were encoded for a prompt.
pub(crate) fn images_prepared(claimed: &Claimed, took: Duration) {
    table::IMAGE_PREPARATION.observe(&[label(claimed)], took.as_secs_f64());
}

/// Counts a search in the result cache.
pub(crate) fn searched(task: &Task, result: &str) {
    table::RESULT_CACHE_LOOKUPS.count(&[model(task.model.as_str()), result], 1);
}

/// Counts a load of a model.
pub(crate) fn loaded(id: &ModelId, took: Duration) {
    table::MODEL_LOAD_TIME.observe(&[model(id.as_str())], took.as_secs_f64());
}

fn label(claimed: &Claimed) -> &str {
    model(claimed.task.model.as_str())
}

/// The times at which an attempt's text arrives.
pub(crate) struct Pace {
    began: Instant,
    /// The times of the first and of the latest text.
    texts: Option<(Instant, Instant)>,
}

impl Pace {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, texts: None }
    }

    /// Notes that text arrives now.
    pub(crate) fn text(&mut self) {
        let now = Instant::now();
        self.texts.get_or_insert((now, now)).1 = now;
    }

    /// Counts a completed attempt with `tokens` in `answers`, which were generated side by side.
    pub(crate) fn completed(&self, claimed: &Claimed, tokens: u32, answers: usize) {
        let Some((first, latest)) = self.texts else { return };
        let model = label(claimed);
        table::FIRST_TOKEN.observe(&[model], (first - self.began).as_secs_f64());
        let gaps = f64::from(tokens) / answers.max(1) as f64 - 1.0;
        if gaps >= 1.0 {
            table::INTER_TOKEN.observe(&[model], (latest - first).as_secs_f64() / gaps);
        }
    }
}

/// Returns the source of the engines' metrics, which ends with the worker.
pub(crate) fn source(worker: Weak<Worker>) -> Source {
    std::sync::Arc::new(move || {
        let readings = worker.upgrade().map(|worker| read(&worker)).unwrap_or_default();
        Box::pin(std::future::ready(readings))
    })
}

fn read(worker: &Worker) -> Vec<Reading> {
    let mut readings = Vec::new();
    for served in worker.models.all() {
        let Some(engine) = served.engine() else { continue };
        let model = model(served.id.as_str());
        let (load, totals) = (engine.load(), engine.totals());
        let mut add = |of, value: f64| readings.push(Reading::new(of, [model], value));
        add(&table::ENGINE_STEPS, totals.computed_steps as f64);
        add(&table::ENGINE_BUSY, totals.step_time.as_secs_f64());
        add(&table::ENGINE_STEP_TOKENS, totals.step_tokens as f64);
        add(&table::ENGINE_RUNNING, load.running as f64);
        add(&table::ENGINE_WAITING, load.waiting as f64);
        add(&table::ENGINE_CAPACITY, load.capacity as f64);
        add(&table::ENGINE_COMPUTED, totals.computed_prompt_tokens as f64);
        add(&table::ENGINE_CACHED, totals.cached_prompt_tokens as f64);
        add(&table::ENGINE_PREEMPTIONS, totals.preemptions as f64);
        for (drafter, drafts) in [("lookup", totals.lookup_drafts), ("model", totals.model_drafts)]
        {
            for (metric, tokens) in [
                (&table::ENGINE_DRAFTED, drafts.drafted),
                (&table::ENGINE_ACCEPTED, drafts.accepted),
            ] {
                readings.push(Reading::new(metric, [model, drafter], tokens as f64));
            }
        }
        // Pages may change hands between the readings.
        let blank = load.total_pages.saturating_sub(load.held_pages + load.cached_pages);
        for (state, pages) in
            [("held", load.held_pages), ("cached", load.cached_pages), ("blank", blank)]
        {
            readings.push(Reading::new(&table::ENGINE_KV_PAGES, [model, state], pages as f64));
        }
        if let Some((encoded, found)) = engine.images() {
            for (source, count) in [("encoded", encoded), ("cache", found)] {
                readings.push(Reading::new(&table::ENGINE_IMAGES, [model, source], count as f64));
            }
        }
    }
    let gpus = worker.models.gpus();
    let host = if gpus.is_empty() { String::new() } else { hostname() };
    readings.extend(gpus.into_iter().flat_map(|gpu| of_gpu(&host, &gpu_report(gpu))));
    readings
}
