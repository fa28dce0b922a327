//! What every process does around its work: logs are opened, signals heard, the queue opened, checked and
//! reaped, and the reason of its end written down.

use std::sync::Arc;

use anyhow::{Context, Result};
use queue::Broker;
use tokio::sync::watch;

use crate::logs::LogControl;
use crate::reload::{Load, Reloader};
use crate::shutdown::{self, CancellationToken};
use crate::{Logs, Settings, TaskLog, broker, reaper, store};

/// What a process works with.
#[derive(Clone)]
pub struct Process {
    /// What the operator set, as it was at the start.
    pub settings: Arc<Settings>,
    /// The same as it is now: a reload replaces it.
    pub current: watch::Receiver<Arc<Settings>>,
    /// Where tasks wait.
    pub broker: Arc<dyn Broker>,
    /// Where ended tasks are written down.
    pub log: TaskLog,
    /// Cancelled when the process shall end.
    pub stop: CancellationToken,
}

/// Does `work` until it ends, which it does soon after [`Process::stop`]. Meanwhile SIGHUP opens the logs
/// again and has `load` read the settings again; where a terminal started the process, it stops it.
///
/// # Errors
/// When the logs, the signals or the queue can't be used, the queue's store can't do what it must, or the
/// work ends with an error.
pub fn run(
    settings: Settings,
    load: impl Fn() -> Result<Settings> + Send + Sync + 'static,
    work: impl AsyncFnOnce(Process) -> Result<()>,
) -> Result<()> {
    let logs = Logs::start(&settings)?;
    // Each client that waits holds a socket; the usual soft limit of 1,024 is soon reached.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(target: "service.process", "the limit of open files can't be raised: {error}");
    }
    for warning in settings.warnings() {
        tracing::warn!(target: "service.settings", "{warning}");
    }
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't be started")?;
    let handles = (logs.tasks(), logs.control());
    let result = runtime.block_on(around(settings, Box::new(load), handles, work));
    // A download that goes on in the background is no reason to wait: it resumes the next time.
    runtime.shutdown_background();
    logs.last_words(result)
}

async fn around(
    settings: Settings,
    load: Load,
    (log, logs): (TaskLog, LogControl),
    work: impl AsyncFnOnce(Process) -> Result<()>,
) -> Result<()> {
    let stop = shutdown::on_signal().context("signals can't be listened to")?;
    let hangups = shutdown::hangups().context("signals can't be listened to")?;
    let broker = broker::open(&settings)?;
    store::check(&*broker).await?;
    let reaper_stop = CancellationToken::new();
    let reaping = reaper::run(broker.clone(), log.clone(), settings.lease, reaper_stop.clone());
    let reaper = tokio::spawn(reaping);
    let settings = Arc::new(settings);
    let (sender, current) = watch::channel(settings.clone());
    if shutdown::has_terminal() {
        tokio::spawn(shutdown::stop_on_hangup(hangups, stop.clone()));
    } else {
        tokio::spawn(Reloader { load, logs, current: sender }.run(hangups));
    }
    let result = work(Process { settings, current, broker, log, stop }).await;
    reaper_stop.cancel();
    reaper.await.context("the reaper broke off")?;
    result
}
