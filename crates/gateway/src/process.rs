//! The gateway as a process: `qwen-queue-gateway`, and what `qwen-queue up` shares with it.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result};
use service::settings::Secret;
use service::{Process, Settings};

use crate::Options;

/// Runs a gateway until a signal.
///
/// # Errors
/// When the settings, the logs or the port can't be used.
pub fn run(config: Option<&Path>) -> Result<()> {
    let settings = Settings::load(config)?;
    settings.require_redis()?;
    settings.require_api_keys()?;
    service::process::run(settings, async |process| {
        let listener = bind(&process.settings)?;
        serve(listener, process).await
    })
}

/// Opens the port that the settings name.
///
/// # Errors
/// When it is taken or not allowed.
pub fn bind(settings: &Settings) -> Result<TcpListener> {
    let address = (settings.host, settings.port);
    TcpListener::bind(address).with_context(|| {
        format!(
            "can't listen on {}:{}: stop what uses the port, or set PORT to another",
            settings.host, settings.port
        )
    })
}

/// Serves until [`Process::stop`].
///
/// # Errors
/// When the server breaks off.
pub async fn serve(listener: TcpListener, process: Process) -> Result<()> {
    let Process { settings, broker, stop, .. } = process;
    service::store::check_bounds(&*broker, &settings).await;
    tracing::info!(
        target: "gateway.process",
        "listening on http://{}, the queue is {}",
        listener.local_addr()?,
        broker.name()
    );
    let shutdown = async move { stop.cancelled().await };
    crate::serve(listener, broker, options(&settings), shutdown).await?;
    tracing::info!(target: "gateway.process", "stopped");
    Ok(())
}

/// The settings in the gateway's own words.
fn options(settings: &Settings) -> Options {
    let seconds = |span: std::time::Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    let keys = settings.api_keys.iter().map(|key| Secret::reveal(key).to_owned()).collect();
    Options {
        max_prompt_bytes: settings.max_prompt_bytes,
        max_new_tokens: settings.max_new_tokens,
        task_time_limit_s: seconds(settings.task_time_limit),
        result_ttl_s: seconds(settings.result_ttl),
        max_attempts: settings.max_attempts,
        max_queue_size: settings.max_queue_size,
        max_tenant_tasks: settings.max_tenant_tasks,
        max_queue_bytes: settings.max_queue_bytes,
        webhook_allow_private: settings.webhook_allow_private,
        admin_key: settings.admin_api_key.as_ref().map(|key| key.reveal().to_owned()),
        known_models: settings.served_ids().skip(1).collect(),
        ..Options::new(keys, settings.model_id())
    }
}
