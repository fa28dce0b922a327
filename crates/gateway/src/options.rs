//! [`Options`]: the gateway's configuration.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use protocol::{KeyLimits, ModelId, Timestamp};
use queue::BlobStore;
use service::Traces;
use service::logs::{AuditLog, LogCounts};
use service::settings::{Aliases, Origins, Rate};
use skills::Skills;
use tokio::sync::watch;
use webhooks::Guard;

use crate::timetable::Timetable;
use crate::validate::{ImageRules, Limits};

/// The gateway's settings. Start from [`Options::new`] and set the fields that differ.
#[derive(Clone)]
pub struct Options {
    /// The API keys that clients may use (`API_KEYS`). Only their hashes are kept after the start.
    pub api_keys: Vec<String>,
    /// The operators' key (`ADMIN_API_KEY`). `None` closes the admin routes. Only its hash is kept
    /// after the start.
    pub admin_key: Option<String>,
    /// Accepts tokens that another service signs (`JWT_SECRET`, `JWT_JWKS_FILE`).
    pub jwt: Option<JwtOptions>,
    /// The proxies whose headers about the client's address are believed (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// The number of wrong keys after which an address is slowed down, per minute; 0 for no limit
    /// (`AUTH_FAILURES_PER_MINUTE`).
    pub auth_failures_per_minute: u32,
    /// Delivers replacements for `api_keys`, `admin_key` and `jwt` while the gateway runs.
    pub key_changes: Option<watch::Receiver<Keys>>,
    /// Counters of this process's log writer, reported by `/health`.
    pub log_counts: LogCounts,
    /// The log of operators' acts and of refused calls.
    pub audit: AuditLog,
    /// The model for requests that name none (`MODEL_NAME`).
    pub default_model: ModelId,
    /// Further models that requests may name even if no worker serves them (`MODEL_NAME`).
    pub known_models: Vec<ModelId>,
    /// Maximum prompt length in bytes of UTF-8 (`MAX_PROMPT_BYTES`). The worker checks its length
    /// in tokens.
    pub max_prompt_bytes: usize,
    /// Maximum `max_tokens` of a task (`MAX_NEW_TOKENS`).
    pub max_new_tokens: u32,
    /// Maximum compute time of one attempt, in seconds (`TASK_TIME_LIMIT`).
    pub task_time_limit_s: u32,
    /// The retention time of results, in seconds (`RESULT_TTL`).
    pub result_ttl_s: u32,
    /// Whether workers keep results for later tasks (`RESULT_CACHE`), whose size is a metric then.
    pub result_cache: bool,
    /// Maximum and default number of failed attempts after which a task fails (`MAX_ATTEMPTS`).
    pub max_attempts: u32,
    /// Maximum number of waiting tasks per model (`MAX_QUEUE_SIZE`).
    pub max_queue_size: u64,
    /// Maximum number of waiting tasks per key, over all models (`MAX_TENANT_TASKS`).
    pub max_tenant_tasks: u64,
    /// Maximum size of all waiting tasks together, in bytes (`MAX_QUEUE_BYTES`).
    pub max_queue_bytes: u64,
    /// The limits on the use of owners and routes.
    pub common_limits: CommonLimits,
    /// Allows webhooks to private and loopback addresses (`WEBHOOK_ALLOW_PRIVATE`).
    pub webhook_allow_private: bool,
    /// The images of requests (`MAX_IMAGES`, `MAX_IMAGE_BYTES`, `IMAGE_DOWNLOAD`).
    pub images: ImageRules,
    /// The skills (`SKILLS_DIR`).
    pub skills: Arc<Skills>,
    /// Logs the fields of each form with images (`DEBUG_IMAGE_FORM`).
    pub debug_image_form: bool,
    /// Maximum wait for the queue before the gateway responds with 503.
    pub broker_timeout: Duration,
    /// Maximum age of the list of workers and models that requests are checked against.
    pub registry_age: Duration,
    /// Maximum time for a client to send its headers, and again to send its body.
    pub client_timeout: Duration,
    /// Interval of keep-alive comments on an idle event stream; at most 15 s.
    pub keep_alive: Duration,
    /// The time for which a request that waits for its task gets no byte; then its status is sent
    /// (`SYNC_SILENT_WAIT`).
    pub silent_wait: Duration,
    /// Other names of models, for the routes of OpenAI and Anthropic (`MODEL_ALIASES`).
    pub model_aliases: Aliases,
    /// The web pages whose scripts may call the API (`CORS_ORIGINS`).
    pub cors_origins: Origins,
    /// The store of files and responses; `None` has them in the queue's store (`BLOB_URL`).
    pub blobs: Option<BlobStore>,
    /// The periodic tasks (`SCHEDULE_FILE`).
    pub schedule: Timetable,
    /// Names the file of the schedule whenever it is to be read again.
    pub schedule_changes: Option<watch::Receiver<Option<PathBuf>>>,
    /// Maximum time for requests and webhooks in flight to finish after shutdown was requested.
    pub shutdown_grace: Duration,
    /// Number of HTTP threads; `None` starts one per core.
    pub threads: Option<usize>,
    /// The traces of requests (`OTEL_…`).
    pub traces: Traces,
}

/// The limits that the operator sets for all owners and routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommonLimits {
    /// Of each owner: all of its keys together (`OWNER_…`).
    pub owner: KeyLimits,
    /// Of each key on `POST /generate` (`RATE_LIMIT_GENERATE`).
    pub generate: Option<Rate>,
}

/// How tokens are verified. The `Debug` output is redacted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JwtOptions {
    /// The shared secret for HS256 (`JWT_SECRET`), at least 32 bytes.
    pub secret: Option<String>,
    /// The public keys for RS256 and ES256, as a JWK set (the content of `JWT_JWKS_FILE`).
    pub jwks: Option<String>,
    /// The audience that tokens must be for (`JWT_AUDIENCE`).
    pub audience: Option<String>,
    /// The issuer that tokens must have (`JWT_ISSUER`).
    pub issuer: Option<String>,
    /// The difference of clocks that is tolerated, in seconds (`JWT_LEEWAY`).
    pub leeway_s: u64,
}

impl fmt::Debug for JwtOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtOptions")
            .field("secret", &self.secret.is_some())
            .field("jwks", &self.jwks.is_some())
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// The accepted keys. Their `Debug` output is redacted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// The clients' keys.
    pub api: Vec<String>,
    /// The operators' key.
    pub admin: Option<String>,
    /// The keys for tokens.
    pub jwt: Option<JwtOptions>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("api", &self.api.len())
            .field("admin", &self.admin.is_some())
            .field("jwt", &self.jwt)
            .finish()
    }
}

impl Options {
    /// Returns the documented defaults for everything but the keys and the model.
    pub fn new(api_keys: Vec<String>, default_model: ModelId) -> Self {
        Self {
            api_keys,
            admin_key: None,
            jwt: None,
            trusted_proxies: Vec::new(),
            auth_failures_per_minute: 10,
            key_changes: None,
            log_counts: LogCounts::default(),
            audit: AuditLog::default(),
            default_model,
            known_models: Vec::new(),
            max_prompt_bytes: 1024 * 1024,
            max_new_tokens: 2048,
            task_time_limit_s: 120,
            result_ttl_s: 3600,
            result_cache: false,
            max_attempts: 3,
            max_queue_size: 10_000,
            max_tenant_tasks: u64::MAX,
            max_queue_bytes: u64::MAX,
            common_limits: CommonLimits::default(),
            webhook_allow_private: false,
            images: ImageRules::default(),
            skills: Arc::new(Skills::new(None)),
            debug_image_form: false,
            broker_timeout: Duration::from_secs(5),
            registry_age: Duration::from_secs(1),
            client_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            silent_wait: Duration::from_secs(60),
            model_aliases: Aliases::default(),
            cors_origins: Origins::None,
            blobs: None,
            schedule: Timetable::default(),
            schedule_changes: None,
            shutdown_grace: Duration::from_secs(30),
            threads: None,
            traces: Traces::default(),
        }
    }

    /// Returns the guard that decides which webhook URLs are allowed.
    pub(crate) fn guard(&self) -> Guard {
        Guard { allow_private: self.webhook_allow_private }
    }

    /// Returns the limits of a request that names a model.
    pub(crate) fn limits<'a>(&'a self, other_models: &'a [ModelId]) -> Limits<'a> {
        Limits {
            max_prompt_bytes: self.max_prompt_bytes,
            max_new_tokens: self.max_new_tokens,
            default_model: &self.default_model,
            other_models,
            max_time_limit_s: self.task_time_limit_s,
            max_result_ttl_s: self.result_ttl_s,
            max_attempts: self.max_attempts,
            webhooks: self.guard(),
            images: self.images,
            now: Timestamp::now(),
        }
    }

    /// Returns the maximum size of a request body: room for the longest prompt with every byte
    /// escaped (`\u0000` takes six bytes), and for the other fields.
    pub fn max_body_bytes(&self) -> usize {
        self.max_prompt_bytes.saturating_mul(6).saturating_add(64 * 1024)
    }

    /// Returns the maximum size of the body of a chat, which may also offer many functions.
    pub fn max_chat_bytes(&self) -> usize {
        self.max_body_bytes().saturating_add(4 * 1024 * 1024)
    }

    /// Returns the bytes that the images in a body may take together, in base64.
    pub fn max_inline_images(&self) -> usize {
        match self.images.max {
            0 => 0,
            _ => self.images.max_bytes.div_ceil(3).saturating_mul(4).saturating_add(1024),
        }
    }
}

impl fmt::Debug for Options {
    /// Omits the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("api_keys", &self.api_keys.len())
            .field("admin_key", &self.admin_key.is_some())
            .field("default_model", &self.default_model)
            .field("max_prompt_bytes", &self.max_prompt_bytes)
            .field("max_new_tokens", &self.max_new_tokens)
            .field("task_time_limit_s", &self.task_time_limit_s)
            .field("result_ttl_s", &self.result_ttl_s)
            .field("result_cache", &self.result_cache)
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
    fn keys_are_never_printed_by_debug() {
        let mut options = Options::new(vec!["s3cret".into()], ModelId::new("demo"));
        options.admin_key = Some("s3cret too".into());
        assert!(!format!("{options:?}").contains("s3cret"));
        let keys = Keys { api: options.api_keys, admin: options.admin_key, jwt: None };
        assert!(!format!("{keys:?}").contains("s3cret"));
    }
}
