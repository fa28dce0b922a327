//! Tests that the queue applies the options that a task requests.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use protocol::WorkerId;
use queue::Claimant;
use serde_json::json;

use crate::rig::{OTHER_KEY, Rig, answer, task_id};

#[test]
fn fifty_concurrent_requests_with_one_key_create_one_task() {
    let rig = Rig::start();
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let client = rig.client().with("idempotency-key", "once");
            std::thread::spawn(move || client.post("/generate", &json!({"prompt": "Why?"})))
        })
        .collect();
    let replies: Vec<_> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(replies.iter().all(|reply| reply.status == 202), "{replies:?}");
    let ids: HashSet<_> = replies.iter().map(|reply| task_id(&reply.json())).collect();
    assert_eq!(ids.len(), 1);
    let fresh = replies.iter().filter(|reply| reply.header("idempotent-replayed").is_none());
    assert_eq!(fresh.count(), 1);
    let health = rig.client().get("/health").json();
    assert_eq!(health["queued"], 1, "{health}");

    let client = rig.client().with("idempotency-key", "once");
    let problem = client.post("/generate", &json!({"prompt": "How?"})).problem();
    assert_eq!(problem["type"], "idempotency_key_reused");
    let stranger = rig.client_with(Some(OTHER_KEY)).with("idempotency-key", "once");
    let reply = stranger.post("/generate", &json!({"prompt": "How?"}));
    assert_eq!(reply.status, 202, "keys are a tenant's own");
    assert!(!ids.contains(&task_id(&reply.json())));
}

#[test]
fn retry_after_a_lost_reply_finds_its_task_and_a_new_request_does_not() {
    let rig = Rig::start();
    let ask = |tries: &str| {
        let client = rig.client().with("x-stainless-retry-count", tries);
        task_id(&client.post("/generate", &json!({"prompt": "Why?"})).json())
    };
    let first = ask("0");
    assert_eq!(ask("1"), first, "the reply was lost");
    let second = ask("0");
    assert_ne!(second, first, "asked again");
    assert_eq!(ask("2"), second);
}

#[test]
fn delayed_task_starts_at_its_time() {
    let rig = Rig::start();
    let body = json!({"prompt": "Later", "delay_s": 1.5});
    let began = Instant::now();
    let id = task_id(&rig.client().post("/generate", &body).json());
    rig.submit("Now");
    let now = rig.claim();
    assert_ne!(now.task.id, id);
    rig.finish(&now, &answer("."));
    let reaper =
        Claimant { worker: WorkerId::new(), models: Vec::new(), lease: Duration::from_secs(30) };
    std::thread::sleep(Duration::from_millis(1700));
    rig.wait(rig.broker.reap(&reaper)).unwrap();
    assert_eq!(rig.claim().task.id, id);
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[test]
fn task_not_started_in_time_expires() {
    let rig = Rig::start();
    let body = json!({"prompt": "Soon", "expires_in_s": 1});
    let id = task_id(&rig.client().post("/generate", &body).json());
    std::thread::sleep(Duration::from_millis(1200));
    let reaper =
        Claimant { worker: WorkerId::new(), models: Vec::new(), lease: Duration::from_secs(30) };
    rig.wait(rig.broker.reap(&reaper)).unwrap();
    let result = rig.client().get(&format!("/result/{id}?wait=10"));
    assert_eq!((result.status, &result.json()["error_type"]), (200, &json!("expired")));
}

#[test]
fn queue_positions_start_at_one() {
    let rig = Rig::start();
    for place in 1..=3 {
        let body = rig.client().post("/generate", &json!({"prompt": "Why?"})).json();
        assert_eq!(body["queue_position"], place, "{body}");
        let status = rig.client().get(&format!("/status/{}", task_id(&body))).json();
        assert_eq!(status["queue_position"], place, "{status}");
    }
}
