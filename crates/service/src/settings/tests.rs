//! Tests settings from real files and given environments.

use std::ffi::OsString;
use std::path::Path;

use super::*;

/// Loads settings from the given YAML, `.env` and environment.
pub(super) fn load(
    yaml: &str,
    dotenv: &str,
    environment: &[(&str, &str)],
) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.yaml");
    std::fs::write(&file, yaml).unwrap();
    let env_file = dir.path().join(".env");
    std::fs::write(&env_file, dotenv).unwrap();
    let pairs = environment.iter().map(|(k, v)| (OsString::from(k), OsString::from(v)));
    Settings::load_from(&Sources {
        file: Some(file),
        dotenv: env_file,
        environment: pairs.collect(),
        options: Vec::new(),
    })
}

pub(super) fn problems(result: Result<Settings, SettingsError>) -> Vec<String> {
    result.expect_err("should have been refused").problems
}

#[test]
fn defaults_match_the_contract() {
    let settings = load("", "", &[]).unwrap();
    assert_eq!(settings.host.to_string(), "0.0.0.0");
    assert_eq!(settings.port, 8000);
    assert_eq!(settings.task_time_limit.as_secs(), 120);
    assert_eq!(settings.result_ttl.as_secs(), 3600);
    assert_eq!(settings.lease.as_secs(), 30);
    assert_eq!(settings.max_attempts, 3);
    assert_eq!(settings.model_id().as_str(), "demo");
    assert_eq!(settings.queue, QueueLocation::Embedded("data".into()));
}

#[test]
fn environment_overrides_dotenv_overrides_yaml_overrides_defaults() {
    let yaml = "port: 1\nmax_attempts: 7\ntask_time_limit: 5\n";
    let settings =
        load(yaml, "PORT=2\nMAX_ATTEMPTS=8\n", &[("PORT", "3"), ("LOG_DIR", "")]).unwrap();
    assert_eq!(settings.port, 3);
    assert_eq!(settings.max_attempts, 8);
    assert_eq!(settings.task_time_limit.as_secs(), 5);
    assert_eq!(settings.log_dir, Path::new("logs"), "an empty variable is none");
}

#[test]
fn api_keys_are_read_as_text_or_list_and_never_printed() {
    let settings = load("api_keys: [first-key, second-key]", "", &[]).unwrap();
    assert_eq!(settings.api_keys.len(), 2);
    let settings = load("", "API_KEYS='first-key, second-key,first-key'", &[]).unwrap();
    assert_eq!(settings.api_keys.len(), 2);
    assert_eq!(settings.api_keys[1].reveal(), "second-key");
    assert!(!format!("{settings:?}").contains("second-key"));
}

#[test]
fn admin_key_must_differ_from_the_api_keys() {
    let settings = load("api_keys: [first-key]", "ADMIN_API_KEY=operator-1", &[]).unwrap();
    assert_eq!(settings.admin_api_key.as_ref().map(Secret::reveal), Some("operator-1"));
    assert!(!format!("{settings:?}").contains("operator-1"));
    assert_eq!(load("", "ADMIN_API_KEY=", &[]).unwrap().admin_api_key, None);
    for bad in ["short", "has space in it", "first-key"] {
        let found = problems(load("api_keys: [first-key]", "", &[("ADMIN_API_KEY", bad)]));
        assert!(found.len() == 1 && found[0].starts_with("ADMIN_API_KEY"), "{found:?}");
        assert!(!found[0].contains(bad), "{found:?}");
    }
}

#[test]
fn every_problem_is_listed_at_once() {
    let found = problems(load(
        "",
        "",
        &[
            ("PORT", "70000"),
            ("TASK_TIME_LIMIT", "soon"),
            ("MODEL_DEVICE", "tpu"),
            ("QUANTIZATION", "3bit"),
            ("API_KEYS", "short,has space in it"),
            ("LOG_LEVEL", "loud"),
            ("REDIS_URL", "http://redis:secret@x"),
            ("HOST", "example.org"),
        ],
    ));
    let all = found.join("\n");
    for name in ["PORT", "TASK_TIME_LIMIT", "MODEL_DEVICE", "QUANTIZATION", "LOG_LEVEL", "HOST"] {
        assert!(all.contains(name), "{name} is missing from:\n{all}");
    }
    assert_eq!(found.iter().filter(|p| p.starts_with("API_KEYS")).count(), 2, "{all}");
    assert!(!all.contains("secret") && !all.contains("has space"), "a secret is shown:\n{all}");
    assert_eq!(found.len(), 9, "{all}");
}

#[test]
fn model_device_accepts_lists_of_devices() {
    let device = |text: &str| load("", "", &[("MODEL_DEVICE", text)]).map(|s| s.model_device);
    let named = |gpus: &[usize], cpu| Device::Named { gpus: gpus.to_vec(), cpu };
    assert_eq!(device("Auto").unwrap(), Device::Auto);
    for (text, gpus, cpu) in [
        ("cpu", vec![], true),
        ("cuda", vec![0], false),
        ("cuda:3", vec![3], false),
        ("cuda:0,1", vec![0, 1], false),
        ("cuda:2, cuda:0", vec![2, 0], false),
        ("CUDA:1,0,cpu", vec![1, 0], true),
    ] {
        assert_eq!(device(text).unwrap(), named(&gpus, cpu), "{text}");
    }
    for text in
        ["cuda:", "cuda1", "0,1", "cpu,cpu", "cpu,cuda:0", "cuda:0,0", "cuda:0,", "cuda:0,auto"]
    {
        let found = problems(load("", "", &[("MODEL_DEVICE", text)]));
        assert!(found.len() == 1 && found[0].contains("cuda:0,cpu, each once"), "{found:?}");
        assert!(found[0].starts_with("MODEL_DEVICE"), "{found:?}");
    }
}

#[test]
fn an_unknown_key_in_the_file_is_refused_by_name() {
    let found = problems(load("port: 1\nprot: 2\n", "", &[]));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("'prot'") && found[0].contains("port"), "{}", found[0]);
}

#[test]
fn unreadable_sources_are_named() {
    let missing = Settings::load_from(&Sources {
        file: Some("/none/x.yaml".into()),
        dotenv: "/none/.env".into(),
        ..Sources::default()
    });
    assert!(missing.unwrap_err().problems[0].contains("/none/x.yaml"));
    assert!(problems(load("port: [", "", &[]))[0].contains("not valid YAML"));
    assert!(problems(load("port: {a: 1}", "", &[]))[0].contains("PORT"));
    let found = problems(load("", "API_KEYS=\"secret-key", &[]));
    assert!(found[0].contains(".env") && !found[0].contains("secret"), "{}", found[0]);
}

#[test]
fn redis_is_configured_by_url_or_host() {
    let by_host = load("", "", &[("REDIS_HOST", "cache"), ("REDIS_PORT", "7000")]).unwrap();
    assert_eq!(by_host.queue, QueueLocation::Redis(Secret::new("redis://cache:7000")));
    let by_url = load("", "REDIS_URL=redis://a/1", &[("REDIS_HOST", "b")]).unwrap();
    assert_eq!(by_url.queue, QueueLocation::Redis(Secret::new("redis://a/1")));
}

#[test]
fn cluster_is_configured_by_several_urls_and_tls_by_the_scheme() {
    let urls = "redis://a:7000,redis://b:7001";
    let cluster = load("", "", &[("REDIS_URL", urls), ("REDIS_PARTITIONS", "8")]).unwrap();
    assert_eq!(cluster.queue, QueueLocation::Redis(Secret::new(urls)));
    assert_eq!(cluster.redis_partitions, 8);
    assert!(problems(load("", "", &[("REDIS_PARTITIONS", "0")]))[0].contains("REDIS_PARTITIONS"));
    let tls = load("", "", &[("REDIS_URL", "rediss://a"), ("REDIS_CA_FILE", "ca.pem")]).unwrap();
    assert_eq!(tls.queue, QueueLocation::Redis(Secret::new("rediss://a")));
    assert_eq!(tls.redis_ca_file, Some("ca.pem".into()));
}

#[test]
fn sentinels_are_configured_by_one_url() {
    let url = "redis+sentinel://u:p@redis-1:26379,redis-2:26379/main";
    let credentials =
        [("REDIS_SENTINEL_USERNAME", "watcher"), ("REDIS_SENTINEL_PASSWORD", "seSame-1234")];
    let settings = load("", "", &[&[("REDIS_URL", url)][..], &credentials].concat()).unwrap();
    assert_eq!(settings.queue, QueueLocation::Redis(Secret::new(url)));
    assert_eq!(settings.redis_sentinel_username.as_deref(), Some("watcher"));
    assert_eq!(settings.redis_sentinel_password, Some(Secret::new("seSame-1234")));
    let two = format!("{url},redis://:seSame@a");
    for (given, word) in [
        (("REDIS_URL", two.as_str()), "must be the only one"),
        (("REDIS_URL", "redis+sentinel://:seSame@a"), "name of the primary"),
        (credentials[0], "set REDIS_SENTINEL_PASSWORD too"),
    ] {
        let found = problems(load("", "", &[given]));
        assert!(found[0].contains(word) && !found.concat().contains("seSame"), "{found:?}");
    }
}

#[test]
fn key_prefix_is_qq_or_given() {
    let prefix = |text: &str| load("", "", &[("REDIS_KEY_PREFIX", text)]);
    assert_eq!(load("", "", &[]).unwrap().redis_key_prefix.to_string(), "qq");
    assert_eq!(prefix("Team:shop").unwrap().redis_key_prefix.to_string(), "Team:shop");
    for wrong in ["{0}", "a*", "a b", "a:"] {
        let found = problems(prefix(wrong));
        assert!(found.len() == 1 && found[0].contains("1 to 64 letters"), "{found:?}");
        assert!(found[0].contains(&format!("REDIS_KEY_PREFIX='{wrong}'")), "{found:?}");
    }
}

#[test]
fn quantization_without_effect_is_a_warning() {
    let quiet = load("", "", &[("MODEL_NAME", "Qwen/Qwen3-4B-GGUF"), ("QUANTIZATION", "4bit")]);
    assert!(quiet.unwrap().warnings().is_empty());
    for folder in ["/models/Qwen3-4B", "./Qwen3-4B", "models/Qwen3-4B"] {
        let quiet = load("", "", &[("MODEL_NAME", folder), ("QUANTIZATION", "8bit")]);
        assert!(quiet.unwrap().warnings().is_empty(), "{folder}");
    }
    for name in ["demo", "./m.gguf", "Qwen/Qwen3-4B-GGUF:Q8_0", "Qwen/Qwen3-4B:8bit"] {
        let told = load("", "", &[("MODEL_NAME", name), ("QUANTIZATION", "4bit")]);
        assert_eq!(told.unwrap().warnings().len(), 1, "{name}");
    }
}

#[test]
fn adapters_need_a_name_a_source_and_distinct_names() {
    assert!(load("", "", &[]).unwrap().lora_adapters.is_empty());
    let settings = load("lora_adapters: [sql=./sql, acme/tone = acme/tone-lora]", "", &[]).unwrap();
    let adapters: Vec<(&str, &str)> =
        settings.lora_adapters.iter().map(|one| (one.name.as_str(), one.source.as_str())).collect();
    assert_eq!(adapters, [("sql", "./sql"), ("acme/tone", "acme/tone-lora")]);
    for wrong in ["sql", "=./sql", "sql=", "a b=./sql", "a=x,a=y", "demo=./sql"] {
        let found = problems(load("", "", &[("LORA_ADAPTERS", wrong)]));
        assert!(found.len() == 1 && found[0].contains("LORA_ADAPTERS"), "{wrong}: {found:?}");
    }
}

#[test]
fn models_are_read_as_text_or_list_and_need_distinct_ids() {
    let settings = load("model_name: [demo, ./a.gguf]", "", &[]).unwrap();
    assert_eq!(settings.model_names, ["demo", "./a.gguf"]);
    assert_eq!(settings.model_id().as_str(), "demo");
    let settings = load("", "", &[("MODEL_NAME", "x/y:Q8_0, demo,,x/y:Q8_0")]).unwrap();
    let ids: Vec<_> = settings.model_ids().map(|id| id.to_string()).collect();
    assert_eq!(ids, ["x/y:Q8_0", "demo"], "named twice is named once");
    let found = problems(load("", "", &[("MODEL_NAME", "/a/tiny.gguf,/b/tiny.gguf")]));
    assert!(found.len() == 1 && found[0].contains("/a/tiny.gguf and /b/tiny.gguf"), "{found:?}");
    assert!(problems(load("", "", &[("MODEL_NAME", " , ")]))[0].contains("MODEL_NAME"));
}

#[test]
fn env_example_and_docs_list_every_setting() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let example = std::fs::read_to_string(root.join(".env.example")).unwrap();
    let docs = std::fs::read_to_string(root.join("docs/CONFIGURATION.md")).unwrap();
    for key in KEYS {
        assert!(example.contains(&format!("{}=", key.name)), "{} not in .env.example", key.name);
        let row = docs.lines().find(|line| line.starts_with(&format!("| `{}` ", key.name)));
        let row = row.unwrap_or_else(|| panic!("{} has no row in CONFIGURATION.md", key.name));
        let default = key.default.map_or("unset".into(), |text| format!("`{text}`"));
        assert!(row.contains(&default), "{}: the documented default differs: {row}", key.name);
        assert!(row.contains(key.help), "{}: the documented meaning differs: {row}", key.name);
    }
}

#[test]
fn max_batch_size_is_auto_or_a_number() {
    let batch = |yaml: &str, text: &str| load(yaml, "", &[("MAX_BATCH_SIZE", text)]);
    assert_eq!(batch("", "").unwrap().max_batch_size, BatchSize::Auto);
    for (yaml, text, expected) in [
        ("max_batch_size: 8", "", BatchSize::Sequences(8)),
        ("max_batch_size: auto", "", BatchSize::Auto),
        ("max_batch_size: 8", "Auto", BatchSize::Auto),
        ("", "1", BatchSize::Sequences(1)),
        ("", "256", BatchSize::Sequences(256)),
    ] {
        assert_eq!(batch(yaml, text).unwrap().max_batch_size, expected, "{yaml} {text}");
    }
    for wrong in ["0", "257", "-1", "many", "4.5", "auto,4"] {
        let problems = problems(batch("", wrong));
        assert_eq!(problems.len(), 1);
        let (problem, given) = (&problems[0], format!("MAX_BATCH_SIZE='{wrong}'"));
        assert!(problem.contains(&given) && problem.contains("1 to 256; auto"), "{problem}");
    }
}

#[test]
fn kv_tokens_is_optional_and_bounded() {
    assert_eq!(load("", "", &[]).unwrap().kv_tokens, None);
    assert_eq!(load("kv_tokens: 8192", "", &[]).unwrap().kv_tokens, Some(8192));
    for wrong in ["255", "1073741825", "8k", "-1"] {
        let problems = problems(load("", "", &[("KV_TOKENS", wrong)]));
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].contains("KV_TOKENS") && problems[0].contains("256 to"),
            "{problems:?}"
        );
    }
}

#[test]
fn blob_url_is_a_folder_or_a_bucket_without_credentials() {
    let location = |url: &str| load("", "", &[("BLOB_URL", url)]).map(|s| s.blob_location);
    assert_eq!(location("").unwrap(), BlobLocation::Own);
    assert_eq!(location("file:///mnt/blobs").unwrap(), BlobLocation::Folder("/mnt/blobs".into()));
    for (url, word) in [
        ("/mnt/blobs", "no scheme"),
        ("file://blobs", "absolute"),
        ("file:///", "absolute"),
        ("http://x/y", "scheme http"),
        ("s3://", "no bucket"),
        ("s3:///prefix", "no bucket"),
        ("s3://key:seSame@bucket", "from the environment"),
    ] {
        let found = problems(load("", "", &[("BLOB_URL", url)]));
        assert!(found.len() == 1 && found[0].starts_with("BLOB_URL"), "{found:?}");
        assert!(found[0].contains(word) && !found[0].contains("seSame"), "{url}: {found:?}");
    }
    let bucket = location("s3://bucket/prefix");
    assert_eq!(bucket.is_ok(), queue::HAS_OBJECT_STORE);
    match bucket {
        Ok(location) => {
            assert_eq!(location, BlobLocation::ObjectStore("s3://bucket/prefix".to_owned()));
        }
        Err(refused) => {
            assert!(refused.problems[0].contains("--features object-store"), "{refused}");
        }
    }
}
