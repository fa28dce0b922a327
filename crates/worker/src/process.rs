//! Runs the worker as a process: `qwen-queue-worker`, and the parts that `qwen-queue up` shares
//! with it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use service::{Process, Settings};

use crate::models::source_options;
use crate::{Models, Options, Worker, WorkerError};

/// The exit code if the device was lost or out of memory.
const DEVICE_LOST: u8 = 3;
/// The exit code if the model's files were changed while it was served.
const MODEL_CHANGED: u8 = 4;

/// Returns the process's exit code for an error, so that a supervisor can distinguish the reasons.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref() {
        Some(WorkerError::DeviceLost(_)) => ExitCode::from(DEVICE_LOST),
        Some(WorkerError::ModelChanged(_)) => ExitCode::from(MODEL_CHANGED),
        _ => ExitCode::FAILURE,
    }
}

/// Runs a worker until a termination signal, or until an operator drains it.
///
/// # Errors
/// If the settings are invalid, the logs cannot be opened, the model cannot be loaded, or the
/// engine stops without being asked to.
pub fn run(config: Option<&Path>, adapters: &[String]) -> Result<()> {
    let (config, adapters) = (config.map(Path::to_path_buf), adapters.to_vec());
    let load = move || -> Result<Settings> {
        let settings = Settings::load_with(config.as_deref(), &adapters)?;
        settings.require_redis()?;
        Ok(settings)
    };
    service::process::run("qwen-queue-worker", load()?, load, serve)
}

/// Loads the first model and works until [`Process::stop`] is called, or until an operator drains
/// it.
///
/// # Errors
/// If the model cannot be loaded, or the engine stops without being asked to or hangs.
pub async fn serve(process: Process) -> Result<()> {
    let Process { settings, broker, log, traces, stop, .. } = process;
    let options = Options::from(&*settings);
    if let Some(cache) = download_folder(&settings) {
        service::metrics::install().add_source(service::metrics::of_disk("models", &cache));
    }
    let blobs = service::blobs::open(&settings, &broker)?;
    let loading = tokio::task::spawn_blocking(move || Models::open(&settings));
    let models = tokio::select! {
        models = loading => models.context("loading broke off")??,
        () = stop.cancelled() => return Ok(()),
    };
    let worker = Worker::new(broker, models, options, log).with_blobs(blobs).with_traces(traces);
    worker.run(stop.clone()).await?;
    if stop.is_cancelled() {
        tracing::info!(target: "worker.process", "stopped");
    } else {
        tracing::info!(target: "worker.process", "drained, as an operator asked: stopped");
    }
    Ok(())
}

/// Returns the folder that models or adapters are downloaded to, or `None` if all of them are local.
fn download_folder(settings: &Settings) -> Option<PathBuf> {
    let adapters = settings.lora_adapters.iter().map(|adapter| &adapter.source);
    let is_local = |name: &String| name.eq_ignore_ascii_case("demo") || Path::new(name).exists();
    let is_remote = settings.model_names.iter().chain(adapters).any(|name| !is_local(name));
    is_remote.then(|| source_options(settings).cache_dir).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_downloads_is_that_of_the_cache_and_only_if_there_are_downloads() {
        let folder = |models: &str, adapters: &str| {
            let pairs =
                [("MODEL_NAME", models), ("LORA_ADAPTERS", adapters), ("HF_HOME", "/cache")];
            let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
            let environment =
                pairs.map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let sources = service::settings::Sources { environment, ..Default::default() };
            download_folder(&Settings::load_from(&sources).unwrap())
        };
        let cache = Some(PathBuf::from("/cache/hub"));
        let here = env!("CARGO_MANIFEST_DIR");
        assert_eq!(folder("demo", ""), None);
        assert_eq!(folder(here, ""), None);
        assert_eq!(folder("Qwen/Qwen3-4B-GGUF:Q4_K_M", ""), cache);
        assert_eq!(folder(&format!("{here},Qwen/Qwen3-4B-GGUF:Q4_K_M"), ""), cache);
        assert_eq!(folder("demo", &format!("one={here}")), None);
        assert_eq!(folder("demo", "one=acme/adapter"), cache);
    }
}
