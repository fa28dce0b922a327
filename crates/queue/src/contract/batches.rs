//! Batches: files of requests whose answers are collected in files. A processor reads lines, submits tasks and
//! writes the answers; this is what is recorded of its work, so that another one can continue it.
//!
//! Answers are written in parts, in the order of the lines. A part counts once the batch has advanced over its
//! lines ([`BatchStep::Advance`]), which succeeds only from where the batch is. So however many processors work
//! on a batch, and wherever they die, each line is in exactly one part.
//!
//! ```text
//!              Start            Finalize            End
//! validating ─────▶ in_progress ───────▶ finalizing ───▶ completed
//!     │  Refuse        │ │ Cancel                        expired, if its time was over
//!     ├───────▶ failed ◀─┤──────▶ cancelling ─────────▶ cancelled
//!     └── Cancel ────────┘                      End
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use protocol::{BatchId, BlobId, KeyId, ModelId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::BrokerError;

/// The time for which an ended batch is kept (30 days).
pub const BATCH_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The side of a [`Broker`](crate::Broker) that has the records of batches. A batch belongs to a tenant; to
/// others it does not exist.
#[async_trait]
pub trait Batches: Send + Sync {
    /// Records a new batch. If there is one of that id, returns that unchanged.
    async fn create_batch(&self, new: &NewBatch) -> Result<Batch, BrokerError>;

    /// Returns a batch; `None` if the tenant has no such batch, or it ended [`BATCH_TTL`] ago.
    async fn batch(&self, tenant: &TenantId, id: BatchId) -> Result<Option<Batch>, BrokerError>;

    /// Lists the tenant's batches, the newest first.
    async fn batches(&self, tenant: &TenantId, page: &BatchPage) -> Result<BatchList, BrokerError>;

    /// Applies a step, if the batch's state allows it ([`Batch::apply`]). Returns the batch, and
    /// whether the step changed it; `None` if the tenant has no such batch. Repeating a step changes
    /// nothing.
    async fn step_batch(
        &self,
        tenant: &TenantId,
        id: BatchId,
        step: &BatchStep,
    ) -> Result<Option<(Batch, bool)>, BrokerError>;

    /// Takes up to `limit` batches that have not ended, those first that waited longest. Each belongs to the
    /// caller for `span`, which taking it again extends; then another caller gets it.
    async fn due_batches(&self, span: Duration, limit: usize) -> Result<Vec<Batch>, BrokerError>;

    /// Returns up to `limit` batches of all tenants that have not ended, those first that are due first, and the
    /// number of all of them.
    async fn running_batches(&self, limit: usize) -> Result<(Vec<Batch>, u64), BrokerError>;

    /// Extends the caller's span of a batch, or ends it (zero).
    async fn hold_batch(
        &self,
        tenant: &TenantId,
        id: BatchId,
        span: Duration,
    ) -> Result<(), BrokerError>;
}

/// The fields that a client sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewBatch {
    /// Its id.
    pub id: BatchId,
    /// Its owner.
    pub tenant: TenantId,
    /// The key that created it, whose use its tasks count as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The key's limit of tokens of batches per day, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// The models that the key may use; empty for all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub models: BTreeSet<ModelId>,
    /// The route of all its requests, such as `/v1/chat/completions`.
    pub endpoint: String,
    /// The file of requests.
    pub input: BlobId,
    /// How long it may take.
    pub window: Duration,
    /// How long its files are kept; `None` for the default.
    pub output_ttl: Option<Duration>,
    /// The client's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The receiver of a webhook at its end, checked by the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
}

/// The state of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Its lines are checked.
    Validating,
    /// Its lines were refused. An end.
    Failed,
    /// Its lines are submitted and answered.
    InProgress,
    /// All lines have ended; its files are written.
    Finalizing,
    /// Its files are there. An end.
    Completed,
    /// Its time was over; the files have what was done until then. An end.
    Expired,
    /// It is to be cancelled; its running lines are.
    Cancelling,
    /// It was cancelled; the files have what was done until then. An end.
    Cancelled,
}

impl BatchState {
    /// Returns the name, as in OpenAI's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether no state follows.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Failed | Self::Completed | Self::Expired | Self::Cancelled)
    }
}

/// A step of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchStep {
    /// The lines are valid, and so many.
    Start {
        /// The number of lines.
        total: u32,
    },
    /// The lines are not valid, or can't be read any more.
    Refuse {
        /// The reasons.
        problems: Vec<BatchProblem>,
    },
    /// A client cancels it.
    Cancel,
    /// The lines from number `from` up to `to` have ended, and their answers are written. Refused unless `from` is
    /// where the batch is.
    Advance {
        /// The first line, from 0.
        from: u32,
        /// The line behind the last.
        to: u32,
        /// The number of these lines that have an answer; the others have an error.
        completed: u32,
        /// The tokens of these lines.
        usage: BatchUsage,
        /// Their answers and errors.
        part: BatchPart,
    },
    /// All lines have ended; `expired` if some were left out because the batch's time was over.
    Finalize {
        /// Whether lines were left out because the time is over.
        expired: bool,
    },
    /// The files are written.
    End {
        /// The file of answers, if there are any.
        output: Option<BlobId>,
        /// The file of errors, if there are any.
        errors: Option<BlobId>,
    },
    /// The webhook of the ended batch is due: its processor has nothing left to do.
    Notified,
}

/// A reason why a batch's lines were refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchProblem {
    /// A word for programs, such as `invalid_json_line`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The field, if it is one.
    pub param: Option<String>,
    /// The number of the line, from 1, if it is one.
    pub line: Option<u32>,
}

/// The files of a part of a batch's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchPart {
    /// The answers, if there are any.
    #[serde(default, rename = "o", skip_serializing_if = "Option::is_none")]
    pub output: Option<BlobId>,
    /// The errors, if there are any.
    #[serde(default, rename = "e", skip_serializing_if = "Option::is_none")]
    pub errors: Option<BlobId>,
}

/// The tokens of a batch's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchUsage {
    /// Tokens of the prompts.
    pub input: u64,
    /// Of these, tokens whose computation was reused.
    pub cached: u64,
    /// Generated tokens.
    pub output: u64,
    /// Of these, tokens of reasoning.
    #[serde(default)]
    pub reasoning: u64,
}

impl std::ops::AddAssign for BatchUsage {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.cached += other.cached;
        self.output += other.output;
        self.reasoning += other.reasoning;
    }
}

/// The record of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// What the client asked for.
    pub request: NewBatch,
    /// The state.
    pub state: BatchState,
    /// The number of lines; 0 until they are valid.
    pub total: u32,
    /// The lines that have ended, from the first: where the next processor continues.
    pub done: u32,
    /// The number of these that have an answer; the others have an error.
    pub completed: u32,
    /// The tokens of these.
    pub usage: BatchUsage,
    /// The answers and errors of these, until the batch ends.
    pub parts: Vec<BatchPart>,
    /// Why it failed.
    pub problems: Vec<BatchProblem>,
    /// Whether lines were left out because the time is over.
    pub timed_out: bool,
    /// The file of answers.
    pub output: Option<BlobId>,
    /// The file of errors.
    pub errors: Option<BlobId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its time is over.
    pub expires_at: Timestamp,
    /// When its lines were found valid.
    pub in_progress_at: Option<Timestamp>,
    /// When its lines had ended.
    pub finalizing_at: Option<Timestamp>,
    /// When its cancellation was requested.
    pub cancelling_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Whether its webhook was made due.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notified: bool,
}

impl Batch {
    /// Creates the record of a new batch.
    pub fn new(request: NewBatch, now: Timestamp) -> Self {
        Self {
            expires_at: now + request.window,
            request,
            state: BatchState::Validating,
            total: 0,
            done: 0,
            completed: 0,
            usage: BatchUsage::default(),
            parts: Vec::new(),
            problems: Vec::new(),
            timed_out: false,
            output: None,
            errors: None,
            created_at: now,
            in_progress_at: None,
            finalizing_at: None,
            cancelling_at: None,
            ended_at: None,
            notified: false,
        }
    }

    /// Returns whether it has ended and no webhook remains to be made due, so that no processor needs to take it.
    pub fn is_settled(&self) -> bool {
        self.state.is_end() && (self.notified || self.request.webhook_url.is_none())
    }

    /// Returns the number of ended lines that have an error.
    pub fn failed(&self) -> u32 {
        self.done - self.completed
    }

    /// Applies a step, and returns whether the state allowed it; otherwise nothing changes.
    pub fn apply(&mut self, step: &BatchStep, now: Timestamp) -> bool {
        use BatchState::{
            Cancelled, Cancelling, Completed, Expired, Failed, Finalizing, InProgress, Validating,
        };
        match (self.state, step) {
            (Validating, BatchStep::Start { total }) => {
                (self.state, self.total) = (InProgress, *total);
                self.in_progress_at = Some(now);
            }
            (InProgress | Cancelling, BatchStep::Advance { from, to, completed, usage, part })
                if *from == self.done && to > from && *to <= self.total =>
            {
                self.done = *to;
                self.completed += completed;
                self.usage += *usage;
                self.parts.push(*part);
            }
            (Validating | InProgress, BatchStep::Refuse { problems }) => {
                (self.state, self.problems) = (Failed, problems.clone());
                self.parts.clear();
                self.ended_at = Some(now);
            }
            (Validating | InProgress, BatchStep::Cancel) => {
                self.state = Cancelling;
                self.cancelling_at = Some(now);
            }
            (Validating | InProgress, BatchStep::Finalize { expired }) => {
                (self.state, self.timed_out) = (Finalizing, *expired);
                self.finalizing_at = Some(now);
            }
            (Finalizing | Cancelling, BatchStep::End { output, errors }) => {
                self.state = match self.state {
                    Cancelling => Cancelled,
                    _ if self.timed_out => Expired,
                    _ => Completed,
                };
                (self.output, self.errors) = (*output, *errors);
                self.parts.clear();
                self.ended_at = Some(now);
            }
            (state, BatchStep::Notified) if state.is_end() && !self.is_settled() => {
                self.notified = true;
            }
            _ => return false,
        }
        true
    }
}

/// Which batches [`Batches::batches`] lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPage {
    /// Only those behind this one. It need not exist any more.
    pub after: Option<BatchId>,
    /// At most so many.
    pub limit: usize,
}

/// A page of batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchList {
    /// The batches, the newest first.
    pub batches: Vec<Batch>,
    /// `true` if more batches follow.
    pub has_more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Batch {
        let request = NewBatch {
            id: BatchId::new(),
            tenant: TenantId::new("tenant"),
            key: None,
            tokens_per_day: None,
            models: BTreeSet::new(),
            endpoint: "/v1/chat/completions".into(),
            input: BlobId::new(),
            window: Duration::from_secs(86_400),
            output_ttl: None,
            metadata: BTreeMap::new(),
            webhook_url: None,
        };
        Batch::new(request, Timestamp::from_millis(1))
    }

    /// Applies steps, and returns the states after those that were allowed.
    fn states(steps: &[BatchStep]) -> (Vec<BatchState>, Batch) {
        let mut record = record();
        let mut states = Vec::new();
        for (step, nth) in steps.iter().zip(2..) {
            if record.apply(step, Timestamp::from_millis(nth)) {
                states.push(record.state);
            }
        }
        (states, record)
    }

    #[test]
    fn batch_reaches_each_of_its_ends_once() {
        use BatchState::*;
        let start = BatchStep::Start { total: 7 };
        let end = BatchStep::End { output: Some(BlobId::new()), errors: None };
        let finalize = |expired| BatchStep::Finalize { expired };
        let refuse = BatchStep::Refuse { problems: Vec::new() };
        for (steps, expected) in [
            (
                vec![start.clone(), finalize(false), end.clone()],
                vec![InProgress, Finalizing, Completed],
            ),
            (
                vec![start.clone(), finalize(true), end.clone()],
                vec![InProgress, Finalizing, Expired],
            ),
            (vec![finalize(true), end.clone()], vec![Finalizing, Expired]),
            (vec![refuse.clone()], vec![Failed]),
            (vec![start.clone(), refuse.clone()], vec![InProgress, Failed]),
            (vec![BatchStep::Cancel, end.clone()], vec![Cancelling, Cancelled]),
            (
                vec![start.clone(), BatchStep::Cancel, end.clone()],
                vec![InProgress, Cancelling, Cancelled],
            ),
        ] {
            let (seen, ended) = states(&steps);
            assert_eq!(seen, expected);
            assert!(ended.state.is_end() && ended.ended_at.is_some(), "{ended:?}");
            for late in [&start, &refuse, &BatchStep::Cancel, &finalize(true), &end] {
                assert!(!ended.clone().apply(late, Timestamp::from_millis(99)), "{late:?}");
            }
        }
    }

    #[test]
    fn batch_with_a_webhook_is_settled_when_that_is_due() {
        let mut record = record();
        record.request.webhook_url = Some("https://example.com".into());
        let at = Timestamp::from_millis(9);
        assert!(!record.apply(&BatchStep::Notified, at), "it has not ended");
        assert!(record.apply(&BatchStep::Refuse { problems: Vec::new() }, at));
        assert!(record.state.is_end() && !record.is_settled());
        assert!(record.apply(&BatchStep::Notified, at) && record.is_settled());
        assert!(!record.apply(&BatchStep::Notified, at), "once");
        record.request.webhook_url = None;
        record.notified = false;
        assert!(record.is_settled(), "nobody is to be told");
    }

    #[test]
    fn steps_out_of_order_change_nothing() {
        let start = BatchStep::Start { total: 7 };
        let end = BatchStep::End { output: None, errors: None };
        let (seen, record) = states(&[end.clone(), start.clone(), start, end]);
        assert_eq!((seen, record.total), (vec![BatchState::InProgress], 7));
        assert_eq!(record.in_progress_at, Some(Timestamp::from_millis(3)));
        let finalize = BatchStep::Finalize { expired: false };
        let (seen, _) = states(&[finalize, BatchStep::Cancel]);
        assert_eq!(seen, [BatchState::Finalizing], "too late to cancel");
    }

    #[test]
    fn batch_advances_only_from_where_it_is() {
        let mut record = record();
        let now = Timestamp::from_millis(2);
        let usage = BatchUsage { input: 5, cached: 1, output: 3, reasoning: 2 };
        let part = BatchPart { output: Some(BlobId::new()), errors: None };
        let step = |from, to| BatchStep::Advance { from, to, completed: 1, usage, part };
        assert!(!record.apply(&step(0, 2), now), "its lines are not checked yet");
        assert!(record.apply(&BatchStep::Start { total: 5 }, now));
        for (from, to, advances) in
            [(0, 2, true), (0, 2, false), (1, 3, false), (2, 2, false), (2, 6, false), (2, 4, true)]
        {
            assert_eq!(record.apply(&step(from, to), now), advances, "{from} to {to}");
        }
        assert!(record.apply(&BatchStep::Cancel, now));
        assert!(record.apply(&step(4, 5), now), "lines end also while it is cancelled");
        assert_eq!((record.done, record.completed, record.failed()), (5, 3, 2));
        assert_eq!(record.usage, BatchUsage { input: 15, cached: 3, output: 9, reasoning: 6 });
        assert_eq!(record.parts, [part; 3]);
        assert!(record.apply(&BatchStep::End { output: None, errors: None }, now));
        assert!(record.parts.is_empty(), "the files have all of them");
    }
}
