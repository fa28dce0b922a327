//! What both brokers write: the stored forms of outcomes and events.

use std::collections::BTreeMap;

use protocol::{
    Attempt, Chunk, ErrorType, EventBody, Lane, ModelId, Outcome, RecordError, Task, TaskError,
    TaskId, TaskSnapshot, TaskState, TaskSummary, TenantId, Timestamp, WorkerId, WorkerReport,
    record,
};
use serde::{Deserialize, Serialize};

use crate::{BrokerError, Claimed, DeadLetter, Failure, Lease, MAX_TRIES_KEPT, Tried};

/// At most this many events of a task are kept: the newest. When an attempt writes more, the oldest
/// are dropped, and a reader that starts too late sees a jump in the numbers; the outcome, which
/// holds the whole text, is the last event and always kept.
pub(crate) const MAX_EVENTS: u64 = 4_096;

/// Why a task whose lease ran out is queued again, for its event.
pub(crate) const LEASE_RAN_OUT: &str = "the worker's lease ran out";

/// At most this many failed attempts of a task are remembered: the latest.
pub(crate) const MAX_FAILURES: u32 = 32;

/// An outcome as it is stored. The `ended` event is made of it when it is read.
pub(crate) struct Ending {
    pub(crate) state: &'static str,
    pub(crate) outcome: String,
}

impl Ending {
    pub(crate) fn of(outcome: &Outcome) -> Result<Self, RecordError> {
        Ok(Self { state: outcome.state().as_str(), outcome: record::encode(outcome)? })
    }

    pub(crate) fn cancelled() -> Result<Self, RecordError> {
        Self::of(&Outcome::Cancelled)
    }

    pub(crate) fn expired() -> Result<Self, RecordError> {
        let message = "the task was not started by its deadline; give it more time, or submit it \
                       when the queue is shorter";
        Self::of(&Outcome::Failed(TaskError::new(ErrorType::Expired, message)))
    }
}

pub(crate) fn queued_event() -> Result<String, RecordError> {
    record::encode(&EventBody::Queued)
}

pub(crate) fn started_event(attempt: Attempt, worker: WorkerId) -> Result<String, RecordError> {
    record::encode(&EventBody::Started { attempt, worker })
}

pub(crate) fn requeued_event(attempt: Attempt, reason: &str) -> Result<String, RecordError> {
    record::encode(&EventBody::Requeued { attempt, reason: reason.to_owned() })
}

pub(crate) fn token_events(attempt: Attempt, chunks: &[Chunk]) -> Result<Vec<String>, RecordError> {
    let encode =
        |chunk: &Chunk| record::encode(&EventBody::Token { attempt, chunk: chunk.clone() });
    chunks.iter().map(encode).collect()
}

/// A lease and the record it is for, before anybody has read it.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) record: String,
    pub(crate) lease: Lease,
    pub(crate) submitted_at: Timestamp,
    pub(crate) started_at: Timestamp,
    pub(crate) failed_attempts: u32,
}

impl Holding {
    /// Reads the record; when that fails, tells the outcome that the task must be given.
    pub(crate) fn open(self) -> Result<Claimed, Box<(Lease, Outcome)>> {
        let task = record::decode::<Task>(&self.record).map_err(|error| {
            let outcome = TaskError::new(ErrorType::UnreadableRecord, error.to_string());
            Box::new((self.lease, Outcome::Failed(outcome)))
        })?;
        Ok(Claimed {
            task,
            lease: self.lease,
            submitted_at: self.submitted_at,
            started_at: self.started_at,
            failed_attempts: self.failed_attempts,
        })
    }
}

/// What is kept of a task beyond its end and stands in no field of its own.
#[derive(Serialize, Deserialize)]
struct Notes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// Those of a task, stored from its submit on; `None` if there is nothing to keep.
pub(crate) fn notes(task: &Task) -> Result<Option<String>, RecordError> {
    if task.user_id.is_none() && task.metadata.is_empty() {
        return Ok(None);
    }
    let notes = Notes { user_id: task.user_id.clone(), metadata: task.metadata.clone() };
    record::encode(&notes).map(Some)
}

/// What tells whose a task is. Its record, where it is still there, says it all.
#[derive(Debug)]
pub(crate) struct StoredSummary {
    pub(crate) id: TaskId,
    /// `None` once it has ended.
    pub(crate) record: Option<String>,
    pub(crate) tenant: String,
    pub(crate) model: String,
    pub(crate) lane: String,
    /// What [`notes`] made.
    pub(crate) notes: Option<String>,
}

impl StoredSummary {
    fn read(self) -> Result<TaskSummary, BrokerError> {
        if let Some(record) = self.record {
            return Ok(record::decode(&record)?);
        }
        let lane = Lane::ALL.into_iter().find(|lane| lane.as_str() == self.lane);
        let lane =
            lane.ok_or_else(|| BrokerError::Corrupt(format!("'{}' is not a lane", self.lane)))?;
        let notes = self.notes.as_deref().map(record::decode::<Notes>).transpose()?;
        let (user_id, metadata) =
            notes.map_or_else(Default::default, |notes| (notes.user_id, notes.metadata));
        let (tenant, model) = (TenantId::new(self.tenant), ModelId::new(self.model));
        Ok(TaskSummary { id: self.id, tenant, model, lane, user_id, metadata })
    }
}

/// What a broker stores of a task and its course, before anybody has read it.
#[derive(Debug)]
pub(crate) struct StoredSnapshot {
    pub(crate) summary: StoredSummary,
    pub(crate) state: String,
    pub(crate) attempt: u32,
    pub(crate) worker: Option<String>,
    pub(crate) cancel: bool,
    pub(crate) submitted: u64,
    pub(crate) run_at: Option<u64>,
    pub(crate) expires_at: Option<u64>,
    pub(crate) started: Option<u64>,
    pub(crate) finished: Option<u64>,
    pub(crate) outcome: Option<String>,
}

impl StoredSnapshot {
    pub(crate) fn read(self) -> Result<TaskSnapshot, BrokerError> {
        let corrupt = |error: &dyn std::fmt::Display| BrokerError::Corrupt(error.to_string());
        let state: TaskState = self.state.parse().map_err(|error| corrupt(&error))?;
        let worker =
            self.worker.map(|id| id.parse()).transpose().map_err(|error| corrupt(&error))?;
        Ok(TaskSnapshot {
            task: self.summary.read()?,
            state,
            attempt: Attempt::new(self.attempt),
            worker,
            cancel_requested: self.cancel && state == TaskState::Processing,
            submitted_at: Timestamp::from_millis(self.submitted),
            run_at: self.run_at.map(Timestamp::from_millis),
            expires_at: self.expires_at.map(Timestamp::from_millis),
            started_at: self.started.map(Timestamp::from_millis),
            finished_at: self.finished.map(Timestamp::from_millis),
            outcome: self.outcome.as_deref().map(record::decode).transpose()?,
            estimate: None,
        })
    }
}

/// What a broker stores of a dead letter.
#[derive(Debug)]
pub(crate) struct StoredLetter {
    pub(crate) record: String,
    /// The recorded end.
    pub(crate) outcome: String,
    /// A JSON array of versioned [`Failure`]s.
    pub(crate) failures: String,
    pub(crate) submitted_at: Timestamp,
    pub(crate) died_at: Timestamp,
}

impl StoredLetter {
    pub(crate) fn read(self) -> Result<DeadLetter, BrokerError> {
        let Outcome::Failed(error) = record::decode(&self.outcome)? else {
            return Err(BrokerError::Corrupt("a dead letter of a task that did not fail".into()));
        };
        let failures: Vec<serde_json::Value> =
            serde_json::from_str(&self.failures).map_err(RecordError::from)?;
        Ok(DeadLetter {
            task: record::decode(&self.record)?,
            error,
            failures: failures
                .iter()
                .map(|failure| record::decode::<Failure>(&failure.to_string()))
                .collect::<Result<_, _>>()?,
            submitted_at: self.submitted_at,
            died_at: self.died_at,
        })
    }
}

/// What became of a webhook's tries: the latest, by their numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tries {
    pub(crate) tries: Vec<Tried>,
}

impl Tries {
    /// Reads what is stored; nothing is before the first try.
    pub(crate) fn read(text: Option<&str>) -> Result<Self, RecordError> {
        text.map_or_else(|| Ok(Self::default()), record::decode)
    }

    /// With one more; none when that one is known.
    pub(crate) fn with(mut self, tried: &Tried) -> Option<Self> {
        match self.tries.binary_search_by_key(&tried.number, |known| known.number) {
            Ok(_) => return None,
            Err(place) => self.tries.insert(place, tried.clone()),
        }
        let surplus = self.tries.len().saturating_sub(MAX_TRIES_KEPT);
        self.tries.drain(..surplus);
        Some(self)
    }
}

/// Reads workers' reports, each with the instant at which it came. One of another version is left out: it is
/// news, not a promise.
pub(crate) fn reports(texts: Vec<(String, Option<Timestamp>)>) -> Vec<WorkerReport> {
    let read = |(text, came): &(String, Option<Timestamp>)| {
        let report: WorkerReport = record::decode(text).ok()?;
        // The broker's clock, whatever the worker's says: a fast one would never look stale.
        Some(WorkerReport { reported_at: came.or(report.reported_at), ..report })
    };
    texts.iter().filter_map(read).collect()
}

/// A value as JSON, to be put in a record.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, RecordError> {
    Ok(serde_json::to_string(value)?)
}

/// A text as JSON.
pub(crate) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
