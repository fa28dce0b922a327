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
        "who may use the API: keys separated by commas, each at least 8 characters; `up` makes a fresh one when unset",
    ).list(),
    key(
        "ADMIN_API_KEY",
        None,
        "the operators' key for /admin, at least 8 characters and none of API_KEYS; unset: /admin is closed",
    ),
    key(
        "MODEL_NAME",
        Some("demo"),
        "hub repository with optional @revision and :quant (Qwen/Qwen3-4B-GGUF:Q4_K_M) or the address of its page, path of a .gguf file or of a folder with safetensors or one .gguf file, or demo; several separated by commas, the default first",
    ).list(),
    key(
        "MAX_MODEL_BYTES",
        None,
        "bytes that the loaded models of a worker may take together, 1048576 to 1125899906842624; unset: what is free at start",
    ),
    key(
        "MODEL_TURN_SECONDS",
        Some("10"),
        "seconds that a loaded model keeps its place while tasks wait for one that needs it, 0 to 3600",
    ),
    key(
        "MODEL_DEVICE",
        Some("auto"),
        "auto (the first GPU if the build can use one and one is there, else the CPU), cpu, cuda:N, or several that share the layers of each model: cuda:0,1 or cuda:0,cpu, each once, the CPU last",
    ).list(),
    key(
        "QUANTIZATION",
        None,
        "none, 8bit or 4bit: what safetensors become (unset: 4bit), and which GGUF file of a hub repository to take when MODEL_NAME names none",
    ),
    key(
        "LORA_ADAPTERS",
        None,
        "LoRA adapters served beside the first model, each under a name of its own: name=path-or-repository, separated by commas",
    ).list(),
    key(
        "REDIS_URL",
        None,
        "redis[s]://[user:password@]host[:port][/db], or several nodes of a Redis Cluster so, separated by commas; unset: `up` uses its embedded queue",
    ).list(),
    key("REDIS_HOST", None, "the Redis host, instead of REDIS_URL"),
    key("REDIS_PORT", Some("6379"), "the Redis port beside REDIS_HOST, 1 to 65535"),
    key(
        "REDIS_CA_FILE",
        None,
        "file of certificates (PEM) to trust in TLS to Redis (rediss://); unset: the system's",
    ),
    key(
        "REDIS_PARTITIONS",
        Some("1"),
        "partitions of the queue in Redis, the same in all processes, 1 to 64; more spread it over a Cluster",
    ),
    key(
        "REDIS_ALLOW_EVICTION",
        Some("false"),
        "whether a Redis may be used that deletes keys when its memory is full (another maxmemory-policy than noeviction), and accepted tasks with them: true or false",
    ),
    key("HOST", Some("0.0.0.0"), "address that the gateway listens on: an IP address or localhost"),
    key("PORT", Some("8000"), "port that the gateway listens on, 0 to 65535 (0: any free one)"),
    key(
        "MAX_NEW_TOKENS",
        Some("2048"),
        "largest max_tokens that a client may ask for, 1 to 1000000",
    ),
    key("MAX_PROMPT_BYTES", Some("1048576"), "largest prompt in bytes, 1 to 67108864"),
    key("TASK_TIME_LIMIT", Some("120"), "seconds that one attempt may compute, 1 to 86400"),
    key("RESULT_TTL", Some("3600"), "seconds that an outcome is kept, 1 to 2592000"),
    key(
        "MAX_QUEUE_SIZE",
        Some("10000"),
        "tasks of a model that may wait before submits get 429, 1 to 10000000",
    ),
    key(
        "MAX_TENANT_TASKS",
        Some("10000"),
        "tasks of one API key that may wait, whatever their model, 1 to 10000000",
    ),
    key(
        "MAX_QUEUE_BYTES",
        Some("536870912"),
        "bytes that all waiting tasks may have together, 1024 to 1099511627776",
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
        "WEBHOOK_ALLOW_PRIVATE",
        Some("false"),
        "whether webhooks may go to private and loopback addresses: true or false",
    ),
    key(
        "MAX_BATCH_SIZE",
        Some("auto"),
        "sequences that a worker runs at once, 1 to 256; auto: 16 on the CPU, 64 on a GPU, fewer where memory holds fewer than that of 1024 tokens each",
    ),
    key(
        "KV_TOKENS",
        None,
        "tokens that all sequences of a worker may have together, 256 to 1073741824; unset: full contexts, as far as a third of the free memory holds them",
    ),
    key(
        "LEASE_SECONDS",
        Some("30"),
        "seconds that a worker may be silent before its tasks go to another, 2 to 3600",
    ),
    key("MAX_ATTEMPTS", Some("3"), "failed attempts after which a task fails, 1 to 100"),
    key(
        "DRAIN_SECONDS",
        Some("20"),
        "seconds that a stopping worker goes on with what it has, 0 to 3600",
    ),
    key("LOG_DIR", Some("logs"), "where app.log, llm_requests.log and errors.log are written"),
    key(
        "LOG_LEVEL",
        Some("info"),
        "error, warn, info, debug or trace; or per part, as in info,worker=debug",
    ).list(),
    key("LOG_FORMAT", Some("text"), "text or json, for app.log and the console"),
    key("DATA_DIR", Some("data"), "where the embedded queue lives"),
    key("HF_ENDPOINT", Some("https://huggingface.co"), "where models are downloaded from"),
    key("HF_TOKEN", None, "access token for gated models"),
    key(
        "HF_HOME",
        None,
        "folder of Hugging Face's tools, whose subfolder hub keeps downloaded models; unset: ~/.cache/huggingface",
    ),
    key("HF_HUB_CACHE", None, "where downloaded models are kept, instead of hub in HF_HOME"),
];
