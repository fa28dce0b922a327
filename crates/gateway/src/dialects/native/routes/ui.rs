//! `GET /ui/`: the web UI. Its files need no key; the page sends the one that the user types.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY,
};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::refusal::Refusal;

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Redirects to the address with the trailing slash, to which the page's files are relative.
pub(crate) async fn redirect() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "ui/")).finish()
}

/// Returns a file of the UI. Browsers ask again each time, and get 304 if it has not changed.
pub(crate) async fn file(
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let file = ui::file(&path).ok_or_else(Refusal::no_such_path)?;
    let known = request.headers().get(IF_NONE_MATCH).map(HeaderValue::as_bytes);
    let is_known = known.is_some_and(|known| known == file.etag.as_bytes());
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .content_type(file.content_type)
        .insert_header((ETAG, file.etag.as_str()))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, ui::CONTENT_SECURITY_POLICY))
        .insert_header((CROSS_ORIGIN_OPENER_POLICY, "same-origin"))
        .insert_header((PERMISSIONS_POLICY, "camera=(self), microphone=(), geolocation=()"))
        .insert_header((REFERRER_POLICY, "no-referrer"));
    Ok(if is_known { response.finish() } else { response.body(file.bytes) })
}
