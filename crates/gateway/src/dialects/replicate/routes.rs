//! `GET /v1/predictions`, `GET /v1/predictions/{id}` and `POST /v1/predictions/{id}/cancel`.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{BlobId, TaskId};
use queue::{BlobOrder, BlobPage, CancelReply};
use serde_json::{Value, json};

use super::record::{PURPOSE, Record, find};
use super::reply::Links;
use crate::extract::{Caller, Submitter};
use crate::follow::for_end;
use crate::hangup::ClientEnd;
use crate::refusal::Refusal;
use crate::route::query_value;
use crate::state::State;
use crate::validate::{FieldError, echo};

/// Maximum time that a cancellation waits for the worker to stop.
const CANCEL_PATIENCE: Duration = Duration::from_secs(3);
/// The number of predictions of a page.
const PAGE: usize = 50;

/// Returns a prediction.
pub(super) async fn show(
    caller: Caller,
    name: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let (record, snapshot) = find(&state, caller.tenant(), &name, &request).await?;
    Ok(HttpResponse::Ok().json(Links::of(&request).prediction(&record, &snapshot)))
}

/// Cancels a prediction. One that has ended stays as it is.
pub(super) async fn cancel(
    caller: Submitter,
    name: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let (record, snapshot) = find(&state, caller.tenant(), &name, &request).await?;
    let id = snapshot.task.id;
    if let CancelReply::Requested = state.ask(state.broker.cancel(id)).await? {
        for_end(&state, &ClientEnd::of(&request), id, CANCEL_PATIENCE).await?;
    }
    let snapshot = state.task(caller.tenant(), id).await?;
    Ok(HttpResponse::Ok().json(Links::of(&request).prediction(&record, &snapshot)))
}

/// Lists the caller's predictions, the newest first.
pub(super) async fn list(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let after = query_value(&request, "cursor").map(|cursor| {
        cursor.parse::<BlobId>().map_err(|_| {
            let message = format!("'{}' is not a cursor of this list", echo(&cursor));
            let problem =
                FieldError::new(["query".into(), "cursor".into()], "value_error", message);
            Refusal::invalid(vec![problem])
        })
    });
    let page = BlobPage {
        purpose: Some(PURPOSE.to_owned()),
        after: after.transpose()?,
        limit: PAGE,
        order: BlobOrder::Newest,
    };
    let found = state.ask(state.blobs.list(caller.tenant(), &page)).await?;
    let links = Links::of(&request);
    let mut results: Vec<Value> = Vec::with_capacity(found.blobs.len());
    for blob in &found.blobs {
        let id = TaskId::from(blob.id.as_uuid());
        // A record outlives its task.
        let Some(snapshot) = state.ask(state.broker.snapshot(id)).await? else { continue };
        if let Some(record) = Record::load(&state, caller.tenant(), blob.id).await? {
            results.push(links.prediction(&record, &snapshot));
        }
    }
    let last = found.blobs.last().filter(|_| found.has_more);
    let next = last.map(|last| links.to(&format!("/v1/predictions?cursor={}", last.id)));
    Ok(HttpResponse::Ok().json(json!({"next": next, "previous": null, "results": results})))
}
