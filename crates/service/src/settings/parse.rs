//! Converts texts to [`Settings`]: checks every value and collects all problems.

use std::collections::HashSet;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use protocol::{KeyLimits, ModelId};
use queue::redis::SentinelUrl;
use tracing_subscriber::EnvFilter;

use super::given::Layers;
use super::keys::KEYS;
use super::values::{BlobLocation, JwtSettings, ListenAddress, LoraAdapter, QueueLocation, Secret};
use super::{Origins, Settings, SettingsError, TraceSampler, TraceSettings, paths, redis_url};

/// Shorter keys are too easy to guess.
const MIN_KEY_LENGTH: usize = 8;
/// The size of the hash that signs tokens (RFC 7518, section 3.2).
const MIN_JWT_SECRET: usize = 32;

/// Converts all settings, or returns all problems.
pub(super) fn settings(layers: &Layers) -> Result<Settings, SettingsError> {
    let mut p = Parser { layers, problems: Vec::new() };
    let api_keys = p.api_keys();
    let model_names = p.model_names();
    let settings = Settings {
        admin_api_key: p.admin_api_key(&api_keys),
        api_keys,
        jwt: p.jwt(),
        auth_failures_per_minute: p.number("AUTH_FAILURES_PER_MINUTE", 0, 100_000),
        trusted_proxies: p.trusted_proxies(),
        max_model_bytes: p.optional_number("MAX_MODEL_BYTES", 1 << 20, 1 << 50),
        model_turn: p.seconds("MODEL_TURN_SECONDS", 0, 3_600),
        model_device: p.choice("MODEL_DEVICE").unwrap_or(super::Device::Auto),
        quantization: p.choice("QUANTIZATION"),
        model_aliases: p.choice("MODEL_ALIASES").unwrap_or_default(),
        lora_adapters: p.lora_adapters(&model_names),
        projector: p.path("MMPROJ"),
        skills_dir: p.path("SKILLS_DIR"),
        skill_commands: p.path("SKILL_COMMANDS"),
        schedule_file: p.path("SCHEDULE_FILE"),
        max_image_tokens: p.number("MAX_IMAGE_TOKENS", 4, 16_384),
        max_video_tokens: p.number("MAX_VIDEO_TOKENS", 64, 65_536),
        model_names,
        queue: p.queue(),
        redis_ca_file: p.path("REDIS_CA_FILE"),
        redis_partitions: p.number("REDIS_PARTITIONS", 1, queue::redis::MAX_PARTITIONS),
        redis_sentinel_username: p.get("REDIS_SENTINEL_USERNAME").map(str::to_owned),
        redis_sentinel_password: p.sentinel_password(),
        redis_key_prefix: p.choice("REDIS_KEY_PREFIX").unwrap_or_default(),
        redis_allow_eviction: p.choice("REDIS_ALLOW_EVICTION").unwrap_or(false),
        host: p.choice("HOST").map_or(Ipv4Addr::UNSPECIFIED.into(), |ListenAddress(host)| host),
        port: p.number("PORT", 0, 65_535),
        admin_address: p.address("ADMIN_HOST", "ADMIN_PORT"),
        metrics_address: p.address("METRICS_HOST", "METRICS_PORT"),
        cors_origins: p.cors_origins(),
        max_new_tokens: p.number("MAX_NEW_TOKENS", 1, 1_000_000),
        max_prompt_bytes: p.number("MAX_PROMPT_BYTES", 1, 64 << 20),
        task_time_limit: p.seconds("TASK_TIME_LIMIT", 1, 86_400),
        silent_wait: p.seconds("SYNC_SILENT_WAIT", 1, 86_400),
        result_ttl: p.seconds("RESULT_TTL", 1, 30 * 86_400),
        result_cache: p.choice("RESULT_CACHE").is_some_and(|super::Switch(is_on)| is_on),
        result_cache_ttl: p.seconds("RESULT_CACHE_TTL", 1, 30 * 86_400),
        result_cache_max_bytes: p.number("RESULT_CACHE_MAX_BYTES", 1 << 16, 1 << 40),
        max_queue_size: p.number("MAX_QUEUE_SIZE", 1, 10_000_000),
        max_tenant_tasks: p.number("MAX_TENANT_TASKS", 1, 10_000_000),
        max_queue_bytes: p.number("MAX_QUEUE_BYTES", 1024, 1 << 40),
        owner_limits: KeyLimits {
            requests_per_minute: p.optional_number("OWNER_REQUESTS_PER_MINUTE", 1, 1_000_000_000),
            tokens_per_minute: p.optional_number("OWNER_TOKENS_PER_MINUTE", 1, 1_000_000_000_000),
            max_in_flight: p.optional_number("OWNER_MAX_IN_FLIGHT", 1, 10_000_000),
            tokens_per_day: p.optional_number("OWNER_TOKENS_PER_DAY", 1, 1_000_000_000_000),
            batch_tokens_per_day: p.optional_number(
                "OWNER_BATCH_TOKENS_PER_DAY",
                1,
                1_000_000_000_000,
            ),
        },
        rate_limit_generate: p.choice("RATE_LIMIT_GENERATE"),
        blob_location: p.blob_location(),
        max_blob_bytes: p.number("MAX_BLOB_BYTES", 1, 1 << 40),
        max_tenant_blob_bytes: p.number("MAX_TENANT_BLOB_BYTES", 1, 1 << 50),
        blob_ttl: p.seconds("BLOB_TTL", 60, 365 * 86_400),
        max_images: p.number("MAX_IMAGES", 0, 1_000),
        max_image_bytes: p.number("MAX_IMAGE_BYTES", 1_024, 256 << 20),
        max_video_bytes: p.number("MAX_VIDEO_BYTES", 1_024, 1 << 30),
        image_download: p.choice("IMAGE_DOWNLOAD").unwrap_or(super::ImageDownload::Off),
        enable_server_image_resize: p.choice("ENABLE_SERVER_IMAGE_RESIZE").unwrap_or(false),
        debug_image_form: p.choice("DEBUG_IMAGE_FORM").unwrap_or(false),
        usage_kept_days: p.number("USAGE_KEPT_DAYS", 1, 3_650),
        webhook_allow_private: p.choice("WEBHOOK_ALLOW_PRIVATE").unwrap_or(false),
        max_batch_size: p.choice("MAX_BATCH_SIZE").unwrap_or(super::BatchSize::Auto),
        kv_tokens: p.optional_number("KV_TOKENS", 256, 1 << 30),
        speculation: p.choice("SPECULATION").unwrap_or(super::Speculation::Lookup),
        draft_model: p.get("DRAFT_MODEL").map(|name| p.expanded("DRAFT_MODEL", name)),
        lease: p.seconds("LEASE_SECONDS", 2, 3_600),
        max_attempts: p.number("MAX_ATTEMPTS", 1, 100),
        drain: p.seconds("DRAIN_SECONDS", 0, 3_600),
        log_dir: p.path("LOG_DIR").unwrap_or_default(),
        log_level: p.log_level(),
        log_format: p.choice("LOG_FORMAT").unwrap_or(super::LogFormat::Text),
        log_task_details: p.choice("LOG_TASK_DETAILS").unwrap_or(false),
        traces: p.traces(),
        data_dir: p.path("DATA_DIR").unwrap_or_default(),
        hf_endpoint: p.url("HF_ENDPOINT", &["https://", "http://"]),
        hf_token: p.hf_token(),
        hf_home: p.path("HF_HOME"),
        hf_hub_cache: p.path("HF_HUB_CACHE"),
        notes: layers.notes.clone(),
    };
    if p.problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems: p.problems }) }
}

struct Parser<'a> {
    layers: &'a Layers,
    problems: Vec<String>,
}

impl<'a> Parser<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.layers.given.get(name).map(|given| given.text.as_str())
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// Returns a setting's source for messages: ` (.env, line 3)`, or an empty text for a default.
    fn place(&self, name: &str) -> String {
        let place = self.layers.given.get(name).and_then(|given| given.place.as_deref());
        place.map_or_else(String::new, |place| format!(" ({place})"))
    }

    /// Records that the value of `name` is not allowed, with the setting's description.
    fn refuse(&mut self, name: &str, given: &str) {
        let help = KEYS.iter().find(|key| key.name == name).map_or("", |key| key.help);
        let place = self.place(name);
        self.problems
            .push(format!("{name}='{}'{place} is not allowed: {help}", given.escape_debug()));
    }

    /// Records a problem of `name` without its value.
    fn note(&mut self, name: &str, what: impl Display) {
        self.problems.push(format!("{name}{}{what}", self.place(name)));
    }

    /// Parses one of the words that `T` accepts, in any case.
    fn choice<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let given = self.get(name)?;
        let value = given.parse().or_else(|_| given.to_ascii_lowercase().parse()).ok();
        if value.is_none() {
            self.refuse(name, given);
        }
        value
    }

    /// Parses the path of a file or folder, and expands `~/`.
    fn path(&mut self, name: &str) -> Option<PathBuf> {
        let expanded = self.expanded(name, self.get(name)?);
        Some(expanded.into())
    }

    /// Expands `~/` in `path`, which is the value of `name` or a part of it.
    fn expanded(&mut self, name: &str, path: &str) -> String {
        paths::expand_text(path).unwrap_or_else(|what| {
            self.note(name, format_args!(": '{}': {what}", path.escape_debug()));
            path.to_owned()
        })
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

    /// Parses a number within a range. Returns `None` if the setting is unset.
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
                self.note("API_KEYS", format_args!(": key {} {problem}", position + 1));
            } else if seen.insert(key) {
                keys.push(Secret::new(key));
            }
        }
        keys
    }

    /// Parses the model names. Duplicates count once; two models with the same public name are
    /// rejected.
    fn model_names(&mut self) -> Vec<String> {
        let given = self.get("MODEL_NAME").unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        for name in given.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let name = self.expanded("MODEL_NAME", name);
            let id = ModelId::from_source(&name);
            match names.iter().find(|known| ModelId::from_source(known) == id) {
                None => names.push(name),
                Some(known) if *known == name => {}
                Some(known) => self.note(
                    "MODEL_NAME",
                    format_args!(
                        ": both {known} and {name} would have the public name {id}: rename a file"
                    ),
                ),
            }
        }
        if names.is_empty() {
            self.refuse("MODEL_NAME", given);
        }
        names
    }

    /// Parses the operators' key, which must differ from all clients' keys.
    fn admin_api_key(&mut self, api_keys: &[Secret]) -> Option<Secret> {
        let key = self.get("ADMIN_API_KEY").map(str::trim).filter(|key| !key.is_empty())?;
        if let Some(problem) = unusable(key) {
            self.note("ADMIN_API_KEY", format_args!(": the key {problem}"));
        } else if api_keys.iter().any(|client| client.reveal() == key) {
            let what = " is one of API_KEYS, whose owner could then use /admin: choose another key";
            self.note("ADMIN_API_KEY", what);
        }
        Some(Secret::new(key))
    }

    /// Parses the address of a listener for operators. The port alone listens on this machine only.
    fn address(&mut self, host_name: &str, port_name: &str) -> Option<(IpAddr, u16)> {
        let host = self.choice(host_name).map(|ListenAddress(host)| host);
        let port = self.optional_number(port_name, 0, 65_535);
        match (host, port) {
            (None, None) => None,
            (Some(_), None) => {
                let what = format_args!(": set {port_name} too, the port to listen on there");
                self.note(host_name, what);
                None
            }
            (host, Some(port)) => Some((host.unwrap_or(Ipv4Addr::LOCALHOST.into()), port)),
        }
    }

    /// Parses the origins of web pages.
    fn cors_origins(&mut self) -> Origins {
        let Some(given) = self.get("CORS_ORIGINS") else { return Origins::None };
        given.parse().unwrap_or_else(|problem| {
            self.note("CORS_ORIGINS", format_args!(": {problem}"));
            Origins::None
        })
    }

    /// Parses how tokens are verified, and reads the file of keys.
    fn jwt(&mut self) -> JwtSettings {
        let jwks = self.path("JWT_JWKS_FILE").and_then(|path| {
            let read = std::fs::read_to_string(&path);
            read.map_err(|error| {
                let path = path.display();
                self.note("JWT_JWKS_FILE", format_args!(": '{path}' can't be read: {error}"));
            })
            .ok()
        });
        let secret = self.get("JWT_SECRET");
        if let Some(short) = secret.filter(|secret| secret.len() < MIN_JWT_SECRET) {
            let length = short.len();
            self.note(
                "JWT_SECRET",
                format_args!(" has {length} bytes, but at least {MIN_JWT_SECRET} are required"),
            );
        }
        JwtSettings {
            secret: secret.map(Secret::new),
            jwks,
            audience: self.get("JWT_AUDIENCE").map(str::to_owned),
            issuer: self.get("JWT_ISSUER").map(str::to_owned),
            leeway: self.seconds("JWT_LEEWAY", 0, 600),
        }
    }

    /// Parses the trusted proxies: addresses, and networks in CIDR notation.
    fn trusted_proxies(&mut self) -> Vec<IpNet> {
        let given = self.get("TRUSTED_PROXIES").unwrap_or_default();
        let mut networks = Vec::new();
        for part in given.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let address = part.parse::<IpAddr>().map(|address| address.to_canonical().into());
            match address.or_else(|_| part.parse()) {
                Ok(network) => networks.push(network),
                Err(_) => self.refuse("TRUSTED_PROXIES", part),
            }
        }
        networks
    }

    /// Parses the adapters of `models`. Names that are used twice are rejected.
    fn lora_adapters(&mut self, models: &[String]) -> Vec<LoraAdapter> {
        let given = self.get("LORA_ADAPTERS").unwrap_or_default();
        let mut names: Vec<ModelId> =
            models.iter().map(|model| ModelId::from_source(model)).collect();
        let mut adapters = Vec::new();
        for part in given.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Ok(mut adapter) = part.parse::<LoraAdapter>() else {
                self.refuse("LORA_ADAPTERS", part);
                continue;
            };
            adapter.source = self.expanded("LORA_ADAPTERS", &adapter.source);
            if names.contains(&adapter.name) {
                self.note(
                    "LORA_ADAPTERS",
                    format_args!(
                        ": the name {} is already used by a model or by another adapter: choose another",
                        adapter.name
                    ),
                );
            }
            names.push(adapter.name.clone());
            adapters.push(adapter);
        }
        adapters
    }

    /// Parses the URL of the bytes of blobs.
    fn blob_location(&mut self) -> BlobLocation {
        let Some(given) = self.get("BLOB_URL") else { return BlobLocation::Own };
        match given.parse() {
            Ok(location) => location,
            Err(problem) => {
                // The URL may contain a password, so it is not shown.
                self.note("BLOB_URL", format_args!(": {problem}"));
                BlobLocation::Own
            }
        }
    }

    fn url(&mut self, name: &str, schemes: &[&str]) -> String {
        let given = self.text(name);
        let rest = schemes.iter().find_map(|scheme| given.strip_prefix(scheme));
        if rest.is_none_or(str::is_empty) {
            // The rest may contain a password, so only the scheme is shown.
            let scheme = given.split_once("://").map_or_else(
                || "no scheme".to_owned(),
                |(scheme, _)| format!("the scheme {}", scheme.escape_debug()),
            );
            let allowed = schemes.join(" or ");
            self.note(
                name,
                format_args!(" has {scheme}, but must begin with {allowed} and have a host"),
            );
        }
        given
    }

    /// Parses the hub's token, which must be valid in a header.
    fn hf_token(&mut self) -> Option<Secret> {
        let token = self.get("HF_TOKEN")?;
        if !is_printable(token) {
            let what =
                ": the token has a character that is not allowed: copy it again, without blanks";
            self.note("HF_TOKEN", what);
        }
        Some(Secret::new(token))
    }

    /// Parses the password at the Sentinels, which a user needs too.
    fn sentinel_password(&mut self) -> Option<Secret> {
        let password = self.get("REDIS_SENTINEL_PASSWORD");
        if password.is_none() && self.get("REDIS_SENTINEL_USERNAME").is_some() {
            let what = " needs a password: set REDIS_SENTINEL_PASSWORD too";
            self.note("REDIS_SENTINEL_USERNAME", what);
        }
        password.map(Secret::new)
    }

    fn queue(&mut self) -> QueueLocation {
        let port: u16 = self.number("REDIS_PORT", 1, 65_535);
        if let Some(urls) = self.get("REDIS_URL") {
            let all = queue::redis::urls(urls);
            if all.len() > 1 && all.iter().any(|url| SentinelUrl::of(url).is_some()) {
                let what = ": a URL with Sentinels must be the only one: it names them all";
                self.note("REDIS_URL", what);
                return QueueLocation::Redis(Secret::new(urls));
            }
            for (number, url) in all.iter().enumerate() {
                let Some(problem) = redis_url::problem(url) else { continue };
                let which =
                    if all.len() > 1 { format!(": URL {}", number + 1) } else { String::new() };
                self.note("REDIS_URL", format_args!("{which} {problem}"));
            }
            return QueueLocation::Redis(Secret::new(urls));
        }
        match self.get("REDIS_HOST") {
            Some(host) if host.contains(['/', '@', ' ', '$']) => {
                self.note(
                    "REDIS_HOST",
                    format_args!(
                        ": '{}' is not a host name: use REDIS_URL for a complete address",
                        host.escape_debug()
                    ),
                );
                QueueLocation::Embedded(PathBuf::new())
            }
            Some(host) => QueueLocation::Redis(Secret::new(format!("redis://{host}:{port}"))),
            None => QueueLocation::Embedded(self.path("DATA_DIR").unwrap_or_default()),
        }
    }

    /// Parses where traces are sent, and which requests have some.
    fn traces(&mut self) -> TraceSettings {
        let endpoint = self.get("OTEL_EXPORTER_OTLP_ENDPOINT").map(str::to_owned);
        if endpoint.is_some() {
            self.url("OTEL_EXPORTER_OTLP_ENDPOINT", &["http://", "https://"]);
        }
        if endpoint.as_ref().is_some_and(|url| url.contains(['@', '?', '#'])) {
            let what = ": allowed is a host with a path; credentials belong into OTEL_EXPORTER_OTLP_HEADERS";
            self.note("OTEL_EXPORTER_OTLP_ENDPOINT", what);
        }
        let headers = super::traces::headers(&self.text("OTEL_EXPORTER_OTLP_HEADERS"));
        if let Err(problem) = &headers {
            self.note("OTEL_EXPORTER_OTLP_HEADERS", format_args!(": {problem}"));
        }
        let share = self.choice("OTEL_TRACES_SAMPLER_ARG").unwrap_or(1.0);
        if !(0.0..=1.0).contains(&share) {
            self.refuse("OTEL_TRACES_SAMPLER_ARG", &self.text("OTEL_TRACES_SAMPLER_ARG"));
        }
        let sampler: TraceSampler = self.choice("OTEL_TRACES_SAMPLER").unwrap_or_default();
        TraceSettings {
            endpoint,
            headers: headers.unwrap_or_default(),
            service_name: self.get("OTEL_SERVICE_NAME").map(str::to_owned),
            sampler: sampler.with_share(share),
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

/// Returns the reason why a key is not usable, without the key; `None` if it is.
fn unusable(key: &str) -> Option<String> {
    if key.len() < MIN_KEY_LENGTH {
        let length = key.len();
        return Some(format!(
            "has {length} characters, but at least {MIN_KEY_LENGTH} are required"
        ));
    }
    (!is_printable(key)).then(|| {
        "has a character that is not allowed in an HTTP header: use printable ASCII without spaces"
            .to_owned()
    })
}

/// Returns `true` if `text` is printable ASCII without blanks, as a header requires.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
