//! A made-up family of routes with its own error format, to show what one touches: `POST /echo/{text}`
//! submits a prompt and answers with the task's id as plain words.

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use protocol::{AnswerForm, Lane, Prompt, Sampling, TaskKind};
use queue::Start;
use serde_json::{Value, json};

use crate::dialect::Dialect;
use crate::extract::Caller;
use crate::middleware::{Notes, log};
use crate::order::{Order, Queueing};
use crate::refusal::Refusal;
use crate::route::post;
use crate::state::State;
use crate::submit::submit;

pub(super) struct Echo;

impl Dialect for Echo {
    fn prefixes(&self) -> &'static [&'static str] {
        &["/echo"]
    }

    fn configure(&self, app: &mut ServiceConfig) {
        app.service(post("/echo/{text}", log!("gateway.echo").work(), echo));
    }

    fn shape(&self, refusal: &Refusal) -> (StatusCode, Value) {
        (refusal.status, json!({"oops": refusal.message, "why": refusal.code.as_str()}))
    }
}

async fn echo(
    caller: Caller,
    text: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let options = &state.options;
    let order = Order {
        model: options.default_model.clone(),
        kind: TaskKind::Generate,
        prompt: Prompt::user(text.into_inner()),
        n: 1,
        max_tokens: options.max_new_tokens,
        stop: Vec::new(),
        sampling: Sampling::default(),
        form: AnswerForm::default(),
        user_id: None,
        webhook: None,
        queueing: Queueing {
            lane: Lane::Normal,
            start: Start::Now,
            expires_in: None,
            metadata: std::collections::BTreeMap::new(),
            result_ttl_s: options.result_ttl_s,
            time_limit_s: options.task_time_limit_s,
        },
    };
    let accepted = submit(&state, caller.0, order, None).await?;
    let id = accepted.submitted.task_id;
    Notes::of(&mut request.extensions_mut()).task_id = Some(id);
    Ok(HttpResponse::Accepted().body(format!("task {id} will echo")))
}
