//! Submits a validated request: builds the task and gives it to the queue, within its bounds. Knows
//! no dialect.

use actix_web::web;
use protocol::{AnswerForm, Task, TaskId, TaskKind, TenantId};
use queue::{Bounds, Charge, Idempotency, SubmitOptions, Submitted};
use service::settings::Rate;

use crate::charge;
use crate::extract::Submitter;
use crate::order::Order;
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate;

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
/// If the caller may not use the model or the lane, a limit on its use has no room, the constraint cannot be enforced,
/// the queue is full or unavailable, or the idempotency key was used for another body.
pub(crate) async fn submit(
    state: &State,
    caller: &Submitter,
    order: Order,
    idempotency: Option<Idempotency>,
) -> Result<Accepted, Refusal> {
    submit_at(None, state, caller, order, idempotency).await
}

/// Queues a task like [`submit`], within the limit of the route that it was sent to.
///
/// # Errors
/// As [`submit`].
pub(crate) async fn submit_at(
    route: Option<Rate>,
    state: &State,
    caller: &Submitter,
    mut order: Order,
    idempotency: Option<Idempotency>,
) -> Result<Accepted, Refusal> {
    let access = caller.access();
    access.check_model(&order.model)?;
    order.queueing.lane = Some(match order.kind {
        // The service itself chose its lane.
        TaskKind::Count => access.at_most(order.queueing.lane.unwrap_or_default()),
        _ => access.lane(order.queueing.lane)?,
    });
    let charge = charge::of(access, &state.options.common_limits, route, &order);
    let owner = access.owner.clone();
    let accepted = submit_as(state, owner, TaskId::new(), order, idempotency, charge).await?;
    caller.readings.set(&accepted.submitted.readings);
    Ok(accepted)
}

/// Queues a task like [`submit`], under an id and for a charge. If there is one of that id, nothing changes.
///
/// # Errors
/// As [`submit`].
pub(crate) async fn submit_as(
    state: &State,
    tenant: TenantId,
    id: TaskId,
    order: Order,
    idempotency: Option<Idempotency>,
    charge: Charge,
) -> Result<Accepted, Refusal> {
    let warnings = judge(&order.form).await?;
    let options = &state.options;
    let Order { queueing, .. } = order;
    let submit = SubmitOptions {
        bounds: Bounds {
            model: options.max_queue_size,
            tenant: options.max_tenant_tasks,
            bytes: options.max_queue_bytes,
        },
        idempotency,
        start: queueing.start,
        expires_in: queueing.expires_in,
        charge,
    };
    let task = Task {
        id,
        tenant,
        model: order.model,
        lane: queueing.lane.unwrap_or_default(),
        kind: order.kind,
        prompt: order.prompt,
        n: order.n,
        max_tokens: order.max_tokens,
        stop: order.stop,
        sampling: order.sampling,
        form: order.form,
        time_limit_s: queueing.time_limit_s,
        result_ttl_s: queueing.result_ttl_s,
        max_attempts: options.max_attempts,
        user_id: order.user_id,
        metadata: queueing.metadata,
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
