//! Response bodies of the task routes.

use std::collections::BTreeMap;

use protocol::{
    CacheStatus, Choice, Completion, Estimate, FinishReason, Logprobs, Metrics, ModelId, Outcome,
    Sampling, SkillAnswer, TaskId, TaskSnapshot, TaskState, ToolCall,
};
use queue::{Submitted, TaskEnd};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A task's status.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusReply {
    /// One of `queued`, `processing`, `completed`, `failed`, `cancelled`.
    #[schema(value_type = String, example = "queued")]
    pub(crate) status: TaskState,
    /// The task.
    #[schema(value_type = String, format = "uuid", example = "0192f0c1-2345-7abc-8def-0123456789ab")]
    pub(crate) task_id: TaskId,
    /// The status for people.
    #[schema(example = "The task waits for a worker")]
    pub(crate) message: String,
    /// The model or the adapter. Missing in the response of a submit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, example = "demo")]
    model: Option<ModelId>,
    /// While the task is queued: the number of its model's tasks that are likely to start up to and including it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, example = 3)]
    queue_position: Option<u64>,
    /// While the task is queued, and if enough tasks have ended: the estimated time to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_seconds: Option<EtaReply>,
    /// The metadata of the request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = HashMap<String, String>, required = false)]
    metadata: BTreeMap<String, String>,
    /// Requested features that are ignored, such as an unknown format of strings. Only in the response of
    /// the submit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// The range of the estimated time to the end, in seconds from now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EtaReply {
    /// The lower end.
    #[schema(minimum = 0, example = 4.2)]
    low: f64,
    /// The upper end.
    #[schema(minimum = 0, example = 11.0)]
    high: f64,
}

impl StatusReply {
    /// Creates a reply with only the three mandatory fields.
    pub(crate) fn new(status: TaskState, task_id: TaskId, message: impl Into<String>) -> Self {
        Self {
            status,
            task_id,
            message: message.into(),
            model: None,
            queue_position: None,
            eta_seconds: None,
            metadata: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    /// Describes the task's current state.
    pub(crate) fn of(snapshot: &TaskSnapshot) -> Self {
        let mut reply = Self::new(snapshot.state, snapshot.task.id, describe(snapshot));
        reply.model = Some(snapshot.task.model.clone());
        reply.metadata = snapshot.task.metadata.clone();
        reply
    }

    /// Describes a task that was just accepted, or that an identical earlier submit created.
    pub(crate) fn submitted(submitted: &Submitted) -> Self {
        let (id, state) = (submitted.task_id, submitted.state);
        let message = format!("The task is {state}; poll GET /result/{id}");
        Self::new(state, id, message).with(submitted.estimate)
    }

    /// Adds warnings about requested features that are ignored.
    pub(crate) fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }

    /// Adds the task's position in the queue and its estimated wait, if known.
    pub(crate) fn with(mut self, estimate: Option<Estimate>) -> Self {
        let tenths = |seconds: f64| (seconds * 10.0).round() / 10.0;
        self.queue_position = estimate.map(|estimate| estimate.position);
        self.eta_seconds = estimate
            .and_then(|estimate| estimate.eta)
            .map(|eta| EtaReply { low: tenths(eta.earliest_s), high: tenths(eta.latest_s) });
        self
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

/// The outcome of a task. The fields depend on `status`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
#[allow(clippy::large_enum_variant)] // most results are answers
pub(crate) enum ResultReply {
    /// The model answered.
    Completed {
        /// The task.
        #[schema(value_type = String, format = "uuid")]
        task_id: TaskId,
        /// The generated text.
        result: String,
        /// What a skill read in the answer, with coordinates in pixels; `null` if it could not be read, and missing
        /// without a skill.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Object, required = false)]
        structured: Option<Box<Value>>,
        /// The path of the image (PNG) on which the answer is drawn.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(
            nullable = false,
            example = "/blobs/0192f0c1-2345-7abc-8def-0123456789ab/content"
        )]
        annotated_image: Option<String>,
        /// The paths of all such images, if there are several.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schema(required = false)]
        annotated_images: Vec<String>,
        /// The model's reasoning before the answer, if the request has `enable_thinking` or `tools`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        reasoning: Option<String>,
        /// The model's calls of functions. A call has `name` and `arguments`; a malformed one has `raw` and
        /// `error`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schema(value_type = Vec<Object>, required = false)]
        tool_calls: Vec<ToolCall>,
        /// `stop`: the answer is complete. `length`: `max_tokens` or the context ended it.
        #[schema(value_type = String, example = "stop")]
        finish_reason: FinishReason,
        /// The string of `stop` that ended the answer, if one did.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        stop_sequence: Option<String>,
        /// Times and numbers of tokens.
        metrics: MetricsReply,
        /// The log probabilities of the tokens, if requested.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        logprobs: Option<Logprobs>,
        /// The sampling values that the model recommends and the request did not set; missing if there are
        /// none.
        #[serde(skip_serializing_if = "Sampling::is_empty")]
        #[schema(value_type = Object, required = false)]
        sampling_defaults: Box<Sampling>,
        /// `hit` if the answer came from the result cache, `miss` if it was computed since it was not there; missing if
        /// it was not searched.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, nullable = false, example = "hit")]
        cache: Option<CacheStatus>,
        /// What a skill repaired or left out of the answer; and requested features that are ignored, these only in
        /// the response of a submit that waited for the result.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schema(required = false)]
        warnings: Vec<String>,
    },
    /// The task failed.
    Error {
        /// The task.
        #[schema(value_type = String, format = "uuid")]
        task_id: TaskId,
        /// The error for people.
        error_message: String,
        /// The error for programs: `context_length_exceeded`, `invalid_request`,
        /// `time_limit_exceeded`, `expired`, `out_of_memory`, `engine_error`, `worker_lost`,
        /// `unreadable_record` or `unknown`.
        #[schema(example = "time_limit_exceeded")]
        error_type: &'static str,
    },
    /// The task was cancelled.
    Cancelled {
        /// The task.
        #[schema(value_type = String, format = "uuid")]
        task_id: TaskId,
        /// The outcome for people.
        message: String,
    },
}

impl ResultReply {
    /// Returns the task's outcome, or `None` if it has not ended.
    pub(crate) fn of(snapshot: &TaskSnapshot) -> Option<Self> {
        Some(Self::new(snapshot.task.id, snapshot.outcome.as_ref()?, snapshot.metrics()?))
    }

    /// Adds warnings about requested features that are ignored.
    pub(crate) fn with_warnings(mut self, told: Vec<String>) -> Self {
        if let Self::Completed { warnings, .. } = &mut self {
            warnings.splice(0..0, told);
        }
        self
    }

    /// Returns the outcome as a webhook's body contains it.
    pub(crate) fn told(end: &TaskEnd) -> Self {
        let TaskEnd { submitted_at, started_at, finished_at, outcome, .. } = end;
        let metrics = Metrics::new(*submitted_at, *started_at, *finished_at, outcome.usage());
        Self::new(end.task_id, outcome, metrics)
    }

    fn new(task_id: TaskId, outcome: &Outcome, metrics: Metrics) -> Self {
        match outcome {
            Outcome::Completed(Completion {
                first:
                    Choice { text, reasoning, tool_calls, finish_reason, stop_sequence, logprobs },
                sampling_defaults,
                skill,
                cache,
                ..
            }) => Self::Completed {
                task_id,
                result: text.clone(),
                structured: skill.as_ref().map(|skill| Box::new(json!(skill.structured))),
                annotated_image: annotated(skill.as_ref()).next(),
                annotated_images: match annotated(skill.as_ref()).collect::<Vec<String>>() {
                    several if several.len() > 1 => several,
                    _ => Vec::new(),
                },
                reasoning: reasoning.clone(),
                tool_calls: tool_calls.clone(),
                finish_reason: *finish_reason,
                stop_sequence: stop_sequence.clone(),
                metrics: metrics.into(),
                logprobs: logprobs.clone(),
                sampling_defaults: Box::new(sampling_defaults.clone()),
                cache: *cache,
                warnings: skill.as_ref().map(|skill| skill.warnings.clone()).unwrap_or_default(),
            },
            Outcome::Failed(error) => Self::Error {
                task_id,
                error_message: error.message.clone(),
                error_type: error.error_type.as_str(),
            },
            Outcome::Cancelled { .. } => {
                Self::Cancelled { task_id, message: "The task was cancelled".into() }
            }
        }
    }
}

/// Returns the paths of the images on which a skill's answer is drawn.
pub(crate) fn annotated(skill: Option<&SkillAnswer>) -> impl Iterator<Item = String> {
    skill
        .into_iter()
        .flat_map(|skill| &skill.annotated_images)
        .map(|id| format!("/blobs/{id}/content"))
}

/// Times (in seconds) and numbers of tokens of a completed task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetricsReply {
    /// The time from acceptance to the start of the last attempt.
    #[schema(minimum = 0, example = 2.3)]
    queue_wait_time: f64,
    /// The time from that start to the end.
    #[schema(minimum = 0, example = 5.8)]
    processing_time: f64,
    /// The sum of the two.
    #[schema(minimum = 0, example = 8.1)]
    total_time: f64,
    /// The tokens of the prompt, with those of the chat template.
    #[schema(minimum = 0, example = 50)]
    prompt_tokens: u32,
    /// The generated tokens.
    #[schema(minimum = 0, example = 200)]
    completion_tokens: u32,
    /// `completion_tokens / processing_time`.
    #[schema(minimum = 0, example = 34.48)]
    tokens_per_second: f64,
    /// The tokens of the prompt that were found in the prefix cache: an earlier task of the same key began
    /// with them.
    #[schema(minimum = 0, example = 32)]
    cached_tokens: u32,
    /// Generated tokens that the model thought with, if it thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, nullable = false, example = 120)]
    reasoning_tokens: Option<u32>,
    /// Tokens that speculative decoding drafted and computed beside those generated, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, nullable = false, example = 140)]
    drafted_tokens: Option<u32>,
    /// Generated tokens that were drafted; present with `drafted_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, nullable = false, example = 95)]
    accepted_tokens: Option<u32>,
}

impl From<Metrics> for MetricsReply {
    fn from(metrics: Metrics) -> Self {
        // Rounds to milliseconds, the clock's resolution; further digits are artifacts of the
        // division.
        let round = |x: f64, digits: f64| (x * digits).round() / digits;
        let drafted = metrics.drafted_tokens > 0;
        Self {
            queue_wait_time: round(metrics.queue_wait_time, 1000.0),
            processing_time: round(metrics.processing_time, 1000.0),
            total_time: round(metrics.total_time, 1000.0),
            prompt_tokens: metrics.prompt_tokens,
            completion_tokens: metrics.completion_tokens,
            tokens_per_second: round(metrics.tokens_per_second, 100.0),
            cached_tokens: metrics.cached_tokens,
            reasoning_tokens: Some(metrics.reasoning_tokens).filter(|tokens| *tokens > 0),
            drafted_tokens: drafted.then_some(metrics.drafted_tokens),
            accepted_tokens: drafted.then_some(metrics.accepted_tokens),
        }
    }
}
