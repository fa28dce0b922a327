//! `/v1/files`: uploads, lists, shows and deletes files, and returns their content. docs/BATCHES.md says what is
//! supported.

mod form;
mod reply;
mod upload;

use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::header::{
    CONTENT_TYPE, Charset, ContentDisposition, DispositionParam, DispositionType, ExtendedValue,
};
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{BlobId, TenantId};
use queue::{BlobPage, FoundBlob};
use serde_json::{Value, json};
use uuid::Uuid;

pub(in crate::dialects) use self::upload::store_any;
use super::query;
use crate::extract::{Caller, Submitter};
use crate::middleware::log;
use crate::refusal::Refusal;
use crate::route::{get, query_value, reads, resource};
use crate::state::State;
use crate::validate::fields::Fields;
use crate::validate::{Loc, echo};

/// The purpose of a file of requests.
pub(super) const BATCH: &str = "batch";
/// The purposes of uploads.
const UPLOADS: [&str; 6] = ["assistants", BATCH, "evals", "fine-tune", USER_DATA, "vision"];
/// The purpose of files that requests name.
const USER_DATA: &str = "user_data";
/// The range of the time for which a client may have files kept, in seconds.
pub(in crate::dialects) const MIN_TTL_S: u64 = 60 * 60;
pub(in crate::dialects) const MAX_TTL_S: u64 = 30 * 24 * 60 * 60;
/// The number of files of a page, which is also the largest.
const PAGE: usize = 10_000;
/// The number of files that are read at once, since the queue does nothing else meanwhile.
const READ: usize = 500;

/// Registers the routes.
pub(super) fn configure(app: &mut ServiceConfig) {
    let work = log!("gateway.openai").work();
    let polls = log!("gateway.openai");
    app.service(
        resource("/files", work, "GET, HEAD, POST")
            .route(web::route().guard(reads()).to(list))
            .route(web::post().to(upload::create)),
    )
    .service(get("/files/{id}/content", work, content))
    .service(
        resource("/files/{id}", polls, "GET, HEAD, DELETE")
            .route(web::route().guard(reads()).to(show))
            .route(web::delete().to(delete)),
    );
}

/// Lists the caller's files.
async fn list(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let purpose = query_value(&request, "purpose").filter(|purpose| !purpose.is_empty());
    let (limit, order) = (query::limit(&request, PAGE, PAGE)?, query::order(&request)?);
    let after = query::after(&request, file_id_of)?;
    // Blobs that the service stores for itself are not listed.
    let is_hidden = purpose.as_ref().is_some_and(|purpose| purpose.starts_with('.'));
    let limit = if is_hidden { 0 } else { limit };
    let (mut files, mut page) = (Vec::new(), BlobPage { purpose, after, limit: 0, order });
    let mut has_more = false;
    while files.len() < limit {
        page.limit = READ.min(limit - files.len());
        let found = state.ask(state.blobs.list(caller.tenant(), &page)).await?;
        files.extend(found.blobs.iter().map(reply::file));
        page.after = found.blobs.last().map(|last| last.id);
        has_more = found.has_more;
        if !has_more {
            break;
        }
    }
    let id = |file: Option<&Value>| file.map(|file| file["id"].clone());
    Ok(HttpResponse::Ok().json(json!({
        "object": "list", "first_id": id(files.first()), "last_id": id(files.last()),
        "data": files, "has_more": has_more,
    })))
}

/// Returns a file's record.
async fn show(
    caller: Caller,
    name: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let found = find(&state, caller.tenant(), &name).await?;
    Ok(HttpResponse::Ok().json(reply::file(&found.blob)))
}

/// Returns a file's content.
async fn content(
    caller: Caller,
    name: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let found = find(&state, caller.tenant(), &name).await?;
    Ok(attachment(found, name.into_inner()))
}

/// Responds with the bytes of a file. `name` is its file name if it has none.
pub(in crate::dialects) fn attachment(found: FoundBlob, name: String) -> HttpResponse {
    let media_type = match found.blob.media_type.as_str() {
        "" => "application/octet-stream",
        other => other,
    };
    let filename = found.blob.filename.clone().unwrap_or(name);
    let filename = match filename.is_ascii() {
        true => DispositionParam::Filename(filename),
        false => DispositionParam::FilenameExt(ExtendedValue {
            charset: Charset::Ext("UTF-8".to_owned()),
            language_tag: None,
            value: filename.into_bytes(),
        }),
    };
    let disposition =
        ContentDisposition { disposition: DispositionType::Attachment, parameters: vec![filename] };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, media_type))
        .insert_header(disposition)
        .body(SizedStream::new(found.blob.size, found.read()))
}

/// Deletes a file.
async fn delete(
    caller: Submitter,
    name: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let found = find(&state, caller.tenant(), &name).await?;
    let id = found.blob.id;
    if !state.ask(state.blobs.delete(caller.tenant(), id)).await? {
        return Err(no_such_file(&name));
    }
    Ok(HttpResponse::Ok().json(json!({"id": file_id(id), "object": "file", "deleted": true})))
}

/// Returns a file that clients may see.
async fn find(state: &State, tenant: &TenantId, name: &str) -> Result<FoundBlob, Refusal> {
    let id = file_id_of(name).ok_or_else(|| no_such_file(name))?;
    let found = state.ask(state.blobs.find(tenant, id)).await?;
    let found = found.filter(|found| !found.blob.is_hidden());
    found.ok_or_else(|| no_such_file(name))
}

/// Returns the id of a file, from that of its blob.
pub(in crate::dialects) fn file_id(id: BlobId) -> String {
    format!("file-{}", id.as_uuid().simple())
}

/// Returns the blob of a file: `file-` and the UUID without hyphens.
pub(super) fn file_id_of(name: &str) -> Option<BlobId> {
    let hex = name.strip_prefix("file-").filter(|hex| hex.len() == 32)?;
    Uuid::try_parse(hex).ok().map(BlobId::from)
}

/// Reads how long the files of a batch are kept: `output_expires_after`.
pub(super) fn output_ttl(fields: &mut Fields<'_>) -> Option<Duration> {
    const FIELD: &str = "output_expires_after";
    let given = fields.get(FIELD)?;
    if given["anchor"] != "created_at" {
        let path: [Loc; 2] = [FIELD.into(), "anchor".into()];
        fields.problem_within(&path, "enum", "must be \"created_at\"");
    }
    let seconds = given["seconds"].as_u64().and_then(ttl);
    if seconds.is_none() {
        let path: [Loc; 2] = [FIELD.into(), "seconds".into()];
        fields.problem_within(&path, "value_error", wrong_ttl());
    }
    seconds
}

fn ttl(seconds: u64) -> Option<Duration> {
    (MIN_TTL_S..=MAX_TTL_S).contains(&seconds).then(|| Duration::from_secs(seconds))
}

fn wrong_ttl() -> String {
    format!("must be an integer from {MIN_TTL_S} to {MAX_TTL_S}")
}

fn no_such_file(name: &str) -> Refusal {
    let message = format!("No such File object: {}", echo(name));
    Refusal::not_found("file", message)
}
