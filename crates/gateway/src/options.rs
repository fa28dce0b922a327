//! What the operator decides.

use std::fmt;
use std::time::Duration;

use protocol::ModelId;
use service::logs::LogCounts;
use tokio::sync::watch;

/// The gateway's settings. Start from [`Options::new`] and change what differs.
#[derive(Clone)]
pub struct Options {
    /// The keys that clients may show (`API_KEYS`). Only their hashes outlive the start.
    pub api_keys: Vec<String>,
    /// The operators' key (`ADMIN_API_KEY`); without one the admin routes are closed. Only its hash
    /// outlives the start.
    pub admin_key: Option<String>,
    /// Brings other keys while the gateway runs, in place of the two above.
    pub key_changes: Option<watch::Receiver<Keys>>,
    /// How this process's log files do, for `/health`.
    pub log_counts: LogCounts,
    /// The model that answers when a request names none (`MODEL_NAME`).
    pub default_model: ModelId,
    /// Further models that requests may name although no worker is there (`MODEL_NAME`).
    pub known_models: Vec<ModelId>,
    /// How long a prompt may be, in bytes of UTF-8 (`MAX_PROMPT_BYTES`). Its tokens are counted by the worker.
    pub max_prompt_bytes: usize,
    /// The most tokens a task may ask for (`MAX_NEW_TOKENS`).
    pub max_new_tokens: u32,
    /// How long one attempt may compute (`TASK_TIME_LIMIT`), in seconds.
    pub task_time_limit_s: u32,
    /// How long an outcome is kept (`RESULT_TTL`), in seconds.
    pub result_ttl_s: u32,
    /// After how many failed attempts a task fails (`MAX_ATTEMPTS`).
    pub max_attempts: u32,
    /// How many tasks of a model may wait (`MAX_QUEUE_SIZE`).
    pub max_queue_size: u64,
    /// How many tasks of one key may wait, whatever their model (`MAX_TENANT_TASKS`).
    pub max_tenant_tasks: u64,
    /// How many bytes all waiting tasks may have (`MAX_QUEUE_BYTES`).
    pub max_queue_bytes: u64,
    /// Whether webhooks may go to private and loopback addresses (`WEBHOOK_ALLOW_PRIVATE`).
    pub webhook_allow_private: bool,
    /// How long the queue may take to answer before the client hears 503.
    pub broker_timeout: Duration,
    /// How long a client may take to send its headers, and again its body.
    pub client_timeout: Duration,
    /// How often a silent event stream says that it is still there; 15 s at most.
    pub keep_alive: Duration,
    /// How long requests in flight, and webhooks under way, may take to end once the gateway is told to stop.
    pub shutdown_grace: Duration,
    /// Threads that serve HTTP; none means one per core.
    pub threads: Option<usize>,
}

/// The keys that are let in. `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Clients'.
    pub api: Vec<String>,
    /// The operators'.
    pub admin: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("api", &self.api.len())
            .field("admin", &self.admin.is_some())
            .finish()
    }
}

impl Options {
    /// The documented defaults for everything but the keys and the model.
    pub fn new(api_keys: Vec<String>, default_model: ModelId) -> Self {
        Self {
            api_keys,
            admin_key: None,
            key_changes: None,
            log_counts: LogCounts::default(),
            default_model,
            known_models: Vec::new(),
            max_prompt_bytes: 1024 * 1024,
            max_new_tokens: 2048,
            task_time_limit_s: 120,
            result_ttl_s: 3600,
            max_attempts: 3,
            max_queue_size: 10_000,
            max_tenant_tasks: u64::MAX,
            max_queue_bytes: u64::MAX,
            webhook_allow_private: false,
            broker_timeout: Duration::from_secs(5),
            client_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(30),
            threads: None,
        }
    }

    /// How long a request's body may be: room for the longest prompt with every byte escaped
    /// (`\u0000` is six), and for the other fields.
    pub fn max_body_bytes(&self) -> usize {
        self.max_prompt_bytes.saturating_mul(6).saturating_add(64 * 1024)
    }
}

impl fmt::Debug for Options {
    /// Leaves out the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("api_keys", &self.api_keys.len())
            .field("admin_key", &self.admin_key.is_some())
            .field("default_model", &self.default_model)
            .field("max_prompt_bytes", &self.max_prompt_bytes)
            .field("max_new_tokens", &self.max_new_tokens)
            .field("task_time_limit_s", &self.task_time_limit_s)
            .field("result_ttl_s", &self.result_ttl_s)
            .field("max_attempts", &self.max_attempts)
            .field("max_queue_size", &self.max_queue_size)
            .field("max_tenant_tasks", &self.max_tenant_tasks)
            .field("max_queue_bytes", &self.max_queue_bytes)
            .field("webhook_allow_private", &self.webhook_allow_private)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_reach_a_log() {
        let mut options = Options::new(vec!["s3cret".into()], ModelId::new("demo"));
        options.admin_key = Some("s3cret too".into());
        assert!(!format!("{options:?}").contains("s3cret"));
        let keys = Keys { api: options.api_keys, admin: options.admin_key };
        assert!(!format!("{keys:?}").contains("s3cret"));
    }
}
