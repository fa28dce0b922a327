//! The native API: `/generate` and its companions, with errors in FastAPI's shape
//! (`{"detail": …}`). docs/API.md describes it.

mod openapi;
mod routes;
mod sse;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, ServiceConfig};
use queue::TaskEnd;
use serde_json::{Value, json};

use crate::describe::Description;
use crate::dialect::Dialect;
use crate::options::Options;
use crate::refusal::{Code, Refusal};
use crate::replies::ResultReply;

/// The native dialect. It owns all paths that no other dialect owns.
pub(crate) struct Native {
    document: Data<routes::docs::Document>,
}

impl Native {
    /// Creates the dialect. Its OpenAPI document has the other dialects' routes too, as they describe them.
    pub(crate) fn new(options: &Options, others: Vec<Description>) -> Self {
        let document = Bytes::from(openapi::document(options, others));
        Self { document: Data::new(routes::docs::Document(document)) }
    }
}

impl Dialect for Native {
    fn prefixes(&self) -> &'static [&'static str] {
        &[""]
    }

    fn configure(&self, app: &mut ServiceConfig) {
        app.app_data(self.document.clone());
        routes::configure(app);
    }

    fn configure_admin(&self, app: &mut ServiceConfig) {
        routes::configure_admin(app);
    }

    fn shape(&self, refusal: &Refusal) -> (StatusCode, Value) {
        shape(refusal)
    }
}

/// Formats a refusal as FastAPI does.
pub(super) fn shape(refusal: &Refusal) -> (StatusCode, Value) {
    let mut body = match refusal.code {
        Code::Invalid => json!({ "detail": refusal.problems }),
        _ => json!({ "detail": refusal.message }),
    };
    if let Code::QueueFull(_) | Code::LimitReached(_) = refusal.code {
        body["code"] = json!(refusal.code.as_str());
    }
    (refusal.status, body)
}

/// Formats the body of a webhook, which has the body of `GET /result`.
pub(super) fn webhook_body(end: &TaskEnd) -> Vec<u8> {
    webhooks::payload::task_event(end, json!(ResultReply::told(end)))
}
