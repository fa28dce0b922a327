//! `POST /generate` with a form: queues a text with images, and waits for the answer.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::extract::Submitter;
use crate::follow::answer::Answer;
use crate::form::Form;
use crate::idempotency;
use crate::middleware::Notes;
use crate::refusal::Refusal;
use crate::replies::StatusReply;
use crate::state::State;
use crate::submit::{Accepted, submit_at};
use crate::waiting::Wait;

/// Responds with the answer as `response`, or with the task's id if the wait ends before the task. The task goes on
/// then, and also if the client leaves.
pub(super) async fn generate(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let form = Form::read(&request, payload, &state).await?;
    let idempotency = idempotency::of_form(request.headers(), "generate", || form.identity())?;
    let order = form.into_order(&state, None).await?;
    let route = state.options.common_limits.generate;
    let accepted = submit_at(route, &state, &caller, order, idempotency).await?;
    let Accepted { submitted, warnings, .. } = accepted;
    Notes::of(&mut request.extensions_mut()).task_id = Some(submitted.task_id);

    let wait = Wait::unless_asynchronous(&request, &state);
    let Some(snapshot) = wait.for_end(&state, &request, submitted.task_id).await? else {
        let status = StatusReply::submitted(&submitted).with_warnings(warnings);
        return Ok(wait.head(HttpResponse::Accepted(), &submitted).json(status));
    };
    let (answers, _) = Answer::all(&snapshot)?;
    let text = answers.into_iter().next().map(|answer| answer.text).unwrap_or_default();
    Ok(wait.head(HttpResponse::Ok(), &submitted).json(json!({"response": text})))
}
