//! Reads the queues and the workers at intervals: for the history, and to log workers that have become deaf.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::{WorkerId, WorkerReport};

use super::queue::Queues;
use crate::history::INTERVAL;
use crate::state::State;

/// Reads at each interval, for ever. A time in which the queue can't be read is left out.
pub(crate) async fn watch(state: Arc<State>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(INTERVAL));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut deaf = BTreeSet::new();
    loop {
        ticks.tick().await;
        // In a task of its own: a panic of the queue's client must not end the gateway.
        let reader = Arc::clone(&state);
        let reading = tokio::spawn(async move { Queues::read(&reader).await });
        if let Ok(Some(queues)) = reading.await {
            let label = |model| queues.label(model);
            state.history.add(&queues.overview, queues.workers.len(), label);
            let now: Vec<&WorkerReport> =
                queues.workers.iter().filter(|worker| worker.is_deaf()).collect();
            for worker in &now {
                if !deaf.contains(&worker.id) {
                    tracing::warn!(
                        target: "gateway.workers",
                        "the worker {} ({}:{}) reports but does not ask for tasks: restart it",
                        worker.id, worker.host, worker.pid
                    );
                }
            }
            deaf = now.iter().map(|worker| worker.id).collect::<BTreeSet<WorkerId>>();
        }
    }
}
