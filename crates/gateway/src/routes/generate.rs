//! `POST /generate`: queues a prompt as a task.

use actix_web::http::header::LOCATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use protocol::{AnswerForm, Task, TaskId, TaskKind, Timestamp};
use queue::{Bounds, SubmitOptions, Submitted};

use crate::auth::Caller;
use crate::body::read_json;
use crate::error::ApiError;
use crate::idempotency;
use crate::middleware::Notes;
use crate::replies::{ResultReply, StatusReply};
use crate::schemas::{GenerateBody, SubmitErrors};
use crate::state::State;
use crate::validate::{self, GenerateRequest, Limits};
use crate::wait;

const PREFER: &str = "prefer";
const PREFERENCE_APPLIED: &str = "preference-applied";
/// The response header that marks the task of an earlier, identical submit.
const REPLAYED: &str = "idempotent-replayed";

/// Submit a prompt
///
/// Answers at once with a `task_id`. The work goes on when you disconnect; ask
/// `GET /result/{task_id}?wait=30` or follow `GET /events/{task_id}`. With `Prefer: wait=N` the
/// answer is the result itself, if the task ends within N seconds (60 at most).
#[utoipa::path(
    post,
    path = "/generate",
    tag = "tasks",
    params(
        ("Prefer" = Option<String>, Header, example = "wait=30",
            description = "`wait=N`: answer with the result if the task ends within N seconds."),
        ("Idempotency-Key" = Option<String>, Header, example = "order-17", min_length = 1, max_length = 255,
            description = "Your name for this request: sent again with the same body, it finds the \
                           task that it made the first time."),
    ),
    request_body(
        content = GenerateBody,
        example = json!({"prompt": "How do I add a worker?", "max_tokens": 128, "temperature": 0.7}),
    ),
    responses(
        (status = 200, description = "The task has ended while the request waited for it.",
            body = ResultReply,
            headers(
                ("Location" = String, description = "Where the result is."),
                ("Preference-Applied" = String, description = "`wait=N`: how long it would have waited."),
            )),
        (status = 202, description = "The task is queued.", body = StatusReply,
            headers(
                ("Location" = String, description = "Where the result will be."),
                ("Preference-Applied" = String, description = "`wait=N`, if `Prefer` asked to wait."),
                ("Idempotent-Replayed" = String, description = "`true`: an earlier submit made the task."),
            )),
        SubmitErrors,
    )
)]
pub(crate) async fn generate(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, ApiError> {
    let (submitted, warnings) = submit(caller, &request, payload, &state).await?;
    let task_id = submitted.task_id;

    let prefer = request.headers().get_all(PREFER).filter_map(|value| value.to_str().ok());
    let patience = validate::preferred_wait(prefer);
    let ended = match patience {
        None | Some(0) => None,
        Some(seconds) => wait::for_end(&state, &request, task_id, seconds).await,
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
    Ok(match ended.as_ref().and_then(ResultReply::of) {
        Some(result) => answer(HttpResponse::Ok()).json(result.with_warnings(warnings)),
        None => {
            let status = StatusReply::submitted(&submitted);
            answer(HttpResponse::Accepted()).json(status.with_warnings(warnings))
        }
    })
}

/// Reads, validates and queues the task; also returns warnings about ignored features. The body is
/// dropped before this returns, because many requests may wait afterwards.
async fn submit(
    caller: Caller,
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
) -> Result<(Submitted, Vec<String>), ApiError> {
    let options = &state.options;
    let patience = options.client_timeout;
    let body = read_json(request, payload, options.max_body_bytes(), patience).await?;

    // Asks for the served models only if the request names one that is not the default.
    let other_models = match validate::named_model(&body) {
        Some(name) if name != options.default_model.as_str() => state.other_models().await?,
        _ => Vec::new(),
    };
    let limits = Limits {
        max_prompt_bytes: options.max_prompt_bytes,
        max_new_tokens: options.max_new_tokens,
        default_model: &options.default_model,
        other_models: &other_models,
        max_time_limit_s: options.task_time_limit_s,
        max_result_ttl_s: options.result_ttl_s,
        webhooks: state.guard(),
        now: Timestamp::now(),
    };
    let asked = validate::generate(&body, &limits).map_err(ApiError::Invalid)?;
    let warnings = judge(&asked.form).await?;

    let submit = SubmitOptions {
        bounds: Bounds {
            model: options.max_queue_size,
            tenant: options.max_tenant_tasks,
            bytes: options.max_queue_bytes,
        },
        idempotency: idempotency::of(request.headers(), "generate", &body)?,
        start: asked.queueing.start,
        expires_in: asked.queueing.expires_in,
    };
    let task = task(asked, caller, state);
    let submitted = state.ask(state.broker.submit(&task, &submit)).await?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(submitted.task_id);
    Ok((submitted, warnings))
}

/// Compiles the output constraint to check it. Runs on a blocking thread, because this can take
/// long.
async fn judge(form: &AnswerForm) -> Result<Vec<String>, ApiError> {
    if form.constraint.is_none() && !form.tool_choice.is_call() {
        return Ok(Vec::new());
    }
    let form = form.clone();
    match web::block(move || validate::keepable(&form)).await {
        Ok(judged) => judged.map_err(|problem| ApiError::Invalid(vec![problem])),
        // The gateway shuts down; the worker checks the constraint again.
        Err(_) => Ok(Vec::new()),
    }
}

fn task(asked: GenerateRequest, caller: Caller, state: &State) -> Task {
    Task {
        id: TaskId::new(),
        tenant: caller.0,
        model: asked.model,
        lane: asked.queueing.lane,
        prompt: asked.prompt,
        kind: TaskKind::Generate,
        n: 1,
        max_tokens: asked.max_tokens,
        stop: asked.stop,
        sampling: asked.sampling,
        form: asked.form,
        time_limit_s: asked.queueing.time_limit_s,
        result_ttl_s: asked.queueing.result_ttl_s,
        max_attempts: state.options.max_attempts,
        user_id: asked.user_id,
        metadata: asked.queueing.metadata,
        webhook: asked.webhook,
    }
}
