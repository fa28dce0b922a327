//! `GET /openapi.json`, and Swagger UI at `GET /docs`. All assets are compiled into the binary, and
//! the page's content security policy forbids to load anything from elsewhere.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use utoipa_swagger_ui::Config;

use crate::refusal::Refusal;

const POLICY: &str = "default-src 'self'; img-src 'self' data:; \
                      style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";

/// The value "none" disables the badge of an online validator.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    Arc::new(
        Config::from("/openapi.json")
            .validator_url("none")
            .try_it_out_enabled(true)
            .display_request_duration(true)
            .persist_authorization(false),
    )
});

/// The serialized OpenAPI document.
pub(crate) struct Document(pub(crate) Bytes);

/// Get this document
///
/// OpenAPI 3.1, with the limits of this server.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    security(()),
    responses((status = 200, description = "The document.", body = Object))
)]
pub(crate) async fn openapi(document: web::Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.0.clone())
}

/// Read and try the API
#[utoipa::path(
    get,
    path = "/docs",
    tag = "service",
    security(()),
    responses((status = 200, description = "Swagger UI.", body = String, content_type = "text/html"))
)]
pub(crate) async fn page() -> Result<HttpResponse, Refusal> {
    serve("index.html", |page| {
        // The page's address has no trailing slash, so relative links would resolve next to it.
        page.replace("\"./", "\"docs/").replace("\"index.css", "\"docs/index.css")
    })
}

/// Returns a file of Swagger UI; `/docs/` returns the page itself.
pub(crate) async fn asset(file: web::Path<String>) -> Result<HttpResponse, Refusal> {
    match file.as_str() {
        "" | "index.html" => serve("index.html", |page| page),
        file => serve(file, |text| text),
    }
}

fn serve(file: &str, edit: impl Fn(String) -> String) -> Result<HttpResponse, Refusal> {
    let found = utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG))
        .map_err(|error| Refusal::internal(format!("Swagger UI: {error}")))?
        .ok_or_else(Refusal::no_such_path)?;
    let mut response = HttpResponse::Ok();
    response
        .content_type(found.content_type)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((CACHE_CONTROL, "public, max-age=3600"));
    if file == "index.html" {
        let page = String::from_utf8_lossy(&found.bytes).replace("Swagger UI", "qwen-queue API");
        return Ok(response.body(edit(page)));
    }
    Ok(response.body(found.bytes.into_owned()))
}
