//! A client that waits for its task's end, on one request. The broker's hub wakes it (one reader per
//! gateway, whatever the number of clients); between two wakes it holds no task and no prompt.

use std::time::Duration;

use actix_web::HttpRequest;
use protocol::{TaskId, TaskSnapshot};
use tokio::time::{Instant, sleep};

use crate::hangup::ClientEnd;
use crate::state::State;

/// Wake-ups are hints: without one the queue is read again after this long.
const REREAD: Duration = Duration::from_secs(5);
/// Every token of a running task wakes. Who has waited for some time rests a twentieth of it after a
/// wake that was not the end, within these bounds, so that a long answer costs few reads.
const REST_SHARE: u32 = 20;
const LEAST_REST: Duration = Duration::from_millis(5);
const LONGEST_REST: Duration = Duration::from_millis(400);

/// The task once it has ended, waiting for that at most `seconds`. None when they are over, the gateway
/// stops, the client hangs up or the task vanishes: then it is as it was, as far as this knows.
pub(crate) async fn for_end(
    state: &State,
    request: &HttpRequest,
    task_id: TaskId,
    seconds: u32,
) -> Option<TaskSnapshot> {
    let client = ClientEnd::of(request);
    let mut stopping = state.stopping.clone();
    tokio::select! {
        ended = watch_end(state, task_id) => ended,
        () = sleep(Duration::from_secs(u64::from(seconds))) => None,
        _ = stopping.wait_for(|stops| *stops) => None,
        () = client.hung_up() => None,
    }
}

async fn watch_end(state: &State, task_id: TaskId) -> Option<TaskSnapshot> {
    let began = Instant::now();
    // Listens before it reads, so that the end can't fall in between.
    let mut wakes = state.broker.watch(task_id);
    loop {
        match state.ask(state.broker.snapshot(task_id)).await {
            Ok(Some(snapshot)) if snapshot.outcome.is_some() => return Some(snapshot),
            Ok(Some(_)) => {}
            Ok(None) => return None,
            // The queue may come back in time, and wakes everyone then.
            Err(error) => {
                tracing::warn!(target: "gateway.wait", task_id = %task_id, "{error}");
            }
        }
        sleep((began.elapsed() / REST_SHARE).clamp(LEAST_REST, LONGEST_REST)).await;
        tokio::select! {
            () = wakes.changed() => {}
            () = sleep(REREAD) => {}
        }
    }
}
