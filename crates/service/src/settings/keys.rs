//! The table of all settings: names, defaults and descriptions. Tests compare it with
//! `.env.example`, `docs/CONFIGURATION.md` and the parser.

/// Describes one setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name in the environment and `.env`; YAML also accepts it in lower case.
    pub name: &'static str,
    /// The default, or `None` if the setting is then unset.
    pub default: Option<&'static str>,
    /// A description in one line.
    pub help: &'static str,
    /// Accepts several values: separated by commas, or as a list in YAML.
    pub list: bool,
}

/// Creates a setting with a single value; [`Key::list`] makes it accept several.
const fn key(name: &'static str, default: Option<&'static str>, help: &'static str) -> Key {
    Key { name, default, help, list: false }
}

impl Key {
    const fn list(mut self) -> Self {
        self.list = true;
        self
    }
}

/// All settings, in the order of the documentation.
pub const KEYS: &[Key] = &[
    key(
        "API_KEYS",
        None,
        "API keys of clients, separated by commas, each of at least 8 characters; unset: `up` generates one",
    ).list(),
    key(
        "ADMIN_API_KEY",
        None,
        "the operators' key for /admin, at least 8 characters and not one of API_KEYS; unset: /admin is closed",
    ),
    key(
        "JWT_SECRET",
        None,
        "shared secret of at least 32 bytes that verifies bearer tokens (JWT) signed with HS256; unset: such tokens are refused",
    ),
    key(
        "JWT_JWKS_FILE",
        None,
        "file with public keys (a JWK set) that verify bearer tokens signed with RS256 or ES256; unset: such tokens are refused",
    ),
    key(
        "JWT_AUDIENCE",
        None,
        "the audience (aud) that tokens must be for; unset: any",
    ),
    key(
        "JWT_ISSUER",
        None,
        "the issuer (iss) that tokens must have; unset: any",
    ),
    key(
        "JWT_LEEWAY",
        Some("30"),
        "seconds by which the clock of the tokens' issuer may differ, 0 to 600",
    ),
    key(
        "AUTH_FAILURES_PER_MINUTE",
        Some("10"),
        "requests with wrong keys that an address may send per minute before it gets 429 for them, 0 to 100000 (0: no limit)",
    ),
    key(
        "TRUSTED_PROXIES",
        None,
        "addresses and networks (10.0.0.0/8) of the proxies in front of the gateway, separated by commas, whose X-Forwarded-For and Forwarded name the client; unset: none",
    ).list(),
    key(
        "MODEL_NAME",
        Some("demo"),
        "hub repository with optional @revision and :quant (Qwen/Qwen3-4B-GGUF:Q4_K_M) or the address of its page, path of a .gguf file or of a folder with safetensors or one .gguf file, or demo; several separated by commas, the default first",
    ).list(),
    key(
        "MAX_MODEL_BYTES",
        None,
        "bytes of memory for all loaded models of a worker together, 1048576 to 1125899906842624; unset: the memory that is free at start",
    ),
    key(
        "MODEL_TURN_SECONDS",
        Some("10"),
        "seconds that a loaded model stays in memory while tasks of a model that needs the memory are pending, 0 to 3600",
    ),
    key(
        "MODEL_DEVICE",
        Some("auto"),
        "auto (the first GPU if the build supports GPUs and there is one, else the CPU), cpu, cuda:N, or several that share the layers of each model: cuda:0,1 or cuda:0,cpu, each once, the CPU last",
    ).list(),
    key(
        "QUANTIZATION",
        None,
        "none, 8bit or 4bit: the quantization of safetensors at load (unset: 4bit), and the GGUF file of a hub repository to use if MODEL_NAME names none",
    ),
    key(
        "MODEL_ALIASES",
        None,
        "other names of models for the routes of OpenAI and Anthropic: alias=model pairs separated by commas; the alias * stands for every unknown name, the model default for the first of MODEL_NAME (gpt-4o=Qwen/Qwen3-4B-GGUF,*=default)",
    ).list(),
    key(
        "LORA_ADAPTERS",
        None,
        "LoRA adapters served beside the first model, each under a name of its own: name=path-or-repository, separated by commas",
    ).list(),
    key(
        "MMPROJ",
        None,
        "projector (mmproj) of the first model, which lets it see images: a GGUF file, or a folder of safetensors; unset: the tower in the model's folder of safetensors, or the only file with mmproj in its name beside its GGUF file",
    ),
    key(
        "MAX_IMAGE_TOKENS",
        Some("1024"),
        "most tokens of an image, 4 to 16384; larger images are reduced. On a CPU images of more tokens take long",
    ),
    key(
        "MAX_VIDEO_TOKENS",
        Some("2048"),
        "most tokens of a video, 64 to 65536; of longer ones fewer and smaller frames are taken. On a CPU videos of more tokens take long",
    ),
    key(
        "REDIS_URL",
        None,
        "redis[s]://[user:password@]host[:port][/db], or the URLs of several nodes of a Redis Cluster, separated by commas, or redis[s]+sentinel://[user:password@]host[:port],host[:port]/name-of-the-primary[/db]; unset: `up` uses its embedded queue",
    ).list(),
    key("REDIS_HOST", None, "host name of Redis, used if REDIS_URL is unset"),
    key("REDIS_PORT", Some("6379"), "port of Redis, used with REDIS_HOST, 1 to 65535"),
    key(
        "REDIS_SENTINEL_USERNAME",
        None,
        "user at the Sentinels of REDIS_URL, used with REDIS_SENTINEL_PASSWORD; unset: their default user",
    ),
    key(
        "REDIS_SENTINEL_PASSWORD",
        None,
        "password at the Sentinels of REDIS_URL; unset: they require none. The credentials in REDIS_URL are those of Redis",
    ),
    key(
        "REDIS_CA_FILE",
        None,
        "file of CA certificates (PEM) to trust for TLS connections to Redis (rediss://); unset: the system's",
    ),
    key(
        "REDIS_PARTITIONS",
        Some("1"),
        "number of partitions of the queue in Redis, the same in all processes, 1 to 64; several are spread over a Cluster",
    ),
    key(
        "REDIS_KEY_PREFIX",
        Some("qq"),
        "what all keys of the queue in Redis begin with, the same in all processes; queues with different prefixes can share a Redis; 1 to 64 letters, digits and characters of _.-:, the first and the last a letter or a digit",
    ),
    key(
        "REDIS_ALLOW_EVICTION",
        Some("false"),
        "true or false: allow a Redis that deletes keys, and accepted tasks with them, when its memory is full (a maxmemory-policy other than noeviction)",
    ),
    key("HOST", Some("0.0.0.0"), "address that the gateway listens on: an IP address or localhost"),
    key("PORT", Some("8000"), "port that the gateway listens on, 0 to 65535 (0: any free one)"),
    key(
        "ADMIN_HOST",
        None,
        "address of the listener for /admin, used with ADMIN_PORT: an IP address or localhost; unset: 127.0.0.1",
    ),
    key(
        "ADMIN_PORT",
        None,
        "port of a listener of its own for /admin, 0 to 65535 (0: any free one); unset: /admin is served on PORT",
    ),
    key(
        "METRICS_HOST",
        None,
        "address of the listener for metrics, used with METRICS_PORT: an IP address or localhost; unset: 127.0.0.1",
    ),
    key(
        "METRICS_PORT",
        None,
        "port on which each process, gateway and worker alike, serves GET /metrics without a key, 0 to 65535 (0: any free one); unset: off",
    ),
    key(
        "CORS_ORIGINS",
        None,
        "origins of web pages whose scripts may call the API, separated by commas (https://app.example.com), or * for all; unset: none",
    ).list(),
    key(
        "MAX_NEW_TOKENS",
        Some("2048"),
        "largest max_tokens of a request, 1 to 1000000",
    ),
    key("MAX_PROMPT_BYTES", Some("1048576"), "largest prompt in bytes, 1 to 67108864"),
    key("TASK_TIME_LIMIT", Some("120"), "largest computing time of one attempt in seconds, 1 to 86400"),
    key(
        "SYNC_SILENT_WAIT",
        Some("60"),
        "seconds for which a request that waits for its task gets no byte, 1 to 86400; then its status is sent, and a line end every few seconds keeps the connection open",
    ),
    key("RESULT_TTL", Some("3600"), "seconds that a result is kept after its task ended, 1 to 2592000"),
    key(
        "RESULT_CACHE",
        Some("off"),
        "on or off: whether workers answer a task from the result of an earlier one of the same API key that asked for the same; only tasks of temperature 0 or with a seed",
    ),
    key(
        "RESULT_CACHE_TTL",
        Some("3600"),
        "seconds that a result is kept for later tasks, 1 to 2592000",
    ),
    key(
        "RESULT_CACHE_MAX_BYTES",
        Some("67108864"),
        "bytes of all results that are kept for later tasks together, 65536 to 1099511627776",
    ),
    key(
        "MAX_QUEUE_SIZE",
        Some("10000"),
        "largest number of queued tasks of one model; further submits get 429, 1 to 10000000",
    ),
    key(
        "MAX_TENANT_TASKS",
        Some("10000"),
        "largest number of queued tasks of one API key, of all models together, 1 to 10000000",
    ),
    key(
        "MAX_QUEUE_BYTES",
        Some("536870912"),
        "largest size of all queued tasks together in bytes, 1024 to 1099511627776",
    ),
    key(
        "OWNER_REQUESTS_PER_MINUTE",
        None,
        "submitted tasks per minute of each owner, all of its keys together, 1 to 1000000000; unset: no limit",
    ),
    key(
        "OWNER_TOKENS_PER_MINUTE",
        None,
        "tokens per minute of each owner, of prompts and generated, 1 to 1000000000000; unset: no limit",
    ),
    key(
        "OWNER_MAX_IN_FLIGHT",
        None,
        "tasks of each owner that wait or run, without those of batches, 1 to 10000000; unset: no limit",
    ),
    key(
        "OWNER_TOKENS_PER_DAY",
        None,
        "tokens per day (UTC) of each owner, without those of batches, 1 to 1000000000000; unset: no limit",
    ),
    key(
        "OWNER_BATCH_TOKENS_PER_DAY",
        None,
        "tokens of batches per day (UTC) of each owner, 1 to 1000000000000; unset: no limit",
    ),
    key(
        "RATE_LIMIT_GENERATE",
        None,
        "requests of each key to POST /generate: a number and second, minute, hour or day (10/minute); unset: no limit",
    ),
    key(
        "BLOB_URL",
        None,
        "where the bytes of uploaded files are stored: file:///folder, which all machines mount, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix in builds with the feature object-store; unset: in Redis, or in blobs in DATA_DIR",
    ),
    key(
        "MAX_BLOB_BYTES",
        Some("209715200"),
        "bytes that an uploaded file may have, 1 to 1099511627776",
    ),
    key(
        "MAX_TENANT_BLOB_BYTES",
        Some("1073741824"),
        "bytes that all stored files of one API key may have together, 1 to 1125899906842624",
    ),
    key(
        "BLOB_TTL",
        Some("2592000"),
        "seconds that a file is kept if its upload names no time, 60 to 31536000",
    ),
    key(
        "MAX_IMAGES",
        Some("64"),
        "largest number of images of a request, 0 to 1000; 0: requests with images are refused",
    ),
    key(
        "MAX_IMAGE_BYTES",
        Some("20000000"),
        "bytes that the file of an image may have, and all images that a request's body holds together, 1024 to 268435456",
    ),
    key(
        "MAX_VIDEO_BYTES",
        Some("100000000"),
        "bytes that the file of a video may have, 1024 to 1073741824; one that is in a request's body counts to MAX_IMAGE_BYTES too",
    ),
    key(
        "IMAGE_DOWNLOAD",
        Some("off"),
        "whether the gateway downloads images and videos that requests name by URL: off, public (from public addresses only) or private (from private and loopback addresses too)",
    ),
    key(
        "ENABLE_SERVER_IMAGE_RESIZE",
        Some("false"),
        "true or false: reduce images of requests without max_pixels to at most 800 x 600 pixels",
    ),
    key(
        "DEBUG_IMAGE_FORM",
        Some("false"),
        "true or false: log the names, types and sizes of the fields of forms with images",
    ),
    key(
        "SKILLS_DIR",
        None,
        "a folder with files of own skills (*.toml), read again when one changes; unset: the built-in skills alone",
    ),
    key(
        "SKILL_COMMANDS",
        None,
        "a folder with programs that read the answers of own skills, which the worker runs with the rights of its user: docs/SECURITY.md; unset: none is run",
    ),
    key(
        "SCHEDULE_FILE",
        None,
        "file (TOML) of the tasks that the gateways submit periodically, read again on SIGHUP: docs/SCHEDULE.md; unset: none",
    ),
    key("USAGE_KEPT_DAYS", Some("400"), "days that the usage of keys, owners and models is kept, 1 to 3650"),
    key(
        "WEBHOOK_ALLOW_PRIVATE",
        Some("false"),
        "true or false: allow webhooks to private and loopback addresses",
    ),
    key(
        "MAX_BATCH_SIZE",
        Some("auto"),
        "number of sequences that a worker runs at once, 1 to 256; auto: 16 on the CPU, 64 on a GPU, or fewer if the memory holds fewer of 1024 tokens each",
    ),
    key(
        "KV_TOKENS",
        None,
        "KV cache size in tokens, shared by all sequences of a worker, 256 to 1073741824; unset: full contexts, within a third of the free memory",
    ),
    key(
        "SPECULATION",
        Some("lookup"),
        "which tokens a worker drafts, so that a step on the CPU verifies several at once, with the same answers: off, or lookup (what followed the same tokens before)",
    ),
    key(
        "DRAFT_MODEL",
        None,
        "a smaller model of the same vocabulary that drafts tokens for the first model, too, named like MODEL_NAME; not loaded with SPECULATION=off; unset: none",
    ),
    key(
        "LEASE_SECONDS",
        Some("30"),
        "seconds after which the tasks of a silent worker are requeued, 2 to 3600",
    ),
    key("MAX_ATTEMPTS", Some("3"), "number of failed attempts after which a task fails, and the largest max_attempts of a request, 1 to 100"),
    key(
        "DRAIN_SECONDS",
        Some("20"),
        "seconds that a stopping worker has to finish its running tasks, 0 to 3600",
    ),
    key("LOG_DIR", Some("logs"), "folder of app.log, llm_requests.log, errors.log and audit.log"),
    key(
        "LOG_LEVEL",
        Some("info"),
        "error, warn, info, debug or trace, optionally by component: info,worker=debug",
    ).list(),
    key("LOG_FORMAT", Some("text"), "format of app.log and of the console: text or json"),
    key(
        "LOG_TASK_DETAILS",
        Some("false"),
        "end lines of llm_requests.log with model, owner and kind of error: true or false",
    ),
    key(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        "base URL of an OpenTelemetry collector that takes OTLP over HTTP (http://localhost:4318), to which traces are sent; unset: no traces",
    ),
    key(
        "OTEL_EXPORTER_OTLP_HEADERS",
        None,
        "headers of requests to the collector, such as keys: name=value pairs separated by commas, values percent-encoded (authorization=Bearer%20KEY)",
    ).list(),
    key(
        "OTEL_SERVICE_NAME",
        None,
        "name of the process in traces; unset: qwen-queue-gateway, qwen-queue-worker, or qwen-queue for `up`",
    ),
    key(
        "OTEL_TRACES_SAMPLER",
        Some("parentbased_always_on"),
        "which requests have traces: always_on, always_off or traceidratio; with parentbased_ before it, a traceparent that the client sends decides instead",
    ),
    key(
        "OTEL_TRACES_SAMPLER_ARG",
        None,
        "share of requests that have traces with traceidratio, 0 to 1; unset: 1",
    ),
    key("DATA_DIR", Some("data"), "folder of the embedded queue"),
    key("HF_ENDPOINT", Some("https://huggingface.co"), "URL of the hub that models are downloaded from"),
    key("HF_TOKEN", None, "access token of the hub, for gated models"),
    key(
        "HF_HOME",
        None,
        "folder of Hugging Face's tools; downloaded models are in its subfolder hub; unset: ~/.cache/huggingface",
    ),
    key("HF_HUB_CACHE", None, "folder of downloaded models, used instead of hub in HF_HOME"),
];
