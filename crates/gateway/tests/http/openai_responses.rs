//! Tests `/v1/responses`.

use std::thread;

use protocol::{
    Choice, Chunk, Completion, ErrorType, FinishReason, Message, Outcome, Part, Prompt, Role,
    TaskError, ToolCall, Usage,
};
use queue::Claimed;
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::rig::{OTHER_KEY, Rig, answer};

/// The keys that every response has.
const KEYS: [&str; 31] = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
];
const USAGE: Usage = Usage {
    prompt_tokens: 12,
    completion_tokens: 34,
    cached_tokens: 8,
    reasoning_tokens: 5,
    ..Usage::NONE
};

/// Sends a body, to which the model is added.
pub(crate) fn post(client: &Client, mut body: Value) -> Reply {
    body["model"] = json!("demo");
    client.post("/v1/responses", &body)
}

/// Creates a response in the background, and returns its id.
pub(crate) fn create(rig: &Rig, mut body: Value) -> String {
    body["background"] = json!(true);
    let reply = post(&rig.client(), body);
    assert_eq!(reply.status, 200, "{reply:?}");
    let response = reply.json();
    assert_eq!(response["status"], "queued");
    response["id"].as_str().unwrap().to_owned()
}

pub(crate) fn get(rig: &Rig, id: &str) -> Value {
    let reply = rig.client().get(&format!("/v1/responses/{id}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

pub(crate) fn error(reply: &Reply) -> (u16, Value, Value) {
    let error = reply.json()["error"].clone();
    assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
    (reply.status, error["param"].clone(), error["code"].clone())
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// Parses a stream, which must end with `[DONE]`.
fn events(reply: &Reply) -> Vec<Event> {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let text = reply.text.strip_suffix("data: [DONE]\n\n").expect("it ends with [DONE]");
    let frames = text.split("\n\n").filter(|frame| !frame.is_empty() && !frame.starts_with(':'));
    let parse = |frame: &str| {
        let (name, data) = frame.split_once('\n').unwrap();
        let kind = name.strip_prefix("event: ").unwrap().to_owned();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["type"], json!(kind));
        Event { kind, data }
    };
    frames.map(parse).collect()
}

/// Streams a response, and checks the numbers of its events.
pub(crate) fn stream(rig: &Rig, id: &str) -> Vec<Event> {
    let events = events(&rig.client().get(&format!("/v1/responses/{id}?stream=true")));
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.data["sequence_number"], json!(index), "{event:?}");
    }
    events
}

/// Returns the events' types, without `response.`.
pub(crate) fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.trim_start_matches("response.")).collect()
}

fn joined(events: &[Event], kind: &str) -> String {
    let of_kind = events.iter().filter(|event| event.kind == kind);
    of_kind.map(|event| event.data["delta"].as_str().unwrap()).collect()
}

pub(crate) fn reasoning(text: &str) -> Part {
    Part::Reasoning { text: text.into() }
}

pub(crate) fn text(text: &str) -> Part {
    Part::Text { text: text.into() }
}

pub(crate) fn call(nth: u8) -> ToolCall {
    ToolCall::Function {
        id: format!("call_{nth}"),
        name: "weather".into(),
        arguments: json!({"nth": nth}),
    }
}

/// Publishes a chunk for each list of parts.
fn publish(rig: &Rig, claimed: &Claimed, chunks: &[Vec<Part>]) {
    let chunk = |parts: &Vec<Part>| Chunk { parts: Some(parts.clone()), ..Chunk::default() };
    let chunks: Vec<Chunk> = chunks.iter().map(chunk).collect();
    rig.wait(rig.broker.publish(&claimed.lease, 0, &chunks)).unwrap();
}

fn ended(choice: Choice) -> Outcome {
    Outcome::Completed(Completion { first: choice, usage: USAGE, ..Completion::default() })
}

/// Lets a response think, write and call.
pub(crate) fn think_write_and_call(rig: &Rig) {
    let claimed = rig.claim();
    let calls = vec![Part::ToolCall { call: call(1) }, Part::ToolCall { call: call(2) }];
    let parts = [vec![reasoning("H")], vec![reasoning("m"), text("Grü")], vec![text("ße")], calls];
    publish(rig, &claimed, &parts);
    let choice = Choice {
        reasoning: Some("Hm".into()),
        text: "Grüße".into(),
        tool_calls: vec![call(1), call(2)],
        ..Choice::default()
    };
    rig.finish(&claimed, &ended(choice));
}

pub(crate) fn tools() -> Value {
    json!([{"type": "function", "name": "weather", "parameters": {"type": "object"}}])
}

#[test]
fn a_response_has_all_keys_and_repeats_its_request() {
    let rig = Rig::start();
    let client = rig.client();
    let body = json!({
        "input": "Tell me", "instructions": "Be brief.", "tools": tools(), "temperature": 0.3,
        "max_output_tokens": 1_000_000, "metadata": {"a": "b"}, "prompt_cache_key": "k",
        "reasoning": {"effort": "low", "summary": "auto"}, "top_logprobs": 0,
    });
    let waiting = thread::spawn(move || post(&client, body));
    let claimed = rig.claim();
    let expected = [Message::new(Role::System, "Be brief."), Message::user("Tell me")];
    assert_eq!(claimed.task.prompt, Prompt::Chat(expected.into()));
    assert_eq!(claimed.task.max_tokens, 2048);
    assert_eq!(claimed.task.form.tools[0].name, "weather");
    assert_eq!(claimed.task.form.enable_thinking, Some(true));
    rig.finish(&claimed, &answer("Once"));
    let reply = waiting.join().unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let response = reply.json();
    for key in KEYS {
        assert!(response.get(key).is_some(), "{key} is missing: {response}");
    }
    let id = response["id"].as_str().unwrap();
    assert!(id.starts_with("resp_") && id.len() == 37, "{id}");
    for (key, expected) in [
        ("object", json!("response")),
        ("status", json!("completed")),
        ("model", json!("demo")),
        ("instructions", json!("Be brief.")),
        ("temperature", json!(0.3)),
        ("top_p", json!(0.9)),
        ("presence_penalty", json!(0.0)),
        ("max_output_tokens", json!(1_000_000)),
        ("metadata", json!({"a": "b"})),
        ("prompt_cache_key", json!("k")),
        ("text", json!({"format": {"type": "text"}, "verbosity": "medium"})),
        ("reasoning", json!({"effort": "low", "summary": "auto"})),
        ("store", json!(true)),
        ("background", json!(false)),
        ("error", json!(null)),
        (
            "tools",
            json!([{
                "type": "function", "name": "weather", "description": null,
                "parameters": {"type": "object"}, "strict": null,
            }]),
        ),
        (
            "usage",
            json!({
                "input_tokens": 12,
                "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
                "output_tokens": 34,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 46,
            }),
        ),
    ] {
        assert_eq!(response[key], expected, "{key}");
    }
    let message = &response["output"][0];
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!((&message["type"], &message["status"]), (&json!("message"), &json!("completed")));
    let part = json!({"type": "output_text", "text": "Once", "annotations": [], "logprobs": []});
    assert_eq!(message["content"], json!([part]));
    assert!(response["completed_at"].as_u64() >= response["created_at"].as_u64());
    assert_eq!(get(&rig, id), response, "GET returns the same");
    let other = rig.client_with(Some(OTHER_KEY));
    assert_eq!(other.get(&format!("/v1/responses/{id}")).status, 404, "another key's");
}

#[test]
fn a_stream_has_its_events_in_order() {
    let rig = Rig::start();
    let client = rig.client();
    let body = json!({"input": "Tell me", "stream": true, "tools": tools(), "store": false});
    let waiting = thread::spawn(move || post(&client, body));
    think_write_and_call(&rig);
    let events = events(&waiting.join().unwrap());
    let call = [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ];
    let expected: Vec<&str> = [
        &[
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
        ][..],
        &call,
        &call,
        &["completed"],
    ]
    .concat();
    assert_eq!(kinds(&events), expected);
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.data["sequence_number"], json!(index));
    }
    let delta = &events[11].data;
    assert_eq!(delta["output_index"], 1);
    assert_eq!((&delta["content_index"], &delta["logprobs"]), (&json!(0), &json!([])));
    assert_eq!(delta["item_id"], events[9].data["item"]["id"]);
    assert_eq!(events[13].data["text"], "Grüße");
    let arguments = &events[18].data;
    assert_eq!(
        (&arguments["arguments"], &arguments["output_index"]),
        (&json!(r#"{"nth":1}"#), &json!(2))
    );
    let done = events.iter().filter(|event| event.kind == "response.output_item.done");
    let done: Value = done.map(|event| event.data["item"].clone()).collect();
    let response = &events.last().unwrap().data["response"];
    assert_eq!(response["output"], done);
    assert_eq!(response["output"][3]["call_id"], "call_2");
    assert_eq!(response["usage"]["output_tokens"], 34);
    assert_eq!(response["usage"]["output_tokens_details"]["reasoning_tokens"], 5);
    let id = response["id"].as_str().unwrap();
    assert_eq!(events[0].data["response"]["id"], id);
    assert_eq!(rig.client().get(&format!("/v1/responses/{id}")).status, 404, "not stored");
}

#[test]
fn a_stream_resumes_after_any_event() {
    let rig = Rig::start();
    let id = create(&rig, json!({"input": "Tell me", "tools": tools()}));
    think_write_and_call(&rig);
    let all = stream(&rig, &id);
    assert_eq!(kinds(&all)[..3], ["created", "queued", "in_progress"]);
    assert_eq!(joined(&all, "response.output_text.delta"), "Grüße");
    assert_eq!(all.last().unwrap().data["response"], get(&rig, &id), "GET returns the same");
    for after in 0..=all.len() {
        let path = format!("/v1/responses/{id}?stream=true&starting_after={after}");
        let rest = events(&rig.client().get(&path));
        assert_eq!(rest[..], all[(after + 1).min(all.len())..], "after {after}");
    }
    let reply = rig.client().get(&format!("/v1/responses/{id}?stream=true&starting_after=x"));
    assert_eq!(error(&reply), (400, json!("starting_after"), json!("invalid_value")));
}

#[test]
fn a_stream_goes_on_where_a_lost_worker_was() {
    let rig = Rig::start();
    let id = create(&rig, json!({"input": "Tell me"}));
    let first = rig.claim();
    publish(&rig, &first, &[vec![text("On")], vec![text("ce")]]);
    rig.fail(&first);
    let second = rig.claim();
    publish(&rig, &second, &[vec![text("Once u")], vec![text("pon")]]);
    rig.finish(&second, &answer("Once upon"));
    let all = stream(&rig, &id);
    assert_eq!(joined(&all, "response.output_text.delta"), "Once upon");
    let deltas = all.iter().filter(|event| event.kind == "response.output_text.delta");
    assert_eq!(deltas.count(), 4);
}

#[test]
fn a_cut_response_is_incomplete() {
    let rig = Rig::start();
    let id = create(&rig, json!({"input": "Tell me", "max_output_tokens": 1}));
    let cut =
        Choice { text: "On".into(), finish_reason: FinishReason::Length, ..Choice::default() };
    rig.finish(&rig.claim(), &ended(cut));
    let response = get(&rig, &id);
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(response["completed_at"], json!(null));
    let all = stream(&rig, &id);
    assert_eq!(all.last().unwrap().kind, "response.incomplete");
    assert_eq!(all.last().unwrap().data["response"], response);
}

#[test]
fn one_call_is_returned_if_calls_may_not_be_parallel() {
    let rig = Rig::start();
    let body = json!({"input": "Tell me", "tools": tools(), "parallel_tool_calls": false});
    let id = create(&rig, body);
    think_write_and_call(&rig);
    let response = get(&rig, &id);
    assert_eq!(response["parallel_tool_calls"], false);
    assert_eq!(response["output"].as_array().unwrap().len(), 3, "{response}");
    assert_eq!(stream(&rig, &id).last().unwrap().data["response"], response);
}

#[test]
fn a_failed_response_has_its_error() {
    let rig = Rig::start();
    let failure = || {
        let kind = ErrorType::ContextLengthExceeded;
        Outcome::Failed(TaskError::new(kind, "the prompt is too long"))
    };
    let id = create(&rig, json!({"input": "Tell me"}));
    let claimed = rig.claim();
    publish(&rig, &claimed, &[vec![text("On")]]);
    rig.finish(&claimed, &failure());
    let response = get(&rig, &id);
    assert_eq!(response["status"], "failed");
    let expected = json!({"code": "context_length_exceeded", "message": "the prompt is too long"});
    assert_eq!(response["error"], expected);
    let all = stream(&rig, &id);
    let [.., error_event, failed] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&*error_event.kind, &*failed.kind), ("error", "response.failed"));
    let (flat, nested) = (&error_event.data, &error_event.data["error"]);
    for event in [flat, nested] {
        assert_eq!(event["code"], "context_length_exceeded");
        assert_eq!(event["message"], "the prompt is too long");
        assert_eq!(event["param"], json!(null));
    }
    assert_eq!(nested["type"], "invalid_request_error");
    assert_eq!(failed.data["response"]["id"], json!(id));
    assert_eq!(failed.data["response"]["error"], expected);
    assert_eq!(failed.data["response"]["output"][0]["content"][0]["text"], "On");

    let client = rig.client();
    let waiting = thread::spawn(move || post(&client, json!({"input": "Tell me"})));
    rig.finish(&rig.claim(), &failure());
    let reply = waiting.join().unwrap();
    assert_eq!(error(&reply), (400, json!(null), json!("context_length_exceeded")));
}

#[test]
fn tools_that_codex_sends_along_are_skipped() {
    let rig = Rig::start();
    let client = rig.client();
    let function = json!({"type": "function", "name": "shell", "parameters": {"type": "object"}});
    let namespace = json!({"type": "namespace", "name": "mcp", "tools": [function]});
    let tools = json!([function, namespace, {"type": "web_search", "external_web_access": false}]);
    let body = json!({"input": "a", "background": true, "tools": tools});
    let reply = post(&client, body);
    assert_eq!(reply.status, 200, "{reply:?}");
    let tools = reply.json()["tools"].clone();
    assert_eq!((tools.as_array().map(Vec::len), &tools[0]["name"]), (Some(1), &json!("shell")));
    assert_eq!(rig.claim().task.form.tools.len(), 1);
}

#[test]
fn requests_that_cannot_be_honoured_are_refused_by_name() {
    let rig = Rig::start();
    let client = rig.client();
    for (body, param, code) in [
        (json!({}), "input", "missing_required_parameter"),
        (json!({"input": 5}), "input", "invalid_value"),
        (json!({"input": []}), "input", "invalid_value"),
        (json!({"input": [{"role": "robot"}]}), "input.0.role", "invalid_value"),
        (json!({"input": "a", "conversation": "c"}), "conversation", "unsupported_parameter"),
        (json!({"input": "a", "prompt": {"id": "p"}}), "prompt", "unsupported_parameter"),
        (json!({"input": "a", "truncation": "left"}), "truncation", "unsupported_parameter"),
        (
            json!({"input": "a", "tools": [{"type": "file_search"}]}),
            "tools.0",
            "unsupported_parameter",
        ),
        (
            json!({"input": "a", "tools": [{"type": "web_search"}], "tool_choice": "required"}),
            "tool_choice",
            "invalid_value",
        ),
        (json!({"input": "a", "background": true, "store": false}), "background", "invalid_value"),
        (
            json!({"input": "a", "text": {"format": {"type": "json_schema"}}}),
            "text.format.schema",
            "missing_required_parameter",
        ),
        (
            json!({"input": "a", "previous_response_id": "resp_1"}),
            "previous_response_id",
            "previous_response_not_found",
        ),
    ] {
        let reply = post(&client, body.clone());
        assert_eq!(error(&reply), (400, json!(param), json!(code)), "{body}");
    }
    let reply = client.post("/v1/responses", &json!({"input": "a"}));
    assert_eq!(error(&reply), (400, json!("model"), json!("missing_required_parameter")));
    for (method, path, status) in [
        ("GET", "/v1/responses/resp_1", 404),
        ("GET", "/v1/responses/resp_0192f0c123457abc8def0123456789ab", 404),
        ("POST", "/v1/responses/resp_0192f0c123457abc8def0123456789ab/cancel", 404),
        ("PUT", "/v1/responses/resp_1", 405),
        ("POST", "/v1/responses/compact", 404),
        ("GET", "/v1/responses", 405),
    ] {
        let reply = client.send(method, path, None);
        assert_eq!(error(&reply).0, status, "{method} {path}");
    }
}

#[test]
fn an_empty_body_uses_the_default_model() {
    let rig = Rig::start();
    let client = rig.client();
    let waiting = thread::spawn(move || client.post("/v1/responses", &json!({})));
    let claimed = rig.claim();
    assert_eq!(claimed.task.prompt, Prompt::Chat(vec![Message::user("")]));
    rig.finish(&claimed, &answer("Hello"));
    assert_eq!(waiting.join().unwrap().status, 200);
}
