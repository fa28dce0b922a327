//! Tests Replicate's routes.

use std::thread::JoinHandle;
use std::time::Duration;

use harness::receiver::Receiver;
use protocol::{ErrorType, ModelId, Outcome, Prompt, TaskError};
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::openai::with;
use crate::rig::{OTHER_KEY, Rig, answer};

const PATH: &str = "/v1/predictions";

fn body() -> Value {
    json!({"version": "demo", "input": {"prompt": "Why?", "temperature": 0, "max_new_tokens": 7}})
}

/// Creates a prediction, and returns it.
fn create(rig: &Rig, body: &Value) -> Value {
    let reply = rig.client().post(PATH, body);
    assert_eq!((reply.status, &reply.json()["status"]), (201, &json!("starting")), "{reply:?}");
    reply.json()
}

fn get(rig: &Rig, prediction: &Value) -> Value {
    let id = prediction["id"].as_str().unwrap();
    rig.client().get(&format!("{PATH}/{id}")).json()
}

/// Creates a prediction on another thread, because the request waits.
fn wait(rig: &Rig, prefer: &str) -> JoinHandle<Reply> {
    let client = rig.client().with("prefer", prefer);
    std::thread::spawn(move || client.post(PATH, &body()))
}

#[test]
fn a_prediction_passes_through_its_states() {
    let rig = Rig::start();
    let created = create(&rig, &body());
    let own = format!("http://{}{PATH}/{}", rig.address, created["id"].as_str().unwrap());
    let expected = json!({
        "id": created["id"], "model": "demo", "version": "demo", "input": body()["input"],
        "status": "starting", "output": null, "error": null, "logs": "", "metrics": {},
        "created_at": created["created_at"], "started_at": null, "completed_at": null,
        "data_removed": false, "source": "api",
        "urls": {"get": own, "cancel": format!("{own}/cancel"), "stream": format!("{own}/stream")},
    });
    assert_eq!(created, expected);
    assert!(created["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(get(&rig, &created), created);
    let claimed = rig.claim();
    assert_eq!(claimed.task.prompt, Prompt::user("Why?"));
    assert_eq!((claimed.task.max_tokens, claimed.task.sampling.temperature), (7, Some(0.0)));
    assert_eq!(get(&rig, &created)["status"], "processing");
    rig.finish(&claimed, &answer("Because."));
    let ended = get(&rig, &created);
    assert_eq!((&ended["status"], &ended["output"]), (&json!("succeeded"), &json!(["Because."])));
    assert_eq!(ended["metrics"]["output_token_count"], 34);
    assert!(ended["metrics"]["predict_time"].is_f64() && ended["completed_at"].is_string());
    assert_eq!(ended["input"], body()["input"]);
}

#[test]
fn other_ends_have_their_states() {
    let rig = Rig::start();
    for (outcome, status, error) in [
        (Outcome::Failed(TaskError::new(ErrorType::EngineError, "no")), "failed", json!("no")),
        (Outcome::CANCELLED, "canceled", Value::Null),
    ] {
        let created = create(&rig, &body());
        let claimed = rig.claim();
        rig.finish(&claimed, &outcome);
        let ended = get(&rig, &created);
        assert_eq!((&ended["status"], &ended["error"]), (&json!(status), &error));
    }
}

#[test]
fn a_preference_waits_for_the_end() {
    let rig = Rig::start();
    for prefer in ["wait", "wait=20"] {
        let asking = wait(&rig, prefer);
        let claimed = rig.claim();
        rig.finish(&claimed, &answer("Because."));
        let reply = asking.join().unwrap();
        assert_eq!((reply.status, &reply.json()["status"]), (201, &json!("succeeded")), "{prefer}");
    }
    let late = wait(&rig, "wait=1").join().unwrap();
    assert_eq!((late.status, &late.json()["status"]), (201, &json!("starting")));
    let _running = rig.claim();
    let asking = wait(&rig, "wait=1");
    let _running = rig.claim();
    let late = asking.join().unwrap().json();
    assert_eq!(late["status"], "starting", "its client takes any other status for the end");
    assert_eq!(get(&rig, &late)["status"], "processing");
}

#[test]
fn a_model_is_named_with_its_owner_or_without() {
    let rig = Rig::with(|options| options.known_models = vec![ModelId::new("Qwen/small")]);
    for (path, model) in [("any/demo", "demo"), ("Qwen/small", "Qwen/small")] {
        let input = json!({"input": {"prompt": "x"}});
        let reply = rig.client().post(&format!("/v1/models/{path}/predictions"), &input);
        assert_eq!(reply.status, 201, "{reply:?}");
        let prediction = reply.json();
        assert_eq!((&prediction["model"], &prediction["version"]), (&json!(path), &json!(model)));
        let id = prediction["id"].as_str().unwrap().parse().unwrap();
        let snapshot = rig.wait(rig.broker.snapshot(id)).unwrap().unwrap();
        assert_eq!(snapshot.task.model.as_str(), model);
    }
}

/// Reads a prediction's stream to its end: the name of each event, and its data.
fn events(client: &Client, prediction: &Value) -> Vec<(String, String)> {
    let reply = client.get(&format!("{PATH}/{}/stream", prediction["id"].as_str().unwrap()));
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let event = |(frame, number): (&str, usize)| {
        let mut lines = frame.split('\n');
        let name = lines.next().unwrap().strip_prefix("event: ").unwrap();
        assert_eq!(lines.next().unwrap(), format!("id: {number}"));
        let data: Vec<_> = lines.map(|line| line.strip_prefix("data: ").unwrap()).collect();
        (name.to_owned(), data.join("\n"))
    };
    reply.text.split_terminator("\n\n").zip(1..).map(event).collect()
}

#[test]
fn an_output_is_streamed_from_its_beginning() {
    let rig = Rig::start();
    let created = create(&rig, &body());
    let claimed = rig.claim();
    rig.publish(&claimed, &["Be", "cause\n\n"]);
    let reading = {
        let (client, created) = (rig.client(), created.clone());
        std::thread::spawn(move || events(&client, &created))
    };
    std::thread::sleep(Duration::from_millis(100));
    rig.publish(&claimed, &["1.\r\n2.\r"]);
    rig.finish(&claimed, &answer("Because\n\n1.\r\n2.\rno"));
    let expected = [
        ("output", "Be"),
        ("output", "cause\n\n"),
        ("output", "1.\n2.\n"),
        ("output", "no"),
        ("done", "{}"),
    ]
    .map(|(name, data)| (name.to_owned(), data.to_owned()));
    assert_eq!(reading.join().unwrap(), expected);
    let again: String = events(&rig.client(), &created).into_iter().map(|(_, data)| data).collect();
    assert_eq!(again, "Because\n\n1.\n2.\nno{}");
}

#[test]
fn a_stream_ends_with_its_reason() {
    let rig = Rig::start();
    let failed = Outcome::Failed(TaskError::new(ErrorType::EngineError, "no"));
    for (outcome, expected) in [
        (failed, &[("error", r#"{"detail":"no"}"#), ("done", r#"{"reason":"error"}"#)][..]),
        (Outcome::CANCELLED, &[("done", r#"{"reason":"canceled"}"#)]),
    ] {
        let created = create(&rig, &body());
        let claimed = rig.claim();
        rig.finish(&claimed, &outcome);
        let found = events(&rig.client(), &created);
        let found: Vec<_> = found.iter().map(|(name, data)| (&**name, &**data)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn predictions_are_cancelled() {
    let rig = Rig::start();
    let cancel = |prediction: &Value| {
        let id = prediction["id"].as_str().unwrap();
        let reply = rig.client().send("POST", &format!("{PATH}/{id}/cancel"), None);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["status"].clone()
    };
    let created = create(&rig, &body());
    assert_eq!(cancel(&created), "canceled");
    assert_eq!(cancel(&created), "canceled", "again");
    assert_eq!(get(&rig, &created)["status"], "canceled");
}

#[test]
fn predictions_are_listed_the_newest_first() {
    let rig = Rig::start();
    let created: Vec<Value> = (0..52).map(|_| create(&rig, &body())["id"].clone()).collect();
    rig.client_with(Some(OTHER_KEY)).post(PATH, &body());
    rig.client().post("/v1/responses", &json!({"model": "demo", "input": "x", "background": true}));
    let ids = |page: &Value| -> Vec<Value> {
        page["results"].as_array().unwrap().iter().map(|found| found["id"].clone()).collect()
    };
    let page = rig.client().get(PATH).json();
    let newest: Vec<Value> = created.iter().rev().cloned().collect();
    assert_eq!((ids(&page), &page["previous"]), (newest[..50].to_vec(), &Value::Null));
    let next = page["next"].as_str().unwrap();
    let next = next.strip_prefix(&format!("http://{}", rig.address)).unwrap();
    let page = rig.client().get(next).json();
    assert_eq!((ids(&page), &page["next"]), (newest[50..].to_vec(), &Value::Null));
}

#[test]
fn a_webhook_has_the_prediction() {
    let rig = Rig::with(|options| options.webhook_allow_private = true);
    let receiver = Receiver::kind();
    let hook = json!({"webhook": receiver.url("/"), "webhook_events_filter": ["completed"]});
    let created = create(&rig, &with(body(), hook));
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("Because."));
    receiver.wait_for(1, Duration::from_secs(10));
    let heard = receiver.heard()[0].json();
    let whole = get(&rig, &created);
    for name in ["id", "status", "output", "error", "metrics", "created_at", "completed_at"] {
        assert_eq!(heard[name], whole[name], "{name}");
    }
    let hook = json!({"webhook_completed": receiver.url("/")});
    create(&rig, &with(body(), hook));
    assert!(rig.claim().task.webhook.is_some(), "the older name");
    let hook = json!({"webhook": receiver.url("/"), "webhook_events_filter": ["start"]});
    create(&rig, &with(body(), hook));
    assert_eq!(rig.claim().task.webhook, None, "only ends are reported");
}

#[test]
fn refusals_are_problem_details() {
    let rig = Rig::start();
    let id = create(&rig, &body())["id"].as_str().unwrap().to_owned();
    let (client, other) = (rig.client(), rig.client_with(Some(OTHER_KEY)));
    let hot = with(body(), json!({"input": {"prompt": "x", "temperature": 99}}));
    let tools = with(body(), json!({"input": {"prompt": "x", "tools": [{}]}}));
    let ghost = with(body(), json!({"version": "ghost"}));
    let filter = with(body(), json!({"webhook_events_filter": ["end"]}));
    let of_model = "/v1/models/any/ghost/predictions";
    for (reply, status, words) in [
        (rig.client_with(None).post(PATH, &body()), 401, "Invalid API key"),
        (client.post(PATH, &json!({"input": {"prompt": "x"}})), 422, "version: this field"),
        (client.post(PATH, &json!({"version": "demo"})), 422, "input: this field is required"),
        (client.post(PATH, &hot), 422, "input.temperature: "),
        (client.post(PATH, &tools), 422, "input.tools: not supported"),
        (client.post(PATH, &ghost), 422, "does not exist"),
        (client.post(PATH, &filter), 422, "webhook_events_filter.0: must be one of"),
        (client.post(of_model, &body()), 422, "does not exist"),
        (client.get(of_model), 405, "Method Not Allowed"),
        (client.get(&format!("{PATH}/0000000000000000000000000")), 404, "not found"),
        (client.get(&format!("{PATH}?cursor=x")), 422, "cursor: "),
        (client.get(&format!("{PATH}/x/y/z")), 404, "no such path"),
        (other.get(&format!("{PATH}/{id}")), 404, "not found"),
        (other.get(&format!("{PATH}/{id}/stream")), 404, "not found"),
        (other.send("POST", &format!("{PATH}/{id}/cancel"), None), 404, "not found"),
    ] {
        let problem = reply.json();
        let detail = problem["detail"].as_str().unwrap_or_else(|| panic!("{reply:?}"));
        assert!(reply.status == status && detail.contains(words), "{status} {words}: {reply:?}");
        assert!(problem["title"].is_string() && problem["status"] == status, "{problem}");
    }
    let field = client.post(PATH, &hot).json()["invalid_fields"][0]["field"].clone();
    assert_eq!(field, "input.temperature");
    assert_eq!(client.get("/v1/models/demo").status, 200, "OpenAI's route is beside these");
}
