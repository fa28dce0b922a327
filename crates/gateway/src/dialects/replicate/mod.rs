//! Replicate's API: `/v1/predictions`, with a model's name as the version, and
//! `/v1/models/{owner}/{name}/predictions`. docs/OTHER_APIS.md says what is supported.
//!
//! | file         | contents |
//! |--------------|----------|
//! | `create.rs`  | the routes that create a prediction |
//! | `body.rs`    | reads the body of a request |
//! | `routes.rs`  | the other routes |
//! | `record.rs`  | what is stored of a prediction beside its task |
//! | `reply.rs`   | formats a prediction |
//! | `stream.rs`  | streams the output of a prediction |
//! | `openapi.rs` | describes the routes |

mod body;
mod create;
mod openapi;
mod record;
mod reply;
mod routes;
mod stream;

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use serde_json::{Value, json};

pub(super) use self::reply::webhook_body;
use crate::describe::Description;
use crate::dialect::Dialect;
use crate::middleware::log;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::route::{get, post, reads, resource};

/// Replicate's dialect.
pub(super) struct Replicate;

impl Dialect for Replicate {
    fn prefixes(&self) -> &'static [&'static str] {
        &["/v1/predictions"]
    }

    fn claims(&self, path: &str) -> bool {
        path.starts_with("/v1/models/") && path.ends_with("/predictions")
    }

    fn configure(&self, app: &mut ServiceConfig) {
        let work = log!("gateway.replicate").work();
        let polls = log!("gateway.replicate");
        let of_model = "/v1/models/{owner}/{name}/predictions";
        // A scope, so that requests to other paths skip its patterns at once.
        app.service(
            web::scope("/v1/predictions")
                .service(
                    resource("", work, "GET, HEAD, POST")
                        .route(web::route().guard(reads()).to(routes::list))
                        .route(web::post().to(create::create)),
                )
                .service(get("/{id}", polls, routes::show))
                .service(
                    // A stream has no HEAD: it would not end.
                    resource("/{id}/stream", work, "GET").route(web::get().to(stream::stream)),
                )
                .service(post("/{id}/cancel", work, routes::cancel)),
        )
        .service(post(of_model, work, create::create_of_model));
    }

    fn describe(&self, options: &Options) -> Description {
        openapi::describe(options)
    }

    /// Formats a refusal as problem details (RFC 7807).
    fn shape(&self, refusal: &Refusal) -> (StatusCode, Value) {
        let status = refusal.status;
        let mut body = json!({
            "title": status.canonical_reason(),
            "detail": refusal.message_with_paths(),
            "status": status.as_u16(),
        });
        if !refusal.problems.is_empty() {
            let fields = refusal.problems.iter().map(|problem| {
                let (kind, field) = (problem.kind, problem.param());
                json!({"type": kind, "field": field, "description": problem.message})
            });
            body["invalid_fields"] = fields.collect();
        }
        (status, body)
    }
}
