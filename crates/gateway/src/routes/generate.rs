//! `POST /generate`: a prompt becomes a queued task.

use actix_web::http::header::LOCATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use protocol::{Lane, Task, TaskId, TaskState};
use queue::{Bounds, SubmitOptions};

use crate::auth::Caller;
use crate::body::read_json;
use crate::error::ApiError;
use crate::middleware::Notes;
use crate::openapi::{GenerateBody, SubmitErrors};
use crate::replies::{ResultReply, StatusReply};
use crate::state::State;
use crate::validate::{self, GenerateRequest, Limits};
use crate::wait;

const PREFER: &str = "prefer";
const PREFERENCE_APPLIED: &str = "preference-applied";

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
    let task_id = submit(caller, &request, payload, &state).await?;
    let location = (LOCATION, format!("/result/{task_id}"));

    let prefer = request.headers().get_all(PREFER).filter_map(|value| value.to_str().ok());
    let patience = validate::preferred_wait(prefer);
    let applied = patience.map(|seconds| (PREFERENCE_APPLIED, format!("wait={seconds}")));
    let ended = match patience {
        None | Some(0) => None,
        Some(seconds) => wait::for_end(&state, &request, task_id, seconds).await,
    };
    let answer = |mut response: HttpResponseBuilder| {
        response.insert_header(location);
        if let Some(applied) = applied {
            response.insert_header(applied);
        }
        response
    };
    Ok(match ended.as_ref().and_then(ResultReply::of) {
        Some(result) => answer(HttpResponse::Ok()).json(result),
        None => answer(HttpResponse::Accepted()).json(StatusReply {
            status: TaskState::Queued,
            task_id,
            message: format!("The task is queued; poll GET /result/{task_id}"),
        }),
    })
}

/// Reads, judges and queues. Nothing of the body outlives this: many may wait afterwards.
async fn submit(
    caller: Caller,
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
) -> Result<TaskId, ApiError> {
    let options = &state.options;
    let patience = options.client_timeout;
    let body = read_json(request, payload, options.max_body_bytes(), patience).await?;

    // Who serves what is asked only if it matters.
    let other_models = match validate::named_model(&body) {
        Some(name) if name != options.default_model.as_str() => state.other_models().await?,
        _ => Vec::new(),
    };
    let limits = Limits {
        max_prompt_bytes: options.max_prompt_bytes,
        max_new_tokens: options.max_new_tokens,
        default_model: &options.default_model,
        other_models: &other_models,
    };
    let asked = validate::generate(&body, &limits).map_err(ApiError::Invalid)?;

    let task = task(asked, caller, state);
    let bounds = Bounds { model: options.max_queue_size, ..Bounds::NONE };
    let submit = SubmitOptions { bounds, ..SubmitOptions::PLAIN };
    state.ask(state.broker.submit(&task, &submit)).await?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(task.id);
    Ok(task.id)
}

fn task(asked: GenerateRequest, caller: Caller, state: &State) -> Task {
    Task {
        id: TaskId::new(),
        tenant: caller.0,
        model: asked.model,
        lane: Lane::default(),
        prompt: asked.prompt,
        params: asked.params,
        time_limit_s: state.options.task_time_limit_s,
        result_ttl_s: state.options.result_ttl_s,
        max_attempts: state.options.max_attempts,
        user_id: asked.user_id,
        metadata: std::collections::BTreeMap::new(),
    }
}
