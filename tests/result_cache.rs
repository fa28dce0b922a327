//! Tests the result cache of real processes: every API gets cached answers, streamed and whole; they are shared by
//! workers and gateways, and by nobody else.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::client::Client;
use harness::process::{Home, KEY, Process};
use harness::receiver::Receiver;
use harness::redis::RedisServer;
use harness::{free_port, models, wait_for};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
const OTHER_KEY: &str = "test-key-9876543210";

/// A response: its header `x-cache`, and its body.
type Reply = (Option<String>, String);

fn post(port: u16, path: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
    let request = ureq::post(format!("http://127.0.0.1:{port}{path}"));
    let key = headers.iter().all(|(name, _)| *name != "X-API-Key").then_some(("X-API-Key", KEY));
    let with = |request: ureq::RequestBuilder<_>, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    let request = headers.iter().chain(&key).fold(request, with);
    let response = request.send_json(body).unwrap_or_else(|error| panic!("{path}: {error}"));
    let cache =
        response.headers().get("x-cache").map(|value| value.to_str().expect("text").to_owned());
    (cache, response.into_body().read_to_string().expect("UTF-8"))
}

/// Sends a request until it is answered from the cache: first the worker must know its model. Returns the answers in
/// between as `(computed, cached)`.
fn computed_and_cached(
    port: u16,
    path: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> (String, String) {
    let mut computed = None;
    wait_for("a cached answer", SOON, || {
        let (cache, text) = post(port, path, body, headers);
        match cache.as_deref() {
            Some("hit") => Some((computed.take().expect("a miss before"), text)),
            cache => {
                let is_second = computed.is_some() && cache == Some("miss");
                assert!(!is_second, "computed twice: {path}");
                computed = cache.map(|_| text);
                None
            }
        }
    })
}

/// The data of a stream's events.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// Concatenates the texts at these pointers.
fn joined<'a>(values: impl IntoIterator<Item = &'a Value>, pointers: &[&str]) -> String {
    let texts = values.into_iter().flat_map(|value| {
        pointers.iter().filter_map(|pointer| value.pointer(pointer).and_then(Value::as_str))
    });
    texts.collect()
}

fn up(home: &Home, port: u16, more: &[(&str, &str)]) -> Process {
    let (port_text, keys) = (port.to_string(), format!("{KEY},{OTHER_KEY}"));
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", &keys), ("RESULT_CACHE", "on")];
    let mut process = Process::start(home, "qwen-queue", &["up"], &[&settings[..], more].concat());
    Client::new(port).wait_until_healthy(&mut process, true);
    process
}

#[test]
fn every_api_gets_the_cached_answer_whole_and_streamed() {
    let (home, port, metrics) = (Home::new(), free_port(), free_port());
    let metrics_text = metrics.to_string();
    let settings = [("METRICS_PORT", metrics_text.as_str()), ("WEBHOOK_ALLOW_PRIVATE", "true")];
    let _up = up(&home, port, &settings);
    let ask = |text: &str| json!([{"role": "user", "content": text}]);
    let apis = [
        (
            "/v1/chat/completions",
            json!({"model": "demo", "messages": ask("How do I add a worker?"), "temperature": 0,
                   "max_tokens": 24, "stream_options": {"include_usage": true}}),
            "/choices/0/message/content",
            &["/choices/0/delta/content"][..],
            "/usage/prompt_tokens_details/cached_tokens",
        ),
        (
            "/v1/completions",
            json!({"model": "demo", "prompt": "One, two,", "seed": 7, "max_tokens": 12,
                   "stream_options": {"include_usage": true}}),
            "/choices/0/text",
            &["/choices/0/text"][..],
            "/usage/prompt_tokens_details/cached_tokens",
        ),
        (
            "/v1/messages",
            json!({"model": "demo", "messages": ask("What is a lease?"), "temperature": 0,
                   "max_tokens": 24}),
            "/content/0/text",
            &["/delta/text"][..],
            "", // told only of a request with `cache_control`
        ),
        (
            "/v1/responses",
            json!({"model": "demo", "input": "How long are results kept?", "temperature": 0,
                   "max_output_tokens": 24, "store": false}),
            "/output/0/content/0/text",
            &["/delta"][..],
            "/usage/input_tokens_details/cached_tokens",
        ),
    ];
    let mut hits = 0.0;
    for (path, mut body, text, deltas, cached_tokens) in apis {
        let whole_body = {
            let mut body = body.clone();
            body.as_object_mut().expect("an object").remove("stream_options");
            body
        };
        let (computed, cached) = computed_and_cached(port, path, &whole_body, &[]);
        let [computed, cached] =
            [computed, cached].map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
        let answer = joined([&computed], &[text]);
        assert!(!answer.is_empty(), "{computed}");
        assert_eq!(joined([&cached], &[text]), answer, "{path}");
        assert_ne!(computed["id"], cached["id"], "each is a task of its own");
        let found = |answer: &Value| answer.pointer(cached_tokens).and_then(Value::as_u64);
        assert!(cached_tokens.is_empty() || found(&cached) > found(&computed), "{cached}");
        // Streams have the same text. Their headers are sent before the cache is asked.
        body["stream"] = true.into();
        let (header, stream) = post(port, path, &body, &[]);
        assert_eq!(header, None);
        assert_eq!(joined(&events(&stream), deltas), answer, "{path}: {stream}");
        hits += 2.0;
        // Another key does not get it, and a request can decline it.
        let (cache, _) = post(port, path, &whole_body, &[("X-API-Key", OTHER_KEY)]);
        assert_eq!(cache.as_deref(), Some("miss"), "{path}");
        let (cache, _) = post(port, path, &whole_body, &[("Cache-Control", "no-store")]);
        assert_eq!(cache, None, "{path}");
        let (cache, _) = post(port, path, &whole_body, &[("Cache-Control", "no-cache")]);
        assert_eq!(cache.as_deref(), Some("miss"), "{path}");
    }

    // The native API: a task like any other, with its events, webhook and line of the log.
    let receiver = Receiver::kind();
    let body = json!({"prompt": "How do I add a worker?", "temperature": 0, "max_tokens": 16,
                      "webhook_url": receiver.url("/end")});
    let prefer = [("Prefer", "wait=30")];
    let (computed, cached) = computed_and_cached(port, "/generate", &body, &prefer);
    hits += 1.0;
    let [computed, cached] =
        [computed, cached].map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
    assert_eq!(computed["result"], cached["result"]);
    assert_eq!((&computed["cache"], &cached["cache"]), (&json!("miss"), &json!("hit")));
    let tokens = |result: &Value| {
        ["prompt_tokens", "completion_tokens"].map(|name| result["metrics"][name].clone())
    };
    assert_eq!(tokens(&computed), tokens(&cached));
    assert_eq!(cached["metrics"]["cached_tokens"], cached["metrics"]["prompt_tokens"]);
    let id = cached["task_id"].as_str().expect("an id");
    let client = Client::new(port);
    let told = client.events(id);
    let text: String = told.iter().filter_map(|event| event.data["text"].as_str()).collect();
    assert_eq!(json!(text), cached["result"]);
    let sent = wait_for("the webhook", SOON, || receiver.requests_for(id).into_iter().next());
    assert_eq!(sent.json()["data"]["cache"], "hit", "{}", sent.json());
    let line = wait_for("the line of the log", SOON, || {
        let log = home.read("logs/llm_requests.log");
        log.lines().find(|line| line.contains(id)).map(str::to_owned)
    });
    assert!(line.contains(" status=success ") && line.ends_with(" result_cache=hit"), "{line}");
    wait_for("a mark in the lines of all cached answers", SOON, || {
        let log = home.read("logs/llm_requests.log");
        let marked = log.lines().filter(|line| line.ends_with(" result_cache=hit"));
        (marked.count() as f64 == hits).then_some(())
    });

    let series = wait_for("the metrics", SOON, || {
        let response = ureq::get(format!("http://127.0.0.1:{metrics}/metrics")).call().ok()?;
        let text = response.into_body().read_to_string().ok()?;
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let series: BTreeMap<String, f64> =
            lines.filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?))).collect();
        let found = series.get("result_cache_lookups_total{model=\"demo\",result=\"hit\"}");
        (found == Some(&hits)).then_some(series)
    });
    assert!(series["result_cache_lookups_total{model=\"demo\",result=\"miss\"}"] >= 10.0);
    assert!(series["result_cache_entries"] >= 9.0 && series["result_cache_bytes"] > 2_000.0);
}

#[test]
fn a_model_whose_file_was_replaced_does_not_answer_from_the_cache() {
    let (home, port) = (Home::new(), free_port());
    let file = home.path().join("model.gguf");
    let settings = [("MODEL_NAME", file.to_str().expect("UTF-8"))];
    let body = json!({"prompt": "One, two,", "raw": true, "temperature": 0, "max_tokens": 8});
    let prefer = [("Prefer", "wait=30")];
    let ask = || computed_and_cached(port, "/generate", &body, &prefer);
    std::fs::copy(models::fixture("qwen3/qwen3-q8_0.gguf"), &file).expect("a copy");
    let first = up(&home, port, &settings);
    ask();
    stop(first);
    let same = up(&home, port, &settings);
    wait_for("the model to be known", SOON, || {
        post(port, "/generate", &body, &prefer).0.map(|cache| assert_eq!(cache, "hit"))
    });
    stop(same);
    std::fs::copy(models::fixture("qwen3/qwen3-f32.gguf"), &file).expect("a copy");
    let _other = up(&home, port, &settings);
    ask(); // misses first
}

fn stop(mut process: Process) {
    process.signal("TERM");
    process.wait(SOON);
}

#[test]
fn workers_of_a_redis_share_results_and_one_that_dies_loses_none() {
    let redis = RedisServer::durable();
    let (url, port, model) = (redis.url(), free_port(), models::slow());
    let port_text = port.to_string();
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("PORT", &port_text),
        ("API_KEYS", KEY),
        ("MODEL_NAME", model.to_str().expect("UTF-8")),
        ("RESULT_CACHE", "on"),
        ("LEASE_SECONDS", "3"),
        ("MAX_BATCH_SIZE", "1"),
    ];
    let homes: Vec<Home> = (0..3).map(|_| Home::new()).collect();
    let mut gateway = Process::start(&homes[0], "qwen-queue-gateway", &[], &settings);
    let start = |home| Process::start(home, "qwen-queue-worker", &[], &settings);
    let mut workers: Vec<Process> = homes[1..].iter().map(start).collect();
    let client = Client::new(port);
    client.wait_until_healthy(&mut gateway, true);
    for home in &homes[1..] {
        wait_for("both workers to know the model", SOON, || {
            home.read("logs/app.log").contains("its files were hashed").then_some(())
        });
    }
    // A worker dies while it computes: the other one computes the answer again, and stores it.
    let long = json!({"prompt": "count", "raw": true, "max_tokens": 200, "temperature": 0});
    let task = client.submit(&long);
    client.wait_for_state(&task, "processing");
    let victim = wait_for("the worker that has it", SOON, || {
        (1..3).find(|&n| homes[n].read("logs/app.log").contains(&task))
    });
    workers.remove(victim - 1).kill_9();
    let result = client.wait_for_result(&task, SOON).body;
    assert_eq!((&result["status"], &result["cache"]), (&json!("completed"), &json!("miss")));
    // A new worker answers from what the other one stored.
    stop(workers.remove(0));
    let late = Home::new();
    let _worker = start(&late);
    wait_for("the new worker to know the model", SOON, || {
        late.read("logs/app.log").contains("its files were hashed").then_some(())
    });
    let again = client.submit(&long);
    let cached = client.wait_for_result(&again, SOON).body;
    assert_eq!(cached["cache"], "hit", "{cached}");
    assert_eq!(cached["result"], result["result"]);
    assert!(cached["metrics"]["processing_time"].as_f64() < Some(1.0), "{cached}");
    let lines = |home: &Home| home.read("logs/llm_requests.log");
    wait_for("one line for each task", SOON, || {
        let all: String = homes.iter().chain([&late]).map(lines).collect();
        let count = |id: &str| all.lines().filter(|line| line.contains(id)).count();
        (count(&task) == 1 && count(&again) == 1).then_some(())
    });
}
