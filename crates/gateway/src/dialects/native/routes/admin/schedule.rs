//! `GET /admin/schedule` and `POST /admin/schedule/{name}/run`: the periodic tasks.

use std::collections::BTreeMap;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use futures::{StreamExt, stream};
use protocol::{TaskId, Timestamp};
use queue::{PeriodicId, StoredPeriodic};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Operator;
use crate::middleware::Notes;
use crate::operators::{PeriodicReply, PeriodicRunReply, ScheduleReply};
use crate::periodic::{access_of, run_now};
use crate::refusal::{Code, Refusal};
use crate::schemas::{AdminErrors, ErrorReply, InvalidReply};
use crate::state::State;
use crate::timetable::{Entry, Payer, next};
use crate::validate::echo;

/// The number of latest tasks whose states are read at once.
const AT_ONCE: usize = 16;

/// A run that an operator asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunReply {
    /// The periodic task.
    #[schema(example = "nightly-report")]
    name: String,
    /// Its new task.
    #[schema(value_type = String, format = "uuid")]
    task_id: TaskId,
    /// The state of the task.
    #[schema(example = "queued")]
    status: &'static str,
}

/// List the periodic tasks
///
/// Returns those of this gateway's schedule, each with its next occurrence and its latest task.
#[utoipa::path(
    get,
    path = "/admin/schedule",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    responses(
        (status = 200, description = "The periodic tasks.", body = ScheduleReply),
        AdminErrors,
    )
)]
pub(crate) async fn list(_: Operator, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let timetable = state.periodic.timetable();
    let (now, stored) = state.ask(state.broker.periodic_tasks()).await?;
    let stored: BTreeMap<_, _> =
        stored.into_iter().map(|stored| (stored.id.clone(), stored)).collect();
    let replies = timetable.entries().iter().map(|entry| reply(&state, entry, &stored, now));
    let replies: Vec<Result<_, Refusal>> = stream::iter(replies).buffered(AT_ONCE).collect().await;
    Ok(HttpResponse::Ok().json(ScheduleReply {
        at: now.as_millis(),
        configured: timetable.is_configured(),
        tasks: replies.into_iter().collect::<Result<_, _>>()?,
    }))
}

async fn reply(
    state: &State,
    entry: &Entry,
    stored: &BTreeMap<PeriodicId, StoredPeriodic>,
    now: Timestamp,
) -> Result<PeriodicReply, Refusal> {
    let access = access_of(state, &entry.payer).await;
    let owner = access.as_ref().ok().map(|access| access.owner.clone());
    let held = owner.as_ref().and_then(|owner| {
        stored.get(&PeriodicId { owner: owner.clone(), name: entry.name.clone() })
    });
    let last = match held.and_then(|held| Some((held.task_id?, held.state.last?))) {
        Some((task_id, run)) => {
            let snapshot = state.ask(state.broker.snapshot(task_id)).await?;
            Some(PeriodicRunReply {
                task_id: task_id.to_string(),
                status: snapshot.map(|snapshot| snapshot.state.as_str().to_owned()),
                occurrence: run.occurrence.as_millis(),
                submitted_at: run.at.as_millis(),
                manual: run.manual,
            })
        }
        None => None,
    };
    let refused = access.err().map(|refusal| refusal.message_with_paths());
    let trouble = held.and_then(|held| held.state.trouble.as_ref());
    let problem = refused
        .or_else(|| state.periodic.obstacle(&entry.name))
        .or_else(|| trouble.map(|trouble| trouble.reason.clone()));
    let reached = held.map_or(now, |held| held.state.reached);
    Ok(PeriodicReply {
        name: entry.name.clone(),
        cron: entry.timing.expression().to_owned(),
        timezone: entry.timing.zone().to_owned(),
        owner: owner.map(|owner| owner.as_str().to_owned()),
        key: match &entry.payer {
            Payer::Key(key) => Some(key.as_str().to_owned()),
            Payer::Owner(_) => None,
        },
        missed: entry.missed.as_str().to_owned(),
        enabled: entry.enabled,
        next_at: next(entry, reached).filter(|_| entry.enabled).map(Timestamp::as_millis),
        last,
        runs: held.map_or(0, |held| held.state.runs),
        skipped: held.map_or(0, |held| held.state.skipped),
        problem,
    })
}

/// Run a periodic task now
///
/// Submits one task, also of a disabled entry. Its occurrences are not affected.
#[utoipa::path(
    post,
    path = "/admin/schedule/{name}/run",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("name" = String, Path, description = "The name of the periodic task.")),
    responses(
        (status = 202, description = "The task is queued.", body = RunReply),
        (status = 404, description = "There is no such periodic task; the message lists them.", body = ErrorReply),
        (status = 409, description = "The key that the schedule names is refused, or the periodic task changes all the time.", body = ErrorReply),
        (status = 422, description = "The request of the schedule is not valid now: no worker serves its model.", body = InvalidReply),
        (status = 429, description = "The queue is full, or a limit on use is reached.", body = ErrorReply),
        AdminErrors,
    )
)]
pub(crate) async fn run(
    operator: Operator,
    name: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    operator.acts("schedule.run", echo(&name));
    let entry = state.periodic.find(&name).ok_or_else(|| missing(&state, &name))?;
    let task_id = run_now(&state, &entry).await.map_err(|refusal| match refusal.code {
        // It is about the key of the schedule, not about the operator's.
        Code::InvalidKey | Code::PermissionDenied => Refusal::conflict(refusal.message),
        _ => refusal,
    })?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(task_id);
    let (client, name) = (&operator.client, entry.name.clone());
    tracing::info!(
        target: "gateway.admin", who = "admin", %client, %task_id,
        "the periodic task '{name}' is submitted"
    );
    Ok(HttpResponse::Accepted().json(RunReply { name, task_id, status: "queued" }))
}

fn missing(state: &State, name: &str) -> Refusal {
    let timetable = state.periodic.timetable();
    let names: Vec<&str> = timetable.entries().iter().map(|entry| entry.name.as_str()).collect();
    let there_are = match timetable.is_configured() {
        false => "this gateway has no schedule (SCHEDULE_FILE)".to_owned(),
        true => format!("there are: {}", names.join(", ")),
    };
    let message = format!("There is no periodic task '{}'; {there_are}", echo(name));
    Refusal::not_found("periodic task", message)
}
