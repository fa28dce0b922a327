//! Submits a validated request: builds the task and gives it to the queue, within its bounds. Knows
//! no dialect.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::web;
use protocol::{
    AnswerForm, GenerationParams, Lane, ModelId, Prompt, Task, TaskId, TenantId, Webhook,
};
use queue::{Bounds, Idempotency, Start, SubmitOptions, Submitted};

use crate::refusal::Refusal;
use crate::state::State;
use crate::validate;

/// What a validated request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// The model that answers.
    pub(crate) model: ModelId,
    /// The prompt.
    pub(crate) prompt: Prompt,
    /// The sampling parameters.
    pub(crate) params: GenerationParams,
    /// The form of the answer. [`submit`] checks whether its constraint can be enforced.
    pub(crate) form: AnswerForm,
    /// The priority.
    pub(crate) lane: Lane,
    /// The earliest start.
    pub(crate) start: Start,
    /// Maximum wait before the task expires.
    pub(crate) expires_in: Option<Duration>,
    /// Maximum compute time of one attempt, in seconds.
    pub(crate) time_limit_s: u32,
    /// The retention time of the result, in seconds.
    pub(crate) result_ttl_s: u32,
    /// The client's label for its end user.
    pub(crate) user_id: Option<String>,
    /// The client's notes.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The webhook to call when the task ends.
    pub(crate) webhook: Option<Webhook>,
}

impl Order {
    /// Creates an order with the defaults of the gateway.
    #[allow(dead_code)] // for dialects with few fields
    pub(crate) fn new(state: &State, prompt: Prompt, params: GenerationParams) -> Self {
        Self {
            model: state.options.default_model.clone(),
            prompt,
            params,
            form: AnswerForm::default(),
            lane: Lane::default(),
            start: Start::Now,
            expires_in: None,
            time_limit_s: state.options.task_time_limit_s,
            result_ttl_s: state.options.result_ttl_s,
            user_id: None,
            metadata: BTreeMap::new(),
            webhook: None,
        }
    }
}

/// An accepted task.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The queue's reply.
    pub(crate) submitted: Submitted,
    /// Requested features that are ignored.
    pub(crate) warnings: Vec<String>,
}

/// Queues a task. With `idempotency`, it may be the task of an earlier submit.
///
/// # Errors
/// If the constraint cannot be enforced, the queue is full or unavailable, or the idempotency key
/// was used for another body.
pub(crate) async fn submit(
    state: &State,
    tenant: TenantId,
    order: Order,
    idempotency: Option<Idempotency>,
) -> Result<Accepted, Refusal> {
    let warnings = judge(&order.form).await?;
    let options = &state.options;
    let submit = SubmitOptions {
        bounds: Bounds {
            model: options.max_queue_size,
            tenant: options.max_tenant_tasks,
            bytes: options.max_queue_bytes,
        },
        idempotency,
        start: order.start,
        expires_in: order.expires_in,
    };
    let task = Task {
        id: TaskId::new(),
        tenant,
        model: order.model,
        lane: order.lane,
        prompt: order.prompt,
        params: order.params,
        form: order.form,
        time_limit_s: order.time_limit_s,
        result_ttl_s: order.result_ttl_s,
        max_attempts: options.max_attempts,
        user_id: order.user_id,
        metadata: order.metadata,
        webhook: order.webhook,
    };
    let submitted = state.ask(state.broker.submit(&task, &submit)).await?;
    Ok(Accepted { submitted, warnings })
}

/// Compiles the output constraint to check it. Runs on a blocking thread, because this can take
/// long.
async fn judge(form: &AnswerForm) -> Result<Vec<String>, Refusal> {
    if form.constraint.is_none() && !form.tool_choice.is_call() {
        return Ok(Vec::new());
    }
    let form = form.clone();
    match web::block(move || validate::keepable(&form)).await {
        Ok(judged) => judged.map_err(|problem| Refusal::invalid(vec![problem])),
        // The gateway shuts down; the worker checks the constraint again.
        Err(_) => Ok(Vec::new()),
    }
}
