//! Tests streamed chat completions.

use std::time::Duration;

use protocol::{
    Choice, Chunk, ErrorType, FinishReason, Logprobs, Outcome, Part, TaskError, ToolCall,
};
use serde_json::{Value, json};

use crate::openai::{
    CHAT, Live, answered, ask, call, chat, completed, events, finishes, joined, streamed, tokens,
};
use crate::rig::{Rig, answer};

fn text(text: &str) -> Part {
    Part::Text { text: text.into() }
}

fn split(parts: &[Part]) -> Chunk {
    Chunk { parts: Some(parts.to_vec()), ..Chunk::default() }
}

#[test]
fn chunks_have_every_field_in_order() {
    let rig = Rig::start();
    let asked = chat(json!({"stream_options": {"include_usage": true}}));
    let chunks = [split(&[text("Be")]), split(&[text("cause.")])];
    let mut events = streamed(&rig, CHAT, asked, &chunks, &answer("Because."));
    let usage = events.pop().unwrap();
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(46)));
    for event in &events {
        assert_eq!(event["object"], "chat.completion.chunk");
        assert_eq!(event["id"], usage["id"]);
        assert_eq!((&event["model"], &event["usage"]), (&json!("demo"), &json!(null)));
        assert!(event["created"].is_u64() && event["system_fingerprint"].is_string());
        let choice = event["choices"][0].as_object().unwrap();
        let keys: Vec<_> = choice.keys().collect();
        assert_eq!(keys.len(), 4, "index, delta, logprobs, finish_reason: {keys:?}");
    }
    let deltas: Vec<_> = events.iter().map(|event| &event["choices"][0]["delta"]).collect();
    assert_eq!(deltas[0], &json!({"role": "assistant", "content": "", "refusal": null}));
    assert_eq!(deltas.last(), Some(&&json!({})));
    assert_eq!(joined(&events, 0, "/delta/content"), "Because.");
    assert_eq!(finishes(&events, 0), ["stop"]);
}

#[test]
fn usage_is_left_out_if_not_requested() {
    let rig = Rig::start();
    for fields in [json!({}), json!({"stream_options": {"include_usage": false}})] {
        let events = streamed(&rig, CHAT, chat(fields), &["Yes".into()], &answer("Yes"));
        assert!(events.iter().all(|event| event.get("usage").is_none()), "{events:?}");
        assert_eq!(joined(&events, 0, "/delta/content"), "Yes");
    }
}

#[test]
fn an_answer_without_any_chunk_is_streamed_from_its_outcome() {
    let rig = Rig::start();
    let events = streamed(&rig, CHAT, chat(json!({})), &[], &answer("Yes"));
    assert_eq!(joined(&events, 0, "/delta/content"), "Yes");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let empty = streamed(&rig, CHAT, chat(json!({})), &[], &answer(""));
    assert_eq!(empty[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(finishes(&empty, 0), ["stop"]);
}

#[test]
fn reasoning_and_calls_are_the_same_as_in_the_whole_answer() {
    let rig = Rig::start();
    let choice = Choice {
        text: "Adding.".into(),
        reasoning: Some("Hm.".into()),
        tool_calls: vec![call("call_1"), call("call_2")],
        ..Choice::default()
    };
    let parts = [
        Part::Reasoning { text: "Hm.".into() },
        text("Adding."),
        Part::ToolCall { call: call("call_1") },
        Part::ToolCall { call: call("call_2") },
    ];
    let chunks = parts.map(|part| split(&[part]));
    let outcome = completed([choice]);
    let (whole, _) = answered(&rig, CHAT, chat(json!({})), &outcome);
    let whole = whole.json()["choices"][0].clone();
    let events = streamed(&rig, CHAT, chat(json!({})), &chunks, &outcome);
    for name in ["content", "reasoning", "reasoning_content"] {
        let seen = joined(&events, 0, &format!("/delta/{name}"));
        assert_eq!(json!(seen), whole["message"][name], "{name}");
    }
    assert_eq!(json!(finishes(&events, 0)), json!([whole["finish_reason"]]));

    let deltas = events.iter().filter_map(|event| event.pointer("/choices/0/delta/tool_calls/0"));
    let mut calls: Vec<Value> = Vec::new();
    for delta in deltas {
        let index = usize::try_from(delta["index"].as_u64().unwrap()).unwrap();
        match delta.get("id") {
            Some(_) => {
                assert_eq!(index, calls.len());
                let mut call = delta.clone();
                call.as_object_mut().unwrap().remove("index");
                assert_eq!(call["function"]["arguments"], "");
                calls.push(call);
            }
            None => calls[index]["function"]["arguments"] = delta["function"]["arguments"].clone(),
        }
    }
    assert_eq!(json!(calls), whole["message"]["tool_calls"]);
}

#[test]
fn a_cut_answer_with_a_call_is_length() {
    let rig = Rig::start();
    let finish_reason = FinishReason::Length;
    let tool_calls = vec![call("call_1")];
    let choice = Choice { tool_calls, finish_reason, ..Choice::default() };
    let chunks = [split(&[Part::ToolCall { call: call("call_1") }])];
    let events = streamed(&rig, CHAT, chat(json!({})), &chunks, &completed([choice]));
    assert_eq!(finishes(&events, 0), ["length"]);
}

#[test]
fn text_around_a_malformed_call_is_streamed() {
    let rig = Rig::start();
    let malformed = ToolCall::Malformed { raw: "<tool_call>{".into(), error: "no JSON".into() };
    let tool_calls = vec![malformed.clone()];
    let choice = Choice { text: "A B".into(), tool_calls, ..Choice::default() };
    let chunks = [split(&[text("A "), Part::ToolCall { call: malformed }, text("B")])];
    let events = streamed(&rig, CHAT, chat(json!({})), &chunks, &completed([choice]));
    assert_eq!(joined(&events, 0, "/delta/content"), "A <tool_call>{B");
    assert_eq!(finishes(&events, 0), ["stop"]);
}

#[test]
fn several_answers_are_interleaved_and_each_ends_once() {
    let rig = Rig::start();
    let texts = ["ab", "cd"].map(|text| Choice { text: text.into(), ..Choice::default() });
    let chunk = |choice, text: &str| Chunk { choice, ..Chunk::from(text) };
    let chunks = [chunk(0, "a"), chunk(1, "c"), chunk(0, "b"), chunk(1, "d")];
    let events = streamed(&rig, CHAT, chat(json!({"n": 2})), &chunks, &completed(texts));
    for (index, text) in [(0, "ab"), (1, "cd")] {
        assert_eq!(joined(&events, index, "/delta/content"), text);
        assert_eq!(joined(&events, index, "/delta/role"), "assistant");
        assert_eq!(finishes(&events, index), ["stop"]);
    }
}

#[test]
fn logprobs_are_the_same_as_in_the_whole_answer() {
    let rig = Rig::start();
    let all = tokens(&["Be", "cause"]);
    let logprobs = Some(Logprobs { content: all.clone() });
    let choice = Choice { text: "Because".into(), logprobs, ..Choice::default() };
    let asked = chat(json!({"logprobs": true, "top_logprobs": 2}));
    let chunks = [("Be", 0), ("cause", 1)]
        .map(|(text, index)| Chunk { logprobs: vec![all[index].clone()], ..text.into() });
    let outcome = completed([choice]);
    let events = streamed(&rig, CHAT, asked.clone(), &chunks, &outcome);
    let (whole, _) = answered(&rig, CHAT, asked, &outcome);
    let streamed: Vec<Value> = events
        .iter()
        .filter_map(|event| event.pointer("/choices/0/logprobs/content")?.as_array())
        .flatten()
        .cloned()
        .collect();
    assert_eq!(json!(streamed), whole.json()["choices"][0]["logprobs"]["content"]);
}

#[test]
fn a_failure_within_the_stream_is_an_event() {
    let rig = Rig::start();
    let failed = Outcome::Failed(TaskError::new(ErrorType::TimeLimitExceeded, "too slow"));
    let events = streamed(&rig, CHAT, chat(json!({})), &["Be".into()], &failed);
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(joined(chunks, 0, "/delta/content"), "Be");
    let error = json!({
        "message": "too slow", "type": "server_error", "param": null, "code": "time_limit_exceeded",
    });
    assert_eq!(last, &json!({ "error": error }));
}

#[test]
fn a_second_attempt_continues_without_repeating() {
    let rig = Rig::start();
    let asking = ask(&rig, CHAT, chat(json!({"stream": true})));
    let first = rig.claim();
    rig.publish(&first, &["Hel"]);
    std::thread::sleep(Duration::from_millis(200));
    rig.fail(&first);
    let second = rig.claim();
    rig.publish(&second, &["He", "llo"]);
    rig.finish(&second, &answer("Hello!"));
    let events = events(&asking.join().unwrap().text);
    assert_eq!(joined(&events, 0, "/delta/content"), "Hello!");
    assert_eq!(joined(&events, 0, "/delta/role"), "assistant");
    assert_eq!(finishes(&events, 0), ["stop"]);
}

#[test]
fn a_second_attempt_with_another_answer_ends_the_stream() {
    let rig = Rig::start();
    let asking = std::thread::spawn({
        let client = rig.client();
        move || client.post(CHAT, &chat(json!({"stream": true})))
    });
    let first = rig.claim();
    rig.publish(&first, &["Hel"]);
    rig.fail(&first);
    let second = rig.claim();
    rig.publish(&second, &["Good day"]);
    let events = events(&asking.join().unwrap().text);
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(joined(chunks, 0, "/delta/content"), "Hel");
    assert_eq!(
        (&last["error"]["code"], &last["error"]["type"]),
        (&json!("interrupted"), &json!("server_error"))
    );
}

#[test]
fn pieces_arrive_as_they_are_generated() {
    let rig = Rig::with(|options| options.keep_alive = Duration::from_millis(100));
    let mut live = Live::open(&rig, CHAT, chat(json!({}))); // begins with a keep-alive comment
    let claimed = rig.claim();
    rig.publish(&claimed, &["Be"]);
    assert_eq!(live.next().unwrap()["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(live.next().unwrap()["choices"][0]["delta"]["content"], "Be");
    rig.publish(&claimed, &["cause"]);
    assert_eq!(live.next().unwrap()["choices"][0]["delta"]["content"], "cause");
    rig.finish(&claimed, &answer("Because"));
    assert_eq!(finishes(&live.rest(), 0), ["stop"]);
}
