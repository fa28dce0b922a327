//! RunPod's API: `/v2/{model}/run` and its companions, with the model's name as the endpoint's id.
//! docs/OTHER_APIS.md says what is supported.
//!
//! | file        | contents |
//! |-------------|----------|
//! | `create.rs` | the routes that create a job, and its body |
//! | `job.rs`    | the routes of a job: its state, its cancellation |
//! | `stream.rs` | the route that returns what a job has generated since the last call |
//! | `health.rs` | the state of an endpoint |
//! | `reply.rs`  | formats a job |
//! | `openapi.rs` | describes the routes |

mod create;
mod health;
mod job;
mod openapi;
mod reply;
mod stream;

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use serde_json::{Value, json};

pub(super) use self::reply::webhook_body;
use super::openai::error::status;
use crate::describe::Description;
use crate::dialect::Dialect;
use crate::middleware::log;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::route::{get, post};

/// RunPod's dialect.
pub(super) struct RunPod;

impl Dialect for RunPod {
    fn prefixes(&self) -> &'static [&'static str] {
        &["/v2"]
    }

    fn configure(&self, app: &mut ServiceConfig) {
        let work = log!("gateway.runpod").work();
        let reads = log!("gateway.runpod");
        app.service(
            web::scope("/v2")
                .service(post("/{model:.+}/run", work, create::run))
                .service(post("/{model:.+}/runsync", work, create::run_sync))
                .service(get("/{model:.+}/health", reads, health::health))
                .service(get("/{model:.+}/status/{id}", reads, job::status))
                .service(get("/{model:.+}/stream/{id}", reads, stream::stream))
                .service(post("/{model:.+}/cancel/{id}", work, job::cancel)),
        );
    }

    fn describe(&self, options: &Options) -> Description {
        openapi::describe(options)
    }

    fn shape(&self, refusal: &Refusal) -> (StatusCode, Value) {
        (status(refusal), json!({"error": refusal.message_with_paths()}))
    }
}
