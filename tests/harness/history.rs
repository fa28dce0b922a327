//! Observations from outside the system, which [`crate::promise`] checks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// All observations. Instants are durations since the history began.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The ids of tasks that were accepted with 202.
    pub accepted: Vec<String>,
    /// Responses about tasks, in any order.
    pub sightings: Vec<Sighting>,
    /// The events of each task, from the first to the last.
    pub events: BTreeMap<String, Vec<TaskEvent>>,
    /// The lines of all `llm_requests.log` files.
    pub lines: Vec<LogLine>,
}

/// A response about a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// The task.
    pub task: String,
    /// When the request was sent.
    pub asked: Duration,
    /// When the response was received.
    pub answered: Duration,
    /// The content of the response.
    pub seen: Seen,
}

/// A task's state, as a response shows it.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Queued.
    Queued,
    /// Processing.
    Processing,
    /// Ended, with the body of its `/result`.
    Ended(Value),
    /// Unknown to the gateway.
    Unknown,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEvent {
    /// Its number.
    pub seq: u64,
    /// Its name, e.g. `started`.
    pub name: String,
    /// Its data.
    pub data: Value,
}

impl TaskEvent {
    /// Returns the attempt that the event belongs to, if any.
    pub fn attempt(&self) -> Option<u64> {
        self.data["attempt"].as_u64()
    }

    /// Returns when the event was recorded, in ms since the Unix epoch by the queue's clock.
    pub fn at(&self) -> Option<u64> {
        self.data["at"].as_u64()
    }

    /// Whether no event may follow it.
    pub fn is_last(&self) -> bool {
        matches!(self.name.as_str(), "completed" | "failed" | "cancelled")
    }
}

/// One line of `llm_requests.log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The task that ended.
    pub task: String,
    /// Its `status`: `success`, `error`, `cancelled`.
    pub status: String,
}

impl LogLine {
    /// Parses a log file. Ignores a last line that was cut off by a kill.
    pub fn read_all(log: &str) -> Vec<Self> {
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().filter_map(Self::read).collect()
    }

    fn read(line: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = line.split_once(&format!(" {name}="))?.1;
            value.split(' ').next().map(str::to_owned)
        };
        Some(Self { task: field("task_id")?, status: field("status")? })
    }
}
