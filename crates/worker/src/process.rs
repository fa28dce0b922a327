//! The worker as a process: `qwen-queue-worker`, and what `qwen-queue up` shares with it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use service::{Process, Settings};

use crate::{Models, Options, Worker, WorkerError};

/// The exit code of a process whose device was lost or out of memory.
const DEVICE_LOST: u8 = 3;
/// The exit code of a process whose model's files were changed while it served them.
const MODEL_CHANGED: u8 = 4;

/// The exit code of a process that ends by this error, for its supervisor to tell what happened.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref() {
        Some(WorkerError::DeviceLost(_)) => ExitCode::from(DEVICE_LOST),
        Some(WorkerError::ModelChanged(_)) => ExitCode::from(MODEL_CHANGED),
        _ => ExitCode::FAILURE,
    }
}

/// Runs a worker until a signal, or until an operator has it drained.
///
/// # Errors
/// When the settings, the logs or the model can't be used, or the engine stops by itself.
pub fn run(config: Option<&Path>, adapters: &[String]) -> Result<()> {
    let (config, adapters) = (config.map(Path::to_path_buf), adapters.to_vec());
    let load = move || -> Result<Settings> {
        let settings = Settings::load_with(config.as_deref(), &adapters)?;
        settings.require_redis()?;
        Ok(settings)
    };
    service::process::run(load()?, load, serve)
}

/// Loads the first model and works until [`Process::stop`], or until an operator has it drained.
///
/// # Errors
/// When the model can't be loaded, or the engine stops by itself or hangs.
pub async fn serve(process: Process) -> Result<()> {
    let Process { settings, broker, log, stop, .. } = process;
    let options = Options::from(&*settings);
    let loading = tokio::task::spawn_blocking(move || Models::open(&settings));
    let models = tokio::select! {
        models = loading => models.context("loading broke off")??,
        () = stop.cancelled() => return Ok(()),
    };
    Worker::new(broker, models, options, log).run(stop.clone()).await?;
    if stop.is_cancelled() {
        tracing::info!(target: "worker.process", "stopped");
    } else {
        tracing::info!(target: "worker.process", "drained, as an operator asked: stopped");
    }
    Ok(())
}
