//! Runs one line: submits its tasks and waits for their ends.

use std::sync::Arc;
use std::time::Duration;

use protocol::{ErrorType, Outcome, Reuse, TaskId, TaskSnapshot};
use queue::{Batch, BatchUsage, CancelReply};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::{AHEAD, LineEnd, LineRequest, Stop, Trouble, Work, ids};
use crate::attach::{Attached, attach};
use crate::charge;
use crate::limited::Limited;
use crate::order::Order;
use crate::own_trace::OwnTrace;
use crate::refusal::{Code, Refusal, Retry};
use crate::submit::{Cause, submit_as};

/// Interval between reads of a task when no wake-up comes, because wake-ups may be lost.
const REREAD: Duration = Duration::from_secs(60);
/// Pause after a wake-up: a running task causes one for every token, and a batch is in no hurry.
const PAUSE: Duration = Duration::from_millis(200);
/// Maximum wait for a cancelled task to end.
const CANCEL_PATIENCE: Duration = Duration::from_secs(30);
/// Maximum pause before a task is submitted again to a full queue, in seconds.
const MAX_FULL_PAUSE_S: u32 = 5;
/// Pause before a task is submitted again after a limit on use was reached, in seconds. Running tasks may give back
/// what they reserved; otherwise there is room on the next day.
const LIMIT_PAUSE_S: u32 = 30;

/// A line that is ready to run.
pub(super) struct Prepared {
    /// Its number among the requests, from 0.
    pub(super) index: u32,
    pub(super) custom_id: String,
    pub(super) request: Result<LineRequest, LineEnd>,
    /// Whether another processor may have submitted it.
    pub(super) may_exist: bool,
    /// Its share of the window's memory, for itself and its answer.
    pub(super) share: OwnedSemaphorePermit,
}

/// A line that has ended.
pub(super) struct EndedLine {
    /// Its line in the output or the error file, with the line end.
    pub(super) text: Vec<u8>,
    /// Whether it has an answer.
    pub(super) is_answered: bool,
    pub(super) usage: BatchUsage,
    /// Held until the line's turn has come.
    #[expect(dead_code, reason = "is dropped")]
    pub(super) share: OwnedSemaphorePermit,
}

/// Runs a line to its end.
pub(super) async fn run(work: Arc<Work>, line: Prepared) -> Result<EndedLine, Trouble> {
    let Prepared { index, custom_id, request, may_exist, share } = line;
    let mut usage = BatchUsage::default();
    let end = match request {
        Err(end) => end,
        Ok(request) => match complete(&work, index, request.orders, may_exist).await? {
            Err(end) => end,
            Ok(ended) => {
                ended.iter().for_each(|snapshot| usage += used(snapshot));
                if ended.iter().any(is_expired) {
                    LineEnd::LeftOut(Stop::Expired)
                } else {
                    (request.render)(&ended).map_or_else(LineEnd::Refused, LineEnd::Answered)
                }
            }
        },
    };
    let line = work.requests.line(id(&work, index, 0), &custom_id, &end);
    let mut text = line.to_string().into_bytes();
    text.push(b'\n');
    let is_answered = matches!(end, LineEnd::Answered(_));
    Ok(EndedLine { text, is_answered, usage, share })
}

fn id(work: &Work, index: u32, task: usize) -> TaskId {
    ids::task_id(work.batch.request.id, work.batch.created_at, index, task)
}

/// Submits the tasks and waits for all of them. Returns how the line ends instead if one is refused, or the batch
/// stops.
async fn complete(
    work: &Work,
    index: u32,
    mut orders: Vec<Order>,
    may_exist: bool,
) -> Result<Result<Vec<TaskSnapshot>, LineEnd>, Trouble> {
    if let (Some(stop), false) = (work.stop(), may_exist) {
        return Ok(Err(LineEnd::LeftOut(stop)));
    }
    let mut attached = Vec::new();
    for order in &mut orders {
        match attach(&work.state, &work.batch.request.tenant, order).await {
            Ok(images) => attached.push(images),
            Err(refusal) if is_temporary(&refusal) => return Err(refusal.into()),
            Err(refusal) => return Ok(Err(LineEnd::Refused(refusal))),
        }
    }
    let task_ids: Vec<TaskId> = (0..orders.len()).map(|task| id(work, index, task)).collect();
    for (task_id, order) in task_ids.iter().zip(&orders) {
        let submitted = submit(work, *task_id, order).await;
        if !matches!(submitted, Ok(Err(_))) {
            // A task has the images, or may have them.
            attached.iter_mut().for_each(|images| drop(images.keep()));
        }
        if let Err(end) = submitted? {
            cancel(work, &task_ids).await?;
            if !matches!(end, LineEnd::LeftOut(_)) {
                return Ok(Err(end));
            }
            break; // those that were submitted before may have ended
        }
    }
    let mut ended = Vec::with_capacity(task_ids.len());
    for (task_id, order) in task_ids.iter().zip(&orders) {
        match end(work, *task_id, order).await? {
            Ok(snapshot) => ended.push(snapshot),
            Err(end) => {
                cancel(work, &task_ids).await?;
                return Ok(Err(end));
            }
        }
    }
    Ok(Ok(ended))
}

/// Submits a task, again and again while the queue is full or a limit on use is reached. If the batch stops meanwhile, returns how the line
/// ends.
async fn submit(
    work: &Work,
    task_id: TaskId,
    order: &Order,
) -> Result<Result<(), LineEnd>, Trouble> {
    let trace = OwnTrace::begin(&work.state.options.traces, "gateway.batch", "batch line");
    loop {
        if let Some(stop) = work.stop() {
            return Ok(Err(LineEnd::LeftOut(stop)));
        }
        let tenant = work.batch.request.tenant.clone();
        let reuse = Reuse::Allowed;
        let cause = Cause { tenant, id: task_id, trace: trace.context, reuse };
        let charge = charge::of_batch(&work.batch.request, &work.state.options, order);
        let submitted = {
            let (state, order) = (&work.state, order.clone());
            submit_as(state, cause, order, None, charge, Attached::default()).await
        };
        let refusal = match submitted {
            Ok(accepted) => {
                if accepted.submitted.created {
                    trace.submitted(task_id);
                }
                return Ok(Ok(()));
            }
            Err(refusal) => refusal,
        };
        match (refusal.code, refusal.retry) {
            (Code::QueueFull(_), Retry::After(seconds)) => {
                pause(work, seconds.min(MAX_FULL_PAUSE_S)).await;
            }
            (Code::LimitReached(limited), _) if limited != Limited::TooLarge => {
                pause(work, LIMIT_PAUSE_S).await;
            }
            _ if is_temporary(&refusal) => return Err(refusal.into()),
            _ => return Ok(Err(LineEnd::Refused(refusal))),
        }
    }
}

/// Waits for some seconds, or until the batch stops.
async fn pause(work: &Work, seconds: u32) {
    tokio::select! {
        () = sleep(Duration::from_secs(seconds.into())) => {}
        _ = work.stopped() => {}
    }
}

/// Returns whether a refusal is one of the moment, so that it is no answer to the line.
pub(super) fn is_temporary(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::Unavailable | Code::QueueFull(_))
}

/// Waits for a task's end. A task whose outcome has expired, as after an outage of all gateways, runs again.
async fn end(
    work: &Work,
    task_id: TaskId,
    order: &Order,
) -> Result<Result<TaskSnapshot, LineEnd>, Trouble> {
    loop {
        let stop = tokio::select! {
            biased;
            ended = watch_end(work, task_id) => match ended? {
                Some(snapshot) => match work.stop().filter(|_| is_cancelled(&snapshot)) {
                    Some(stop) => return Ok(Err(LineEnd::LeftOut(stop))),
                    None => return Ok(Ok(snapshot)),
                },
                None => None,
            },
            stop = work.stopped() => Some(stop),
        };
        let Some(stop) = stop else {
            if let Err(end) = submit(work, task_id, order).await? {
                return Ok(Err(end));
            }
            continue;
        };
        cancel(work, &[task_id]).await?;
        let ended = match timeout(CANCEL_PATIENCE, watch_end(work, task_id)).await {
            Ok(ended) => ended?,
            Err(_) => None,
        };
        // An end before the cancellation counts.
        let ended = ended.filter(|ended| !is_cancelled(ended));
        return Ok(ended.ok_or(LineEnd::LeftOut(stop)));
    }
}

/// Waits until a task has ended; `None` if it does not exist.
async fn watch_end(work: &Work, task_id: TaskId) -> Result<Option<TaskSnapshot>, Trouble> {
    let broker = &work.state.broker;
    // Subscribes before the first read, so that the task's end is not missed in between.
    let mut wakes = broker.watch(task_id);
    loop {
        match work.state.ask(broker.snapshot(task_id)).await? {
            Some(snapshot) if snapshot.outcome.is_none() => {}
            other => return Ok(other),
        }
        tokio::select! {
            () = wakes.changed() => sleep(PAUSE).await,
            () = sleep(REREAD) => {}
        }
    }
}

/// Cancels the tasks of lines that another processor may have submitted, and that can't be read any more.
pub(super) async fn cancel_ahead(work: &Work, batch: &Batch) -> Result<(), Trouble> {
    for index in batch.done..batch.total.min(batch.done.saturating_add(AHEAD)) {
        cancel(work, &[id(work, index, 0)]).await?;
    }
    Ok(())
}

async fn cancel(work: &Work, task_ids: &[TaskId]) -> Result<(), Trouble> {
    for task_id in task_ids {
        let reply = work.state.ask(work.state.broker.cancel(*task_id)).await?;
        if reply == CancelReply::Requested {
            tracing::debug!(target: "gateway.batch", %task_id, "cancellation requested");
        }
    }
    Ok(())
}

/// Returns whether a task failed because its deadline passed, which is the batch's.
fn is_expired(snapshot: &TaskSnapshot) -> bool {
    matches!(&snapshot.outcome, Some(Outcome::Failed(error)) if error.error_type == ErrorType::Expired)
}

fn is_cancelled(snapshot: &TaskSnapshot) -> bool {
    matches!(snapshot.outcome, Some(Outcome::Cancelled { .. }))
}

fn used(snapshot: &TaskSnapshot) -> BatchUsage {
    match &snapshot.outcome {
        Some(Outcome::Completed(completed)) => BatchUsage {
            input: completed.usage.prompt_tokens.into(),
            cached: completed.usage.cached_tokens.into(),
            output: completed.usage.completion_tokens.into(),
            reasoning: completed.usage.reasoning_tokens.into(),
        },
        _ => BatchUsage::default(),
    }
}
