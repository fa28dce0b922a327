//! Formats queues, batches and workers cell by cell, both for tables and for `top`. The most important
//! columns come first, because a narrow terminal shows only as many as fit.

use crate::client::admin::{Batch, Queue, Worker};
use crate::table::{Align, Column};
use crate::text::{between, dash, printable, span};

use Align::{Left, Right};

/// The columns of a queue.
pub(crate) const QUEUE: [Column; 13] = [
    ("model", Left),
    ("state", Left),
    ("high", Right),
    ("normal", Right),
    ("low", Right),
    ("batch", Right),
    ("delayed", Right),
    ("running", Right),
    ("tasks/s", Right),
    ("avg", Right),
    ("failed", Right),
    ("completed", Right),
    ("cancelled", Right),
];

/// The columns of a worker.
pub(crate) const WORKER: [Column; 11] = [
    ("worker", Left),
    ("status", Left),
    ("running", Right),
    ("host", Left),
    ("device", Left),
    ("model", Left),
    ("quant", Left),
    ("finished", Right),
    ("seen", Right),
    ("age", Right),
    ("version", Left),
];

/// The columns of a batch.
pub(crate) const BATCH: [Column; 7] = [
    ("batch", Left),
    ("state", Left),
    ("done", Right),
    ("failed", Right),
    ("age", Right),
    ("left", Right),
    ("endpoint", Left),
];

/// The displayed part of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    /// The whole id.
    Whole,
    /// Its first eight characters, enough for `qwen-queue drain`.
    Short,
}

/// Returns the cells of a queue. `rate` is its throughput in tasks per second, if measured.
pub(crate) fn queue(queue: &Queue, rate: Option<f64>) -> [String; QUEUE.len()] {
    let lanes = queue.queued;
    [
        printable(&queue.model),
        state(queue).to_owned(),
        lanes.high.to_string(),
        lanes.normal.to_string(),
        lanes.low.to_string(),
        lanes.batch.to_string(),
        queue.delayed.to_string(),
        format!("{}/{}", queue.processing, queue.capacity),
        rate.map_or_else(dash, |rate| format!("{rate:.2}")),
        queue.service_seconds.filter(|s| *s > 0.0).map_or_else(dash, span),
        queue.failed.to_string(),
        queue.completed.to_string(),
        queue.cancelled.to_string(),
    ]
}

/// Returns the state of a queue as one word.
pub(crate) fn state(queue: &Queue) -> &'static str {
    match queue {
        Queue { paused: true, .. } => "paused",
        Queue { capacity: 0, processing: 0, .. } => "no worker",
        Queue { processing: 0, .. } => "idle",
        _ => "running",
    }
}

/// Returns the cells of a batch at time `now_ms` of the queue's clock.
pub(crate) fn batch(batch: &Batch, now_ms: u64) -> [String; BATCH.len()] {
    let left = sent(batch.expires_at).map(|at| at.saturating_sub(now_ms) as f64 / 1000.0);
    [
        printable(&batch.batch_id),
        printable(&batch.status),
        format!("{}/{}", batch.completed + batch.failed, batch.total),
        batch.failed.to_string(),
        between(sent(batch.created_at), now_ms),
        left.map_or_else(dash, span),
        printable(&batch.endpoint),
    ]
}

/// Returns the cells of a worker at time `now_ms` of the queue's clock.
pub(crate) fn worker(worker: &Worker, now_ms: u64, id: Id) -> [String; WORKER.len()] {
    let shown = match id {
        Id::Whole => printable(&worker.id),
        Id::Short => printable(&worker.id.chars().take(8).collect::<String>()),
    };
    [
        shown,
        if worker.deaf { "deaf".to_owned() } else { printable(&worker.status) },
        format!("{}/{}", worker.running, worker.capacity),
        format!("{}:{}", printable(&worker.host), worker.pid),
        printable(&worker.device),
        printable(&models(worker)),
        printable(&worker.quantization),
        worker.finished.to_string(),
        between(worker.last_seen, now_ms),
        between(sent(worker.started_at), now_ms),
        printable(&worker.version),
    ]
}

/// Returns a time, or `None` if an older gateway did not send it.
fn sent(at: u64) -> Option<u64> {
    (at > 0).then_some(at)
}

/// Lists the models that a worker serves. If there are several, marks those that are not in memory.
fn models(worker: &Worker) -> String {
    match worker.models.as_slice() {
        [] | [_] => worker.model.clone(),
        several => {
            let told = several.iter().map(|served| match &*served.state {
                "loaded" => served.model.clone(),
                state => format!("{} ({state})", served.model),
            });
            told.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::admin::Served;

    #[test]
    fn queue_has_exactly_one_state() {
        let mut shown = Queue { capacity: 2, ..Queue::default() };
        assert_eq!(state(&shown), "idle");
        shown.processing = 1;
        assert_eq!(state(&shown), "running");
        shown.paused = true;
        assert_eq!(state(&shown), "paused");
        assert_eq!(state(&Queue::default()), "no worker");
    }

    #[test]
    fn unloaded_models_of_a_worker_are_marked() {
        let served = |model: &str, state: &str| Served {
            model: model.into(),
            state: state.into(),
            ..Served::default()
        };
        let mut shown = Worker { model: "a".into(), ..Worker::default() };
        assert_eq!(models(&shown), "a");
        shown.models = vec![served("a", "unloaded")];
        assert_eq!(models(&shown), "a", "a worker's only model needs no word of its own");
        shown.models = vec![served("a", "loaded"), served("b", "unloaded")];
        assert_eq!(models(&shown), "a, b (unloaded)");
    }

    #[test]
    fn control_characters_in_worker_names_are_escaped() {
        let evil =
            Worker { host: "\u{1b}[2J".into(), id: "\u{7}2345678-9".into(), ..Worker::default() };
        let cells = worker(&evil, 0, Id::Short);
        assert!(cells.iter().all(|cell| !cell.contains(char::is_control)), "{cells:?}");
        assert_eq!(cells[0], "\\u00072345678");
    }
}
