//! `POST /generate`: queues a prompt as a task.

use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use protocol::Timestamp;

use crate::body::read_json;
use crate::extract::Submitter;
use crate::follow::{self, Waited};
use crate::hangup::ClientEnd;
use crate::idempotency;
use crate::middleware::Notes;
use crate::refusal::Refusal;
use crate::replies::{ResultReply, StatusReply};
use crate::schemas::{GenerateBody, SubmitErrors};
use crate::state::State;
use crate::submit::{Accepted, submit_at};
use crate::validate::{self, Limits};

const PREFER: &str = "prefer";
const PREFERENCE_APPLIED: &str = "preference-applied";
/// The response header that marks the task of an earlier, identical submit.
const REPLAYED: &str = "idempotent-replayed";

/// Submit a prompt
///
/// Returns a `task_id` at once. The task runs even if you disconnect; fetch its result with
/// `GET /result/{task_id}?wait=30`, or stream it with `GET /events/{task_id}`. With `Prefer: wait=N` the
/// response is the result itself, if the task ends within N seconds (60 at most).
#[utoipa::path(
    post,
    path = "/generate",
    tag = "tasks",
    params(
        ("Prefer" = Option<String>, Header, example = "wait=30",
            description = "`wait=N` returns the result if the task ends within N seconds."),
        ("Idempotency-Key" = Option<String>, Header, example = "order-17", min_length = 1, max_length = 255,
            description = "A name for this request: sent again with the same body, it returns the \
                           task that the first request created."),
    ),
    request_body(
        content = GenerateBody,
        example = json!({"prompt": "How do I add a worker?", "max_tokens": 128, "temperature": 0.7}),
    ),
    responses(
        (status = 200, description = "The task has ended while the request waited.",
            body = ResultReply,
            headers(
                ("Location" = String, description = "The path of the result."),
                ("Preference-Applied" = String, description = "`wait=N`: the maximum wait."),
            )),
        (status = 202, description = "The task is queued.", body = StatusReply,
            headers(
                ("Location" = String, description = "The path of the future result."),
                ("Preference-Applied" = String, description = "`wait=N`, if `Prefer` asked to wait."),
                ("Idempotent-Replayed" = String, description = "`true` if an earlier request created the task."),
            )),
        SubmitErrors,
    )
)]
pub(crate) async fn generate(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let Accepted { submitted, warnings } =
        read_and_submit(caller, &request, payload, &state).await?;
    let task_id = submitted.task_id;

    let prefer = request.headers().get_all(PREFER).filter_map(|value| value.to_str().ok());
    let patience = validate::preferred_wait(prefer);
    let ended = match patience {
        None | Some(0) => None,
        Some(seconds) => {
            let patience = Duration::from_secs(u64::from(seconds));
            match follow::for_end(&state, &ClientEnd::of(&request), task_id, patience).await? {
                Waited::Ended(snapshot) => Some(snapshot),
                Waited::NotYet | Waited::HungUp => None,
            }
        }
    };
    let answer = |mut response: HttpResponseBuilder| {
        response.insert_header((LOCATION, format!("/result/{task_id}")));
        if let Some(seconds) = patience {
            response.insert_header((PREFERENCE_APPLIED, format!("wait={seconds}")));
        }
        if !submitted.created {
            response.insert_header((REPLAYED, "true"));
        }
        response
    };
    Ok(match ended.as_deref().and_then(ResultReply::of) {
        Some(result) => answer(HttpResponse::Ok()).json(result.with_warnings(warnings)),
        None => {
            let status = StatusReply::submitted(&submitted);
            answer(HttpResponse::Accepted()).json(status.with_warnings(warnings))
        }
    })
}

/// Reads, validates and queues the task. The body is dropped before this returns, because many
/// requests may wait afterwards.
async fn read_and_submit(
    caller: Submitter,
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
) -> Result<Accepted, Refusal> {
    let options = &state.options;
    let patience = options.client_timeout;
    let body = read_json(request, payload, options.max_body_bytes(), patience).await?;
    let other_models = state.other_models(validate::named_model(&body)).await?;
    let limits = Limits {
        max_prompt_bytes: options.max_prompt_bytes,
        max_new_tokens: options.max_new_tokens,
        default_model: &options.default_model,
        other_models: &other_models,
        max_time_limit_s: options.task_time_limit_s,
        max_result_ttl_s: options.result_ttl_s,
        webhooks: options.guard(),
        now: Timestamp::now(),
    };
    let order = validate::generate(&body, &limits).map_err(Refusal::invalid)?;
    let idempotency = idempotency::of(request.headers(), "generate", &body);
    let route = options.common_limits.generate;
    let accepted = submit_at(route, state, &caller, order, idempotency?).await?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(accepted.submitted.task_id);
    Ok(accepted)
}
