//! Tests the metrics of `up`, and of a gateway and a worker with Redis, on `METRICS_PORT`.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::client::Client;
use harness::models;
use harness::process::{ADMIN_KEY, Home, KEY, Process};
use harness::redis::RedisServer;
use harness::{free_port, wait_for};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

/// Returns the status and the series of a port.
fn scrape(port: u16) -> Option<BTreeMap<String, f64>> {
    let response = ureq::get(format!("http://127.0.0.1:{port}/metrics")).call().ok()?;
    let text = response.into_body().read_to_string().ok()?;
    check_with_promtool(&text);
    let series = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let series = series.map(|line| {
        let (key, value) = line.rsplit_once(' ').expect("a value");
        (key.to_owned(), value.parse().expect("a number"))
    });
    Some(series.collect())
}

/// Checks the text with Prometheus's own tool, where it is installed.
fn check_with_promtool(text: &str) {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.stdout(Stdio::piped()).spawn() else { return };
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "promtool: {said}\n{text}");
}

/// Checks what a worker counted of `tasks` completed tasks and their results.
fn check_worker(series: &BTreeMap<String, f64>, results: &[serde_json::Value]) {
    let sum = |name: &str| {
        let of = |result: &serde_json::Value| result["metrics"][name].as_f64().expect("a number");
        results.iter().map(of).sum::<f64>()
    };
    let tasks = results.len() as f64;
    let quantization = {
        let keys = series.keys().map(String::as_str);
        let mut counts =
            keys.filter(|key| key.starts_with("model_inference_duration_seconds_count"));
        counts.next().unwrap_or_else(|| panic!("none in {series:#?}")).to_owned()
    };
    assert!(quantization.contains("{model_name=\"demo\",quantization=\""), "{quantization}");
    for (key, value) in [
        ("attempts_total{model=\"demo\",end=\"completed\"}", tasks),
        (quantization.as_str(), tasks),
        ("queue_wait_seconds_count{model=\"demo\"}", tasks),
        ("time_to_first_token_seconds_count{model=\"demo\"}", tasks),
        ("tokens_total{model=\"demo\",kind=\"prompt\"}", sum("prompt_tokens")),
        ("tokens_total{model=\"demo\",kind=\"cached\"}", sum("cached_tokens")),
        ("tokens_total{model=\"demo\",kind=\"completion\"}", sum("completion_tokens")),
        ("engine_cached_prompt_tokens_total{model=\"demo\"}", sum("cached_tokens")),
        ("model_load_time_seconds_count{model_name=\"demo\"}", 1.0),
        ("engine_running_sequences{model=\"demo\"}", 0.0),
    ] {
        assert_eq!(series.get(key), Some(&value), "{key} in {series:#?}");
    }
    for state in ["held", "cached", "blank"] {
        assert!(
            series.contains_key(&format!("engine_kv_pages{{model=\"demo\",state=\"{state}\"}}"))
        );
    }
    assert!(series["engine_step_tokens_total{model=\"demo\"}"] >= tasks, "{series:#?}");
    assert!(series["engine_busy_seconds{model=\"demo\"}"] > 0.0, "{series:#?}");
    assert!(series["engine_steps_total{model=\"demo\"}"] >= tasks, "{series:#?}");
    let computed = series["engine_computed_prompt_tokens_total{model=\"demo\"}"];
    assert_eq!(computed, sum("prompt_tokens") - sum("cached_tokens"));
    let waited = series["queue_wait_seconds_sum{model=\"demo\"}"];
    assert!((waited - sum("queue_wait_time")).abs() < 0.1, "{waited}: {results:#?}");
}

fn ask_some(client: &Client) -> Vec<serde_json::Value> {
    let ids: Vec<String> = (0..3).map(|_| client.ask("How do I add a worker?")).collect();
    let results = ids.iter().map(|id| client.wait_for_result(id, SOON).body);
    let results: Vec<_> = results.collect();
    assert!(results.iter().all(|result| result["status"] == "completed"), "{results:#?}");
    results
}

/// Checks that the process reports the space of exactly these folders' disks.
fn check_disks(series: &BTreeMap<String, f64>, folders: &[&str]) {
    let of = |name: &str| {
        let each = series.iter().filter(|(key, _)| key.starts_with(name));
        each.map(|(key, value)| (key[name.len()..].to_owned(), *value)).collect::<Vec<_>>()
    };
    let (free, total) = (of("disk_free_bytes"), of("disk_total_bytes"));
    let labels: Vec<_> = folders.iter().map(|name| format!("{{folder=\"{name}\"}}")).collect();
    let labels_of = |readings: &[(String, f64)]| {
        readings.iter().map(|(label, _)| label.clone()).collect::<Vec<_>>()
    };
    assert_eq!(labels_of(&free), labels, "{series:#?}");
    assert_eq!(labels_of(&total), labels, "{series:#?}");
    for ((_, free), (_, total)) in free.iter().zip(&total) {
        assert!(*free > 0.0 && free <= total, "{free} of {total} bytes");
    }
}

/// Scrapes until `key` has this value: the worker counts an outcome just after it was recorded.
fn scrape_when(port: u16, key: &str, value: f64) -> BTreeMap<String, f64> {
    wait_for(key, SOON, || scrape(port).filter(|series| series.get(key) == Some(&value)))
}

const COMPLETED: &str = "attempts_total{model=\"demo\",end=\"completed\"}";

#[test]
fn up_has_the_metrics_of_gateway_and_worker_on_one_port() {
    let home = Home::new();
    let (port, metrics) = (free_port(), free_port());
    let (port_text, metrics_text) = (port.to_string(), metrics.to_string());
    let settings = [
        ("PORT", port_text.as_str()),
        ("API_KEYS", KEY),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("METRICS_PORT", &metrics_text),
    ];
    let mut process = Process::start(&home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut process, true);
    let results = ask_some(&client);
    let failed = client.submit(&json!({"prompt": "x ".repeat(20_000)}));
    assert_eq!(client.wait_for_result(&failed, SOON).body["status"], "error");
    scrape_when(metrics, "attempts_total{model=\"demo\",end=\"failed\"}", 1.0);
    std::thread::sleep(Duration::from_millis(1_100)); // what is read of the queue is kept for a second
    let series = scrape_when(metrics, COMPLETED, 3.0);
    for (key, value) in [
        ("queue_up", 1.0),
        ("tasks_submitted_total{model=\"demo\",lane=\"normal\"}", 4.0),
        ("http_requests_total{method=\"POST\",endpoint=\"/generate\",status=\"202\"}", 4.0),
        ("tasks_ended_total{model=\"demo\",outcome=\"completed\"}", 3.0),
        ("tasks_ended_total{model=\"demo\",outcome=\"failed\"}", 1.0),
        ("inference_queue_length{model=\"demo\",lane=\"normal\"}", 0.0),
        ("workers{model=\"demo\",state=\"loaded\"}", 1.0),
        ("log_lines_lost_total", 0.0),
    ] {
        assert_eq!(series.get(key), Some(&value), "{key} in {series:#?}");
    }
    check_disks(&series, &["data", "logs"]);
    // The failed task was never prefilled; its prompt counts to the tokens of ended tasks alone.
    assert_eq!(series["attempts_total{model=\"demo\",end=\"failed\"}"], 1.0);
    assert_eq!(
        series["tokens_total{model=\"demo\",kind=\"completion\"}"],
        results.iter().map(|r| r["metrics"]["completion_tokens"].as_f64().unwrap()).sum::<f64>()
    );
    let other = ureq::get(format!("http://127.0.0.1:{metrics}/admin/overview")).call();
    assert!(matches!(other, Err(ureq::Error::StatusCode(404))), "{other:?}");
    assert_eq!(Client::with_key(port, ADMIN_KEY).get("/health").status, 200);
}

#[test]
fn a_worker_has_its_metrics_on_a_port_of_its_own() {
    let redis = RedisServer::start();
    let home = Home::new();
    let (port, metrics) = (free_port(), free_port());
    let (port_text, metrics_text) = (port.to_string(), metrics.to_string());
    let url = redis.url();
    let gateway = [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("REDIS_URL", url.as_str())];
    let mut gateway = Process::start(&home, "qwen-queue-gateway", &[], &gateway);
    let blobs = format!("file://{}", home.path().join("blobs").display());
    let worker =
        [("REDIS_URL", url.as_str()), ("METRICS_PORT", &metrics_text), ("BLOB_URL", &blobs)];
    let _worker = Process::start(&home, "qwen-queue-worker", &[], &worker);
    let client = Client::new(port);
    client.wait_until_healthy(&mut gateway, true);
    let results = ask_some(&client);
    let series = scrape_when(metrics, COMPLETED, 3.0);
    check_worker(&series, &results);
    assert!(!series.contains_key("queue_up"), "a worker does not read the queue");
    check_disks(&series, &["blobs", "logs"]);
    assert!(series.len() < 250, "{}", series.len());
}

#[test]
fn a_lost_worker_is_counted_by_whoever_finds_it() {
    let redis = RedisServer::start();
    let home = Home::new();
    let (port, metrics) = (free_port(), free_port());
    let (port_text, metrics_text) = (port.to_string(), metrics.to_string());
    let url = redis.url();
    let model = models::slow();
    let common = [
        ("REDIS_URL", url.as_str()),
        ("LEASE_SECONDS", "2"),
        ("MODEL_NAME", model.to_str().expect("UTF-8")),
    ];
    let gateway =
        [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("METRICS_PORT", &metrics_text)];
    let gateway = [common.as_slice(), &gateway].concat();
    let mut gateway = Process::start(&home, "qwen-queue-gateway", &[], &gateway);
    let worker = Process::start(&home, "qwen-queue-worker", &[], &common);
    let client = Client::new(port);
    client.wait_until_healthy(&mut gateway, true);
    let long = json!({"prompt": "count", "raw": true, "max_tokens": 400, "temperature": 0.0});
    let task = client.submit(&long);
    client.wait_for_state(&task, "processing");
    let expired = "leases_expired_total{result=\"requeued\"}";
    assert!(!scrape(metrics).expect("a scrape").contains_key(expired));
    worker.kill_9();
    let series = scrape_when(metrics, expired, 1.0);
    assert!(!series.contains_key(COMPLETED), "a gateway makes no attempts");
    assert_eq!(client.status(&task), "queued");
}
