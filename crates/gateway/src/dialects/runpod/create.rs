//! `POST /v2/{model}/run` and `/runsync`: create jobs.

use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use protocol::{Lane, ModelId, TaskId, WebhookForm};
use serde_json::{Value, json};

use super::super::jobs;
use super::super::openai::request::refuse;
use super::reply;
use crate::body::read_chat;
use crate::extract::Submitter;
use crate::follow::{Waited, for_end};
use crate::hangup::ClientEnd;
use crate::idempotency;
use crate::middleware::Notes;
use crate::options::Options;
use crate::order::Order;
use crate::refusal::Refusal;
use crate::route::query_value;
use crate::state::State;
use crate::submit::submit;
use crate::validate::fields::Fields;
use crate::validate::{FieldError, MAX_AHEAD_S, echo, webhook};

/// The default, minimum and maximum wait of `/runsync`, in milliseconds.
const WAIT_MS: u64 = 90_000;
const MIN_WAIT_MS: u64 = 1_000;
const MAX_WAIT_MS: u64 = 300_000;

/// Creates a job and returns its id.
pub(super) async fn run(
    caller: Submitter,
    model: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let id = create(&caller, &model, &request, payload, &state).await?;
    Ok(HttpResponse::Ok().json(json!({"id": id, "status": "IN_QUEUE"})))
}

/// Creates a job and waits for its end, up to the time that the client sets. The job goes on if the
/// client leaves: its state has a route of its own.
pub(super) async fn run_sync(
    caller: Submitter,
    model: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let patience = patience(&request)?;
    let id = create(&caller, &model, &request, payload, &state).await?;
    let snapshot = match for_end(&state, &ClientEnd::of(&request), id, patience).await? {
        Waited::Ended(snapshot) => *snapshot,
        Waited::NotYet | Waited::HungUp => state.task(caller.tenant(), id).await?,
    };
    Ok(HttpResponse::Ok().json(reply::job(&snapshot)))
}

/// Reads how long `/runsync` waits.
fn patience(request: &HttpRequest) -> Result<Duration, Refusal> {
    let Some(given) = query_value(request, "wait") else {
        return Ok(Duration::from_millis(WAIT_MS));
    };
    let millis = given.parse().ok().filter(|ms| (MIN_WAIT_MS..=MAX_WAIT_MS).contains(ms));
    millis.map(Duration::from_millis).ok_or_else(|| {
        let message = format!(
            "must be milliseconds from {MIN_WAIT_MS} to {MAX_WAIT_MS}, is '{}'",
            echo(&given)
        );
        let problem = FieldError::new(["query".into(), "wait".into()], "value_error", message);
        Refusal::invalid(vec![problem])
    })
}

async fn create(
    caller: &Submitter,
    model: &str,
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
) -> Result<TaskId, Refusal> {
    let options = &state.options;
    let body = read_chat(request, payload, state).await?;
    let model = state.resolve(Some(model)).await?;
    let mut order = read(&body, model, options).map_err(Refusal::invalid)?;
    let idempotency = idempotency::of(request.headers(), "runpod", &body)?;
    body.leave_to(&mut order);
    let id = submit(state, caller, order, idempotency).await?.submitted.task_id;
    Notes::of(&mut request.extensions_mut()).task_id = Some(id);
    Ok(id)
}

/// Reads a body whose model is already resolved.
fn read(body: &Value, model: ModelId, options: &Options) -> Result<Order, Vec<FieldError>> {
    let mut fields = Fields::lenient(body)?;
    let webhook = webhook::read(&mut fields, "webhook", WebhookForm::Job, options.guard());
    let storage = ("s3Config", &[][..], "the job has its output");
    refuse(&mut fields, &[storage]);
    let policy = fields.get("policy").map(Policy::read).transpose();
    let order = jobs::order(body, model, options, &[]);
    let order = fields.finish(Some(order))??;
    let Policy { time_limit_s, expires_in, is_low } = policy?.unwrap_or_default();
    let mut queueing = order.queueing;
    if let Some(seconds) = time_limit_s {
        queueing.time_limit_s = queueing.time_limit_s.min(seconds);
    }
    queueing.expires_in = expires_in;
    if is_low {
        queueing.lane = Some(Lane::Low);
    }
    Ok(Order { webhook, queueing, ..order })
}

/// The `policy` of a job.
#[derive(Default)]
struct Policy {
    time_limit_s: Option<u32>,
    expires_in: Option<Duration>,
    is_low: bool,
}

impl Policy {
    fn read(policy: &Value) -> Result<Self, Vec<FieldError>> {
        let within = |problems: Vec<FieldError>| {
            let within = |mut problem: FieldError| {
                problem.loc.insert(1, "policy".into());
                problem
            };
            problems.into_iter().map(within).collect::<Vec<_>>()
        };
        let mut fields = Fields::lenient(policy).map_err(within)?;
        let longest = u64::from(MAX_AHEAD_S) * 1000;
        let time_limit = fields.integer("executionTimeout", 1..=longest);
        let expires_in = fields.integer("ttl", 1..=longest);
        let is_low = fields.boolean("lowPriority").unwrap_or(false);
        let seconds = |ms: u64| u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX);
        let policy = Self {
            time_limit_s: time_limit.map(seconds),
            expires_in: expires_in.map(Duration::from_millis),
            is_low,
        };
        fields.finish(Some(policy)).map_err(within)
    }
}
