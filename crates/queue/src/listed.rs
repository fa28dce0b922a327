//! The stored fields of a listed task, which both brokers read.

use protocol::{Attempt, Outcome, Timestamp, WorkerId, record};

use crate::stored::StoredSummary;
use crate::{BrokerError, ListedState, ListedTask};

/// The number of entries that are read beyond the limit if the indexes alone decide: some may have expired.
pub(crate) const SPARE: usize = 8;

/// The unparsed stored fields of a listed task.
#[derive(Debug)]
pub(crate) struct StoredTask {
    /// Without the record, which has the prompt.
    pub(crate) summary: StoredSummary,
    pub(crate) state: ListedState,
    pub(crate) attempt: u32,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) cancel: bool,
    pub(crate) submitted: u64,
    pub(crate) run_at: Option<u64>,
    pub(crate) started: Option<u64>,
    pub(crate) finished: Option<u64>,
    /// The outcome, if the task failed: others have an answer, which may be long.
    pub(crate) failure: Option<String>,
}

impl StoredTask {
    /// Parses the fields. Logs the reason and returns `None` if this version can't read them.
    pub(crate) fn read(self) -> Option<ListedTask> {
        let id = self.summary.id;
        self.parse()
            .inspect_err(|error| tracing::debug!(%error, task_id = %id, "a task can't be listed"))
            .ok()
    }

    fn parse(self) -> Result<ListedTask, BrokerError> {
        let failure = self.failure.as_deref().map(record::decode::<Outcome>).transpose()?;
        let error_type = match failure {
            Some(Outcome::Failed(error)) => Some(error.error_type),
            _ => None,
        };
        Ok(ListedTask {
            task: self.summary.read()?,
            state: self.state,
            attempt: Attempt::new(self.attempt),
            worker: self.worker,
            cancel_requested: self.cancel && self.state == ListedState::Processing,
            submitted_at: Timestamp::from_millis(self.submitted),
            run_at: self.run_at.map(Timestamp::from_millis),
            started_at: self.started.map(Timestamp::from_millis),
            finished_at: self.finished.map(Timestamp::from_millis),
            error_type,
        })
    }
}
