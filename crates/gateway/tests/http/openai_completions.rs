//! Tests `/v1/completions`.

use protocol::{Choice, Chunk, ErrorType, FinishReason, Logprobs, Outcome, Prompt, TaskError};
use queue::Claimed;
use serde_json::{Value, json};

use crate::openai::{
    COMPLETIONS, answered, ask, completed, events, finishes, joined, streamed, tokens, with,
};
use crate::rig::{Rig, answer};

fn prompt(fields: Value) -> Value {
    with(json!({"model": "demo", "prompt": "Once"}), fields)
}

/// Returns the text of a task's prompt.
fn text(claimed: &Claimed) -> &str {
    match &claimed.task.prompt {
        Prompt::Raw(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn completion_has_every_field() {
    let rig = Rig::start();
    let (reply, claimed) = answered(&rig, COMPLETIONS, prompt(json!({})), &answer(" upon"));
    assert_eq!(reply.status, 200, "{reply:?}");
    let task = &claimed.task;
    assert_eq!((text(&claimed), task.max_tokens, task.n), ("Once", 16, 1));
    assert!(task.form.is_plain(), "the answer is not split");
    let mut body = reply.json();
    assert!(body["created"].take().is_u64());
    let usage = body["usage"].take();
    assert_eq!(usage["total_tokens"], 46);
    assert_eq!(
        body,
        json!({
            "id": format!("cmpl-{}", task.id.to_string().replace('-', "")),
            "object": "text_completion",
            "created": null,
            "model": "demo",
            "choices": [{"index": 0, "text": " upon", "logprobs": null, "finish_reason": "stop"}],
            "usage": null,
            "system_fingerprint": concat!("qwen-queue-", env!("CARGO_PKG_VERSION")),
        })
    );
    assert_eq!(reply.header("x-task-id"), Some(&*task.id.to_string()));
}

#[test]
fn parameters_reach_the_task() {
    let rig = Rig::start();
    for (prompt, expected) in [
        (json!(["Once"]), Prompt::Raw("Once".into())),
        (json!([1, 2]), Prompt::Tokens(vec![1, 2])),
        (json!([[1, 2]]), Prompt::Tokens(vec![1, 2])),
    ] {
        let body = json!({
            "prompt": prompt, "max_tokens": 99_999, "stop": "\n", "temperature": 0, "seed": 7, "n": 2,
            "best_of": 2, "suffix": null, "logprobs": null, "echo": false, "user": "u1",
        });
        let texts = ["a", "b"].map(|text| Choice {
            text: text.into(),
            finish_reason: FinishReason::Length,
            ..Choice::default()
        });
        let (reply, claimed) = answered(&rig, COMPLETIONS, body, &completed(texts));
        let task = claimed.task;
        assert_eq!((task.prompt, task.max_tokens, task.n), (expected, 2048, 2));
        assert_eq!((task.sampling.seed, task.stop), (Some(7), vec!["\n".into()]));
        let body = reply.json();
        let seen: Vec<_> = body["choices"].as_array().unwrap().iter().collect();
        assert_eq!(
            (&seen[0]["text"], &seen[1]["text"], &seen[1]["index"]),
            (&json!("a"), &json!("b"), &json!(1))
        );
        assert_eq!(seen[0]["finish_reason"], "length");
    }
}

#[test]
fn unsupported_parameters_are_refused_by_name() {
    let rig = Rig::start();
    for (fields, param, code) in [
        (json!({"prompt": null}), "prompt", "missing_required_parameter"),
        (json!({"prompt": ["a", 1]}), "prompt.1", "invalid_value"),
        (json!({"prompt": vec!["a"; 33]}), "prompt", "invalid_value"),
        (json!({"best_of": 3}), "best_of", "unsupported_parameter"),
        (json!({"suffix": "."}), "suffix", "unsupported_parameter"),
        (json!({"logprobs": 6}), "logprobs", "invalid_value"),
        (json!({"logprobs": true}), "logprobs", "invalid_value"),
        (json!({"echo": true, "logprobs": 1}), "echo", "unsupported_parameter"),
        (json!({"echo": true, "prompt": [1, 2]}), "echo", "unsupported_parameter"),
        (json!({"max_tokens": 0}), "max_tokens", "invalid_value"),
    ] {
        let reply = rig.client().post(COMPLETIONS, &prompt(fields.clone()));
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.status, &error["param"], &error["code"]),
            (400, &json!(param), &json!(code)),
            "{fields}"
        );
    }
}

#[test]
fn several_prompts_are_tasks_whose_completions_are_joined() {
    let rig = Rig::start();
    let fields = json!({"prompt": ["a", "b", "c"], "n": 2, "echo": true});
    for stream in [false, true] {
        let asked = with(
            fields.clone(),
            json!({"stream": stream, "stream_options": {"include_usage": true}}),
        );
        let asking = ask(&rig, COMPLETIONS, asked);
        let mut claimed: Vec<_> = (0..3).map(|_| rig.claim()).collect();
        claimed.sort_by(|a, b| text(a).cmp(text(b)));
        for task in claimed.iter().rev() {
            let name = text(task);
            if name == "b" {
                rig.publish(task, &["b"]);
            }
            let texts = ["0", "1"]
                .map(|index| Choice { text: format!("{name}{index}"), ..Choice::default() });
            rig.finish(task, &completed(texts));
        }
        let reply = asking.join().unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        let texts: Vec<String> = match stream {
            false => {
                let body = reply.json();
                assert_eq!(body["usage"]["total_tokens"], 3 * 46);
                let choices = body["choices"].as_array().unwrap().iter();
                choices.map(|choice| choice["text"].as_str().unwrap().to_owned()).collect()
            }
            true => {
                let mut events = events(&reply.text);
                assert_eq!(events.pop().unwrap()["usage"]["total_tokens"], 3 * 46);
                for index in 0..6 {
                    assert_eq!(finishes(&events, index), ["stop"]);
                }
                (0..6).map(|index| joined(&events, index, "/text")).collect()
            }
        };
        assert_eq!(texts, ["aa0", "aa1", "bb0", "bb1", "cc0", "cc1"]);
    }
}

#[test]
fn one_failed_prompt_fails_the_request_and_cancels_the_others() {
    let rig = Rig::start();
    for stream in [false, true] {
        let asking = ask(&rig, COMPLETIONS, json!({"prompt": ["a", "b"], "stream": stream}));
        let mut claimed = [rig.claim(), rig.claim()];
        claimed.sort_by(|a, b| text(a).cmp(text(b)));
        let failed = TaskError::new(ErrorType::ContextLengthExceeded, "too long");
        rig.finish(&claimed[0], &Outcome::Failed(failed));
        let reply = asking.join().unwrap();
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (400, &json!("context_length_exceeded"))
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
        let other = rig.wait(rig.broker.snapshot(claimed[1].task.id)).unwrap().unwrap();
        assert!(other.cancel_requested);
        rig.finish(&claimed[1], &Outcome::CANCELLED);
    }
}

#[test]
fn logprobs_have_the_form_of_completions() {
    let rig = Rig::start();
    let all = tokens(&["é", " upon"]);
    let logprobs = Some(Logprobs { content: all.clone() });
    let choice = Choice { text: "é upon".into(), logprobs, ..Choice::default() };
    let outcome = completed([choice]);
    let (reply, claimed) = answered(&rig, COMPLETIONS, prompt(json!({"logprobs": 2})), &outcome);
    assert_eq!(claimed.task.sampling.logprobs, Some(2));
    let whole = reply.json()["choices"][0]["logprobs"].clone();
    assert_eq!(whole["tokens"], json!(["é", " upon"]));
    assert_eq!(whole["text_offset"], json!([0, 1]));
    assert_eq!(whole["top_logprobs"][0].as_object().unwrap().len(), 2);

    let chunks = [("é", 0), (" upon", 1)]
        .map(|(text, index)| Chunk { logprobs: vec![all[index].clone()], ..text.into() });
    let events = streamed(&rig, COMPLETIONS, prompt(json!({"logprobs": 2})), &chunks, &outcome);
    for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        let arrays = events.iter().filter_map(|event| {
            event.pointer(&format!("/choices/0/logprobs/{name}"))?.as_array().cloned()
        });
        assert_eq!(arrays.flatten().collect::<Value>(), whole[name], "{name}");
    }
}

#[test]
fn stream_has_text_and_one_finish_reason() {
    let rig = Rig::start();
    let outcome = completed([Choice {
        text: " upon a".into(),
        finish_reason: FinishReason::Length,
        ..Choice::default()
    }]);
    for (echo, text) in [(false, " upon a"), (true, "Once upon a")] {
        let asked = prompt(json!({ "echo": echo }));
        let events = streamed(&rig, COMPLETIONS, asked, &[" upon".into(), " a".into()], &outcome);
        assert_eq!(joined(&events, 0, "/text"), text);
        assert_eq!(finishes(&events, 0), ["length"]);
        for event in &events {
            assert_eq!(event["object"], "text_completion");
            assert!(event.get("usage").is_none() && event["id"] == events[0]["id"]);
        }
    }
}

#[test]
fn a_failure_within_the_stream_is_an_event() {
    let rig = Rig::start();
    let failed = Outcome::Failed(TaskError::new(ErrorType::WorkerLost, "gone"));
    let events = streamed(&rig, COMPLETIONS, prompt(json!({})), &["a".into()], &failed);
    assert_eq!(events.last().unwrap()["error"]["code"], "worker_lost");
    assert_eq!(joined(&events[..1], 0, "/text"), "a");
}

#[test]
fn repeated_requests_with_several_prompts_share_their_tasks() {
    let rig = Rig::start();
    let post = || {
        let client = rig.client().with("idempotency-key", "k1");
        std::thread::spawn(move || client.post(COMPLETIONS, &json!({"prompt": ["a", "b"]})))
    };
    let first = post();
    let claimed = [rig.claim(), rig.claim()];
    let second = post();
    std::thread::sleep(std::time::Duration::from_millis(200));
    for task in &claimed {
        rig.finish(task, &answer(text(task)));
    }
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.json(), second.json());
}
