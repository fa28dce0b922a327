//! Traces: spans of requests and attempts, which are sent to an OpenTelemetry collector.
//!
//! A task's trace crosses processes, and its waits happen in none. So no span is held open: each is made at its end,
//! with times of one clock. A span that other processes refer to has an id that derives from the task and the
//! attempt, so a parent or a link needs no storage beyond the `traceparent` in the task.
//!
//! | module     | what it does |
//! |------------|--------------|
//! | `ids`      | derives the ids of spans |
//! | `span`     | [`Span`]: a finished span |
//! | `attempts` | the spans of a task's waits and attempts |
//! | `history`  | reads from a task's events when its attempts began and ended; pure |
//! | `send`     | sends spans to the collector in batches, and counts those that are lost |

mod attempts;
mod history;
mod ids;
mod send;
mod span;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{SpanKind, TraceId as OtelTraceId};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample,
};
use protocol::{SpanId, TraceContext, TraceId};

use crate::Settings;
use crate::settings::TraceSampler;
pub use attempts::{AttemptEnd, Step};
pub use send::TracesUnusable;
pub use span::{Kind, Span};

/// Maximum time for the last spans to be sent when the process ends.
const LAST_SEND: Duration = Duration::from_secs(3);

/// Makes and sends spans. Clones share the connection. The default does nothing.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

struct Inner {
    sampler: TraceSampler,
    ids: RandomIdGenerator,
    sender: send::Sender,
}

impl Traces {
    /// Starts to send spans, if the settings name a collector. `program` is the process's name in traces if the
    /// settings have none.
    ///
    /// # Errors
    /// If the settings can't be used.
    pub fn start(settings: &Settings, program: &str) -> Result<Self, TracesUnusable> {
        let settings = &settings.traces;
        let Some(endpoint) = &settings.endpoint else { return Ok(Self::default()) };
        let name = settings.service_name.as_deref().unwrap_or(program);
        let sender = send::Sender::start(endpoint, &settings.headers, name)?;
        let ids = RandomIdGenerator::default();
        Ok(Self(Some(Arc::new(Inner { sampler: settings.sampler, ids, sender }))))
    }

    /// Returns whether spans are sent.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span that no other process knows, as a child of a client's, or as the first of a new trace. Returns
    /// the client's own if spans are not sent, and `None` if there is none.
    pub fn begin(&self, parent: Option<TraceContext>) -> Option<TraceContext> {
        let Some(inner) = &self.0 else { return parent };
        let span_id = u64::from_be_bytes(inner.ids.new_span_id().to_bytes());
        let span_id = SpanId::new(span_id)?;
        let trace_id = match parent {
            Some(parent) => parent.trace_id,
            None => TraceId::new(u128::from_be_bytes(inner.ids.new_trace_id().to_bytes()))?,
        };
        let sampled = match parent {
            Some(parent) if inner.sampler.by_parent => parent.sampled,
            _ => is_in_share(trace_id, inner.sampler.share),
        };
        Some(TraceContext { trace_id, span_id, sampled })
    }

    /// Sends a span, if its trace is recorded. Never waits: if too many are pending, it is lost and counted.
    pub fn send(&self, span: Span) {
        if let Some(inner) = &self.0
            && span.context.sampled
        {
            inner.sender.send(span);
        }
    }

    /// Sends the pending spans, for a limited time. Those that come later are lost.
    pub fn shut_down(&self) {
        if let Some(inner) = &self.0 {
            inner.sender.shut_down(LAST_SEND);
        }
    }

    /// Returns the context if spans of it are sent.
    pub fn records(&self, context: Option<TraceContext>) -> Option<TraceContext> {
        context.filter(|context| context.sampled && self.is_on())
    }
}

/// Decides by the trace's id alone, as every process of the trace would.
fn is_in_share(trace_id: TraceId, share: f64) -> bool {
    let id = OtelTraceId::from_bytes(trace_id.get().to_be_bytes());
    let sampler = Sampler::TraceIdRatioBased(share);
    let result = sampler.should_sample(None, id, "", &SpanKind::Server, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Traces(on)" } else { "Traces(off)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_traces_is_recorded() {
        let ids = RandomIdGenerator::default();
        let random = || TraceId::new(u128::from_be_bytes(ids.new_trace_id().to_bytes())).unwrap();
        let recorded = |share| (0..2000).filter(|_| is_in_share(random(), share)).count();
        assert_eq!((recorded(0.0), recorded(1.0)), (0, 2000));
        assert!((350..650).contains(&recorded(0.25)));
    }

    #[test]
    fn without_a_collector_the_clients_context_is_passed_on() {
        let traces = Traces::default();
        assert!(!traces.is_on());
        assert_eq!(traces.begin(None), None);
        let of_client = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        assert_eq!(traces.begin(Some(of_client)), Some(of_client));
        assert_eq!(traces.records(Some(of_client)), None);
    }
}
