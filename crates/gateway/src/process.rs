//! Runs the gateway as a process: `qwen-queue-gateway`, and the parts that `qwen-queue up` shares
//! with it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use service::settings::Secret;
use service::{Process, Settings};
use skills::Skills;
use tokio::sync::watch;

use crate::listen::Listeners;
use crate::options::{CommonLimits, JwtOptions, Keys, Options};
use crate::periodic;
use crate::validate::ImageRules;

/// Runs a gateway until a termination signal.
///
/// # Errors
/// If the settings are invalid, the log files cannot be opened, or the port cannot be bound.
pub fn run(config: Option<&Path>) -> Result<()> {
    let config = config.map(Path::to_path_buf);
    let load = move || -> Result<Settings> {
        let settings = Settings::load(config.as_deref())?;
        settings.require_redis()?;
        settings.require_api_keys()?;
        Ok(settings)
    };
    service::process::run("qwen-queue-gateway", load()?, load, async |process| {
        let listeners = bind(&process.settings)?;
        serve(listeners, process).await
    })
}

/// Binds the ports that the settings name.
///
/// # Errors
/// If a port is in use or the process may not bind it.
pub fn bind(settings: &Settings) -> Result<Listeners> {
    let bind = |name: &str, (host, port): (IpAddr, u16)| {
        let address = SocketAddr::new(host, port);
        TcpListener::bind(address).with_context(|| {
            format!("can't listen on {address}: stop what uses the port, or set {name} to another")
        })
    };
    let public = bind("PORT", (settings.host, settings.port))?;
    let admin = settings.admin_address.map(|address| bind("ADMIN_PORT", address)).transpose()?;
    Ok(Listeners { public, admin })
}

/// Serves until [`Process::stop`] is called.
///
/// # Errors
/// If the server fails.
pub async fn serve(listeners: Listeners, process: Process) -> Result<()> {
    let Process { settings, current, broker, log, audit, traces, stop } = process;
    let mut options = options(&settings);
    options.schedule = periodic::read(settings.schedule_file.as_deref(), &options)?;
    options.schedule_changes = Some(follow_schedule(current.clone()));
    service::store::check_bounds(&*broker, &settings).await;
    let admin = match &listeners.admin {
        Some(admin) => format!(", /admin on http://{}", admin.local_addr()?),
        None => String::new(),
    };
    tracing::info!(
        target: "gateway.process",
        "listening on http://{}{admin}, the queue is {}",
        listeners.public.local_addr()?,
        broker.name()
    );
    let shutdown = async move { stop.cancelled().await };
    let keys = follow_keys(current);
    let options = Options {
        key_changes: Some(keys),
        log_counts: log.counts(),
        audit,
        traces,
        blobs: Some(service::blobs::open(&settings, &broker)?),
        ..options
    };
    crate::serve(listeners, broker, options, shutdown).await?;
    tracing::info!(target: "gateway.process", "stopped");
    Ok(())
}

/// Checks the file of a schedule against these settings, and returns the number of its periodic tasks.
///
/// # Errors
/// If something in it is wrong: all problems.
pub fn check_schedule(file: &Path, settings: &Settings) -> Result<usize> {
    Ok(periodic::read(Some(file), &options(settings))?.len())
}

/// Converts the process's settings to the gateway's options.
fn options(settings: &Settings) -> Options {
    let seconds = |span: std::time::Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    let Keys { api, admin, jwt } = keys(settings);
    Options {
        max_prompt_bytes: settings.max_prompt_bytes,
        max_new_tokens: settings.max_new_tokens,
        task_time_limit_s: seconds(settings.task_time_limit),
        result_ttl_s: seconds(settings.result_ttl),
        result_cache: settings.result_cache,
        max_attempts: settings.max_attempts,
        max_queue_size: settings.max_queue_size,
        max_tenant_tasks: settings.max_tenant_tasks,
        max_queue_bytes: settings.max_queue_bytes,
        common_limits: CommonLimits {
            owner: settings.owner_limits,
            generate: settings.rate_limit_generate,
        },
        webhook_allow_private: settings.webhook_allow_private,
        images: ImageRules {
            max: settings.max_images,
            max_bytes: settings.max_image_bytes,
            max_video_bytes: settings.max_video_bytes,
            max_tokens: settings.max_image_tokens,
            max_video_tokens: settings.max_video_tokens,
            download: settings.image_download,
            max_pixels: settings.enable_server_image_resize.then_some(ImageRules::REDUCED),
        },
        skills: Arc::new(Skills::new(settings.skills_dir.clone())),
        debug_image_form: settings.debug_image_form,
        admin_key: admin,
        jwt,
        model_aliases: settings.model_aliases.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        auth_failures_per_minute: settings.auth_failures_per_minute,
        silent_wait: settings.silent_wait,
        cors_origins: settings.cors_origins.clone(),
        known_models: settings.served_ids().skip(1).collect(),
        ..Options::new(api, settings.model_id())
    }
}

fn keys(settings: &Settings) -> Keys {
    let text = |key: &Secret| key.reveal().to_owned();
    Keys {
        api: settings.api_keys.iter().map(text).collect(),
        admin: settings.admin_api_key.as_ref().map(text),
        jwt: settings.jwt.is_on().then(|| JwtOptions {
            secret: settings.jwt.secret.as_ref().map(text),
            jwks: settings.jwt.jwks.clone(),
            audience: settings.jwt.audience.clone(),
            issuer: settings.jwt.issuer.clone(),
            leeway_s: settings.jwt.leeway.as_secs(),
        }),
    }
}

/// Returns a receiver of the keys, which follows changes of the settings.
fn follow_keys(mut current: watch::Receiver<Arc<Settings>>) -> watch::Receiver<Keys> {
    current.mark_unchanged();
    let (sender, receiver) = watch::channel(keys(&current.borrow()));
    tokio::spawn(async move {
        while current.changed().await.is_ok() {
            let changed = keys(&current.borrow_and_update());
            sender.send_if_modified(|known| {
                let differs = *known != changed;
                *known = changed;
                differs
            });
        }
    });
    receiver
}

/// Returns a receiver that names the file of the schedule at every reload of the settings.
fn follow_schedule(
    mut current: watch::Receiver<Arc<Settings>>,
) -> watch::Receiver<Option<PathBuf>> {
    current.mark_unchanged();
    let (sender, receiver) = watch::channel(current.borrow().schedule_file.clone());
    tokio::spawn(async move {
        while current.changed().await.is_ok() {
            let file = current.borrow_and_update().schedule_file.clone();
            sender.send_replace(file);
        }
    });
    receiver
}
