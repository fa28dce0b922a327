//! Sends requests as they become due, and waits for the ends of their tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::requests::Requests;
use super::schedule::{Loop, Schedule};
use crate::client::{Client, ClientError};

/// The pause of a client whose request failed, so that a server that refuses at once is not flooded.
const PAUSE: Duration = Duration::from_millis(100);
/// The stack of a thread, of which there is one per request in flight.
const STACK: usize = 512 << 10;

/// A request and what came of it. All times are since the beginning.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// When it was due.
    pub(super) due: Duration,
    /// When it was accepted or refused.
    pub(super) accepted: Duration,
    /// When its task's end was known.
    pub(super) ended: Duration,
    pub(super) outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// The task completed.
    Completed {
        /// Seconds in the queue, as the gateway says.
        wait_s: f64,
        /// Seconds of computing, as the gateway says.
        processing_s: f64,
        /// Tokens of the answer.
        tokens: u64,
    },
    /// The request was refused, the task failed, or there was no answer.
    Failed {
        /// A status, a kind of error, or `no answer`.
        kind: String,
        message: String,
    },
}

/// Runs a load to its end.
pub(super) fn drive(
    client: &Client,
    requests: &Requests,
    schedule: &Schedule,
    threads: usize,
) -> Vec<Sample> {
    let (begun, next, samples) = (Instant::now(), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let number = || next.fetch_add(1, Ordering::Relaxed);
    // Returns whether the request failed.
    let ask = |number: usize, due: Duration| {
        let sample = ask(client, &requests.body(number), due, begun);
        let is_failed = matches!(sample.outcome, Outcome::Failed { .. });
        samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        is_failed
    };
    let work = |thread: usize| match schedule.kind {
        Loop::Open { .. } => loop {
            let number = number();
            let due = schedule.due(number);
            if due >= schedule.end() {
                return;
            }
            thread::sleep(due.saturating_sub(begun.elapsed()));
            ask(number, due);
        },
        Loop::Closed { .. } => {
            thread::sleep(schedule.due(thread).saturating_sub(begun.elapsed()));
            while begun.elapsed() < schedule.end() {
                if ask(number(), begun.elapsed()) {
                    thread::sleep(PAUSE);
                }
            }
        }
    };
    let work = &work;
    thread::scope(|scope| {
        for number in 0..threads {
            let builder = thread::Builder::new().stack_size(STACK);
            // With fewer threads than wanted, requests wait longer, which the figures show.
            if let Err(error) = builder.spawn_scoped(scope, move || work(number)) {
                tracing::warn!("only {number} of {threads} requests at once: {error}");
                break;
            }
        }
    });
    samples.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn ask(client: &Client, body: &Value, due: Duration, begun: Instant) -> Sample {
    let accepted = client.post("/generate", body);
    let accepted_at = begun.elapsed();
    let result = accepted.and_then(|accepted| {
        let task_id = accepted["task_id"].as_str().unwrap_or_default();
        client.wait_for_result(task_id)
    });
    let outcome = result.map_or_else(|error| failed(&error), |result| outcome(&result));
    Sample { due, accepted: accepted_at, ended: begun.elapsed(), outcome }
}

fn outcome(result: &Value) -> Outcome {
    if result["status"] == "completed" {
        let metrics = &result["metrics"];
        let seconds = |name: &str| metrics[name].as_f64().unwrap_or_default();
        return Outcome::Completed {
            wait_s: seconds("queue_wait_time"),
            processing_s: seconds("processing_time"),
            tokens: metrics["completion_tokens"].as_u64().unwrap_or_default(),
        };
    }
    let text = |name: &str| result[name].as_str().map(str::to_owned);
    let kind = text("error_type").or_else(|| text("status"));
    Outcome::Failed {
        kind: kind.unwrap_or_else(|| "unknown".to_owned()),
        message: text("error_message").unwrap_or_default(),
    }
}

fn failed(error: &ClientError) -> Outcome {
    let kind = match error {
        ClientError::Refused { status, .. } => status.to_string(),
        ClientError::Unreachable { .. } => "no answer".to_owned(),
        ClientError::Unreadable { .. } | ClientError::Proxy(_) => "unreadable".to_owned(),
    };
    Outcome::Failed { kind, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_and_failures_are_told_apart() {
        let metrics =
            json!({"queue_wait_time": 0.5, "processing_time": 2.0, "completion_tokens": 7});
        let completed = outcome(&json!({"status": "completed", "metrics": metrics}));
        assert_eq!(completed, Outcome::Completed { wait_s: 0.5, processing_s: 2.0, tokens: 7 });
        let failed =
            json!({"status": "error", "error_type": "expired", "error_message": "too late"});
        let expected = Outcome::Failed { kind: "expired".into(), message: "too late".into() };
        assert_eq!(outcome(&failed), expected);
        let cancelled = outcome(&json!({"status": "cancelled"}));
        assert!(matches!(cancelled, Outcome::Failed { kind, .. } if kind == "cancelled"));
    }
}
