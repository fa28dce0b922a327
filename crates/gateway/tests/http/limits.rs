//! Tests limits on use: what is refused, in which form, and which headers tell the state.

use std::time::Duration;

use gateway::options::CommonLimits;
use harness::wait_for;
use protocol::{KeyLimits, Outcome, WorkerStatus};
use serde_json::{Value, json};
use service::settings::Rate;

use crate::client::Reply;
use crate::openai::{CHAT, EMBEDDINGS, ask, chat};
use crate::rig::{OTHER_KEY, Rig, answer, task_id};

const SOON: Duration = Duration::from_secs(20);

fn limited(owner: KeyLimits) -> Rig {
    let rig = Rig::with(|options| options.common_limits.owner = owner);
    rig.report("demo", WorkerStatus::Ready);
    rig
}

fn requests(limit: u64) -> KeyLimits {
    KeyLimits { requests_per_minute: Some(limit), ..KeyLimits::default() }
}

fn generate(rig: &Rig, max_tokens: u32) -> Reply {
    rig.client().post("/generate", &json!({"prompt": "Why?", "max_tokens": max_tokens}))
}

fn number(reply: &Reply, name: &str) -> u64 {
    let value = reply.header(name).unwrap_or_else(|| panic!("no {name}: {reply:?}"));
    value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
}

/// Asserts when to try again: the seconds are the milliseconds, rounded up.
fn assert_retry_within(reply: &Reply, most_s: u64) {
    let (seconds, ms) = (number(reply, "retry-after"), number(reply, "retry-after-ms"));
    assert_eq!(seconds, ms.div_ceil(1000), "{reply:?}");
    assert!((1..=most_s).contains(&seconds), "{reply:?}");
    assert_eq!(reply.header("x-should-retry"), None);
}

#[test]
fn requests_beyond_the_limit_are_refused_and_all_answers_tell_what_is_left() {
    let rig = limited(requests(2));
    for left in [1, 0] {
        let reply = generate(&rig, 1);
        assert_eq!(reply.status, 202, "{reply:?}");
        assert_eq!(number(&reply, "x-ratelimit-limit-requests"), 2);
        assert_eq!(number(&reply, "x-ratelimit-remaining-requests"), left);
        assert!(reply.header("x-ratelimit-reset-requests").unwrap().ends_with('s'));
        assert_eq!(reply.header("x-ratelimit-limit-tokens"), None);
    }
    let native = generate(&rig, 1);
    let openai = rig.client().post(CHAT, &chat(json!({})));
    let message =
        json!({"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": "a"}]});
    let anthropic = rig.client().post("/v1/messages", &message);
    let embeddings = rig.client().post(EMBEDDINGS, &json!({"model": "demo", "input": "a"}));
    let runpod = rig.client().post("/v2/demo/run", &json!({"input": {"prompt": "a"}}));
    for reply in [&native, &openai, &anthropic, &embeddings, &runpod] {
        assert_eq!(reply.status, 429, "{reply:?}");
        assert_retry_within(reply, 30);
    }
    let body = native.json();
    assert_eq!(body["code"], "rate_limited");
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.contains("2 requests per minute") && detail.contains("try again in"),
        "{detail}"
    );
    assert_eq!(number(&native, "x-ratelimit-remaining-requests"), 0);
    let error = &openai.json()["error"];
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("requests"), &json!("rate_limit_exceeded"))
    );
    assert_eq!(number(&openai, "x-ratelimit-limit-requests"), 2);
    assert_eq!(anthropic.json()["error"]["type"], "rate_limit_error");
    assert_eq!(number(&anthropic, "anthropic-ratelimit-requests-remaining"), 0);
    assert!(anthropic.header("anthropic-ratelimit-requests-reset").unwrap().ends_with('Z'));
    assert_eq!(anthropic.header("x-ratelimit-limit-requests"), None);

    let other = rig.client_with(Some(OTHER_KEY)).post("/generate", &json!({"prompt": "a"}));
    assert_eq!((other.status, number(&other, "x-ratelimit-remaining-requests")), (202, 1));
    // Nothing but submits is limited.
    assert_eq!(rig.client().get("/v1/models").status, 200);
}

#[test]
fn repeated_submits_are_not_charged() {
    let rig = limited(requests(2));
    let send = || {
        let client = rig.client().with("idempotency-key", "one");
        client.post("/generate", &json!({"prompt": "a"}))
    };
    let first = task_id(&send().json());
    for _ in 0..5 {
        assert_eq!(task_id(&send().json()), first);
    }
    assert_eq!(generate(&rig, 1).status, 202);
    assert_eq!(generate(&rig, 1).status, 429);
}

#[test]
fn tokens_are_reserved_and_what_was_not_used_is_given_back() {
    let rig = limited(KeyLimits { tokens_per_minute: Some(1_000), ..KeyLimits::default() });
    let first = generate(&rig, 900);
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!(number(&first, "x-ratelimit-limit-tokens"), 1_000);
    let left = number(&first, "x-ratelimit-remaining-tokens");
    assert!((70..=100).contains(&left), "{left}");

    let refused = rig.client().post(CHAT, &chat(json!({"max_tokens": 500})));
    assert_retry_within(&refused, 60);
    let error = &refused.json()["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("tokens"), &json!("rate_limit_exceeded")));

    // It used 46 tokens.
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("Because."));
    let second = generate(&rig, 500);
    assert_eq!(second.status, 202, "{second:?}");

    for reply in
        [generate(&rig, 1_001), rig.client().post(CHAT, &chat(json!({"n": 3, "max_tokens": 400})))]
    {
        assert_eq!(
            (reply.status, reply.header("x-should-retry")),
            (429, Some("false")),
            "{reply:?}"
        );
        assert_eq!(reply.header("retry-after"), None, "it never fits");
    }
    // Counting tokens uses none.
    let count = ask(&rig, "/v1/responses/input_tokens", json!({"model": "demo", "input": "a"}));
    let claimed = rig.claim();
    rig.finish(&claimed, &answer(""));
    let claimed = rig.claim();
    rig.finish(&claimed, &answer(""));
    assert_eq!(count.join().unwrap().status, 200);
}

#[test]
fn tasks_in_flight_are_limited() {
    let rig = limited(KeyLimits { max_in_flight: Some(1), ..KeyLimits::default() });
    assert_eq!(generate(&rig, 1).status, 202);
    let refused = rig.client().post(CHAT, &chat(json!({})));
    assert_retry_within(&refused, 120);
    let error = &refused.json()["error"];
    let expected = (&json!("concurrent_requests"), &json!("rate_limit_exceeded"));
    assert_eq!((&error["type"], &error["code"]), expected);
    let claimed = rig.claim();
    rig.finish(&claimed, &Outcome::Cancelled { usage: Default::default() });
    assert_eq!(generate(&rig, 1).status, 202);
}

#[test]
fn a_used_up_day_is_a_quota() {
    let rig = limited(KeyLimits { tokens_per_day: Some(500), ..KeyLimits::default() });
    let first = generate(&rig, 400);
    assert_eq!((first.status, number(&first, "x-ratelimit-limit-tokens")), (202, 500));
    let refused = rig.client().post(CHAT, &chat(json!({"max_tokens": 400})));
    assert_eq!((refused.status, refused.header("x-should-retry")), (429, Some("false")));
    let error = &refused.json()["error"];
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("insufficient_quota"), &json!("insufficient_quota"))
    );
    assert_eq!(generate(&rig, 400).json()["code"], "rate_limited");
}

#[test]
fn route_of_generate_has_a_limit_of_its_own_for_each_key() {
    let generate_limit = Some(Rate { requests: 1, period_s: 3_600 });
    let rig = Rig::with(|options| {
        options.common_limits =
            CommonLimits { generate: generate_limit, ..CommonLimits::default() };
    });
    rig.report("demo", WorkerStatus::Ready);
    assert_eq!(generate(&rig, 1).status, 202);
    let refused = generate(&rig, 1);
    assert_eq!((refused.status, number(&refused, "retry-after")), (429, 120));
    assert_eq!(refused.json()["code"], "rate_limited");
    let other = rig.client_with(Some(OTHER_KEY)).post("/generate", &json!({"prompt": "a"}));
    assert_eq!(other.status, 202);
    let job = rig.client().post("/v2/demo/run", &json!({"input": {"prompt": "a"}}));
    assert_eq!((job.status, job.header("x-ratelimit-limit-requests")), (200, None), "{job:?}");
}

#[test]
fn lines_of_batches_have_a_limit_of_their_own() {
    let rig = limited(KeyLimits {
        batch_tokens_per_day: Some(300),
        requests_per_minute: Some(1),
        max_in_flight: Some(1),
        tokens_per_day: Some(1),
        ..KeyLimits::default()
    });
    let line = |id: &str, max_tokens: u32| {
        let body = chat(json!({"max_tokens": max_tokens}));
        json!({"custom_id": id, "method": "POST", "url": CHAT, "body": body}).to_string()
    };
    // The first two fit, the third never does, and the last waits for room.
    let lines = [line("a", 100), line("b", 100), line("c", 1_000), line("d", 150)].join("\n");
    let file = crate::openai_files::uploaded(&rig.client(), "batch", lines.as_bytes());
    let batch = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
    let batch = rig.client().post("/v1/batches", &batch).json();
    let running = [rig.claim(), rig.claim()];
    running.iter().for_each(|claimed| rig.finish(claimed, &answer("Because.")));
    let id = batch["id"].as_str().unwrap();
    let state = |field: &str| rig.client().get(&format!("/v1/batches/{id}")).json()[field].clone();
    wait_for("two lines", SOON, || (state("request_counts")["completed"] == 2).then_some(()));
    assert_eq!(state("status"), "in_progress", "the last line waits");
    rig.client().post(&format!("/v1/batches/{id}/cancel"), &Value::Null);
    wait_for("the end", SOON, || (state("status") == "cancelled").then_some(()));
    let errors = state("error_file_id");
    let errors = rig.client().get(&format!("/v1/files/{}/content", errors.as_str().unwrap())).text;
    let refused =
        errors.lines().find(|line| line.contains("\"c\"")).unwrap_or_else(|| panic!("{errors}"));
    assert!(refused.contains("tokens of batches per day"), "{refused}");
}
