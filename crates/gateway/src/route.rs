//! Registers routes: a path with its handlers, the methods that it takes, and how its requests are
//! logged. Any dialect uses it:
//!
//! ```ignore
//! app.service(route::get("/status/{task_id}", log!("gateway.status"), status));
//! ```

use std::future::ready;

use actix_web::web;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, guard};

use crate::middleware::RouteLog;
use crate::refusal::Refusal;

/// Matches `GET` and `HEAD`.
pub(crate) fn reads() -> impl guard::Guard {
    guard::Any(guard::Get()).or(guard::Head())
}

/// A resource for `GET`. `HEAD` has the same response, whose body the server omits.
pub(crate) fn get<H, Args>(path: &str, log: RouteLog, handler: H) -> Resource
where
    H: Handler<Args>,
    Args: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    resource(path, log, "GET, HEAD").route(web::route().guard(reads()).to(handler))
}

/// A resource for `POST`.
pub(crate) fn post<H, Args>(path: &str, log: RouteLog, handler: H) -> Resource
where
    H: Handler<Args>,
    Args: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    resource(path, log, "POST").route(web::post().to(handler))
}

/// A resource without a handler yet; refuses all methods but those that are added. `allowed` lists
/// them as in the `Allow` header.
pub(crate) fn resource(path: &str, log: RouteLog, allowed: &'static str) -> Resource {
    web::resource(path)
        .app_data(log)
        .default_service(web::to(move || ready(refuse_method(allowed))))
}

fn refuse_method(allowed: &'static str) -> Result<HttpResponse, Refusal> {
    Err(Refusal::method_not_allowed(allowed))
}

/// The handler of all paths without a route.
pub(crate) async fn no_such_path() -> Result<HttpResponse, Refusal> {
    Err(Refusal::no_such_path())
}

/// Returns the last value of a query parameter.
pub(crate) fn query_value(request: &HttpRequest, name: &str) -> Option<String> {
    query_pairs(request).into_iter().rfind(|(given, _)| given == name).map(|(_, value)| value)
}

/// Returns all query parameters, in order.
pub(crate) fn query_pairs(request: &HttpRequest) -> Vec<(String, String)> {
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    query.map(web::Query::into_inner).unwrap_or_default()
}
