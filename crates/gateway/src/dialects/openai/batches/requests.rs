//! [`BatchRequests`]: the requests of batches, and the lines of their files.

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use protocol::{ModelId, TaskId, TenantId};
use queue::Batch;
use serde_json::{Value, json};
use webhooks::payload::openai_event;

use super::super::{chat, completions, embeddings, error, request, responses};
use crate::batches::{LineEnd, LineRequest, Requests, Stop};
use crate::refusal::Refusal;
use crate::state::State;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const EMBEDDINGS: &str = "/v1/embeddings";
const RESPONSES: &str = "/v1/responses";

/// The routes that a batch may have.
pub(in crate::dialects::openai) const ENDPOINTS: [&str; 4] =
    [CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES];

/// Reads and formats requests as OpenAI's batches have them.
pub(in crate::dialects) struct BatchRequests;

impl Requests for BatchRequests {
    fn model<'a>(&self, endpoint: &str, body: &'a Value) -> Result<Option<&'a str>, Refusal> {
        match endpoint {
            CHAT => request::required_model(body).map(Some),
            _ => request::model_name(body),
        }
    }

    fn read<'a>(
        &'a self,
        state: &'a State,
        tenant: &'a TenantId,
        endpoint: &'a str,
        body: &'a Value,
        model: ModelId,
    ) -> BoxFuture<'a, Result<LineRequest, Refusal>> {
        let options = &state.options;
        match endpoint {
            CHAT => ready(chat::batched(body, model, options)).boxed(),
            COMPLETIONS => ready(completions::batched(body, model, options)).boxed(),
            EMBEDDINGS => ready(embeddings::batched(body, model, options)).boxed(),
            _ => responses::batched(state, tenant, body, model).boxed(),
        }
    }

    fn line(&self, id: TaskId, custom_id: &str, end: &LineEnd) -> Value {
        let id = id.as_uuid().simple();
        let response = |status: u16, body: Value| json!({"status_code": status, "request_id": format!("req_{id}"), "body": body});
        let (response, error) = match end {
            LineEnd::Answered(body) => (response(200, body.clone()), Value::Null),
            LineEnd::Refused(refusal) => {
                let (status, body) = error::shape(refusal);
                (response(status.as_u16(), body), Value::Null)
            }
            LineEnd::LeftOut(stop) => (Value::Null, left_out(*stop)),
        };
        json!({
            "id": format!("batch_req_{id}"), "custom_id": custom_id, "response": response,
            "error": error,
        })
    }

    fn end_event(&self, batch: &Batch) -> String {
        let id = batch.request.id.as_uuid();
        let at = batch.ended_at.unwrap_or(batch.created_at);
        let kind = format!("batch.{}", batch.state.as_str());
        openai_event(id.into(), at, &kind, &format!("batch_{}", id.simple()))
    }
}

fn left_out(stop: Stop) -> Value {
    match stop {
        Stop::Expired => json!({
            "code": "batch_expired",
            "message": "This request could not be executed before the completion window expired.",
        }),
        Stop::Cancelled => json!({
            "code": "batch_cancelled",
            "message": "This request was not executed because the batch was cancelled.",
        }),
    }
}
