//! Tests webhooks: accepted URLs, access to their state, and the signing secret.

use std::time::Duration;

use harness::receiver::{Receiver, ReceiverReply};
use harness::wait_for;
use protocol::TaskId;
use serde_json::{Value, json};

use crate::client::Client;
use crate::rig::{OTHER_KEY, Rig, answer, task_id};

const SOON: Duration = Duration::from_secs(10);

fn submit(rig: &Rig, url: &str) -> TaskId {
    let reply = rig.client().post("/generate", &json!({"prompt": "x", "webhook_url": url}));
    assert_eq!(reply.status, 202, "{reply:?}");
    task_id(&reply.json())
}

fn report(client: &Client, id: TaskId, state: &str) -> Value {
    wait_for(state, SOON, || {
        let reply = client.get(&format!("/webhook/{id}")).json();
        (reply["state"] == state).then_some(reply)
    })
}

#[test]
fn invalid_webhook_url_is_refused_without_repeating_it() {
    let rig = Rig::start();
    let long = format!("https://example.org/{}", "x".repeat(2_048));
    for (url, kind, words) in [
        (json!(7), "string_type", "expected a string, got an integer"),
        (json!(""), "url_parsing", "is no URL: expected one such as https://example.org/hook"),
        (json!("example.org"), "url_parsing", "is no URL"),
        (json!("ftp://example.org/s3cret"), "url_scheme", "must begin with https:// or http://"),
        (json!(long), "url_too_long", "must have at most 2048 bytes"),
        (json!("https://me:s3cret@example.org/"), "value_error", "must not have a user name"),
        (json!("http://127.0.0.1/s3cret"), "value_error", "not public"),
        (json!("http://[::ffff:10.0.0.1]/"), "value_error", "not public"),
        (json!("http://169.254.169.254/latest/meta-data/"), "value_error", "not public"),
        (json!("http://localhost:6379/"), "value_error", "WEBHOOK_ALLOW_PRIVATE"),
    ] {
        let reply = rig.client().post("/generate", &json!({"prompt": "x", "webhook_url": url}));
        let problem = reply.problem();
        assert_eq!(problem["loc"], json!(["body", "webhook_url"]));
        assert_eq!(problem["type"], kind, "{url}");
        let said = problem["msg"].as_str().unwrap();
        assert!(said.contains(words) && !said.contains("s3cret"), "{url}: {said}");
    }
    submit(&rig, "https://example.org/hook"); // only what is due is looked up
    let unset = rig.client().post("/generate", &json!({"prompt": "x", "webhook_url": null}));
    assert_eq!(unset.status, 202);
}

#[test]
fn webhook_report_is_visible_only_to_its_owner() {
    let rig = Rig::with(|options| options.webhook_allow_private = true);
    let receiver = Receiver::start(|nth| {
        if nth == 0 { ReceiverReply::status(500) } else { ReceiverReply::status(200) }
    });
    let id = submit(&rig, &receiver.url("/hook#part"));
    let waiting = report(&rig.client(), id, "waiting");
    let url = receiver.url("/hook");
    let expected = json!({"task_id": id, "state": "waiting", "url": url, "tries": []});
    assert_eq!(waiting, expected);

    let claimed = rig.claim();
    rig.finish(&claimed, &answer("Hello"));
    let pending = wait_for("a first try", SOON, || {
        let reply = rig.client().get(&format!("/webhook/{id}")).json();
        (reply["tries"].as_array()?.len() == 1).then_some(reply)
    });
    assert_eq!(
        (&pending["state"], &pending["tries"][0]["status"]),
        (&json!("pending"), &json!(500))
    );
    for instant in [&pending["next_at"], &pending["tries"][0]["at"]] {
        let text = instant.as_str().unwrap();
        assert!(text.starts_with("20") && text.ends_with('Z'), "{text}");
    }
    let other = rig.client_with(Some(OTHER_KEY)).get(&format!("/webhook/{id}"));
    let (status, detail) = other.error();
    assert_eq!(status, 404);
    assert!(detail.starts_with(&format!("No webhook of task {id} is known")), "{detail}");

    let delivered = report(&rig.client(), id, "delivered");
    assert_eq!(delivered["tries"][1]["number"], 2, "{delivered}");
    assert_eq!(delivered.get("next_at"), None);
    let heard = receiver.heard();
    assert_eq!(heard.len(), 2);
    let mut told = heard[0].json()["data"].clone();
    assert_eq!(told.as_object_mut().unwrap().remove("metadata"), Some(json!({})));
    assert_eq!(told, rig.client().get(&format!("/result/{id}")).json(), "the very same words");
}

#[test]
fn task_without_a_webhook_has_no_webhook_report() {
    let rig = Rig::start();
    let id = rig.submit("x");
    assert_eq!(rig.client().get(&format!("/webhook/{id}")).error().0, 404);
    assert_eq!(rig.client().get("/webhook/42").problem()["type"], "uuid_parsing");
}

#[test]
fn each_key_has_its_own_stable_webhook_secret() {
    let (rig, again) = (Rig::start(), Rig::start());
    let reply = rig.client().get("/webhook-secret");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let secret = reply.json()["secret"].clone();
    // Computed by Python: hmac.new(b"test-key-1", b"qwen-queue webhook secret v1", "sha256")
    assert_eq!(secret, "whsec_JlU/3EX4TqtrSquhg9mMPZIBpgBw/1beEE91cP+3ReY=");
    assert_eq!(again.client().get("/webhook-secret").json()["secret"], secret, "after a restart");
    let other = rig.client_with(Some(OTHER_KEY)).get("/webhook-secret").json();
    assert_ne!(other["secret"], secret);
    assert_eq!(rig.client_with(None).get("/webhook-secret").status, 401);
}
