//! The outermost layer: assigns the request id, lets the dialect that owns the path shape a refusal, sets the headers
//! common to all responses, and writes one log line. The innermost one catches panics.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::http::{ConnectionType, Version};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use futures::FutureExt;
use protocol::TraceId;
use service::metrics::table;
use tracing::Instrument;

use super::audit::{self, Answered};
use super::request_log::Line;
use super::trace::Reply;
use super::{ClientAddress, Notes, RequestTrace, RouteLog, cors, log, request_id};
use crate::dialect::Dialects;
use crate::measure;
use crate::refusal::Refusal;
use crate::state::State;

/// Of answers for programs, should a browser show one: nothing in it may run or be loaded.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// The header of answers that names the request's trace.
const TRACE_ID: &str = "x-trace-id";

/// The log settings of requests without a route.
const NO_ROUTE: RouteLog = log!("gateway.http");

/// Processes one request with all of the above.
pub(crate) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let entered = table::ACTIVE_REQUESTS.enter();
    let id = request_id::choose(request.headers());
    let method = request.method().clone();
    let version = request.version();
    let path = request.path().to_owned();
    let state = request.app_data::<web::Data<State>>().cloned();
    let trusted = state.as_ref().map_or(&[][..], |state| &state.options.trusted_proxies);
    let client = ClientAddress::find(&request, trusted);
    let traces = state.as_ref().map(|state| state.options.traces.clone()).unwrap_or_default();
    let trace = RequestTrace::begin(&request, traces);
    let dialects = request.app_data::<web::Data<Dialects>>().cloned();
    let span = tracing::info_span!(target: "gateway.http", "request", request_id = %id);

    let (mut answer, refusal) = match next.call(request).instrument(span).await {
        Ok(response) => {
            let refusal = response.response().error().map(refusal_of);
            (Ok(response.map_into_boxed_body()), refusal)
        }
        Err(error) => (Err(error.error_response()), Some(refusal_of(&error))),
    };
    if let (Some(refusal), Some(dialects)) = (&refusal, &dialects) {
        let mut shaped = dialects.response(&path, refusal);
        answer = match answer {
            Ok(response) => {
                cors::keep(response.headers(), shaped.headers_mut());
                Ok(response.into_response(shaped))
            }
            Err(response) => {
                cors::keep(response.headers(), shaped.headers_mut());
                Err(shaped)
            }
        };
    }

    let (status, route, log) = match &answer {
        Ok(response) => {
            let request = response.request();
            let log = request.app_data::<RouteLog>().copied().unwrap_or(NO_ROUTE);
            (response.status().as_u16(), request.match_pattern(), log)
        }
        Err(response) => (response.status().as_u16(), None, NO_ROUTE),
    };
    let took = began.elapsed();
    measure::answered(&method, route.as_deref(), status, refusal.as_ref(), took);
    let millis = took.as_secs_f64() * 1e3;
    let (pattern, route) = (route.as_deref(), route.as_deref().unwrap_or("(no route)"));
    let code = refusal.as_ref().map(|refusal| refusal.code);
    let reason = refusal.as_ref().map(|refusal| format!(" ({refusal})")).unwrap_or_default();
    let text = format!("{method} {route} -> {status} in {millis:.1} ms{reason}");
    let trace_id = trace.known_id(log.success);
    let names_client = log.names_client || matches!(status, 401 | 403);
    let write = |notes: &Notes| {
        let named = names_client.then_some(client);
        log.line(status, &Line { id: &id, client: named, notes, trace: trace_id, text: &text });
        if let Some(state) = &state {
            let refusal = refusal.as_ref();
            let answered = Answered { method: &method, route, client, status, refusal, notes };
            audit::record(&state.options.audit, &answered);
        }
    };
    let mut task_id = None;
    let readings = match &answer {
        Ok(response) => {
            let mut extensions = response.request().extensions_mut();
            let notes = Notes::of(&mut extensions);
            write(notes);
            task_id = notes.task_id;
            notes.readings.take()
        }
        Err(_) => {
            write(&Notes::default());
            None
        }
    };
    let readings = match refusal.and_then(|refusal| refusal.reading) {
        Some(reading) => vec![*reading],
        None => readings.map(|readings| readings.take()).unwrap_or_default(),
    };

    let headers = match &mut answer {
        Ok(response) => response.headers_mut(),
        Err(response) => response.headers_mut(),
    };
    set_headers(headers, &id, trace_id);
    if let Some(dialects) = dialects.filter(|_| !readings.is_empty()) {
        dialects.add_limits(&path, &readings, headers);
    }
    if let Ok(response) = &mut answer
        && version < Version::HTTP_11
    {
        end_body_with_connection(response.response_mut());
    }
    // Strangers can't fill the traces.
    let span = pattern.filter(|_| trace_id.is_some() && status != 401);
    let span = span.map(|route| trace.answered(&method, route, Reply { status, code, task_id }));
    let answer = answer.map(|response| measure::until_sent(response, (entered, span)));
    answer.map_err(|response| InternalError::from_response("see the log", response).into())
}

/// The innermost layer: turns a panic of a handler into a refusal, which the layers around it answer like any other.
pub(crate) async fn catch_panics(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    AssertUnwindSafe(next.call(request)).catch_unwind().await.unwrap_or_else(|panic| {
        Err(Refusal::internal(format!("a handler panicked: {}", said(&*panic))).into())
    })
}

/// Returns the refusal in an error. Other errors are the HTTP framework's.
fn refusal_of(error: &Error) -> Refusal {
    let own = error.as_error::<Refusal>().cloned();
    own.unwrap_or_else(|| Refusal::http(error.as_response_error().status_code()))
}

/// Disables chunked encoding for HTTP/1.0: a body of unknown length ends when the connection
/// closes.
fn end_body_with_connection(response: &mut HttpResponse<BoxBody>) {
    if response.body().size() == BodySize::Stream {
        response.head_mut().no_chunking(true);
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn set_headers(headers: &mut HeaderMap, id: &str, trace_id: Option<TraceId>) {
    let trace_id = trace_id.and_then(|id| HeaderValue::try_from(id.to_string()).ok());
    if let Some(id) = trace_id {
        headers.insert(HeaderName::from_static(TRACE_ID), id);
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static(request_id::HEADER), id);
    }
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages for people have their own; answers may have keys or tasks in them.
    for (name, value) in [(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-store")] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
