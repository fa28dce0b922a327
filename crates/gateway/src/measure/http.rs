//! Counts requests and their answers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::web::Bytes;
use service::metrics::{OTHER, table};

use crate::refusal::Refusal;

/// The endpoint of requests without a route.
const UNKNOWN: &str = "unknown";

/// Counts an answer, after `took` from the request's head to its own. `endpoint` is the route's pattern.
pub(crate) fn answered(
    method: &Method,
    endpoint: Option<&str>,
    status: u16,
    refusal: Option<&Refusal>,
    took: Duration,
) {
    let method = match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => OTHER,
    };
    let endpoint = endpoint.unwrap_or(UNKNOWN);
    table::HTTP_REQUESTS.count(&[method, endpoint, &status.to_string()], 1);
    table::HTTP_REQUEST_DURATION.observe(&[method, endpoint], took.as_secs_f64());
    if let Some(refusal) = refusal {
        table::REFUSALS.count(&[refusal.code.as_str()], 1);
    }
}

/// Keeps `guard`, which counts the request as active, until its answer is sent, if that is a stream.
pub(crate) fn until_sent(
    response: ServiceResponse<BoxBody>,
    guard: impl Unpin + 'static,
) -> ServiceResponse<BoxBody> {
    if response.response().body().size() != BodySize::Stream {
        return response;
    }
    response.map_body(|_, body| BoxBody::new(Sending { body, _guard: guard }))
}

/// The body of an active request.
struct Sending<G> {
    body: BoxBody,
    _guard: G,
}

impl<G: Unpin> MessageBody for Sending<G> {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
