//! Tests `GET /metrics`: names, labels, and the number of series.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::receiver::{Receiver, ReceiverReply};
use harness::wait_for;
use protocol::{GpuReport, ModelId, Timestamp, WorkerId, WorkerReport, WorkerStatus};
use serde_json::json;

use crate::client::Client;
use crate::faulty_broker::{BrokerMode, FaultyBroker};
use crate::openai::CHAT;
use crate::rig::{ADMIN_KEY, KEY, Rig, answer};

/// Returns the value of each series, and checks each line of the format: comments precede their series, and no series
/// is there twice.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "twice: {line}");
            current = name;
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.split_once(' ').is_some_and(|(_, help)| !help.is_empty()), "{line}");
        } else {
            let (key, value) = line.rsplit_once(' ').expect(line);
            let name = key.split('{').next().unwrap();
            let base = match types[current] {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix))
                    .expect(line),
                _ => name,
            };
            assert_eq!(base, current, "the type precedes its series: {line}");
            let value: f64 = value.parse().expect(line);
            assert!(series.insert(key.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    series
}

fn scrape(rig: &Rig) -> BTreeMap<String, f64> {
    let reply = rig.admin().get("/metrics");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    parse(&reply.text)
}

fn report_gpu(rig: &Rig) {
    let report = WorkerReport {
        id: WorkerId::new(),
        host: "gpu-host".into(),
        pid: 1,
        version: "0".into(),
        model: ModelId::new("demo"),
        quantization: "Q4_K_M".into(),
        device: "cuda:3".into(),
        status: WorkerStatus::Ready,
        running: 0,
        capacity: 4,
        finished: 0,
        started_at: Timestamp::now(),
        reported_at: Some(Timestamp::now()),
        log_lines_lost: 0,
        models: vec![],
        gpus: vec![GpuReport {
            id: 3,
            memory_used_bytes: 7_000,
            memory_total_bytes: 9_000,
            utilization_percent: 55,
        }],
    };
    rig.wait(rig.broker.report_worker(&report, Duration::from_secs(60))).unwrap();
}

#[test]
fn a_scrape_has_requests_queue_workers_and_gpus() {
    let rig = Rig::operated();
    report_gpu(&rig);
    rig.report("demo", WorkerStatus::Draining);
    rig.submit("one");
    rig.submit("two");
    let reply = rig.client().post("/generate", &json!({"prompt": "low", "priority": "low"}));
    assert_eq!(reply.status, 202, "{reply:?}");
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("text"));
    rig.claim();
    let path = format!("/status/{}", claimed.task.id);
    assert_eq!(rig.client().get(&path).status, 200);
    assert_eq!(rig.client().get("/nowhere").status, 404);
    assert_eq!(rig.client_with(None).get(&path).status, 401);

    let series = scrape(&rig);
    for (key, value) in [
        ("queue_up", 1.0),
        ("http_requests_total{method=\"POST\",endpoint=\"/generate\",status=\"202\"}", 3.0),
        ("http_requests_total{method=\"GET\",endpoint=\"/status/{task_id}\",status=\"200\"}", 1.0),
        ("http_requests_total{method=\"GET\",endpoint=\"/status/{task_id}\",status=\"401\"}", 1.0),
        ("http_requests_total{method=\"GET\",endpoint=\"unknown\",status=\"404\"}", 1.0),
        ("http_request_duration_seconds_count{method=\"POST\",endpoint=\"/generate\"}", 3.0),
        (
            "http_request_duration_seconds_bucket{method=\"POST\",endpoint=\"/generate\",le=\"+Inf\"}",
            3.0,
        ),
        ("active_requests", 1.0),
        ("refusals_total{code=\"no_such_path\"}", 1.0),
        ("refusals_total{code=\"invalid_api_key\"}", 1.0),
        ("tasks_submitted_total{model=\"demo\",lane=\"normal\"}", 2.0),
        ("tasks_submitted_total{model=\"demo\",lane=\"low\"}", 1.0),
        ("inference_queue_length{model=\"demo\",lane=\"normal\"}", 0.0),
        ("inference_queue_length{model=\"demo\",lane=\"low\"}", 1.0),
        ("tasks_running{model=\"demo\"}", 1.0),
        ("tasks_delayed{model=\"demo\"}", 0.0),
        ("tasks_ended_total{model=\"demo\",outcome=\"completed\"}", 1.0),
        ("workers{model=\"demo\",state=\"loaded\"}", 1.0),
        ("workers{model=\"demo\",state=\"draining\"}", 1.0),
        ("gpu_memory_used_bytes{host=\"gpu-host\",gpu_id=\"3\"}", 7_000.0),
        ("gpu_utilization_percent{host=\"gpu-host\",gpu_id=\"3\"}", 55.0),
        ("queue_paused{model=\"demo\"}", 0.0),
    ] {
        assert_eq!(series.get(key), Some(&value), "{key} in {series:#?}");
    }
    let version = format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert!(series.contains_key(&version), "{series:#?}");
}

#[test]
fn streams_are_active_until_they_end() {
    let rig = Rig::operated();
    let id = rig.submit("a");
    let claimed = rig.claim();
    let stream = rig.client().open("GET", &format!("/events/{id}"), None);
    assert_eq!(scrape(&rig)["active_requests"], 2.0);
    rig.finish(&claimed, &answer("text"));
    drop(stream);
    let ends = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        scrape(&rig)["active_requests"] == 1.0
    });
    assert!(ends, "the stream still counts");
}

/// Sends a request with a method that no client library sends.
fn send_method(rig: &Rig, method: &str) {
    let mut stream = TcpStream::connect(rig.address).unwrap();
    let request = format!("{method} /generate HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 405 "), "{reply}");
}

#[test]
fn operators_alone_may_scrape() {
    let rig = Rig::operated();
    assert_eq!(rig.client_with(None).get("/metrics").status, 401);
    assert_eq!(rig.client().get("/metrics").status, 403);
    let bearer = format!("Bearer {ADMIN_KEY}");
    assert_eq!(rig.client_with(None).with("authorization", &bearer).get("/metrics").status, 200);
    assert_eq!(Rig::start().client().get("/metrics").status, 403, "without an operators' key");

    let rig = Rig::with_two_listeners(|_| {});
    assert_eq!(rig.admin().get("/metrics").status, 404);
    let inside = |key| Client::new(&format!("http://{}", rig.admin_address.unwrap()), key);
    assert_eq!(inside(None).get("/metrics").status, 401);
    assert_eq!(inside(Some(KEY)).get("/metrics").status, 403);
    assert_eq!(inside(Some(ADMIN_KEY)).get("/metrics").status, 200);
}

#[test]
fn a_scrape_succeeds_while_the_queue_is_away() {
    let mode = Arc::new(Mutex::new(BrokerMode::Well));
    let rig = Rig::on(
        |broker| FaultyBroker::around(broker, &mode),
        |options| options.admin_key = Some(ADMIN_KEY.into()),
    );
    rig.submit("before");
    for bad in [BrokerMode::Away, BrokerMode::Silent] {
        *mode.lock().unwrap() = bad;
        let began = Instant::now();
        let series = scrape(&rig);
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert_eq!(series["queue_up"], 0.0, "{series:#?}");
        assert_eq!(series["tasks_submitted_total{model=\"demo\",lane=\"normal\"}"], 1.0);
        assert!(!series.keys().any(|key| key.starts_with("inference_queue_length")));
        std::thread::sleep(Duration::from_millis(1_100)); // readings are kept for a second
    }
    *mode.lock().unwrap() = BrokerMode::Well;
    assert_eq!(scrape(&rig)["inference_queue_length{model=\"demo\",lane=\"normal\"}"], 1.0);
}

#[test]
fn tries_of_webhooks_are_counted_by_their_result() {
    let rig = Rig::with(|options| {
        options.admin_key = Some(ADMIN_KEY.into());
        options.webhook_allow_private = true;
    });
    let receiver = Receiver::start(|nth| ReceiverReply::status(if nth == 0 { 500 } else { 200 }));
    for _ in 0..2 {
        let body = json!({"prompt": "x", "webhook_url": receiver.url("/hook")});
        assert_eq!(rig.client().post("/generate", &body).status, 202);
        let claimed = rig.claim();
        rig.finish(&claimed, &answer("text"));
    }
    wait_for("two tries", Duration::from_secs(10), || {
        let series = scrape(&rig);
        let tries = |result| series.get(&format!("webhook_tries_total{{result=\"{result}\"}}"));
        (tries("retry") == Some(&1.0) && tries("delivered") == Some(&1.0)).then_some(())
    });
}

#[test]
fn the_number_of_series_does_not_depend_on_what_clients_send() {
    let rig = Rig::operated();
    rig.report("demo", WorkerStatus::Ready);
    let client = rig.client();
    for turn in 0..250 {
        let model = format!("model-{turn}");
        let user = format!("user-{turn}");
        client.get(&format!("/{turn}/path?{turn}"));
        client.get(&format!("/status/{turn}"));
        send_method(&rig, &format!("M{turn}"));
        client.post(
            CHAT,
            &json!({"model": model, "user": user, "messages": [{"role": "user", "content": user}]}),
        );
        if turn % 10 == 0 {
            let body = json!({"prompt": user, "user_id": user, "metadata": {"id": user}});
            assert_eq!(client.post("/generate", &body).status, 202);
        }
    }
    let series = scrape(&rig);
    let count = series.len();
    assert!((50..500).contains(&count), "{count} series: {series:#?}");
    for text in ["model-", "user-", "M1", "/1", KEY] {
        assert!(!series.keys().any(|key| key.contains(text)), "{text} in {series:#?}");
    }
    assert_eq!(
        series["http_requests_total{method=\"other\",endpoint=\"/generate\",status=\"405\"}"],
        250.0,
        "{series:#?}"
    );
}
