//! Tests the task routes: submit, poll, fetch the result, cancel.

use std::time::Duration;

use protocol::{
    Choice, Completion, ErrorType, Outcome, Prompt, Sampling, TaskError, TaskState, Usage,
};
use serde_json::{Value, json};

use crate::rig::{OTHER_KEY, Rig, answer, task_id};

/// Removes the queue position and the estimate, which only a waiting task has.
fn without_queue_position(mut body: Value) -> Value {
    let map = body.as_object_mut().unwrap();
    map.retain(|name, _| name != "queue_position" && name != "eta_seconds");
    body
}

#[test]
fn submitted_prompt_returns_its_answer() {
    let rig = Rig::start();
    let client = rig.client();

    let reply = client.post("/generate", &json!({"prompt": "Why?"}));
    assert_eq!(reply.status, 202);
    let body = without_queue_position(reply.json());
    let id = task_id(&body);
    assert_eq!(
        body,
        json!({
            "status": "queued",
            "task_id": id,
            "message": format!("The task is queued; poll GET /result/{id}"),
        })
    );
    assert_eq!(reply.header("location"), Some(&*format!("/result/{id}")));

    let status = client.get(&format!("/status/{id}"));
    let waiting = json!({
        "status": "queued", "task_id": id, "message": "The task waits for a worker", "model": "demo",
    });
    assert_eq!((status.status, without_queue_position(status.json())), (200, waiting.clone()));
    let result = client.get(&format!("/result/{id}"));
    assert_eq!((result.status, without_queue_position(result.json())), (202, waiting));
    assert_eq!(result.header("retry-after"), Some("1"));

    let claimed = rig.claim();
    assert_eq!(claimed.task.id, id);
    let running = json!({
        "status": "processing", "task_id": id, "message": "A worker runs the task (attempt 1)",
        "model": "demo",
    });
    assert_eq!(client.get(&format!("/status/{id}")).json(), running);
    let result = client.get(&format!("/result/{id}"));
    assert_eq!((result.status, result.json()), (202, running));

    rig.finish(&claimed, &answer("Because."));
    let done = client.get(&format!("/result/{id}"));
    assert_eq!(done.status, 200);
    let body = done.json();
    assert_eq!(body["status"], "completed");
    assert_eq!(body["task_id"], json!(id));
    assert_eq!(body["result"], "Because.");
    assert_eq!(body["finish_reason"], "stop");
    assert_eq!(body.as_object().unwrap().len(), 5, "{body}");
    let metrics = body["metrics"].as_object().unwrap();
    assert_eq!(metrics.len(), 7, "the contract's six, and cached_tokens: {body}");
    assert_eq!(
        (&metrics["prompt_tokens"], &metrics["completion_tokens"], &metrics["cached_tokens"]),
        (&json!(12), &json!(34), &json!(8))
    );
    let seconds = |name: &str| metrics[name].as_f64().unwrap();
    let sum = seconds("queue_wait_time") + seconds("processing_time");
    assert!((sum - seconds("total_time")).abs() < 0.0015, "{body}");
    assert!(seconds("tokens_per_second") > 0.0, "{body}");
    assert_eq!(client.get(&format!("/status/{id}")).json()["status"], "completed");
}

#[test]
fn a_result_names_the_stop_string_and_tokens_of_reasoning_and_drafts_if_there_are_any() {
    let rig = Rig::start();
    let submitted = rig.client().post("/generate", &json!({"prompt": "Why?", "stop": ["x"]}));
    let first =
        Choice { text: "Because".into(), stop_sequence: Some("x".into()), ..Choice::default() };
    let usage = Usage {
        completion_tokens: 34,
        reasoning_tokens: 21,
        drafted_tokens: 40,
        accepted_tokens: 17,
        ..Usage::default()
    };
    let outcome = Outcome::Completed(Completion { first, usage, ..Completion::default() });
    rig.finish(&rig.claim(), &outcome);
    let id = submitted.json()["task_id"].as_str().unwrap().to_owned();
    let body = rig.client().get(&format!("/result/{id}")).json();
    assert_eq!(body["stop_sequence"], "x");
    let metrics = &body["metrics"];
    assert_eq!(metrics["reasoning_tokens"], 21);
    assert_eq!((&metrics["drafted_tokens"], &metrics["accepted_tokens"]), (&json!(40), &json!(17)));
}

#[test]
fn worker_receives_the_submitted_fields() {
    let rig = Rig::with(|options| {
        options.time_limits();
    });
    let body = json!({
        "prompt": "Zeile 1\n\u{1f980}\u{0}", "max_tokens": 7, "temperature": 0.5, "top_p": 0.25,
        "top_k": 3, "seed": u64::MAX, "stop": ["\n\n"], "raw": true, "user_id": "u-1",
        "model": "demo",
    });
    assert_eq!(rig.client().post("/generate", &body).status, 202);
    let task = rig.claim().task;
    assert_eq!(task.prompt, Prompt::Raw("Zeile 1\n\u{1f980}\u{0}".into()));
    assert_eq!(
        task.sampling,
        Sampling {
            temperature: Some(0.5),
            top_p: Some(0.25),
            top_k: Some(3),
            seed: Some(u64::MAX),
            ..Sampling::default()
        }
    );
    assert_eq!((task.max_tokens, task.stop), (7, vec!["\n\n".to_owned()]));
    assert_eq!(task.user_id.as_deref(), Some("u-1"));
    assert_eq!((task.time_limit_s, task.result_ttl_s, task.max_attempts), (11, 22, 33));
    assert!(task.tenant.as_str().starts_with("key-"), "{}", task.tenant);
}

trait TimeLimits {
    fn time_limits(&mut self);
}

impl TimeLimits for gateway::Options {
    fn time_limits(&mut self) {
        (self.task_time_limit_s, self.result_ttl_s, self.max_attempts) = (11, 22, 33);
    }
}

#[test]
fn failed_task_is_returned_with_status_200() {
    let rig = Rig::start();
    let id = rig.submit("Too long");
    let error = TaskError::new(ErrorType::ContextLengthExceeded, "the prompt has 9000 tokens");
    let error = error.caused_by(&std::io::Error::other("a secret path"));
    rig.finish(&rig.claim(), &Outcome::Failed(error));
    let reply = rig.client().get(&format!("/result/{id}"));
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.json(),
        json!({
            "status": "error",
            "task_id": id,
            "error_message": "the prompt has 9000 tokens",
            "error_type": "context_length_exceeded",
        })
    );
    assert_eq!(rig.client().get(&format!("/status/{id}")).json()["status"], "failed");
}

#[test]
fn status_reports_a_retry() {
    let rig = Rig::start();
    let id = rig.submit("Again");
    let claimed = rig.claim();
    rig.fail(&claimed);
    let body = rig.client().get(&format!("/status/{id}")).json();
    assert_eq!(body["status"], "queued");
    assert_eq!(body["message"], "The task waits for another worker; attempt 1 did not end it");
}

#[test]
fn a_queued_task_is_cancelled_at_once_and_logged_once() {
    let rig = Rig::start();
    let id = rig.submit("Never mind");
    let client = rig.client();
    let cancel = || client.send("POST", &format!("/cancel/{id}"), None);

    let reply = cancel();
    let gone = json!({"status": "cancelled", "task_id": id, "message": "The task was cancelled"});
    assert_eq!((reply.status, reply.json()), (200, gone.clone()));
    let again = cancel();
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("cancelled")));
    assert_eq!(client.get(&format!("/result/{id}")).json(), gone);
    let mut described = gone;
    described["model"] = json!("demo");
    assert_eq!(client.get(&format!("/status/{id}")).json(), described);

    // The log line is left to the process that reads such ends from the queue.
    let unlogged = rig.wait(rig.broker.unlogged(Duration::from_secs(9), 9)).unwrap();
    assert_eq!(unlogged.len(), 1);
    let end = &unlogged[0].end;
    assert_eq!((end.task.id, end.state), (id, TaskState::Cancelled));
    assert!(end.metrics().is_some());
}

#[test]
fn running_task_receives_the_cancel_request() {
    let rig = Rig::start();
    let id = rig.submit("Stop me");
    let claimed = rig.claim();
    let client = rig.client();
    for _ in 0..2 {
        let reply = client.send("POST", &format!("/cancel/{id}"), None);
        assert_eq!(reply.status, 202);
        assert_eq!(
            reply.json(),
            json!({
                "status": "processing",
                "task_id": id,
                "message": "Cancellation was requested; the worker is stopping",
            })
        );
    }
    let lease = rig.wait(rig.broker.renew(&claimed.lease, Duration::from_secs(30))).unwrap();
    assert!(lease.cancel_requested);
    let body = client.get(&format!("/status/{id}")).json();
    assert_eq!(body["message"], "Cancellation was requested; the worker is stopping");
    rig.finish(&claimed, &Outcome::CANCELLED);
    assert_eq!(client.get(&format!("/result/{id}")).json()["status"], "cancelled");
}

#[test]
fn ended_task_cannot_be_cancelled() {
    let rig = Rig::start();
    let id = rig.submit("Quick");
    rig.finish(&rig.claim(), &answer("Done."));
    let reply = rig.client().send("POST", &format!("/cancel/{id}"), None);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["status"], "completed");
    assert_eq!(reply.json()["message"], "The task had ended before: it is completed");
    assert_eq!(rig.client().get(&format!("/result/{id}")).json()["result"], "Done.");
}

#[test]
fn task_of_another_key_is_a_404() {
    let rig = Rig::start();
    let id = rig.submit("Mine");
    let stranger = rig.client_with(Some(OTHER_KEY));
    let unknown = protocol::TaskId::new();
    for (method, route) in
        [("GET", "status"), ("GET", "result"), ("GET", "events"), ("POST", "cancel")]
    {
        let mine = stranger.send(method, &format!("/{route}/{id}"), None);
        let none = stranger.send(method, &format!("/{route}/{unknown}"), None);
        assert_eq!((mine.status, none.status), (404, 404), "{route}");
        assert_eq!(
            mine.text.replace(&id.to_string(), "ID"),
            none.text.replace(&unknown.to_string(), "ID"),
        );
        assert_eq!(mine.header("x-should-retry"), Some("false"));
    }
    let state = rig.client().get(&format!("/status/{id}")).json();
    assert_eq!(state["status"], "queued", "the stranger's cancel did nothing");
}

#[test]
fn api_key_is_accepted_as_a_bearer_token() {
    let rig = Rig::start();
    let id = rig.submit("Mine");
    let bearer = rig.client_with(None).with("authorization", "Bearer test-key-1");
    assert_eq!(bearer.get(&format!("/status/{id}")).status, 200);
}

#[test]
fn body_without_content_type_or_with_charset_is_json() {
    let rig = Rig::start();
    let body = br#"{"prompt": "Hello"}"#;
    assert_eq!(rig.client().send("POST", "/generate", Some(body)).status, 202);
    let client = rig.client().with("content-type", "application/json; charset=utf-8");
    assert_eq!(client.send("POST", "/generate", Some(body)).status, 202);
}
