//! The stored forms of outcomes, events, snapshots and managed keys, which both brokers write.

use std::collections::BTreeMap;

use protocol::{
    ApiKey, Attempt, Chunk, Day, ErrorType, EventBody, KeyId, Lane, ModelId, Outcome, RecordError,
    Task, TaskError, TaskId, TaskSnapshot, TaskState, TaskSummary, TenantId, Timestamp, Usage,
    WorkerId, WorkerReport, record,
};
use serde::{Deserialize, Serialize};

use crate::{BrokerError, Claimed, DeadLetter, Failure, Lease, MAX_TRIES_KEPT, StoredKey, Tried};

/// The reason in the `requeued` event of a task whose lease expired.
pub(crate) const LEASE_EXPIRED: &str = "the worker's lease expired";
/// The reason in the `requeued` event of a task whose process ended, with the embedded queue.
pub(crate) const PROCESS_ENDED: &str = "the process that ran it has ended";

/// Returns whether the reason of a `requeued` event says that the attempt's worker was lost.
pub fn is_lost_worker(reason: &str) -> bool {
    [LEASE_EXPIRED, PROCESS_ENDED].contains(&reason)
}

/// An outcome in its stored form. Reading it produces the `ended` event.
pub(crate) struct Ending {
    pub(crate) state: TaskState,
    pub(crate) outcome: String,
    /// The tokens that a worker reported.
    pub(crate) usage: Usage,
}

impl Ending {
    pub(crate) fn of(outcome: &Outcome) -> Result<Self, RecordError> {
        let (state, usage) = (outcome.state(), outcome.usage());
        Ok(Self { state, outcome: record::encode(outcome)?, usage })
    }

    pub(crate) fn cancelled() -> Result<Self, RecordError> {
        Self::of(&Outcome::CANCELLED)
    }

    pub(crate) fn expired() -> Result<Self, RecordError> {
        let message = "the task was not started by its deadline; give it more time, or submit it \
                       when the queue is shorter";
        Self::of(&Outcome::Failed(TaskError::new(ErrorType::Expired, message)))
    }
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

/// A lease and the unparsed record of its task.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) record: String,
    pub(crate) lease: Lease,
    pub(crate) submitted_at: Timestamp,
    pub(crate) started_at: Timestamp,
    pub(crate) failed_attempts: u32,
}

impl Holding {
    /// Parses the record. If that fails, returns the lease and the outcome to record for the task.
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

/// Task fields that are kept after the end and have no stored field of their own.
#[derive(Serialize, Deserialize)]
struct Notes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// Returns a task's notes, stored from the submit on, or `None` if there is nothing to keep.
pub(crate) fn notes(task: &Task) -> Result<Option<String>, RecordError> {
    if task.user_id.is_none() && task.metadata.is_empty() {
        return Ok(None);
    }
    let notes = Notes { user_id: task.user_id.clone(), metadata: task.metadata.clone() };
    record::encode(&notes).map(Some)
}

/// Unparsed fields that say which tenant a task belongs to. While the record exists, it suffices.
#[derive(Debug)]
pub(crate) struct StoredSummary {
    pub(crate) id: TaskId,
    /// `None` once the task has ended.
    pub(crate) record: Option<String>,
    pub(crate) tenant: String,
    pub(crate) model: String,
    pub(crate) lane: String,
    /// The notes made by [`notes`].
    pub(crate) notes: Option<String>,
}

impl StoredSummary {
    /// Parses the fields.
    pub(crate) fn read(self) -> Result<TaskSummary, BrokerError> {
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

/// The unparsed stored state of a task and its progress.
#[derive(Debug)]
pub(crate) struct StoredSnapshot {
    pub(crate) summary: StoredSummary,
    pub(crate) state: TaskState,
    pub(crate) attempt: u32,
    pub(crate) worker: Option<WorkerId>,
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
        Ok(TaskSnapshot {
            task: self.summary.read()?,
            state: self.state,
            attempt: Attempt::new(self.attempt),
            worker: self.worker,
            cancel_requested: self.cancel && self.state == TaskState::Processing,
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

/// The unparsed stored fields of a dead letter.
#[derive(Debug)]
pub(crate) struct StoredLetter {
    pub(crate) record: String,
    /// The recorded outcome.
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

/// The latest tries of a webhook, by their numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tries {
    pub(crate) tries: Vec<Tried>,
}

impl Tries {
    /// Parses the stored tries; empty before the first try.
    pub(crate) fn read(text: Option<&str>) -> Result<Self, RecordError> {
        text.map_or_else(|| Ok(Self::default()), record::decode)
    }

    /// Returns the tries with one more, or `None` if that try is already recorded.
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

/// The unparsed stored fields of a managed key. Those beside the record take precedence over it.
#[derive(Debug)]
pub(crate) struct KeyFields {
    pub(crate) record: String,
    pub(crate) owner: String,
    pub(crate) revision: u64,
    pub(crate) created: u64,
    pub(crate) used: Option<u64>,
}

impl KeyFields {
    pub(crate) fn read(self) -> Result<StoredKey, BrokerError> {
        let key = ApiKey {
            owner: TenantId::new(self.owner),
            created_at: Timestamp::from_millis(self.created),
            last_used_at: self.used.map(Timestamp::from_millis),
            ..record::decode(&self.record)?
        };
        Ok(StoredKey { key, revision: self.revision })
    }
}

/// Serializes a managed key. Its times are stored beside the record: `created_at` is the store's, and a use changes no
/// record.
pub(crate) fn record_of_key(key: &ApiKey) -> Result<String, RecordError> {
    let created_at = Timestamp::from_millis(0);
    record::encode(&ApiKey { created_at, last_used_at: None, ..key.clone() })
}

/// The error of a call that would give two keys one text.
pub(crate) fn text_is_taken(id: &KeyId) -> BrokerError {
    BrokerError::Corrupt(format!("another key already has the text for key '{id}'"))
}

/// Parses workers' reports, each with the time at which the broker received it. Skips reports of
/// another version: they are only informational.
pub(crate) fn reports(texts: Vec<(String, Option<Timestamp>)>) -> Vec<WorkerReport> {
    let read = |(text, came): &(String, Option<Timestamp>)| {
        let report: WorkerReport = record::decode(text).ok()?;
        // Use the broker's clock: a worker whose clock is ahead would never look stale.
        Some(WorkerReport { reported_at: came.or(report.reported_at), ..report })
    };
    texts.iter().filter_map(read).collect()
}

/// Parses a day of usage.
pub(crate) fn day(text: &str) -> Result<Day, BrokerError> {
    text.parse().map_err(|error: protocol::InvalidDay| BrokerError::Corrupt(error.to_string()))
}

/// Serializes a value as JSON for a record.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, RecordError> {
    Ok(serde_json::to_string(value)?)
}

/// Serializes a string as JSON.
pub(crate) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
