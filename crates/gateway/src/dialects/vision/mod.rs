//! `/api/v1`: describes images, which forms have, and runs skills. Errors are those of the native API.
//! docs/OTHER_APIS.md and docs/SKILLS.md say what is supported.
//!
//! | file          | contents |
//! |---------------|----------|
//! | `describe.rs` | the route for one image, and the form of descriptions |
//! | `batch.rs`    | the route for several images |
//! | `skills.rs`   | the routes of skills |
//! | `openapi.rs`  | describes the routes |

mod batch;
mod describe;
mod openapi;
mod skills;

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use serde_json::Value;

use super::native;
use crate::describe::Description;
use crate::dialect::Dialect;
use crate::middleware::log;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::route::{get, post, reads, resource};

/// The prompt of a form without one.
const PROMPT: &str = "Describe this image.";

/// The dialect of the routes that describe images.
pub(super) struct Vision;

impl Dialect for Vision {
    fn prefixes(&self) -> &'static [&'static str] {
        &["/api/v1"]
    }

    fn configure(&self, app: &mut ServiceConfig) {
        let work = log!("gateway.vision").work();
        app.service(
            web::scope("/api/v1")
                .service(post("/describe", work, describe::describe))
                .service(post("/batch", work, batch::batch))
                .service(get("/skills", work, skills::list))
                .service(post("/skills/{name}/batch", work, skills::run_batch))
                .service(
                    resource("/skills/{name}", work, "GET, HEAD, POST")
                        .route(web::route().guard(reads()).to(skills::show))
                        .route(web::post().to(skills::run)),
                ),
        );
    }

    fn describe(&self, options: &Options) -> Description {
        openapi::describe(options)
    }

    fn shape(&self, refusal: &Refusal) -> (StatusCode, Value) {
        native::shape(refusal)
    }
}
