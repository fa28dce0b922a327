//! Tests whole chat completions.

use std::time::Duration;

use protocol::{Choice, ErrorType, FinishReason, Lane, Logprobs, Outcome, Prompt, Role, TaskError};
use serde_json::{Value, json};

use crate::openai::{CHAT, answered, ask, call, chat, completed, tokens};
use crate::rig::{Rig, answer, task_id};

#[test]
fn completion_has_every_field() {
    let rig = Rig::start();
    let (reply, claimed) = answered(&rig, CHAT, chat(json!({})), &answer("Because."));
    assert_eq!(reply.status, 200, "{reply:?}");
    let id = claimed.task.id.to_string();
    let mut body = reply.json();
    let created = body["created"].take();
    assert!(created.as_u64().unwrap() > 1_700_000_000, "{created}");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        body,
        json!({
            "id": format!("chatcmpl-{}", id.replace('-', "")),
            "object": "chat.completion",
            "created": null,
            "model": "demo",
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant", "content": "Because.", "refusal": null, "annotations": [],
                },
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46,
                "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0, "audio_tokens": 0,
                    "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
                },
            },
            "service_tier": "default",
            "system_fingerprint": format!("qwen-queue-{version}"),
        })
    );
    assert_eq!(reply.header("x-task-id"), Some(&*id));
    assert_eq!(reply.header("x-queue-position"), Some("1"));
    let took: u64 = reply.header("openai-processing-ms").unwrap().parse().unwrap();
    assert!(took < 20_000, "{took}");
    assert!(reply.header("x-request-id").is_some());
}

#[test]
fn the_task_has_what_the_request_says() {
    let rig = Rig::with(|options| options.max_new_tokens = 100);
    let body = json!({
        "model": "demo", "max_tokens": 32_000, "temperature": 0.5, "stop": ["END"], "user": "u1",
        "metadata": {"team": "a"}, "service_tier": "flex", "unknown": {"a": 1}, "seed": null,
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}], "x": 1},
            {"role": "user", "content": "Why?"},
            {"role": "developer", "content": "Be brief."},
        ],
    });
    let (reply, claimed) = answered(&rig, CHAT, body, &answer("."));
    assert_eq!(reply.status, 200, "{reply:?}");
    let task = claimed.task;
    let Prompt::Chat(messages) = &task.prompt else { panic!("{:?}", task.prompt) };
    let texts: Vec<_> = messages.iter().map(|message| (message.role, message.text())).collect();
    assert_eq!(
        texts,
        [(Role::System, "Be kind.\n\nBe brief.".into()), (Role::User, "Why?".into())]
    );
    assert_eq!((task.max_tokens, task.lane, task.form.split), (100, Lane::Low, true));
    assert_eq!((task.sampling.temperature, task.stop), (Some(0.5), vec!["END".into()]));
    assert_eq!(task.user_id.as_deref(), Some("u1"));
    assert_eq!(task.metadata["team"], "a");
}

#[test]
fn reasoning_has_both_names() {
    let rig = Rig::start();
    let choice = Choice { text: "42".into(), reasoning: Some("Hm.".into()), ..Choice::default() };
    let (reply, _) = answered(&rig, CHAT, chat(json!({})), &completed([choice]));
    let message = &reply.json()["choices"][0]["message"];
    assert_eq!(message["content"], "42");
    assert_eq!(
        (&message["reasoning_content"], &message["reasoning"]),
        (&json!("Hm."), &json!("Hm."))
    );
    let details = &reply.json()["usage"]["completion_tokens_details"];
    assert_eq!(details["reasoning_tokens"], 5);
}

#[test]
fn calls_have_arguments_as_text_and_a_cut_answer_is_length() {
    let rig = Rig::start();
    for (finish_reason, reason) in
        [(FinishReason::Stop, "tool_calls"), (FinishReason::Length, "length")]
    {
        let tool_calls = vec![call("call_1"), call("call_2")];
        let choice = Choice { tool_calls, finish_reason, ..Choice::default() };
        let tools = json!([{"type": "function", "function": {"name": "add"}}]);
        let asked = chat(json!({ "tools": tools }));
        let (reply, _) = answered(&rig, CHAT, asked, &completed([choice]));
        let choice = reply.json()["choices"][0].clone();
        assert_eq!(choice["finish_reason"], reason);
        assert_eq!(choice["message"]["content"], Value::Null);
        let function = json!({"name": "add", "arguments": "{\"a\":1}"});
        assert_eq!(
            choice["message"]["tool_calls"],
            json!([
                {"id": "call_1", "type": "function", "function": function},
                {"id": "call_2", "type": "function", "function": function},
            ])
        );
    }
}

#[test]
fn several_answers_have_indexes_and_one_usage() {
    let rig = Rig::start();
    let texts = ["a", "b"].map(|text| Choice { text: text.into(), ..Choice::default() });
    let (reply, claimed) = answered(&rig, CHAT, chat(json!({"n": 2})), &completed(texts));
    assert_eq!(claimed.task.n, 2);
    let body = reply.json();
    let choices = body["choices"].as_array().unwrap().iter();
    let seen: Vec<_> =
        choices.map(|choice| (&choice["index"], &choice["message"]["content"])).collect();
    assert_eq!(seen, [(&json!(0), &json!("a")), (&json!(1), &json!("b"))]);
    assert_eq!(body["usage"]["total_tokens"], 46);
}

#[test]
fn logprobs_are_returned_as_requested() {
    let rig = Rig::start();
    let logprobs = Some(Logprobs { content: tokens(&["Be", "cause"]) });
    let choice = Choice { text: "Because".into(), logprobs, ..Choice::default() };
    let asked = chat(json!({"logprobs": true, "top_logprobs": 2}));
    let (reply, claimed) = answered(&rig, CHAT, asked, &completed([choice]));
    assert_eq!(claimed.task.sampling.logprobs, Some(2));
    let logprobs = reply.json()["choices"][0]["logprobs"].clone();
    assert_eq!(logprobs["refusal"], Value::Null);
    assert_eq!(logprobs["content"].as_array().unwrap().len(), 2);
    let first = &logprobs["content"][0];
    assert_eq!((&first["token"], &first["bytes"]), (&json!("Be"), &json!([66, 101])));
    assert!((first["logprob"].as_f64().unwrap() + 0.31).abs() < 1e-6);
    assert_eq!(first["top_logprobs"][1]["token"], "?");
}

#[test]
fn failed_tasks_have_the_status_of_their_error() {
    let rig = Rig::start();
    for (error_type, status, kind, code) in [
        (
            ErrorType::ContextLengthExceeded,
            400,
            "invalid_request_error",
            json!("context_length_exceeded"),
        ),
        (ErrorType::InvalidRequest, 400, "invalid_request_error", json!(null)),
        (ErrorType::TimeLimitExceeded, 504, "server_error", json!("time_limit_exceeded")),
        (ErrorType::WorkerLost, 503, "server_error", json!("worker_lost")),
    ] {
        let failed = Outcome::Failed(TaskError::new(error_type, "so it is"));
        for stream in [false, true] {
            let asked = chat(json!({ "stream": stream }));
            let (reply, _) = answered(&rig, CHAT, asked, &failed);
            let error = json!({"message": "so it is", "type": kind, "param": null, "code": code});
            assert_eq!((reply.status, reply.json()), (status, json!({ "error": error })));
        }
    }
}

#[test]
fn a_cancelled_task_is_a_conflict() {
    let rig = Rig::start();
    let asking = ask(&rig, CHAT, chat(json!({})));
    let claimed = rig.claim();
    rig.client().send("POST", &format!("/cancel/{}", claimed.task.id), None);
    rig.finish(&claimed, &Outcome::CANCELLED);
    let reply = asking.join().unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (409, &json!("cancelled")));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
}

#[test]
fn a_long_wait_sends_line_ends_and_then_the_json() {
    let rig = Rig::with(|options| {
        options.silent_wait = Duration::from_millis(200);
        options.keep_alive = Duration::from_millis(100);
    });
    let failed = Outcome::Failed(TaskError::new(ErrorType::WorkerLost, "gone"));
    for (outcome, pointer, value) in [
        (answer("Because."), "/choices/0/message/content", "Because."),
        (failed, "/error/code", "worker_lost"),
    ] {
        let asking = ask(&rig, CHAT, chat(json!({})));
        let claimed = rig.claim();
        std::thread::sleep(Duration::from_millis(700));
        rig.finish(&claimed, &outcome);
        let reply = asking.join().unwrap();
        assert_eq!(reply.status, 200, "the status was sent before");
        assert!(reply.text.starts_with("\n\n"), "{reply:?}");
        assert_eq!(reply.json().pointer(pointer), Some(&json!(value)), "{reply:?}");
        assert_eq!(reply.header("x-task-id"), Some(&*claimed.task.id.to_string()));
    }
}

#[test]
fn a_repeated_request_waits_for_the_first_ones_task() {
    let rig = Rig::start();
    let post = |body: Value| {
        let client = rig.client().with("idempotency-key", "k1");
        std::thread::spawn(move || client.post(CHAT, &body))
    };
    let first = post(chat(json!({})));
    let claimed = rig.claim();
    let second = post(chat(json!({})));
    std::thread::sleep(Duration::from_millis(200));
    rig.finish(&claimed, &answer("Once."));
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert_eq!(first.json(), second.json());
    let other = rig.client().with("idempotency-key", "k1").post(CHAT, &chat(json!({"n": 2})));
    assert!(other.json()["error"]["message"].is_string(), "{other:?}");
    assert_ne!(other.status, 200);
    let native = rig.client().get(&format!("/result/{}", claimed.task.id));
    assert_eq!(task_id(&native.json()), claimed.task.id);
}
