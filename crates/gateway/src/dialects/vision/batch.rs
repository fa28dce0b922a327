//! `POST /api/v1/batch`: describes several images, each in a task of its own.

use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use protocol::TaskSnapshot;
use queue::Idempotency;
use serde_json::{Value, json};
use skills::Skill;

use super::PROMPT;
use super::describe::{description, invalid};
use crate::extract::Submitter;
use crate::follow::Call;
use crate::form::Form;
use crate::idempotency;
use crate::middleware::Notes;
use crate::refusal::{Code, Refusal};
use crate::replies::ResultReply;
use crate::state::State;
use crate::submit::{Prepared, prepare};
use crate::validate::FieldError;

/// Queues a task for each image and waits for all. If one can't be queued, none is.
pub(super) async fn batch(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let state = state.into_inner();
    respond(&caller, &request, payload, &state, None).await
}

/// Answers a form with several images, for a skill or without one.
pub(super) async fn respond(
    caller: &Submitter,
    request: &HttpRequest,
    payload: web::Payload,
    state: &Arc<State>,
    skill: Option<&Skill>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let form = Form::read(request, payload, state).await?;
    let route = skill.map_or("batch".to_owned(), |skill| format!("batch of {}", skill.name));
    let idempotency = idempotency::of_form(request.headers(), &route, || form.identity())?;
    let default = skill.is_none().then_some(PROMPT);
    let forms = forms(form, state.options.images.max, default)?;
    let prepared = prepare_all(state, caller, forms, skill).await?;
    let mut call: Option<Call> = None;
    for (index, prepared) in prepared.into_iter().enumerate() {
        let own = idempotency.clone().map(|of| of_task(of, index));
        // A call that is dropped cancels its tasks.
        let submitted = prepared.submit(state, caller, own).await?.submitted;
        match &mut call {
            Some(call) => call.join(&submitted),
            None => {
                Notes::of(&mut request.extensions_mut()).task_id = Some(submitted.task_id);
                call = Some(Call::waiting(request, state, submitted, began));
            }
        }
    }
    let call = call.ok_or_else(|| Refusal::internal("a batch without images"))?;
    let is_skill = skill.is_some();
    let outcome = move |snapshot: &TaskSnapshot| match is_skill {
        true => json!(ResultReply::of(snapshot)),
        false => outcome(snapshot),
    };
    call.respond_each(move |ended| Ok(ended.iter().map(outcome).collect())).await
}

/// Divides a form into one for each image. `default` is the prompt if the form has none.
fn forms(mut form: Form, most: usize, default: Option<&str>) -> Result<Vec<Form>, Refusal> {
    let prompts = form.fields.take_prompts();
    let pictures = form.fields.take_pictures();
    let count = pictures.len();
    if count == 0 {
        let message = "this field is required: an image, or several";
        return Err(invalid("images", "missing", message));
    }
    if count > most {
        let message = format!("a request may have {most} images (MAX_IMAGES), has {count}");
        return Err(invalid("images", "too_long", message));
    }
    if prompts.len() > 1 && prompts.len() != count {
        let message = format!(
            "expected one prompt for all images, or as many as images: there are {} prompts and {count} images",
            prompts.len()
        );
        return Err(invalid("prompts", "value_error", message));
    }
    let forms = pictures.into_iter().enumerate().map(|(index, picture)| {
        let prompt = prompts.get(index).or(prompts.first()).map(String::as_str).or(default);
        Form { fields: form.fields.with(picture, prompt), room: form.room.clone() }
    });
    Ok(forms.collect())
}

/// Validates all forms and stores their images. Reports the problems of all.
async fn prepare_all(
    state: &State,
    caller: &Submitter,
    forms: Vec<Form>,
    skill: Option<&Skill>,
) -> Result<Vec<Prepared>, Refusal> {
    let (mut all, mut problems) = (Vec::new(), Vec::<FieldError>::new());
    for form in forms {
        let one = async {
            let order = form.into_order(state, skill).await?;
            prepare(None, state, caller.access(), order).await
        };
        match one.await {
            Ok(prepared) => all.push(prepared),
            Err(refusal) if refusal.code == Code::Invalid => {
                let new = |problem: &FieldError| !problems.contains(problem);
                let new: Vec<FieldError> = refusal.problems.into_iter().filter(new).collect();
                problems.extend(new);
            }
            Err(refusal) => return Err(refusal),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(Refusal::invalid(problems)) }
}

/// Gives each task an idempotency key of its own.
fn of_task(of: Idempotency, index: usize) -> Idempotency {
    match index {
        0 => of,
        // With a space, which no client's key has.
        _ => Idempotency { key: format!("{} {index}", of.key), ..of },
    }
}

/// Formats an ended task: the description, or why there is none.
fn outcome(snapshot: &TaskSnapshot) -> Value {
    description(snapshot).unwrap_or_else(|_| json!(ResultReply::of(snapshot)))
}
