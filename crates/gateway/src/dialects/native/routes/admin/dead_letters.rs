//! `/admin/dead-letters`: lists, requeues and deletes tasks that have used up their attempts.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use protocol::{TaskId, TaskState, Timestamp};
use queue::{DeadLetter, Failure, Purge};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Operator;
use crate::middleware::Notes;
use crate::operators::{DeadLetterReply, FailureReply};
use crate::refusal::Refusal;
use crate::route::query_value;
use crate::schemas::{AdminErrors, ErrorReply, InvalidReply};
use crate::state::State;
use crate::validate::admin;

/// Some dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLettersReply {
    /// The latest first; without what was asked.
    dead_letters: Vec<DeadLetterReply>,
    /// What to ask for as `before` to get the next; null when there are no more.
    #[schema(value_type = Option<u64>, example = 1_763_739_045_123_u64)]
    next_before: Option<Timestamp>,
}

/// What a replay made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayReply {
    /// The new task. It belongs to the key that the old one belonged to.
    #[schema(value_type = String, format = "uuid")]
    task_id: TaskId,
    /// Where it is.
    #[schema(value_type = String, example = "queued")]
    status: TaskState,
    /// The dead letter's task; it keeps its outcome.
    #[schema(value_type = String, format = "uuid")]
    replayed: TaskId,
}

/// How many went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletedReply {
    /// Dead letters deleted.
    #[schema(example = 3)]
    deleted: u64,
}

/// Describes a letter, with its task if `whole`.
fn describe(letter: DeadLetter, whole: bool) -> Result<DeadLetterReply, Refusal> {
    let task = whole.then(|| serde_json::to_value(&letter.task)).transpose();
    Ok(DeadLetterReply {
        task_id: letter.task.id.to_string(),
        model: letter.task.model.as_str().to_owned(),
        error_type: letter.error.error_type.as_str().to_owned(),
        error_message: letter.error.message,
        failures: letter.failures.into_iter().map(failure).collect(),
        submitted_at: letter.submitted_at.as_millis(),
        died_at: letter.died_at.as_millis(),
        task: task.map_err(|error| Refusal::internal(error.to_string()))?,
    })
}

fn failure(failure: Failure) -> FailureReply {
    FailureReply {
        attempt: failure.attempt.get(),
        worker: failure.worker.to_string(),
        at: failure.at.as_millis(),
        error_type: failure.error.error_type.as_str().to_owned(),
        error_message: failure.error.message,
    }
}

/// List dead letters
///
/// Dead letters are tasks that used up their attempts. The latest comes first. At most 1,000 are kept, for 7 days.
#[utoipa::path(
    get,
    path = "/admin/dead-letters",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(
        ("model" = Option<String>, Query, description = "Returns only those of this model."),
        ("before" = Option<u64>, Query,
            description = "Returns only those that died before this time: `next_before` of the previous page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "The maximum number of dead letters. The default is 50."),
    ),
    responses(
        (status = 200, description = "A page of dead letters.", body = DeadLettersReply),
        (status = 422, description = "The query is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn list(
    _: Operator,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let query = |name| query_value(&request, name);
    let (before, limit) = (query("before"), query("limit"));
    let page = admin::page(query("model"), before.as_deref(), limit.as_deref())
        .map_err(Refusal::invalid)?;
    let letters = state.ask(state.broker.dead_letters(&page)).await?;
    let is_full = letters.len() == page.limit;
    let next_before = letters.last().filter(|_| is_full).map(|last| last.died_at);
    let dead_letters =
        letters.into_iter().map(|letter| describe(letter, false)).collect::<Result<_, _>>()?;
    Ok(HttpResponse::Ok().json(DeadLettersReply { dead_letters, next_before }))
}

/// Show a dead letter
#[utoipa::path(
    get,
    path = "/admin/dead-letters/{task_id}",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("task_id" = uuid::Uuid, Path, description = "The id of the failed task.")),
    responses(
        (status = 200, description = "The dead letter, with its request and the error of each attempt.", body = DeadLetterReply),
        (status = 404, description = "There is no such dead letter.", body = ErrorReply),
        (status = 422, description = "The id is not a UUID.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn show(
    _: Operator,
    id: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let id = named(&id, &request)?;
    let letter = state.ask(state.broker.dead_letter(id)).await?.ok_or_else(|| none(id))?;
    Ok(HttpResponse::Ok().json(describe(letter, true)?))
}

/// Replay a dead letter
///
/// Submits its task as a new one for the same key, even if the queue is full, and removes the dead letter.
/// A repeated request returns the same new task, as long as that is stored.
#[utoipa::path(
    post,
    path = "/admin/dead-letters/{task_id}/replay",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("task_id" = uuid::Uuid, Path, description = "The id of the failed task.")),
    responses(
        (status = 202, description = "A new task is queued.", body = ReplayReply),
        (status = 404, description = "There is no such dead letter.", body = ErrorReply),
        (status = 422, description = "The id is not a UUID.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn replay(
    operator: Operator,
    id: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let id = named(&id, &request)?;
    operator.acts("dead_letters.replay", id.to_string());
    let submitted = state.ask(state.broker.replay(id)).await?.ok_or_else(|| none(id))?;
    let (task_id, status, client) = (submitted.task_id, submitted.state, operator.client);
    tracing::info!(
        target: "gateway.admin", who = "admin", %client, task_id = %id, new_task_id = %task_id,
        "a dead letter is replayed"
    );
    Ok(HttpResponse::Accepted().json(ReplayReply { task_id, status, replayed: id }))
}

/// Delete a dead letter
#[utoipa::path(
    delete,
    path = "/admin/dead-letters/{task_id}",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("task_id" = uuid::Uuid, Path, description = "The id of the failed task.")),
    responses(
        (status = 200, description = "The dead letter is deleted.", body = DeletedReply),
        (status = 404, description = "There is no such dead letter.", body = ErrorReply),
        (status = 422, description = "The id is not a UUID.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn delete(
    operator: Operator,
    id: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let id = named(&id, &request)?;
    operator.acts("dead_letters.delete", id.to_string());
    let deleted = state.ask(state.broker.purge_dead_letters(&Purge::One(id))).await?;
    if deleted == 0 {
        return Err(none(id));
    }
    let client = operator.client;
    tracing::info!(
        target: "gateway.admin", who = "admin", %client, task_id = %id, "a dead letter is deleted"
    );
    Ok(HttpResponse::Ok().json(DeletedReply { deleted }))
}

/// Delete several dead letters
///
/// Deletes all of a model (`model`) or all (`all`); exactly one of the two is required.
#[utoipa::path(
    delete,
    path = "/admin/dead-letters",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(
        ("model" = Option<String>, Query, description = "Deletes those of this model."),
        ("all" = Option<bool>, Query, description = "`true` deletes all."),
    ),
    responses(
        (status = 200, description = "The dead letters are deleted.", body = DeletedReply),
        (status = 422, description = "Neither or both of the parameters are set.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn purge(
    operator: Operator,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let all = query_value(&request, "all");
    let which = admin::purge(query_value(&request, "model"), all.as_deref())
        .map_err(|problem| Refusal::invalid(vec![problem]))?;
    let model = match &which {
        Purge::Model(model) => Some(model.as_str()),
        Purge::One(_) | Purge::All => None,
    };
    operator.acts("dead_letters.purge", model.unwrap_or("all"));
    let deleted = state.ask(state.broker.purge_dead_letters(&which)).await?;
    let client = operator.client;
    tracing::info!(
        target: "gateway.admin", who = "admin", %client, model, deleted, "dead letters are deleted"
    );
    Ok(HttpResponse::Ok().json(DeletedReply { deleted }))
}

/// Parses the task id of the path, and notes it for the log.
fn named(id: &str, request: &HttpRequest) -> Result<TaskId, Refusal> {
    let id: TaskId = id.parse()?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(id);
    Ok(id)
}

fn none(id: TaskId) -> Refusal {
    Refusal::not_found(
        "dead letter",
        format!(
            "There is no dead letter of task {id}: it was replayed, deleted or is too old, or the task \
             did not use its attempts up; GET /admin/dead-letters lists what there is"
        ),
    )
}
