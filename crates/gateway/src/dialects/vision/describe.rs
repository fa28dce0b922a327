//! `POST /api/v1/describe`: describes one image.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::TaskSnapshot;
use serde_json::{Value, json};

use super::PROMPT;
use crate::extract::Submitter;
use crate::follow::Call;
use crate::follow::answer::Answer;
use crate::form::Form;
use crate::idempotency;
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate::FieldError;

/// Queues the task and waits for its end.
pub(super) async fn describe(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let state = state.into_inner();
    let mut form = Form::read(&request, payload, &state).await?;
    match form.fields.pictures().count() {
        0 => return Err(invalid("image", "missing", "this field is required: an image")),
        1 => {}
        _ => {
            let message = "describe takes one image; POST /api/v1/batch takes several";
            return Err(invalid("image", "too_long", message));
        }
    }
    let idempotency = idempotency::of_form(request.headers(), "describe", || form.identity())?;
    if !form.fields.has_prompt() {
        form.fields.set_prompt(PROMPT);
    }
    let order = form.into_order(&state, None).await?;
    let call = Call::submit(&request, &state, &caller, order, idempotency, began).await?;
    call.respond(description).await
}

/// Formats an ended task.
pub(super) fn description(snapshot: &TaskSnapshot) -> Result<Value, Refusal> {
    let (answers, usage) = Answer::all(snapshot)?;
    let text = answers.into_iter().next().map(|answer| answer.text).unwrap_or_default();
    let seconds = snapshot.metrics().map_or(0.0, |metrics| metrics.processing_time);
    Ok(json!({
        "description": text,
        "model_used": snapshot.task.model,
        "tokens_generated": usage.completion_tokens,
        "generation_time": (seconds * 1000.0).round() / 1000.0,
    }))
}

/// Refuses a form for one of its fields.
pub(super) fn invalid(field: &str, kind: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::invalid(vec![FieldError::new(["body".into(), field.into()], kind, message)])
}
