//! The outermost layer: assigns the request id, catches panics, sets the headers common to all
//! responses, and writes one log line. Prompts and keys are never logged.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{
    CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, SERVER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::http::{ConnectionType, Version};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse};
use futures::FutureExt;
use tracing::{Instrument, Level};

use super::{ClientAddress, Notes, request_id};
use crate::error::ApiError;

const SERVER_NAME: &str = concat!("qwen-queue/", env!("CARGO_PKG_VERSION"));

/// Processes one request with all of the above.
pub(crate) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let id = request_id::choose(request.headers());
    let method = request.method().clone();
    let version = request.version();
    let client = ClientAddress::of(request.peer_addr());
    let span = tracing::info_span!(target: "gateway.http", "request", request_id = %id);

    let outcome = AssertUnwindSafe(next.call(request)).catch_unwind().instrument(span).await;
    let (mut answer, route) = match outcome {
        Ok(Ok(response)) => {
            let route = response.request().match_pattern();
            (Ok(response.map_into_boxed_body()), route)
        }
        Ok(Err(error)) => (Err(error.error_response()), None),
        Err(panic) => {
            let error = ApiError::Internal(format!("a handler panicked: {}", said(&*panic)));
            (Err(HttpResponse::from_error(error)), None)
        }
    };

    let line = Line {
        id: &id,
        method: method.as_str(),
        route: route.as_deref().unwrap_or("(no route)"),
        client,
        millis: began.elapsed().as_secs_f64() * 1e3,
    };
    match &answer {
        Ok(response) => {
            let mut extensions = response.request().extensions_mut();
            line.write(response.response(), Notes::of(&mut extensions));
        }
        Err(response) => line.write(response, &Notes::default()),
    }

    let headers = match &mut answer {
        Ok(response) => response.headers_mut(),
        Err(response) => response.headers_mut(),
    };
    set_headers(headers, &id);
    if let Ok(response) = &mut answer
        && version < Version::HTTP_11
    {
        end_body_with_connection(response.response_mut());
    }
    answer.map_err(|response| InternalError::from_response("see the log", response).into())
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

fn set_headers(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static(request_id::HEADER), id);
    }
    for (name, value) in [
        (SERVER, SERVER_NAME),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// The fields of the log line.
struct Line<'a> {
    id: &'a str,
    method: &'a str,
    /// The route's pattern. The path itself is not logged, because it is text that the client
    /// chose.
    route: &'a str,
    client: ClientAddress,
    millis: f64,
}

/// Needed because `tracing` requires constants for target and level.
macro_rules! at {
    ($target:literal, $level:expr, $($rest:tt)*) => {
        match $level {
            Level::ERROR => tracing::error!(target: $target, $($rest)*),
            Level::WARN => tracing::warn!(target: $target, $($rest)*),
            Level::INFO => tracing::info!(target: $target, $($rest)*),
            _ => tracing::debug!(target: $target, $($rest)*),
        }
    };
}

impl Line<'_> {
    fn write(&self, response: &HttpResponse, notes: &Notes) {
        let status = response.status().as_u16();
        let reason = response.error().and_then(|error| error.as_error::<ApiError>());
        let reason = reason.map(|error| format!(" ({error})")).unwrap_or_default();
        let &Self { id, method, route, client, millis } = self;
        let client = self.names_client(status).then(|| tracing::field::display(client));
        let tenant = notes.tenant.as_ref().map(tracing::field::display);
        let task_id = notes.task_id.map(tracing::field::display);
        let level = self.level(status);
        macro_rules! write_at {
            ($target:literal) => {
                at!(
                    $target,
                    level,
                    request_id = id,
                    client,
                    tenant,
                    task_id,
                    "{method} {route} -> {status} in {millis:.1} ms{reason}"
                )
            };
        }
        match route {
            "/generate" => write_at!("gateway.generate"),
            "/status/{task_id}" => write_at!("gateway.status"),
            "/result/{task_id}" => write_at!("gateway.result"),
            "/cancel/{task_id}" => write_at!("gateway.cancel"),
            "/events/{task_id}" => write_at!("gateway.events"),
            "/health" | "/ready" => write_at!("gateway.health"),
            admin if admin.starts_with("/admin/") => write_at!("gateway.admin"),
            _ => write_at!("gateway.http"),
        }
    }

    /// Returns `true` if the line names the client's address: for rejected requests and operators.
    /// All others are identified by their tenant.
    fn names_client(&self, status: u16) -> bool {
        matches!(status, 401 | 403) || self.route.starts_with("/admin/")
    }

    /// Returns the level of the line. Successful polls are logged at a lower level, because there
    /// are many.
    fn level(&self, status: u16) -> Level {
        let is_work = matches!(self.route, "/generate" | "/cancel/{task_id}" | "/events/{task_id}");
        match status {
            500 => Level::ERROR,
            501.. => Level::WARN,
            400.. => Level::INFO,
            _ if is_work => Level::INFO,
            _ => Level::DEBUG,
        }
    }
}
