//! `POST /blobs`, `GET /blobs/{id}`, `GET /blobs/{id}/content`, `DELETE /blobs/{id}`: files that several requests use.

use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::BlobId;
use queue::{Blob, FoundBlob};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use webhooks::payload::rfc3339;

use crate::dialects::openai::files::{self, MAX_TTL_S, MIN_TTL_S};
use crate::extract::{Caller, Submitter};
use crate::refusal::Refusal;
use crate::route::query_value;
use crate::schemas::{BlobErrors, UploadErrors};
use crate::state::State;
use crate::validate::{FieldError, echo};

/// A stored file.
#[derive(Serialize, ToSchema)]
pub(crate) struct BlobReply {
    /// The id by which requests name it.
    #[schema(example = "0192f0c1-2345-7abc-8def-0123456789ab")]
    id: String,
    /// The number of its bytes.
    #[schema(example = 48211)]
    size: u64,
    /// The media type: of images by their content, of other files as the upload declared it.
    #[schema(example = "image/png")]
    media_type: String,
    /// When it is deleted.
    #[schema(example = "2025-12-21T15:30:45.123Z")]
    expires_at: String,
}

impl BlobReply {
    fn of(blob: &Blob) -> Self {
        Self {
            id: blob.id.to_string(),
            size: blob.size,
            media_type: blob.media_type.clone(),
            expires_at: rfc3339(blob.expires_at),
        }
    }
}

/// The reply to a deletion.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeletedBlobReply {
    /// The id of the deleted file.
    id: String,
    /// `true`.
    deleted: bool,
}

/// Store a file
///
/// The body is the file itself, or a form (`multipart/form-data`) with a `file`. Requests then name an image by the
/// `id`, any number of times. It is kept for `BLOB_TTL`, or for `expires_in_s`.
#[utoipa::path(
    post,
    path = "/blobs",
    tag = "blobs",
    params(
        ("expires_in_s" = Option<u64>, Query, minimum = 3600, maximum = 2592000, example = 86400,
            description = "How long the file is kept, in seconds."),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "The bytes of the file."),
    responses(
        (status = 201, description = "The file is stored.", body = BlobReply,
            headers(("Location" = String, description = "The path of the file's record."))),
        UploadErrors,
    )
)]
pub(crate) async fn create(
    caller: Submitter,
    request: HttpRequest,
    payload: Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let ttl = query_value(&request, "expires_in_s").map(|given| ttl(&given)).transpose()?;
    let blob = files::store_any(&caller, &request, payload, &state, ttl).await?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/blobs/{}", blob.id)))
        .json(BlobReply::of(&blob)))
}

/// Show a file's record
#[utoipa::path(
    get,
    path = "/blobs/{id}",
    tag = "blobs",
    params(("id" = String, Path, description = "The file's id.")),
    responses(
        (status = 200, description = "The file's record.", body = BlobReply),
        BlobErrors,
    )
)]
pub(crate) async fn show(
    caller: Caller,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let found = find(&caller, &id, &state).await?;
    Ok(HttpResponse::Ok().json(BlobReply::of(&found.blob)))
}

/// Get a file
#[utoipa::path(
    get,
    path = "/blobs/{id}/content",
    tag = "blobs",
    params(("id" = String, Path, description = "The file's id.")),
    responses(
        (status = 200, description = "The bytes of the file.", content_type = "application/octet-stream"),
        BlobErrors,
    )
)]
pub(crate) async fn content(
    caller: Caller,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let found = find(&caller, &id, &state).await?;
    Ok(files::attachment(found, id.into_inner()))
}

/// Delete a file
///
/// Tasks that name the file and have not started yet fail.
#[utoipa::path(
    delete,
    path = "/blobs/{id}",
    tag = "blobs",
    params(("id" = String, Path, description = "The file's id.")),
    responses(
        (status = 200, description = "The file is deleted.", body = DeletedBlobReply),
        BlobErrors,
    )
)]
pub(crate) async fn delete(
    caller: Submitter,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let blob = find(&caller, &id, &state).await?.blob;
    if !state.ask(state.blobs.delete(caller.tenant(), blob.id)).await? {
        return Err(no_such_blob(&id));
    }
    Ok(HttpResponse::Ok().json(json!({"id": blob.id, "deleted": true})))
}

/// Returns a file of the caller's that clients may see.
async fn find(caller: &Caller, id: &str, state: &State) -> Result<FoundBlob, Refusal> {
    let parsed: BlobId = id.parse().map_err(|_| no_such_blob(id))?;
    let found = state.ask(state.blobs.find(caller.tenant(), parsed)).await?;
    found.filter(|found| !found.blob.is_hidden()).ok_or_else(|| no_such_blob(id))
}

fn no_such_blob(id: &str) -> Refusal {
    let message = format!(
        "Blob '{}' not found: it never existed, it has expired or was deleted, or it belongs to another key",
        echo(id)
    );
    Refusal::not_found("blob", message)
}

fn ttl(given: &str) -> Result<Duration, Refusal> {
    let seconds = given.parse().ok().filter(|seconds| (MIN_TTL_S..=MAX_TTL_S).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let message =
            format!("must be an integer from {MIN_TTL_S} to {MAX_TTL_S}, is '{}'", echo(given));
        let loc = ["query".into(), "expires_in_s".into()];
        Refusal::invalid(vec![FieldError::new(loc, "value_error", message)])
    })
}
