//! The spans of a task's waits and attempts.
//!
//! Whoever ends an attempt sends its spans: a worker those of its own attempt and of those just before it whose
//! workers were lost, and the reaper those of a task without attempts left. Their times are the queue's; steps within an
//! attempt are measured from its start.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::{Attempt, ErrorType, EventSeq, SpanId, Timestamp, TraceContext, Usage, WorkerId};
use queue::{Broker, Claimed};

use super::history::{History, Past};
use super::ids::{About, span_id};
use super::{Kind, Span, Traces};

/// The component that attempts are of, as in the log.
const TARGET: &str = "worker.attempt";
/// More than the events that the queue keeps of a task.
const ALL_EVENTS: usize = 8192;
/// Maximum time to read the events of a task. They are only needed for the times of earlier attempts.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum number of earlier attempts that a span is linked to: the latest.
const MAX_LINKS: u32 = 32;

/// The end of an attempt.
#[derive(Debug, Clone, Default)]
pub struct AttemptEnd {
    /// How it ended, as the metric `attempts_total` has it.
    pub end: &'static str,
    /// The reason, if it failed.
    pub error: Option<ErrorType>,
    /// When its outcome was recorded, if it was.
    pub at: Option<Timestamp>,
    /// The time since its start.
    pub took: Duration,
    /// Its tokens.
    pub usage: Usage,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

/// A step of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// `encode`, `prefill` or `decode`.
    pub name: &'static str,
    /// When it began, after the attempt's start.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
}

impl Traces {
    /// Sends the spans of an attempt that ended: the wait before it, itself and its steps; and those of the attempts
    /// just before it that were lost. Does nothing if the task's trace is not recorded.
    pub async fn attempt_ended(
        &self,
        broker: &Arc<dyn Broker>,
        claimed: &Claimed,
        end: AttemptEnd,
    ) {
        let Some(trace) = self.records(claimed.task.trace) else { return };
        let attempt = claimed.lease.attempt;
        let history = history(broker, claimed).await;
        let task = TaskSpans { trace, claimed };
        for past in history.lost() {
            self.send_lost(task, past, past.requeued.unwrap_or(claimed.started_at));
        }
        let started = time(claimed.started_at);
        let steps_end = end.steps.last().map_or(Duration::ZERO, |step| step.to);
        let ended = end.at.map_or(started + end.took, time).max(started + steps_end);
        if let Some(queued) = history.queued {
            self.send(task.wait(attempt, queued, claimed.started_at));
        }
        for (place, step) in (0..).zip(&end.steps) {
            let context = task.context(attempt, About::Step(place));
            let times = (started + step.from, started + step.to);
            let span = Span::new(context, TARGET, step.name, times)
                .child_of(Some(task.context(attempt, About::Attempt).span_id));
            self.send(match step.name {
                "prefill" => span
                    .with("gen_ai.usage.input_tokens", i64::from(end.usage.prompt_tokens))
                    .with("qwen_queue.cached_tokens", i64::from(end.usage.cached_tokens)),
                "decode" => {
                    span.with("gen_ai.usage.output_tokens", i64::from(end.usage.completion_tokens))
                }
                _ => span,
            });
        }
        let span = task
            .attempt(attempt, claimed.lease.worker, (started, ended))
            .with("qwen_queue.end", end.end)
            .with("gen_ai.usage.input_tokens", i64::from(end.usage.prompt_tokens))
            .with("gen_ai.usage.output_tokens", i64::from(end.usage.completion_tokens));
        self.send(span.failed(end.error.map(ErrorType::as_str)));
    }

    /// Sends the spans of the last attempts of a task that a reaper has failed at `at`, since their workers were lost.
    pub(crate) async fn attempts_lost(
        &self,
        broker: &Arc<dyn Broker>,
        claimed: &Claimed,
        at: Timestamp,
    ) {
        if let Some(trace) = self.records(claimed.task.trace) {
            let task = TaskSpans { trace, claimed };
            for past in history(broker, claimed).await.lost() {
                self.send_lost(task, past, past.requeued.unwrap_or(at));
            }
        }
    }

    fn send_lost(&self, task: TaskSpans<'_>, past: &Past, ended: Timestamp) {
        if let Some(queued) = past.queued {
            self.send(task.wait(past.attempt, queued, past.started));
        }
        let span = task.attempt(past.attempt, past.worker, (time(past.started), time(ended)));
        self.send(span.with("qwen_queue.end", "lost").failed(Some(ErrorType::WorkerLost.as_str())));
    }
}

/// Makes the spans of a task.
#[derive(Clone, Copy)]
struct TaskSpans<'a> {
    /// The parent of its waits and attempts.
    trace: TraceContext,
    claimed: &'a Claimed,
}

impl TaskSpans<'_> {
    fn context(self, attempt: Attempt, about: About) -> TraceContext {
        self.trace.with_span(span_id(self.claimed.task.id, attempt, about))
    }

    fn wait(self, attempt: Attempt, queued: Timestamp, started: Timestamp) -> Span {
        let context = self.context(attempt, About::Wait);
        let span = Span::new(context, "queue", "queue wait", (time(queued), time(started)));
        self.described(span, attempt)
    }

    /// Makes the span of an attempt, with links to those before it.
    fn attempt(self, attempt: Attempt, worker: WorkerId, times: (SystemTime, SystemTime)) -> Span {
        let number = attempt.get();
        let before = number.saturating_sub(MAX_LINKS).max(1)..number;
        let links =
            before.map(|earlier| self.context(Attempt::new(earlier), About::Attempt).span_id);
        let links: Vec<SpanId> = links.collect();
        let context = self.context(attempt, About::Attempt);
        let span = Span::new(context, TARGET, format!("attempt {attempt}"), times);
        let span = span.kind(Kind::Consumer).linked_to(links);
        self.described(span, attempt).with("qwen_queue.worker", worker.to_string())
    }

    fn described(self, span: Span, attempt: Attempt) -> Span {
        let task = &self.claimed.task;
        span.child_of(Some(self.trace.span_id))
            .with("qwen_queue.task_id", task.id.to_string())
            .with("qwen_queue.attempt", i64::from(attempt.get()))
            .with("qwen_queue.lane", task.lane.as_str())
            .with("gen_ai.request.model", task.model.as_str().to_owned())
    }
}

/// Reads the attempts before the claimed one. A first attempt has none, so nothing is read.
async fn history(broker: &Arc<dyn Broker>, claimed: &Claimed) -> History {
    let (submitted, attempt) = (claimed.submitted_at, claimed.lease.attempt);
    if attempt == Attempt::FIRST {
        return History::read(&[], submitted, attempt);
    }
    let events = broker.events(claimed.task.id, EventSeq::START, ALL_EVENTS);
    match tokio::time::timeout(PATIENCE, events).await {
        Ok(Ok(events)) => History::read(&events, submitted, attempt),
        _ => History::default(),
    }
}

fn time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.as_millis())
}
