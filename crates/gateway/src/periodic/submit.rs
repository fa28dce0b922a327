//! Submits a run of an entry, and finds out who pays for it.

use std::sync::Arc;

use protocol::{KeyId, Scope, TaskId, Timestamp};
use queue::{PeriodicId, PeriodicRun, PeriodicState, PeriodicStep, StoredPeriodic};

use super::order::order;
use crate::auth::{Access, Denied};
use crate::own_trace::OwnTrace;
use crate::refusal::Refusal;
use crate::state::State;
use crate::submit;
use crate::timetable::{Entry, Payer};

/// The key for which the usage of entries without a key counts.
const KEY: &str = "schedule";
/// How often a run that an operator asked for is tried again after another step of the entry.
const TRIES: usize = 8;

/// Returns what an entry may use, and whose tasks it submits.
///
/// # Errors
/// If its key is refused, or the queue is unavailable.
pub(crate) async fn access_of(state: &State, payer: &Payer) -> Result<Arc<Access>, Refusal> {
    let id = match payer {
        Payer::Owner(owner) => {
            let key = KeyId::from_text(KEY);
            return Ok(Arc::new(Access::unlimited(key, owner.clone(), [Scope::Submit])));
        }
        Payer::Key(id) => id,
    };
    match state.auth.of_id(id).await {
        Ok(access) if access.has(Scope::Submit) => Ok(access),
        Ok(_) => Err(Refusal::key_refused(format!("The key {id} may not submit"))),
        Err(Denied::Blocked) => Err(Refusal::key_refused(format!("The key {id} is blocked"))),
        Err(Denied::Expired) => Err(Refusal::key_refused(format!("The key {id} has expired"))),
        Err(Denied::Unknown) => Err(Refusal::key_refused(format!("There is no key {id}"))),
        Err(denied) => Err(denied.into()),
    }
}

/// Submits a run, in one step with the entry's.
///
/// # Errors
/// If it is refused. Nothing is changed then, unless the queue is unavailable.
pub(super) async fn submit(
    state: &State,
    entry: &Entry,
    access: &Access,
    occurrence: Option<Timestamp>,
    step: PeriodicStep,
) -> Result<TaskId, Refusal> {
    let order = order(state, entry, occurrence, step).await?;
    let prepared = submit::prepare(None, state, access, order).await?;
    let trace = OwnTrace::begin(&state.options.traces, "gateway.periodic", "periodic task");
    let accepted = prepared.queue(state, access, trace.context).await?;
    trace.submitted(accepted.submitted.task_id);
    Ok(accepted.submitted.task_id)
}

/// Submits a run that an operator asked for. The occurrences are not affected.
///
/// # Errors
/// If it is refused.
pub(crate) async fn run_now(state: &State, entry: &Entry) -> Result<TaskId, Refusal> {
    let access = access_of(state, &entry.payer).await?;
    let id = PeriodicId { owner: access.owner.clone(), name: entry.name.clone() };
    let mut refusal = None;
    let mut tried = None;
    for _ in 0..TRIES {
        let (now, stored) = state.ask(state.broker.periodic_tasks()).await?;
        let held = stored.into_iter().find(|stored| stored.id == id);
        let revision = held.as_ref().map_or(0, |held| held.revision);
        if tried == Some(revision) {
            break; // it was refused for another reason
        }
        let before = held.map_or_else(|| begun(entry, now), |held| held.state);
        let last = PeriodicRun { occurrence: now, at: now, manual: true };
        let after = PeriodicState { runs: before.runs + 1, last: Some(last), ..before };
        let step = PeriodicStep { id: id.clone(), revision, state: after };
        match submit(state, entry, &access, None, step).await {
            Ok(task_id) => return Ok(task_id),
            Err(refused) => refusal = Some(refused),
        }
        tried = Some(revision);
    }
    Err(refusal
        .unwrap_or_else(|| Refusal::unavailable("the entry changes all the time".to_owned())))
}

/// Returns the state of an entry that begins now.
pub(super) fn begun(entry: &Entry, now: Timestamp) -> PeriodicState {
    PeriodicState {
        timing: entry.digest(),
        since: now,
        reached: now,
        runs: 0,
        skipped: 0,
        last: None,
        trouble: None,
    }
}

/// Returns the step after a state that was read.
pub(super) fn step(held: &StoredPeriodic, state: PeriodicState) -> PeriodicStep {
    PeriodicStep { id: held.id.clone(), revision: held.revision, state }
}
