//! Runs a process's work: opens the logs, handles signals, opens and checks the queue, runs the
//! reaper, and logs why the process ends.

use std::net::TcpListener;
use std::sync::Arc;

use anyhow::{Context, Result};
use queue::Broker;
use tokio::sync::watch;

use crate::logs::{AuditLog, LogControl, LogCounts};
use crate::metrics::{self, Metrics, Reading, table};
use crate::reload::{Load, Reloader};
use crate::shutdown::{self, CancellationToken};
use crate::{Logs, Settings, TaskLog, Traces, blobs, broker, reaper, store};

/// The resources for a process's work.
#[derive(Clone)]
pub struct Process {
    /// The settings at start.
    pub settings: Arc<Settings>,
    /// The settings in force, which a reload replaces.
    pub current: watch::Receiver<Arc<Settings>>,
    /// The queue.
    pub broker: Arc<dyn Broker>,
    /// The log of ended tasks.
    pub log: TaskLog,
    /// The log of operators' acts and of refused calls.
    pub audit: AuditLog,
    /// The traces that this process makes.
    pub traces: Traces,
    /// Cancelled when the process is to end.
    pub stop: CancellationToken,
}

/// Runs `work` until it ends, which it must do soon after [`Process::stop`] is cancelled. On
/// SIGHUP, reopens the logs and reads the settings again with `load`; if the process was started
/// from a terminal, SIGHUP stops it instead. `program` is the process's name in traces.
///
/// # Errors
/// If the logs, the signal handlers or the queue cannot be set up, the queue's store is unsuitable,
/// or the work fails.
pub fn run(
    program: &str,
    settings: Settings,
    load: impl Fn() -> Result<Settings> + Send + Sync + 'static,
    work: impl AsyncFnOnce(Process) -> Result<()>,
) -> Result<()> {
    let logs = Logs::start(&settings)?;
    // Each waiting client holds a socket, so the usual soft limit of 1,024 is reached early.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(target: "service.process", "the limit of open files can't be raised: {error}");
    }
    for note in &settings.notes {
        tracing::info!(target: "service.settings", "{note}");
    }
    for warning in settings.warnings() {
        tracing::warn!(target: "service.settings", "{warning}");
    }
    let traces = logs.log_exit_error(Traces::start(&settings, program))?;
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't be started")?;
    let handles = (logs.tasks(), logs.audit(), logs.control());
    let result = runtime.block_on(around(settings, Box::new(load), handles, traces.clone(), work));
    traces.shut_down();
    // Does not wait for a download in the background, which resumes at the next start.
    runtime.shutdown_background();
    logs.log_exit_error(result)
}

async fn around(
    settings: Settings,
    load: Load,
    (log, audit, logs): (TaskLog, AuditLog, LogControl),
    traces: Traces,
    work: impl AsyncFnOnce(Process) -> Result<()>,
) -> Result<()> {
    let stop = shutdown::on_signal().context("signal handlers can't be installed")?;
    let hangups = shutdown::hangups().context("signal handlers can't be installed")?;
    let metrics = metrics::install();
    metrics.add_source(log_lines(log.counts()));
    for (label, folder) in metrics::disks::folders(&settings) {
        metrics.add_source(metrics::of_disk(label, &folder));
    }
    let metrics_listener = metrics::bind(&settings)?;
    let broker = broker::open(&settings)?;
    let blobs = blobs::open(&settings, &broker)?;
    store::check(&*broker).await?;
    let measuring = tokio::spawn(measure(metrics, metrics_listener));
    let reaper_stop = CancellationToken::new();
    let spans = reaper::Spans { lease: settings.lease, usage_days: settings.usage_kept_days };
    let recording = (log.clone(), traces.clone());
    let reaping = reaper::run(broker.clone(), blobs, recording, spans, reaper_stop.clone());
    let reaper = tokio::spawn(reaping);
    let settings = Arc::new(settings);
    let (sender, current) = watch::channel(settings.clone());
    if shutdown::has_terminal() {
        tokio::spawn(shutdown::stop_on_hangup(hangups, stop.clone()));
    } else {
        tokio::spawn(Reloader { load, logs, current: sender }.run(hangups));
    }
    let result = work(Process { settings, current, broker, log, audit, traces, stop }).await;
    reaper_stop.cancel();
    reaper.await.context("the reaper panicked")?;
    measuring.abort();
    result
}

/// Serves the metrics, if there is a listener for them, and keeps their memory bounded.
async fn measure(metrics: Metrics, listener: Option<TcpListener>) {
    let serving = async {
        if let Some(listener) = listener
            && let Err(error) = metrics::serve(listener, metrics.clone()).await
        {
            tracing::error!(target: "service.metrics", "the metrics can't be served: {error}");
        }
    };
    tokio::join!(serving, metrics.clone().upkeep());
}

/// Reads the counters of the log files.
fn log_lines(counts: LogCounts) -> metrics::Source {
    Arc::new(move || {
        let lines = counts.total();
        let read = |of, lines: u64| Reading::new(of, [], lines as f64);
        let readings = vec![
            read(&table::LOG_LINES_WAITING, lines.waiting),
            read(&table::LOG_LINES_LOST, lines.lost),
        ];
        Box::pin(std::future::ready(readings))
    })
}
