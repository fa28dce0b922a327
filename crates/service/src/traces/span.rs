//! [`Span`]: a finished span, and its form in OpenTelemetry's SDK.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, SpanContext, SpanId as OtelSpanId, SpanKind, Status, TraceFlags, TraceId as OtelTraceId,
    TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanLinks};
use protocol::{SpanId, TraceContext};

/// The role of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that this process answers.
    Server,
    /// A task that was taken from the queue.
    Consumer,
    /// A part of another span.
    Internal,
}

/// A finished span. Nothing in it may come from a client's texts or keys.
#[derive(Debug, Clone)]
pub struct Span {
    pub(super) context: TraceContext,
    target: &'static str,
    name: Cow<'static, str>,
    kind: Kind,
    parent: Option<SpanId>,
    times: (SystemTime, SystemTime),
    attributes: Vec<KeyValue>,
    links: Vec<SpanId>,
    error: Option<Cow<'static, str>>,
}

impl Span {
    /// Creates a span from its start to its end. `target` is the component that it is of, as in the log.
    pub fn new(
        context: TraceContext,
        target: &'static str,
        name: impl Into<Cow<'static, str>>,
        times: (SystemTime, SystemTime),
    ) -> Self {
        Self {
            context,
            target,
            name: name.into(),
            kind: Kind::Internal,
            parent: None,
            times,
            attributes: Vec::with_capacity(8),
            links: Vec::new(),
            error: None,
        }
    }

    /// Sets its role.
    #[must_use]
    pub fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Sets the span that it is a part of.
    #[must_use]
    pub fn child_of(self, parent: Option<SpanId>) -> Self {
        Self { parent, ..self }
    }

    /// Links spans of the same trace to it.
    #[must_use]
    pub fn linked_to(self, links: Vec<SpanId>) -> Self {
        Self { links, ..self }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(name, value));
        self
    }

    /// Sets its end, after its start.
    #[must_use]
    pub fn lasting(self, span: Duration) -> Self {
        Self { times: (self.times.0, self.times.0 + span), ..self }
    }

    /// Marks it as failed, for a reason that is one of a fixed set of words.
    #[must_use]
    pub fn failed(self, reason: Option<&'static str>) -> Self {
        match reason {
            Some(reason) => Self { error: Some(reason.into()), ..self }.with("error.type", reason),
            None => self,
        }
    }
}

impl From<Span> for SpanData {
    fn from(span: Span) -> Self {
        let of = |span_id: SpanId, is_remote| {
            let flags =
                if span.context.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
            let trace_id = OtelTraceId::from_bytes(span.context.trace_id.get().to_be_bytes());
            SpanContext::new(trace_id, otel(span_id), flags, is_remote, TraceState::NONE)
        };
        let link = |span_id: &SpanId| Link::new(of(*span_id, true), Vec::new(), 0);
        let mut links = SpanLinks::default();
        links.links = span.links.iter().map(link).collect();
        Self {
            span_context: of(span.context.span_id, false),
            parent_span_id: span.parent.map_or(OtelSpanId::INVALID, otel),
            parent_span_is_remote: span.parent.is_some() && span.kind != Kind::Internal,
            span_kind: match span.kind {
                Kind::Server => SpanKind::Server,
                Kind::Consumer => SpanKind::Consumer,
                Kind::Internal => SpanKind::Internal,
            },
            name: span.name,
            start_time: span.times.0,
            end_time: span.times.1.max(span.times.0),
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links,
            status: match span.error {
                Some(description) => Status::Error { description },
                None => Status::Unset,
            },
            instrumentation_scope: InstrumentationScope::builder(span.target).build(),
        }
    }
}

fn otel(id: SpanId) -> OtelSpanId {
    OtelSpanId::from_bytes(id.get().to_be_bytes())
}
