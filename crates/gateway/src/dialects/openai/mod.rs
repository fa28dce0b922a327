//! OpenAI's API: `/v1/…`, with its error format. docs/OPENAI.md says what is supported.

mod batches;
mod chat;
mod completions;
mod embeddings;
pub(super) mod error;
pub(super) mod files;
mod models;
mod openapi;
mod own_usage;
mod query;
pub(super) mod request;
mod responses;
pub(super) mod sse;
mod usage;

pub(super) use self::chat::ChatRequest;
pub(super) use self::responses::webhook_body;

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use serde_json::Value;

pub(super) use self::batches::BatchRequests;
use crate::describe::Description;
use crate::dialect::Dialect;
use crate::middleware::log;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::route::{get, post};

/// The version of this service, as responses name what computed them.
const FINGERPRINT: &str = concat!("qwen-queue-", env!("CARGO_PKG_VERSION"));

/// OpenAI's dialect.
pub(super) struct OpenAi;

impl Dialect for OpenAi {
    fn prefixes(&self) -> &'static [&'static str] {
        &["/v1"]
    }

    fn configure(&self, app: &mut ServiceConfig) {
        let work = log!("gateway.openai").work();
        let reads = log!("gateway.openai");
        // A scope, so that requests to other paths skip all of these patterns at once.
        app.service(
            web::scope("/v1")
                .service(post("/chat/completions", work, chat::create))
                .service(post("/completions", work, completions::create))
                .service(post("/embeddings", work, embeddings::create))
                .service(get("/models", reads, models::list))
                .service(get("/models/{model:.+}", reads, models::show))
                .service(get("/usage", reads, own_usage::usage))
                .configure(responses::configure)
                .configure(files::configure)
                .configure(batches::configure),
        );
    }

    fn describe(&self, options: &Options) -> Description {
        openapi::describe(options)
    }

    fn shape(&self, refusal: &Refusal) -> (StatusCode, Value) {
        error::shape(refusal)
    }
}
