//! The settings: read at start and validated together.
//!
//! ## Layout
//!
//! | module          | what it does |
//! |-----------------|--------------|
//! | [`keys`]        | the table of all settings, with defaults and descriptions |
//! | [`names`]       | finds the setting that a misspelled name stands for; pure |
//! | [`file`]        | reads text files; shared by `.env` and YAML |
//! | [`dotenv`]      | parses `.env` text into names and values; pure |
//! | [`dotenv_file`] | reads a `.env` file and checks its names |
//! | [`yaml`]        | parses YAML text into names and values; pure |
//! | [`given`]       | the texts of settings, with their places |
//! | [`layers`]      | collects every setting's text from the sources, by precedence |
//! | [`foreign`], [`foreign_values`] | the table of other systems' settings that are understood; pure |
//! | [`adopt`]       | translates those settings, and writes a note about each |
//! | [`values`]      | the types of the settings' values |
//! | [`traces`]      | the settings of traces |
//! | [`paths`], [`redis_url`], [`origins`] | check paths and URLs |
//! | [`parse`]       | converts every text into a value or a problem |
//!
//! [`Settings`] is the result that all other crates use. docs/CONFIGURATION.md describes the rules.

mod adopt;
mod aliases;
mod dotenv;
mod dotenv_file;
mod file;
mod foreign;
mod foreign_values;
mod given;
mod keys;
mod layers;
mod names;
mod origins;
mod parse;
mod paths;
mod rate;
mod redis_url;
#[cfg(test)]
mod tests;
mod traces;
mod values;
mod yaml;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use protocol::{KeyLimits, ModelId};
use queue::redis::KeyPrefix;

pub use aliases::Aliases;
pub use dotenv_file::DotEnv;
pub use keys::{KEYS, Key};
pub use layers::Sources;
pub use origins::Origins;
pub use rate::Rate;
pub use traces::{TraceSampler, TraceSettings};
pub use values::{
    BatchSize, BlobLocation, Device, ImageDownload, JwtSettings, LogFormat, LoraAdapter,
    Quantization, QueueLocation, Secret, Speculation, Switch, fresh_key,
};

/// All settings. See `docs/CONFIGURATION.md`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `API_KEYS`: the clients' keys.
    pub api_keys: Vec<Secret>,
    /// `ADMIN_API_KEY`: the operators' key; `None` closes the admin routes.
    pub admin_api_key: Option<Secret>,
    /// `JWT_…`: how bearer tokens are verified.
    pub jwt: JwtSettings,
    /// `AUTH_FAILURES_PER_MINUTE`: wrong keys per minute after which an address is slowed down; 0 for
    /// no limit.
    pub auth_failures_per_minute: u32,
    /// `TRUSTED_PROXIES`: the proxies whose headers about the client's address are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `MODEL_NAME`: hub repositories with optional `:quant`, paths of files or folders, or `demo`.
    /// At least one, the default first; public names are unique.
    pub model_names: Vec<String>,
    /// `MAX_MODEL_BYTES`: maximum memory of a worker's loaded models together; `None` uses the free
    /// memory.
    pub max_model_bytes: Option<usize>,
    /// `MODEL_TURN_SECONDS`: the time for which a loaded model keeps its memory while another one waits for
    /// it.
    pub model_turn: Duration,
    /// `MODEL_DEVICE`.
    pub model_device: Device,
    /// `QUANTIZATION`: the GGUF file to select from a hub repository if `MODEL_NAME` names none,
    /// and the target format for safetensors.
    pub quantization: Option<Quantization>,
    /// `MODEL_ALIASES`: other names of models, for the routes of OpenAI and Anthropic.
    pub model_aliases: Aliases,
    /// `LORA_ADAPTERS`: adapters of the first model.
    pub lora_adapters: Vec<LoraAdapter>,
    /// `MMPROJ`: the projector of the first model.
    pub projector: Option<PathBuf>,
    /// `MAX_IMAGE_TOKENS`: the most tokens of an image.
    pub max_image_tokens: usize,
    /// `MAX_VIDEO_TOKENS`: the most tokens of a video.
    pub max_video_tokens: usize,
    /// `REDIS_URL`, or `REDIS_HOST` and `REDIS_PORT`; otherwise the embedded queue in `DATA_DIR`.
    pub queue: QueueLocation,
    /// `REDIS_SENTINEL_USERNAME`: the user at the Sentinels.
    pub redis_sentinel_username: Option<String>,
    /// `REDIS_SENTINEL_PASSWORD`: the password at the Sentinels.
    pub redis_sentinel_password: Option<Secret>,
    /// `REDIS_CA_FILE`: certificates to trust in TLS connections to Redis.
    pub redis_ca_file: Option<PathBuf>,
    /// `REDIS_PARTITIONS`: the number of partitions of the queue in Redis.
    pub redis_partitions: u32,
    /// `REDIS_KEY_PREFIX`: what all keys of the queue in Redis begin with.
    pub redis_key_prefix: KeyPrefix,
    /// `REDIS_ALLOW_EVICTION`: accepts a Redis that evicts keys when its memory is full.
    pub redis_allow_eviction: bool,
    /// `HOST`: the address that the gateway listens on.
    pub host: IpAddr,
    /// `PORT`.
    pub port: u16,
    /// `ADMIN_HOST` and `ADMIN_PORT`: the listener of the operators' routes; `None` serves them on `port`.
    pub admin_address: Option<(IpAddr, u16)>,
    /// `METRICS_HOST` and `METRICS_PORT`: the listener for metrics; `None` has none.
    pub metrics_address: Option<(IpAddr, u16)>,
    /// `CORS_ORIGINS`: the web pages that may call the API from a browser.
    pub cors_origins: Origins,
    /// `MAX_NEW_TOKENS`: the largest `max_tokens` that a client may request.
    pub max_new_tokens: u32,
    /// `MAX_PROMPT_BYTES`: the maximum prompt length, in bytes of UTF-8.
    pub max_prompt_bytes: usize,
    /// `SYNC_SILENT_WAIT`: the time for which a request that waits for its task gets no byte.
    pub silent_wait: Duration,
    /// `TASK_TIME_LIMIT`: maximum compute time of one attempt.
    pub task_time_limit: Duration,
    /// `RESULT_TTL`: retention time of results.
    pub result_ttl: Duration,
    /// `RESULT_CACHE`: answers tasks from the results of earlier ones.
    pub result_cache: bool,
    /// `RESULT_CACHE_TTL`: how long a result is kept for later tasks.
    pub result_cache_ttl: Duration,
    /// `RESULT_CACHE_MAX_BYTES`: maximum size of the results that are kept for later tasks.
    pub result_cache_max_bytes: u64,
    /// `MAX_QUEUE_SIZE`: maximum number of waiting tasks per model.
    pub max_queue_size: u64,
    /// `MAX_TENANT_TASKS`: maximum number of waiting tasks per key.
    pub max_tenant_tasks: u64,
    /// `MAX_QUEUE_BYTES`: maximum size of all waiting tasks together, in bytes.
    pub max_queue_bytes: u64,
    /// `OWNER_…`: the limits of each owner, all of its keys together.
    pub owner_limits: KeyLimits,
    /// `RATE_LIMIT_GENERATE`: the limit of each key on `POST /generate`.
    pub rate_limit_generate: Option<Rate>,
    /// `BLOB_URL`: where the bytes of blobs are stored.
    pub blob_location: BlobLocation,
    /// `MAX_BLOB_BYTES`: the maximum size of a blob.
    pub max_blob_bytes: u64,
    /// `MAX_TENANT_BLOB_BYTES`: the maximum size of all blobs of one key together.
    pub max_tenant_blob_bytes: u64,
    /// `BLOB_TTL`: how long a blob is kept if its upload names no time.
    pub blob_ttl: Duration,
    /// `MAX_IMAGES`: the maximum number of images of a request.
    pub max_images: usize,
    /// `MAX_IMAGE_BYTES`: the maximum size of an image's file.
    pub max_image_bytes: usize,
    /// `MAX_VIDEO_BYTES`: the maximum size of a video's file.
    pub max_video_bytes: usize,
    /// `IMAGE_DOWNLOAD`: whether the gateway downloads images and videos that requests name by URL.
    pub image_download: ImageDownload,
    /// `ENABLE_SERVER_IMAGE_RESIZE`: reduces images of requests that name no size.
    pub enable_server_image_resize: bool,
    /// `DEBUG_IMAGE_FORM`: logs the fields of forms with images.
    pub debug_image_form: bool,
    /// `SKILLS_DIR`: the folder of own skills.
    pub skills_dir: Option<PathBuf>,
    /// `SKILL_COMMANDS`: the folder of programs that read answers.
    pub skill_commands: Option<PathBuf>,
    /// `SCHEDULE_FILE`: the file of periodic tasks.
    pub schedule_file: Option<PathBuf>,
    /// `USAGE_KEPT_DAYS`: how long usage is kept.
    pub usage_kept_days: u32,
    /// `WEBHOOK_ALLOW_PRIVATE`: allows webhooks to private and loopback addresses.
    pub webhook_allow_private: bool,
    /// `MAX_BATCH_SIZE`: the number of sequences that a worker runs at once.
    pub max_batch_size: BatchSize,
    /// `KV_TOKENS`: KV capacity of a worker in tokens; `None` uses the available memory.
    pub kv_tokens: Option<usize>,
    /// `SPECULATION`: which tokens a worker drafts.
    pub speculation: Speculation,
    /// `DRAFT_MODEL`: the model that drafts tokens for the first model.
    pub draft_model: Option<String>,
    /// `LEASE_SECONDS`: duration of a task's lease without renewal.
    pub lease: Duration,
    /// `MAX_ATTEMPTS`: number of failed attempts after which a task fails.
    pub max_attempts: u32,
    /// `DRAIN_SECONDS`: the time for which a worker continues its running tasks after a signal.
    pub drain: Duration,
    /// `LOG_DIR`.
    pub log_dir: PathBuf,
    /// `LOG_LEVEL`: a level, or a filter such as `info,worker=debug`.
    pub log_level: String,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `LOG_TASK_DETAILS`: whether lines of `llm_requests.log` end with the model, the owner and the kind of error.
    pub log_task_details: bool,
    /// `OTEL_…`: where traces are sent, and which requests have some.
    pub traces: TraceSettings,
    /// `DATA_DIR`: the folder of the embedded queue.
    pub data_dir: PathBuf,
    /// `HF_ENDPOINT`: the server from which models are downloaded.
    pub hf_endpoint: String,
    /// `HF_TOKEN`: the access token for gated models.
    pub hf_token: Option<Secret>,
    /// `HF_HOME`: the folder of Hugging Face's tools; `None` uses their default.
    pub hf_home: Option<PathBuf>,
    /// `HF_HUB_CACHE`: the folder for downloads; `None` is `hub` in `HF_HOME`.
    pub hf_hub_cache: Option<PathBuf>,
    /// What became of settings of other systems that were found, a line for each. Has no secrets.
    pub notes: Vec<String>,
}

/// The settings are invalid. Lists all problems.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the settings can't be used:\n{}", .problems.iter().map(|p| format!("  - {p}")).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError {
    /// One line per problem: the setting, its source and the allowed values.
    pub problems: Vec<String>,
}

impl Settings {
    /// Reads the YAML file (`file`, else `QWEN_QUEUE_CONFIG`, else `qwen-queue.yaml` if it exists),
    /// `.env` and the environment. Later sources take precedence.
    ///
    /// # Errors
    /// If a file cannot be read, a name is unknown or a value is not allowed. Lists all problems.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        Self::load_with(file, &[])
    }

    /// Like [`Self::load`], with `adapters` from the command line, which take precedence if there
    /// are any.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(file: Option<&Path>, adapters: &[String]) -> Result<Self, SettingsError> {
        Self::load_from(&Sources {
            file: file.map(Path::to_owned),
            dotenv: ".env".into(),
            environment: std::env::vars_os().collect(),
            options: vec![("--lora", "LORA_ADAPTERS", adapters.join(","))],
        })
    }

    /// Reads the given sources.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_from(sources: &Sources) -> Result<Self, SettingsError> {
        parse::settings(&layers::gather(sources)?)
    }

    /// Checks that the queue can be shared with other processes.
    ///
    /// # Errors
    /// If the queue is the embedded one.
    pub fn require_redis(&self) -> Result<(), SettingsError> {
        match self.queue {
            QueueLocation::Redis(_) => Ok(()),
            QueueLocation::Embedded(_) => Err(SettingsError {
                problems: vec![
                    "REDIS_URL is not set: a gateway and workers as separate processes meet in Redis; \
                     set it, or run everything in one process with `qwen-queue up`"
                        .to_owned(),
                ],
            }),
        }
    }

    /// Checks that somebody can use the API: with an API key, a token, or a key that the operators
    /// create.
    ///
    /// # Errors
    /// If nobody can.
    pub fn require_api_keys(&self) -> Result<(), SettingsError> {
        if !self.api_keys.is_empty() || self.admin_api_key.is_some() || self.jwt.is_on() {
            return Ok(());
        }
        Err(SettingsError {
            problems: vec![
                "API_KEYS is not set: nobody could use the API; set one or more keys, separated by commas"
                    .to_owned(),
            ],
        })
    }

    /// Returns the public name of the default model, which is the first.
    pub fn model_id(&self) -> ModelId {
        self.model_ids().next().unwrap_or_else(|| ModelId::new(""))
    }

    /// Returns the public names of all configured models, the default first.
    pub fn model_ids(&self) -> impl Iterator<Item = ModelId> {
        self.model_names.iter().map(|name| ModelId::from_source(name))
    }

    /// Returns the public names of all configured models, followed by those of the adapters.
    pub fn served_ids(&self) -> impl Iterator<Item = ModelId> {
        self.model_ids().chain(self.lora_adapters.iter().map(|adapter| adapter.name.clone()))
    }

    /// Returns a warning for each setting that is set but has no effect.
    pub fn warnings(&self) -> Vec<String> {
        let Some(quantization) = self.quantization else { return Vec::new() };
        let redundant = self.model_names.iter().filter(|name| values::names_its_quantization(name));
        redundant.map(|name| {
            format!(
                "QUANTIZATION={quantization} has no effect: MODEL_NAME={name} already says which weights to load"
            )
        })
        .collect()
    }
}
