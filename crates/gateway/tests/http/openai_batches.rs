//! Tests `/v1/batches`, and the processor that runs them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use harness::receiver::Receiver;
use protocol::{
    BatchId, Completion, Embedding, ErrorType, FinishReason, Lane, Outcome, TaskError, TaskKind,
    Usage,
};
use queue::{BatchState, Claimant, Claimed, NewBatch};
use serde_json::{Value, json};

use crate::client::Client;
use crate::faulty_broker::{BrokerMode, FaultyBroker};
use crate::openai::{CHAT, COMPLETIONS, EMBEDDINGS, chat, with};
use crate::openai_files::{FILES, uploaded};
use crate::rig::{OTHER_KEY, Rig};

const BATCHES: &str = "/v1/batches";
const RESPONSES: &str = "/v1/responses";

pub(crate) fn line(custom_id: &str, url: &str, body: Value) -> Value {
    json!({"custom_id": custom_id, "method": "POST", "url": url, "body": body})
}

pub(crate) fn lines(lines: &[Value]) -> Vec<u8> {
    lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
}

pub(crate) fn created(client: &Client, endpoint: &str, content: &[u8]) -> Value {
    let file = uploaded(client, "batch", content);
    let body = json!({
        "input_file_id": file, "endpoint": endpoint, "completion_window": "24h",
        "metadata": {"run": "7"},
    });
    let reply = client.post(BATCHES, &body);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn shown(client: &Client, batch: &Value) -> Value {
    let reply = client.get(&format!("{BATCHES}/{}", batch["id"].as_str().unwrap()));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Waits until a batch has a state.
pub(crate) fn reached(client: &Client, batch: &Value, state: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let batch = shown(client, batch);
        if batch["status"] == state {
            return batch;
        }
        assert!(Instant::now() < deadline, "not {state}: {batch}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the lines of a file, in order.
pub(crate) fn file_lines(client: &Client, id: &Value) -> Vec<Value> {
    let Some(id) = id.as_str() else { return Vec::new() };
    let reply = client.get(&format!("{FILES}/{id}/content"));
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/jsonl")));
    reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(text: &str) -> Outcome {
    let usage = Usage { prompt_tokens: 5, completion_tokens: 2, ..Usage::default() };
    let mut completion = Completion { usage, ..Completion::default() };
    completion.first.text = text.to_owned();
    completion.first.finish_reason = FinishReason::Stop;
    Outcome::Completed(completion)
}

fn prompt(claimed: &Claimed) -> String {
    format!("{:?}", claimed.task.prompt)
}

/// Returns a chat whose message is `content`.
fn asking(content: &str) -> Value {
    chat(json!({"messages": [{"role": "user", "content": content}], "temperature": 0}))
}

#[test]
fn each_line_ends_in_one_of_the_files() {
    let rig = Rig::start();
    let client = rig.client();
    let mut priority = asking("first");
    priority["service_tier"] = json!("priority");
    let content = lines(&[
        line("a", CHAT, priority),
        line("refused", CHAT, with(asking("x"), json!({"temperature": 9}))),
        line("unknown", CHAT, with(asking("x"), json!({"tool_choice": {"type": "strange"}}))),
        line("failing", CHAT, asking("second")),
        line("b", CHAT, asking("third")),
    ]);
    let batch = created(&client, CHAT, &content);
    assert_eq!(batch["status"], "validating", "{batch}");
    for _ in 0..3 {
        let claimed = rig.claim();
        assert_eq!(claimed.task.lane, Lane::Batch, "whatever the line says");
        let outcome = match prompt(&claimed).contains("second") {
            true => Outcome::Failed(TaskError::new(ErrorType::EngineError, "it broke")),
            false => text(&format!("answer to {}", prompt(&claimed))),
        };
        rig.finish(&claimed, &outcome);
    }
    let done = reached(&client, &batch, "completed");
    assert_eq!(done["request_counts"], json!({"total": 5, "completed": 2, "failed": 3}));
    assert_eq!(done["metadata"], json!({"run": "7"}));
    assert_eq!(
        (&done["usage"]["input_tokens"], &done["usage"]["total_tokens"]),
        (&json!(10), &json!(14))
    );
    let times = ["created_at", "in_progress_at", "finalizing_at", "completed_at", "expires_at"];
    let times = times.map(|time| done[time].as_u64().unwrap_or_else(|| panic!("{time}: {done}")));
    assert!(times.is_sorted(), "{done}");
    assert_eq!(times[4] - times[0], 24 * 60 * 60);
    for none in ["failed_at", "expired_at", "cancelling_at", "cancelled_at", "errors"] {
        assert_eq!(done[none], json!(null), "{none}");
    }

    let output = file_lines(&client, &done["output_file_id"]);
    assert_eq!(output.len(), 2);
    for (answer, (custom_id, content)) in output.iter().zip([("a", "first"), ("b", "third")]) {
        assert_eq!((&answer["custom_id"], &answer["error"]), (&json!(custom_id), &json!(null)));
        assert!(answer["id"].as_str().unwrap().starts_with("batch_req_"));
        let response = &answer["response"];
        assert_eq!(response["status_code"], 200);
        assert!(response["request_id"].as_str().is_some());
        let message = response["body"]["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(message.contains(content), "{message}");
    }
    let errors = file_lines(&client, &done["error_file_id"]);
    let found: Vec<_> = errors
        .iter()
        .map(|error| {
            let response = &error["response"];
            let status = response["status_code"].as_u64().unwrap();
            (
                error["custom_id"].as_str().unwrap(),
                status,
                response["body"]["error"]["param"].as_str(),
            )
        })
        .collect();
    let expected = [
        ("refused", 400, Some("temperature")),
        ("unknown", 400, Some("tool_choice")),
        ("failing", 500, None),
    ];
    assert_eq!(found, expected);

    let record = client.get(&format!("{FILES}/{}", done["output_file_id"].as_str().unwrap()));
    assert_eq!(record.json()["purpose"], "batch_output");
    let listed: HashSet<String> = client.get(FILES).json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["purpose"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, HashSet::from(["batch".to_owned(), "batch_output".to_owned()]));
}

#[test]
fn every_endpoint_has_its_own_bodies() {
    let rig = Rig::start();
    let client = rig.client();
    let embedding = Outcome::Completed(Completion {
        embeddings: vec![Embedding(vec![0.5])],
        ..Completion::default()
    });
    for (endpoint, bodies, tasks) in [
        (COMPLETIONS, vec![json!({"prompt": ["x", "y"], "echo": true})], 2),
        (EMBEDDINGS, vec![json!({"input": "x", "encoding_format": "base64"})], 1),
        (
            RESPONSES,
            vec![
                json!({"model": "demo", "input": "x"}),
                json!({"model": "demo", "input": "x", "background": true}),
            ],
            1,
        ),
    ] {
        let content: Vec<Value> = bodies
            .into_iter()
            .enumerate()
            .map(|(n, body)| line(&n.to_string(), endpoint, body))
            .collect();
        let batch = created(&client, endpoint, &lines(&content));
        for _ in 0..tasks {
            let claimed = rig.claim();
            let embeds = matches!(claimed.task.kind, TaskKind::Embed { .. });
            let outcome = if embeds { embedding.clone() } else { text("z") };
            rig.finish(&claimed, &outcome);
        }
        let done = reached(&client, &batch, "completed");
        let output = file_lines(&client, &done["output_file_id"]);
        let body = &output[0]["response"]["body"];
        match endpoint {
            COMPLETIONS => {
                let texts = [&body["choices"][0]["text"], &body["choices"][1]["text"]];
                assert_eq!(texts, [&json!("xz"), &json!("yz")]);
            }
            EMBEDDINGS => assert_eq!(body["data"][0]["embedding"], "AAAAPw=="),
            _ => {
                assert_eq!((&body["status"], &body["store"]), (&json!("completed"), &json!(false)));
                let errors = file_lines(&client, &done["error_file_id"]);
                assert_eq!(errors[0]["response"]["body"]["error"]["param"], "background");
            }
        }
    }
}

#[test]
fn a_file_that_is_no_batch_fails_with_the_lines() {
    let rig = Rig::start();
    let client = rig.client();
    let good = line("a", CHAT, asking("x")).to_string();
    let elsewhere = line("b", RESPONSES, asking("x")).to_string();
    for (content, problems) in [
        (String::new(), vec![("empty_file", None)]),
        (
            format!("{good}\n\n{{\n{elsewhere}\n{good}"),
            vec![
                ("invalid_json_line", Some(3)),
                ("url_mismatch", Some(4)),
                ("duplicate_custom_id", Some(5)),
            ],
        ),
    ] {
        let batch = created(&client, CHAT, content.as_bytes());
        let failed = reached(&client, &batch, "failed");
        assert!(failed["failed_at"].is_u64() && failed["errors"]["object"] == "list", "{failed}");
        let data = failed["errors"]["data"].as_array().unwrap();
        let found: Vec<_> = data
            .iter()
            .map(|problem| (problem["code"].as_str().unwrap(), problem["line"].as_u64()))
            .collect();
        assert_eq!(found, problems);
        assert!(data.iter().all(|problem| !problem["message"].as_str().unwrap().is_empty()));
    }
}

#[test]
fn lines_beyond_the_window_end_once_and_in_order() {
    const LINES: usize = 700;
    let rig = Rig::start();
    let client = rig.client();
    let content: Vec<Value> =
        (0..LINES).map(|n| line(&format!("line {n}"), CHAT, asking(&format!("<{n}>")))).collect();
    let batch = created(&client, CHAT, &lines(&content));
    let mut most_waiting = 0;
    let mut left = LINES;
    while left > 0 {
        let claimant = Claimant {
            worker: protocol::WorkerId::new(),
            models: vec![protocol::ModelId::new("demo")],
            lease: Duration::from_secs(30),
        };
        let held = rig.broker.claim_batch(&claimant, 32, Duration::from_secs(5));
        let mut held = rig.wait(held).unwrap();
        assert!(!held.is_empty(), "{left} lines are never submitted");
        held.reverse();
        for claimed in held {
            rig.finish(&claimed, &text(&prompt(&claimed)));
            left -= 1;
        }
        let depth = rig.wait(rig.broker.depth(&protocol::ModelId::new("demo"))).unwrap();
        most_waiting = most_waiting.max(depth.queued);
    }
    assert!(most_waiting <= 256, "the window is bounded: {most_waiting}");
    let done = reached(&client, &batch, "completed");
    let output = file_lines(&client, &done["output_file_id"]);
    assert_eq!(output.len(), LINES);
    for (n, answer) in output.iter().enumerate() {
        assert_eq!(answer["custom_id"], format!("line {n}"));
        let content = answer["response"]["body"]["choices"][0]["message"]["content"].as_str();
        assert!(content.unwrap().contains(&format!("<{n}>")), "{answer}");
    }
}

#[test]
fn a_cancelled_batch_keeps_what_was_done() {
    let rig = Rig::start();
    let client = rig.client();
    let content: Vec<Value> =
        (0..400).map(|n| line(&n.to_string(), CHAT, asking(&n.to_string()))).collect();
    let batch = created(&client, CHAT, &lines(&content));
    let first = rig.claim();
    rig.finish(&first, &text("done"));
    let running = rig.claim();
    let cancel = format!("{BATCHES}/{}/cancel", batch["id"].as_str().unwrap());
    let cancelling = client.post(&cancel, &json!({})).json();
    assert!(["cancelling", "cancelled"].contains(&cancelling["status"].as_str().unwrap()));
    // The worker learns of it at its next renewal.
    let deadline = Instant::now() + Duration::from_secs(15);
    let lease = Duration::from_secs(30);
    while !rig.wait(rig.broker.renew(&running.lease, lease)).unwrap().cancel_requested {
        assert!(Instant::now() < deadline, "the running line is not cancelled");
        thread::sleep(Duration::from_millis(50));
    }
    rig.finish(&running, &Outcome::Cancelled { usage: Usage::default() });
    let done = reached(&client, &batch, "cancelled");
    assert!(done["cancelling_at"].is_u64() && done["cancelled_at"].is_u64(), "{done}");
    assert_eq!(done["request_counts"], json!({"total": 400, "completed": 1, "failed": 399}));
    assert_eq!(file_lines(&client, &done["output_file_id"]).len(), 1);
    let errors = file_lines(&client, &done["error_file_id"]);
    assert_eq!(errors.len(), 399);
    assert!(errors.iter().all(|line| line["error"]["code"] == "batch_cancelled"));
    let depth = rig.wait(rig.broker.depth(&protocol::ModelId::new("demo"))).unwrap();
    assert_eq!((depth.queued, depth.processing), (0, 0));
    assert_eq!(client.post(&cancel, &json!({})).json()["status"], "cancelled", "once more");
}

/// Creates a batch in the store, whose time is shorter than a client may ask for.
fn short_batch(
    rig: &Rig,
    client: &Client,
    content: &[Value],
    window: Duration,
    is_deleted: bool,
) -> Value {
    let file = uploaded(client, "batch", &lines(content));
    if is_deleted {
        client.send("DELETE", &format!("{FILES}/{file}"), None);
    }
    let tenant = rig.submit("whose tenant?");
    let claimed = rig.claim();
    assert_eq!(claimed.task.id, tenant);
    rig.finish(&claimed, &text(""));
    let input = uuid::Uuid::try_parse(file.strip_prefix("file-").unwrap()).unwrap();
    let new = NewBatch {
        id: BatchId::new(),
        tenant: claimed.task.tenant.clone(),
        key: None,
        tokens_per_day: None,
        models: std::collections::BTreeSet::new(),
        endpoint: CHAT.into(),
        input: input.into(),
        window,
        output_ttl: None,
        metadata: BTreeMap::new(),
        webhook_url: None,
    };
    let batch = rig.wait(rig.broker.create_batch(&new)).unwrap();
    assert_eq!(batch.state, BatchState::Validating);
    json!({"id": format!("batch_{}", new.id.as_uuid().simple())})
}

#[test]
fn lines_that_are_left_when_the_time_is_over_have_expired() {
    let rig = Rig::start();
    let client = rig.client();
    let content: Vec<Value> =
        (0..3).map(|n| line(&n.to_string(), CHAT, asking(&n.to_string()))).collect();
    let batch = short_batch(&rig, &client, &content, Duration::from_secs(3), false);
    let first = rig.claim();
    rig.finish(&first, &text("done"));
    let done = reached(&client, &batch, "expired");
    assert!(done["expired_at"].is_u64() && done["completed_at"].is_null(), "{done}");
    assert_eq!(done["request_counts"], json!({"total": 3, "completed": 1, "failed": 2}));
    assert_eq!(file_lines(&client, &done["output_file_id"]).len(), 1);
    let errors = file_lines(&client, &done["error_file_id"]);
    assert!(errors.iter().all(|line| line["error"]["code"] == "batch_expired"), "{errors:?}");
    assert_eq!(errors.len(), 2);
}

#[test]
fn a_batch_whose_file_was_deleted_fails() {
    let rig = Rig::start();
    let client = rig.client();
    let content: Vec<Value> =
        (0..3).map(|n| line(&n.to_string(), CHAT, asking(&n.to_string()))).collect();
    let batch = created(&client, CHAT, &lines(&content));
    reached(&client, &batch, "in_progress");
    client.send("DELETE", &format!("{FILES}/{}", batch["input_file_id"].as_str().unwrap()), None);
    // Its lines were read already.
    for _ in 0..3 {
        rig.finish(&rig.claim(), &text("y"));
    }
    reached(&client, &batch, "completed");
    // The lines of another one that a gateway submitted before it died, and before the file was deleted.
    let gone = short_batch(&rig, &client, &[], Duration::from_secs(9), true);
    let failed = reached(&client, &gone, "failed");
    assert_eq!(failed["errors"]["data"][0]["code"], "input_file_not_found", "{failed}");
}

#[test]
fn requests_for_batches_are_refused_by_field() {
    let rig = Rig::start();
    let client = rig.client();
    let file = uploaded(&client, "batch", b"{}");
    let vision = uploaded(&client, "vision", b"{}");
    let strangers = uploaded(&rig.client_with(Some(OTHER_KEY)), "batch", b"{}");
    let good = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
    let unknown = format!("file-{}", "0".repeat(32));
    for (fields, param) in [
        (json!({"input_file_id": null}), "input_file_id"),
        (json!({"input_file_id": "x"}), "input_file_id"),
        (json!({"input_file_id": unknown}), "input_file_id"),
        (json!({"input_file_id": vision}), "input_file_id"),
        (json!({"input_file_id": strangers}), "input_file_id"),
        (json!({"endpoint": "/v1/images/generations"}), "endpoint"),
        (json!({"completion_window": "1s"}), "completion_window"),
        (json!({"completion_window": null}), "completion_window"),
        (json!({"metadata": {"a": 1}}), "metadata"),
        (
            json!({"output_expires_after": {"anchor": "created_at", "seconds": 1}}),
            "output_expires_after.seconds",
        ),
        (json!({"output_expires_after": {"seconds": 3600}}), "output_expires_after.anchor"),
    ] {
        let reply = client.post(BATCHES, &with(good.clone(), fields));
        assert_eq!(
            (reply.status, &reply.json()["error"]["param"]),
            (400, &json!(param)),
            "{reply:?}"
        );
    }
    let none =
        json!({"object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false});
    assert_eq!(client.get(BATCHES).json(), none);

    let ids: Vec<Value> =
        (0..3).map(|_| client.post(BATCHES, &good).json()["id"].clone()).collect();
    let page = client.get(&format!("{BATCHES}?limit=2")).json();
    let listed: Vec<&Value> = page["data"].as_array().unwrap().iter().map(|b| &b["id"]).collect();
    assert_eq!((listed, &page["has_more"]), (vec![&ids[2], &ids[1]], &json!(true)));
    let rest = client.get(&format!("{BATCHES}?after={}", ids[1].as_str().unwrap())).json();
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&ids[0], &json!(false)));
    for query in ["limit=101", "after=file-1"] {
        assert_eq!(client.get(&format!("{BATCHES}?{query}")).status, 400, "{query}");
    }

    let keyed = client.clone().with("idempotency-key", "order-7");
    let first = keyed.post(BATCHES, &good).json()["id"].clone();
    assert!(!ids.contains(&first));
    assert_eq!(keyed.post(BATCHES, &good).json()["id"], first, "a repeated request");
    let other = keyed.post(BATCHES, &with(good.clone(), json!({"metadata": {"a": "b"}})));
    assert_eq!((other.status, &other.json()["error"]["param"]), (400, &json!("Idempotency-Key")));

    let stranger = rig.client_with(Some(OTHER_KEY));
    assert_eq!(stranger.get(BATCHES).json()["data"], json!([]));
    for name in [ids[0].as_str().unwrap(), "batch_0", "x"] {
        let path = format!("{BATCHES}/{name}");
        let calls = [stranger.get(&path), stranger.post(&format!("{path}/cancel"), &json!({}))];
        for reply in calls {
            let found = (reply.status, reply.json()["error"]["type"].clone());
            assert_eq!(found, (404, json!("invalid_request_error")), "{name}");
        }
    }
}

#[test]
fn operators_see_the_progress_of_running_batches() {
    let rig = Rig::operated();
    let client = rig.client();
    let overview = || rig.admin().get("/admin/overview").json();
    assert_eq!((&overview()["batches_running"], &overview()["batches"]), (&json!(0), &json!([])));
    let content = [line("a", CHAT, asking("x")), line("b", CHAT, asking("y"))];
    let batch = created(&client, CHAT, &lines(&content));
    rig.finish(&rig.claim(), &text("z"));
    let counted = |batch: &Value| batch["request_counts"]["completed"] == 1;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !counted(&shown(&client, &batch)) {
        assert!(Instant::now() < deadline, "a line that ended is not counted while another runs");
        thread::sleep(Duration::from_millis(50));
    }
    let overview = overview();
    assert_eq!(overview["batches_running"], 1);
    let seen = &overview["batches"][0];
    assert_eq!((&seen["batch_id"], &seen["status"]), (&batch["id"], &json!("in_progress")));
    let counts = [&seen["total"], &seen["completed"], &seen["failed"]];
    assert_eq!(counts, [&json!(2), &json!(1), &json!(0)]);
    assert_eq!(seen["endpoint"], CHAT);
    rig.finish(&rig.claim(), &text("z"));
    reached(&client, &batch, "completed");
}

#[test]
fn a_batch_goes_on_after_an_outage_of_the_queue() {
    let mode = Arc::new(Mutex::new(BrokerMode::Well));
    let rig = Rig::on(
        |broker| FaultyBroker::around(broker, &mode),
        |options| options.broker_timeout = Duration::from_millis(300),
    );
    let client = rig.client();
    let content: Vec<Value> =
        (0..6).map(|n| line(&n.to_string(), CHAT, asking(&format!("<{n}>")))).collect();
    let batch = created(&client, CHAT, &lines(&content));
    for bad in [BrokerMode::Away, BrokerMode::Silent] {
        let claimed = [rig.claim(), rig.claim(), rig.claim()];
        for held in &claimed {
            rig.finish(held, &text(&prompt(held)));
        }
        // The lines have ended, and can't be written or counted.
        *mode.lock().unwrap() = bad;
        thread::sleep(Duration::from_millis(1500));
        *mode.lock().unwrap() = BrokerMode::Well;
    }
    let done = reached(&client, &batch, "completed");
    let output = file_lines(&client, &done["output_file_id"]);
    assert_eq!(output.len(), 6);
    for (n, answer) in output.iter().enumerate() {
        assert_eq!(answer["custom_id"], n.to_string());
        assert!(answer["response"].to_string().contains(&format!("<{n}>")), "{answer}");
    }
}

#[test]
fn the_end_of_a_batch_is_told_to_its_webhook() {
    let receiver = Receiver::kind();
    let rig = Rig::with(|options| options.webhook_allow_private = true);
    let client = rig.client();
    let file = uploaded(&client, "batch", &lines(&[line("a", CHAT, asking("a"))]));
    let mut body = json!({
        "input_file_id": file, "endpoint": CHAT, "completion_window": "24h",
        "webhook_url": receiver.url("/hook"),
    });
    let batch = client.post(BATCHES, &body).json();
    let claimed = rig.claim();
    rig.finish(&claimed, &text("done"));
    let heard = receiver.wait_for(1, Duration::from_secs(20));
    let event = heard[0].json();
    assert_eq!(event["type"], "batch.completed");
    assert_eq!((&event["object"], &event["data"]["id"]), (&json!("event"), &batch["id"]));
    assert_eq!(shown(&client, &batch)["status"], "completed", "it is told what has happened");
    body["webhook_url"] = json!("ftp://example.com");
    let refused = client.post(BATCHES, &body);
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("webhook_url")));
}

#[test]
fn no_batch_waits_for_the_end_of_others() {
    let rig = Rig::start();
    let client = rig.client();
    let one = |n: usize| lines(&[line("only", CHAT, asking(&format!("<{n}>")))]);
    let first: Vec<Value> = (0..16).map(|n| created(&client, CHAT, &one(n))).collect();
    let held: Vec<Claimed> = (0..16).map(|_| rig.claim()).collect();
    let last = created(&client, CHAT, &one(16));
    let deadline = Instant::now() + Duration::from_secs(20);
    while shown(&client, &last)["status"] != "in_progress" {
        assert!(Instant::now() < deadline, "the last batch never has its turn");
        thread::sleep(Duration::from_millis(100));
    }
    rig.finish(&rig.claim(), &text("y"));
    reached(&client, &last, "completed");
    for claimed in &held {
        rig.finish(claimed, &text("y"));
    }
    for batch in &first {
        reached(&client, batch, "completed");
    }
}
