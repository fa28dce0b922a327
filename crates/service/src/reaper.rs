//! Reaping: tasks whose worker fell silent go back to the queue. Every gateway and worker runs this
//! loop, so that recovery needs no particular process to be alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ErrorType, Outcome, TaskError, WorkerId};
use queue::{Broker, BrokerError, Claimant, Claimed, Reaped};
use tokio_util::sync::CancellationToken;

use crate::logs::TaskLog;

/// Between two tries while the queue is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Reaps several times per lease until `shutdown`.
pub async fn run(
    broker: Arc<dyn Broker>,
    log: TaskLog,
    lease: Duration,
    shutdown: CancellationToken,
) {
    let reaper = Claimant { worker: WorkerId::new(), models: Vec::new(), lease };
    let mut beat = tokio::time::interval((lease / 4).min(Duration::from_secs(5)));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        match broker.reap(&reaper).await {
            Ok(reaped) => settle(&*broker, &log, reaped, lease).await,
            // The queue's absence is told by those who need it more urgently.
            Err(error) => tracing::debug!(target: "service.reaper", "not reaped: {error}"),
        }
    }
}

/// Ends and logs what the reaping brought up. Nobody else will log these ends, so a queue that goes
/// away meanwhile is asked again, for as long as our own `lease` on the exhausted ones lasts.
async fn settle(broker: &dyn Broker, log: &TaskLog, reaped: Reaped, lease: Duration) {
    let until = Instant::now() + lease;
    for task_id in &reaped.requeued {
        tracing::warn!(target: "service.reaper", %task_id, "its worker fell silent: back in the queue");
    }
    for task_id in reaped.cancelled.into_iter().chain(reaped.expired) {
        if let Ok(Some(snapshot)) = insist(until, || broker.snapshot(task_id)).await {
            log.ended(&snapshot);
        }
    }
    for claimed in reaped.exhausted {
        if let Err(error) = give_up(broker, log, &claimed, until).await {
            // Our own lease on it runs out, and the next reaper tries again.
            let task_id = claimed.task.id;
            tracing::warn!(target: "service.reaper", %task_id, "not ended yet: {error}");
        }
    }
}

async fn give_up(
    broker: &dyn Broker,
    log: &TaskLog,
    claimed: &Claimed,
    until: Instant,
) -> Result<(), BrokerError> {
    let outcome = Outcome::Failed(TaskError::new(
        ErrorType::WorkerLost,
        format!(
            "{} workers in a row fell silent while running this task; it is not tried again",
            claimed.failed_attempts
        ),
    ));
    // If the end was recorded and only the reply got lost, the repetition gets it.
    let finished_at = insist(until, || broker.finish(&claimed.lease, &outcome)).await?;
    log.finished(claimed, &outcome, finished_at);
    Ok(())
}

/// Asks until the queue answers, or the time is over.
async fn insist<T, F>(until: Instant, ask: impl Fn() -> F) -> Result<T, BrokerError>
where
    F: Future<Output = Result<T, BrokerError>>,
{
    loop {
        match ask().await {
            Err(BrokerError::Unavailable { .. }) if Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}
