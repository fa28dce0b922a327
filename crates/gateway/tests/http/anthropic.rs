//! Tests `POST /v1/messages`.

use std::io::Write;
use std::net::TcpStream;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use protocol::{
    Choice, Chunk, Completion, ErrorType, FinishReason, Lane, Outcome, Part, Prompt, TaskError,
    TaskKind, ToolCall, Usage,
};
use serde_json::{Value, json};

use crate::client::Reply;
use crate::rig::{KEY, Rig, answer};

const PATH: &str = "/v1/messages";

fn body(edit: &Value) -> Value {
    let mut body = json!({
        "model": "demo", "max_tokens": 64, "messages": [{"role": "user", "content": "Weather?"}],
    });
    for (name, value) in edit.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// Sends a request in the background.
fn ask(rig: &Rig, edit: &Value) -> JoinHandle<Reply> {
    let (client, body) = (rig.client(), body(edit));
    std::thread::spawn(move || client.post(&format!("{PATH}?beta=true"), &body))
}

fn tools() -> Value {
    json!([{"name": "f", "input_schema": {"type": "object"}}])
}

fn call(id: &str) -> ToolCall {
    ToolCall::Function { id: id.into(), name: "f".into(), arguments: json!({"city": "Köln"}) }
}

fn completed(first: Choice) -> Outcome {
    let usage = Usage { prompt_tokens: 12, completion_tokens: 34, cached_tokens: 8, ..Usage::NONE };
    Outcome::Completed(Completion { first, usage, ..Completion::default() })
}

/// Parses a stream; checks that each event is named as its data's `type`.
fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let event = |frame: &str| {
        let (name, data) = frame.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{frame}");
        data
    };
    reply.text.split_terminator("\n\n").map(event).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn error(reply: &Reply) -> (u16, String, String) {
    let body = reply.json();
    assert_eq!(body["type"], "error", "{body}");
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (reply.status, text("type"), text("message"))
}

#[test]
fn a_message_is_returned_whole() {
    let rig = Rig::start();
    let asking = ask(
        &rig,
        &json!({"system": "Be brief.", "stop_sequences": ["x"], "metadata": {"user_id": "u"}}),
    );
    let claimed = rig.claim();
    let Prompt::Chat(messages) = &claimed.task.prompt else { panic!("{:?}", claimed.task) };
    let texts: Vec<_> = messages.iter().map(protocol::Message::text).collect();
    assert_eq!(texts, ["Be brief.", "Weather?"]);
    assert_eq!((claimed.task.max_tokens, &*claimed.task.stop), (64, &["x".to_owned()][..]));
    assert_eq!(claimed.task.user_id.as_deref(), Some("u"));
    assert_eq!(claimed.task.form.enable_thinking, Some(false));
    assert!(claimed.task.form.split);
    rig.finish(&claimed, &answer("Sunny."));

    let reply = asking.join().unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let expected = json!({
        "id": format!("msg_{}", claimed.task.id.to_string().replace('-', "")),
        "type": "message",
        "role": "assistant",
        "model": "demo",
        "content": [{"type": "text", "text": "Sunny.", "citations": []}],
        "stop_reason": "end_turn",
        "stop_sequence": null,
        "stop_details": null,
        "container": null,
        "usage": {
            "input_tokens": 12,
            "output_tokens": 34,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": null,
            "inference_geo": null,
            "output_tokens_details": null,
            "server_tool_use": null,
            "service_tier": "standard",
        },
    });
    assert_eq!(reply.json(), expected);
}

#[test]
fn thinking_and_calls_are_blocks() {
    let rig = Rig::start();
    for (finish_reason, choice, blocks, stop_reason) in [
        (FinishReason::Stop, json!({"type": "auto"}), 4, "tool_use"),
        (FinishReason::Length, json!({"type": "auto"}), 4, "max_tokens"),
        (
            FinishReason::Stop,
            json!({"type": "auto", "disable_parallel_tool_use": true}),
            3,
            "tool_use",
        ),
    ] {
        let edit = json!({
            "tools": tools(), "tool_choice": choice, "thinking": {"type": "adaptive"},
        });
        let asking = ask(&rig, &edit);
        let claimed = rig.claim();
        assert_eq!(claimed.task.form.tools.len(), 1);
        assert_eq!(claimed.task.form.enable_thinking, None);
        let first = Choice {
            reasoning: Some("Hm.".into()),
            text: "I look.".into(),
            tool_calls: vec![call("call_1"), call("call_2")],
            finish_reason,
            ..Choice::default()
        };
        rig.finish(&claimed, &completed(first));
        let reply = asking.join().unwrap().json();
        let shown = |id: &str| {
            let input = json!({"city": "Köln"});
            let caller = json!({"type": "direct"});
            json!({"type": "tool_use", "id": id, "name": "f", "input": input, "caller": caller})
        };
        let expected = [
            json!({"type": "thinking", "thinking": "Hm.", "signature": ""}),
            json!({"type": "text", "text": "I look.", "citations": []}),
            shown("call_1"),
            shown("call_2"),
        ];
        assert_eq!(reply["content"].as_array().unwrap(), &expected[..blocks], "{choice}");
        assert_eq!(reply["stop_reason"], stop_reason);
    }
}

#[test]
fn a_message_is_streamed_block_by_block() {
    let rig = Rig::start();
    let edit = json!({
        "stream": true, "tools": tools(), "thinking": {"type": "enabled", "budget_tokens": 1024},
        "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
    });
    let asking = ask(&rig, &edit);
    let claimed = rig.claim();
    let chunk = |part: Part| Chunk { parts: Some(vec![part]), ..Chunk::default() };
    let text = |text: &str| Part::Text { text: text.into() };
    let chunks = [
        chunk(Part::Reasoning { text: "H".into() }),
        chunk(Part::Reasoning { text: "m.".into() }),
        chunk(text("I ")),
        chunk(text("look.")),
        chunk(Part::ToolCall { call: call("call_1") }),
    ];
    rig.wait(rig.broker.publish(&claimed.lease, 0, &chunks)).unwrap();
    let first = Choice {
        reasoning: Some("Hm.".into()),
        text: "I look.".into(),
        tool_calls: vec![call("call_1")],
        ..Choice::default()
    };
    rig.finish(&claimed, &completed(first));

    let reply = asking.join().unwrap();
    let events = events(&reply);
    let start = &events[0]["message"];
    assert_eq!((&start["type"], &start["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!((&start["content"], &start["stop_reason"]), (&json!([]), &json!(null)));
    assert_eq!(start["usage"]["output_tokens"], 0);
    let block = |index: usize, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: usize| json!({"type": "content_block_stop", "index": index});
    let expected = [
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "H"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "m."})),
        delta(0, json!({"type": "signature_delta", "signature": ""})),
        stop(0),
        block(1, json!({"type": "text", "text": "", "citations": []})),
        delta(1, json!({"type": "text_delta", "text": "I "})),
        delta(1, json!({"type": "text_delta", "text": "look."})),
        stop(1),
        block(
            2,
            json!({
                "type": "tool_use", "id": "call_1", "name": "f", "input": {},
                "caller": {"type": "direct"},
            }),
        ),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"city\":\"Köln\"}"})),
        stop(2),
        json!({
            "type": "message_delta",
            "delta": {
                "stop_reason": "tool_use", "stop_sequence": null, "stop_details": null,
                "container": null,
            },
            "usage": {
                "input_tokens": 4, "output_tokens": 34, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 8, "output_tokens_details": null,
                "server_tool_use": null,
            },
        }),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(events[1..], expected, "{}", reply.text);
}

#[test]
fn tokens_are_counted_by_an_urgent_task_with_the_same_prompt() {
    let rig = Rig::start();
    let count = "/v1/messages/count_tokens";
    let edit = json!({
        "system": "Be brief.", "tools": tools(), "thinking": {"type": "enabled"},
    });
    let asking = ask(&rig, &edit);
    let message = rig.claim();
    rig.finish(&message, &completed(Choice::default()));
    asking.join().unwrap();
    let (client, mut asked) = (rig.client(), body(&edit));
    asked.as_object_mut().unwrap().remove("max_tokens");
    let counting = std::thread::spawn(move || client.post(count, &asked));
    let counted = rig.claim();
    assert_eq!((&counted.task.kind, counted.task.lane), (&TaskKind::Count, Lane::High));
    assert_eq!(
        (&counted.task.prompt, &counted.task.form),
        (&message.task.prompt, &message.task.form)
    );
    let usage = Usage { prompt_tokens: 123, ..Usage::NONE };
    rig.finish(&counted, &Outcome::Completed(Completion { usage, ..Completion::default() }));
    let reply = counting.join().unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!({"input_tokens": 123})));

    let reply = rig.client().post(count, &json!({"model": "demo"}));
    let (status, kind, message) = error(&reply);
    assert_eq!((status, &*kind), (400, "invalid_request_error"));
    assert!(message.starts_with("messages: "), "{message}");
}

#[test]
fn a_stop_sequence_that_ended_the_answer_is_named() {
    let rig = Rig::start();
    let stopped =
        Choice { text: "One".into(), stop_sequence: Some("two".into()), ..Choice::default() };
    let called = Choice { tool_calls: vec![call("call_1")], ..stopped.clone() };
    for (choice, reason, sequence) in [
        (stopped, "stop_sequence", json!("two")),
        (called, "tool_use", json!(null)),
        (Choice { text: "One".into(), ..Choice::default() }, "end_turn", json!(null)),
    ] {
        let edit = |stream: bool| json!({"stop_sequences": ["two", "x"], "stream": stream});
        let asking = ask(&rig, &edit(false));
        rig.finish(&rig.claim(), &completed(choice.clone()));
        let whole = asking.join().unwrap().json();
        let asking = ask(&rig, &edit(true));
        rig.finish(&rig.claim(), &completed(choice));
        let events = events(&asking.join().unwrap());
        let delta = events.iter().find(|event| event["type"] == "message_delta").unwrap();
        for end in [&whole, &delta["delta"]] {
            assert_eq!((&end["stop_reason"], &end["stop_sequence"]), (&json!(reason), &sequence));
        }
    }
}

#[test]
fn a_stream_sends_at_most_one_call_if_parallel_calls_are_disabled() {
    let rig = Rig::start();
    let choice = json!({"type": "any", "disable_parallel_tool_use": true});
    let asking = ask(&rig, &json!({"stream": true, "tools": tools(), "tool_choice": choice}));
    let tool_calls = vec![call("call_1"), call("call_2")];
    rig.finish(&rig.claim(), &completed(Choice { tool_calls, ..Choice::default() }));
    let events = events(&asking.join().unwrap());
    let starts = events.iter().filter(|event| event["type"] == "content_block_start");
    assert_eq!(starts.count(), 1, "{events:?}");
}

#[test]
fn a_silent_stream_pings_and_ends_with_its_error() {
    let rig = Rig::with(|options| options.keep_alive = Duration::from_millis(200));
    let asking = ask(&rig, &json!({"stream": true}));
    let claimed = rig.claim();
    sleep(Duration::from_millis(700));
    let failed = TaskError::new(ErrorType::ContextLengthExceeded, "too long");
    rig.finish(&claimed, &Outcome::Failed(failed));
    let events = events(&asking.join().unwrap());
    let kinds = kinds(&events);
    assert_eq!((kinds[0], kinds[1], kinds.last()), ("message_start", "ping", Some(&"error")));
    let error = json!({"type": "invalid_request_error", "message": "too long"});
    assert_eq!(events.last().unwrap()["error"], error);
}

#[test]
fn a_task_that_fails_at_once_has_the_status_of_its_error() {
    let rig = Rig::start();
    for stream in [false, true] {
        let asking = ask(&rig, &json!({"stream": stream}));
        let failed = TaskError::new(ErrorType::TimeLimitExceeded, "too slow");
        rig.finish(&rig.claim(), &Outcome::Failed(failed));
        let expected = (504, "timeout_error".to_owned(), "too slow".to_owned());
        assert_eq!(error(&asking.join().unwrap()), expected);
    }
}

#[test]
fn errors_have_anthropics_shape() {
    let rig = Rig::start();
    let (client, body) = (rig.client(), body(&json!({})));
    let (status, kind, _) = error(&rig.client_with(Some("wrong")).post(PATH, &body));
    assert_eq!((status, &*kind), (401, "authentication_error"));
    let (status, kind, _) = error(&rig.client_with(None).post(PATH, &body));
    assert_eq!((status, &*kind), (401, "authentication_error"));

    let unknown = self::body(&json!({"model": "claude"}));
    let (status, kind, message) = error(&client.post(PATH, &unknown));
    assert_eq!((status, &*kind), (404, "not_found_error"));
    assert!(message.contains("'claude'"), "{message}");

    let wrong = self::body(&json!({"max_tokens": null, "temperature": 9, "messages": [1]}));
    let (status, kind, message) = error(&client.post(PATH, &wrong));
    assert_eq!((status, &*kind), (400, "invalid_request_error"));
    for place in ["max_tokens: ", "temperature: ", "messages.0: "] {
        assert!(message.contains(place), "{message}");
    }
    let reply =
        client.clone().with("content-type", "application/json").send("POST", PATH, Some(b"{"));
    assert_eq!(error(&reply).0, 400);

    let (status, kind, _) = error(&client.post("/v1/messages/batches", &body));
    assert_eq!((status, &*kind), (404, "not_found_error"));
    let (status, kind, _) = error(&client.get(PATH));
    assert_eq!((status, &*kind), (405, "invalid_request_error"));
}

#[test]
fn both_kinds_of_key_are_accepted() {
    let rig = Rig::start();
    let client = rig.client_with(None).with("authorization", &format!("Bearer {KEY}"));
    let asking = std::thread::spawn(move || client.post(PATH, &body(&json!({}))));
    rig.finish(&rig.claim(), &answer("Yes"));
    assert_eq!(asking.join().unwrap().json()["content"][0]["text"], "Yes");
}

#[test]
fn a_client_that_leaves_cancels_its_task() {
    let rig = Rig::start();
    for stream in [false, true] {
        let body = body(&json!({"stream": stream})).to_string();
        let mut socket = TcpStream::connect(rig.address).unwrap();
        let request = format!(
            "POST {PATH} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let claimed = rig.claim();
        if stream {
            let chunk =
                Chunk { parts: Some(vec![Part::Text { text: "a".into() }]), ..Chunk::default() };
            rig.wait(rig.broker.publish(&claimed.lease, 0, &[chunk])).unwrap();
            sleep(Duration::from_millis(200));
        }
        drop(socket);
        let left = Instant::now();
        loop {
            let snapshot = rig.wait(rig.broker.snapshot(claimed.task.id)).unwrap().unwrap();
            if snapshot.cancel_requested {
                break;
            }
            assert!(left.elapsed() < Duration::from_secs(10), "stream: {stream}");
            sleep(Duration::from_millis(50));
        }
        rig.finish(&claimed, &Outcome::CANCELLED);
    }
}
