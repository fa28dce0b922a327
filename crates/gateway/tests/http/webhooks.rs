//! Tests webhooks: accepted URLs, access to their state, and the signing secret.

use std::time::Duration;

use harness::receiver::{Receiver, ReceiverReply};
use harness::wait_for;
use protocol::{
    Choice, Completion, ErrorType, FinishReason, Outcome, TaskError, TaskId, Timestamp,
};
use serde_json::{Value, json};

use crate::client::Client;
use crate::rig::{KEY, OTHER_KEY, Rig, answer, task_id};

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

/// Creates a response in the background whose webhook is `url`, and returns its id.
fn respond(rig: &Rig, url: &str) -> String {
    let body = json!({"model": "demo", "input": "x", "background": true, "webhook_url": url});
    let reply = rig.client().post("/v1/responses", &body);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_responses_webhook_is_an_event_of_openai() {
    let rig = Rig::with(|options| options.webhook_allow_private = true);
    let receiver = Receiver::kind();
    let cut = Completion {
        first: Choice { finish_reason: FinishReason::Length, ..Choice::default() },
        ..Completion::default()
    };
    let failed = TaskError::new(ErrorType::EngineError, "no");
    for (nth, (outcome, kind)) in [
        (answer("Hello"), "response.completed"),
        (Outcome::Completed(cut), "response.incomplete"),
        (Outcome::Failed(failed), "response.failed"),
        (Outcome::CANCELLED, "response.cancelled"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = respond(&rig, &receiver.url("/hook"));
        let claimed = rig.claim();
        rig.finish(&claimed, &outcome);
        receiver.wait_for(nth + 1, SOON);
        let heard = &receiver.heard()[nth];
        let event = heard.json();
        let hex = id.strip_prefix("resp_").unwrap();
        let created_at = event["created_at"].as_u64().unwrap();
        assert!(created_at.abs_diff(Timestamp::now().as_millis() / 1000) < 60, "{event}");
        let expected = json!({
            "id": format!("evt_{hex}"), "object": "event", "created_at": created_at, "type": kind,
            "data": {"id": id},
        });
        assert_eq!(event, expected);
        let task_id = claimed.task.id.to_string();
        assert_eq!(heard.header("webhook-id"), task_id);
        let seconds: u64 = heard.header("webhook-timestamp").parse().unwrap();
        let signature = webhooks::Secret::of_key(KEY).sign(&task_id, seconds, &heard.body);
        assert_eq!(heard.header("webhook-signature"), signature);
    }
}

#[test]
fn an_invalid_webhook_url_of_a_response_is_refused_in_openais_shape() {
    let body = json!({"model": "demo", "input": "x", "webhook_url": "http://127.0.0.1/s3cret"});
    let reply = Rig::start().client().post("/v1/responses", &body);
    let error = &reply.json()["error"];
    assert_eq!((reply.status, &error["param"]), (400, &json!("webhook_url")), "{reply:?}");
    assert!(!error["message"].as_str().unwrap().contains("s3cret"), "{error}");
}
