//! The worker as a process: `qwen-queue-worker`, and what `qwen-queue up` shares with it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use queue::Broker;
use service::settings::QueueLocation;
use service::shutdown::{self, CancellationToken};
use service::{Logs, Settings, TaskLog};

use crate::{Options, Worker, model};

/// Runs a worker until a signal.
///
/// # Errors
/// When the settings, the logs or the model can't be used, or the engine stops by itself.
pub fn run(config: Option<&Path>) -> Result<()> {
    let settings = Settings::load(config)?;
    if matches!(settings.queue, QueueLocation::Embedded(_)) {
        bail!("{}", service::broker::NEEDS_REDIS);
    }
    let logs = Logs::start(&settings)?;
    let result =
        tokio::runtime::Runtime::new().context("the runtime can't be started")?.block_on(async {
            let stop = shutdown::on_signal().context("signals can't be listened to")?;
            settings
                .warnings()
                .iter()
                .for_each(|w| tracing::warn!(target: "worker.process", "{w}"));
            let broker = service::broker::open(&settings)?;
            let reaper =
                service::reaper::run(broker.clone(), logs.tasks(), settings.lease, stop.clone());
            let reaper = tokio::spawn(reaper);
            let served = serve(&settings, broker, logs.tasks(), stop).await;
            reaper.abort();
            served
        });
    logs.last_words(result)
}

/// Loads the model and works until `stop`.
///
/// # Errors
/// When the model can't be loaded, or the engine stops by itself.
pub async fn serve(
    settings: &Settings,
    broker: Arc<dyn Broker>,
    log: TaskLog,
    stop: CancellationToken,
) -> Result<()> {
    let source = settings.clone();
    let loading = tokio::task::spawn_blocking(move || model::load(&source));
    let engine = tokio::select! {
        engine = loading => engine.context("loading broke off")??,
        // A download goes on where it stopped the next time.
        () = stop.cancelled() => return Ok(()),
    };
    let worker = Worker::new(broker, engine, Options::from(settings), log);
    worker.run(stop).await?;
    tracing::info!(target: "worker.process", "stopped");
    Ok(())
}
