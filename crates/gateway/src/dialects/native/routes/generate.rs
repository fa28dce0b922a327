//! `POST /generate`: queues a prompt as a task.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use super::generate_form;
use crate::body::read_task;
use crate::extract::Submitter;
use crate::form::is_form;
use crate::idempotency;
use crate::middleware::Notes;
use crate::refusal::Refusal;
use crate::replies::{ResultReply, StatusReply};
use crate::schemas::{GenerateBody, SubmitErrors};
use crate::state::State;
use crate::submit::{Accepted, submit_at};
use crate::validate;
use crate::waiting::Wait;

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
    if is_form(request.headers()) {
        return generate_form::generate(caller, request, payload, state).await;
    }
    let accepted = read_and_submit(caller, &request, payload, &state).await?;
    Wait::as_preferred(&request).for_result(&state, &request, accepted).await
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
    let body = read_task(request, payload, state, options.max_body_bytes()).await?;
    let other_models = state.other_models(validate::named_model(&body)).await?;
    let mut order =
        validate::generate(&body, &options.limits(&other_models)).map_err(Refusal::invalid)?;
    let idempotency = idempotency::of(request.headers(), "generate", &body);
    body.leave_to(&mut order);
    let route = options.common_limits.generate;
    let accepted = submit_at(route, state, &caller, order, idempotency?).await?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(accepted.submitted.task_id);
    Ok(accepted)
}
