//! No secret is in any log or on any console, however much is logged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::client::Client;
use harness::hub::Hub;
use harness::process::{Home, Process};
use harness::receiver::Receiver;
use harness::redis::RedisServer;
use harness::{free_port, models, wait_for};
use serde_json::json;

const SOON: Duration = Duration::from_secs(60);

const HF_TOKEN: &str = "hf_Zq7VwXk2LmP9TrYs4BnC";
const API_KEY: &str = "ak-Jx83hWq0pRt6vZu1MdLe";
const OTHER_KEY: &str = "ak-Gf52sYb7cKo4nXi9QaTw";
const ADMIN_KEY: &str = "ops-Vr19kEz8mHy3uDj5PcNs";
/// With characters that an address writes otherwise.
const REDIS_PASSWORD: &str = "rp@Wd6/xTn2:Kv8%Qs0";
const REDIS_PASSWORD_IN_URL: &str = "rp%40Wd6%2FxTn2%3AKv8%25Qs0";
const PROXY_USER: &str = "pu-Hc47gLf2";
const PROXY_PASSWORD: &str = "pp-Bt63wRm9dSx1";
const ENDPOINT_PASSWORD: &str = "ep-Ny58jUo3kVa7";
const COLLECTOR_KEY: &str = "ck-Vd82hTq5nXr4Jw";

/// The length of a part of a secret that counts as a leak.
const WINDOW: usize = 8;

/// All that processes wrote: their consoles, and their logs of every day and name.
fn everything(homes: &[&Home]) -> Vec<(PathBuf, String)> {
    fn files(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                files(&entry.path(), all);
            } else {
                all.push(entry.path());
            }
        }
    }
    let mut written = Vec::new();
    for home in homes {
        let mut all = vec![home.path().join("output.txt")];
        files(&home.path().join("logs"), &mut all);
        written.extend(all.into_iter().map(|path| {
            let text = fs::read(&path).unwrap_or_default();
            (path, String::from_utf8_lossy(&text).into_owned())
        }));
    }
    written
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}

/// Asserts that no piece of a secret is in a text: plain, in hexadecimal, or in rows of a dump.
fn assert_no_secret(texts: &[(PathBuf, String)], secrets: &[String]) {
    for (path, text) in texts {
        let dumped: String = text.chars().filter(|c| c.is_ascii_hexdigit()).collect();
        for secret in secrets {
            for piece in secret.as_bytes().windows(WINDOW) {
                let plain = String::from_utf8_lossy(piece);
                let line = text.lines().find(|line| line.contains(&*plain));
                assert_eq!(line, None, "{} has {plain:?} of {secret:?}", path.display());
                assert!(!dumped.contains(&hex(piece)), "{} has {secret:?} in hex", path.display());
            }
        }
    }
}

fn settings<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("LOG_LEVEL", "trace"),
        ("HF_TOKEN", HF_TOKEN),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("MODEL_NAME", "acme/tiny-GGUF:Q8_0"),
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ("LEASE_SECONDS", "3"),
        ("RUST_LOG", "trace"),
    ];
    all.extend_from_slice(more);
    all
}

fn hub() -> Hub {
    let model = fs::read(models::fixture("qwen3/qwen3-q8_0.gguf")).expect("the fixture");
    Hub::start(vec![("tiny-Q8_0.gguf".to_owned(), model)])
}

fn all_secrets(webhook_secret: &str) -> Vec<String> {
    let proxy = format!("{PROXY_USER}:{PROXY_PASSWORD}");
    let mut secrets: Vec<String> = [
        HF_TOKEN,
        API_KEY,
        OTHER_KEY,
        ADMIN_KEY,
        REDIS_PASSWORD,
        REDIS_PASSWORD_IN_URL,
        PROXY_PASSWORD,
        ENDPOINT_PASSWORD,
        COLLECTOR_KEY,
    ]
    .map(str::to_owned)
    .to_vec();
    secrets.push(base64(proxy.as_bytes()));
    secrets.push(webhook_secret.trim_start_matches("whsec_").to_owned());
    secrets
}

/// A gateway and a worker that download a model, run tasks, tell of their ends, and refuse strangers.
fn run_with_redis(format: &str) {
    let (hub, receiver, collector) = (hub(), Receiver::kind(), Receiver::kind());
    let collector_headers = format!("x-team=a, authorization=Bearer%20{COLLECTOR_KEY}");
    let redis = RedisServer::with(&["--requirepass", REDIS_PASSWORD]);
    let (port, keys) = (free_port(), format!("{API_KEY},{OTHER_KEY}"));
    let redis_url = format!("redis://:{REDIS_PASSWORD_IN_URL}@127.0.0.1:{}", redis.port());
    let endpoint = format!("http://{}", hub.address());
    let (port_text, collector_url) = (port.to_string(), collector.url(""));
    let all = settings(&[
        ("API_KEYS", keys.as_str()),
        ("REDIS_URL", redis_url.as_str()),
        ("HF_ENDPOINT", endpoint.as_str()),
        ("PORT", port_text.as_str()),
        ("LOG_FORMAT", format),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector_url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", collector_headers.as_str()),
    ]);
    let (of_gateway, of_worker) = (Home::new(), Home::new());
    let mut gateway = Process::start(&of_gateway, "qwen-queue-gateway", &[], &all);
    let mut worker = Process::start(&of_worker, "qwen-queue-worker", &[], &all);
    let client = Client::with_key(port, API_KEY);
    client.wait_until_healthy(&mut gateway, true);
    assert!(hub.seen().iter().any(|head| head.contains(HF_TOKEN)), "the hub got the token");

    let webhook_secret = client.get("/webhook-secret").body["secret"].clone();
    let webhook_secret = webhook_secret.as_str().expect("a secret");
    let task = client.submit(&json!({
        "prompt": "the lease ends", "max_tokens": 4, "webhook_url": receiver.url("/end"),
    }));
    assert_eq!(client.wait_for_result(&task, SOON).status, 200);
    client.events(&task);
    receiver.wait_for(1, SOON);
    // A key that is none, but begins like one, and the operators'.
    assert_eq!(Client::with_key(port, &format!("{API_KEY}x")).get("/status/x").status, 401);
    let operators = Client::with_key(port, ADMIN_KEY);
    assert_eq!(operators.get("/admin/workers").status, 200);
    let queued = Client::with_key(port, OTHER_KEY)
        .submit(&json!({"prompt": "the lease ends", "max_tokens": 4}));
    assert_eq!(client.get(&format!("/status/{queued}")).status, 404);

    for process in [&mut gateway, &mut worker] {
        process.signal("TERM");
        process.wait(SOON);
    }
    let exported = collector.heard();
    let key = format!("Bearer {COLLECTOR_KEY}");
    assert!(exported.iter().any(|request| request.header("authorization") == key));
    assert!(exported.iter().all(|request| request.line.starts_with("POST /v1/traces ")));
    let bodies: Vec<_> = exported
        .iter()
        .map(|request| ("a span".into(), String::from_utf8_lossy(&request.body).into_owned()))
        .collect();
    assert_no_secret(&bodies, &all_secrets(webhook_secret));
    let written = everything(&[&of_gateway, &of_worker]);
    let detailed = written.iter().any(|(_, text)| text.contains("DEBUG"));
    assert!(detailed, "nothing was logged below info");
    assert_no_secret(&written, &all_secrets(webhook_secret));
}

#[test]
fn gateway_and_worker_leak_no_secret_in_text_logs() {
    run_with_redis("text");
}

#[test]
fn gateway_and_worker_leak_no_secret_in_json_logs() {
    run_with_redis("json");
}

/// Through a proxy that wants a password, to a hub whose address has one; and when nothing works.
#[test]
fn up_leaks_no_secret_of_proxies_and_urls() {
    let hub = hub();
    let (home, port) = (Home::new(), free_port());
    let proxy = format!("http://{PROXY_USER}:{PROXY_PASSWORD}@{}", hub.address());
    let port_text = port.to_string();
    let endpoint = format!("http://mirror:{ENDPOINT_PASSWORD}@hub.invalid");
    let all = settings(&[
        ("API_KEYS", API_KEY),
        ("PORT", port_text.as_str()),
        ("HF_ENDPOINT", endpoint.as_str()),
        ("http_proxy", proxy.as_str()),
        ("HTTP_PROXY", proxy.as_str()),
    ]);
    let mut up = Process::start(&home, "qwen-queue", &["up"], &all);
    let client = Client::with_key(port, API_KEY);
    client.wait_until_healthy(&mut up, true);
    let basic = base64(format!("{PROXY_USER}:{PROXY_PASSWORD}").as_bytes());
    assert!(hub.seen().iter().any(|head| head.contains(&basic)), "the proxy got its password");
    up.signal("TERM");
    up.wait(SOON);
    assert_no_secret(&everything(&[&home]), &all_secrets("whsec_"));

    let home = Home::new();
    let nobody = format!("http://{PROXY_USER}:{PROXY_PASSWORD}@127.0.0.1:{}", free_port());
    let redis_url = format!("redis://:{REDIS_PASSWORD_IN_URL}@127.0.0.1:{}", free_port());
    let all = settings(&[
        ("API_KEYS", API_KEY),
        ("PORT", port_text.as_str()),
        ("HF_ENDPOINT", endpoint.as_str()),
        ("REDIS_URL", redis_url.as_str()),
        ("http_proxy", nobody.as_str()),
    ]);
    let mut worker = Process::start(&home, "qwen-queue-worker", &[], &all);
    wait_for("its last words, or a few of them", SOON, || {
        let said = worker.output().lines().count() > 5;
        (said || !worker.is_alive()).then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    drop(worker);
    assert_no_secret(&everything(&[&home]), &all_secrets("whsec_"));
}

/// The test's own tools.
#[test]
fn secret_search_finds_secrets() {
    assert_eq!(base64(b"a:bcd"), "YTpiY2Q");
    let dump = "68 66 5f 5a 71 37 56 77 58 6b".to_owned();
    for text in ["got hf_Zq7VwXk2".to_owned(), dump] {
        let texts = [(PathBuf::from("x"), text)];
        let found = std::panic::catch_unwind(|| assert_no_secret(&texts, &[HF_TOKEN.to_owned()]));
        assert!(found.is_err());
    }
    assert_no_secret(&[(PathBuf::from("x"), "hf_Zq7".to_owned())], &[HF_TOKEN.to_owned()]);
}
