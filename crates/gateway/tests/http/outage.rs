//! Tests the responses while the queue is down, silent, newer or broken, and the recovery.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use queue::{RedisBroker, RedisOptions};
use serde_json::json;

use crate::client::Reply;
use crate::faulty_broker::{BrokerMode, FaultyBroker};
use crate::rig::{Rig, answer};

fn faulty_rig() -> (Rig, Arc<Mutex<BrokerMode>>) {
    let mode = Arc::new(Mutex::new(BrokerMode::Well));
    let rig = Rig::on(
        |broker| FaultyBroker::around(broker, &mode),
        |options| options.broker_timeout = Duration::from_millis(500),
    );
    (rig, mode)
}

fn is_unavailable(reply: &Reply) {
    let (status, detail) = reply.error();
    assert_eq!(status, 503);
    assert!(detail.starts_with("The queue is unavailable"), "{detail}");
    let seconds: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=120).contains(&seconds));
    assert_eq!(reply.header("x-should-retry"), None);
}

/// Sends all requests that need the queue.
fn ask_all(rig: &Rig, id: protocol::TaskId) -> Vec<Reply> {
    let client = rig.client();
    vec![
        client.post("/generate", &json!({"prompt": "x"})),
        client.post("/generate", &json!({"prompt": "x", "model": "other"})),
        client.get(&format!("/status/{id}")),
        client.get(&format!("/result/{id}")),
        client.get(&format!("/events/{id}")),
        client.send("POST", &format!("/cancel/{id}"), None),
    ]
}

#[test]
fn unavailable_or_hanging_queue_is_a_503_in_bounded_time() {
    let (rig, mode) = faulty_rig();
    let id = rig.submit("before");
    for bad in [BrokerMode::Away, BrokerMode::Silent] {
        *mode.lock().unwrap() = bad;
        let began = Instant::now();
        let replies = ask_all(&rig, id);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        for reply in &replies {
            is_unavailable(reply);
            assert!(!reply.text.contains("10.0.0.7"), "reasons stay inside");
        }
        let health = rig.client_with(None).get("/health");
        assert_eq!(health.status, 503);
        let body = health.json();
        assert_eq!(
            (&body["status"], &body["redis_connected"]),
            (&json!("unhealthy"), &json!(false))
        );
        assert_eq!(body["model_loaded"], false);
        assert_eq!(rig.client_with(None).get("/").status, 200, "the front page needs no queue");
        assert_eq!(rig.client_with(None).get("/docs").status, 200);
    }
    *mode.lock().unwrap() = BrokerMode::Well;
    assert_eq!(rig.client().get(&format!("/status/{id}")).status, 200, "it heals by itself");
    assert_eq!(rig.client_with(None).get("/health").status, 200);
}

#[test]
fn unreachable_redis_is_a_503() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let rig = Rig::on(
        |_| {
            let options = RedisOptions::new(format!("redis://127.0.0.1:{closed}"));
            Arc::new(RedisBroker::connect(options).unwrap())
        },
        |_| {},
    );
    let began = Instant::now();
    for reply in ask_all(&rig, protocol::TaskId::new()) {
        is_unavailable(&reply);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let health = rig.client_with(None).get("/health");
    assert_eq!((health.status, &health.json()["queue"]), (503, &json!("redis")));
    // Unauthenticated requests get 401 even without a queue.
    let stranger = rig.client_with(None).post("/generate", &json!({"prompt": "x"}));
    assert_eq!(stranger.status, 401);
    // Invalid requests get 422 even without a queue.
    assert_eq!(rig.client().post("/generate", &json!({})).status, 422);
}

#[test]
fn record_of_another_version_is_a_500_naming_the_version() {
    let (rig, mode) = faulty_rig();
    let id = rig.submit("before");
    *mode.lock().unwrap() = BrokerMode::Newer;
    let reply = rig.client().get(&format!("/result/{id}"));
    let (status, detail) = reply.error();
    assert_eq!(status, 500);
    assert!(detail.contains("version 7, this build reads version 2"), "{detail}");
    assert_eq!(reply.header("x-should-retry"), Some("false"));
}

#[test]
fn panic_is_a_500_and_other_requests_continue() {
    let (rig, mode) = faulty_rig();
    let id = rig.submit("before");
    *mode.lock().unwrap() = BrokerMode::Broken;
    for reply in [
        rig.client().get(&format!("/status/{id}")),
        rig.client().post("/generate", &json!({"prompt": "x"})),
    ] {
        assert_eq!(reply.error(), (500, "Internal Server Error".into()));
        assert!(reply.header("x-request-id").is_some());
        assert!(!reply.text.contains("secret"));
    }
    *mode.lock().unwrap() = BrokerMode::Well;
    assert_eq!(rig.client().get(&format!("/status/{id}")).status, 200, "the others live on");
}

#[test]
fn stream_survives_an_outage_of_the_queue() {
    use std::io::Read;

    let (rig, mode) = faulty_rig();
    let id = rig.submit("before");
    let response = rig.client().open("GET", &format!("/events/{id}"), None);
    *mode.lock().unwrap() = BrokerMode::Away;
    let claimed = rig.claim();
    std::thread::sleep(Duration::from_millis(300));
    *mode.lock().unwrap() = BrokerMode::Well;
    rig.finish(&claimed, &answer("after"));
    let mut text = String::new();
    response.into_body().into_reader().read_to_string(&mut text).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["queued", "started", "completed"], "{text}");
}
