//! `GET /admin/tasks` and `POST /admin/tasks/cancel`: find tasks, and cancel those that are queued.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{Metrics, TaskId, Timestamp, Usage};
use queue::{CancelledPage, ListedState, ListedTask, TaskFilter};
use utoipa::ToSchema;

use crate::body::read_json;
use crate::extract::Operator;
use crate::operators::{CancelledReply, TaskReply, TasksReply};
use crate::refusal::Refusal;
use crate::route::query_pairs;
use crate::schemas::{AdminErrors, InvalidReply};
use crate::state::State;
use crate::validate::tasks::{self, Cancellation, TasksQuery};

/// Maximum size of a body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Maximum number of ids in the reply of a cancellation.
const IDS_SHOWN: usize = 20;
/// Maximum number of tasks that are cancelled in one step of the queue.
const STEP: usize = 100;
/// The time after which a cancellation replies, and says where to continue.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which tasks to cancel. All fields that are set must match.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // documents what `validate::tasks` reads
pub(crate) struct CancelTasksBody {
    /// `queued`, `delayed`, or both separated by a comma, which is the default.
    #[schema(example = "queued")]
    state: Option<String>,
    /// Only tasks of this model.
    #[schema(example = "demo")]
    model: Option<String>,
    /// Only tasks of this lane: `high`, `normal`, `low` or `batch`.
    #[schema(example = "batch")]
    lane: Option<String>,
    /// Only tasks of this owner.
    #[schema(example = "acme")]
    tenant: Option<String>,
    /// Only tasks with this `user_id`.
    user_id: Option<String>,
    /// Only tasks whose metadata have all these entries.
    metadata: Option<BTreeMap<String, String>>,
    /// Only tasks that were submitted at least this many seconds ago.
    #[schema(minimum = 0, maximum = 316_224_000, example = 3600)]
    older_than: Option<u64>,
    /// Only tasks that were submitted less than this many seconds ago.
    #[schema(minimum = 0, maximum = 316_224_000)]
    newer_than: Option<u64>,
    /// Whether to cancel all if no other field selects tasks.
    all: Option<bool>,
    /// Whether to only count the tasks; `true` unless set.
    #[schema(default = true)]
    dry_run: Option<bool>,
    /// The maximum number of tasks to cancel, or to count.
    #[schema(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u64>,
    /// `next_cursor` of an earlier reply: continues there.
    cursor: Option<String>,
}

impl From<ListedTask> for TaskReply {
    fn from(task: ListedTask) -> Self {
        let metrics = task.finished_at.map(|finished| {
            Metrics::new(task.submitted_at, task.started_at, finished, Usage::default())
        });
        let of = task.task;
        Self {
            task_id: of.id.to_string(),
            status: task.state.as_str().to_owned(),
            model: of.model.as_str().to_owned(),
            lane: of.lane.as_str().to_owned(),
            tenant: of.tenant.as_str().to_owned(),
            user_id: of.user_id,
            submitted_at: task.submitted_at.as_millis(),
            started_at: task.started_at.map(Timestamp::as_millis),
            ended_at: task.finished_at.map(Timestamp::as_millis),
            attempt: task.attempt.get(),
            worker: task.worker.map(|worker| worker.to_string()),
            run_at: task
                .run_at
                .filter(|_| task.state == ListedState::Delayed)
                .map(Timestamp::as_millis),
            cancel_requested: task.cancel_requested,
            queue_wait_time: metrics.map(|metrics| metrics.queue_wait_time),
            processing_time: metrics.map(|metrics| metrics.processing_time),
            error_type: task.error_type.map(|error| error.as_str().to_owned()),
        }
    }
}

/// List tasks
///
/// Returns the newest first, without prompts and answers. Tasks are listed until their results expire. Filters by state and
/// model are the fastest; with others a page may be short or empty although more follow.
#[utoipa::path(
    get,
    path = "/admin/tasks",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(
        ("state" = Option<String>, Query, example = "queued,delayed", description = "Some of `queued`, `delayed`, `processing`, `completed`, `failed` and `cancelled`, separated by commas."),
        ("model" = Option<String>, Query, description = "Returns only tasks of this model."),
        ("lane" = Option<String>, Query, example = "batch", description = "Returns only tasks of this lane: `high`, `normal`, `low` or `batch`."),
        ("tenant" = Option<String>, Query, description = "Returns only tasks of this owner."),
        ("user_id" = Option<String>, Query, description = "Returns only tasks with this `user_id`."),
        ("metadata" = Option<String>, Query, example = "order=7", description = "Returns only tasks whose metadata have this entry, as `name=value`. May be repeated."),
        ("older_than" = Option<u64>, Query, minimum = 0, maximum = 316_224_000, description = "Returns only tasks that were submitted at least this many seconds ago."),
        ("newer_than" = Option<u64>, Query, minimum = 0, maximum = 316_224_000, description = "Returns only tasks that were submitted less than this many seconds ago."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "The maximum number of tasks. The default is 50."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page."),
    ),
    responses(
        (status = 200, description = "A page of tasks.", body = TasksReply),
        (status = 422, description = "The query is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn list(
    _: Operator,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let TasksQuery { filter, after, limit } =
        tasks::listing(&query_pairs(&request)).map_err(Refusal::invalid)?;
    let page = state.ask(state.broker.tasks(&filter, after, limit)).await?;
    Ok(HttpResponse::Ok().json(TasksReply {
        tasks: page.tasks.into_iter().map(TaskReply::from).collect(),
        next_cursor: page.next.map(|next| next.to_string()),
    }))
}

/// Cancel the queued tasks that match
///
/// By default only counts them: set `dry_run` to `false` to cancel. Running tasks are not stopped. One request cancels at most
/// 1,000 tasks and takes a few seconds; repeat it with `next_cursor` as `cursor` until that is null.
#[utoipa::path(
    post,
    path = "/admin/tasks/cancel",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    request_body = CancelTasksBody,
    responses(
        (status = 200, description = "How many tasks match, and how many were cancelled.", body = CancelledReply),
        (status = 422, description = "The body is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn cancel(
    operator: Operator,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let body = read_json(&request, payload, MAX_BODY, state.options.client_timeout).await?;
    let asked = tasks::cancellation(&body).map_err(Refusal::invalid)?;
    let act = if asked.dry_run { "tasks.count" } else { "tasks.cancel" };
    operator.acts(act, told(&asked.filter));
    let reply = cancel_all(&state, &asked).await?;
    if !asked.dry_run {
        let client = &operator.client;
        tracing::info!(
            target: "gateway.admin", who = "admin", %client, matched = reply.matched,
            cancelled = reply.cancelled, "queued tasks are cancelled"
        );
    }
    Ok(HttpResponse::Ok().json(reply))
}

/// Cancels page by page, within the limit and the time of a request.
async fn cancel_all(state: &State, asked: &Cancellation) -> Result<CancelledReply, Refusal> {
    let Cancellation { filter, after, limit, dry_run } = asked;
    let begun = Instant::now();
    let mut reply = CancelledReply { dry_run: *dry_run, ..CancelledReply::default() };
    let (mut after, mut left) = (*after, *limit);
    loop {
        let step = state.broker.cancel_matching(filter, after, left.min(STEP), *dry_run);
        let CancelledPage { matched, cancelled, next } = state.ask(step).await?;
        reply.matched += matched.len() as u64;
        reply.cancelled += cancelled.len() as u64;
        let shown = if *dry_run { &matched } else { &cancelled };
        let room = IDS_SHOWN - reply.task_ids.len();
        reply.task_ids.extend(shown.iter().take(room).map(TaskId::to_string));
        (after, left) = (next, left.saturating_sub(matched.len()));
        if after.is_none() || left == 0 || begun.elapsed() > PATIENCE {
            reply.next_cursor = after.map(|next| next.to_string());
            return Ok(reply);
        }
    }
}

/// Describes a filter for the audit log, which would escape equals signs.
fn told(filter: &TaskFilter) -> String {
    let TaskFilter { states, model, lane, tenant, user_id, metadata, older_than, newer_than } =
        filter;
    let states: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    let seconds = |age: &Duration| age.as_secs().to_string();
    let fields = [
        ("state", Some(states.join(",")).filter(|states| !states.is_empty())),
        ("model", model.as_ref().map(|model| model.as_str().to_owned())),
        ("lane", lane.map(|lane| lane.as_str().to_owned())),
        ("tenant", tenant.as_ref().map(|tenant| tenant.as_str().to_owned())),
        // The values of these two are the clients' own.
        ("user_id", user_id.as_ref().map(|_| "set".to_owned())),
        ("metadata", Some(metadata.len().to_string()).filter(|_| !metadata.is_empty())),
        ("older_than", older_than.as_ref().map(seconds)),
        ("newer_than", newer_than.as_ref().map(seconds)),
    ];
    let fields: Vec<_> =
        fields.into_iter().filter_map(|(name, value)| Some(format!("{name}:{}", value?))).collect();
    if fields.is_empty() { "all".to_owned() } else { fields.join(" ") }
}
