//! Helpers of the fault tests: request bodies, observing outcomes, and the final check.
#![allow(clippy::print_stdout)] // what was measured belongs to a test's output

use std::time::{Duration, Instant};

use harness::client::{Answer, Client};
use harness::history::{History, Seen, Sighting, TaskEvent};
use harness::promise::violations;
use harness::system::System;
use harness::wait_for;
use serde_json::{Value, json};

/// Long enough for anything to end on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// A body for a model with random weights, which generates until `max_tokens`.
pub(crate) fn long(max_tokens: u32) -> Value {
    json!({"prompt": "count", "raw": true, "max_tokens": max_tokens, "temperature": 0.0})
}

/// A body that the demo model answers quickly.
pub(crate) fn short(n: usize) -> Value {
    json!({"prompt": format!("What is a lease? ({n})"), "temperature": 0.0, "max_tokens": 24})
}

/// Records a history while a test runs.
pub(crate) struct Witness {
    began: Instant,
    pub(crate) history: History,
}

impl Witness {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), history: History::default() }
    }

    /// Creates another recorder with the same clock, for another client.
    pub(crate) fn another(&self) -> Self {
        Self { began: self.began, history: History::default() }
    }

    /// Adds the observations of `other`, which has the same clock.
    pub(crate) fn merge_history(&mut self, other: Self) {
        self.history.accepted.extend(other.history.accepted);
        self.history.sightings.extend(other.history.sightings);
    }

    /// Returns the time since the history began.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Submits a task and records that it was accepted.
    pub(crate) fn submit(&mut self, client: &Client, body: &Value) -> String {
        let task = client.submit(body);
        self.history.accepted.push(task.clone());
        task
    }

    /// Requests a task's result and records the response. Returns whether the task has ended. No
    /// response, or one that only asks for a retry, does not show the state of the task.
    pub(crate) fn look(&mut self, client: &Client, task: &str) -> bool {
        let asked = self.now();
        let answer = client.try_get(&format!("/result/{task}"));
        let Some(seen) = answer.as_ref().and_then(seen) else { return false };
        let ended = matches!(seen, Seen::Ended(_));
        let answered = self.now();
        self.history.sightings.push(Sighting { task: task.to_owned(), asked, answered, seen });
        ended
    }

    /// Waits until every accepted task has ended.
    ///
    /// # Panics
    /// If `limit` passes.
    pub(crate) fn wait_for_all(&mut self, client: &Client, limit: Duration) {
        let mut open = self.history.accepted.clone();
        let what = format!("the outcomes of {} tasks", open.len());
        wait_for(&what, limit, || {
            open.retain(|task| !self.look(client, task));
            open.is_empty().then_some(())
        });
    }

    /// Waits for all outcomes, checks the history and returns it. `excused` log lines may be
    /// missing.
    ///
    /// # Panics
    /// If a task does not end, or the promise is violated.
    pub(crate) fn judge(mut self, system: &System, excused: usize) -> History {
        self.wait_for_all(&system.client, LONG);
        system.collect(&mut self.history);
        let found = violations(&self.history, excused);
        for task in self.history.accepted.iter().filter(|t| format!("{found:?}").contains(&***t)) {
            println!("{task}: {:#?}", self.history.events.get(task));
        }
        assert!(found.is_empty(), "{found:#?}");
        self.history
    }
}

/// Returns the state that a response from `/result` shows.
fn seen(answer: &Answer) -> Option<Seen> {
    match (answer.status, answer.body["status"].as_str()) {
        (200, _) => Some(Seen::Ended(answer.body.clone())),
        (202, Some("queued")) => Some(Seen::Queued),
        (202, Some("processing")) => Some(Seen::Processing),
        (404 | 410, _) => Some(Seen::Unknown),
        (429 | 503, _) => None,
        other => panic!("unexpected response, {other:?}: {answer:?}"),
    }
}

/// Returns how many attempts a task had.
pub(crate) fn attempts(events: &[TaskEvent]) -> usize {
    events.iter().filter(|event| event.name == "started").count()
}

/// Prints a measured recovery time and checks that it is within two leases.
pub(crate) fn check_recovery(what: &str, took: Duration, lease: Duration) {
    println!("{what}: recovered after {:.2} s, the lease is {lease:?}", took.as_secs_f64());
    assert!(took <= 2 * lease, "{what}: {took:?} is more than two leases of {lease:?}");
}
