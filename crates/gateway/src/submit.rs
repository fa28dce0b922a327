//! Submits a validated request: builds the task and gives it to the queue, within its bounds. Knows
//! no dialect.

use actix_web::web;
use protocol::{AnswerForm, BlobId, Reuse, Task, TaskId, TaskKind, TenantId, TraceContext};
use queue::{Bounds, Charge, Idempotency, SubmitOptions, Submitted};
use service::metrics::table;
use service::settings::Rate;

use crate::attach::{Attached, attach};
use crate::auth::Access;
use crate::charge;
use crate::extract::Submitter;
use crate::order::Order;
use crate::refusal::{Code, Refusal};
use crate::state::State;
use crate::validate;

/// An accepted task.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The queue's reply.
    pub(crate) submitted: Submitted,
    /// Requested features that are ignored.
    pub(crate) warnings: Vec<String>,
    /// The blobs of its images, in the order of the request.
    pub(crate) images: Vec<BlobId>,
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
    order: Order,
    idempotency: Option<Idempotency>,
) -> Result<Accepted, Refusal> {
    let prepared = prepare(route, state, caller.access(), order).await?;
    prepared.submit(state, caller, idempotency).await
}

/// A request whose images are stored, and that the caller may submit.
pub(crate) struct Prepared {
    order: Order,
    charge: Charge,
    attached: Attached,
}

/// Does all of [`submit_at`] before the queue gets the task. Without a submit, what was stored is deleted.
///
/// # Errors
/// If the caller may not use the model or the lane, or an image can't be used.
pub(crate) async fn prepare(
    route: Option<Rate>,
    state: &State,
    access: &Access,
    mut order: Order,
) -> Result<Prepared, Refusal> {
    access.check_model(&order.model)?;
    order.queueing.lane = Some(match order.kind {
        // The service itself chose its lane.
        TaskKind::Count => access.at_most(order.queueing.lane.unwrap_or_default()),
        _ => access.lane(order.queueing.lane)?,
    });
    let attached = attach(state, &access.owner, &mut order).await?;
    let charge = charge::of(access, &state.options, route, &order);
    Ok(Prepared { order, charge, attached })
}

impl Prepared {
    /// Queues the task.
    ///
    /// # Errors
    /// As [`submit_at`].
    pub(crate) async fn submit(
        self,
        state: &State,
        caller: &Submitter,
        idempotency: Option<Idempotency>,
    ) -> Result<Accepted, Refusal> {
        let Self { order, charge, attached } = self;
        let cause = Cause {
            tenant: caller.access().owner.clone(),
            id: TaskId::new(),
            trace: caller.trace,
            reuse: caller.reuse,
        };
        let mut accepted = submit_as(state, cause, order, idempotency, charge, attached).await?;
        caller.readings.set(std::mem::take(&mut accepted.submitted.readings));
        Ok(accepted)
    }

    /// Queues the task like [`Self::submit`], without a client.
    ///
    /// # Errors
    /// As [`submit_at`].
    pub(crate) async fn queue(
        self,
        state: &State,
        access: &Access,
        trace: Option<TraceContext>,
    ) -> Result<Accepted, Refusal> {
        let Self { order, charge, attached } = self;
        let (tenant, reuse) = (access.owner.clone(), Reuse::Allowed);
        let cause = Cause { tenant, id: TaskId::new(), trace, reuse };
        submit_as(state, cause, order, None, charge, attached).await
    }
}

/// Whose task it is, and how it is identified.
pub(crate) struct Cause {
    /// The owner.
    pub(crate) tenant: TenantId,
    /// The task's id.
    pub(crate) id: TaskId,
    /// The span that the task is a part of.
    pub(crate) trace: Option<TraceContext>,
    /// Whether its answer may come from the result cache.
    pub(crate) reuse: Reuse,
}

/// Queues a task like [`submit`], under an id and for a charge. If there is one of that id, nothing changes. Its images
/// are attached; those that were stored for it are deleted if it is refused.
///
/// # Errors
/// As [`submit`].
pub(crate) async fn submit_as(
    state: &State,
    cause: Cause,
    order: Order,
    idempotency: Option<Idempotency>,
    charge: Charge,
    mut attached: Attached,
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
        step: queueing.step,
    };
    let Cause { tenant, id, trace, reuse } = cause;
    let task = Task {
        id,
        tenant,
        model: order.model,
        lane: queueing.lane.unwrap_or_default(),
        kind: order.kind,
        prompt: order.prompt,
        pixels: order.pixels,
        n: order.n,
        max_tokens: order.max_tokens,
        stop: order.stop,
        sampling: order.sampling,
        form: order.form,
        time_limit_s: queueing.time_limit_s,
        result_ttl_s: queueing.result_ttl_s,
        max_attempts: queueing.max_attempts,
        retry_backoff_s: queueing.retry_backoff_s,
        user_id: order.user_id,
        metadata: queueing.metadata,
        webhook: order.webhook,
        skill: order.skill,
        reuse,
        trace,
    };
    // From here on a task may have the images, even if no reply arrives.
    let kept = attached.keep();
    match state.ask(state.broker.submit(&task, &submit)).await {
        Ok(submitted) => {
            if submitted.created {
                let model = service::metrics::model(task.model.as_str());
                table::TASKS_SUBMITTED.count(&[model, task.lane.as_str()], 1);
                kept.share(state)
            } else {
                kept.delete()
            }
            Ok(Accepted { submitted, warnings, images: std::mem::take(&mut attached.blobs) })
        }
        Err(refusal) => {
            if refusal.code != Code::Unavailable {
                kept.delete();
            }
            Err(refusal)
        }
    }
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
