//! The span of a request. A client's `traceparent` makes it a part of the client's trace.

use std::time::{Instant, SystemTime};

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{HttpMessage, HttpRequest};
use protocol::{TaskId, TraceContext, TraceId};
use service::Traces;
use service::traces::{Kind, Span};
use tracing::Level;

use crate::refusal::Code;

/// The header of W3C's Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The component that requests are of, as in the log.
const TARGET: &str = "gateway.http";

/// The trace of a request.
#[derive(Debug)]
pub(crate) struct RequestTrace {
    traces: Traces,
    /// The client's span.
    parent: Option<TraceContext>,
    /// The request's span; the client's if none are sent.
    own: Option<TraceContext>,
    began: (SystemTime, Instant),
}

/// The span that a request's tasks are a part of.
#[derive(Debug, Clone, Copy)]
struct OfTasks(TraceContext);

/// What the span says of the answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    /// Why the request was refused.
    pub(super) code: Option<Code>,
    /// The task that the request concerns.
    pub(super) task_id: Option<TaskId>,
}

impl RequestTrace {
    /// Begins the span of a request, and keeps it for [`Self::of_tasks`].
    pub(super) fn begin(request: &ServiceRequest, traces: Traces) -> Self {
        let parent = parent_of(request.headers());
        let own = traces.begin(parent);
        let trace = Self { traces, parent, own, began: (SystemTime::now(), Instant::now()) };
        if let Some(own) = own.filter(|own| own.sampled || parent.is_some()) {
            request.extensions_mut().insert(OfTasks(own));
        }
        trace
    }

    /// Returns the span that the request's tasks are a part of; `None` if nobody records the trace.
    pub(crate) fn of_tasks(request: &HttpRequest) -> Option<TraceContext> {
        request.extensions().get().map(|OfTasks(own)| *own)
    }

    /// Returns the trace's id, if somebody may look for it. Polls and the like, whose lines have the level `DEBUG`,
    /// have no trace unless the client sends one.
    pub(super) fn known_id(&self, success: Level) -> Option<TraceId> {
        let is_known =
            |own: &TraceContext| self.parent.is_some() || own.sampled && success <= Level::INFO;
        self.own.filter(is_known).map(|own| own.trace_id)
    }

    /// Returns the span, which is sent when it is dropped: at the end of the answer's body.
    pub(super) fn answered(self, method: &Method, route: &str, reply: Reply) -> SentSpan {
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "_OTHER", // what OpenTelemetry's conventions say
        };
        let (started, began) = self.began;
        let span = self.traces.records(self.own).map(|own| {
            let mut span = Span::new(own, TARGET, format!("{method} {route}"), (started, started))
                .kind(Kind::Server)
                .child_of(self.parent.map(|parent| parent.span_id))
                .with("http.request.method", method.to_owned())
                .with("http.route", route.to_owned())
                .with("http.response.status_code", i64::from(reply.status));
            if let Some(task_id) = reply.task_id {
                span = span.with("qwen_queue.task_id", task_id.to_string());
            }
            match reply.code {
                // The client's mistakes are no errors of the server.
                Some(code) if reply.status < 500 => span.with("error.type", code.as_str()),
                code => span.failed(code.map(Code::as_str)),
            }
        });
        SentSpan { traces: self.traces, span, began }
    }
}

/// Sends a span when it is dropped.
#[derive(Debug)]
pub(crate) struct SentSpan {
    traces: Traces,
    span: Option<Span>,
    began: Instant,
}

impl Drop for SentSpan {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            self.traces.send(span.lasting(self.began.elapsed()));
        }
    }
}

/// Returns the client's span. An invalid header, or several, count as none.
fn parent_of(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT);
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok()?.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn one_valid_traceparent_is_the_parent() {
        let parent = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACEPARENT, HeaderValue::from_static(value));
            }
            parent_of(&headers)
        };
        let sent = SENT.parse().ok();
        assert_eq!(parent(&[SENT]), sent);
        assert_eq!(parent(&[" 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 "]), sent);
        assert_eq!(parent(&[]), None);
        assert_eq!(parent(&[""]), None);
        assert_eq!(parent(&["00-zz"]), None);
        assert_eq!(parent(&[SENT, SENT]), None, "which one holds is not known");
    }

    #[test]
    fn without_a_collector_tasks_are_a_part_of_the_clients_span() {
        let request = TestRequest::default().insert_header((TRACEPARENT, SENT)).to_srv_request();
        let trace = RequestTrace::begin(&request, Traces::default());
        let sent: TraceContext = SENT.parse().unwrap();
        assert_eq!(RequestTrace::of_tasks(request.request()), Some(sent));
        assert_eq!(trace.known_id(Level::DEBUG), Some(sent.trace_id));
        let request = TestRequest::default().to_srv_request();
        let trace = RequestTrace::begin(&request, Traces::default());
        assert_eq!(RequestTrace::of_tasks(request.request()), None);
        assert_eq!(trace.known_id(Level::INFO), None);
    }
}
