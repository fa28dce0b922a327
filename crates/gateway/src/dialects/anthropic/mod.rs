//! Anthropic's API: `/v1/messages` and `/v1/messages/count_tokens`, with its error format. docs/ANTHROPIC.md says what is supported.

mod body;
mod count;
mod create;
mod error;
mod openapi;
mod reply;
mod stream;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::ServiceConfig;
use queue::Reading;
use serde_json::Value;

use crate::describe::Description;
use crate::dialect::Dialect;
use crate::limit_headers;
use crate::middleware::log;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::route::post;

/// Anthropic's dialect.
pub(super) struct Anthropic;

impl Dialect for Anthropic {
    fn prefixes(&self) -> &'static [&'static str] {
        &["/v1/messages"]
    }

    fn configure(&self, app: &mut ServiceConfig) {
        let work = log!("gateway.anthropic").work();
        app.service(post("/v1/messages", work, create::create)).service(post(
            "/v1/messages/count_tokens",
            work,
            count::count_tokens,
        ));
    }

    fn describe(&self, options: &Options) -> Description {
        openapi::describe(options)
    }

    fn add_limits(&self, readings: &[Reading], headers: &mut HeaderMap) {
        limit_headers::anthropic(readings, headers);
    }

    fn shape(&self, refusal: &Refusal) -> (StatusCode, Value) {
        error::shape(refusal)
    }
}
