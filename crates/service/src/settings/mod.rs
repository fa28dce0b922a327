//! Settings: read once at start, checked as a whole, never changed after.
//!
//! ## Layout
//!
//! | module          | what it does |
//! |-----------------|--------------|
//! | [`keys`]        | names every setting, with its default and meaning |
//! | [`names`]       | finds the setting that a misspelled name means; pure |
//! | [`file`]        | reads a file as text; what `.env` and YAML have in common |
//! | [`dotenv`]      | `.env` text into names and values; pure |
//! | [`dotenv_file`] | a `.env` file with its names checked |
//! | [`yaml`]        | YAML text into names and values; pure |
//! | [`layers`]      | gathers every setting's text from the sources, by precedence |
//! | [`values`]      | the kinds of value that settings have |
//! | [`paths`], [`redis_url`] | how paths and addresses are checked |
//! | [`parse`]       | turns every text into a value or a problem |
//!
//! [`Settings`] is what the rest of the system sees. docs/CONFIGURATION.md has the rules.

mod dotenv;
mod dotenv_file;
mod file;
mod keys;
mod layers;
mod names;
mod parse;
mod paths;
mod redis_url;
#[cfg(test)]
mod tests;
mod values;
mod yaml;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::ModelId;

pub use dotenv_file::DotEnv;
pub use keys::{KEYS, Key};
pub use layers::Sources;
pub use values::{
    BatchSize, Device, LogFormat, LoraAdapter, Quantization, QueueLocation, Secret, fresh_key,
};

/// Everything an operator can set. See `docs/CONFIGURATION.md`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `API_KEYS`: who may use the API.
    pub api_keys: Vec<Secret>,
    /// `ADMIN_API_KEY`: who may operate; none closes the admin routes.
    pub admin_api_key: Option<Secret>,
    /// `MODEL_NAME`: hub repositories with optional `:quant`, paths of files or folders, or `demo`; at
    /// least one, the default first, no two of one public name.
    pub model_names: Vec<String>,
    /// `MAX_MODEL_BYTES`: what the loaded models of a worker may take together; none is what is free.
    pub max_model_bytes: Option<usize>,
    /// `MODEL_TURN_SECONDS`: how long a loaded model keeps its place while others want it.
    pub model_turn: Duration,
    /// `MODEL_DEVICE`.
    pub model_device: Device,
    /// `QUANTIZATION`: which GGUF file of a hub repository to take when `MODEL_NAME` names none, and what is
    /// made of safetensors.
    pub quantization: Option<Quantization>,
    /// `LORA_ADAPTERS`: adapters served beside the first model.
    pub lora_adapters: Vec<LoraAdapter>,
    /// `REDIS_URL`, or `REDIS_HOST` and `REDIS_PORT`; else the embedded queue in `DATA_DIR`.
    pub queue: QueueLocation,
    /// `REDIS_CA_FILE`: certificates to trust in TLS to Redis.
    pub redis_ca_file: Option<PathBuf>,
    /// `REDIS_PARTITIONS`: into how many parts the queue in Redis is divided.
    pub redis_partitions: u32,
    /// `REDIS_ALLOW_EVICTION`: whether a Redis that deletes keys when its memory is full may be used.
    pub redis_allow_eviction: bool,
    /// `HOST`: the address that the gateway listens on.
    pub host: IpAddr,
    /// `PORT`.
    pub port: u16,
    /// `MAX_NEW_TOKENS`: the largest `max_tokens` a client may ask for.
    pub max_new_tokens: u32,
    /// `MAX_PROMPT_BYTES`: the largest prompt, in bytes of UTF-8.
    pub max_prompt_bytes: usize,
    /// `TASK_TIME_LIMIT`: how long one attempt may compute.
    pub task_time_limit: Duration,
    /// `RESULT_TTL`: how long outcomes are kept.
    pub result_ttl: Duration,
    /// `MAX_QUEUE_SIZE`: how many tasks of a model may wait.
    pub max_queue_size: u64,
    /// `MAX_TENANT_TASKS`: how many tasks of one key may wait.
    pub max_tenant_tasks: u64,
    /// `MAX_QUEUE_BYTES`: how many bytes all waiting tasks may have.
    pub max_queue_bytes: u64,
    /// `WEBHOOK_ALLOW_PRIVATE`: whether webhooks may go to private and loopback addresses.
    pub webhook_allow_private: bool,
    /// `MAX_BATCH_SIZE`: how many sequences a worker runs at once.
    pub max_batch_size: BatchSize,
    /// `KV_TOKENS`: how many tokens all sequences of a worker may have together; none is what memory
    /// allows.
    pub kv_tokens: Option<usize>,
    /// `LEASE_SECONDS`: how long a worker may be silent before its tasks go to another.
    pub lease: Duration,
    /// `MAX_ATTEMPTS`: after how many failed attempts a task fails.
    pub max_attempts: u32,
    /// `DRAIN_SECONDS`: how long a stopping worker goes on with what it has.
    pub drain: Duration,
    /// `LOG_DIR`.
    pub log_dir: PathBuf,
    /// `LOG_LEVEL`: a level, or a filter such as `info,worker=debug`.
    pub log_level: String,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `DATA_DIR`: the embedded queue.
    pub data_dir: PathBuf,
    /// `HF_ENDPOINT`: where models are downloaded from.
    pub hf_endpoint: String,
    /// `HF_TOKEN`: for gated models.
    pub hf_token: Option<Secret>,
    /// `HF_HOME`: the folder of Hugging Face's tools; `None` is their own default.
    pub hf_home: Option<PathBuf>,
    /// `HF_HUB_CACHE`: where downloads are kept; `None` is `hub` in `HF_HOME`.
    pub hf_hub_cache: Option<PathBuf>,
}

/// The settings can't be used. Says everything that is wrong, not just the first thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the settings can't be used:\n{}", .problems.iter().map(|p| format!("  - {p}")).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError {
    /// One line each: what, where from, what is allowed.
    pub problems: Vec<String>,
}

impl Settings {
    /// Reads the YAML file (`file`, else `QWEN_QUEUE_CONFIG`, else `qwen-queue.yaml` if it exists),
    /// `.env` and the environment, the later winning.
    ///
    /// # Errors
    /// With every problem found: an unreadable file, an unknown key, a value out of range.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        Self::load_with(file, &[])
    }

    /// The same, with options of the command line, which win: the adapters, if any are given there.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub fn load_with(file: Option<&Path>, adapters: &[String]) -> Result<Self, SettingsError> {
        Self::load_from(&Sources {
            file: file.map(Path::to_owned),
            dotenv: ".env".into(),
            environment: std::env::vars_os().collect(),
            options: vec![("--lora", "LORA_ADAPTERS", adapters.join(","))],
        })
    }

    /// Reads these sources.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub fn load_from(sources: &Sources) -> Result<Self, SettingsError> {
        parse::settings(&layers::gather(sources)?)
    }

    /// Makes sure that other processes can meet this one.
    ///
    /// # Errors
    /// When the queue is the embedded one.
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

    /// Makes sure that somebody can use the API.
    ///
    /// # Errors
    /// When no key is set.
    pub fn require_api_keys(&self) -> Result<(), SettingsError> {
        if !self.api_keys.is_empty() {
            return Ok(());
        }
        Err(SettingsError {
            problems: vec![
                "API_KEYS is not set: nobody could use the API; set one or more keys, separated by commas"
                    .to_owned(),
            ],
        })
    }

    /// The public name of the model that this process submits to by default: the first.
    pub fn model_id(&self) -> ModelId {
        self.model_ids().next().unwrap_or_else(|| ModelId::new(""))
    }

    /// The public names of all models that this process serves or knows, the default first.
    pub fn model_ids(&self) -> impl Iterator<Item = ModelId> {
        self.model_names.iter().map(|name| ModelId::from_source(name))
    }

    /// The same, and those of the adapters behind them.
    pub fn served_ids(&self) -> impl Iterator<Item = ModelId> {
        self.model_ids().chain(self.lora_adapters.iter().map(|adapter| adapter.name.clone()))
    }

    /// What is set but has no effect, one line each, to be logged as warnings.
    pub fn warnings(&self) -> Vec<String> {
        let Some(quantization) = self.quantization else { return Vec::new() };
        let told = self.model_names.iter().filter(|name| values::says_its_quantization(name));
        told.map(|name| {
            format!(
                "QUANTIZATION={quantization} has no effect: MODEL_NAME={name} already says which weights to load"
            )
        })
        .collect()
    }
}
