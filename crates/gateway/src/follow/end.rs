//! Waits for a task's end within one request. The broker's hub (one reader per gateway, for any
//! number of clients) wakes the waiting request, which holds neither the task nor its prompt
//! meanwhile.

use std::time::Duration;

use protocol::{TaskId, TaskSnapshot};
use tokio::time::{Instant, sleep};

use crate::hangup::ClientEnd;
use crate::refusal::Refusal;
use crate::state::State;

/// Interval between reads when no wake-up comes, because wake-ups may be lost.
const REREAD: Duration = Duration::from_secs(5);
/// A running task causes a wake-up for every token. After one that was not the task's end, a
/// request pauses for a twentieth of the time it has waited, within these bounds, so that a long
/// answer costs few reads.
const PAUSE_DIVISOR: u32 = 20;
const MIN_PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSE: Duration = Duration::from_millis(400);

/// The result of a wait.
pub(crate) enum Waited {
    /// The task has ended.
    Ended(Box<TaskSnapshot>),
    /// The time elapsed, the gateway shuts down, or the task disappeared.
    NotYet,
    /// The client disconnected, or shut down its writing side and may still read.
    HungUp,
}

/// Waits for a task's end, for at most `patience`.
///
/// # Errors
/// If the client's credential is not accepted any more.
pub(crate) async fn for_end(
    state: &State,
    client: &ClientEnd,
    task_id: TaskId,
    patience: Duration,
) -> Result<Waited, Refusal> {
    let mut stopping = state.stopping.clone();
    let refused = async {
        loop {
            client.wait_for_change().await;
            if let Err(refusal) = client.check().await {
                return refusal;
            }
        }
    };
    Ok(tokio::select! {
        ended = watch_end(state, task_id) => {
            ended.map_or(Waited::NotYet, |snapshot| Waited::Ended(Box::new(snapshot)))
        }
        () = sleep(patience) => Waited::NotYet,
        _ = stopping.wait_for(|stops| *stops) => Waited::NotYet,
        () = client.wait_for_disconnect() => Waited::HungUp,
        refusal = refused => return Err(refusal),
    })
}

async fn watch_end(state: &State, task_id: TaskId) -> Option<TaskSnapshot> {
    let began = Instant::now();
    // Subscribes before the first read, so that the task's end is not missed in between.
    let mut wakes = state.broker.watch(task_id);
    loop {
        match state.ask(state.broker.snapshot(task_id)).await {
            Ok(Some(snapshot)) if snapshot.outcome.is_some() => return Some(snapshot),
            Ok(Some(_)) => {}
            Ok(None) => return None,
            // The queue may recover within the wait, and then wakes all subscribers.
            Err(error) => {
                tracing::warn!(target: "gateway.wait", task_id = %task_id, "{error}");
            }
        }
        sleep((began.elapsed() / PAUSE_DIVISOR).clamp(MIN_PAUSE, MAX_PAUSE)).await;
        tokio::select! {
            () = wakes.changed() => {}
            () = sleep(REREAD) => {}
        }
    }
}
