//! The bodies that answer, as the S3 contract has them.

use protocol::{Completion, Metrics, Outcome, TaskId, TaskSnapshot, TaskState};
use serde::Serialize;
use utoipa::ToSchema;

/// Where a task stands, in words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusReply {
    /// One of `queued`, `processing`, `completed`, `failed`, `cancelled`.
    #[schema(value_type = String, example = "queued")]
    pub(crate) status: TaskState,
    /// The task.
    #[schema(value_type = String, format = "uuid", example = "0192f0c1-2345-7abc-8def-0123456789ab")]
    pub(crate) task_id: TaskId,
    /// What that means, for a person.
    #[schema(example = "The task waits for a worker")]
    pub(crate) message: String,
}

impl StatusReply {
    /// Describes a task as it stands.
    pub(crate) fn of(snapshot: &TaskSnapshot) -> Self {
        Self { status: snapshot.state, task_id: snapshot.task.id, message: describe(snapshot) }
    }
}

fn describe(snapshot: &TaskSnapshot) -> String {
    let attempt = snapshot.attempt.get();
    match snapshot.state {
        TaskState::Queued if attempt > 0 => {
            format!("The task waits for another worker; attempt {attempt} did not end it")
        }
        TaskState::Queued => "The task waits for a worker".into(),
        TaskState::Processing if snapshot.cancel_requested => {
            "Cancellation was requested; the worker is stopping".into()
        }
        TaskState::Processing => format!("A worker runs the task (attempt {attempt})"),
        TaskState::Completed => "The task is completed; GET /result has the answer".into(),
        TaskState::Failed => "The task failed; GET /result has the reason".into(),
        TaskState::Cancelled => "The task was cancelled".into(),
    }
}

/// How a task ended. Which fields there are depends on `status`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(crate) enum ResultReply {
    /// The model answered.
    Completed {
        /// The task.
        #[schema(value_type = String, format = "uuid")]
        task_id: TaskId,
        /// The generated text.
        result: String,
        /// How long it waited and computed, and how much.
        metrics: MetricsReply,
    },
    /// The task failed.
    Error {
        /// The task.
        #[schema(value_type = String, format = "uuid")]
        task_id: TaskId,
        /// What went wrong, for a person.
        error_message: String,
        /// What went wrong, for a program: `context_length_exceeded`, `invalid_request`,
        /// `time_limit_exceeded`, `out_of_memory`, `engine_error`, `worker_lost`,
        /// `unreadable_record` or `unknown`.
        #[schema(example = "time_limit_exceeded")]
        error_type: &'static str,
    },
    /// Its owner took it back.
    Cancelled {
        /// The task.
        #[schema(value_type = String, format = "uuid")]
        task_id: TaskId,
        /// The same in words.
        message: String,
    },
}

impl ResultReply {
    /// The end of a task; none while it has none.
    pub(crate) fn of(snapshot: &TaskSnapshot) -> Option<Self> {
        Some(Self::new(snapshot.task.id, snapshot.outcome.as_ref()?, snapshot.metrics()?))
    }

    fn new(task_id: TaskId, outcome: &Outcome, metrics: Metrics) -> Self {
        match outcome {
            Outcome::Completed(Completion { text, .. }) => {
                Self::Completed { task_id, result: text.clone(), metrics: metrics.into() }
            }
            Outcome::Failed(error) => Self::Error {
                task_id,
                error_message: error.message.clone(),
                error_type: error.error_type.as_str(),
            },
            Outcome::Cancelled => {
                Self::Cancelled { task_id, message: "The task was cancelled".into() }
            }
        }
    }
}

/// The six figures of a finished task. Times are seconds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetricsReply {
    /// From acceptance to the start of the attempt that ended it.
    #[schema(minimum = 0, example = 2.3)]
    queue_wait_time: f64,
    /// From that start to the end.
    #[schema(minimum = 0, example = 5.8)]
    processing_time: f64,
    /// The sum of the two.
    #[schema(minimum = 0, example = 8.1)]
    total_time: f64,
    /// Tokens of the prompt, the chat template's included.
    #[schema(minimum = 0, example = 50)]
    prompt_tokens: u32,
    /// Tokens generated.
    #[schema(minimum = 0, example = 200)]
    completion_tokens: u32,
    /// `completion_tokens / processing_time`.
    #[schema(minimum = 0, example = 34.48)]
    tokens_per_second: f64,
}

impl From<Metrics> for MetricsReply {
    fn from(metrics: Metrics) -> Self {
        // The clock ticks in milliseconds: what lies behind them is noise of the division.
        let round = |x: f64, digits: f64| (x * digits).round() / digits;
        Self {
            queue_wait_time: round(metrics.queue_wait_time, 1000.0),
            processing_time: round(metrics.processing_time, 1000.0),
            total_time: round(metrics.total_time, 1000.0),
            prompt_tokens: metrics.prompt_tokens,
            completion_tokens: metrics.completion_tokens,
            tokens_per_second: round(metrics.tokens_per_second, 100.0),
        }
    }
}
