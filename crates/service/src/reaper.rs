//! Returns tasks with expired leases to the queue, and logs task ends that have no log line. Every
//! gateway and worker runs this, so none of them depends on a particular process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ErrorType, Outcome, TaskError, WorkerId};
use queue::{BlobStore, Broker, BrokerError, Claimant, Claimed, LINE_SPAN, Reaped, retry};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::logs::TaskLog;
use crate::metrics::table;
use crate::traces::Traces;
use crate::{blobs, store, usage};

/// The interval at which the journal is checked for ends without log lines.
const LOG_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum number of entries read from the journal at once.
const LOG_BATCH: usize = 100;

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    /// A lease (`LEASE_SECONDS`).
    pub lease: Duration,
    /// The days for which usage is kept (`USAGE_KEPT_DAYS`).
    pub usage_days: u32,
}

/// Reaps several times per lease duration, reaps blobs, forgets old usage, logs ends from the journal, and watches
/// the store, until `shutdown`. What it ends has lines in the log and spans in traces.
pub async fn run(
    broker: Arc<dyn Broker>,
    blobs: BlobStore,
    (log, traces): (TaskLog, Traces),
    spans: Spans,
    shutdown: CancellationToken,
) {
    tokio::join!(
        blobs::reap(&blobs, &shutdown),
        reap(&broker, (&log, &traces), spans.lease, &shutdown),
        usage::forget(&broker, spans.usage_days, &shutdown),
        write_due_log_lines(&broker, &log, &shutdown),
        store::watch(&*broker, &shutdown),
    );
}

async fn reap(
    broker: &Arc<dyn Broker>,
    recording: (&TaskLog, &Traces),
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
            Ok(reaped) => settle(broker, recording, reaped, lease).await,
            // Operations that need the queue more urgently report that it is unavailable.
            Err(error) => {
                tracing::debug!(target: "service.reaper", "cannot reap expired leases: {error}")
            }
        }
    }
}

/// Writes the log lines that are due: of ends without a worker, and of workers that died before
/// they wrote theirs. Runs once more when the process stops, to remove its own written lines from
/// the journal.
async fn write_due_log_lines(
    broker: &Arc<dyn Broker>,
    log: &TaskLog,
    shutdown: &CancellationToken,
) {
    let mut beat = every(LOG_INTERVAL);
    let mut stopping = false;
    while !stopping {
        tokio::select! {
            () = shutdown.cancelled() => stopping = true,
            _ = beat.tick() => {}
        }
        if let Err(error) = empty_journal(broker, log).await {
            tracing::debug!(target: "service.reaper", "cannot read the journal of log lines: {error}");
        }
    }
    log.flushed().await;
    if let Err(error) = broker.logged(&[]).await {
        // Other processes search the log for these lines before they write them again.
        tracing::debug!(target: "service.reaper", "cannot confirm written log lines: {error}");
    }
}

async fn empty_journal(broker: &Arc<dyn Broker>, log: &TaskLog) -> Result<(), BrokerError> {
    loop {
        let asked = Instant::now();
        // This call also removes the lines written since the last one from the journal.
        let due = broker.unlogged(LINE_SPAN, LOG_BATCH).await?;
        if due.is_empty() {
            return Ok(());
        }
        if !log.take_over(broker, &due, asked).await {
            return Ok(()); // the journal returns the others again, to a process that can write them
        }
    }
}

fn every(beat: Duration) -> Interval {
    let mut beat = tokio::time::interval(beat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// Records the outcomes of the exhausted tasks that reaping returned. Retries while the queue is
/// unavailable, for at most the duration of our own `lease` on them.
async fn settle(
    broker: &Arc<dyn Broker>,
    recording: (&TaskLog, &Traces),
    reaped: Reaped,
    lease: Duration,
) {
    let until = Instant::now() + lease;
    if !reaped.requeued.is_empty() {
        table::LEASES_EXPIRED.count(&["requeued"], reaped.requeued.len() as u64);
    }
    for task_id in &reaped.requeued {
        tracing::warn!(target: "service.reaper", %task_id, "its worker stopped renewing the lease: requeued");
    }
    for claimed in reaped.exhausted {
        if let Err(error) = give_up(broker, recording, &claimed, until).await {
            // Our lease on it expires, and the next reaper retries.
            let task_id = claimed.task.id;
            let trace_id = claimed.task.trace_id().map(tracing::field::display);
            tracing::warn!(target: "service.reaper", %task_id, trace_id, "cannot record the failure, will retry: {error}");
        }
    }
}

async fn give_up(
    broker: &Arc<dyn Broker>,
    (log, traces): (&TaskLog, &Traces),
    claimed: &Claimed,
    until: Instant,
) -> Result<(), BrokerError> {
    let outcome = Outcome::Failed(TaskError::new(
        ErrorType::WorkerLost,
        format!(
            "{} workers in a row were lost while they ran this task, so it is not retried",
            claimed.failed_attempts
        ),
    ));
    // If the outcome was recorded and only the reply was lost, the retry returns it.
    let sent = Instant::now();
    let finished_at =
        retry::while_unavailable(until, || broker.finish(&claimed.lease, &outcome)).await?;
    log.finished(broker, claimed, &outcome, finished_at, sent);
    table::LEASES_EXPIRED.count(&["given_up"], 1);
    traces.attempts_lost(broker, claimed, finished_at).await;
    Ok(())
}
