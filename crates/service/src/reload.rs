//! Handles SIGHUP: reopens the log files, reads the settings again, and applies those that can
//! change at runtime. Invalid settings change nothing: the old ones stay in force, and the log has
//! the reason.

use std::sync::Arc;

use anyhow::Result;
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::Settings;
use crate::logs::LogControl;
use crate::settings::Secret;

/// The settings that a reload applies.
const RELOADED: [&str; 9] = [
    "API_KEYS",
    "ADMIN_API_KEY",
    "JWT_SECRET",
    "JWT_JWKS_FILE",
    "JWT_AUDIENCE",
    "JWT_ISSUER",
    "JWT_LEEWAY",
    "LOG_LEVEL",
    "SCHEDULE_FILE",
];

/// Reads the settings in the same way as at the start of the process.
pub type Load = Box<dyn Fn() -> Result<Settings> + Send + Sync>;

/// Applies changed settings to a running process.
pub(crate) struct Reloader {
    pub(crate) load: Load,
    pub(crate) logs: LogControl,
    /// The settings in force.
    pub(crate) current: watch::Sender<Arc<Settings>>,
}

impl Reloader {
    /// Reloads on each signal, until aborted.
    pub(crate) async fn run(self, mut hangups: Signal) {
        let reloader = Arc::new(self);
        while hangups.recv().await.is_some() {
            tracing::info!(
                target: "service.reload",
                "SIGHUP: reopening the log files and reloading the settings"
            );
            reloader.logs.reopen();
            let reloading = Arc::clone(&reloader);
            // The files may be on a slow disk.
            if let Err(panic) = tokio::task::spawn_blocking(move || reloading.reload()).await {
                tracing::error!(target: "service.reload", "the reload panicked: {panic}");
            }
        }
    }

    fn reload(&self) {
        match (self.load)() {
            Ok(read) => self.take_over(&read),
            Err(error) => {
                let problems =
                    format!("{error:#}").replace(":\n  - ", ": ").replace("\n  - ", "; ");
                tracing::error!(
                    target: "service.reload", "nothing is changed, the settings of before stay: {problems}"
                );
            }
        }
    }

    fn take_over(&self, read: &Settings) {
        self.logs.add_secrets(read);
        let old = Arc::clone(&self.current.borrow());
        let mut new = Settings::clone(&old);
        let mut changes = Vec::new();
        if keys_differ(&old.api_keys, &read.api_keys) {
            new.api_keys.clone_from(&read.api_keys);
            let (added, removed) =
                (missing(&read.api_keys, &old.api_keys), missing(&old.api_keys, &read.api_keys));
            changes.push(format!("API_KEYS ({added} added, {removed} removed)"));
        }
        if old.admin_api_key != read.admin_api_key {
            new.admin_api_key.clone_from(&read.admin_api_key);
            let how = match (&old.admin_api_key, &read.admin_api_key) {
                (None, _) => "set",
                (_, None) => "removed",
                _ => "replaced",
            };
            changes.push(format!("ADMIN_API_KEY ({how})"));
        }
        if old.jwt != read.jwt {
            new.jwt.clone_from(&read.jwt);
            changes.push("JWT_… (the verification of tokens)".to_owned());
        }
        // The gateway reads the file at every reload.
        if old.schedule_file != read.schedule_file {
            new.schedule_file.clone_from(&read.schedule_file);
            changes.push("SCHEDULE_FILE".to_owned());
        }
        if old.log_level != read.log_level {
            match self.logs.set_level(&read.log_level) {
                Ok(()) => {
                    new.log_level.clone_from(&read.log_level);
                    changes.push(format!("LOG_LEVEL ({} to {})", old.log_level, read.log_level));
                }
                Err(error) => {
                    tracing::error!(target: "service.reload", "LOG_LEVEL is not changed: {error}");
                }
            }
        }
        let what = if changes.is_empty() { "nothing".to_owned() } else { changes.join(", ") };
        tracing::info!(target: "service.reload", "settings reloaded; changed: {what}{}", fixed());
        let others = need_restart(&old, read);
        if !others.is_empty() {
            tracing::warn!(
                target: "service.reload",
                "changed too, but without effect before a restart: {}", others.join(", ")
            );
        }
        self.current.send_replace(Arc::new(new));
    }
}

/// Names the settings that a reload cannot change because the process's environment sets them.
fn fixed() -> String {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let names: Vec<_> = RELOADED.into_iter().filter(is_set).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("; fixed by the environment of the process: {}", names.join(", "))
}

/// Returns `true` if the sets of keys differ; their order does not matter.
fn keys_differ(old: &[Secret], new: &[Secret]) -> bool {
    missing(old, new) + missing(new, old) > 0
}

/// Returns how many of `keys` are not among `others`.
fn missing(keys: &[Secret], others: &[Secret]) -> usize {
    keys.iter().filter(|key| !others.contains(key)).count()
}

/// Returns the names of the settings that differ and require a restart.
fn need_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    macro_rules! differing {
        ($($name:literal: $($field:ident),+;)*) => {
            [$(($name, $(old.$field != new.$field)||+)),*]
        };
    }
    let all = differing! {
        "AUTH_FAILURES_PER_MINUTE": auth_failures_per_minute;
        "TRUSTED_PROXIES": trusted_proxies;
        "MODEL_NAME": model_names;
        "MAX_MODEL_BYTES": max_model_bytes;
        "MODEL_TURN_SECONDS": model_turn;
        "MODEL_DEVICE": model_device;
        "QUANTIZATION": quantization;
        "MODEL_ALIASES": model_aliases;
        "LORA_ADAPTERS": lora_adapters;
        "MMPROJ": projector;
        "MAX_IMAGE_TOKENS": max_image_tokens;
        "MAX_VIDEO_TOKENS": max_video_tokens;
        "the queue (REDIS_URL, REDIS_HOST, DATA_DIR)": queue;
        "REDIS_SENTINEL_USERNAME": redis_sentinel_username;
        "REDIS_SENTINEL_PASSWORD": redis_sentinel_password;
        "REDIS_CA_FILE": redis_ca_file;
        "REDIS_PARTITIONS": redis_partitions;
        "REDIS_KEY_PREFIX": redis_key_prefix;
        "HOST": host;
        "PORT": port;
        "the listener of /admin (ADMIN_HOST, ADMIN_PORT)": admin_address;
        "the listener of metrics (METRICS_HOST, METRICS_PORT)": metrics_address;
        "CORS_ORIGINS": cors_origins;
        "MAX_NEW_TOKENS": max_new_tokens;
        "MAX_PROMPT_BYTES": max_prompt_bytes;
        "TASK_TIME_LIMIT": task_time_limit;
        "SYNC_SILENT_WAIT": silent_wait;
        "RESULT_TTL": result_ttl;
        "RESULT_CACHE": result_cache;
        "RESULT_CACHE_TTL": result_cache_ttl;
        "RESULT_CACHE_MAX_BYTES": result_cache_max_bytes;
        "MAX_QUEUE_SIZE": max_queue_size;
        "MAX_TENANT_TASKS": max_tenant_tasks;
        "MAX_QUEUE_BYTES": max_queue_bytes;
        "OWNER_REQUESTS_PER_MINUTE and other limits of owners": owner_limits;
        "RATE_LIMIT_GENERATE": rate_limit_generate;
        "MAX_IMAGES": max_images;
        "MAX_IMAGE_BYTES": max_image_bytes;
        "MAX_VIDEO_BYTES": max_video_bytes;
        "IMAGE_DOWNLOAD": image_download;
        "SKILLS_DIR": skills_dir;
        "SKILL_COMMANDS": skill_commands;
        "ENABLE_SERVER_IMAGE_RESIZE": enable_server_image_resize;
        "DEBUG_IMAGE_FORM": debug_image_form;
        "USAGE_KEPT_DAYS": usage_kept_days;
        "WEBHOOK_ALLOW_PRIVATE": webhook_allow_private;
        "MAX_BATCH_SIZE": max_batch_size;
        "KV_TOKENS": kv_tokens;
        "SPECULATION": speculation;
        "DRAFT_MODEL": draft_model;
        "LEASE_SECONDS": lease;
        "MAX_ATTEMPTS": max_attempts;
        "DRAIN_SECONDS": drain;
        "LOG_DIR": log_dir;
        "LOG_FORMAT": log_format;
        "LOG_TASK_DETAILS": log_task_details;
        "traces (OTEL_EXPORTER_OTLP_ENDPOINT and other OTEL_…)": traces;
        "HF_ENDPOINT": hf_endpoint;
        "HF_TOKEN": hf_token;
        "HF_HOME": hf_home;
    };
    all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
