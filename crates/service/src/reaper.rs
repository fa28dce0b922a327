//! Reaping: tasks whose worker fell silent go back to the queue, and ends whose lines nobody has written get
//! them. Every gateway and worker runs this, so that neither needs a particular process to be alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ErrorType, Outcome, TaskError, WorkerId};
use queue::{Broker, BrokerError, Claimant, Claimed, LINE_SPAN, Reaped, insist};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::logs::TaskLog;
use crate::store;

/// Between two looks for ends that have no log lines yet.
const LOG_BEAT: Duration = Duration::from_millis(500);
/// At most so many are taken at once.
const LOG_BATCH: usize = 100;

/// Reaps several times per lease, logs what ended without a worker, and watches the store, until `shutdown`.
pub async fn run(
    broker: Arc<dyn Broker>,
    log: TaskLog,
    lease: Duration,
    shutdown: CancellationToken,
) {
    tokio::join!(
        reap(&broker, &log, lease, &shutdown),
        write_down(&broker, &log, &shutdown),
        store::watch(&*broker, &shutdown),
    );
}

async fn reap(
    broker: &Arc<dyn Broker>,
    log: &TaskLog,
    lease: Duration,
    shutdown: &CancellationToken,
) {
    let reaper = Claimant { worker: WorkerId::new(), models: Vec::new(), lease };
    let mut beat = every((lease / 4).min(Duration::from_secs(5)));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        match broker.reap(&reaper).await {
            Ok(reaped) => settle(broker, log, reaped, lease).await,
            // The queue's absence is told by those who need it more urgently.
            Err(error) => tracing::debug!(target: "service.reaper", "not reaped: {error}"),
        }
    }
}

/// Writes the log lines that are due: of ends that no worker saw, and of workers that died over theirs. A last
/// time when the process stops, when it also says of its own lines that they are written.
async fn write_down(broker: &Arc<dyn Broker>, log: &TaskLog, shutdown: &CancellationToken) {
    let mut beat = every(LOG_BEAT);
    let mut stopping = false;
    while !stopping {
        tokio::select! {
            () = shutdown.cancelled() => stopping = true,
            _ = beat.tick() => {}
        }
        if let Err(error) = empty_journal(broker, log).await {
            tracing::debug!(target: "service.reaper", "ends not logged yet: {error}");
        }
    }
    log.flushed().await;
    if let Err(error) = broker.logged(&[]).await {
        // Others look for them in the log before they write them again.
        tracing::debug!(target: "service.reaper", "not said which ends are logged: {error}");
    }
}

async fn empty_journal(broker: &Arc<dyn Broker>, log: &TaskLog) -> Result<(), BrokerError> {
    loop {
        let asked = Instant::now();
        // It also says which lines were written since the last time.
        let due = broker.unlogged(LINE_SPAN, LOG_BATCH).await?;
        if due.is_empty() {
            return Ok(());
        }
        if !log.take_over(broker, &due, asked).await {
            return Ok(()); // the journal owes the others: they come again, to whoever can write them
        }
    }
}

fn every(beat: Duration) -> Interval {
    let mut beat = tokio::time::interval(beat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// Ends what the reaping handed over. A queue that goes away meanwhile is asked again, for as long as our own
/// `lease` on the exhausted ones lasts.
async fn settle(broker: &Arc<dyn Broker>, log: &TaskLog, reaped: Reaped, lease: Duration) {
    let until = Instant::now() + lease;
    for task_id in &reaped.requeued {
        tracing::warn!(target: "service.reaper", %task_id, "its worker fell silent: back in the queue");
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
    broker: &Arc<dyn Broker>,
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
    let sent = Instant::now();
    let finished_at = insist(until, || broker.finish(&claimed.lease, &outcome)).await?;
    log.finished(broker, claimed, &outcome, finished_at, sent);
    Ok(())
}
