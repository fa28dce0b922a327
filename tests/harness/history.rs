//! What happened, as it was seen from outside: the material that [`crate::promise`] judges.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// Everything that was seen. Instants are durations since the history began.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The ids of tasks that were answered with 202.
    pub accepted: Vec<String>,
    /// What clients were told of tasks afterwards, in any order.
    pub sightings: Vec<Sighting>,
    /// The events of a task, from its first to its last.
    pub events: BTreeMap<String, Vec<TaskEvent>>,
    /// The lines of all `llm_requests.log`.
    pub lines: Vec<LogLine>,
}

/// One answer about a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// The task.
    pub task: String,
    /// When the question was sent.
    pub asked: Duration,
    /// When the answer was there.
    pub answered: Duration,
    /// What it was.
    pub seen: Seen,
}

/// What an answer said of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// It waits.
    Queued,
    /// A worker has it.
    Processing,
    /// It ended, and this is the body of its `/result`.
    Ended(Value),
    /// The gateway knows of no such task.
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
    /// Which attempt it speaks of, if of any.
    pub fn attempt(&self) -> Option<u64> {
        self.data["attempt"].as_u64()
    }

    /// The Unix time in milliseconds that it was recorded at, by the queue's clock.
    pub fn at(&self) -> Option<u64> {
        self.data["at"].as_u64()
    }

    /// Whether nothing may follow it.
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
    /// Reads the whole of a log file. A line that a kill cut off is none.
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
