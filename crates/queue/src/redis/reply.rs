//! Parses scripts' replies: flat lists of texts, the first of which names the case.

use std::str::FromStr;

use protocol::{
    Attempt, Chunk, Event, EventBody, EventSeq, RecordError, TaskId, Timestamp, WorkerId, record,
};

use crate::listed::StoredTask;
use crate::stored::{self, Holding, StoredSnapshot, StoredSummary};
use crate::{BrokerError, Lease};

/// A reply, parsed from front to back.
pub(crate) struct Reply {
    fields: std::vec::IntoIter<String>,
    script: &'static str,
}

impl Reply {
    pub(crate) fn new(script: &'static str, fields: Vec<String>) -> Self {
        Self { fields: fields.into_iter(), script }
    }

    /// Creates a reply from one text with fields separated by spaces.
    pub(crate) fn words(script: &'static str, text: &str) -> Self {
        Self::new(script, text.split(' ').map(str::to_owned).collect())
    }

    /// Returns the next field as text.
    pub(crate) fn text(&mut self) -> Result<String, BrokerError> {
        self.fields.next().ok_or_else(|| self.corrupt("the reply is too short"))
    }

    /// Parses the next field as a number, id or state.
    pub(crate) fn parse<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<T, BrokerError> {
        let text = self.text()?;
        text.parse().map_err(|error| self.corrupt(format_args!("'{text}': {error}")))
    }

    /// Parses the next field as a counter. A negative one, since the store lost data in between, counts
    /// as 0.
    pub(crate) fn count(&mut self) -> Result<u64, BrokerError> {
        Ok(u64::try_from(self.parse::<i64>()?).unwrap_or(0))
    }

    /// Parses the next field as a timestamp.
    pub(crate) fn instant(&mut self) -> Result<Timestamp, BrokerError> {
        Ok(Timestamp::from_millis(self.parse()?))
    }

    /// Parses the next field as a number or id, or returns `None` if it is empty.
    pub(crate) fn optional<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
    ) -> Result<Option<T>, BrokerError> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|error| self.corrupt(format_args!("'{text}': {error}")))
    }

    /// Parses the next field as two texts, separated by its first colon.
    pub(crate) fn pair(&mut self) -> Result<(String, String), BrokerError> {
        let text = self.text()?;
        let (first, second) = text
            .split_once(':')
            .ok_or_else(|| self.corrupt(format_args!("'{text}' has no colon")))?;
        Ok((first.to_owned(), second.to_owned()))
    }

    /// Returns the next field, or `None` if it is empty.
    fn optional_text(&mut self) -> Result<Option<String>, BrokerError> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }

    /// Parses the next field as a number of attempts; 0 if it is empty.
    fn attempts(&mut self) -> Result<u32, BrokerError> {
        Ok(self.optional()?.unwrap_or(0))
    }

    /// Returns whether no fields are left.
    pub(crate) fn is_read(&self) -> bool {
        self.fields.as_slice().is_empty()
    }

    /// Returns the remaining fields.
    pub(crate) fn rest(self) -> Vec<String> {
        self.fields.collect()
    }

    /// Parses the next two fields: a task that `worker` now holds, as `finish_and_claim.lua` returns it.
    pub(crate) fn taken(&mut self, worker: WorkerId) -> Result<Holding, BrokerError> {
        let mut words = Self::words(self.script, &self.text()?);
        let task_id = words.parse()?;
        let lease = Lease { task_id, worker, attempt: Attempt::new(words.parse()?) };
        Ok(Holding {
            record: self.text()?,
            lease,
            submitted_at: words.instant()?,
            started_at: words.instant()?,
            failed_attempts: words.parse()?,
        })
    }

    /// Parses the next six fields: a task that `worker` now holds. The record itself may be unreadable.
    pub(crate) fn holding(&mut self, worker: WorkerId) -> Result<Holding, BrokerError> {
        let task_id = self.parse()?;
        let record = self.text()?;
        let lease = Lease { task_id, worker, attempt: Attempt::new(self.parse()?) };
        Ok(Holding {
            record,
            lease,
            submitted_at: self.instant()?,
            started_at: self.instant()?,
            failed_attempts: self.parse()?,
        })
    }

    /// Parses the next thirteen fields: `SNAPSHOT` in `lib/snapshot.lua`, for the task `id`.
    pub(crate) fn snapshot(&mut self, id: TaskId) -> Result<StoredSnapshot, BrokerError> {
        let record = self.optional_text()?;
        Ok(StoredSnapshot {
            summary: StoredSummary { record, ..self.summary(id)? },
            state: self.parse()?,
            attempt: self.attempts()?,
            worker: self.optional()?,
            cancel: self.text()? == "1",
            submitted: self.parse()?,
            started: self.optional()?,
            finished: self.optional()?,
            outcome: self.optional_text()?,
            run_at: self.optional()?,
            expires_at: self.optional()?,
        })
    }

    /// Parses the next twelve fields: a task as `tasks.lua` returns it.
    pub(crate) fn listed(&mut self) -> Result<StoredTask, BrokerError> {
        let id = self.parse()?;
        Ok(StoredTask {
            summary: self.summary(id)?,
            state: self.parse()?,
            attempt: self.attempts()?,
            worker: self.optional()?,
            cancel: self.text()? == "1",
            submitted: self.parse()?,
            started: self.optional()?,
            finished: self.optional()?,
            run_at: self.optional()?,
            failure: self.optional_text()?,
        })
    }

    /// Parses the next two fields: `about` and the notes of the task `id`.
    fn summary(&mut self, id: TaskId) -> Result<StoredSummary, BrokerError> {
        let (about, notes) = (self.text()?, self.optional_text()?);
        // TTL, attempts, lane, tenant and model; see `submit.rs`.
        let fields: Vec<&str> = about.splitn(5, ':').collect();
        let [_, _, lane, tenant, model] = fields[..] else {
            return Err(self.corrupt(format_args!("'{about}' is not a task id")));
        };
        Ok(StoredSummary {
            id,
            record: None,
            tenant: tenant.into(),
            model: model.into(),
            lane: lane.into(),
            notes,
        })
    }

    /// Returns the error for a case that this code does not know.
    pub(crate) fn unexpected(&self, case: &str) -> BrokerError {
        self.corrupt(format_args!("unknown answer '{case}'"))
    }

    fn corrupt(&self, what: impl std::fmt::Display) -> BrokerError {
        BrokerError::Corrupt(format!("{}.lua: {what}", self.script))
    }
}

/// Returns the body of a token event as `publish.lua` stores it: in the short form where that suffices.
pub(crate) fn token(attempt: Attempt, chunk: &Chunk) -> Result<String, RecordError> {
    // Names every field, so that the short form loses none that is added.
    let Chunk { choice, text, parts, logprobs } = chunk;
    if *choice == 0 && parts.is_none() && logprobs.is_empty() {
        Ok(format!("t{attempt} {}", stored::json(text)?))
    } else {
        record::encode(&EventBody::Token { attempt, chunk: chunk.clone() })
    }
}

/// Parses an event as `events.lua` returns it.
pub(crate) fn event(seq: EventSeq, text: &str) -> Result<Event, BrokerError> {
    let foreign = || BrokerError::Corrupt(format!("event {seq} has an unknown format"));
    let (at, body) = text.split_once(' ').ok_or_else(foreign)?;
    let at = Timestamp::from_millis(at.parse().map_err(|_| foreign())?);
    let in_short = |short: &str| {
        let (attempt, rest) = short.split_once(' ')?;
        Some((Attempt::new(attempt.parse().ok()?), rest.to_owned()))
    };
    let body = if let Some(short) = body.strip_prefix('t') {
        let (attempt, text) = in_short(short).ok_or_else(foreign)?;
        let text: String = serde_json::from_str(&text).map_err(RecordError::from)?;
        EventBody::Token { attempt, chunk: text.into() }
    } else if let Some(short) = body.strip_prefix('s') {
        let (attempt, worker) = in_short(short).ok_or_else(foreign)?;
        EventBody::Started { attempt, worker: worker.parse().map_err(|_| foreign())? }
    } else {
        record::decode::<EventBody>(body)?
    };
    Ok(Event { seq, at, body })
}
