//! One file per route. To add a route, add a file here, a line in [`configure`] and one in
//! [`super::openapi`].

pub(crate) mod admin;
pub(crate) mod blobs;
pub(crate) mod cancel;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod generate;
mod generate_form;
pub(crate) mod health;
pub(crate) mod info;
pub(crate) mod result;
pub(crate) mod status;
pub(crate) mod ui;
pub(crate) mod webhook;
pub(crate) mod webhook_secret;

use std::time::Duration;

use actix_web::middleware::Compress;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest};
use protocol::{TaskId, TaskSnapshot};

use crate::extract::Caller;
use crate::follow::{self, Waited};
use crate::hangup::ClientEnd;
use crate::middleware::{Notes, RouteLog, log};
use crate::refusal::Refusal;
use crate::replies::StatusReply;
use crate::route::{get, post, query_value, reads, resource};
use crate::state::State;
use crate::validate;

/// How requests for the service's health are logged.
const HEALTH: RouteLog = log!("gateway.health");

/// Registers the clients' routes.
pub(super) fn configure(app: &mut ServiceConfig) {
    let http = log!("gateway.http");
    app.service(get("/", http, info::info))
        .service(get("/health", HEALTH, health::health))
        .service(get("/ready", HEALTH, health::ready))
        .service(get("/openapi.json", http, docs::openapi))
        .service(get("/docs", http, docs::page))
        .service(get("/docs/{file:.*}", http, docs::asset))
        .service(get("/ui", http, ui::redirect))
        .service(get("/ui/{file:.*}", http, ui::file).wrap(Compress::default()))
        .service(post("/generate", log!("gateway.generate").work(), generate::generate))
        .service(get("/status/{task_id}", log!("gateway.status"), status::status))
        .service(get("/result/{task_id}", log!("gateway.result"), result::result))
        .service(post("/cancel/{task_id}", log!("gateway.cancel").work(), cancel::cancel))
        .service(post("/blobs", http.work(), blobs::create))
        .service(get("/blobs/{id}/content", http, blobs::content))
        .service(
            resource("/blobs/{id}", http, "GET, HEAD, DELETE")
                .route(web::route().guard(reads()).to(blobs::show))
                .route(web::delete().to(blobs::delete)),
        )
        .service(get("/webhook/{task_id}", http, webhook::webhook))
        .service(get("/webhook-secret", http, webhook_secret::webhook_secret))
        .service(
            // A stream has no HEAD: it would not end.
            resource("/events/{task_id}", log!("gateway.events").work(), "GET")
                .route(web::get().to(events::events)),
        );
}

/// Registers the operators' routes, with a health check for those who can reach only these.
pub(super) fn configure_admin(app: &mut ServiceConfig) {
    app.configure(admin::configure).service(get("/health", HEALTH, health::health));
}

/// Returns the caller's task. With `?wait=`, waits for its end up to that time.
async fn task_after_wait(
    caller: &Caller,
    id: &str,
    request: &HttpRequest,
    state: &State,
) -> Result<TaskSnapshot, Refusal> {
    let seconds = validate::wait(query_value(request, "wait").as_deref())
        .map_err(|error| Refusal::invalid(vec![error]))?;
    let task_id: TaskId = id.parse()?;
    let snapshot = state.task(caller.tenant(), task_id).await?;
    note_task(request, &snapshot);
    if seconds == 0 || snapshot.state.is_terminal() {
        return Ok(snapshot);
    }
    drop(snapshot); // with its prompt: many may wait
    let patience = Duration::from_secs(u64::from(seconds));
    match follow::for_end(state, &ClientEnd::of(request), task_id, patience).await? {
        Waited::Ended(ended) => Ok(*ended),
        Waited::NotYet | Waited::HungUp => state.task(caller.tenant(), task_id).await,
    }
}

/// Describes a task's state, and its position in the queue while it waits.
fn describe(snapshot: &TaskSnapshot) -> StatusReply {
    StatusReply::of(snapshot).with(snapshot.estimate)
}

/// Records for the log which task the request concerns.
fn note_task(request: &HttpRequest, snapshot: &TaskSnapshot) {
    Notes::of(&mut request.extensions_mut()).task_id = Some(snapshot.task.id);
}
