//! One file per route. To add a route, add a file here, a line in [`configure`] and one in
//! [`crate::openapi`].

pub(crate) mod admin;
pub(crate) mod cancel;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod info;
pub(crate) mod result;
pub(crate) mod status;
pub(crate) mod webhook;
pub(crate) mod webhook_secret;

use actix_web::web::{self, ServiceConfig};
use actix_web::{
    FromRequest, Handler, HttpMessage, HttpRequest, HttpResponse, Resource, Responder, guard,
};
use protocol::TaskSnapshot;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::middleware::Notes;
use crate::replies::StatusReply;
use crate::state::State;
use crate::{validate, wait};

/// Registers every route.
pub(crate) fn configure(app: &mut ServiceConfig) {
    app.service(get("/", info::info))
        .service(get("/health", health::health))
        .service(get("/ready", health::ready))
        .service(get("/openapi.json", docs::openapi))
        .service(get("/docs", docs::page))
        .service(get("/docs/{file:.*}", docs::asset))
        .service(post("/generate", generate::generate))
        .service(get("/status/{task_id}", status::status))
        .service(get("/result/{task_id}", result::result))
        .service(post("/cancel/{task_id}", cancel::cancel))
        .service(get("/webhook/{task_id}", webhook::webhook))
        .service(get("/webhook-secret", webhook_secret::webhook_secret))
        .service(
            web::resource("/events/{task_id}") // a stream has no HEAD: it would not end
                .route(web::get().to(events::events))
                .default_service(web::to(|| refuse_method("GET"))),
        )
        .configure(admin::configure)
        .default_service(web::to(no_such_path));
}

/// Matches `GET` and `HEAD`.
fn reads() -> impl guard::Guard {
    guard::Any(guard::Get()).or(guard::Head())
}

/// A resource for `GET`. `HEAD` has the same response, whose body the server omits.
fn get<H, Args>(path: &str, handler: H) -> Resource
where
    H: Handler<Args>,
    Args: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::route().guard(reads()).to(handler))
        .default_service(web::to(|| refuse_method("GET, HEAD")))
}

/// A resource for `POST`.
fn post<H, Args>(path: &str, handler: H) -> Resource
where
    H: Handler<Args>,
    Args: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::post().to(handler))
        .default_service(web::to(|| refuse_method("POST")))
}

async fn refuse_method(allowed: &'static str) -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed { allowed })
}

async fn no_such_path() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NoSuchPath)
}

/// Returns the last value of a query parameter.
fn query_value(request: &HttpRequest, name: &str) -> Option<String> {
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let query = query.map(web::Query::into_inner).unwrap_or_default();
    query.into_iter().rfind(|(given, _)| given == name).map(|(_, value)| value)
}

/// Returns the caller's task. With `?wait=`, waits for its end up to that time.
async fn task_after_wait(
    caller: &Caller,
    id: &str,
    request: &HttpRequest,
    state: &State,
) -> Result<TaskSnapshot, ApiError> {
    let seconds = validate::wait(query_value(request, "wait").as_deref())
        .map_err(|error| ApiError::Invalid(vec![error]))?;
    let snapshot = state.task(caller, id).await?;
    note_task(request, &snapshot);
    if seconds == 0 || snapshot.state.is_terminal() {
        return Ok(snapshot);
    }
    let task_id = snapshot.task.id;
    drop(snapshot); // with its prompt: many may wait
    match wait::for_end(state, request, task_id, seconds).await {
        Some(ended) => Ok(ended),
        None => state.task(caller, id).await,
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
