//! Tests RunPod's routes.

use std::thread::JoinHandle;
use std::time::Duration;

use harness::receiver::Receiver;
use protocol::{
    Choice, Chunk, Completion, ErrorType, Lane, ModelId, Outcome, Part, Prompt, TaskError,
    ToolCall, Usage, WorkerStatus,
};
use serde_json::{Value, json};

use crate::client::Reply;
use crate::rig::{OTHER_KEY, Rig, answer};

fn input() -> Value {
    json!({"input": {"prompt": "Why?", "sampling_params": {"temperature": 0, "max_tokens": 7}}})
}

/// Creates a job and returns its id.
fn run(rig: &Rig, body: &Value) -> String {
    let reply = rig.client().post("/v2/demo/run", body);
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("IN_QUEUE")), "{reply:?}");
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn status(rig: &Rig, id: &str) -> Value {
    rig.client().get(&format!("/v2/demo/status/{id}")).json()
}

/// Sends `/runsync` on another thread.
fn run_sync(rig: &Rig, query: &'static str) -> JoinHandle<Reply> {
    let client = rig.client();
    std::thread::spawn(move || client.post(&format!("/v2/demo/runsync{query}"), &input()))
}

#[test]
fn a_job_passes_through_its_states() {
    let rig = Rig::start();
    let id = run(&rig, &input());
    assert_eq!(status(&rig, &id), json!({"id": id, "status": "IN_QUEUE"}));
    let claimed = rig.claim();
    assert_eq!(claimed.task.prompt, Prompt::user("Why?"));
    assert_eq!((claimed.task.max_tokens, claimed.task.sampling.temperature), (7, Some(0.0)));
    std::thread::sleep(Duration::from_millis(20));
    let running = status(&rig, &id);
    assert_eq!(running["status"], "IN_PROGRESS");
    assert!(running["delayTime"].is_u64() && running.get("executionTime").is_none(), "{running}");
    rig.finish(&claimed, &answer("Because."));

    let ended = status(&rig, &id);
    let snapshot = rig.wait(rig.broker.snapshot(claimed.task.id)).unwrap().unwrap();
    let [submitted, started, finished] =
        [Some(snapshot.submitted_at), snapshot.started_at, snapshot.finished_at]
            .map(|at| at.unwrap().as_millis());
    let expected = json!({
        "id": id, "status": "COMPLETED",
        "delayTime": started - submitted, "executionTime": finished - started,
        "output": [{
            "choices": [{"tokens": ["Because."], "finish_reason": "stop"}],
            "usage": {"input": 12, "output": 34},
        }],
    });
    assert_eq!(ended, expected);
}

#[test]
fn other_ends_have_their_states() {
    let rig = Rig::start();
    let failed = |kind| Outcome::Failed(TaskError::new(kind, "no"));
    for (outcome, state, error) in [
        (failed(ErrorType::EngineError), "FAILED", json!("no")),
        (failed(ErrorType::TimeLimitExceeded), "TIMED_OUT", json!("no")),
        (failed(ErrorType::Expired), "TIMED_OUT", json!("no")),
        (Outcome::CANCELLED, "CANCELLED", Value::Null),
    ] {
        let id = run(&rig, &input());
        let claimed = rig.claim();
        rig.finish(&claimed, &outcome);
        let job = status(&rig, &id);
        assert_eq!((&job["status"], &job["error"]), (&json!(state), &error));
    }
}

#[test]
fn an_output_has_reasoning_and_calls() {
    let rig = Rig::start();
    let id = run(&rig, &input());
    let claimed = rig.claim();
    let call = ToolCall::Function { id: "c1".into(), name: "f".into(), arguments: json!({"a": 1}) };
    let first = Choice {
        text: "Hm.".into(),
        reasoning: Some("I think".into()),
        tool_calls: vec![call.clone()],
        ..Choice::default()
    };
    let usage = Usage::default();
    rig.finish(&claimed, &Outcome::Completed(Completion { first, usage, ..Completion::default() }));
    let choice = &status(&rig, &id)["output"][0]["choices"][0];
    assert_eq!(choice["reasoning"], "I think");
    assert_eq!(choice["tool_calls"], json!([call]));
}

#[test]
fn run_sync_waits_for_the_end() {
    let rig = Rig::start();
    let asking = run_sync(&rig, "");
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("Because."));
    let reply = asking.join().unwrap().json();
    assert_eq!(reply["status"], "COMPLETED");
    assert_eq!(reply["output"][0]["choices"][0]["tokens"], json!(["Because."]));

    let late = run_sync(&rig, "?wait=1000").join().unwrap().json();
    assert_eq!(late["status"], "IN_QUEUE", "it goes on");
    assert_eq!(rig.claim().task.id.to_string(), late["id"].as_str().unwrap());
    for wrong in ["?wait=0", "?wait=300001", "?wait=soon"] {
        let reply = run_sync(&rig, wrong).join().unwrap();
        let message = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(reply.status == 400 && message.starts_with("wait: must be"), "{message}");
    }
}

/// Returns the texts and the status that a poll of a job's stream returns.
fn poll(rig: &Rig, id: &str) -> (Vec<String>, String) {
    let reply = rig.client().get(&format!("/v2/demo/stream/{id}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = reply.json();
    let text = |piece: &Value| piece["output"]["choices"][0]["tokens"][0].as_str().unwrap().into();
    let pieces = body["stream"].as_array().unwrap().iter().map(text).collect();
    (pieces, body["status"].as_str().unwrap().to_owned())
}

#[test]
fn a_stream_returns_each_text_once() {
    let rig = Rig::start();
    let id = run(&rig, &input());
    let nothing = Vec::<String>::new();
    assert_eq!(poll(&rig, &id), (nothing.clone(), "IN_QUEUE".into()));
    let claimed = rig.claim();
    rig.publish(&claimed, &["Be", "ca"]);
    assert_eq!(poll(&rig, &id), (vec!["Beca".into()], "IN_PROGRESS".into()));
    assert_eq!(poll(&rig, &id), (nothing.clone(), "IN_PROGRESS".into()));
    rig.publish(&claimed, &["ü"]);
    assert_eq!(poll(&rig, &id).0, ["ü"]);
    rig.finish(&claimed, &answer("Becaüse."));
    assert_eq!(poll(&rig, &id), (vec!["se.".into()], "COMPLETED".into()));
    for _ in 0..2 {
        assert_eq!(poll(&rig, &id), (nothing.clone(), "COMPLETED".into()));
    }
}

#[test]
fn a_stream_has_the_text_without_reasoning() {
    let rig = Rig::start();
    let id = run(&rig, &input());
    let claimed = rig.claim();
    let parts = vec![Part::Reasoning { text: "Hm".into() }, Part::Text { text: "Yes".into() }];
    let chunk = Chunk { parts: Some(parts), ..Chunk::from("Hm</think>Yes") };
    rig.wait(rig.broker.publish(&claimed.lease, 0, &[chunk])).unwrap();
    assert_eq!(poll(&rig, &id).0, ["Yes"]);
}

#[test]
fn a_second_attempt_continues_the_stream_or_breaks_it_off() {
    let rig = Rig::start();
    for (text, rest) in [("Because.", Some("use.")), ("Never.", None)] {
        let id = run(&rig, &input());
        let claimed = rig.claim();
        rig.publish(&claimed, &["Beca"]);
        assert_eq!(poll(&rig, &id).0, ["Beca"]);
        rig.fail(&claimed);
        let claimed = rig.claim();
        rig.publish(&claimed, &[&text[..2]]);
        assert_eq!(poll(&rig, &id).0, [""; 0], "it has not come as far");
        rig.finish(&claimed, &answer(text));
        match rest {
            Some(rest) => assert_eq!(poll(&rig, &id), (vec![rest.into()], "COMPLETED".into())),
            None => {
                let reply = rig.client().get(&format!("/v2/demo/stream/{id}"));
                let error = reply.json()["error"].as_str().unwrap().to_owned();
                assert!(reply.status >= 500 && error.contains("another text"), "{reply:?}");
            }
        }
    }
}

#[test]
fn jobs_are_cancelled() {
    let rig = Rig::start();
    let cancel = |id: &str| {
        let reply = rig.client().send("POST", &format!("/v2/demo/cancel/{id}"), None);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["status"].clone()
    };
    let id = run(&rig, &input());
    assert_eq!(cancel(&id), "CANCELLED");
    assert_eq!(cancel(&id), "CANCELLED", "again");
    assert_eq!(status(&rig, &id)["status"], "CANCELLED");

    let id = run(&rig, &input());
    let claimed = rig.claim();
    assert_eq!(cancel(&id), "IN_PROGRESS", "the worker has not stopped");
    rig.finish(&claimed, &Outcome::CANCELLED);
    assert_eq!(cancel(&id), "CANCELLED");
}

#[test]
fn a_policy_sets_limits_and_priority() {
    let rig = Rig::start();
    let mut body = input();
    body["policy"] = json!({"executionTimeout": 5_500, "ttl": 60_000, "lowPriority": true});
    let id = run(&rig, &body);
    let snapshot = rig.wait(rig.broker.snapshot(id.parse().unwrap())).unwrap().unwrap();
    let expires = snapshot.expires_at.unwrap().seconds_since(snapshot.submitted_at);
    assert!((59.0..=61.0).contains(&expires), "{expires}");
    let claimed = rig.claim();
    assert_eq!((claimed.task.time_limit_s, claimed.task.lane), (6, Lane::Low));
    body["policy"] = json!({"executionTimeout": 9_000_000});
    run(&rig, &body);
    assert_eq!(rig.claim().task.time_limit_s, 120, "the configured limit");
}

#[test]
fn a_webhook_has_the_job() {
    let rig = Rig::with(|options| options.webhook_allow_private = true);
    let receiver = Receiver::kind();
    let mut body = input();
    body["webhook"] = json!(receiver.url("/hook"));
    let id = run(&rig, &body);
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("Because."));
    receiver.wait_for(1, Duration::from_secs(10));
    assert_eq!(receiver.heard()[0].json(), status(&rig, &id));
}

#[test]
fn an_endpoint_counts_its_jobs_and_workers() {
    let rig = Rig::start();
    rig.report("demo", WorkerStatus::Ready);
    rig.report("demo", WorkerStatus::Loading);
    rig.report("other", WorkerStatus::Ready);
    run(&rig, &input());
    run(&rig, &input());
    let _claimed = rig.claim();
    let expected = json!({
        "jobs": {"inProgress": 1, "inQueue": 1},
        "workers": {
            "idle": 1, "initializing": 1, "ready": 1, "running": 0, "throttled": 0, "unhealthy": 0,
        },
    });
    assert_eq!(rig.client().get("/v2/demo/health").json(), expected);
}

#[test]
fn a_models_name_may_have_slashes() {
    let rig = Rig::with(|options| options.known_models = vec![ModelId::new("a/b:c")]);
    let reply = rig.client().post("/v2/a/b:c/run", &input());
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let job = rig.client().get(&format!("/v2/a/b:c/status/{id}")).json();
    assert_eq!(job["status"], "IN_QUEUE");
}

#[test]
fn refusals_have_runpods_shape() {
    let rig = Rig::start();
    let id = run(&rig, &input());
    let other = rig.client_with(Some(OTHER_KEY));
    let hot = json!({"input": {"prompt": "x", "sampling_params": {"temperature": 99}}});
    let hook = json!({"input": {"prompt": "x"}, "webhook": "http://127.0.0.1/"});
    let policy = json!({"input": {"prompt": "x"}, "policy": {"ttl": 0}});
    let client = rig.client();
    for (reply, expected, words) in [
        (rig.client_with(None).post("/v2/demo/run", &input()), 401, "Invalid API key"),
        (client.post("/v2/demo/run", &json!({})), 400, "input: this field is required"),
        (client.post("/v2/demo/run", &json!({"input": {}})), 400, "input.prompt: "),
        (client.post("/v2/demo/run", &hot), 400, "input.temperature: "),
        (client.post("/v2/demo/run", &hook), 400, "webhook: "),
        (client.post("/v2/demo/run", &policy), 400, "policy.ttl: "),
        (client.post("/v2/ghost/run", &input()), 404, "does not exist"),
        (client.get("/v2/demo/run"), 405, "Method Not Allowed"),
        (client.get("/v2/demo/nothing"), 404, "no such path"),
        (client.get("/v2/demo/status/42"), 400, "not a valid task_id"),
        (other.get(&format!("/v2/demo/status/{id}")), 404, "not found"),
        (other.get(&format!("/v2/demo/stream/{id}")), 404, "not found"),
    ] {
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(reply.status == expected && error.contains(words), "{expected} {words}: {reply:?}");
    }
}
