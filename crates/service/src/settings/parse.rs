//! From texts to [`Settings`]: every value is checked, every problem is noted.

use std::collections::HashSet;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use protocol::ModelId;
use tracing_subscriber::EnvFilter;

use super::keys::KEYS;
use super::layers::Layers;
use super::values::{LoraAdapter, QueueLocation, Secret};
use super::{Settings, SettingsError};

/// Shorter keys are guessed too easily.
const MIN_KEY_LENGTH: usize = 8;

/// Checks everything, then answers with the settings or with all problems.
pub(super) fn settings(layers: &Layers) -> Result<Settings, SettingsError> {
    let mut p = Parser { layers, problems: Vec::new() };
    let api_keys = p.api_keys();
    let model_names = p.model_names();
    let settings = Settings {
        admin_api_key: p.admin_api_key(&api_keys),
        api_keys,
        max_model_bytes: p.optional_number("MAX_MODEL_BYTES", 1 << 20, 1 << 50),
        model_turn: p.seconds("MODEL_TURN_SECONDS", 0, 3_600),
        model_device: p.choice("MODEL_DEVICE").unwrap_or(super::Device::Auto),
        quantization: p.choice("QUANTIZATION"),
        lora_adapters: p.lora_adapters(&model_names),
        model_names,
        queue: p.queue(),
        redis_ca_file: p.get("REDIS_CA_FILE").map(PathBuf::from),
        redis_partitions: p.number("REDIS_PARTITIONS", 1, queue::redis::MAX_PARTITIONS),
        host: p.choice("HOST").unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()),
        port: p.number("PORT", 0, 65_535),
        max_new_tokens: p.number("MAX_NEW_TOKENS", 1, 1_000_000),
        max_prompt_bytes: p.number("MAX_PROMPT_BYTES", 1, 64 << 20),
        task_time_limit: p.seconds("TASK_TIME_LIMIT", 1, 86_400),
        result_ttl: p.seconds("RESULT_TTL", 1, 30 * 86_400),
        max_queue_size: p.number("MAX_QUEUE_SIZE", 1, 10_000_000),
        max_tenant_tasks: p.number("MAX_TENANT_TASKS", 1, 10_000_000),
        max_queue_bytes: p.number("MAX_QUEUE_BYTES", 1024, 1 << 40),
        webhook_allow_private: p.choice("WEBHOOK_ALLOW_PRIVATE").unwrap_or(false),
        max_batch_size: p.number("MAX_BATCH_SIZE", 1, 256),
        kv_tokens: p.optional_number("KV_TOKENS", 256, 1 << 30),
        lease: p.seconds("LEASE_SECONDS", 2, 3_600),
        max_attempts: p.number("MAX_ATTEMPTS", 1, 100),
        drain: p.seconds("DRAIN_SECONDS", 0, 3_600),
        log_dir: p.text("LOG_DIR").into(),
        log_level: p.log_level(),
        log_format: p.choice("LOG_FORMAT").unwrap_or(super::LogFormat::Text),
        data_dir: p.text("DATA_DIR").into(),
        hf_endpoint: p.url("HF_ENDPOINT", &["https://", "http://"]),
        hf_token: p.get("HF_TOKEN").map(Secret::new),
        hf_home: p.get("HF_HOME").map(PathBuf::from),
        hf_hub_cache: p.get("HF_HUB_CACHE").map(PathBuf::from),
    };
    if p.problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems: p.problems }) }
}

struct Parser<'a> {
    layers: &'a Layers,
    problems: Vec<String>,
}

impl<'a> Parser<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.layers.0.get(name).map(String::as_str)
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// Notes that `name` is not what its help line allows.
    fn refuse(&mut self, name: &str, given: &str) {
        let help = KEYS.iter().find(|key| key.name == name).map_or("", |key| key.help);
        self.problems.push(format!("{name}='{}' is not allowed: {help}", given.escape_debug()));
    }

    fn choice<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let given = self.get(name)?;
        let value = given.parse().ok();
        if value.is_none() {
            self.refuse(name, given);
        }
        value
    }

    fn number<T>(&mut self, name: &str, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + Copy + Display,
    {
        let given = self.get(name).unwrap_or_default();
        match given.parse::<T>() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.refuse(name, given);
                min
            }
        }
    }

    /// None where nothing is set.
    fn optional_number<T>(&mut self, name: &str, min: T, max: T) -> Option<T>
    where
        T: FromStr + PartialOrd + Copy + Display,
    {
        self.get(name).is_some().then(|| self.number(name, min, max))
    }

    fn seconds(&mut self, name: &str, min: u64, max: u64) -> Duration {
        Duration::from_secs(self.number(name, min, max))
    }

    fn api_keys(&mut self) -> Vec<Secret> {
        let mut seen = HashSet::new();
        let mut keys = Vec::new();
        let given = self.get("API_KEYS").unwrap_or_default();
        for (position, key) in given.split(',').map(str::trim).enumerate() {
            if key.is_empty() {
                continue;
            } else if let Some(problem) = unusable(key) {
                self.problems.push(format!("API_KEYS: key {} {problem}", position + 1));
            } else if seen.insert(key) {
                keys.push(Secret::new(key));
            }
        }
        keys
    }

    /// The models. What is named twice counts once; two that clients could not tell apart are refused.
    fn model_names(&mut self) -> Vec<String> {
        let given = self.get("MODEL_NAME").unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        for name in given.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let id = ModelId::from_source(name);
            match names.iter().find(|known| ModelId::from_source(known) == id) {
                None => names.push(name.to_owned()),
                Some(known) if known == name => {}
                Some(known) => self.problems.push(format!(
                    "MODEL_NAME: clients would know both {known} and {name} as {id}: rename a file"
                )),
            }
        }
        if names.is_empty() {
            self.refuse("MODEL_NAME", given);
        }
        names
    }

    /// The operators' key. It must not be one that clients have.
    fn admin_api_key(&mut self, api_keys: &[Secret]) -> Option<Secret> {
        let key = self.get("ADMIN_API_KEY").map(str::trim).filter(|key| !key.is_empty())?;
        if let Some(problem) = unusable(key) {
            self.problems.push(format!("ADMIN_API_KEY: the key {problem}"));
        } else if api_keys.iter().any(|client| client.reveal() == key) {
            self.problems.push(
                "ADMIN_API_KEY is one of API_KEYS: who has that key could operate; use another"
                    .to_owned(),
            );
        }
        Some(Secret::new(key))
    }

    /// The adapters beside `models`. Names that clients could not tell apart are refused.
    fn lora_adapters(&mut self, models: &[String]) -> Vec<LoraAdapter> {
        let given = self.get("LORA_ADAPTERS").unwrap_or_default();
        let mut names: Vec<ModelId> =
            models.iter().map(|model| ModelId::from_source(model)).collect();
        let mut adapters = Vec::new();
        for part in given.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Ok(adapter) = part.parse::<LoraAdapter>() else {
                self.refuse("LORA_ADAPTERS", part);
                continue;
            };
            if names.contains(&adapter.name) {
                self.problems.push(format!(
                    "LORA_ADAPTERS: {} is the name of a model or of another adapter: choose another",
                    adapter.name
                ));
            }
            names.push(adapter.name.clone());
            adapters.push(adapter);
        }
        adapters
    }

    fn url(&mut self, name: &str, schemes: &[&str]) -> String {
        let given = self.text(name);
        let rest = schemes.iter().find_map(|scheme| given.strip_prefix(scheme));
        if rest.is_none_or(str::is_empty) {
            // The rest may hold a password: show the scheme only.
            let scheme = given.split_once("://").map_or("no scheme", |(scheme, _)| scheme);
            self.problems.push(format!(
                "{name} has {}, allowed is {}…",
                scheme.escape_debug(),
                schemes.join("… or ")
            ));
        }
        given
    }

    fn queue(&mut self) -> QueueLocation {
        let port: u16 = self.number("REDIS_PORT", 1, 65_535);
        let host = self.get("REDIS_HOST");
        if self.get("REDIS_URL").is_some() {
            let url = self.url("REDIS_URL", &["redis://", "rediss://", "redis+unix://", "unix://"]);
            return QueueLocation::Redis(Secret::new(url));
        }
        match host {
            Some(host) if host.contains(['/', '@', ' ']) => {
                self.problems.push(format!(
                    "REDIS_HOST='{}' is no host name: put addresses with more parts into REDIS_URL",
                    host.escape_debug()
                ));
                QueueLocation::Embedded(PathBuf::new())
            }
            Some(host) => QueueLocation::Redis(Secret::new(format!("redis://{host}:{port}"))),
            None => QueueLocation::Embedded(self.text("DATA_DIR").into()),
        }
    }

    fn log_level(&mut self) -> String {
        let given = self.text("LOG_LEVEL").to_ascii_lowercase();
        let levels = ["error", "warn", "info", "debug", "trace", "off"];
        let plain = given.split(',').all(|part| {
            let level = part.rsplit('=').next().unwrap_or_default().trim();
            levels.contains(&level) || level == "warning"
        });
        if !plain || EnvFilter::try_new(&given).is_err() {
            self.refuse("LOG_LEVEL", &given);
        }
        given.replace("warning", "warn")
    }
}

/// Why a key can't be one, in words that don't show it.
fn unusable(key: &str) -> Option<String> {
    if key.len() < MIN_KEY_LENGTH {
        let length = key.len();
        return Some(format!("has {length} characters, at least {MIN_KEY_LENGTH} are needed"));
    }
    let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    (!is_visible).then(|| {
        "has a character that can't stand in an HTTP header: use printable ASCII without spaces"
            .to_owned()
    })
}
